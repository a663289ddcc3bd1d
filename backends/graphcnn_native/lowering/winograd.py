"""Winograd's minimal filtering, F(4x4, 3x3) and its kin: what uses it, and the ops that it becomes.

Two by two results of a 3x3 correlation take 36 products as Eq. 1 has them, and 16 after tiles of 4x4 pixels
and the filters have gone through a linear map each; four by four take 144, and 36 on tiles of 6x6 pixels
(Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). The same tiles yield 3x3
results of 4x4 taps, or 2x2 results of 5x5. The gradients are of the same kind: Eq. 21 is a correlation, and
the filter gradient is the transpose of the map (Eq. 13 on tiles).

A filter of 7x7 taps is four *parts* of 4x4 (with a row and a column of zeros), which lie 4 pixels apart.
Their results add up, as if each part had channels of its own: a correlation with [7, 7, C, D] is one with
[4, 4, 4C, D] that reads each pixel of C channels four times, as it is and 4 pixels further down and to the
right. Each result then takes 16 products instead of 49. Gradients are of the same kind. Where results are two
pixels apart, the taps of a part are too.

The maps of the smallest form add, subtract and halve, and round less than plain sums do. Those on 6x6 pixels
evaluate polynomials at 0, ±5/8, ±3/2 and ∞, which costs a bit of float32: errors are about twice those of
plain sums, where the usual points 0, ±1, ±2 and ∞ cost two bits. (On points: Barabasz et al., "Error Analysis
and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 46, 2020.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Final, NamedTuple

from graphcnn.ir import Op, TensorType
from graphcnn.ops import Correlate2d
from graphcnn.ops.attributes import Pair
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.lowering.program import ALIGNMENT, BLOCK, MOST_SHARDS
from graphcnn_native.target import Target
from graphcnn_native.tile_sizes import best_in_all, best_tile, cost_of_rows, evenly, tile_cost, tiles


class Form(NamedTuple):
    """F(results x results, taps x taps): what a tile yields, and of how many taps."""

    results: int
    taps: int

    @property
    def side(self) -> int:
        """Rows and columns of a tile's pixels, which are as many as its products for a channel and filter."""
        return self.results + self.taps - 1

    @property
    def points(self) -> int:
        return self.side**2

    def parts_of(self, taps: Pair, step: Pair) -> Pair:
        """Return of how many parts a filter of so many taps is, down and across.

        step: how far apart the taps of a part lie, which is how far apart the pixels of neighbouring results
        do.
        """
        blocks = [(self.taps * apart, apart) for apart in step]
        down, across = (
            taps[axis] // size * apart + min(apart, taps[axis] % size)
            for axis, (size, apart) in enumerate(blocks)
        )
        return down, across

    def offset_of(self, part: int, step: int) -> int:
        """Return the first tap of a part along an axis: `step` of them begin in each block of taps · step."""
        return part + part // step * (self.taps - 1) * step


SMALL = Form(2, 3)
MAPPING: Final = {SMALL: (110, 60), Form(4, 3): (400, 200), Form(3, 4): (400, 150), Form(2, 5): (350, 100)}
"""What it takes to map a tile's pixels, and its results, for a vector of channels, or of filters, in
multiplications of vectors. These numbers and the next two were fitted to the times of some 70 layers."""
PLACE = 25
"""What a place of the maps takes without tiles, beside the products."""
SLOWER = 1.15
"""The time of a multiplication on tiles, which read more, in that of one without."""
MOST_TAPS_SUMMED = 4
"""Of the forms of filter gradients: in those of more, errors are four times those of plain sums."""
CHOICES: Final = {2: (SMALL,), 4: tuple(MAPPING)}
"""Forms that may be chosen, by the option `winograd`; True stands for the last ones."""
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
BYTES_READ, BYTES_WRITTEN = 8, 0.75
"""So many bytes of mapped filters come from memory, and go there, in the time of a multiplication of vectors,
on two threads as on one."""
FEW, MANY = 1, 64
"""Batch sizes for which tiles are chosen: of training, which maps its filters anew each time, the larger
alone; of inference, whose filters are prepared, both."""
FEWEST_CHANNELS = 4
LARGEST_FILTER = 15
"""Rows or columns of the largest filters that were tried in parts."""


