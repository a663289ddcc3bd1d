"""How products of bfloat16 are cut for the processor's tiles, and how operands are put in order for them.

A tile instruction multiplies 16 places x 32 numbers of a sum by 32 numbers x 16 filters, in pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

from graphcnn.ir import TensorType
from graphcnn.ops import Correlate2d
from graphcnn.ops.attributes import Pair
from graphcnn_native.elements import SIZES
from graphcnn_native.lowering import strides
from graphcnn_native.lowering.program import ALIGNMENT, aligned
from graphcnn_native.tile_sizes import evenly

TILE = 16
"""Rows of a tile, and numbers in each of float32, or pairs of bfloat16."""
DEPTH = 32
"""Products that a tile instruction sums up in each place."""
AT_ONCE = 4
"""Tiles of places that are summed up at once."""
FILTERS = 64
"""So many filters, at most, are summed up before what follows is computed."""
SAMPLES = 256
"""So many samples, at most, are in order at a time for a product over samples."""
LONGEST_MAP = 128
"""Places of the largest map whose rows are one run."""
STEP = 64
"""Cycles of four products of tiles, or of fewer that wait for each other."""
PLAIN = 28
"""Products of float32 in a cycle."""
PUT_BACK = 1.4
"""By how much longer a filter gradient takes that loads and stores its sums after some steps."""
IN_ORDER = 150
"""Cycles that it takes to put 32 places in order, for 16 channels or filters."""
MARGIN = 1.3
"""By tiles, products must take less time by this factor: what is compared are estimates."""
BEGIN = 32
"""What products of tiles take beside the time of their rows, in rows: the next ones wait for their sums."""
LEAST_PACKED, MOST_PACKED = 512 * 1024, 2 * 1024 * 1024
"""Bytes of images and deltas that a filter gradient puts in order at a time: more for many filters, whose
sums leave the second cache in between."""


def whole_steps(length: int) -> int:
    """Return how many tile instructions a sum over so many numbers takes."""
    return -(-length // DEPTH)


@dataclass(frozen=True, slots=True)
class Steps:
    """The order in which the products of a place are summed up, 32 at a time: three loops, one in the other.

    blocks: of 32 channels, for all taps each, so that pixels are near that several taps meet; one, where
    channels do not fill blocks. rows: of taps. along: steps in a row: taps or, where there is one block, all
    channels of a row of taps one behind the other. by_channels: whether there are blocks.
    """

    blocks: int
    rows: int
    along: int
    by_channels: bool

    @property
    def count(self) -> int:
        return self.blocks * self.rows * self.along


def steps_of(taps: Pair, channels: int) -> Steps:
    """Return the order of the products of so many taps and channels."""
    if channels % DEPTH == 0:
        return Steps(channels // DEPTH, *taps, by_channels=True)
    return Steps(1, taps[0], whole_steps(taps[1] * channels), by_channels=False)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a map is cut into register tiles of places, four of which are summed up at once for 16 filters.

    length: of a *run* of places, which lie one behind the other in the images: a row of results or, of small
    maps, all rows with the zeros between them. runs: how many there are. pitch: places from a row of results
    to the next. rows: places of a tile. tiles: of a run; the last one moves back to where the run ends.
    at_once: how many runs are summed up before what follows is computed; samples: of how many samples, if a
    run is all of a map.
    """

    length: int
    runs: int
    pitch: int
    rows: int
    tiles: int
    at_once: int
    samples: int

    @property
    def bytes(self) -> int:
        """The bytes of the sums."""
        return self.samples * self.at_once * self.length * FILTERS * SIZES["float"]

    @property
    def cycles(self) -> float:
        """Return what a step takes for 16 filters and a sample."""
        of_part = -(-self.samples * self.at_once * self.tiles // AT_ONCE)
        parts = -(-self.runs // self.at_once)
        return parts * of_part / self.samples * (BEGIN + self.rows)


@dataclass(frozen=True, slots=True)
class Phase:
    """Results of a correlation that meet the same taps: all of them, but where zeros would be inserted.

    down, across: which results, and which taps, along each axis (`strides.py`). steps: the order of their
    products; before: how many steps there are in the phases before.
    """

    down: strides.Phase
    across: strides.Phase
    steps: Steps
    before: int


def phases(sizes: Pair, taps: Pair, padding: Pair, inserted: Pair, channels: int) -> list[Phase]:
    """Return the phases of a map of these sizes, by filters of so many taps and channels.

    padding: above and at the left. inserted: factors of zeros that would be inserted into the images.
    """
    found, before = list[Phase](), 0
    downs, acrosses = map(strides.phases, sizes, taps, padding, inserted)
    for down in downs:
        for across in acrosses:
            steps = steps_of((down.taps, across.taps), channels)
            found.append(Phase(down, across, steps, before))
            before += steps.count
    return found


def tiling(rows: int, columns: int, pitch: int | None) -> Tiling:
    """Return how so many rows and columns of results are best cut.

    pitch: places from a row of the images to the next, where all rows can be one run: if neighbours among
    the results are neighbours there.
    """
    found = [_cut(columns, rows, columns)]
    if pitch is not None:
        length = (rows - 1) * pitch + columns
        if length <= LONGEST_MAP:
            found += [_cut(length, 1, pitch, samples) for samples in range(1, AT_ONCE + 1)]
    return min(found, key=lambda each: each.cycles)


def _cut(length: int, runs: int, pitch: int, samples: int = 1) -> Tiling:
    tiles = -(-length // TILE)
    least = AT_ONCE // math.gcd(tiles, AT_ONCE)
    most = max(1, AT_ONCE * TILE // length // least) * least
    return Tiling(length, runs, pitch, -(-length // tiles), tiles, evenly(runs, most).size, samples)


def correlation_pays(taps: Pair, channels: int, filters: int) -> bool:
    """Return whether results of so many taps, channels and filters take less time by tiles than without."""
    by_tiles = steps_of(taps, channels).count * -(-filters // TILE) * STEP
    return MARGIN * by_tiles < AT_ONCE * TILE * math.prod(taps) * channels * filters / PLAIN


def filter_gradient_pays(filters: TensorType) -> bool:
    """Return whether the gradient of filters [K, K', C, D] takes less time by tiles than as float32."""
    rows, columns, channels, count = map(int, filters.shape)
    high, wide = -(-channels // TILE), -(-count // TILE)
    blocks = -(-high // 2) * -(-wide // 2)
    each = max(STEP, TILE * high * wide / blocks)
    by_tiles = PUT_BACK * rows * columns * blocks * each + IN_ORDER * (high + wide)
    return MARGIN * by_tiles < DEPTH * rows * columns * channels * count / PLAIN


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
        return DEPTH * whole_steps(self.samples * self.rows * self.pitch)

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
        pixels, places = max(each.size for each in along), deltas.static(1 + axis)
        rows = max(pixels - min(0, least), places + max(0, most))
        sizes.append((rows, least, most))
        axes.append(tuple(along))
    (rows, up, down), (pitch, left, right) = sizes
    before, behind = (2 * -(-max(0, places) // 2) for places in (down * pitch + right, -up * pitch - left))
    channels, filters = (TILE * -(-type.static(3) // TILE) for type in (images, deltas))
    own = 2 * (images.static(3) + deltas.static(3) + channels + 2 * filters)
    most = min(MOST_PACKED, max(LEAST_PACKED, 8 * math.prod(taps) * images.static(3) * deltas.static(3)))
    samples = evenly(block, max(1, most // (own * rows * pitch))).size
    places = DEPTH * whole_steps(samples * rows * pitch)
    reached = before + places + behind + DEPTH + 2
    lengths = (
        2 * (places + DEPTH) * images.static(3) + ALIGNMENT,
        2 * reached * deltas.static(3) + ALIGNMENT,
        2 * places * channels,
        2 * 2 * reached * filters,
        4 * DEPTH * DEPTH * taps[0] * taps[1],
    )
    offsets = accumulate((aligned(length) for length in lengths), initial=0)
    return Packing(axes[0], axes[1], rows, pitch, samples, before, behind, *offsets)


@dataclass(frozen=True, slots=True)
class OverSamples:
    """How a product over samples puts some of them in order, and the offsets of that in bytes.

    turned: samples in two tiles of 16 rows of the result by 32 samples. pairs: of samples, all columns beside
    each other. sums: of 32 rows and 32 columns.
    """

    turned: int
    pairs: int
    sums: int
    bytes: int


def over_samples(right: TensorType) -> OverSamples:
    """Return how a product with [N, D] puts samples in order."""
    panels = -(-right.static(1) // TILE)
    lengths = 2 * 2 * TILE * SAMPLES, 2 * TILE * panels * SAMPLES, 4 * DEPTH * DEPTH
    return OverSamples(*accumulate(lengths, initial=0))
