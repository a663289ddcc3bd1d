"""Rewrites a graph into the forms that the kernels are made for; what it computes stays the same.

That rewriting ends is seen from these numbers of what is needed: each rule lowers one of them, and raises
only those behind it. Stopped gradients; ranks' messages; 1x1 convolutions with strides; squared errors;
inverse deviations; means of float32 over images; sums; convolutions; correlations over images; correlations
over inserted zeros; correlations that are cropped; correlations; those that are padded at the sides or could
be Winograd's; for all multiplications, sums and roundings together, through how many pools their operands
were routed; masks that do not ask a relu; movements of scalars; multiplications of maps by parameters; nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import gt
from typing import Final

from graphcnn.ir import BATCH, Graph, Op, Value, Values
from graphcnn.ops import (
    Add,
    AllGather,
    AllReduce,
    BroadcastFrom,
    Concatenate,
    Constant,
    Convolve2d,
    Correlate2d,
    Crop,
    InverseDeviation,
    KeepOn,
    Matmul,
    MaxPool2d,
    Mean,
    Multiply,
    Pad,
    Relu,
    ReluMask,
    Rot180,
    RoundBfloat16,
    RouteToWinner2d,
    SquaredError,
    StopGradient,
    Subtract,
    Sum,
    Transpose,
    ZeroInsert,
)
from graphcnn.ops.attributes import Pair
from graphcnn.ops.convolution import FILTER_AXES, IMAGE_AXES
from graphcnn.rewrite import DEAD_NODES, Match, Rule, rewrite
from graphcnn_native.lowering.bfloat16 import (
    Bfloat16,
    Bfloat16Correlation,
    Bfloat16FilterGradient,
    Bfloat16Filters,
    Bfloat16Matmul,
    Bfloat16ProductOverSamples,
    before_keeping,
    correlation_of_bfloat16,
    filter_gradient_of_bfloat16,
    mask_of_bfloat16,
    matmul_of_bfloat16,
)
from graphcnn_native.lowering.depthwise import reads_edges
from graphcnn_native.lowering.folding import folded_scale
from graphcnn_native.lowering.panels import (
    LARGE_FILTERS,
    WIDE_FILTERS,
    InPanels,
    PanelCorrelation,
    PanelMatmul,
    filters_in_panels,
    phased_in_panels,
    weights_in_panels,
)
from graphcnn_native.lowering.routing import (
    RoutedCorrelation,
    RoutedFilterGradient,
    moves_lanes_together,
    routed_correlation,
    routed_filter_gradient,
)
from graphcnn_native.lowering.skipping import stride_before
from graphcnn_native.lowering.strides import (
    FilterGradientOfTaps,
    PhasedCorrelation,
    phases,
    sides_needed,
    suits_phases,
)
from graphcnn_native.lowering.sums import inverse_deviation, multiple_of_sum, wide_mean
from graphcnn_native.lowering.turned import unturned
from graphcnn_native.lowering.winograd import (
    CHOICES,
    FEW,
    MANY,
    Form,
    WinogradCorrelation,
    WinogradFilterGradient,
    WinogradFilters,
    best_form,
    register_tile,
    slice_of,
    step_of,
    taps_of,
)
from graphcnn_native.target import Target


def canonical(graph: Graph, target: Target, *, winograd: bool | int) -> tuple[Graph, dict[int, int]]:
    """Return the graph with fewer kinds of nodes, and for each of its keys the key in the graph given.

    How a correlation is best computed is asked only when it is known what of its results is left out. Nodes
    that are dead by then are dropped with those of the rules that follow.
    """
    batches = (MANY,) if graph.updates else (FEW, MANY)
    rules = canonical_rules(target, winograd=winograd, batches=batches)
    rules = *rules, *(in_panels(target) if graph.updates else (FOLDING, *prepared_in_panels(target)))
    if not _leaves_out(graph):
        found = rewrite(graph, rules)
        return found.graph, dict(found.sources)
    contracted = rewrite(graph, CONTRACTIONS if graph.updates else (*CONTRACTIONS, SKIPPING))
    found = rewrite(contracted.graph, rules)
    return found.graph, {key: contracted.sources[source] for key, source in found.sources.items()}


def _leaves_out(graph: Graph) -> bool:
    """Whether some results may be cropped off, or skipped by the stride of a convolution of one tap."""
    for _, node in graph.items():
        if isinstance(node.op, Crop):
            return True
        is_strided = type(node.op) is Correlate2d and node.op.stride != (1, 1) and not graph.updates
        if is_strided and node.operands[1].type.shape[:2] == (1, 1):
            return True
    return False


def canonical_rules(
    target: Target, *, winograd: bool | int = True, batches: Sequence[int] = (MANY,)
) -> tuple[Rule, ...]:
    """Return the rules for a processor, in the order in which they are tried.

    winograd: whether 3x3 correlations of many channels become Winograd's, or how large tiles may be, 2 or 4.
    batches: for batches of which sizes they are chosen.
    """
    by_phases = partial(_by_phases, target=target)
    effect = "a correlation over inserted zeros multiplies what was there alone, phase by phase"
    chosen = [*BFLOAT16] if target.has_tiles else []
    chosen.append(Rule("zeros-left-out", effect, Correlate2d, by_phases, keeps="finite"))
    if moves_lanes_together(target):
        by_lists = partial(routed_filter_gradient, target=target)
        effect = "images ⋆ route(d) adds up products of d alone, where that is faster"
        chosen.append(Rule("listed-errors", effect, Correlate2d, by_lists, keeps="finite"))
        by_lists = partial(routed_correlation, target=target)
        effect = "route(d) ⋆ rot180(w) adds up products of d alone, where that is faster"
        chosen.append(Rule("listed-errors-back", effect, Correlate2d, by_lists, keeps="finite"))
    if winograd:
        forms = CHOICES[max(CHOICES) if winograd is True else winograd]
        on_tiles = partial(_on_tiles, target=target, forms=forms, batches=batches)
        effect = "a correlation of many channels, by 3x3 taps or more, is computed on tiles"
        kinds = Correlate2d, FilterGradientOfTaps
        chosen.append(Rule("winograd", effect, kinds, on_tiles, keeps="finite"))
    return (DEAD_NODES, *CONTRACTIONS, *chosen, *FORMS)


def in_panels(target: Target, least: int = LARGE_FILTERS) -> tuple[Rule, Rule]:
    """Return the rules by which filters of so many bytes are put into panels; by default for each batch."""
    by_taps, by_phases = (
        partial(rule, target=target, least=least) for rule in (filters_in_panels, phased_in_panels)
    )
    effect = "a correlation with wide filters has them in the order in which it reads them"
    return (
        Rule("filters-in-panels", effect, Correlate2d, by_taps),
        Rule("phased-filters-in-panels", effect, PhasedCorrelation, by_phases),
    )


def prepared_in_panels(target: Target) -> tuple[Rule, ...]:
    """Return the rules of an inference whose filters and weights are prepared."""
    effect = "a product with many weights has them in the order in which it reads them"
    by_weights = partial(weights_in_panels, target=target)
    return *in_panels(target, WIDE_FILTERS), Rule("weights-in-panels", effect, Matmul, by_weights)


def _convolution_as_correlation(match: Match, op: Convolve2d, operands: Values) -> Value:
    axes = FILTER_AXES if op.sum_over == "channels" else IMAGE_AXES
    return match.emit(op.as_correlation(), operands[0], match.emit(Rot180(axes), operands[1]))


def _correlation_over_images(match: Match, op: Correlate2d, operands: Values) -> Value | None:
    """Exchange images and channels on either side, group by group."""
    if op.sum_over != "batch" or operands[0].type.shape[0] == BATCH:
        return None
    plain = replace(op, groups=1, sum_over="channels")
    parts = []
    for group in range(op.groups):
        channels, filters = (_group(match, each, op.groups, group) for each in operands)
        turned = match.emit(Transpose((3, 1, 2, 0)), channels), match.emit(Transpose((1, 2, 0, 3)), filters)
        parts.append(match.emit(Transpose((1, 2, 0, 3)), match.emit(plain, *turned)))
    return parts[0] if op.groups == 1 else match.emit(Concatenate(3), *parts)


def _group(match: Match, value: Value, groups: int, group: int) -> Value:
    """Emit the channels of one group."""
    size = value.type.static(3) // groups
    widths = ((0, 0), (0, 0), (0, 0), (group * size, (groups - 1 - group) * size))
    return match.emit(Crop(widths), value) if groups > 1 else value


def _on_tiles(
    match: Match,
    op: Correlate2d,
    operands: Values,
    *,
    target: Target,
    forms: Sequence[Form],
    batches: Sequence[int],
) -> Value | None:
    """Emit a correlation as Winograd's, if it is faster that way."""
    images, window = operands
    (result,) = op.result_types(images.type, window.type)
    over_batch = op.sum_over == "batch"
    filters, maps = (result, window.type) if over_batch else (window.type, result)
    form = best_form(op, images.type, filters, maps, target, forms, batches)
    if images.type.shape[0] != BATCH or form is None:
        return None
    taps = taps_of(filters)
    attributes = op.stride, op.padding, op.dilation, op.groups, op.sum_over, form
    if over_batch:
        return match.emit(WinogradFilterGradient(*attributes, taps), images, window)
    tile = register_tile(maps, form, target, batches)
    depth = math.prod(slice_of(images.type, form, taps, step_of(op), target))
    source = unturned(match, window, target)
    mapping = WinogradFilters(form, tile[1], depth, step_of(op), is_turned=source is not None)
    mapped = match.emit_once(mapping, source or window)
    return match.emit(WinogradCorrelation(*attributes, tile, taps), images, mapped)


