"""Large filters as 3x3 filters of more channels, so that they can be computed on Winograd's tiles.

A filter of 5x5 taps is four parts of 3x3 (with a row and a column of zeros), which lie 3 pixels apart. The
sum over them is a sum over channels, if each pixel brings the pixels 3 below and beside it along as channels
of its own: a correlation with [5, 5, C, D] is one with [3, 3, 4C, D] of *shifted* images, which have 4C
channels. On tiles of 4x4 each result then takes 9 products instead of 25. Gradients are of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphcnn.ir import Op, TensorType, Value
from graphcnn.ops import Crop, Pad, Reshape, Transpose
from graphcnn.ops.attributes import Padding, Pair
from graphcnn.rewrite import Match
from graphcnn_native.lowering.winograd import TAPS, parts_of


@dataclass(frozen=True, slots=True)
class ShiftedImages(Op):
    """Images [N, H, W, C] with what lies 3, 6, ... pixels further as channels: [N, H', W', parts · C].

    parts: how many pixels below, and beside, a pixel brings along, itself among them.
    """

    parts: Pair

    name: ClassVar[str] = "shifted_images"
    equation: ClassVar[str] = "y(n, i, j, (s, t, c)) = x(n, i + 3s, j + 3t, c)"
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (images,) = operands
        down, across = self.parts
        rows, columns = (images.static(axis) - TAPS * (self.parts[axis - 1] - 1) for axis in (1, 2))
        channels = down * across * images.static(3)
        return (images.with_shape((images.shape[0], rows, columns, channels)),)


def shifted_images(match: Match, images: Value, padding: Padding, filters: TensorType) -> Value:
    """Emit images, padded, as filters of 3x3 taps take them that stand for larger ones."""
    parts = parts_of(filters)
    rows, columns = (
        (before, after + TAPS * parts[axis] - filters.static(axis))
        for axis, (before, after) in enumerate(padding)
    )
    if any((*rows, *columns)):
        images = match.emit(Pad(((0, 0), rows, columns, (0, 0))), images)
    return match.emit(ShiftedImages(parts), images)


def parts_as_channels(match: Match, filters: Value) -> Value:
    """Emit filters [K, K', C, D] as such of 3x3 taps: [3, 3, parts · C, D]."""
    down, across = parts_of(filters.type)
    k1, k2, channels, count = (filters.type.static(axis) for axis in range(4))
    widths = ((0, TAPS * down - k1), (0, TAPS * across - k2), (0, 0), (0, 0))
    padded = match.emit(Pad(widths), filters)
    split = match.emit(Reshape((down, TAPS, across, TAPS, channels, count)), padded)
    turned = match.emit(Transpose((1, 3, 0, 2, 4, 5)), split)
    return match.emit(Reshape((TAPS, TAPS, down * across * channels, count)), turned)


def channels_as_parts(match: Match, gradient: Value, filters: TensorType) -> Value:
    """Emit the gradient of filters [K, K', C, D] from that of those which stand for them."""
    down, across = parts_of(filters)
    k1, k2, channels, count = (filters.static(axis) for axis in range(4))
    split = match.emit(Reshape((TAPS, TAPS, down, across, channels, count)), gradient)
    turned = match.emit(Transpose((2, 0, 3, 1, 4, 5)), split)
    whole = match.emit(Reshape((TAPS * down, TAPS * across, channels, count)), turned)
    return match.emit(Crop(((0, TAPS * down - k1), (0, TAPS * across - k2), (0, 0), (0, 0))), whole)