def step_of(op: Correlate2d) -> Pair:
    """Return how many pixels lie from one result to the next, or from one delta of a filter gradient."""
    return op.dilation if op.sum_over == "batch" else op.stride


def taps_of(filters: TensorType) -> Pair:
    return filters.static(0), filters.static(1)


def slice_of(images: TensorType, form: Form, taps: Pair, step: Pair, target: Target) -> tuple[int, int]:
    """Return how many channels of how many parts are mapped, and multiplied, before the next ones.

    images: [N, H, W, C]; taps: of the filters; step: how far apart those of a part lie.
    """
    channels, parts = images.static(3), math.prod(form.parts_of(taps, step))
    lanes = target.lanes(SIZES[ITEMS[images.dtype]])
    room = WIDEST_SLICE // channels
    if room:
        return channels, max(n for n in range(1, min(parts, room) + 1) if parts % n == 0)
    suited = [size for size in range(lanes, WIDEST_SLICE + 1, lanes) if channels % size == 0]
    return (suited[-1] if suited else channels), 1


@dataclass(frozen=True, slots=True)
class WinogradFilters(Op):
    """Filters [K, K', C, D] mapped to [points, parts · C, D]: for each product of a tile, a matrix.

    In memory they lie as products read them, from begin to end: slice after slice of `depth` channels, in a
    slice panel after panel with the columns of a register tile each, `panel` at most, and in a panel point
    after point. step: how far apart the taps of a part lie. is_turned: whether the filters are those of the
    layer whose input gradient it is, [K, K', D, C], which are turned as they are mapped.
    """

    form: Form
    panel: int
    depth: int
    step: Pair = (1, 1)
    is_turned: bool = False

    name: ClassVar[str] = "winograd_filters"
    equation: ClassVar[str] = "U = G w Gᵀ"
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (filters,) = operands
        rows, columns, channels, count = filters.shape
        if self.is_turned:
            channels, count = count, channels
        parts = math.prod(self.form.parts_of((int(rows), int(columns)), self.step))
        return (filters.with_shape((self.form.points, parts * int(channels), count)),)


@dataclass(frozen=True, slots=True)
class WinogradCorrelation(Correlate2d):
    """A correlation whose filters are mapped already, [points, C, D], in panels.

    tile: so many tiles, and filters, are in a register tile; the filters are those of a panel. taps: of the
    filters; larger ones than the form has are mapped as parts, each with channels of its own.
    """

    form: Form = SMALL
    tile: tuple[int, int] = (1, 16)
    taps: Pair = (3, 3)

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
            (*self.taps, int(channels) // math.prod(self.form.parts_of(self.taps, self.stride)), count)
        )


@dataclass(frozen=True, slots=True)
class WinogradFilterGradient(Correlate2d):
    """A correlation of images with deltas that sums over the batch, for so many rows and columns of taps."""

    form: Form = SMALL
    taps: Pair = (3, 3)

    name: ClassVar[str] = "winograd_gradient"
    equation: ClassVar[str] = "dw = Gᵀ (Σ Bᵀ I B ⊙ A delta Aᵀ) G"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (whole,) = Correlate2d.result_types(self, *operands)
        return (whole.with_shape((*self.taps, *whole.shape[2:])),)