def _pad_at_the_sides(match: Match, op: Correlate2d, operands: Values) -> Value | None:
    images, window = operands
    rows, (left, right) = op.padding
    (result,) = op.result_types(images.type, window.type)
    filters = result if op.sum_over == "batch" else window.type
    if (not left and not right) or reads_edges(op.groups, images.type, filters):
        return None
    return match.emit(replace(op, padding=(rows, (0, 0))), _beside(match, images, (left, right)), window)


def _beside(match: Match, images: Value, sides: Pair) -> Value:
    """Return images with columns of zeros at their left and right."""
    return match.emit_once(Pad(((0, 0), (0, 0), sides, (0, 0))), images) if any(sides) else images


def _operand(match: Match, op: Op, operands: Values) -> Value:
    return operands[0]


def _mask_of_relu(match: Match, op: ReluMask, operands: Values) -> Value | None:
    relu = match.existing(Relu(), operands[0])
    return None if relu is None else match.emit(op, relu)


def _scalar_stays(match: Match, op: Op, operands: Values) -> Value | None:
    return operands[0] if operands[0].type.is_scalar else None


def _masked_before_routing(match: Match, op: Multiply, operands: Values) -> Value | None:
    """The winner is what was pooled, so its mask tells the same of fewer values."""
    for routed, mask in (operands, operands[::-1]):
        route, masking = match.definition(routed), match.definition(mask)
        if not isinstance(route.op, RouteToWinner2d) or not isinstance(masking.op, ReluMask):
            continue
        delta, index = route.operands
        pool = match.definition(index)
        asked = before_keeping(match, masking.operands[0])
        if not isinstance(pool.op, MaxPool2d) or pool.operands[0] != asked:
            continue
        if isinstance(match.definition(pool.operands[0]).op, Relu):
            pooled = match.results(index)[0]
            return match.emit(route.op, match.emit(op, delta, match.emit(ReluMask(), pooled)), index)
    return None


