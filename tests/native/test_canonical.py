"""The forms that kernels are made for: each rule holds in rational numbers, and rewriting ends."""

import functools
import itertools
import math
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.ir import Emitter, Graph, TensorType, needed_nodes
from graphcnn.ops import Convolve2d, Correlate2d
from graphcnn.ops.collective import Collective
from graphcnn.rewrite import rewrite
from graphcnn.testing import backend_cases, check_end, check_rule, naive, random_step
from graphcnn.testing.cases import build_case
from graphcnn_native.lowering.canonical import canonical, canonical_rules
from graphcnn_native.lowering.routing import CORRELATION, RoutedCorrelation, RoutedFilterGradient
from graphcnn_native.lowering.strides import FilterGradientOfTaps, PhasedCorrelation
from graphcnn_native.lowering.turned import TURNED
from graphcnn_native.lowering.winograd import (
    MAPPING,
    SMALL,
    WinogradCorrelation,
    WinogradFilterGradient,
    WinogradFilters,
    best_form,
)
from graphcnn_native.target import named_target

TARGET, WIDE = named_target("avx2"), named_target("avx512")
RULES = {
    rule.name: rule
    for target in (WIDE, TARGET)
    for rule in canonical_rules(target)
    if rule.rewrite is not None
}
"""All of them: some are of processors with wide vectors alone."""


def measure(graph, target=TARGET):
    """Return the numbers that the canonical rules lower, in the order that their module states."""
    needed = [graph.node(key) for key in sorted(needed_nodes(graph))]
    routed = routes(graph)
    kinds = [type(node.op) for node in needed]
    correlations = [node for node in needed if type(node.op) is Correlate2d]
    return (
        kinds.count(ops.StopGradient),
        sum(issubclass(kind, Collective) for kind in kinds),
        kinds.count(ops.SquaredError),
        kinds.count(ops.InverseDeviation),
        sum(is_narrow_mean(node) for node in needed),
        kinds.count(ops.Sum),
        kinds.count(Convolve2d),
        sum(is_over_images(node) for node in correlations),
        sum(is_over_zeros(graph, node) for node in correlations),
        sum(is_cropped(graph, node) for node in needed),
        len(correlations),
        sum(any(node.op.padding[1]) or is_suited(node, target) for node in correlations),
        sum(
            routed[value.key]
            for node in needed
            if type(node.op) in (ops.Multiply, ops.Sum, ops.RoundBfloat16)
            for value in node.operands
        ),
        sum(type(node.op) is ops.ReluMask and not is_relu(graph, node.operands[0]) for node in needed),
        sum(type(node.op) in MOVEMENTS and node.operands[0].type.is_scalar for node in needed),
        len(graph),
    )


def is_narrow_mean(node):
    types = [operand.type for operand in node.operands]
    return (
        type(node.op) is ops.Mean and types[0].dtype == "float32" and types[0].rank > 2 and 0 in node.op.axes
    )


MOVEMENTS = (ops.Pad, ops.Crop, ops.Transpose, ops.Rot180)


def routes(graph):
    """Return through how many pools each node's value was routed, whatever else was done on the way."""
    found = {}
    for key, node in graph.items():
        below = [found[operand.key] for operand in node.operands]
        if isinstance(node.op, ops.RouteToWinner2d):
            found[key] = 1 + below[0]
        else:
            found[key] = max(below) if isinstance(node.op, ops.Multiply | ops.RoundBfloat16) else 0
    return found


def is_over_images(node):
    return node.op.sum_over == "batch" and node.operands[0].type.shape[0] != "N"


def is_over_zeros(graph, node):
    inserting = graph.node(node.operands[0].key).op
    return (
        isinstance(inserting, ops.ZeroInsert)
        and inserting.factors != (1, 1)
        and (node.op.stride, node.op.dilation) == ((1, 1), (1, 1))
    )


def is_cropped(graph, node):
    """Whether a node takes a part of what a correlation computes."""
    return isinstance(node.op, ops.Crop) and type(graph.node(node.operands[0].key).op) is Correlate2d


