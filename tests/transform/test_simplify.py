"""Simplification: each rule fires where it should, can be switched off, and never changes a value."""

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import evaluate, load_backend
from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Graph, TensorType, verify
from graphcnn.ops import Convolve2d, Correlate2d
from graphcnn.testing.cases import backend_cases, build_case
from graphcnn.transform import gradient, simplification_rules, simplify

IMAGES = TensorType(("N", 5, 6, 2), "float64")
FILTERS = TensorType((3, 2, 2, 3), "float64")
UNEVEN = ((1, 0), (2, 1))
EDGES = ((0, 0), (1, 0), (2, 1), (0, 0))


def number(emit, value):
    return ops.constant(emit, value, IMAGES)


def full(emit, value):
    return emit(ops.Broadcast(IMAGES.shape), number(emit, value))


def times_exp(emit, x, exponent, exp_first):
    exp = emit(ops.Exp(), exponent)
    quotient = emit(ops.Divide(), x, exp)
    return emit(ops.Multiply(), *((exp, quotient) if exp_first else (quotient, exp)))


def first(rotate):
    return ops.Rot180((1, 2)) if rotate else ops.Rot180((0, 1))


EXAMPLES = {
    "dead-nodes": [lambda e, x, w: (e(ops.Exp(), x), x)[1]],
    "common-subexpressions": [
        lambda e, x, w: e(ops.Add(), e(ops.Exp(), x), e(ops.Exp(), x)),
        lambda e, x, w: e(ops.Multiply(), e.all(ops.MaxPool2d((2, 2), (1, 1)), x)[0],
                          e.all(ops.MaxPool2d((2, 2), (1, 1)), x)[0]),
    ],
    "fixed-count": [
        lambda e, x, w: e(ops.Multiply(), x, e(ops.Count((1, 2)), x)),
        lambda e, x, w: e(ops.Multiply(), x, e(ops.Count((0, 1, 2, 3)), w)),
    ],
    "multiply-by-one": [
        lambda e, x, w: e(ops.Multiply(), x, number(e, 1.0)),
        lambda e, x, w: e(ops.Multiply(), number(e, 1.0), x),
        lambda e, x, w: e(ops.Multiply(), full(e, 1.0), x),
    ],
    "divide-by-one": [lambda e, x, w: e(ops.Divide(), x, number(e, 1.0))],
    "add-minus-zero": [
        lambda e, x, w: e(ops.Add(), x, full(e, -0.0)),
        lambda e, x, w: e(ops.Add(), number(e, -0.0), x),
    ],
    "subtract-zero": [lambda e, x, w: e(ops.Subtract(), x, number(e, 0.0))],
    "power-of-one": [lambda e, x, w: e(ops.Power(1.0), x)],
    "fold-constants": [
        lambda e, x, w: e(ops.Add(), x, e(ops.Multiply(), number(e, 3.0), number(e, 4.0))),
        lambda e, x, w: e(ops.Add(), x, e(ops.Negate(), e(ops.Subtract(), number(e, 3.0), number(e, 4.0)))),
        lambda e, x, w: e(ops.Add(), full(e, 2.0), full(e, 3.0)),
        lambda e, x, w: e(ops.Negate(), full(e, 2.0)),
        lambda e, x, w: e(ops.Rot180((1, 2)), e(ops.Multiply(), full(e, 2.0), number(e, 3.0))),
    ],
    "negate-twice": [lambda e, x, w: e(ops.Negate(), e(ops.Negate(), x))],
    "log-of-exp": [lambda e, x, w: e(ops.Log(), e(ops.Exp(), x))],
    "over-and-times-exp": [
        lambda e, x, w: times_exp(e, x, number(e, 2.0), False),
        lambda e, x, w: times_exp(e, x, x, True),
    ],
    "late-broadcast": [
        lambda e, x, w: e(ops.Multiply(), x, full(e, 2.5)),
        lambda e, x, w: e(ops.Divide(), full(e, 2.5), e(ops.Exp(), x)),
        lambda e, x, w: e(ops.Subtract(), x, e(ops.Reshape(IMAGES.shape),
                          e(ops.Broadcast(("N", 60)), e(ops.Sum((0, 1, 2, 3)), w)))),
    ],
    "rot180-pairs": [lambda e, x, w: e(first(True), e(first(True), x))],
    "transpose-to-itself": [lambda e, x, w: e(ops.Transpose((0, 1, 2, 3)), x)],
    "transpose-twice": [
        lambda e, x, w: e(ops.Transpose((0, 2, 1, 3)), e(ops.Transpose((0, 2, 1, 3)), x)),
        lambda e, x, w: e(ops.Transpose((3, 1, 0, 2)), e(ops.Transpose((1, 2, 0, 3)), x)),
    ],
    "same-shape": [
        lambda e, x, w: e(ops.Reshape(IMAGES.shape), x),
        lambda e, x, w: e(ops.Broadcast(IMAGES.shape), x),
    ],
    "reshape-twice": [lambda e, x, w: e(ops.Reshape(("N", 4, 15)), e(ops.Reshape(("N", 60)), x))],
    "no-widths": [
        lambda e, x, w: e(ops.Crop(((0, 0),) * 4), x),
        lambda e, x, w: e(ops.Pad(((0, 0),) * 4), x),
    ],
    "no-zeros": [lambda e, x, w: e(ops.ZeroInsert((1, 1)), x)],
    "no-axes": [lambda e, x, w: e(ops.Sum(()), x), lambda e, x, w: e(ops.Mean(()), x)],
    "convolution-of-rotated": [
        lambda e, x, w: e(Convolve2d(padding=UNEVEN, stride=(2, 1)), x, e(first(False), w)),
        lambda e, x, w: e(Convolve2d(sum_over="batch"), x,
                          e(first(True), e(ops.Crop(((0, 0), (1, 1), (2, 0), (0, 0))), x))),
    ],
    "rotated-operands": [
        lambda e, x, w: e(Correlate2d(sum_over="batch", padding=UNEVEN), e(first(True), x),
                          e(first(True), e(ops.Crop(((0, 0), (1, 1), (2, 0), (0, 0))), x))),
    ],
    "crop-of-correlation": [
        lambda e, x, w: e(ops.Crop(EDGES), e(Correlate2d(padding=((2, 2), (2, 2))), x, w)),
        lambda e, x, w: e(ops.Crop(EDGES), e(Convolve2d(padding=((2, 2), (2, 2)), dilation=(2, 1)), x, w)),
    ],
    "subsample-of-correlation": [
        lambda e, x, w: e(ops.Subsample((2, 1)), e(Correlate2d(padding=UNEVEN), x, w)),
        lambda e, x, w: e(ops.Subsample((2, 3)), e(Convolve2d(padding=UNEVEN, stride=(1, 2)), x, w)),
    ],
    "pad-before-correlation": [
        lambda e, x, w: e(Correlate2d(padding=UNEVEN, stride=(2, 2)), e(ops.Pad(EDGES), x), w),
        lambda e, x, w: e(Convolve2d(), e(ops.Pad(EDGES), x), w),
        lambda e, x, w: e(Convolve2d(sum_over="batch"), e(ops.Pad(EDGES), x), x),
    ],
}  # fmt: skip
CASES = [(rule, number) for rule, examples in EXAMPLES.items() for number in range(len(examples))]


