"""Products of bfloat16, by the processor's tiles: rules of `canonical.py`, and the ops that they emit.

A product whose operands are rounded to bfloat16 reads them as such, two bytes a number. Whoever computes an
operand stores it rounded on its way (`Bfloat16`), with zeros around images, so that a tile is loaded from
wherever a tap finds its pixels. Filters are put into panels, once a step (`Bfloat16Filters`). How products
are cut is `bfloat16_tiling.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.ir import BATCH, Graph, Op, TensorType, Value, Values
from graphcnn.ops import (
    Correlate2d,
    Crop,
    Matmul,
    Pad,
    ReluMask,
    Reshape,
    Rot180,
    RoundBfloat16,
    RouteToWinner2d,
    SpreadToBlock2d,
    Transpose,
    ZeroInsert,
)
from graphcnn.ops.attributes import Pair
from graphcnn.rewrite import Match
from graphcnn_native.lowering.bfloat16_tiling import (
    DEPTH,
    TILE,
    Phase,
    Tiling,
    correlation_pays,
    filter_gradient_pays,
    phases,
    tiling,
)
from graphcnn_native.lowering.program import Margins
from graphcnn_native.lowering.strides import sides_needed
from graphcnn_native.lowering.turned import TURNED, turned_from

LEAST_WEIGHTS = 4096
"""Numbers of the fewest weights whose products are worth keeping their factors as bfloat16."""


@dataclass(frozen=True, slots=True)
class Bfloat16(Op):
    """x, which is kept as bfloat16: rounded when it is stored, and read by products and masks alone.

    is_plain: without zeros around images, for who reads them as vectors.
    """

    is_plain: bool = False

    name: ClassVar[str] = "bfloat16"
    equation: ClassVar[str] = "y = x, rounded to bfloat16 in memory"
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return operands


@dataclass(frozen=True, slots=True)
class Bfloat16Filters(Op):
    """Filters [K, K', C, D] rounded, in panels: pairs of numbers [panels, steps, pairs, filters].

    A panel is of 16 filters, a step a tile of factors, in the order of `Steps`. Channels that fill no blocks
    of 32 lie one behind the other in a row of taps, and zeros beyond its end.

    is_turned: the filters are those of the input gradient: taps in reverse, channels exchanged with filters.
    inserted, padding: of the correlation over inserted zeros that reads them phase by phase.
    """

    is_turned: bool = False
    inserted: Pair = (1, 1)
    padding: Pair = (0, 0)

    name: ClassVar[str] = "bfloat16_filters"
    equation: ClassVar[str] = "w, rounded to bfloat16"
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (filters,) = operands
        channels, count = filters.static(2), filters.static(3)
        if self.is_turned:
            channels, count = count, channels
        steps = sum(phase.steps.count for phase in self.phases(filters))
        return (TensorType((-(-count // TILE), steps, TILE, TILE), "int32"),)

    def phases(self, filters: TensorType) -> list[Phase]:
        """Return the phases of one result each, whose taps are those of all."""
        taps = filters.static(0), filters.static(1)
        channels = filters.static(3 if self.is_turned else 2)
        return phases(self.inserted, taps, self.padding, self.inserted, channels)


@dataclass(frozen=True, slots=True)
class Bfloat16Correlation(Correlate2d):
    """A correlation of images that are kept as bfloat16 with filters [K, K', C, D] in panels.

    taps: of the filters. filters: how many. inserted: factors of the zeros that would be inserted into the
    images; none of them is multiplied.
    """

    taps: Pair = (1, 1)
    filters: int = 1
    inserted: Pair = (1, 1)

    name: ClassVar[str] = "correlate2d_of_bfloat16"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (images,) = ZeroInsert(self.inserted).result_types(operands[0])
        return Correlate2d.result_types(self, images, self.plain(images))

    def plain(self, images: TensorType) -> TensorType:
        """Return the type of the filters as they were."""
        return images.with_shape((*self.taps, images.shape[3], self.filters))

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        images, _ = operands
        all_taps = Correlate2d.flops(self, (images, self.plain(images)), results, batch)
        return all_taps // math.prod(self.inserted)

    def phases(self, images: TensorType, results: TensorType) -> list[Phase]:
        """Return the phases of the results; where no zeros are inserted, there is one."""
        sizes, before = (results.static(1), results.static(2)), (self.padding[0][0], self.padding[1][0])
        return phases(sizes, self.taps, before, self.inserted, images.static(3))

    def cuts(self, images: TensorType, results: TensorType, margins: Margins) -> list[tuple[Phase, Tiling]]:
        """Return how the results of each phase are cut; margins: of the images."""
        pitch = margins.pitch(images) if self.stride == (1, 1) else None
        return [(p, tiling(p.down.count, p.across.count, pitch)) for p in self.phases(images, results)]

    def zeros(self, images: TensorType, results: TensorType) -> Margins:
        """Return the zeros that are needed around the images."""
        (above, below), sides = self.padding
        if self.inserted != (1, 1):
            found = self.phases(images, results)
            above, below = sides_needed(images.static(1), [phase.down for phase in found])
            sides = sides_needed(images.static(2), [phase.across for phase in found])
        return Margins(above, below, max(sides))


@dataclass(frozen=True, slots=True)
class Bfloat16FilterGradient(Correlate2d):
    """A correlation of images with deltas, both kept as bfloat16, that sums over the batch for some taps."""

    taps: Pair = (1, 1)

    name: ClassVar[str] = "correlate2d_of_bfloat16_over_batch"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (whole,) = Correlate2d.result_types(self, *operands)
        return (whole.with_shape((*self.taps, *whole.shape[2:])),)


@dataclass(frozen=True, slots=True)
class Bfloat16Matmul(Matmul):
    """A product of samples [N, C], which are kept as bfloat16, and weights [C, D] in panels.

    columns: how many columns the weights have.
    """

    columns: int = 1

    name: ClassVar[str] = "matmul_of_bfloat16"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        samples, _ = operands
        return (samples.with_shape((samples.shape[0], self.columns)),)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 2 * results[0].elements(batch) * operands[0].static(1)


@dataclass(frozen=True, slots=True)
class Bfloat16ProductOverSamples(Matmul):
    """The product [C, D] of the transpose of [N, C] and [N, D], both of which are kept as bfloat16."""

    name: ClassVar[str] = "matmul_of_bfloat16_over_batch"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        left, right = operands
        return (left.with_shape((left.shape[1], right.shape[1])),)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 2 * results[0].elements(batch) * batch


def matmul_of_bfloat16(match: Match, op: Matmul, operands: Values) -> Value | None:
    """Emit a product of rounded matrices as one of bfloat16: of samples with weights, or of samples alone."""
    left, right = operands
    if type(op) is not Matmul or left.type.rank != 2 or BATCH not in left.type.shape:
        return None
    if any(_rounded(match, operand) is None for operand in operands):
        return None
    (result,) = op.result_types(left.type, right.type)
    if BATCH not in result.shape:
        transposed = match.definition(left)
        if transposed.op != Transpose((1, 0)) or result.elements(1) < LEAST_WEIGHTS:
            return None
        return match.emit(
            Bfloat16ProductOverSamples(), _kept(match, transposed.operands[0]), _kept(match, right)
        )
    if result.shape[0] != BATCH or BATCH in right.type.shape or right.type.elements(1) < LEAST_WEIGHTS:
        return None
    return match.emit(Bfloat16Matmul(result.static(1)), _kept(match, left), _weights_in_panels(match, right))


def _kept(match: Match, samples: Value) -> Value:
    """Emit rounded samples [N, C] as bfloat16, before they are reshaped: as they are made."""
    source = samples
    while isinstance((node := match.definition(source)).op, Reshape):
        source = node.operands[0]
    rounded = _rounded(match, source)
    assert rounded is not None
    kept = match.emit_once(Bfloat16(is_plain=True), rounded)
    return kept if kept.type == samples.type else match.emit_once(Reshape(samples.type.shape), kept)


def _weights_in_panels(match: Match, weights: Value) -> Value:
    """Emit rounded weights [C, D] in panels: those of an error's way back as they were before."""
    node = match.definition(weights)
    if node.op == Transpose((1, 0)):
        rounded = match.definition(node.operands[0])
        if isinstance(rounded.op, RoundBfloat16):
            source = rounded.operands[0]
            return match.emit_once(Bfloat16Filters(is_turned=True), _as_filters(match, source))
    source_of = _rounded(match, weights)
    assert source_of is not None
    return match.emit_once(Bfloat16Filters(), _as_filters(match, source_of))


def _as_filters(match: Match, weights: Value) -> Value:
    return match.emit_once(Reshape((1, 1, *weights.type.shape)), weights)


def correlation_of_bfloat16(match: Match, op: Correlate2d, operands: Values) -> Value | None:
    """Emit a correlation of rounded images with rounded filters as one of bfloat16."""
    images, filters = (_rounded(match, operand) for operand in operands)
    if images is None or filters is None or op.sum_over != "channels" or not _is_plain(op):
        return None
    if images.type.shape[0] != BATCH or BATCH in filters.type.shape:
        return None
    taps = filters.type.static(0), filters.type.static(1)
    if not correlation_pays(taps, images.type.static(3), filters.type.static(3)):
        return None
    inserted = _inserted(match, op, images, filters)
    if inserted != (1, 1):
        (plain,) = match.definition(images).operands
        images = _rounded(match, plain) or plain
    attributes = op.stride, op.padding, op.dilation, op.groups, op.sum_over
    correlation = Bfloat16Correlation(*attributes, taps, filters.type.static(3), inserted)
    in_panels = _in_panels(match, filters, inserted, (op.padding[0][0], op.padding[1][0]))
    return match.emit(correlation, match.emit_once(Bfloat16(), images), in_panels)


def filter_gradient_of_bfloat16(match: Match, op: Correlate2d, operands: Values) -> Value | None:
    """Emit a filter gradient of rounded images and deltas as one of bfloat16."""
    images, deltas = (_rounded(match, operand) for operand in operands)
    if images is None or deltas is None or op.sum_over != "batch" or images.type.shape[0] != BATCH:
        return None
    if op.groups > 1 or op.stride != (1, 1):
        return None
    (result,) = op.result_types(images.type, deltas.type)
    if not filter_gradient_pays(result):
        return None
    attributes = op.stride, op.padding, op.dilation, op.groups, op.sum_over
    gradient = Bfloat16FilterGradient(*attributes, (result.static(0), result.static(1)))
    return match.emit(gradient, *(match.emit_once(Bfloat16(), x) for x in (images, deltas)))


def mask_of_bfloat16(match: Match, op: ReluMask, operands: Values) -> Value | None:
    """Emit a mask that asks what is kept as bfloat16, so that nothing else of it has to be kept.

    What is above 0 stays so when it is rounded, but for denormals, which count as 0 anyway.
    """
    for form in (Bfloat16(), Bfloat16(is_plain=True)):
        kept = match.existing(form, operands[0])
        if kept is not None:
            return match.emit(op, kept)
    return None


def before_keeping(match: Match, value: Value) -> Value:
    """Return a value itself where it is given as it is kept."""
    node = match.definition(value)
    return node.operands[0] if isinstance(node.op, Bfloat16) else value


def _is_plain(op: Correlate2d) -> bool:
    return op.groups == 1 and op.dilation == (1, 1)


def _rounded(match: Match, value: Value) -> Value | None:
    """Return what a float32 value is rounded of or, where numbers are only moved that were, itself."""
    moved = value
    while value.type.dtype == "float32":
        node = match.definition(moved)
        if isinstance(node.op, RoundBfloat16):
            return node.operands[0] if moved == value else value
        if not _only_moves(node.op):
            return None
        moved = node.operands[0]
    return None


def _only_moves(op: Op) -> bool:
    """Whether an op leaves the numbers of its first operand as they are, beside zeros."""
    if isinstance(op, RouteToWinner2d | SpreadToBlock2d):
        return all(size <= stride for size, stride in zip(op.size, op.stride, strict=True))
    is_pad = isinstance(op, Pad) and not op.value
    return is_pad or isinstance(op, Crop | Reshape | Rot180 | Transpose | ZeroInsert)


def _inserted(match: Match, op: Correlate2d, images: Value, filters: Value) -> Pair:
    """Return the factors of the zeros in images, where a correlation can do without them."""
    inserting = match.definition(images).op
    if not isinstance(inserting, ZeroInsert) or op.stride != (1, 1) or images.type.static(3) % DEPTH:
        return 1, 1
    (result,) = op.result_types(images.type, filters.type)
    is_large = all(result.static(1 + axis) >= inserting.factors[axis] for axis in (0, 1))
    return inserting.factors if is_large else (1, 1)


def _in_panels(match: Match, filters: Value, inserted: Pair, padding: Pair) -> Value:
    """Emit rounded filters in panels: those of an input gradient as they were before they were turned."""
    by_phase = (inserted, padding) if inserted != (1, 1) else ()
    node = match.definition(filters)
    has_one_tap = filters.type.shape[:2] == (1, 1)
    source = turned_from(match, filters)
    if source is None and has_one_tap and node.op == TURNED[-1]:
        (source,) = node.operands
    if source is not None and (has_one_tap or filters.type.static(2) % DEPTH == 0):
        rounded = match.definition(source)
        if isinstance(rounded.op, RoundBfloat16):
            return match.emit_once(Bfloat16Filters(True, *by_phase), rounded.operands[0])
    return match.emit_once(Bfloat16Filters(False, *by_phase), filters)


def is_product(op: Op) -> bool:
    """Whether an op reads operands that are kept as bfloat16."""
    correlations = Bfloat16Correlation | Bfloat16FilterGradient
    return isinstance(op, correlations | Bfloat16Matmul | Bfloat16ProductOverSamples)


def margins_of(graph: Graph) -> dict[Value, Margins]:
    """Return the zeros around all values that are kept as bfloat16: as many as their readers need."""
    found: dict[Value, Margins] = {}
    for key, node in graph.items():
        if isinstance(node.op, Bfloat16):
            found[graph.results(key)[0]] = Margins()
        if isinstance(node.op, Bfloat16Correlation):
            images = node.operands[0]
            found[images] = _both(found[images], node.op.zeros(images.type, node.types[0]))
    return found


def _both(x: Margins, y: Margins) -> Margins:
    return Margins(max(x.above, y.above), max(x.below, y.below), max(x.between, y.between))
