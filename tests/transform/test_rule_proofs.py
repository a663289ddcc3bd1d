"""Every rule of simplification on all small shapes: in rational numbers, in bits, and towards an end.

`DOMAINS` yields, for each rule, graphs of all small sizes and attributes; on some of them the rule has to
hold back. Wrong rules, each one slip away from a right one, have to be caught on the same graphs.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import ShapeError
from graphcnn.ir import Emitter, Graph, TensorType
from graphcnn.ops import Convolve2d, Correlate2d
from graphcnn.ops.convolution import FILTER_AXES, IMAGE_AXES
from graphcnn.rewrite import Rule, rewrite
from graphcnn.testing import backend_cases, check_end, check_rule, expression_size, random_step
from graphcnn.testing.cases import build_case
from graphcnn.transform import simplification_rules

DTYPES = ("float32", "float64")
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5)
RULES = {rule.name: rule for rule in simplification_rules() if rule.rewrite is not None}


def graph_of(build, *types):
    """Return the graph of a function of an emitter and inputs; None where the shapes do not fit."""
    graph = Graph("small")
    inputs = [graph.input(f"x{position}", type) for position, type in enumerate(types)]
    try:
        graph.output("y", build(Emitter(graph), *inputs))
    except ShapeError:
        return None
    return graph


def fitting(graphs):
    return (graph for graph in graphs if graph is not None)


def tensors(*shapes):
    return [TensorType(shape, dtype) for shape in shapes for dtype in DTYPES]


def spread(emit, scalar, type, way):
    """Return a scalar as it is, broadcast, or broadcast and reshaped."""
    if way == "scalar":
        return scalar
    if way == "broadcast":
        return emit(ops.Broadcast(type.shape), scalar)
    return emit(ops.Reshape(type.shape), emit(ops.Broadcast((*type.shape, 1)), scalar))


WAYS = ("scalar", "broadcast", "reshaped")


def with_number(op):
    """Yield an op on a tensor or a scalar and a constant, on either side."""
    cases = itertools.product(tensors(("N",), (2, 3), ()), NUMBERS, WAYS, (True, False))
    for type, number, way, number_first in cases:

        def build(emit, x, type=type, number=number, way=way, number_first=number_first):
            known = spread(emit, ops.constant(emit, number, type), type, way)
            return emit(op, *((known, x) if number_first else (x, known)))

        yield graph_of(build, type)


def with_scalar():
    ops_of_two = (ops.Add(), ops.Subtract(), ops.Multiply(), ops.Divide())
    for op, type, way, first in itertools.product(ops_of_two, tensors(("N", 2), (3,)), WAYS, (True, False)):

        def build(emit, x, s, op=op, type=type, way=way, first=first):
            known = spread(emit, s, type, way)
            return emit(op, *((known, x) if first else (x, known)))

        yield graph_of(build, type, type.with_shape(()))


def constants():
    kinds = (ops.Add(), ops.Subtract(), ops.Multiply())
    numbers = (*NUMBERS, 3.0, 2.0**-20)
    for op, dtype, a, b in itertools.product(kinds, DTYPES, numbers, numbers):
        for ways in itertools.product(("scalar", "broadcast"), repeat=2):

            def build(emit, x, op=op, a=a, b=b, ways=ways):
                pair = [
                    spread(emit, ops.constant(emit, number, x.type), x.type, way)
                    for number, way in zip((a, b), ways, strict=True)
                ]
                return emit(op, *pair)

            yield graph_of(build, TensorType(("N", 2), dtype))
    for dtype, number in itertools.product(DTYPES, numbers):
        yield graph_of(
            lambda e, x, n=number: e(ops.Negate(), ops.constant(e, n, x.type)), TensorType((), dtype)
        )


IMAGES = [TensorType(("N", h, w, c), "float64") for h, w, c in itertools.product((1, 2, 3), (1, 3), (1, 2))]
EDGES = ((0, 0), (1, 0), (0, 2), (1, 1))
PADDINGS = tuple(itertools.product(EDGES, EDGES))


def rotations():
    axes = (FILTER_AXES, IMAGE_AXES, (0,), (1, 2, 3))
    for type, outer, inner in itertools.product(IMAGES, axes, axes):
        yield graph_of(lambda e, x, a=outer, b=inner: e(ops.Rot180(a), e(ops.Rot180(b), x)), type)


def transposes():
    for rank, sizes in itertools.product((1, 2, 3), ((2, 3, "N"), (2, 2, 2))):
        type = TensorType(sizes[:rank], "float64")
        for outer, inner in itertools.product(itertools.permutations(range(rank)), repeat=2):
            yield graph_of(lambda e, x, p=outer, q=inner: e(ops.Transpose(p), e(ops.Transpose(q), x)), type)
            yield graph_of(lambda e, x, p=outer: e(ops.Transpose(p), x), type)


SHAPES = (("N", 6), ("N", 2, 3), ("N", 3, 2, 1), ("N", 1, 6))


def reshapes():
    for first, middle, last in itertools.product(SHAPES, repeat=3):
        type = TensorType(first, "float32")
        yield graph_of(lambda e, x, m=middle, n=last: e(ops.Reshape(n), e(ops.Reshape(m), x)), type)
        yield graph_of(lambda e, x, m=middle: e(ops.Reshape(m), x), type)
        yield graph_of(lambda e, x, m=middle: e(ops.Broadcast(m), x), type)


def borders():
    for type, rows, columns in itertools.product(IMAGES[:4], EDGES, EDGES):
        widths = ((0, 0), rows, columns, (0, 0))
        for op in (ops.Pad(widths), ops.Pad(widths, -1.5), ops.Crop(widths)):
            yield graph_of(lambda e, x, op=op: e(op, x), type)


def axes_of_sums():
    for kind, axes, keep in itertools.product((ops.Sum, ops.Mean), ((), (0,), (1, 2)), (True, False)):
        op = kind(axes, keep)
        yield graph_of(lambda e, x, op=op: e(op, x), IMAGES[-1])


def filters_for(images, taps, groups, count):
    return TensorType((*taps, images.static(3) // groups or 1, count), images.dtype)


CONTRACTIONS = [
    {"stride": s, "dilation": d, "groups": g}
    for s, d, g in itertools.product(((1, 1), (2, 1)), ((1, 1), (1, 2)), (1, 2))
]
TAPS = ((1, 1), (2, 1), (2, 3))


def with_filters(build, kinds, paddings=(((0, 0), (0, 0)), ((1, 0), (2, 1)))):
    """Yield contractions of images with filters, and over the batch of images with maps."""
    for kind, padding, options, images, taps in itertools.product(
        kinds, paddings, CONTRACTIONS, IMAGES, TAPS
    ):
        op = kind(padding=padding, **options)
        filters = filters_for(images, taps, op.groups, 2)
        yield graph_of(lambda e, x, w, op=op: build(e, op, x, w), images, filters)
        over = replace(op, sum_over="batch")
        maps = TensorType(("N", *taps, 2), images.dtype)
        yield graph_of(lambda e, x, w, op=over: build(e, op, x, w), images, maps)


def rotated_windows():
    for axes in (FILTER_AXES, IMAGE_AXES):
        yield from with_filters(lambda e, op, x, w, a=axes: e(op, x, e(ops.Rot180(a), w)), (Convolve2d,))


def rotated_both():
    def build(emit, op, x, w):
        return emit(op, emit(ops.Rot180(IMAGE_AXES), x), emit(ops.Rot180(IMAGE_AXES), w))

    return with_filters(build, (Correlate2d,), PADDINGS[::3])


KINDS = (Correlate2d, Convolve2d)


def cropped():
    for rows, columns, channels in itertools.product(EDGES[:2], EDGES[1:3], ((0, 0), (0, 1))):
        crop = ops.Crop(((0, 0), rows, columns, channels))
        yield from with_filters(lambda e, op, x, w, c=crop: e(c, e(op, x, w)), KINDS, (((2, 1), (1, 2)),))


def subsampled():
    for factors in ((2, 2), (1, 3), (2, 1)):
        keep = ops.Subsample(factors)
        yield from with_filters(lambda e, op, x, w, k=keep: e(k, e(op, x, w)), KINDS, (((2, 1), (1, 2)),))


def padded():
    uneven = (((1, 0), (0, 1)),)
    for widths in (((1, 0), (0, 2), (0, 0)), ((0, 0), (1, 1), (0, 0)), ((1, 0), (0, 0), (0, 1))):
        for number in (0.0, 2.0):
            pad = ops.Pad(((0, 0), *widths), number)
            yield from with_filters(lambda e, op, x, w, p=pad: e(op, e(p, x), w), KINDS, uneven)


def counts():
    for axes, dtype in itertools.product(((0,), (1,), (1, 2), (1, 3)), DTYPES):
        yield graph_of(lambda e, x, a=axes: e(ops.Count(a), x), TensorType(("N", 2, 3, 4), dtype))


def negations():
    for type in tensors(("N",), ()):
        yield graph_of(lambda e, x: e(ops.Negate(), e(ops.Negate(), x)), type)


def logarithms():
    for type, inner in itertools.product(tensors(("N",), ()), (ops.Exp(), ops.Sigmoid())):
        yield graph_of(lambda e, x, op=inner: e(ops.Log(), e(op, x)), type)


def over_and_times():
    """Yield products of a quotient and its divisor, or another number, in either order."""
    kinds = itertools.product(tensors(("N",), (2, 3), ()), (True, False), (True, False), (True, False))
    for type, scalar, same, quotient_first in kinds:

        def build(emit, x, y, same=same, quotient_first=quotient_first):
            divisor = emit(ops.Exp(), y)
            pair = emit(ops.Divide(), x, divisor), divisor if same else emit(ops.Exp(), x)
            return emit(ops.Multiply(), *(pair if quotient_first else pair[::-1]))

        yield graph_of(build, type, type.with_shape(()) if scalar else type)
        yield graph_of(build, type.with_shape(()), type)


def powers():
    for type, exponent in itertools.product(tensors(("N",), ()), (1.0, 2.0, 0.0, -1.0)):
        yield graph_of(lambda e, x, p=exponent: e(ops.Power(p), x), type)


def insertions():
    for type, factors in itertools.product(IMAGES, ((1, 1), (1, 2), (2, 1))):
        yield graph_of(lambda e, x, f=factors: e(ops.ZeroInsert(f), x), type)


DOMAINS = {
    "fixed-count": counts,
    "multiply-by-one": lambda: with_number(ops.Multiply()),
    "divide-by-one": lambda: with_number(ops.Divide()),
    "add-minus-zero": lambda: with_number(ops.Add()),
    "subtract-zero": lambda: with_number(ops.Subtract()),
    "power-of-one": powers,
    "fold-constants": constants,
    "negate-twice": negations,
    "log-of-exp": logarithms,
    "over-and-times-exp": over_and_times,
    "late-broadcast": with_scalar,
    "rot180-pairs": rotations,
    "transpose-to-itself": transposes,
    "transpose-twice": transposes,
    "same-shape": reshapes,
    "reshape-twice": reshapes,
    "no-widths": borders,
    "no-zeros": insertions,
    "no-axes": axes_of_sums,
    "convolution-of-rotated": rotated_windows,
    "rotated-operands": rotated_both,
    "crop-of-correlation": cropped,
    "subsample-of-correlation": subsampled,
    "pad-before-correlation": padded,
}


def test_every_rule_has_a_domain():
    assert list(DOMAINS) == list(RULES)


@pytest.mark.parametrize("name", DOMAINS)
def test_a_rule_keeps_what_it_says_on_all_small_shapes(name):
    assert check_rule(RULES[name], fitting(DOMAINS[name]()), measure=expression_size) > 1


# Wrong rules


def numbers_of(match, operands):
    """Return the number that each operand holds everywhere, or None."""
    found = []
    for value in operands:
        node = match.definition(value)
        while isinstance(node.op, ops.Broadcast):
            node = match.definition(node.operands[0])
        found.append(node.op.value if isinstance(node.op, ops.Constant) else None)
    return found


def inner_of(match, operands, kind, position=0):
    node = match.definition(operands[position])
    return node if isinstance(node.op, kind) else None


def plus_any_zero(match, op, operands):
    fits = numbers_of(match, operands)[1] == 0 and operands[0].type == operands[1].type
    return operands[0] if fits else None


def minus_any_zero(match, op, operands):
    return plus_any_zero(match, op, operands)


def zero_minus(match, op, operands):
    fits = numbers_of(match, operands)[0] == 0 and operands[0].type == operands[1].type
    return operands[1] if fits else None


def zero_times(match, op, operands):
    fits = numbers_of(match, operands)[1] == 0 and operands[0].type == operands[1].type
    return operands[1] if fits else None


def one_over(match, op, operands):
    fits = numbers_of(match, operands)[0] == 1 and operands[0].type == operands[1].type
    return operands[1] if fits else None


def power_of_two(match, op, operands):
    return operands[0] if op.exponent == 2 else None


def power_of_zero(match, op, operands):
    return match.emit(ops.Relu(), operands[0]) if op.exponent == 0 else None


def folded_in_double(match, op, operands):
    numbers = numbers_of(match, operands)
    if None in numbers or not isinstance(op, ops.Add) or not all(v.type.is_scalar for v in operands):
        return None
    return match.emit(ops.Constant(sum(numbers) * (1 + 2.0**-40), operands[0].type))


def swapped_scalar(match, op, operands):
    broadcast = inner_of(match, operands, ops.Broadcast, 1)
    if broadcast is None or not broadcast.operands[0].type.is_scalar or not isinstance(op, ops.Subtract):
        return None
    return match.emit(op, broadcast.operands[0], operands[0])


def count_of_all(match, op, operands):
    shape = operands[0].type.shape[1:]
    return match.emit(ops.Constant(float(np.prod(shape)), operands[0].type.with_shape(())))


def negate_once(match, op, operands):
    inner = inner_of(match, operands, ops.Negate)
    return None if inner is None else operands[0]


def rotated_about_other_axes(match, op, operands):
    inner = inner_of(match, operands, ops.Rot180)
    return None if inner is None else inner.operands[0]


def transposed_in_the_other_order(match, op, operands):
    inner = inner_of(match, operands, ops.Transpose)
    if inner is None:
        return None
    permutation = tuple(op.permutation[axis] for axis in inner.op.permutation)
    shape = tuple(inner.operands[0].type.shape[axis] for axis in permutation)
    expected = tuple(operands[0].type.shape[axis] for axis in op.permutation)
    return match.emit(ops.Transpose(permutation), inner.operands[0]) if shape == expected else None


def zeros_not_inserted_in_columns(match, op, operands):
    fits = op.factors[0] == 1 and operands[0].type.static(2) == 1
    return match.emit(ops.Negate(), operands[0]) if fits else None


def mean_is_sum(match, op, operands):
    return match.emit(ops.Sum(op.axes, op.keep), operands[0]) if isinstance(op, ops.Mean) else None


def unrotated_window(match, op, operands):
    window = inner_of(match, operands, ops.Rot180, 1)
    return None if window is None else match.emit(op.as_correlation(), operands[0], window.operands[0])


def convolution_is_correlation(match, op, operands):
    return match.emit(op.as_correlation(), *operands)


def both_rotated(axes=FILTER_AXES, mirror=True, plain=True):
    def rewrite(match, op, operands):
        images, window = (inner_of(match, operands, ops.Rot180, position) for position in (0, 1))
        if images is None or window is None or op.sum_over != "batch":
            return None
        if plain and (op.stride, op.dilation) != ((1, 1), (1, 1)):
            return None
        (top, bottom), (before, after) = op.padding
        padding = ((bottom, top), (after, before)) if mirror else op.padding
        result = match.emit(replace(op, padding=padding), images.operands[0], window.operands[0])
        return match.emit(ops.Rot180(axes), result) if axes else result

    return rewrite


def cropped_correlation(swap=False, check_stride=True):
    def rewrite(match, op, operands):
        inner = inner_of(match, operands, Correlate2d)
        if inner is None or inner.op.sum_over != "channels" or op.widths[3] != (0, 0):
            return None
        if check_stride and inner.op.stride != (1, 1):
            return None
        pairs = []
        for padding, width in zip(inner.op.padding, op.widths[1:3], strict=True):
            pairs.append(tuple(p - w for p, w in zip(padding, width[::-1] if swap else width, strict=True)))
        if min(map(min, pairs)) < 0:
            return None
        changed = replace(inner.op, padding=tuple(pairs))
        if changed.result_types(*(v.type for v in inner.operands)) != op.result_types(operands[0].type):
            return None
        return match.emit(changed, *inner.operands)

    return rewrite


def subsampled_correlation(match, op, operands):
    """The last rows and columns are kept, in the place of the first."""
    inner = inner_of(match, operands, Correlate2d)
    if inner is None or inner.op.sum_over != "channels":
        return None
    mirrored = tuple(pair[::-1] for pair in inner.op.padding)
    changed = replace(inner.op, stride=op.factors, padding=mirrored)
    if changed.result_types(*(v.type for v in inner.operands)) != op.result_types(operands[0].type):
        return None
    return match.emit(changed, *inner.operands)


def padded_correlation(swap=False, channels=False, check_number=True):
    def rewrite(match, op, operands):
        inner = inner_of(match, operands, ops.Pad)
        if inner is None or (check_number and inner.op.value):
            return None
        if (inner.op.widths[3] != (0, 0)) is not channels:
            return None
        if channels and inner.operands[0].type.static(3) != operands[1].type.static(2) * op.groups:
            return None
        pairs = []
        for padding, width in zip(op.padding, inner.op.widths[1:3], strict=True):
            pairs.append(tuple(p + w for p, w in zip(padding, width[::-1] if swap else width, strict=True)))
        return match.emit(replace(op, padding=tuple(pairs)), inner.operands[0], operands[1])

    return rewrite


def log_of_anything(match, op, operands):
    return match.definition(operands[0]).operands[0] if match.definition(operands[0]).operands else None


def over_and_times_anything(match, op, operands):
    nodes = [match.definition(operand) for operand in operands]
    divided = next((node for node in nodes if isinstance(node.op, ops.Divide)), None)
    (result,) = op.result_types(*(operand.type for operand in operands))
    return divided.operands[0] if divided and divided.operands[0].type == result else None


WRONG = {
    "log(f(x)) → x": ("log-of-exp", ops.Log, log_of_anything, "finite"),
    "log(exp(x)) → x, to the bit": ("log-of-exp", ops.Log, log_of_anything, "exact"),
    "x/a · b → x": ("over-and-times-exp", ops.Multiply, over_and_times_anything, "finite"),
    "x + 0.0 → x": ("add-minus-zero", ops.Add, plus_any_zero, "exact"),
    "x - -0.0 → x": ("subtract-zero", ops.Subtract, minus_any_zero, "exact"),
    "0 - x → x": ("subtract-zero", ops.Subtract, zero_minus, "finite"),
    "x · 0 → 0, with NaN and infinities": ("multiply-by-one", ops.Multiply, zero_times, "exact"),
    "1 / x → x": ("divide-by-one", ops.Divide, one_over, "finite"),
    "x² → x": ("power-of-one", ops.Power, power_of_two, "finite"),
    "x^0 → relu(x)": ("power-of-one", ops.Power, power_of_zero, "finite"),
    "folded with another rounding": ("fold-constants", ops.Add, folded_in_double, "exact"),
    "operands change places": ("late-broadcast", ops.Subtract, swapped_scalar, "finite"),
    "a count along all axes": ("fixed-count", ops.Count, count_of_all, "finite"),
    "-(-x) → -x": ("negate-twice", ops.Negate, negate_once, "finite"),
    "rot180 about other axes": ("rot180-pairs", ops.Rot180, rotated_about_other_axes, "finite"),
    "permutations in the other order": (
        "transpose-twice", ops.Transpose, transposed_in_the_other_order, "finite"),
    "zeros that negate": ("no-zeros", ops.ZeroInsert, zeros_not_inserted_in_columns, "finite"),
    "a mean without its divisor": ("no-axes", ops.Mean, mean_is_sum, "finite"),
    "a sum that keeps the sign of zero": (
        "no-axes", ops.Sum, lambda m, op, x: None if op.axes else x[0], "exact"),
    "a window rotated about any axes": ("convolution-of-rotated", Convolve2d, unrotated_window, "finite"),
    "Eq. 2 for Eq. 1": ("convolution-of-rotated", Convolve2d, convolution_is_correlation, "finite"),
    "Eq. 14 with padding as it was": (
        "rotated-operands", Correlate2d, both_rotated(mirror=False), "finite"),
    "Eq. 14 not rotated": ("rotated-operands", Correlate2d, both_rotated(axes=()), "finite"),
    "Eq. 14 in another order, to the bit": (
        "rotated-operands", Correlate2d, both_rotated(), "exact"),
    "a crop of the other side": ("crop-of-correlation", ops.Crop, cropped_correlation(swap=True), "finite"),
    "a crop at any stride": (
        "crop-of-correlation", ops.Crop, cropped_correlation(check_stride=False), "finite"),
    "a stride from the other side": (
        "subsample-of-correlation", ops.Subsample, subsampled_correlation, "finite"),
    "a pad on the other side": (
        "pad-before-correlation", Correlate2d, padded_correlation(swap=True), "finite"),
    "a pad with any number": (
        "pad-before-correlation", Correlate2d, padded_correlation(check_number=False), "finite"),
}  # fmt: skip


@pytest.mark.parametrize("slip", WRONG)
def test_a_wrong_rule_is_caught(slip):
    domain, op, rewrite, keeps = WRONG[slip]
    with pytest.raises(AssertionError, match="changes 'y'"):
        check_rule(Rule("wrong", slip, op, rewrite, keeps), fitting(DOMAINS[domain]()))


def test_a_rule_that_never_applies_is_told():
    rule = Rule("never", "x → x", ops.Relu, lambda match, op, operands: None)
    with pytest.raises(AssertionError, match="'never' applies to none of these graphs"):
        check_rule(rule, fitting(negations()))


def test_a_rule_that_makes_graphs_longer_is_told():
    def longer(match, op, operands):
        half = match.emit(ops.Multiply(), operands[0], ops.constant(match.emit, 0.5, operands[0].type))
        return match.emit(ops.Multiply(), half, ops.constant(match.emit, 2.0, operands[0].type))

    rule = Rule("longer", "x² → 2 (x/2)", ops.Power, longer, "finite")
    graphs = [graph_of(lambda e, x: e(ops.Power(1.0), x), TensorType(("N",), "float64"))]
    assert check_rule(rule, graphs) == 1
    with pytest.raises(AssertionError, match="'longer' does not lower"):
        check_rule(rule, graphs, measure=expression_size)


# Rewriting ends


@pytest.mark.parametrize("name", backend_cases()[::7])
def test_simplification_ends_on_conformance_graphs(name):
    graph = build_case(name).graph
    rules = simplification_rules()
    steps = check_end(graph, rules, expression_size)
    whole = rewrite(graph, rules)
    assert bool(steps) == bool(whole.applied)
    assert not rewrite(whole.graph, rules).applied


@pytest.mark.parametrize("seed", range(12))
def test_simplification_ends_on_random_steps(seed):
    graph = random_step(seed).graph
    rules = simplification_rules()
    check_end(graph, rules, expression_size)
    assert not rewrite(rewrite(graph, rules).graph, rules).applied


def test_simplification_ends_on_a_gradient():
    network = gcn.Sequential(
        gcn.Conv2d(4, 3, padding="same"), gcn.BatchNorm2d(), gcn.ReLU(), gcn.MaxPool2d(2),
        gcn.Conv2d(4, 3, stride=2), gcn.LayerNorm(), gcn.Tanh(), gcn.Flatten(), gcn.Dense(3),
    )  # fmt: skip
    model = gcn.compile(network, input_shape=(8, 8, 2), loss=gcn.SquaredError())
    assert check_end(model.gradient_graph, simplification_rules(), expression_size) > 10