def example(rule, position):
    graph = Graph(rule)
    x, w = graph.input("x", IMAGES), graph.input("w", FILTERS)
    graph.output("y", EXAMPLES[rule][position](Emitter(graph), x, w))
    return graph


def same_values(graph, other, tolerance=1e-13):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((3, 5, 6, 2)), "w": rng.standard_normal((3, 2, 2, 3))}
    expected, found = evaluate(graph, **arrays), evaluate(other, **arrays)
    assert found.keys() == expected.keys()
    for label, array in expected.items():
        assert found[label].shape == array.shape
        assert np.allclose(found[label], array, rtol=tolerance, atol=tolerance)


def test_every_rule_has_an_example():
    assert list(EXAMPLES) == [rule.name for rule in simplification_rules()]
    assert all(rule.effect for rule in simplification_rules())


@pytest.mark.parametrize(("rule", "position"), CASES)
def test_a_rule_fires_and_keeps_the_values(rule, position):
    graph = example(rule, position)
    report = []
    simpler = verify(simplify(graph, report=report))
    assert rule in {applied.rule for applied in report}
    assert simpler.outputs["y"].type == graph.outputs["y"].type
    assert list(simpler.inputs) == list(graph.inputs)
    assert simplify(simpler) == simpler
    same_values(graph, simpler)


