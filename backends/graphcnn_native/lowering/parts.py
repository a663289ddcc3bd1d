"""Large filters as 3x3 filters of more channels, so that they can be computed on Winograd's tiles.

A filter of 5x5 taps is four parts of 3x3 (with a row and a column of zeros), which lie 3 pixels apart. Their
results add up, as if each part had channels of its own: a correlation with [5, 5, C, D] is one with
[3, 3, 4C, D] that reads each pixel of C channels four times, as it is and 3 pixels further down and to the
right. On tiles of 4x4 each result then takes 9 products instead of 25. Gradients are of the same kind. Where
results are two pixels apart, the taps of a part are too: four parts for 5x5 taps, nine for 7x7.
"""

from __future__ import annotations

from graphcnn.ir import TensorType, Value
from graphcnn.ops import Crop, Pad, Reshape, Transpose
from graphcnn.ops.attributes import Pair
from graphcnn.rewrite import Match
from graphcnn_native.lowering.winograd import TAPS, parts_of, taps_of


def parts_as_channels(match: Match, filters: Value, step: Pair) -> Value:
    """Emit filters [K, K', C, D] as such of 3x3 taps: [3, 3, parts · C, D]."""
    sizes = _Sizes(filters.type, step)
    (rows, columns), (down, across), channels, count = sizes.blocks, sizes.parts, sizes.channels, sizes.count
    padded = _emit_if_any(match, Pad(sizes.beyond), filters)
    split = match.emit(Reshape((rows, TAPS, step[0], columns, TAPS, step[1], channels, count)), padded)
    turned = match.emit(Transpose((1, 4, 0, 2, 3, 5, 6, 7)), split)
    joined = match.emit(Reshape((TAPS, TAPS, rows * step[0], columns * step[1], channels, count)), turned)
    parts = _emit_if_any(match, Crop(sizes.empty), joined)
    return match.emit(Reshape((TAPS, TAPS, down * across * channels, count)), parts)


def channels_as_parts(match: Match, gradient: Value, filters: TensorType, step: Pair) -> Value:
    """Emit the gradient of filters [K, K', C, D] from that of the parts which stand for them."""
    sizes = _Sizes(filters, step)
    (rows, columns), (down, across), channels, count = sizes.blocks, sizes.parts, sizes.channels, sizes.count
    split = match.emit(Reshape((TAPS, TAPS, down, across, channels, count)), gradient)
    joined = _emit_if_any(match, Pad(sizes.empty), split)
    all_ = match.emit(Reshape((TAPS, TAPS, rows, step[0], columns, step[1], channels, count)), joined)
    turned = match.emit(Transpose((2, 0, 3, 4, 1, 5, 6, 7)), all_)
    whole = (TAPS * rows * step[0], TAPS * columns * step[1], channels, count)
    return _emit_if_any(match, Crop(sizes.beyond), match.emit(Reshape(whole), turned))


def _emit_if_any(match: Match, op: Pad | Crop, value: Value) -> Value:
    """Emit what adds or takes off rows, unless it is none."""
    return match.emit(op, value) if any(map(any, op.widths)) else value


class _Sizes:
    """Of filters [K, K', C, D], whose taps `step` apart make parts.

    blocks: of 3 · step taps, along each axis. parts: how many of them have a tap. beyond: rows and columns of
    zeros that fill the last blocks. empty: parts that have no tap, behind [3, 3, parts, parts, C, D].
    """

    def __init__(self, filters: TensorType, step: Pair) -> None:
        taps = taps_of(filters)
        self.channels, self.count = filters.static(2), filters.static(3)
        self.parts = parts_of(taps, step)
        self.blocks = tuple(-(-size // (TAPS * apart)) for size, apart in zip(taps, step, strict=True))
        none = ((0, 0), (0, 0))
        axes = range(2)
        self.beyond = (*((0, TAPS * step[n] * self.blocks[n] - taps[n]) for n in axes), *none)
        self.empty = (*none, *((0, step[n] * self.blocks[n] - self.parts[n]) for n in axes), *none)
