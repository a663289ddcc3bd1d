"""How products of bfloat16 are cut for the processor's tiles, and how operands are put in order for them.

A tile instruction multiplies 16 places x 32 numbers of a sum by 32 numbers x 16 filters, in pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from graphcnn.ir import TensorType
from graphcnn.ops import Correlate2d
from graphcnn.ops.attributes import Pair
from graphcnn_native.elements import SIZES
from graphcnn_native.lowering.program import ALIGNMENT, Margins, aligned
from graphcnn_native.tile_sizes import evenly

TILE = 16
"""Rows of a tile, and numbers in each of float32, or pairs of bfloat16."""
DEPTH = 32
"""Products that a tile instruction sums up in each place."""
MOST_PLACES = 160
"""Results of so many places are summed up for a few filters before what follows them is computed."""
MOST_PACKED = 2 * 1024 * 1024
"""Bytes of images and deltas that a filter gradient puts in order at a time."""


def steps_of(length: int) -> int:
    """Return how many tile instructions a sum over so many numbers takes."""
    return -(-length // DEPTH)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a map is cut into register tiles of places.

    length: of a *run* of places, which lie one behind the other in the images: a row of results or, of small
    maps, all rows with the zeros between them. runs: how many there are. pitch: places from a row of results
    to the next. rows: places of a tile. tiles: of a run: one or an even number; the last one moves back to
    where the run ends. at_once: how many runs are summed up before what follows is computed.
    """

    length: int
    runs: int
    pitch: int
    rows: int
    tiles: int
    at_once: int

    @property
    def pairs(self) -> int:
        """How many times two tiles are summed up at once."""
        return -(-self.runs * self.tiles // 2)

    @property
    def cycles(self) -> int:
        """The cycles that a step takes for two tiles and 32 filters, in the whole map: products, or loads."""
        return self.pairs * max(4 * self.rows, self.rows + TILE)

    @property
    def columns(self) -> int:
        """How many tiles of 16 filters are summed up at once: two beside two tiles of places."""
        return 4 if self.pairs == 1 and self.runs * self.tiles == 1 else 2

    @property
    def bytes(self) -> int:
        """The bytes of the sums, and of a run before them, where tiles that move back begin."""
        return (self.at_once + 1) * self.length * self.columns * TILE * SIZES["float"]


def tiling(op: Correlate2d, images: TensorType, results: TensorType, margins: Margins) -> Tiling:
    """Return how the results [N, H', W', D] of a correlation are best cut.

    margins: of the images. Where results are a pixel apart, all rows can be one run.
    """
    rows, columns = results.static(1), results.static(2)
    found = [_cut(columns, rows, columns)]
    if op.stride == (1, 1):
        pitch = margins.pitch(images)
        length = (rows - 1) * pitch + columns
        if length <= MOST_PLACES:
            found.append(_cut(length, 1, pitch))
    return min(found, key=lambda each: each.cycles)


def _cut(length: int, runs: int, pitch: int) -> Tiling:
    tiles = -(-length // TILE)
    tiles = tiles if tiles == 1 else tiles + tiles % 2
    at_once = evenly(runs, max(2, MOST_PLACES // length)).size
    return Tiling(length, runs, pitch, -(-length // tiles), tiles, at_once)


@dataclass(frozen=True, slots=True)
class AlongAxis:
    """Taps of a filter gradient at one remainder, along an axis: those that meet every step-th pixel.

    first: the first of these pixels; size: how many there are. tap: the first of these taps, `taps` their
    number. shift: how far the first tap's pixel lies behind the delta, among these pixels.
    """

    first: int
    size: int
    tap: int
    taps: int
    shift: int


def along_axis(size: int, taps: int, before: int, step: int) -> list[AlongAxis]:
    """Return the taps of a filter gradient by remainder; size: of the images, padded by `before` zeros."""
    found = []
    for tap in range(min(taps, step)):
        shift, first = divmod(tap - before, step)
        found.append(
            AlongAxis(first, max(0, -(-(size - first) // step)), tap, -(-(taps - tap) // step), shift)
        )
    return found


@dataclass(frozen=True, slots=True)
class Packing:
    """How a filter gradient puts images and deltas in order: place by place, sample after sample.

    rows, pitch: of a sample, with zeros between its images or deltas and the next ones, so that a tap that
    falls beside them meets zeros. samples: so many at a time. before, behind: places with zeros before the
    first delta and behind the last, which taps reach.

    Offsets in bytes: images, deltas: place by place. turned: images in tiles of 16 channels x 32 places.
    pairs: deltas in pairs of places, of an even number and the next in the first half, of an odd one in the
    second. sums: of 32 channels x 32 filters.
    """

    down: tuple[AlongAxis, ...]
    across: tuple[AlongAxis, ...]
    rows: int
    pitch: int
    samples: int
    before: int
    behind: int
    images: int
    deltas: int
    turned: int
    pairs: int
    sums: int
    bytes: int

    @property
    def places(self) -> int:
        """How many places the samples have, in whole steps."""
        return DEPTH * steps_of(self.samples * self.rows * self.pitch)

    @property
    def pairs_of_half(self) -> int:
        """How many pairs of places each half of them has."""
        return (self.before + self.places + self.behind) // 2


def packing(op: Correlate2d, taps: Pair, images: TensorType, deltas: TensorType, block: int) -> Packing:
    """Return how images [N, H, W, C] and deltas [N, H', W', D] of a block of samples are put in order.

    op: a correlation that sums over the batch, for these taps.
    """
    sizes, axes = [], []
    for axis in (0, 1):
        along = along_axis(images.static(1 + axis), taps[axis], op.padding[axis][0], op.dilation[axis])
        least, most = min(each.shift for each in along), max(each.shift + each.taps - 1 for each in along)
        rows = max(max(each.size for each in along) - least, deltas.static(1 + axis) + most)
        sizes.append((rows, least, most))
        axes.append(tuple(along))
    (rows, up, down), (pitch, left, right) = sizes
    before, behind = (2 * -(-max(0, places) // 2) for places in (down * pitch + right, -up * pitch - left))
    channels, filters = (TILE * -(-type.static(3) // TILE) for type in (images, deltas))
    own = 2 * (images.static(3) + deltas.static(3) + channels + 2 * filters)
    samples = evenly(block, max(1, MOST_PACKED // (own * rows * pitch))).size
    places = DEPTH * steps_of(samples * rows * pitch)
    reached = before + places + behind + DEPTH + 2
    lengths = (
        2 * (places + DEPTH) * images.static(3) + ALIGNMENT,
        2 * reached * deltas.static(3) + ALIGNMENT,
        2 * places * channels,
        2 * 2 * reached * filters,
        4 * DEPTH * DEPTH,
    )
    offsets = accumulate((aligned(length) for length in lengths), initial=0)
    return Packing(axes[0], axes[1], rows, pitch, samples, before, behind, *offsets)
