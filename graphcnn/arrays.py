"""What an array is in annotations, everywhere in graphcnn, and where it is in memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""A NumPy array of any shape and element type."""


def byte_bounds(array: Array) -> tuple[int, int]:
    """Return the addresses of an array's first byte and of the one behind its last, whatever its strides."""
    steps = [(size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)]
    if not array.size:
        return array.ctypes.data, array.ctypes.data
    first = array.ctypes.data + sum(step for step in steps if step < 0)
    return first, array.ctypes.data + sum(step for step in steps if step > 0) + array.itemsize


def overlapping(arrays: Mapping[str, Array]) -> tuple[str, str] | None:
    """Return the names of two of the arrays that share memory, if any do."""
    bounds = sorted((*byte_bounds(array), name) for name, array in arrays.items())
    for (_, end, name), (begin, _, following) in itertools.pairwise(bounds):
        if begin < end and np.may_share_memory(arrays[name], arrays[following]):
            return name, following
    return None