@pytest.mark.parametrize(("rule", "position"), CASES)
def test_a_rule_that_is_left_out_does_not_fire(rule, position):
    graph = example(rule, position)
    others = [other.name for other in simplification_rules() if other.name != rule]
    report = []
    same_values(graph, simplify(graph, without=others, report=report))
    assert {applied.rule for applied in report} == {rule}
    report = []
    left = simplify(graph, without=[rule], report=report)
    assert rule not in {applied.rule for applied in report}
    same_values(graph, left)
    assert simplify(graph, without=[name.name for name in simplification_rules()]) == graph


def test_the_report_names_rule_node_and_op():
    report = []
    simplify(example("rot180-pairs", 0), report=report)
    assert [(a.rule, a.before) for a in report][:1] == [("rot180-pairs", "rot180")]
    assert report[0].key == 3


def test_what_must_not_be_rewritten_stays():
    graph = Graph("kept")
    emit = Emitter(graph)
    x, w = graph.input("x", IMAGES), graph.input("w", FILTERS)
    kept = [
        emit(ops.Crop(EDGES), emit(Correlate2d(padding=((0, 2), (2, 2))), x, w)),  # cuts more than padding
        emit(ops.Crop(EDGES), emit(Correlate2d(stride=(2, 2), padding=((2, 2), (2, 2))), x, w)),
        emit(first(False), emit(first(True), x)),
        emit(Convolve2d(), x, emit(ops.Rot180((1, 2)), w)),
        emit(Correlate2d(), emit(ops.Pad(((0, 0), (0, 0), (0, 0), (0, 1))), x),
             emit(ops.Pad(((0, 0), (0, 0), (0, 1), (0, 0))), w)),
    ]  # fmt: skip
    for position, value in enumerate(kept):
        graph.output(f"y{position}", value)
    report = []
    simpler = simplify(graph, report=report)
    assert not report
    assert simpler == graph


def test_the_gradient_of_a_convolution_loses_all_rotations_but_one():
    graph = Graph("gradient")
    x, w = graph.input("x", IMAGES), graph.input("w", FILTERS)
    graph.output(
        "loss", graph.add(ops.Sum((0, 1, 2, 3)), graph.add(ops.Tanh(), graph.add(Correlate2d(), x, w)))
    )
    derived = gradient(graph, "loss", ["x", "w"])
    simpler = simplify(derived)
    names = [node.op.name for _, node in simpler.items()]
    assert names.count("rot180") == 1  # of the filters, Eq. 21
    assert "convolve2d" not in names
    assert [node.op.name for _, node in derived.items()].count("rot180") == 2
    same_values(derived, simpler)


def test_sums_that_are_not_numbers_are_left_alone():
    graph = Graph("infinite")
    emit = Emitter(graph)
    graph.output("y", emit(ops.Subtract(), *(number(emit, float("inf")) for _ in range(2))))
    simpler = simplify(graph)
    with np.errstate(invalid="ignore"):
        assert np.isnan(evaluate(simpler)["y"])


def test_zero_and_minus_zero_are_not_the_same_constant():
    graph = Graph("zeros")
    emit = Emitter(graph)
    for label, zero in (("plus", 0.0), ("minus", -0.0)):
        graph.output(label, emit(ops.Divide(), number(emit, 1.0), number(emit, zero)))
    with np.errstate(divide="ignore"):
        assert evaluate(simplify(graph)) == {"plus": np.inf, "minus": -np.inf}


def test_an_unknown_rule_is_refused():
    with pytest.raises(OptionError, match="no simplification rule magic") as caught:
        simplify(example("subtract-zero", 0), without=["magic", "constants"])
    assert "rot180-pairs" in str(caught.value)


def test_updates_and_unused_inputs_survive():
    graph = Graph("state")
    x = graph.input("x", IMAGES, role="state")
    graph.input("unused", FILTERS)
    graph.update("x", graph.add(ops.Negate(), graph.add(ops.Negate(), x)))
    simpler = simplify(graph)
    assert list(simpler.inputs) == ["x", "unused"]
    assert simpler.updates == {"x": simpler.inputs["x"]}
    assert simpler.role("x") == "state"


