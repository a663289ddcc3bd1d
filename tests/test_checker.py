"""The gradient checker is checked: seeded wrong rules must be caught."""

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.errors import DifferentiationError, GraphcnnError
from graphcnn.ir import Graph, TensorType
from graphcnn.ops import Convolve2d, Correlate2d, convolution, pooling
from graphcnn.testing import check_gradients

WINDOW = ((2, 2), (2, 2))
TO_FOUR = ops.Pad(((0, 0), (0, 1), (0, 1), (0, 0)))


def graph_of(op, *shapes, positive=False):
    graph = Graph("checked")
    rng = np.random.default_rng(3)
    arrays, values = {}, []
    for number, shape in enumerate(shapes):
        if shape == "labels":
            arrays[f"x{number}"] = np.arange(3) % 2
            values.append(graph.input(f"x{number}", TensorType(("N",), "int64")))
            continue
        arrays[f"x{number}"] = rng.standard_normal(shape)
        if positive:
            arrays[f"x{number}"] = np.abs(arrays[f"x{number}"]) + 0.5
        values.append(graph.input(f"x{number}", TensorType(shape, "float64")))
    if "labels" in shapes:
        graph = Graph("checked")
        values = [
            graph.input(label, TensorType(("N", *array.shape[1:]), array.dtype.name))
            for label, array in arrays.items()
        ]
    graph.output("y", graph.add_all(op, *values)[0])
    wrt = [label for label, array in arrays.items() if array.dtype == np.float64]
    return graph, wrt, arrays


def check(op, *shapes, positive=False, **options):
    graph, wrt, arrays = graph_of(op, *shapes, positive=positive)
    check_gradients(graph, "y", wrt, arrays, **options)


def wrong_rule(change):
    """Return a wrong gradient rule: the right one, its results passed through `change`."""

    def wrap(right):
        def gradient(self, emit, operands, results, delta):
            return change(emit, right(self, emit, operands, results, delta))

        return gradient

    return wrap


def negated(position):
    def change(emit, gradients):
        wrong = list(gradients)
        wrong[position] = emit(ops.Negate(), wrong[position])
        return tuple(wrong)

    return wrong_rule(change)


def swapped(emit, gradients):
    return gradients[1], gradients[0]


def scaled(factor):
    def change(emit, gradients):
        number = ops.constant(emit, factor, gradients[0].type)
        return (emit(ops.Multiply(), gradients[0], number), *gradients[1:])

    return wrong_rule(change)


def applied(*extra):
    """Return a wrong rule that puts further ops behind the first gradient."""

    def change(emit, gradients):
        first = gradients[0]
        for op in extra:
            first = emit(op, first)
        return (first, *gradients[1:])

    return wrong_rule(change)


def dropped(position):
    return wrong_rule(lambda emit, g: tuple(None if at == position else x for at, x in enumerate(g)))


def doing(rule):
    """Return a rule in place of the right one."""
    return lambda right: rule


