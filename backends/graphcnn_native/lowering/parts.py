"""Large filters as 3x3 filters of more channels, so that they can be computed on Winograd's tiles.

A filter of 5x5 taps is four parts of 3x3 (with a row and a column of zeros), which lie 3 pixels apart. Their
results add up, as if each part had channels of its own: a correlation with [5, 5, C, D] is one with
[3, 3, 4C, D] that reads each pixel of C channels four times, as it is and 3 pixels further down and to the
right. On tiles of 4x4 each result then takes 9 products instead of 25. Gradients are of the same kind.
"""

from __future__ import annotations

from graphcnn.ir import TensorType, Value
from graphcnn.ops import Crop, Pad, Reshape, Transpose
from graphcnn.rewrite import Match
from graphcnn_native.lowering.winograd import TAPS, parts_of, taps_of


def parts_as_channels(match: Match, filters: Value) -> Value:
    """Emit filters [K, K', C, D] as such of 3x3 taps: [3, 3, parts · C, D]."""
    down, across = parts_of(taps_of(filters.type))
    k1, k2, channels, count = (filters.type.static(axis) for axis in range(4))
    widths = ((0, TAPS * down - k1), (0, TAPS * across - k2), (0, 0), (0, 0))
    padded = match.emit(Pad(widths), filters)
    split = match.emit(Reshape((down, TAPS, across, TAPS, channels, count)), padded)
    turned = match.emit(Transpose((1, 3, 0, 2, 4, 5)), split)
    return match.emit(Reshape((TAPS, TAPS, down * across * channels, count)), turned)


def channels_as_parts(match: Match, gradient: Value, filters: TensorType) -> Value:
    """Emit the gradient of filters [K, K', C, D] from that of those which stand for them."""
    down, across = parts_of(taps_of(filters))
    k1, k2, channels, count = (filters.static(axis) for axis in range(4))
    split = match.emit(Reshape((TAPS, TAPS, down, across, channels, count)), gradient)
    turned = match.emit(Transpose((2, 0, 3, 1, 4, 5)), split)
    whole = match.emit(Reshape((TAPS * down, TAPS * across, channels, count)), turned)
    return match.emit(Crop(((0, TAPS * down - k1), (0, TAPS * across - k2), (0, 0), (0, 0))), whole)