@pytest.mark.parametrize("name", [name for name in backend_cases() if name.endswith("float64")][::4])
def test_the_conformance_graphs_keep_their_values(name):
    case = build_case(name)
    simpler = verify(simplify(case.graph))
    expected, found = evaluate(case.graph, **case.inputs), evaluate(simpler, **case.inputs)
    for label, array in expected.items():
        assert np.allclose(found[label], array, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_a_crop_stays_where_the_whole_correlation_is_used_too() -> None:
    graph = Graph("shared")
    emit = Emitter(graph)
    x, w = graph.input("x", IMAGES), graph.input("w", TensorType((3, 3, IMAGES.static(3), 2), IMAGES.dtype))
    whole = emit(Correlate2d(padding=((2, 2), (2, 2))), x, w)
    graph.output("whole", whole)
    graph.output("cropped", emit(ops.Crop(EDGES), whole))
    kinds = [node.op.name for _, node in simplify(graph).items()]
    assert kinds.count("correlate2d") == 1, "the same correlation is not to be computed twice"
    assert "crop" in kinds


SPECIAL = [0.0, -0.0, 1.5, np.inf, -np.inf, np.nan, 1e-45]


@pytest.mark.parametrize("op", [ops.Add(), ops.Subtract()])
@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("zero_first", [True, False])
def test_the_sign_of_zero_survives_a_neutral_element(op, zero, zero_first):
    graph = Graph("sign")
    emit = Emitter(graph)
    x = graph.input("x", TensorType(("N",), "float32"))
    operands = x, emit(ops.Constant(zero, TensorType(())))
    kept = emit(op, *(operands[::-1] if zero_first else operands))
    graph.output("y", emit(ops.Divide(), emit(ops.Constant(1.0, TensorType(()))), kept))
    array = np.array(SPECIAL, np.float32)
    with np.errstate(all="ignore"):
        before, after = (evaluate(each, x=array)["y"] for each in (graph, simplify(graph)))
    assert np.array_equal(before, after, equal_nan=True)


@pytest.mark.parametrize(
    ("numbers", "op", "then"),
    [
        ((1e30, 1e30, 1e-30), ops.Multiply(), ops.Multiply()),
        ((0.1, 0.2, 0.3), ops.Add(), ops.Add()),
        ((16777216.0, 1.0, -16777216.0), ops.Add(), ops.Add()),
        ((1e-30, 1e-15, 1e15), ops.Multiply(), ops.Multiply()),
        ((3.0, 1e-9, 0.7), ops.Subtract(), ops.Multiply()),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constants_are_folded_in_their_own_precision(numbers, op, then, dtype):
    graph = Graph("fold")
    emit = Emitter(graph)
    a, b, c = (emit(ops.Constant(number, TensorType((), dtype))) for number in numbers)
    graph.output("y", emit(then, emit(op, a, b), c))
    simpler = simplify(graph)
    assert [node.op.name for _, node in simpler.items()] == ["constant"]
    with np.errstate(all="ignore"):
        before, after = (evaluate(each)["y"] for each in (graph, simpler))
    assert before.tobytes() == after.tobytes()


def test_folded_constants_print_as_short_as_they_can():
    graph = Graph("short")
    emit = Emitter(graph)
    graph.output("y", emit(ops.Negate(), emit(ops.Constant(0.1, TensorType(())))))
    assert "constant(value=-0.1)" in str(simplify(graph))


@pytest.mark.parametrize(
    ("dtype", "size", "is_folded"),
    [("uint8", 255, True), ("uint8", 300, False), ("bool", 1, True), ("bool", 5, False), ("int32", 9, True)],
)
def test_a_count_is_folded_where_its_element_type_holds_it(dtype, size, is_folded):
    graph = Graph("count")
    x = graph.input("x", TensorType(("N", size), dtype))
    graph.output("y", graph.add(ops.Count((1,)), x))
    simpler = simplify(graph)
    assert [node.op.name for _, node in simpler.items()] == ["input", "constant" if is_folded else "count"]
    arrays = {"x": np.ones((2, size), dtype)}
    for backend in ("numpy", "native"):
        before, after = (load_backend(backend).compile(each)(**arrays)["y"] for each in (graph, simpler))
        assert before == after == np.array(size).astype(dtype)


def test_groups_of_rules_can_be_left_out_by_one_name():
    for group in ("constants", "exponentials", "no-operation", "transpose-pairs", "reshape-chains"):
        members = [rule.name for rule in simplification_rules() if rule.group == group]
        assert len(members) > 1
        for name in members:
            graph = example(name, 0)
            assert simplify(graph, without=[group, "dead-nodes", "late-broadcast"]) == graph
    with pytest.raises(OptionError, match="not a collection of names"):
        simplify(example("no-zeros", 0), without="no-zeros")