def _rounded_before_routing(match: Match, op: RoundBfloat16, operands: Values) -> Value | None:
    """An error is routed as it is, so it can be rounded before, where windows do not add up."""
    route = match.definition(operands[0])
    if not isinstance(route.op, RouteToWinner2d) or any(map(gt, route.op.size, route.op.stride)):
        return None
    delta, index = route.operands
    return match.emit_once(route.op, match.emit_once(op, delta), index)


def _sum_before_routing(match: Match, op: Sum, operands: Values) -> Value | None:
    """Every error is routed to one pixel, so a sum over all pixels is one over the fewer pooled errors."""
    route = match.definition(operands[0])
    if not isinstance(route.op, RouteToWinner2d) or not {1, 2} <= set(op.axes):
        return None
    return match.emit(op, route.operands[0])


def _squared_error(match: Match, op: SquaredError, operands: Values) -> Value:
    difference = match.emit(Subtract(), *operands)
    square = match.emit(Multiply(), difference, difference)
    rest = tuple(range(1, square.type.rank))
    total = match.emit(Sum(rest), square) if rest else square
    return match.emit(Multiply(), total, match.emit(Constant(0.5, total.type.with_shape(()))))


def _by_phases(match: Match, op: Correlate2d, operands: Values, *, target: Target) -> Value | None:
    """Emit a correlation over inserted zeros as one that leaves them out."""
    images, filters = operands
    inserting = match.definition(images)
    if not isinstance(inserting.op, ZeroInsert) or op.sum_over != "channels":
        return None
    if (op.stride, op.dilation) != ((1, 1), (1, 1)) or not suits_phases(inserting.op, filters.type, target):
        return None
    (result,), (plain,) = op.result_types(images.type, filters.type), inserting.operands
    factors = inserting.op.factors
    found = phases(result.static(2), filters.type.static(1), op.padding[1][0], factors[1])
    sides = sides_needed(plain.type.static(2), found)
    if reads_edges(op.groups, plain.type, filters.type):
        sides = 0, 0
    phased = PhasedCorrelation(factors, op.padding, op.groups, sides)
    return match.emit(phased, _beside(match, plain, sides), filters)