def is_suited(node, target):
    images, window = (operand.type for operand in node.operands)
    filters, maps = (node.types[0], window) if node.op.sum_over == "batch" else (window, node.types[0])
    return (
        images.shape[0] == "N"
        and best_form(node.op, images, filters, maps, target, tuple(MAPPING)) is not None
    )


def is_relu(graph, value):
    return isinstance(graph.node(value.key).op, ops.Relu)


# On small graphs


def graph_of(build, *types):
    graph = Graph("small")
    try:
        graph.output(
            "y", build(Emitter(graph), *(graph.input(f"x{i}", type) for i, type in enumerate(types)))
        )
    except gcn.GraphcnnError:
        return None
    return graph


def contractions(kind):
    """Yield contractions over channels and over the batch, which is N or 2 images."""
    options = itertools.product(
        (((0, 0), (0, 0)), ((1, 0), (0, 2))), ((1, 1), (2, 1)), ((1, 1), (1, 2)), (1, 2), ("N", 2), (1, 3)
    )
    for padding, stride, dilation, groups, batch, size in options:  # fmt: skip
        op = kind(stride, padding, dilation, groups)
        images = TensorType((batch, 3, size, 2), "float64")
        filters = TensorType((2, 1, 2 // groups, 4), "float64")
        yield graph_of(lambda e, x, w, op=op: e(op, x, w), images, filters)
        over = replace(op, sum_over="batch")
        maps = TensorType((batch, 2, 1, 4), "float64")
        yield graph_of(lambda e, x, d, op=over: e(op, x, d), images, maps)


def over_zeros():
    """Yield correlations over inserted zeros: of channels with all kinds of padding, and of the batch."""
    options = itertools.product(
        (((0, 0), (0, 0)), ((1, 0), (0, 2)), ((2, 3), (3, 1))), ((2, 2), (1, 3), (3, 2)), (1, 2), (3, 2, 1)
    )
    for padding, factors, groups, size in options:
        op = Correlate2d(padding=padding, groups=groups)
        images = TensorType(("N", 3, size, 2), "float64")
        filters = TensorType((2, size, 2 // groups, 4), "float64")
        maps = TensorType(("N", 2, 2, 4), "float64")
        inserting = ops.ZeroInsert(factors)
        yield graph_of(lambda e, x, w, op=op, i=inserting: e(op, e(i, x), w), images, filters)
        over = replace(op, sum_over="batch")
        yield graph_of(lambda e, x, d, op=over, i=inserting: e(op, e(i, x), d), images, maps)


def cropped_gradients():
    for dilation, padding, widths in itertools.product(((1, 1), (2, 1)), (0, 1), ((1, 0), (0, 1), (2, 1))):
        op = Correlate2d(dilation=dilation, padding=((padding, 0), (0, padding)), sum_over="batch")
        crop = ops.Crop((*((0, width) for width in widths), (0, 0), (0, 0)))
        images, maps = (TensorType(("N", 5 - n, 4 - n, 2), "float64") for n in (0, 2))
        yield graph_of(lambda e, x, d, op=op, c=crop: e(c, e(op, x, d)), images, maps)


def wide():
    sizes = (
        # channels, filters, rows, columns, padding, over_batch, taps, stride
        (8, 8, 4, 5, 1, 0, 3, 1),
        (8, 16, 6, 7, 0, 0, 3, 1),
        (16, 8, 8, 9, 1, 0, 3, 1),
        (8, 8, 6, 7, 1, 1, 3, 1),
        (8, 8, 8, 9, 1, 1, 3, 1),
        (8, 8, 4, 5, 1, 0, 4, 1),
        (8, 8, 4, 5, 1, 1, 4, 1),
        (8, 8, 9, 10, 1, 0, 7, 2),
        (16, 16, 4, 5, 1, 0, 5, 1),
        (16, 16, 4, 5, 1, 1, 5, 1),
    )
    for channels, filters, rows, columns, padding, over_batch, taps, stride in sizes:
        edges = ((padding, padding), (padding, 0))
        images = TensorType(("N", rows, columns, channels))
        sum_over = "batch" if over_batch else "channels"
        op = Correlate2d((stride, stride), edges, sum_over=sum_over)
        if over_batch:
            deltas = rows + 2 * padding - taps + 1, columns + padding - taps + 1
            other = TensorType(("N", *deltas, filters))
        else:
            other = TensorType((taps, taps, channels, filters))
        yield graph_of(lambda e, x, w, op=op: e(op, x, w), images, other)
        if not over_batch:
            turned = TensorType((taps, taps, filters, channels))
            yield graph_of(lambda e, x, w, op=op: e(op, x, turn(e, w)), images, turned)


def turn(emit, filters):
    for op in TURNED:
        filters = emit(op, filters)
    return filters


def masks():
    def build(emit, x, relu_first):
        values = (emit(ops.Relu(), x), emit(ops.ReluMask(), x))
        return emit(ops.Multiply(), *(values if relu_first else values[::-1]))

    for type in (TensorType(("N", 3), "float32"), TensorType((), "float64")):
        yield graph_of(lambda e, x: build(e, x, True), type)


def scalars():
    for op in (ops.Pad(()), ops.Crop(()), ops.Transpose(()), ops.Rot180(())):
        yield graph_of(lambda e, x, op=op: e(ops.Relu(), e(op, x)), TensorType((), "float64"))


def routed():
    """Yield errors that go back through a pool and a relu, windows apart and overlapping."""
    for stride, padding, mask_first in itertools.product(((1, 1), (2, 2), (2, 1)), (0, 1), (True, False)):

        def build(emit, x, stride=stride, padding=padding, mask_first=mask_first):
            options = (2, 2), stride, ((padding, 0), (0, padding))
            y = emit(ops.Relu(), x)
            pooled, index = emit.all(ops.MaxPool2d(*options), y)
            delta = emit(ops.Subtract(), pooled, ops.constant(emit, 0.5, pooled.type))
            route = emit(ops.RouteToWinner2d(*options, x.type.shape), delta, index)
            mask = emit(ops.ReluMask(), y)
            return emit(ops.Multiply(), *((mask, route) if mask_first else (route, mask)))

        yield graph_of(build, TensorType(("N", 4, 3, 2), "float64"))


def gradients_of_routed():
    """Yield both gradients of convolutions whose errors a pool routes back, from windows apart or not."""
    sizes = (
        # rows, columns, channels, filters, taps, pool, stride, padding of the pool
        (6, 8, 16, 16, (3, 2), (2, 2), (2, 2), 0),
        (9, 8, 6, 17, (4, 3), (2, 3), (2, 3), 0),
        (7, 6, 16, 5, (2, 2), (4, 1), (4, 1), 0),
        (6, 6, 16, 16, (2, 2), (2, 2), (1, 1), 0),
        (6, 6, 16, 16, (2, 2), (2, 2), (2, 2), 1),
    )
    for (*size, channels, filters, taps, pool, stride, padding), border in itertools.product(sizes, (1, 0)):
        padding_of_images = ((0, 0), (0, 0)) if border else ((1, 0), (0, 1))
        gradient = Correlate2d(padding=padding_of_images, sum_over="batch")
        images = TensorType(("N", *(n - (not border) for n in size), channels))
        maps = images.with_shape(("N", *(n - k + 1 for n, k in zip(size, taps, strict=True)), filters))
        options = pool, stride, ((padding, 0), (0, padding))
        window = TensorType((*taps, channels, filters))
        edges = tuple((tap - 1, tap - 1 if border else 0) for tap in taps)

        def build(emit, x, w, y, over_batch, options=options, maps=maps, edges=edges, gradient=gradient):
            pooled, index = emit.all(ops.MaxPool2d(*options), y)
            route = emit(ops.RouteToWinner2d(*options, maps.shape), pooled, index)
            if over_batch:
                return emit(gradient, x, route)
            turned = emit(ops.Transpose((0, 1, 3, 2)), emit(ops.Rot180((0, 1)), w))
            return emit(Correlate2d(padding=edges), route, turned)

        for over_batch in (True, False):
            yield graph_of(partial(build, over_batch=over_batch), images, window, maps)


def roundings_of_routed():
    """Yield errors that are rounded behind a pool, masked as well, windows apart and overlapping."""
    for stride, is_masked in itertools.product(((2, 2), (3, 2), (1, 2)), (True, False)):
        options = (2, 2), stride

        def build(emit, x, options=options, is_masked=is_masked):
            y = emit(ops.Relu(), x)
            pooled, index = emit.all(ops.MaxPool2d(*options), y)
            route = emit(ops.RouteToWinner2d(*options, shape=x.type.shape), pooled, index)
            masked = emit(ops.Multiply(), route, emit(ops.ReluMask(), y)) if is_masked else route
            return emit(ops.RoundBfloat16(), masked)

        yield graph_of(build, TensorType(("N", 5, 4, 2), "float32"))


def sums_of_routed():
    """Yield sums of routed errors, over all pixels and over some."""
    options = (2, 2), (2, 1), ((1, 0), (0, 1))
    for axes, keep in itertools.product(((0, 1, 2), (1, 2), (1, 2, 3), (0, 1)), (True, False)):

        def build(emit, x, axes=axes, keep=keep):
            pooled, index = emit.all(ops.MaxPool2d(*options), x)
            route = emit(ops.RouteToWinner2d(*options, x.type.shape), pooled, index)
            return emit(ops.Sum(axes, keep), route)

        yield graph_of(build, TensorType(("N", 4, 3, 2), "float64"))


def errors():
    for shape in (("N",), ("N", 3), ("N", 2, 2)):
        type = TensorType(shape, "float64")
        yield graph_of(lambda e, x, t: e(ops.SquaredError(), x, t), type, type)


def deviations():
    for dtype, axes, keep in itertools.product(("float32", "float64"), ((), (0,), (1, 2)), (True, False)):
        op, type = ops.InverseDeviation(axes, keep, 0.1), TensorType(("N", 3, 2), dtype)
        yield graph_of(lambda e, x, op=op: e(ops.Add(), *e.all(op, x)), type)

    def of_centred(emit, x):
        mean = emit(ops.Cast("float32"), emit(ops.Mean((0, 1)), emit(ops.Cast("float64"), x)))
        centred = emit(ops.Subtract(), x, emit(ops.Broadcast(x.type.shape), mean))
        return emit(ops.Add(), *emit.all(ops.InverseDeviation((0, 1), epsilon=0.1), centred))

    yield graph_of(of_centred, TensorType(("N", 3, 2), "float32"))


def means():
    for axes, keep in itertools.product(((0,), (0, 1), (0, 1, 2)), (True, False)):
        type = TensorType(("N", 3, 2), "float32")
        yield graph_of(lambda e, x, axes=axes, keep=keep: e(ops.Mean(axes, keep), x), type)


def sums():
    """Yield sums of multiples of what is summed up as well, and of numbers less their mean."""

    def build(emit, x, y, s, t, keep, form):
        op = ops.Sum((0, 1), keep)
        known = [emit(op, value) for value in (x, y)]
        mean = emit(ops.Mean((0, 1), keep), x)
        spread, other, centre = (emit(ops.Broadcast(x.type.shape), value) for value in (s, t, mean))
        zeros = emit(ops.Divide(), emit(ops.Subtract(), x, centre), spread)
        expressions = [
            emit(ops.Add(), emit(ops.Multiply(), spread, y), emit(ops.Multiply(), zeros, other)),
            emit(ops.Subtract(), emit(ops.Negate(), zeros), emit(ops.Divide(), x, other)),
            emit(ops.Subtract(), emit(ops.Multiply(), emit(ops.Negate(), y), spread), zeros),
            emit(ops.Multiply(), ops.constant(emit, 0.3, s.type.with_shape(())), emit(ops.Negate(), x)),
        ]
        return emit(ops.Multiply(), emit(ops.Multiply(), *known), emit(op, expressions[form]))

    for dtype, keep, form in itertools.product(("float32", "float64"), (True, False), range(4)):
        number, type = TensorType((1, 1, 2) if keep else (2,), dtype), TensorType(("N", 3, 2), dtype)
        yield graph_of(partial(build, keep=keep, form=form), type, type, number, number)


def stopped():
    for type in (TensorType(("N", 3), "float32"), TensorType((), "int64"), TensorType((2,), "bool")):
        yield graph_of(lambda e, x: e(ops.StopGradient(), x), type)
        yield graph_of(lambda e, x: e(ops.Equal(), e(ops.StopGradient(), x), x), type)


def of_ranks():
    for shape in (("N", 3), ("N", 2, 3, 1)):
        samples = TensorType(shape, "float64")
        yield graph_of(lambda e, x: e(ops.AllReduce(), e(ops.Sum((0,)), x)), samples)
        yield graph_of(lambda e, x: e(ops.Multiply(), e(ops.AllGather(), x), x), samples)
    for op in (ops.BroadcastFrom(1), ops.KeepOn(0)):
        yield graph_of(lambda e, x, op=op: e(ops.Multiply(), e(op, x), x), TensorType((2, 3), "float64"))


DOMAINS = {
    "stopped-gradient": stopped,
    "one-process": of_ranks,
    "convolution-as-correlation": lambda: contractions(Convolve2d),
    "correlation-over-images": lambda: contractions(Correlate2d),
    "zeros-on-the-other-side": over_zeros,
    "taps-alone": cropped_gradients,
    "zeros-left-out": over_zeros,
    "listed-errors": gradients_of_routed,
    "listed-errors-back": gradients_of_routed,
    "winograd": wide,
    "pad-at-the-sides": lambda: contractions(Correlate2d),
    "mask-of-relu": masks,
    "scalar-stays": scalars,
    "masked-before-routing": routed,
    "rounded-before-routing": roundings_of_routed,
    "sum-before-routing": sums_of_routed,
    "wide-mean": means,
    "multiple-of-sum": sums,
    "squared-error": errors,
    "inverse-deviation": deviations,
}


def test_every_rule_has_a_domain():
    assert list(DOMAINS) == list(RULES)
    plain = [rule.name for rule in canonical_rules(WIDE, winograd=False) if rule.rewrite is not None]
    assert [name for name in RULES if name != "winograd"] == plain


@functools.cache
def matrices(form):
    """Return Bᵀ, G and Aᵀ of a form, for its finite points and the one at infinity."""
    at = [Fraction(x) for x in ((0, 1, -1) if form == SMALL else (0, "5/8", "-5/8", "3/2", "-3/2"))]
    count = len(at) + 1
    divisors = [Fraction(math.prod(x - y for y in at if y != x)) for x in at]
    b_t, g, a_t = (
        np.full(shape, Fraction(0), object)
        for shape in ((count, count), (count, form.taps), (form.results, count))
    )
    for row, others in enumerate([*([y for y in at if y != x] for x in at), at]):
        polynomial = [Fraction(1)]
        for y in others:  # times (x - y), the constant first
            polynomial = [a - y * b for a, b in zip([0, *polynomial], [*polynomial, 0], strict=True)]
        b_t[row, : len(polynomial)] = polynomial
    for row, (x, divisor) in enumerate(zip(at, divisors, strict=True)):
        g[row] = [x**power / divisor for power in range(form.taps)]
        a_t[:, row] = [x**power for power in range(form.results)]
    g[-1, -1] = a_t[-1, -1] = Fraction(1)
    return b_t, g, a_t


def first_taps(form, taps, step):
    """Yield each part of a filter, by its first tap."""
    counts = form.parts_of(taps, step)
    rows, columns = (
        [form.offset_of(part, apart) for part in range(count)]
        for count, apart in zip(counts, step, strict=True)
    )
    return itertools.product(rows, columns)


def mapped_filters(op, arrays, batch):
    (w,) = arrays
    if op.is_turned:
        w = w[::-1, ::-1].transpose(0, 1, 3, 2)
    _, g, _ = matrices(op.form)
    size = op.form.taps
    rows, columns, channels, count = w.shape
    beyond = [size * step for step in op.step]
    padded = np.full((rows + beyond[0], columns + beyond[1], channels, count), Fraction(0), object)
    padded[:rows, :columns] = w
    parts = []
    for row, column in first_taps(op.form, (rows, columns), op.step):
        part = padded[row :: op.step[0], column :: op.step[1]][:size, :size]
        mapped = np.empty((op.form.points, channels, count), object)
        for c, d in np.ndindex(channels, count):
            mapped[:, c, d] = g.dot(part[:, :, c, d]).dot(g.T).ravel()
        parts.append(mapped)
    return np.concatenate(parts, axis=1)


def on_tiles(op, arrays, batch):
    images, mapped = arrays
    b_t, _, a_t = matrices(op.form)
    size, count = op.form.side, op.form.results
    (top, bottom), (left, right) = op.padding
    n, height, width, channels = images.shape
    down, across = op.stride
    rows = (height + top + bottom - op.taps[0]) // down + 1
    columns = (width + left + right - op.taps[1]) // across + 1
    beyond = (size + count) * max(op.stride) + max(op.taps)
    padded = np.full((n, rows * down + beyond, columns * across + beyond, channels), Fraction(0), object)
    padded[:, top : top + height, left : left + width] = images
    result = np.full((n, rows + count, columns + count, mapped.shape[2]), Fraction(0), object)
    for s, i, j in itertools.product(range(n), range(0, rows, count), range(0, columns, count)):
        products = Fraction(0)
        for part, (row, column) in enumerate(first_taps(op.form, op.taps, op.stride)):
            square = padded[s, i * down + row :: down, j * across + column :: across][:size, :size]
            for c in range(channels):
                tile = b_t.dot(square[:, :, c]).dot(b_t.T)
                filters = mapped[:, part * channels + c].reshape(size, size, -1)
                products = products + filters * tile[:, :, None]
        for d in range(mapped.shape[2]):
            result[s, i : i + count, j : j + count, d] = a_t.dot(products[:, :, d]).dot(a_t.T)
    return result[:, :rows, :columns]


def by_phases(op, arrays, batch):
    images, filters = arrays
    left, right = op.sides
    assert not images[:, :, :left].any()
    plain = images[:, :, left : images.shape[2] - right]
    sizes = [(size - 1) * factor + 1 for size, factor in zip(plain.shape[1:3], op.factors, strict=True)]
    inserted = np.full((len(plain), *sizes, plain.shape[3]), Fraction(0), object)
    inserted[:, :: op.factors[0], :: op.factors[1]] = plain
    return naive.sliding_product(op.correlation, inserted, filters)


def of_taps(op, arrays, batch):
    return naive.sliding_product(op, *arrays)[: op.taps[0], : op.taps[1]]


def routed(op, pooled, index):
    """Return the map before a pool, with errors where the numbers of winners say."""
    (n, rows, columns, channels), (down, across) = pooled.shape, op.size
    found = np.full((n, *op.map_size, channels), Fraction(0), object)
    for place in np.ndindex(n, rows, columns, channels):
        s, i, j, d = place
        row, column = divmod(int(index[place]), across)
        found[s, i * down + row, j * across + column, d] = pooled[place]
    return found


def routed_filter_gradient(op, arrays, batch):
    images, pooled, index = arrays
    return naive.sliding_product(CORRELATION, images, routed(op, pooled, index))


def routed_correlation(op, arrays, batch):
    pooled, index, filters = arrays
    turned = filters[:, ::-1, ::-1].transpose(1, 2, 0, 3)
    return naive.sliding_product(Correlate2d(padding=op.padding), routed(op, pooled, index), turned)


MEANINGS = {
    RoutedFilterGradient: routed_filter_gradient,
    RoutedCorrelation: routed_correlation,
    PhasedCorrelation: by_phases,
    FilterGradientOfTaps: of_taps,
    WinogradFilters: mapped_filters,
    WinogradCorrelation: on_tiles,
    WinogradFilterGradient: lambda op, arrays, batch: naive.sliding_product(op, *arrays),
}


OF_OWN_FORMS = (
    *("winograd", "zeros-left-out", "taps-alone", "zeros-on-the-other-side"),
    *("listed-errors", "listed-errors-back"),
)
"""Rules that emit ops which only the native backend has."""


def test_tiles_of_all_forms_are_proved():
    tiles = [rewrite(graph, (RULES["winograd"],)).graph for graph in wide() if graph is not None]
    assert {node.op.form for graph in tiles for _, node in graph.items() if hasattr(node.op, "form")} == {
        *MAPPING
    }
    mappings = [
        node.op for graph in tiles for _, node in graph.items() if isinstance(node.op, WinogradFilters)
    ]
    plain, turned = ({op.form for op in mappings if op.is_turned == choice} for choice in (False, True))
    assert plain == turned


@pytest.mark.parametrize("name", DOMAINS)
def test_a_rule_keeps_its_graphs_on_small_shapes(name):
    graphs = [graph for graph in DOMAINS[name]() if graph is not None]
    backend = None if name in OF_OWN_FORMS else "numpy"
    assert check_rule(RULES[name], graphs, measure=measure, meanings=MEANINGS, backend=backend)


@pytest.mark.parametrize("offset", [0.0, 30.0, -3e3])
def test_a_variance_is_right_far_from_zero(offset):
    """It is taken from the squares of numbers that are not centred, in one pass over them."""
    layers = [gcn.BatchNorm2d(), gcn.ReLU(), gcn.Flatten(), gcn.Dense(2)]
    options = {"input_shape": (6, 6, 5), "loss": gcn.SquaredError(), "optimizer": gcn.SGD(0.1), "seed": 2}
    models = [
        gcn.compile(gcn.Sequential(*layers), backend=backend, **options) for backend in ("native", "numpy")
    ]
    x = np.random.default_rng(1).normal(offset, 1.0, (40, 6, 6, 5)).astype(np.float32)
    for model in models:
        model.train_step(x, np.ones((40, 2), np.float32))
    found, expected = (model.weights for model in models)
    for name, weight in expected.items():
        np.testing.assert_allclose(found[name], weight, rtol=2e-5, atol=2e-5 * abs(weight).max())
    titles = {kernel.title for kernel in models[0].executable("step").program.kernels}
    assert not {"cast", "subtract"} & titles, "nothing is centred in memory"


# Towards an end


@pytest.mark.parametrize("name", backend_cases()[::9])
def test_rewriting_ends_on_conformance_graphs(name):
    check_canonical(build_case(name).graph)


@pytest.mark.parametrize("seed", range(12))
def test_rewriting_ends_on_random_steps(seed):
    check_canonical(random_step(seed).graph)


def test_rewriting_ends_on_networks():
    network = gcn.Sequential(
        gcn.Conv2d(8, 3, padding="same"), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Conv2d(16, 3, padding="same"),
        gcn.ReLU(), gcn.MaxPool2d(2), gcn.ReLU(), gcn.ConvTranspose2d(8, 3, stride=2), gcn.ReLU(),
        gcn.MaxPool2d(2), gcn.ReLU(), gcn.MaxPool2d(1), gcn.Flatten(), gcn.Dense(3),
    )  # fmt: skip
    model = gcn.compile(network, input_shape=(8, 8, 8), loss=gcn.SquaredError(), optimizer=gcn.SGD(0.1))
    for graph in (model.gradient_graph, model.step_graph):
        assert check_canonical(graph) > 5


def check_canonical(graph):
    check_end(graph, canonical_rules(WIDE), partial(measure, target=WIDE))
    rules = canonical_rules(TARGET)
    steps = check_end(graph, rules, measure)
    result, sources = canonical(graph, TARGET, winograd=True)
    assert not rewrite(result, rules).applied, "nothing is left to do"
    assert sources.keys() == {key for key, _ in result.items()}
    assert all(source in dict(graph.items()) for source in sources.values())
    return steps