IMAGES, FILTERS = (2, 5, 6, 2), (3, 2, 2, 3)
RULES = {
    "correlate2d: sign of the input gradient": (Correlate2d(), (IMAGES, FILTERS), negated(0)),
    "correlate2d: sign of the filter gradient": (Correlate2d(), (IMAGES, FILTERS), negated(1)),
    "correlate2d: no filter gradient": (Correlate2d(), (IMAGES, FILTERS), dropped(1)),
    "correlate2d: input gradient rotated": (Correlate2d(), (IMAGES, FILTERS), applied(ops.Rot180((1, 2)))),
    "correlate2d: a tiny factor": (Correlate2d(), (IMAGES, FILTERS), scaled(1 + 1e-5)),
    "convolve2d: sign of the filter gradient": (Convolve2d(), (IMAGES, FILTERS), negated(1)),
    "convolve2d: the rules of correlate2d": (
        Convolve2d(),
        (IMAGES, FILTERS),
        doing(lambda self, *rest: Correlate2d.gradient(self.as_correlation(), *rest)),
    ),
    "max_pool2d: to the mirrored unit": (
        ops.MaxPool2d(*WINDOW), ((2, 4, 4, 2),), applied(ops.Rot180((1, 2)))),
    "max_pool2d: to the whole block": (
        ops.MaxPool2d(*WINDOW),
        ((2, 4, 4, 2),),
        doing(lambda self, e, x, y, d: (e(ops.SpreadToBlock2d(*WINDOW, shape=x[0].type.shape), d),)),
    ),
    "max_pool2d: to the first unit": (
        ops.MaxPool2d(*WINDOW),
        ((2, 4, 4, 2),),
        doing(lambda self, e, x, y, d: (e(TO_FOUR, e(ops.ZeroInsert((2, 2)), d)),)),
    ),
    "average_pool2d: without 1/(N·N)": (
        ops.AveragePool2d(*WINDOW),
        ((2, 4, 4, 2),),
        doing(lambda self, e, x, y, d: (e(ops.SpreadToBlock2d(*WINDOW, shape=x[0].type.shape), d),)),
    ),
    "average_pool2d: 1/N": (ops.AveragePool2d(*WINDOW), ((2, 4, 4, 2),), scaled(2.0)),
    "l2_pool2d: without x": (
        ops.L2Pool2d(*WINDOW),
        ((2, 4, 4, 2),),
        doing(
            lambda self, e, x, y, d: (
                e(ops.SpreadToBlock2d(*WINDOW, shape=x[0].type.shape), e(ops.Divide(), d, y[0])),
            )
        ),
    ),
    "l2_pool2d: without 1/y": (
        ops.L2Pool2d(*WINDOW),
        ((2, 4, 4, 2),),
        doing(
            lambda self, e, x, y, d: (
                e(ops.Multiply(), x[0], e(ops.SpreadToBlock2d(*WINDOW, shape=x[0].type.shape), d)),
            )
        ),
    ),
    "matmul: operands not transposed": (
        ops.Matmul(),
        ((3, 3), (3, 3)),
        doing(lambda self, e, x, y, d: (e(ops.Matmul(), d, x[1]), e(ops.Matmul(), x[0], d))),
    ),
    "matmul: gradients swapped": (ops.Matmul(), ((3, 3), (3, 3)), wrong_rule(swapped)),
    "multiply: gradients swapped": (ops.Multiply(), ((3, 4), (3, 4)), wrong_rule(swapped)),
    "subtract: no sign": (ops.Subtract(), ((3, 4), (3, 4)), negated(1)),
    "divide: sign": (ops.Divide(), ((3, 4), (3, 4)), negated(1)),
    "maximum: to the lesser": (ops.Maximum(), ((3, 4), (3, 4)), wrong_rule(swapped)),
    "minimum: to the greater": (ops.Minimum(), ((3, 4), (3, 4)), wrong_rule(swapped)),
    "abs: no sign": (ops.Abs(), ((3, 4),), doing(lambda self, e, x, y, d: (d,))),
    "sin: sign": (ops.Sin(), ((3, 4),), negated(0)),
    "cos: sign": (ops.Cos(), ((3, 4),), negated(0)),
    "erf: 2/π in place of 2/√π": (ops.Erf(), ((3, 4),), scaled(1 / np.sqrt(np.pi))),
    "softplus: of relu": (
        ops.Softplus(),
        ((3, 4),),
        doing(lambda self, e, x, y, d: (e(ops.Multiply(), d, e(ops.ReluMask(), x[0])),)),
    ),
    "elu: y without alpha": (
        ops.Elu(0.5),
        ((3, 4),),
        doing(lambda self, e, x, y, d: (e(ops.Multiply(), d, e(ops.Maximum(), e(ops.Sign(), x[0]), y[0])),)),
    ),
    "clip: no mask": (ops.Clip(-0.5, 0.5), ((3, 4),), doing(lambda self, e, x, y, d: (d,))),
    "clip: half of the mask": (
        ops.Clip(-0.5, 0.5),
        ((3, 4),),
        doing(lambda self, e, x, y, d: (e(ops.Multiply(), d, e(ops.ClipMask(-np.inf, 0.5), x[0])),)),
    ),
    "round_bfloat16: sign": (ops.RoundBfloat16(), ((3, 4),), negated(0)),
    "round_bfloat16: rounded as well": (
        ops.RoundBfloat16(),
        ((3, 4),),
        applied(ops.RoundBfloat16()),
    ),
    "tanh: 1 - y": (
        ops.Tanh(),
        ((3, 4),),
        doing(
            lambda self, e, x, y, d: (
                e(ops.Multiply(), d, e(ops.Subtract(), ops.constant(e, 1.0, d.type), y[0])),
            )
        ),
    ),
    "sigmoid: y alone": (
        ops.Sigmoid(),
        ((3, 4),),
        doing(lambda self, e, x, y, d: (e(ops.Multiply(), d, y[0]),)),
    ),
    "relu: no mask": (ops.Relu(), ((3, 4),), doing(lambda self, e, x, y, d: (d,))),
    "exp: of the gradient": (ops.Exp(), ((3, 4),), doing(lambda self, e, x, y, d: (d,))),
    "power: exponent not lowered": (
        ops.Power(3.0),
        ((3, 4),),
        doing(lambda self, e, x, y, d: (e(ops.Multiply(), d, y[0]),)),
    ),
    "sqrt: without the half": (ops.Sqrt(), ((3, 4),), scaled(2.0)),
    "log: sign": (ops.Log(), ((3, 4),), negated(0)),
    "sum: the mean's rule": (ops.Sum((0,)), ((3, 4),), doing(ops.Mean.gradient)),
    "mean: without 1/n": (ops.Mean((0,)), ((3, 4),), doing(ops.Sum.gradient)),
    "inverse deviation: sign": (ops.InverseDeviation((0,), epsilon=0.5), ((3, 4),), negated(0)),
    "inverse deviation: without 1/n": (ops.InverseDeviation((0,), epsilon=0.5), ((3, 4),), scaled(3.0)),
    "transpose: the same permutation": (
        ops.Transpose((1, 2, 0)),
        ((3, 3, 3),),
        doing(lambda self, e, x, y, d: (e(self, d),)),
    ),
    "rot180: not rotated back": (ops.Rot180((0, 1)), ((3, 4),), applied(ops.Rot180((0, 1)))),
    "zero_insert: off by one": (
        ops.ZeroInsert((2, 2)),
        ((1, 3, 3, 1),),
        doing(
            lambda self, e, x, y, d: (
                e(TO_FOUR, e(ops.Subsample((2, 2)), e(ops.Crop(((0, 0), (1, 1), (1, 1), (0, 0))), d))),
            )
        ),
    ),
    "pad: the wrong end": (
        ops.Pad(((1, 0),)),
        ((4,),),
        doing(lambda self, e, x, y, d: (e(ops.Crop(((0, 1),)), d),)),
    ),
    "concatenate: parts swapped": (ops.Concatenate(0), ((2, 3), (2, 3)), wrong_rule(swapped)),
    "log_softmax: without the sum": (ops.LogSoftmax(), ((3, 4),), doing(lambda self, e, x, y, d: (d,))),
    "softmax_cross_entropy: one class aside": (
        ops.SoftmaxCrossEntropy(),
        ((3, 4), "labels"),
        applied(ops.Transpose((1, 0)), ops.Rot180((0,)), ops.Transpose((1, 0))),
    ),
    "squared_error: without the half": (ops.SquaredError(), ((3, 4), (3, 4)), scaled(2.0)),
    "squared_error: t - y": (ops.SquaredError(), ((3, 4), (3, 4)), wrong_rule(swapped)),
}  # fmt: skip
POSITIVE = (ops.Divide, ops.Log, ops.Sqrt)