def _zeros_on_the_other_side(match: Match, op: Correlate2d, operands: Values) -> Value | None:
    """Exchange images and window of a sum over the batch, so that the window skips what would be zeros."""
    images, window = operands
    inserting = match.definition(images)
    if not isinstance(inserting.op, ZeroInsert) or op.sum_over != "batch" or op.groups > 1:
        return None
    if (op.stride, op.dilation) != ((1, 1), (1, 1)):
        return None
    (result,) = op.result_types(images.type, window.type)
    taps = result.static(0), result.static(1)
    (top, bottom), (left, right) = (
        (taps[axis] - 1 - before, taps[axis] - 1 - after) for axis, (before, after) in enumerate(op.padding)
    )
    if min(top, left) < 0:
        return None
    padding = (top, max(0, bottom)), (left, max(0, right))
    exchanged = FilterGradientOfTaps((1, 1), padding, inserting.op.factors, 1, "batch", taps)
    gradient = match.emit(exchanged, window, inserting.operands[0])
    return match.emit(Transpose((0, 1, 3, 2)), match.emit(Rot180(FILTER_AXES), gradient))


def _of_taps(match: Match, op: Crop, operands: Values) -> Value | None:
    """Sum up for no taps that are cropped off."""
    (gradient,) = operands
    made = match.definition(gradient)
    correlation = made.op
    if type(correlation) is not Correlate2d or correlation.sum_over != "batch" or match.uses(gradient) > 1:
        return None
    rows, columns, *others = op.widths
    if rows[0] or columns[0] or any(map(any, others)):
        return None
    taps = gradient.type.static(0) - rows[1], gradient.type.static(1) - columns[1]
    attributes = correlation.stride, correlation.padding, correlation.dilation, correlation.groups, "batch"
    return match.emit(FilterGradientOfTaps(*attributes, taps), *made.operands)  # type: ignore[arg-type]


OWN_FORMS: Final = frozenset(
    {
        *(WinogradFilters, WinogradCorrelation, WinogradFilterGradient),
        *(RoutedCorrelation, RoutedFilterGradient),
        *(Bfloat16, Bfloat16Filters, Bfloat16Correlation, Bfloat16FilterGradient),
        *(Bfloat16Matmul, Bfloat16ProductOverSamples),
        *(PhasedCorrelation, FilterGradientOfTaps, InPanels, PanelCorrelation, PanelMatmul),
    }
)
"""Ops that only this backend's own graphs hold."""

