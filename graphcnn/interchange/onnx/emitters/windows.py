"""Windows of images as ONNX gathers them, and the sparse matrices that sum along one axis."""

from __future__ import annotations

import numpy as np

from graphcnn.arrays import Array
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ops.attributes import Padding


def padded(write: Writer, x: str, padding: Padding, dtype: str, value: float = 0.0) -> str:
    """Return images [N, C, H, W] with a number around them."""
    if not any(map(any, padding)):
        return x
    (top, bottom), (left, right) = padding
    widths = write.integers(0, 0, top, left, 0, 0, bottom, right)
    return write("Pad", x, widths, write.number(value, dtype))


def gathered(write: Writer, x: str, padding: Padding, dtype: str, rows: Array, columns: Array) -> str:
    """Return [N, C, A, B, E, F] of images [N, C, H, W]: rows [A, B] and columns [E, F] of the padded ones."""
    x = padded(write, x, padding, dtype)
    x = write("Gather", x, write.constant(rows.astype(np.int64)), axis=2)
    return write("Gather", x, write.constant(columns.astype(np.int64)), axis=4)


def window_sums(size: int, places: int, stride: int, taps: int, before: int) -> Array:
    """Return [places, size]: 1 where an element of an axis lies in a window, which begins `before` it."""
    begin = stride * np.arange(places)[:, None] - before
    element = np.arange(size)
    found: Array = ((element >= begin) & (element < begin + taps)).astype(np.float64)
    return found
