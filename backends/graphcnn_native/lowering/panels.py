"""Filters in the order in which products read them: rules of `canonical.py`, and the ops that they emit.

A register tile reads the same few columns of all rows of the filters. Where these are wide, such columns lie
kilobytes apart, which prefetchers do not follow: a call at batch 1 waits for them. Inference puts filters,
and weights of dense layers, that the second cache does not hold into panels, once, and reads memory from
begin to end; threads that share a single sample each have panels of their own.

Nor does a cache hold them from one row of a map to the next: lines that lie a power of two apart share few
of its places. So a step of training, which has new filters each time, puts large ones into panels as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from graphcnn.ir import BATCH, Input, Op, TensorType, Value, Values
from graphcnn.ops import Correlate2d, Matmul, RandomNumbers
from graphcnn.ops.attributes import NO_PADDING
from graphcnn.rewrite import Match
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.lowering.program import BLOCK, KEPT
from graphcnn_native.lowering.strides import PhasedCorrelation, tile_of_phases
from graphcnn_native.lowering.turned import unturned
from graphcnn_native.target import Target
from graphcnn_native.tile_sizes import best_tile, tile_of_run, vectors_of_row

WIDE_FILTERS = 256 * 1024
"""Bytes of filters beside which the second cache holds little else."""
LARGE_FILTERS = 512 * 1024
"""Bytes of filters that are worth being put into panels anew for each batch."""
WEIGHT_VECTORS = 4
"""Vectors in a row of a panel of dense weights: so many independent sums of a single sample, and for several
two tiles of two vectors."""


@dataclass(frozen=True, slots=True)
class InPanels(Op):
    """Filters [..., C, D] as they are; in memory, panels of `panel` columns at most, one behind the other.

    is_turned: whether the filters are those of the layer whose input gradient it is, [K, K', D, C], which are
    turned on their way.
    """

    panel: int
    is_turned: bool = False

    name: ClassVar[str] = "in_panels"
    equation: ClassVar[str] = "w"
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (filters,) = operands
        if not self.is_turned:
            return operands
        rows, columns, count, channels = filters.shape
        return (filters.with_shape((rows, columns, channels, count)),)

    @staticmethod
    def rows(filters: TensorType) -> int:
        """Return how many rows of D there are."""
        return math.prod(filters.static(axis) for axis in range(filters.rank - 1))


@dataclass(frozen=True, slots=True)
class PanelCorrelation(Correlate2d):
    """A correlation whose filters are in panels.

    tile: so many pixels, and filters, are in a register tile; the filters are those of a panel.
    """

    tile: tuple[int, int] = (1, 16)

    name: ClassVar[str] = "correlate2d_in_panels"


@dataclass(frozen=True, slots=True)
class PanelMatmul(Matmul):
    """A product of samples [N, C] and weights [C, D], which are in panels of `panel` columns at most."""

    panel: int = 16

    name: ClassVar[str] = "matmul_in_panels"


def weights_in_panels(match: Match, op: Matmul, operands: Values, *, target: Target) -> Value | None:
    """Emit a product of samples with many weights as one that reads them panel by panel."""
    samples, weights = operands
    if samples.type.rank != 2 or samples.type.shape[0] != BATCH or BATCH in weights.type.shape:
        return None
    panel = WEIGHT_VECTORS * target.lanes(SIZES[ITEMS[weights.type.dtype]])
    is_wide = weights.type.bytes(1) >= WIDE_FILTERS and weights.type.static(1) > panel
    if type(op) is not Matmul or not is_wide or not is_kept(match, weights):
        return None
    return match.emit(PanelMatmul(panel), samples, match.emit_once(InPanels(panel), weights))


def filters_in_panels(
    match: Match, op: Correlate2d, operands: Values, *, target: Target, least: int
) -> Value | None:
    """Emit a correlation with wide filters, of so many bytes at least, as one that reads them by panels."""
    images, filters = operands
    if op.sum_over != "channels" or op.groups > 1 or op.dilation[1] > 1 or any(op.padding[1]):
        return None
    if images.type.shape[0] != BATCH or not _are_worth_it(match, filters, target, least):
        return None
    (maps,) = op.result_types(images.type, filters.type)
    item = SIZES[ITEMS[images.type.dtype]]
    lanes, (vectors, has_half) = target.lanes(item), vectors_of_row(target, filters.type.static(3), item)
    if meets_one_pixel(op, images.type, filters.type, maps):
        places = maps.static(1) * maps.static(2)
        pixels, wide = tile_of_run(target, places, max(BLOCK, lanes), vectors, has_half=has_half)
    else:
        pixels, wide = best_tile(target, maps.static(2), vectors, has_half=has_half)
    if vectors <= wide:
        return None
    attributes = op.stride, op.padding, op.dilation, op.groups, op.sum_over
    panels = _in_panels(match, filters, wide * lanes, target)
    return match.emit(PanelCorrelation(*attributes, (pixels, wide * lanes)), images, panels)


def phased_in_panels(
    match: Match, op: PhasedCorrelation, operands: Values, *, target: Target, least: int
) -> Value | None:
    """Emit a correlation over inserted zeros as one that reads its filters by panels."""
    images, filters = operands
    if op.panel or op.groups > 1 or not _are_worth_it(match, filters, target, least):
        return None
    _, wide = tile_of_phases(op, images.type, filters.type, target)
    panel = wide * target.lanes(SIZES[ITEMS[filters.type.dtype]])
    if filters.type.static(3) <= panel:
        return None
    return match.emit(replace(op, panel=panel), images, _in_panels(match, filters, panel, target))


def _are_worth_it(match: Match, filters: Value, target: Target, least: int) -> bool:
    """Whether filters are many, and the same for all samples. With few of them, samples are in the lanes."""
    is_many = filters.type.bytes(1) >= least and filters.type.static(3) > target.registers
    return is_many and is_kept(match, filters)


def _in_panels(match: Match, filters: Value, panel: int, target: Target) -> Value:
    """Emit filters in panels: those of an input gradient from what they were before they were turned."""
    source = unturned(match, filters, target)
    return match.emit_once(InPanels(panel, is_turned=source is not None), source or filters)


def is_kept(match: Match, value: Value) -> bool:
    """Whether a value is computed from parameters and states alone."""
    node = match.definition(value)
    if isinstance(node.op, Input):
        return node.op.role in KEPT
    is_drawn = isinstance(node.op, RandomNumbers)
    return not is_drawn and all(is_kept(match, operand) for operand in node.operands)


def meets_one_pixel(op: Correlate2d, images: TensorType, filters: TensorType, maps: TensorType) -> bool:
    """Whether each place of the maps, results or deltas, meets one pixel of the images, that at its place."""
    has_one_tap = (filters.static(0), filters.static(1)) == (1, 1)
    return has_one_tap and op.padding == NO_PADDING and images.shape[1:3] == maps.shape[1:3]