CONTRACTIONS: Final = (
    Rule("stopped-gradient", "stop_gradient(x) → x: no gradient is taken any more", StopGradient, _operand),
    Rule(
        "one-process",
        "all_reduce(x) → x and so on: ranks meet between stages, and what others compute is left out",
        (AllReduce, AllGather, BroadcastFrom, KeepOn),
        _operand,
    ),
    Rule(
        "convolution-as-correlation",
        "convolve2d(x, k) → correlate2d(x, rot180(k)), Eq. 3",
        Convolve2d,
        _convolution_as_correlation,
    ),
    Rule(
        "correlation-over-images",
        "a correlation that sums over images of a fixed number sums over channels, which are these images",
        Correlate2d,
        _correlation_over_images,
        keeps="finite",
    ),
    Rule(
        "zeros-on-the-other-side",
        "the filter gradient over inserted zeros is one with a dilated window, turned: it skips them",
        Correlate2d,
        _zeros_on_the_other_side,
        keeps="finite",
    ),
    Rule(
        "taps-alone",
        "the filter gradient is summed up for no taps that are cropped off",
        Crop,
        _of_taps,
    ),
)
SKIPPING: Final = Rule(
    "stride-before",
    "a convolution of 1x1 taps with a stride → one without, after a convolution that has it instead",
    Correlate2d,
    stride_before,
)
"""Of an inference: a gradient asks for what is skipped."""
FOLDING: Final = Rule(
    "folded-scale",
    "correlate2d(x, w) · a + b → correlate2d(x, w · a) + b, where a depends on parameters alone",
    (Add, Subtract, Multiply),
    folded_scale,
    keeps="finite",
)
"""Of graphs that leave parameters as they are, so that filters are multiplied once."""
BFLOAT16: Final = (
    Rule(
        "bfloat16",
        "a correlation of numbers that are rounded to bfloat16 reads them as such",
        Correlate2d,
        correlation_of_bfloat16,
        keeps="finite",
    ),
    Rule(
        "bfloat16-over-batch",
        "a filter gradient of numbers that are rounded to bfloat16 reads them as such",
        (Correlate2d, FilterGradientOfTaps),
        filter_gradient_of_bfloat16,
        keeps="finite",
    ),
    Rule(
        "bfloat16-matrices",
        "a product of matrices that are rounded to bfloat16 reads them as such",
        Matmul,
        matmul_of_bfloat16,
        keeps="finite",
    ),
    Rule(
        "mask-of-bfloat16",
        "relu_mask(x) → relu_mask(bfloat16(x)), where that exists: x need not be kept",
        ReluMask,
        mask_of_bfloat16,
        keeps="finite",
    ),
)
"""Of a processor that multiplies tiles of bfloat16."""
FORMS: Final = (
    Rule(
        "pad-at-the-sides",
        "correlations are padded at top and bottom only: zeros at the sides are written once, by a pad; "
        "depthwise ones of few taps do without",
        (Correlate2d, FilterGradientOfTaps),
        _pad_at_the_sides,
    ),
    Rule(
        "mask-of-relu",
        "relu_mask(x) → relu_mask(relu(x)), where that exists: x need not be kept",
        ReluMask,
        _mask_of_relu,
    ),
    Rule(
        "scalar-stays",
        "a pad, crop, transpose or rot180 of a scalar → the scalar",
        (Pad, Crop, Transpose, Rot180),
        _scalar_stays,
    ),
    Rule(
        "masked-before-routing",
        "route(d) · mask(relu(x)) → route(d · mask(pooled relu(x)))",
        Multiply,
        _masked_before_routing,
        keeps="finite",
    ),
    Rule(
        "rounded-before-routing",
        "round(route(d)) → route(round(d)), where windows lie apart",
        RoundBfloat16,
        _rounded_before_routing,
    ),
    Rule(
        "sum-before-routing",
        "Σ route(d) over all pixels → Σ d",
        Sum,
        _sum_before_routing,
        keeps="finite",
    ),
    Rule(
        "wide-mean",
        "a float32 mean over the images of a batch is one of float64, cast",
        Mean,
        wide_mean,
    ),
    Rule(
        "multiple-of-sum",
        "Σ (s·x - t·(y - mean y)) → s·Σ x, where that is there",
        Sum,
        multiple_of_sum,
        keeps="finite",
    ),
    Rule(
        "squared-error", "a squared error is a sum of squares", SquaredError, _squared_error, keeps="finite"
    ),
    Rule(
        "inverse-deviation",
        "an inverse deviation is one over the root of a mean of squares, all in float64",
        InverseDeviation,
        inverse_deviation,
        keeps="finite",
    ),
)
