"""Winograd's minimal filtering, F(2x2, 3x3) and F(4x4, 3x3): what uses it, and the ops that it becomes.

Two by two results of a 3x3 correlation take 36 products as Eq. 1 has them, and 16 after tiles of 4x4 pixels
and the filters have gone through a linear map each; four by four take 144, and 36 on tiles of 6x6 pixels
(Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). The gradients are of the
same kind: Eq. 21 is a correlation, and the filter gradient is the transpose of the map (Eq. 13 on tiles).

A filter of 5x5 taps is four *parts* of 3x3 (with a row and a column of zeros), which lie 3 pixels apart.
Their results add up, as if each part had channels of its own: a correlation with [5, 5, C, D] is one with
[3, 3, 4C, D] that reads each pixel of C channels four times, as it is and 3 pixels further down and to the
right. On tiles of 4x4 each result then takes 9 products instead of 25. Gradients are of the same kind. Where
results are two pixels apart, the taps of a part are too: four parts for 5x5 taps, nine for 7x7.

The maps of the smaller form add, subtract and halve, and round less than plain sums do. Those of the larger
one evaluate polynomials at 0, ±5/8, ±3/2 and ∞, which costs a bit of float32: errors are twice those of plain
sums, where the usual points 0, ±1, ±2 and ∞ cost two bits. (On points: Barabasz et al., "Error Analysis and
Improving the Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 46, 2020.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from graphcnn.ir import Op, TensorType
from graphcnn.ops import Correlate2d
from graphcnn.ops.attributes import Pair
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.lowering.program import ALIGNMENT, BLOCK
from graphcnn_native.target import Target
from graphcnn_native.tile_sizes import best_in_all, best_tile, cost_of_rows, evenly, tile_cost, tiles

TAPS = 3
"""Rows and columns of a filter."""
MAPPING: Final = {2: 64, 4: 300}
"""By the rows and columns of results that a tile yields: what it takes to map a vector of channels, or of
filters, of one tile, in multiplications of vectors."""
LARGEST: Final = max(MAPPING)
WORKSPACE = 384 * 1024
"""Bytes of tiles that a thread has under way: about a third of the second cache."""
WIDEST_SLICE = 128
"""Channels of images that are mapped before they are multiplied: tiles of more would leave the cache."""
LARGE_FILTERS = 1024 * 1024
"""Bytes of mapped filters that no second cache holds: each read has to serve many tiles."""
FEWEST = 32
"""So many tiles at least are then under way."""
FEWEST_SUMMED = 96
"""So many tiles at least a filter gradient sums up before it maps the sums to taps."""
NEAR_FILTERS = 4 * 1024 * 1024
"""Bytes of mapped filters that a call at batch 1 finds in the last cache, beside others."""
BYTES_A_PRODUCT = 8
"""So many bytes come from memory in the time of a multiplication of vectors, on two threads as on one."""
FEW, MANY = 1, 64
"""Batch sizes for which tiles are chosen: of training the larger alone, of inference both."""
FEWEST_CHANNELS = 4
MOST_TAPS = 15
"""Rows or columns of the largest filters that were tried in parts."""
LEAST_GAIN = 1.1


def side(results: int) -> int:
    """Return the rows and columns of pixels of a tile that yields results x results."""
    return results + TAPS - 1


def parts_of(taps: Pair, step: Pair) -> Pair:
    """Return of how many parts of 3x3 taps a filter is, down and across.

    step: how far apart the taps of a part lie, which is how far apart the pixels of neighbouring results do.
    """
    blocks = [(TAPS * apart, apart) for apart in step]
    down, across = (
        taps[axis] // size * apart + min(apart, taps[axis] % size)
        for axis, (size, apart) in enumerate(blocks)
    )
    return down, across


def offset_of(part: int, step: int) -> int:
    """Return the first tap of a part along an axis: `step` of them begin in each block of 3 · step taps."""
    return part + part // step * (TAPS - 1) * step


def step_of(op: Correlate2d) -> Pair:
    """Return how many pixels lie from one result to the next, or from one delta of a filter gradient."""
    return op.dilation if op.sum_over == "batch" else op.stride


def taps_of(filters: TensorType) -> Pair:
    return filters.static(0), filters.static(1)


def slice_of(channels: int, parts: int, lanes: int) -> tuple[int, int]:
    """Return how many channels of how many parts are mapped, and multiplied, before the next ones."""
    room = WIDEST_SLICE // channels
    if room:
        return channels, max(n for n in range(1, min(parts, room) + 1) if parts % n == 0)
    suited = [size for size in range(lanes, WIDEST_SLICE + 1, lanes) if channels % size == 0]
    return (suited[-1] if suited else channels), 1


def points(results: int) -> int:
    """Return the products of a tile, a channel and a filter."""
    return side(results) ** 2


@dataclass(frozen=True, slots=True)
class WinogradFilters(Op):
    """Filters [K, K', C, D] mapped to [points, parts · C, D]: for each product of a tile, a matrix.

    In memory, a matrix is in panels of `panel` columns at most, one behind the other, as products read it: a
    panel holds the columns of a register tile, for all channels. So memory is read from begin to end.
    step: how far apart the taps of a part lie.
    """

    results: int
    panel: int
    step: Pair = (1, 1)

    name: ClassVar[str] = "winograd_filters"
    equation: ClassVar[str] = "U = G w Gᵀ"
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (filters,) = operands
        channels = math.prod(parts_of(taps_of(filters), self.step)) * filters.static(2)
        return (filters.with_shape((points(self.results), channels, filters.shape[3])),)


@dataclass(frozen=True, slots=True)
class WinogradCorrelation(Correlate2d):
    """A correlation whose filters are mapped already, [points, C, D], in panels.

    tile: so many tiles, and filters, are in a register tile; the filters are those of a panel. taps: of the
    filters; larger ones are mapped as parts of 3x3, each with channels of its own.
    """

    results: int = 2
    tile: tuple[int, int] = (1, 16)
    taps: Pair = (TAPS, TAPS)

    name: ClassVar[str] = "winograd"
    equation: ClassVar[str] = "Y = Aᵀ (U ⊙ Bᵀ I B) A"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        images, mapped = operands
        return Correlate2d.result_types(self, images, self._filters(mapped))

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        """Return the FLOPs of the correlation as it is defined, so that rates can be compared."""
        images, mapped = operands
        return Correlate2d.flops(self, (images, self._filters(mapped)), results, batch)

    def _filters(self, mapped: TensorType) -> TensorType:
        _, channels, count = mapped.shape
        return mapped.with_shape(
            (*self.taps, int(channels) // math.prod(parts_of(self.taps, self.stride)), count)
        )


@dataclass(frozen=True, slots=True)
class WinogradFilterGradient(Correlate2d):
    """A correlation of images with deltas that sums over the batch, for so many rows and columns of taps."""

    results: int = 2
    taps: Pair = (TAPS, TAPS)

    name: ClassVar[str] = "winograd_gradient"
    equation: ClassVar[str] = "dw = Gᵀ (Σ Bᵀ I B ⊙ A delta Aᵀ) G"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (whole,) = Correlate2d.result_types(self, *operands)
        return (whole.with_shape((*self.taps, *whole.shape[2:])),)


def best_results(
    op: Correlate2d,
    images: TensorType,
    filters: TensorType,
    maps: TensorType,
    target: Target,
    most: int,
    batches: Sequence[int] = (MANY,),
) -> int:
    """Return the rows and columns of results that tiles of a correlation best yield; 0 for no tiles at all.

    op: forward, or of the filter gradient. images: [N, H, W, C]; filters: [K, K', C, D], of which larger ones
    are in parts of 3x3; maps: the results or their deltas, [N, H', W', D]. most: the largest tile that may be
    chosen, 0, 2 or 4. batches: the choice is the one that at none of these sizes takes far longer than the
    best one there.
    """
    others = op.stride if op.sum_over == "batch" else op.dilation
    if images.dtype != "float32" or (others, op.groups) != ((1, 1), 1):
        return 0
    if not all(TAPS <= size <= MOST_TAPS for size in taps_of(filters)):
        return 0
    taps, parts = math.prod(taps_of(filters)), math.prod(parts_of(taps_of(filters), step_of(op)))
    item = SIZES[ITEMS[images.dtype]]
    lanes = target.lanes(item)
    channels, count = parts * filters.static(2), filters.static(3)
    if channels < FEWEST_CHANNELS or count < lanes // 2:
        return 0
    rows, columns = maps.static(1), maps.static(2)
    vectors = target.lanes_of_row(count, item) / lanes
    matrix = channels * count * item
    plain = rows * columns * taps * filters.static(2) * vectors / LEAST_GAIN
    mapped = parts * target.lanes_of_row(filters.static(2), item) / lanes + vectors
    costs = {0: (plain, _loading(taps * filters.static(2) * count * item))}
    for results, mapping in MAPPING.items():
        if results <= most:
            tiles = -(-rows // results) * -(-columns // results)
            products = points(results) * channels * vectors
            each = tiles * (products + mapping * mapped)
            costs[results] = each, _loading(points(results) * matrix)

    def time(results: int, batch: int) -> float:
        each, once = costs[results]
        return batch * each + once

    return best_in_all(list(costs), time, batches)


@functools.cache
def register_tile(maps: TensorType, results: int, target: Target, batches: Sequence[int]) -> tuple[int, int]:
    """Return how many tiles, and filters, a register tile of a correlation best has.

    maps: the results, [N, H', W', D]. results: rows and columns of results that a tile yields. batches: of
    these sizes, all of which the choice suits.
    """
    lanes = target.lanes(SIZES[ITEMS[maps.dtype]])
    vectors = -(-maps.static(3) // lanes)
    each = -(-maps.static(1) // results) * -(-maps.static(2) // results)

    def time(tile: tuple[int, int], batch: int) -> float:
        """Return what it takes; of a single sample, one of two threads: they share tiles or panels."""
        rows, wide = tile
        times, panels = -(-batch * each // rows), evenly(vectors, wide)
        if batch > 1:
            return times * cost_of_rows(rows, vectors, wide)
        if times > 1:
            return -(-times // 2) * cost_of_rows(rows, vectors, wide)
        half = -(-(panels.many + panels.fewer) // 2)
        wider = min(half, panels.many)
        return wider * tile_cost(rows, panels.size) + (half - wider) * tile_cost(rows, panels.size - 1)

    rows, wide = best_in_all(tiles(target, vectors), time, batches)
    return rows, wide * lanes


def _loading(size: int) -> float:
    """Return what it takes to load so many bytes of filters, in multiplications of vectors."""
    return max(0, size - NEAR_FILTERS) / BYTES_A_PRODUCT


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a thread keeps the tiles under way: offsets in bytes, strides in elements.

    tiles: how many are under way.
    taken, parts: how many channels of the images, for how many parts of the filters, are mapped at a time.
    channels, width: all these channels, and the filters, rounded up to whole vectors.
    zeros: what a tile reads beyond the images. images, maps: mapped tiles, a matrix [tiles, channels] or
    [tiles, width] for each point, `image_stride` and `map_stride` apart. sums: of the filter gradient, what a
    register tile has summed up at each point, `sum_stride` apart.
    """

    tiles: int
    taken: int
    parts: int
    channels: int
    width: int
    image_stride: int
    map_stride: int
    sum_stride: int
    zeros: int
    images: int
    maps: int
    sums: int
    bytes: int


def workspace(
    op: WinogradCorrelation | WinogradFilterGradient, images: TensorType, maps: TensorType, target: Target
) -> Workspace:
    """Lay out the workspace of a kernel for images [N, H, W, C] and maps [N, H', W', D]."""
    item = SIZES[ITEMS[images.dtype]]
    lanes, count = target.lanes(item), points(op.results)
    taken, parts = slice_of(images.static(3), math.prod(parts_of(op.taps, step_of(op))), lanes)
    beyond = -taken % lanes  # of the last vector of a part; the next part begins there
    channels, width = (-(-size // lanes) * lanes for size in (parts * taken + beyond, maps.static(3)))
    in_block = max(BLOCK, lanes) * -(-maps.static(1) // op.results) * -(-maps.static(2) // op.results)
    is_gradient = isinstance(op, WinogradFilterGradient)
    is_large = count * channels * width * item > LARGE_FILTERS
    least = FEWEST_SUMMED if is_gradient else FEWEST if is_large else 1
    most = max(least, WORKSPACE // (count * (channels + width) * item))
    at_once = op.tile[0] if isinstance(op, WinogradCorrelation) else 1
    tiles = -(-evenly(in_block, most).size // at_once) * at_once
    image_stride, map_stride = (_spread(tiles * row * item) // item for row in (channels, width))
    rows, wide = best_tile(target, parts * taken, width // lanes)
    sum_stride = _spread(rows * wide * lanes * item) // item if is_gradient else 0
    offsets = [0]
    for size in (max(channels, width), count * image_stride, count * map_stride, count * sum_stride):
        offsets.append(offsets[-1] + size * item)
    return Workspace(tiles, taken, parts, channels, width, image_stride, map_stride, sum_stride, *offsets)


def _spread(size: int) -> int:
    """Round up to an odd number of cache lines, so that neighbours do not meet in one set of the cache."""
    return (-(-size // ALIGNMENT) | 1) * ALIGNMENT
