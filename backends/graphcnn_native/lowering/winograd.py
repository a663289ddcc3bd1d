"""Winograd's minimal filtering F(2x2, 3x3): which convolutions use it, and the ops they become.

Two by two results of a 3x3 correlation take 36 products as Eq. 1 has them, and 16 after tiles of 4x4 pixels
and the filters have gone through a linear map each (Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", CVPR 2016). The maps of this smallest form add, subtract and halve, so that float32 loses
about a bit; larger forms, which lose several, are not used. The gradients are of the same kind: Eq. 21 is
a correlation, and the filter gradient is the transpose of the map (Eq. 13 on tiles).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.ir import Op, TensorType
from graphcnn.ops import Correlate2d
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.lowering.program import ALIGNMENT
from graphcnn_native.target import Target

TAPS = 3
"""Rows and columns of a filter."""
RESULTS = 2
"""Rows and columns of results that a tile yields."""
SIDE = RESULTS + TAPS - 1
POINTS = SIDE * SIDE
"""Products of a tile, a channel and a filter."""
LARGEST_TILE = 16
"""Rows of the largest register tile: the last one may reach so far beyond the tiles that there are."""
WORKSPACE = 512 * 1024
"""Bytes of tiles that a thread has under way: about half of the second cache."""
LEAST_GAIN = 1.1


@dataclass(frozen=True, slots=True)
class WinogradFilters(Op):
    """Filters [3, 3, C, D] mapped to [16, C, D]: for each product of a tile, a matrix."""

    name: ClassVar[str] = "winograd_filters"
    equation: ClassVar[str] = "U = G w Gᵀ"
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (filters,) = operands
        return (filters.with_shape((POINTS, *filters.shape[2:])),)


@dataclass(frozen=True, slots=True)
class WinogradCorrelation(Correlate2d):
    """A correlation whose filters are mapped already, [16, C, D]."""

    name: ClassVar[str] = "winograd"
    equation: ClassVar[str] = "Y = Aᵀ (U ⊙ Bᵀ I B) A"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        images, mapped = operands
        return Correlate2d.result_types(self, images, _filters(mapped))

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        """Return the FLOPs of the correlation as it is defined, so that rates can be compared."""
        images, mapped = operands
        return Correlate2d.flops(self, (images, _filters(mapped)), results, batch)


@dataclass(frozen=True, slots=True)
class WinogradFilterGradient(Correlate2d):
    """A correlation of images with deltas that sums over the batch."""

    name: ClassVar[str] = "winograd_gradient"
    equation: ClassVar[str] = "dw = Gᵀ (Σ Bᵀ I B ⊙ A delta Aᵀ) G"


def _filters(mapped: TensorType) -> TensorType:
    return mapped.with_shape((TAPS, TAPS, *mapped.shape[1:]))


def suits(op: Correlate2d, images: TensorType, filters: TensorType, maps: TensorType, target: Target) -> bool:
    """Return whether a correlation, forward or of the filter gradient, is faster on tiles.

    images: [N, H, W, C]; filters: [3, 3, C, D]; maps: the results or their deltas, [N, H', W', D].
    """
    if images.dtype != "float32" or (op.stride, op.dilation, op.groups) != ((1, 1), (1, 1), 1):
        return False
    if (filters.static(0), filters.static(1)) != (TAPS, TAPS):
        return False
    lanes = target.lanes(SIZES[ITEMS[images.dtype]])
    channels, count = filters.static(2), filters.static(3)
    if channels < lanes or count < lanes:
        return False
    rows, columns = maps.static(1), maps.static(2)
    tiles = -(-rows // RESULTS) * -(-columns // RESULTS)
    vectors = -(-count // lanes)
    plain = rows * columns * TAPS * TAPS * channels * vectors
    mapping = 4 * POINTS * (-(-channels // lanes) + vectors)
    return tiles * (POINTS * channels * vectors + mapping) * LEAST_GAIN < plain


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a thread keeps the tiles under way: offsets in bytes, strides in elements.

    tiles: how many at once. channels, width: channels and filters, rounded up to whole vectors.
    zeros: what a tile reads beyond the images. images, maps: mapped tiles, a matrix [tiles, channels] or
    [tiles, width] for each point, `image_stride` and `map_stride` apart. sums: of the filter gradient,
    [16, channels, width].
    """

    tiles: int
    channels: int
    width: int
    image_stride: int
    map_stride: int
    zeros: int
    images: int
    maps: int
    sums: int
    bytes: int


def workspace(op: Correlate2d, images: TensorType, maps: TensorType, target: Target) -> Workspace:
    """Lay out the workspace of a kernel for images [N, H, W, C] and maps [N, H', W', D]."""
    item = SIZES[ITEMS[images.dtype]]
    lanes = target.lanes(item)
    channels, width = (-(-type.static(3) // lanes) * lanes for type in (images, maps))
    tiles = max(LARGEST_TILE, WORKSPACE // (POINTS * (channels + width) * item) // 8 * 8)
    image_stride, map_stride = (
        _spread((tiles + LARGEST_TILE) * row * item) // item for row in (channels, width)
    )
    sums = channels * width if isinstance(op, WinogradFilterGradient) else 0
    offsets = [0]
    for size in (max(channels, width), POINTS * image_stride, POINTS * map_stride, POINTS * sums):
        offsets.append(offsets[-1] + size * item)
    return Workspace(tiles, channels, width, image_stride, map_stride, *offsets)


def _spread(size: int) -> int:
    """Round up to an odd number of cache lines, so that neighbours do not meet in one set of the cache."""
    return (-(-size // ALIGNMENT) | 1) * ALIGNMENT