@pytest.mark.parametrize("case", RULES)
def test_a_wrong_rule_is_caught_and_the_right_one_is_not(case, monkeypatch):
    op, shapes, wrong = RULES[case]
    positive = isinstance(op, POSITIVE)
    check(op, *shapes, positive=positive)
    monkeypatch.setattr(type(op), "gradient", wrong(type(op).gradient))
    with pytest.raises(AssertionError, match="is wrong\n") as caught:
        check(op, *shapes, positive=positive)
    assert op.name in str(caught.value)
    assert "worst element x" in str(caught.value)


def partner_without_exchange(kind, forward, *, sum_over):
    return kind(forward.stride, forward.padding, forward.dilation, forward.groups, sum_over)


def partner_without_padding(kind, forward, *, sum_over):
    return kind(forward.dilation, ops.attributes.NO_PADDING, forward.stride, forward.groups, sum_over)


def partner_with_mirrored_padding(kind, forward, *, sum_over):
    padding = tuple(pair[::-1] for pair in forward.padding)
    return kind(forward.dilation, padding, forward.stride, forward.groups, sum_over)


def crop_of_the_wrong_end(widths):
    return ops.Crop(tuple(pair[::-1] for pair in widths))


BROKEN_PARTS = {
    "rot180 dropped from the deltas": (convolution, "Rot180", lambda axes: ops.Rot180(())),
    "zeros not inserted where the stride skipped": (
        convolution, "ZeroInsert", lambda factors: ops.Pad(((0, 0), (0, 1), (0, 1), (0, 0)))),
    "stride and dilation not exchanged": (convolution, "_partner", partner_without_exchange),
    "padding left out": (convolution, "_partner", partner_without_padding),
    "padding mirrored": (convolution, "_partner", partner_with_mirrored_padding),
    "the wrong end cropped": (convolution, "Crop", crop_of_the_wrong_end),
    "channels swapped across groups": (
        convolution,
        "_channels_swapped",
        lambda emit, w, groups: emit(ops.Reshape((3, 2, 2, 4)), emit(ops.Transpose((0, 1, 3, 2)), w)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_PARTS)
def test_a_broken_part_of_the_general_convolution_rule_is_caught(case, monkeypatch):
    op = Correlate2d(stride=(2, 2), padding=((1, 0), (0, 2)), dilation=(1, 2), groups=2)
    shapes = ((2, 8, 8, 4), (3, 2, 2, 4))
    check(op, *shapes)
    module, name, broken = BROKEN_PARTS[case]
    monkeypatch.setattr(module, name, broken)
    with pytest.raises((AssertionError, GraphcnnError)):
        check(op, *shapes)


def test_errors_routed_by_another_padding_are_caught(monkeypatch):
    shapes = ((1, 5, 5, 1),)
    op = ops.MaxPool2d((3, 3), (1, 1), ((1, 1), (1, 1)))
    check(op, *shapes)

    def shifted(size, stride, padding, shape):
        return ops.RouteToWinner2d(size, stride, ((2, 0), (1, 1)), shape)

    monkeypatch.setattr(pooling, "RouteToWinner2d", shifted)
    with pytest.raises(AssertionError, match="is wrong"):
        check(op, *shapes)


def test_a_wrong_second_derivative_is_caught_at_order_two_alone(monkeypatch):
    monkeypatch.setattr(ops.Negate, "gradient", lambda self, emit, x, y, delta: (delta,))
    check(ops.Subtract(), (3, 4), (3, 4))
    graph, wrt, arrays = graph_of(ops.Divide(), (3, 4), (3, 4), positive=True)
    check_gradients(graph, "y", wrt, arrays, order=1)
    with pytest.raises(AssertionError, match="order 2"):
        check_gradients(graph, "y", wrt, arrays, order=2)


def test_a_gradient_that_is_not_a_number_is_caught(monkeypatch):
    def nan(self, emit, operands, results, delta):
        zero = emit(ops.Subtract(), delta, delta)
        return (emit(ops.Divide(), zero, zero),)

    monkeypatch.setattr(ops.Exp, "gradient", nan)
    with np.errstate(all="ignore"), pytest.raises(AssertionError, match="analytic nan"):
        check(ops.Exp(), (3,))


def test_the_message_tells_what_one_needs(monkeypatch):
    monkeypatch.setattr(ops.Tanh, "gradient", lambda self, emit, x, y, delta: (delta,))
    with pytest.raises(AssertionError) as caught:
        check(ops.Tanh(), (3, 4))
    text = str(caught.value)
    for part in ("order 1, tanh (y)", "'x0'", "analytic ", "numeric ", "> 1e-07", "worst element x0["):
        assert part in text


def test_a_backend_that_modifies_an_input_is_caught():
    class Careless:
        name = "careless"
        ops = load_backend("numpy").ops

        def compile(self, graph):
            executable = load_backend("numpy").compile(graph)

            def run(**inputs):
                results = executable(**inputs)
                inputs["x1"] += 1
                return results

            return run

    graph, _, arrays = graph_of(ops.Add(), (3,), (3,))
    with pytest.raises(AssertionError, match="modified the input 'x1'"):
        check_gradients(graph, "y", ["x0"], arrays, backend=Careless())
    assert np.array_equal(arrays["x1"], graph_of(ops.Add(), (3,), (3,))[2]["x1"])


def test_what_cannot_be_differentiated_is_refused():
    graph, _, arrays = graph_of(ops.Greater(), (3,), (3,))
    with pytest.raises(DifferentiationError):
        check_gradients(graph, "nothing", ["x0"], arrays)


def test_inputs_may_have_the_names_that_it_gives_its_own():
    graph, arrays = Graph("taken"), {}
    for number in range(2, 8):
        label = f"projection {number}"
        arrays[label] = np.full(3, number + 0.5)
        graph.input(label, TensorType((3,), "float64"))
    graph.output("y", graph.add(ops.Multiply(), *(graph.inputs[f"projection {n}"] for n in (2, 7))))
    check_gradients(graph, "y", ["projection 2", "projection 7"], arrays, order=2)
