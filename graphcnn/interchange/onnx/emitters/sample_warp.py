"""Images read between their pixels at the places of each sample's own map, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphcnn import ops
from graphcnn.interchange.onnx.emitters.sample_moves import gathered_pixels, within
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import BATCH, Dim, Node, TensorType, Value
from graphcnn.ops.sample_warp import UNITS, WEIGHT_BITS

Places = list[tuple[str, str]]
"""The two pixels along one axis that each place lies between, [N, H, W], and their shares [N, H, W, 1]."""


def warp_samples(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    images, *numbers = node.operands
    size = images.type.static(1), images.type.static(2)
    rows = []
    for row, row_share in _along(write, numbers[:3], images.type, images.type.dtype):
        sides = []
        for column, column_share in _along(write, numbers[3:], images.type, images.type.dtype):
            found, inside = gathered_pixels(write, images, row, column, size)
            pixels = write("Where", inside, found, write.number(0, images.type))
            sides.append(write("Mul", column_share, pixels))
        rows.append(write("Mul", row_share, write("Add", *sides)))
    write.put(results[0], write("Add", *rows))


def warp_samples_transposed(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write each pixel's shares added into zeros [N, H·W, C], in float64."""
    deltas, *numbers = node.operands
    height, width, channels = (deltas.type.static(axis) for axis in (1, 2, 3))
    sizes: tuple[Dim, ...] = (BATCH, height * width, channels)
    wide = write.cast(write.tensor(deltas), "float64")
    total = write.zeros(sizes, "float64")
    for row, row_share in _along(write, numbers[:3], deltas.type, deltas.type.dtype):
        for column, column_share in _along(write, numbers[3:], deltas.type, deltas.type.dtype):
            shares = [write.cast(each, "float64") for each in (row_share, column_share)]
            terms = write("Mul", write("Mul", *shares), wide)
            inside = write("And", within(write, row, height), within(write, column, width))
            kept = write("Where", write.unsqueezed(inside, 3), terms, write.number(0, "float64"))
            place = write("Add", write("Mul", row, write.constant(np.array(width))), column)
            place = write("Where", inside, place, write.constant(np.array(0)))
            column_of_places = write.reshaped(place, (BATCH, height * width, 1))
            everywhere = write("Expand", column_of_places, write.shape(sizes))
            terms = write.reshaped(kept, sizes)
            total = write("ScatterElements", total, everywhere, terms, axis=1, reduction="add")
    result = write.cast(write.reshaped(total, deltas.type.shape), deltas.type.dtype)
    write.put(results[0], result)


def _along(write: Writer, numbers: Sequence[Value], images: TensorType, dtype: str) -> Places:
    """Return what lies around the places along one axis: a · i + b · j + c, in units of 2^-32 pixels."""
    by_row, by_column, shift = (write.reshaped(write.tensor(each), (BATCH, 1, 1)) for each in numbers)
    rows, columns = (np.arange(images.static(axis)) for axis in (1, 2))
    down = write("Mul", by_row, write.constant(rows[None, :, None]))
    across = write("Mul", by_column, write.constant(columns[None, None]))
    places = write("Add", write("Add", down, across), shift)
    rest = write("Mod", places, write.constant(np.array(2**UNITS)))
    below = write("Div", write("Sub", places, rest), write.constant(np.array(2**UNITS)))
    weights = write("Div", rest, write.constant(np.array(2 ** (UNITS - WEIGHT_BITS))))
    t = write("Mul", write.cast(weights, dtype), write.number(2.0**-WEIGHT_BITS, dtype))
    t = write.unsqueezed(t, 3)
    above = write("Add", below, write.constant(np.array(1)))
    return [(below, write("Sub", write.number(1, dtype), t)), (above, t)]


EMITTERS = {ops.WarpSamples: warp_samples, ops.WarpSamplesTransposed: warp_samples_transposed}
