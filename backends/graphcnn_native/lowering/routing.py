"""Gradients of a convolution before a max pool, from what was pooled: most of the routed error is zeros.

A pool of 2x2 windows routes an error to one unit of four, and a ReLU leaves some of those without any. Where
what is not 0 is listed, with the place that it was routed to, a gradient takes products for that alone. The
lists are made by the instruction that moves some lanes of a vector together, which only AVX-512 has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import ClassVar

from graphcnn.ir import BATCH, Op, TensorType, Value, Values
from graphcnn.ops import (
    Correlate2d,
    Multiply,
    Pad,
    ReluMask,
    RoundBfloat16,
    RouteToWinner2d,
    Transpose,
)
from graphcnn.ops.attributes import NO_PADDING, Padding, Pair
from graphcnn.rewrite import Match
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.lowering.turned import turned_from
from graphcnn_native.target import Target

NEAREST = 20 * 1024
"""Bytes of images, beside lists, that stay in the first cache."""
MOST_PLACES = 512
"""Pooled places whose errors are listed together."""
LARGEST_WINDOW = 16
"""Units of a pooling window whose offsets are looked up in one vector."""
MARGIN = 0.8
"""Lists must take at most this share of the time of all products: it is an estimate that is compared."""
MOST_SAMPLES = 4
"""Maps that are summed up side by side: while one is stored, there is enough to do for the others."""
LARGEST_FILTERS = 256 * 1024
"""Bytes of filters whose sums a thread adds up beside those of the shard, in the second cache."""
STORING = 2
"""Cycles that it takes to load and store a vector of sums."""
LISTING = 4
"""Cycles that it takes to list an error, and to begin with its products."""


@dataclass(frozen=True, slots=True)
class RoutedFilterGradient(Op):
    """The filter gradient [K, K', C, D] of images [N, H, W, C], pooled errors and the numbers of winners.

    size: of the pool's windows, which lie side by side. map_size: rows and columns of the map before
    the pool.
    """

    size: Pair
    map_size: Pair

    name: ClassVar[str] = "routed_filter_gradient"
    equation: ClassVar[str] = "dw = images ⋆ route(delta)"
    arity: ClassVar[int] = 3

    def sums_samples(self, operands: Sequence[TensorType]) -> bool:
        return True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return CORRELATION.result_types(operands[0], _routed(operands[1], self.map_size))

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        """Return the FLOPs of the correlation with all of the routed map."""
        return CORRELATION.flops((operands[0], _routed(operands[1], self.map_size)), results, batch)


@dataclass(frozen=True, slots=True)
class RoutedCorrelation(Op):
    """The input gradient [N, H, W, C] by pooled errors [N, H', W', D], numbers of winners and filters.

    The filters are those of the convolution, as [D, K, K', C], so that all that belongs to an error is
    side by side. size: of the pool's windows, which lie side by side. map_size: rows and columns of the map
    before the pool. padding: of the correlation of that map with the turned filters.
    """

    size: Pair
    map_size: Pair
    padding: Padding

    name: ClassVar[str] = "routed_correlation"
    equation: ClassVar[str] = "delta' = route(delta) ⋆ rot180(w)"
    arity: ClassVar[int] = 3
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return Correlate2d(padding=self.padding).result_types(*self.dense(operands))

    def dense(self, operands: Sequence[TensorType]) -> tuple[TensorType, TensorType]:
        """Return the types of the map before the pool and of the turned filters."""
        pooled, _, filters = operands
        count, *taps, channels = filters.shape
        return _routed(pooled, self.map_size), filters.with_shape((*taps, count, channels))

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        """Return the FLOPs of the correlation of all of the routed map."""
        return Correlate2d(padding=self.padding).flops(self.dense(operands), results, batch)


def _routed(pooled: TensorType, map_size: Pair) -> TensorType:
    """Return the type of pooled errors where they are routed to."""
    return pooled.with_shape((pooled.shape[0], *map_size, pooled.shape[3]))


CORRELATION = Correlate2d(sum_over="batch")
"""What a filter gradient is."""


@dataclass(frozen=True)
class Lists:
    """How a filter gradient takes its errors, and the offsets in bytes of what its workspace holds.

    samples, rows: of which errors are listed together, and of how many pooled rows of each. places: how many
    pooled places these have at most. length: elements of a list. run: sums of a row of taps, and what fills
    the last vector.
    """

    samples: int
    rows: int
    places: int
    length: int
    run: int
    first_pixels: int
    block: int
    counts: int
    values: int
    pixels: int
    bytes: int


def filter_lists(op: RoutedFilterGradient, images: TensorType, pooled: TensorType, target: Target) -> Lists:
    """Lay out the workspace of a filter gradient: sums [D, K, run], then lists for a vector of filters."""
    size, lanes = SIZES["float"], target.lanes(SIZES["float"])
    (_, height, width, channels), (rows, columns) = images.shape, map(int, pooled.shape[1:3])
    of_row = int(width) * int(channels) * size
    taps = int(height) - op.map_size[0] + 1, int(width) - op.map_size[1] + 1
    samples = max(1, min(NEAREST // images.bytes(1), MOST_PLACES // (rows * columns)))
    taken = rows
    if samples == 1:
        nearby = (NEAREST // of_row - taps[0] + 1) // op.size[0]
        taken = max(1, min(rows, nearby, MOST_PLACES // columns))
    places = _up(samples * taken * columns, lanes)
    run, length = _up(taps[1] * int(channels), lanes), places + lanes
    sums = _up(pooled.static(3), lanes) * taps[0] * run
    lists = [lanes * length * size] * 2
    sizes = sums * size, places * size, lanes * lanes * size, lanes * SIZES["i64"], *lists
    return Lists(samples, taken, places, length, run, *accumulate(sizes))


@dataclass(frozen=True)
class Maps:
    """How an input gradient takes its errors, and the offsets in bytes of what its workspace holds.

    samples: of which maps are summed up side by side, each by one error's products at a time, so that what is
    stored for a pixel need not be there at once for the next one. map: sums of a sample. length: elements of
    a list.
    """

    samples: int
    map: int
    length: int
    values: int
    filters: int
    counts: int
    bytes: int


def map_lists(op: RoutedCorrelation, pooled: TensorType, filters: TensorType, target: Target) -> Maps:
    """Lay out the workspace of an input gradient: maps without a border cropped off, then lists."""
    size, lanes = SIZES["float"], target.lanes(SIZES["float"])
    count, *taps, channels = map(int, filters.shape)
    rows, columns = (length + tap - 1 for length, tap in zip(op.map_size, taps, strict=True))
    map_ = _up(rows * columns * channels + lanes, lanes)
    samples = max(1, min(MOST_SAMPLES, NEAREST // (map_ * size)))
    length = _up(count, lanes) + lanes
    lists_ = samples * math.prod(op.size)
    sizes = samples * map_ * size, *[lists_ * length * size] * 2, lists_ * SIZES["i64"]
    return Maps(samples, map_, length, *accumulate(sizes))


def routed_filter_gradient(
    match: Match, op: Correlate2d, operands: Values, *, target: Target
) -> Value | None:
    """Emit the filter gradient of a convolution before a pool, if it is faster by lists."""
    images, window = operands
    routing = match.definition(window)
    if op != replace(CORRELATION, padding=op.padding) or not isinstance(routing.op, RouteToWinner2d):
        return None
    delta, index = routing.operands
    if not _suits_lists(routing.op, delta.type, index.type, target):
        return None
    gradient = RoutedFilterGradient(routing.op.size, (window.type.static(1), window.type.static(2)))
    padding = Pad(((0, 0), *op.padding, (0, 0)))
    (padded,) = padding.result_types(images.type)
    (filters,) = gradient.result_types(padded, delta.type)
    places = filter_lists(gradient, padded, delta.type, target).places
    largest = LARGEST_FILTERS if _is_masked(match, delta) else NEAREST
    if filters.bytes(1) > largest or places > MOST_PLACES:
        return None
    if not _is_faster(gradient, filters, places, target):
        return None
    if any(map(any, op.padding)):
        images = match.emit_once(padding, images)
    return match.emit(gradient, images, delta, index)


def _is_masked(match: Match, delta: Value) -> bool:
    """Whether some windows have no error: without, Winograd's tiles are as fast for many filters."""
    node = match.definition(delta)
    if isinstance(node.op, RoundBfloat16):
        node = match.definition(node.operands[0])
    masks = (match.definition(operand).op for operand in node.operands)
    return isinstance(node.op, Multiply) and any(isinstance(mask, ReluMask) for mask in masks)


def routed_correlation(match: Match, op: Correlate2d, operands: Values, *, target: Target) -> Value | None:
    """Emit the input gradient of a convolution before a pool, if it is faster by lists."""
    images, filters = operands
    routing = match.definition(images)
    if op != Correlate2d(padding=op.padding) or not isinstance(routing.op, RouteToWinner2d):
        return None
    delta, index = routing.operands
    turned = turned_from(match, filters)
    taps = filters.type.static(0), filters.type.static(1)
    is_cropped = any(max(widths) >= count for widths, count in zip(op.padding, taps, strict=True))
    if turned is None or is_cropped or not _suits_lists(routing.op, delta.type, index.type, target):
        return None
    shape = images.type.static(1), images.type.static(2)
    correlation = RoutedCorrelation(routing.op.size, shape, op.padding)
    if not _is_near(correlation, delta.type, turned.type, target):
        return None
    by_filter = match.emit_once(Transpose((3, 0, 1, 2)), turned)
    return match.emit(correlation, delta, index, by_filter)


def _is_near(op: RoutedCorrelation, pooled: TensorType, filters: TensorType, target: Target) -> bool:
    """Whether lists are faster: filters and several maps stay in the first cache."""
    by_filter = filters.with_shape((filters.shape[3], *filters.shape[:3]))
    laid_out = map_lists(op, pooled, by_filter, target)
    is_near = laid_out.samples > 1 and filters.bytes(1) <= NEAREST
    return is_near and _is_faster(op, filters, filters.static(3), target)


def _suits_lists(route: RouteToWinner2d, delta: TensorType, index: TensorType, target: Target) -> bool:
    """Whether errors can be listed with the places that they are routed to."""
    lie_apart = route.size == route.stride and route.padding == NO_PADDING
    is_narrow = delta.dtype == "float32" and index.dtype == "uint8" and delta.shape[0] == BATCH
    return (
        moves_lanes_together(target) and lie_apart and is_narrow and math.prod(route.size) <= LARGEST_WINDOW
    )


def moves_lanes_together(target: Target) -> bool:
    return target.vector_bytes == 64 and "avx512f" in target.has


def _is_faster(
    op: RoutedFilterGradient | RoutedCorrelation, filters: TensorType, length: int, target: Target
) -> bool:
    """Compare about how many cycles lists take for a pooled place with those of all products.

    Vectors of channels that do not fill cache lines take two accesses each. length: of a list, at most, for
    which sums are loaded and stored.
    """
    taps, across, channels, count = map(int, filters.shape)
    lanes = target.lanes(SIZES[ITEMS[filters.dtype]])
    vectors, accesses = taps * -(-across * channels // lanes), 1 if channels % lanes == 0 else 2
    by_lists = count * (vectors * (accesses + STORING / length) + LISTING)
    by_products = math.prod(op.size) * taps * across * channels * count / lanes
    return by_lists <= MARGIN * by_products


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
