"""Sizes of values, which are known when the file is read, but for the batch."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from graphcnn.interchange.onnx.reading.folding import sizes_array
from graphcnn.interchange.onnx.reading.step import Step
from graphcnn.interchange.onnx.reading.table import UnknownYetError, in_the_way, reads
from graphcnn.interchange.onnx.reading.tensors import dtype_of
from graphcnn.interchange.onnx.reading.values import Known, Variable
from graphcnn.ir import BATCH

MOST_PLACES: Final = 2**22
"""Of a matrix that is made of its sizes."""


@reads("Shape")
def shape(step: Step) -> Known:
    sizes = list(step[0].shape)
    return Known(sizes_array(sizes[slice(step.setting("start", default=0), step.setting("end"))]))


@reads("EyeLike")
def eye(step: Step) -> Known:
    rows, columns = step[0].shape if step[0].rank == 2 else (BATCH, BATCH)
    number = step.setting("dtype")
    if BATCH in (rows, columns) or int(rows) * int(columns) > MOST_PLACES:
        raise in_the_way("it is of matrices whose sizes are known only at run time")
    like = step[0]
    own = like.array.dtype if isinstance(like, Known) else np.dtype(like.dtype)
    dtype = own if number is None else dtype_of(number)
    return Known(np.eye(int(rows), int(columns), step.setting("k", default=0), dtype))


@reads("Size")
def size(step: Step) -> Known:
    sizes = step[0].shape
    if BATCH in sizes:
        raise in_the_way("it counts the samples of the batch, which are known only at run time")
    return Known(np.array(math.prod(int(each) for each in sizes), np.int64))


@reads("ConstantOfShape")
def of_sizes(step: Step) -> Known:
    """What a known size makes is computed before: here it is not known."""
    size = step[0]
    assert isinstance(size, Variable)
    raise UnknownYetError(size, "size")