def best_form(
    op: Correlate2d,
    images: TensorType,
    filters: TensorType,
    maps: TensorType,
    target: Target,
    forms: Sequence[Form],
    batches: Sequence[int] = (MANY,),
) -> Form | None:
    """Return the form that suits a correlation best; None for no tiles at all.

    op: forward, or of the filter gradient. images: [N, H, W, C]; filters: [K, K', C, D]; maps: the results or
    their deltas, [N, H', W', D]. forms: those that may be chosen. batches: the choice is the one that at none
    of these sizes takes far longer than the best one there.
    """
    others = op.stride if op.sum_over == "batch" else op.dilation
    if images.dtype != "float32" or (others, op.groups) != ((1, 1), 1):
        return None
    size = taps_of(filters)
    if not all(SMALL.taps <= along <= LARGEST_FILTER for along in size):
        return None
    item = SIZES[ITEMS[images.dtype]]
    lanes = target.lanes(item)
    channels, count = filters.static(2), filters.static(3)
    if count < lanes // 2:
        return None
    vectors_in, vectors_out = (target.lanes_of_row(length, item) / lanes for length in (channels, count))
    taps = math.prod(size)
    plain = maps.static(1) * maps.static(2) * (taps * channels * vectors_out / SLOWER + PLACE)
    costs: dict[Form | None, tuple[float, int]] = {None: (plain, taps * channels * count * item)}
    for form in forms:
        parts, (of_pixels, of_results) = math.prod(form.parts_of(size, step_of(op))), MAPPING[form]
        is_exact = op.sum_over == "channels" or form.taps <= MOST_TAPS_SUMMED
        if not is_exact or parts * channels < FEWEST_CHANNELS:
            continue
        tiles = -(-maps.static(1) // form.results) * -(-maps.static(2) // form.results)
        products = form.points * parts * channels * vectors_out
        each = tiles * (products + of_pixels * parts * vectors_in + of_results * vectors_out)
        costs[form] = each, form.points * parts * channels * count * item

    def time(form: Form | None, batch: int) -> float:
        of_sample, size = costs[form]
        far = max(0, size - NEAR_FILTERS)
        times_read = 1 if op.sum_over == "batch" else min(batch, MOST_SHARDS)
        writes = form is not None and op.sum_over == "channels" and FEW not in batches
        of_all = far * times_read / BYTES_READ + (far / BYTES_WRITTEN if writes else 0)
        return batch * of_sample + of_all

    return best_in_all(list(costs), time, batches)


@functools.cache
def register_tile(maps: TensorType, form: Form, target: Target, batches: Sequence[int]) -> tuple[int, int]:
    """Return how many tiles, and filters, a register tile of a correlation best has.

    maps: the results, [N, H', W', D]. batches: of these sizes, all of which the choice suits.
    """
    lanes = target.lanes(SIZES[ITEMS[maps.dtype]])
    vectors = -(-maps.static(3) // lanes)
    each = -(-maps.static(1) // form.results) * -(-maps.static(2) // form.results)

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
    lanes, count, results = target.lanes(item), op.form.points, op.form.results
    taken, parts = slice_of(images, op.form, op.taps, step_of(op), target)
    beyond = -taken % lanes  # of the last vector of a part; the next part begins there
    channels, width = (-(-size // lanes) * lanes for size in (parts * taken + beyond, maps.static(3)))
    in_block = max(BLOCK, lanes) * -(-maps.static(1) // results) * -(-maps.static(2) // results)
    is_gradient = isinstance(op, WinogradFilterGradient)
    is_large = count * channels * width * item > LARGE_FILTERS
    least = FEWEST_SUMMED if is_gradient else FEWEST if is_large else 1
    most = max(least, WORKSPACE // (count * (channels + width) * item))
    at_once = op.tile[0] if isinstance(op, WinogradCorrelation) else 1
    tiles = -(-evenly(in_block, most).size // at_once) * at_once
    image_stride, map_stride = (_spread(tiles * row * item) // item for row in (channels, width))
    rows, wide = best_tile(target, parts * taken, width // lanes)
    sum_stride = _spread(rows * wide * lanes * item) // item if is_gradient else 0
    sizes = max(channels, width), count * image_stride, count * map_stride, count * sum_stride
    offsets = accumulate((size * item for size in sizes), initial=0)
    return Workspace(tiles, taken, parts, channels, width, image_stride, map_stride, sum_stride, *offsets)


def _spread(size: int) -> int:
    """Round up to an odd number of cache lines, so that neighbours do not meet in one set of the cache."""
    return (-(-size // ALIGNMENT) | 1) * ALIGNMENT
