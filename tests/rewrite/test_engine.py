"""The rewrite engine: what rules see, what is refused, what is reported, and how much work it is."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import evaluate
from graphcnn.errors import GraphError, OptionError, ShapeError
from graphcnn.ir import Emitter, Graph, Input, Op, Origin, TensorType, verify
from graphcnn.rewrite import COMMON_SUBEXPRESSIONS, DEAD_NODES, Applied, Rule, rewrite
from graphcnn.transform import simplification_rules, simplify

ROWS = TensorType(("N", 3), "float64")


def chain(*ops_in_order):
    graph = Graph("chain")
    value = graph.input("x", ROWS)
    for op in ops_in_order:
        value = graph.add(op, value)
    graph.output("y", value)
    return graph


def names(graph):
    return [node.op.name for _, node in graph.items()]


def relu_of_relu(match, op, operands):
    return operands[0] if isinstance(match.definition(operands[0]).op, ops.Relu) else None


RELU_OF_RELU = Rule("relu-of-relu", "relu(relu(x)) → relu(x)", ops.Relu, relu_of_relu)


def test_one_round_collapses_a_chain_of_any_length():
    asked = []

    def counted(match, op, operands):
        asked.append(op)
        return relu_of_relu(match, op, operands)

    rule = Rule("counted", "relu(relu(x)) → relu(x)", ops.Relu, counted)
    result = rewrite(chain(*[ops.Relu()] * 1000), (DEAD_NODES, rule))
    assert names(result.graph) == ["input", "relu"]
    assert len(asked) == 1000, "a second round has nothing to ask for"


def test_rules_are_asked_about_the_ops_at_their_root_alone():
    asked = []
    rule = Rule("nosy", "nothing", (ops.Exp, ops.Tanh), lambda match, op, operands: asked.append(op))
    rewrite(chain(ops.Relu(), ops.Exp(), ops.Negate(), ops.Tanh()), (rule,))
    assert asked == [ops.Exp(), ops.Tanh()]


def test_the_work_grows_with_the_graph_and_no_faster():
    def calls(length):
        graph = Graph("fan")
        x = graph.input("x", ROWS)
        total = x
        for _ in range(length):  # every node reads x, and every pair cancels
            total = graph.add(ops.Add(), total, graph.add(ops.Negate(), graph.add(ops.Negate(), x)))
        graph.output("y", total)
        count = 0
        rules = []
        for rule in simplification_rules():
            if rule.rewrite is None:
                rules.append(rule)
                continue

            def counted(match, op, operands, rewrite=rule.rewrite):
                nonlocal count
                count += 1
                return rewrite(match, op, operands)

            rules.append(Rule(rule.name, rule.effect, rule.ops, counted))
        result = rewrite(graph, rules)
        assert names(result.graph) == ["input"] + ["add"] * length
        return count

    assert calls(200) <= 2 * calls(100) + 20


def test_reports_name_the_nodes_of_the_graph_given():
    graph = Graph("given")
    x = graph.input("x", ROWS)
    graph.add(ops.Exp(), x)
    once = graph.add(ops.Negate(), x)
    twice = graph.add(ops.Negate(), once)
    root = graph.add(ops.Relu(), twice)
    graph.output("y", root)
    result = rewrite(graph, simplification_rules())
    assert list(result.applied) == [
        Applied("dead-nodes", 1, "exp"),
        Applied("negate-twice", twice.key, "negate"),
        Applied("dead-nodes", once.key, "negate"),
    ]
    assert dict(result.sources) == {0: x.key, 1: root.key}


def test_a_rule_may_emit_what_other_rules_then_rewrite():
    halves = Rule("halves", "tanh(x) → -(-relu(x))", ops.Tanh, lambda match, op, operands: match.emit(
        ops.Negate(), match.emit(ops.Negate(), match.emit(ops.Relu(), operands[0]))))  # fmt: skip
    report = []
    assert names(simplify(chain(ops.Tanh()), rules=[halves], report=report)) == ["input", "relu"]
    assert {applied.rule for applied in report} >= {"halves", "negate-twice"}


def test_several_results_are_replaced_together():
    graph = Graph("pool")
    x = graph.input("x", TensorType(("N", 2, 2, 1)))
    pooled, index = graph.add_all(ops.MaxPool2d((1, 1), (1, 1)), x)
    graph.output("pooled", pooled)
    graph.output("index", index)
    wrong = Rule("one-of-two", "", ops.MaxPool2d, lambda match, op, operands: operands[0])
    with pytest.raises(GraphError, match=r"rule 'one-of-two' replaced a max_pool2d of type .* by float32"):
        rewrite(graph, (wrong,))

    def of_one_pixel(match, op, operands):
        return operands[0], match.emit(ops.Cast(index.type.dtype), match.emit(ops.ReluMask(), operands[0]))

    result = verify(rewrite(graph, (Rule("of-one-pixel", "", ops.MaxPool2d, of_one_pixel),)).graph)
    assert names(result) == ["input", "relu_mask", "cast"]
    assert result.outputs["pooled"] == result.inputs["x"]


@pytest.mark.parametrize(
    ("replacement", "error", "told"),
    [
        (lambda m, op, x: m.emit(ops.Sum((1,)), x[0]), GraphError, "replaced a exp of type"),
        (lambda m, op, x: m.emit(Input("more", ROWS)), GraphError, "a rule emitted the input 'more'"),
        (lambda m, op, x: 3.0, GraphError, "replacement by 'wrong': 3.0 is not a value of a graph"),
        (lambda m, op, x: FOREIGN, GraphError, "a value of another graph"),
        (lambda m, op, x: m.emit(ops.Reshape((7,)), x[0]), ShapeError, "while rule 'wrong' rewrote a exp"),
    ],
)
def test_a_replacement_that_does_not_fit_names_its_rule(replacement, error, told):
    with pytest.raises(error) as caught:
        simplify(chain(ops.Exp()), rules=[Rule("wrong", "exp(x) → ?", ops.Exp, replacement)])
    assert told in str(caught.value)
    assert "wrong" in str(caught.value)


FOREIGN = Graph("foreign").input("x", ROWS)


@pytest.mark.parametrize(
    "rule",
    [
        Rule("growing", "exp(x) → exp(-x)", ops.Exp, lambda m, op, x: m.emit(op, m.emit(ops.Negate(), x[0]))),
        Rule("same", "exp(x) → exp(x)", ops.Exp, lambda m, op, x: m.emit(op, *x)),
    ],
)
def test_rules_without_an_end_are_named(rule):
    with pytest.raises(GraphError, match=f"does not come to an end: .* again by '{rule.name}'"):
        simplify(chain(ops.Exp()), rules=[rule])


def test_rules_without_an_end_from_round_to_round_are_named():
    def alternate(match, op, operands):
        # asks for uses, so that there is another round, and leaves a node behind in each
        match.uses(operands[0])
        inner = match.definition(operands[0])
        if match.existing(ops.Tanh(), operands[0]) is not None or not isinstance(inner.op, ops.Input):
            return None
        match.emit(ops.Tanh(), operands[0])
        return match.emit(ops.Power(op.exponent + 1), operands[0])

    graph = Graph("rounds")
    x = graph.input("x", ROWS)
    graph.output("y", graph.add(ops.Power(1.5), x))
    graph.output("z", graph.add(ops.Exp(), x))
    with pytest.raises(GraphError, match=r"does not come to an end: .* again by 'alternate'"):
        rewrite(graph, (DEAD_NODES, Rule("alternate", "", ops.Power, alternate)))


def test_a_rule_decides_before_it_emits():
    def hasty(match, op, operands):
        match.emit(ops.Negate(), operands[0])

    with pytest.raises(GraphError, match="'hasty' emitted nodes for a exp and then did not apply"):
        simplify(chain(ops.Exp()), rules=[Rule("hasty", "", ops.Exp, hasty)])


def test_any_error_in_a_rule_says_which_rule():
    rule = Rule("broken", "", ops.Exp, lambda match, op, operands: operands[1])
    with pytest.raises(IndexError) as caught:
        simplify(chain(ops.Exp()), rules=[rule])
    assert caught.value.__notes__ == ["while rule 'broken' rewrote a exp"]


def test_a_chain_of_broadcasts_is_not_walked_from_every_node_of_it():
    looks = 0

    def looking(rule):
        def rewrite(match, op, operands):
            nonlocal looks
            definition = match._maker.node

            def counted(value):
                nonlocal looks
                looks += 1
                return definition(value)

            match._maker.node = counted
            try:
                return rule.rewrite(match, op, operands)
            finally:
                match._maker.node = definition

        return Rule(rule.name, rule.effect, rule.ops, rewrite)

    graph = Graph("walk")
    x = graph.input("x", TensorType((2,)))
    value = graph.input("y", TensorType((2,)))
    for _ in range(300):
        value = graph.add(ops.Reshape((2,)), graph.add(ops.Broadcast((1, 2)), value))
        x = graph.add(ops.Multiply(), x, value)
    graph.output("x", x)
    kept = ("late-broadcast", "multiply-by-one", "fold-constants")
    rewrite(graph, [looking(rule) for rule in simplification_rules() if rule.name in kept])
    assert looks < 300 * 100


def test_what_nobody_needs_is_not_rewritten():
    graph = chain(ops.Relu())
    graph.add(ops.Relu(), graph.outputs["y"])
    report = []
    simpler = simplify(graph, rules=[RELU_OF_RELU], without=["dead-nodes"], report=report)
    assert simpler == graph
    assert not report


def test_a_subclass_is_another_op():
    @dataclass(frozen=True, slots=True)
    class Leaky(ops.Relu):
        name: ClassVar[str] = "leaky"

    graph = chain(ops.Relu(), Leaky())
    assert simplify(graph, rules=[RELU_OF_RELU]) == graph


def test_ops_with_attributes_that_cannot_be_hashed_are_left_apart():
    @dataclass(frozen=True, slots=True)
    class Weighted(Op):
        weights: list
        name: ClassVar[str] = "weighted"
        equation: ClassVar[str] = "y = w · x"
        arity: ClassVar[int] = 1

        def result_types(self, *operands):
            return operands

    graph = Graph("weighted")
    x = graph.input("x", ROWS)
    total = graph.add(ops.Add(), graph.add(Weighted([1]), x), graph.add(Weighted([2]), x))
    graph.output("y", total)
    assert simplify(graph) == graph


def test_ops_that_differ_in_the_sign_of_zero_are_not_shared():
    @dataclass(frozen=True, slots=True)
    class Shift(Op):
        by: tuple
        name: ClassVar[str] = "shift"
        equation: ClassVar[str] = "y = x + by"
        arity: ClassVar[int] = 1

        def result_types(self, *operands):
            return operands

    graph = Graph("shift")
    x = graph.input("x", ROWS)
    graph.output("y", graph.add(ops.Add(), graph.add(Shift((0.0,)), x), graph.add(Shift((-0.0,)), x)))
    assert simplify(graph) == graph


def test_after_so_many_applications_rewriting_stops():
    graph = chain(*[ops.Relu()] * 4)
    rules = (DEAD_NODES, COMMON_SUBEXPRESSIONS, RELU_OF_RELU)
    for limit in range(5):
        result = rewrite(graph, rules, limit=limit)
        relus = [applied for applied in result.applied if applied.rule == "relu-of-relu"]
        assert len(relus) == min(limit, 3)
        arrays = {"x": np.array([[-1.0, 0.0, 2.0]])}
        assert np.array_equal(evaluate(verify(result.graph), **arrays)["y"], [[0.0, 0.0, 2.0]])
    assert names(rewrite(graph, rules, limit=4).graph) == ["input", "relu"]


def test_a_replacement_explains_what_it_has_absorbed():
    graph = Graph("absorbed")
    emit = Emitter(graph)
    x = graph.input("x", ROWS)
    inner = emit(ops.Relu(), x)
    outer = emit(ops.Relu(), inner)
    graph.output("y", outer)
    for forward in (inner, outer):
        belongs = Emitter(graph, Origin(rule="Eq. 21", forward=forward.key))
        graph.output(f"gradient {forward.key}", belongs(ops.ReluMask(), x))

    def fused(match, op, operands):
        node = match.definition(operands[0])
        return match.emit(op, node.operands[0]) if isinstance(node.op, ops.Relu) else None

    rule = Rule("fused", "relu(relu(x)) → relu(x)", ops.Relu, fused)
    result = verify(rewrite(graph, (DEAD_NODES, rule)).graph)
    relu = result.outputs["y"].key
    masks = [node.origin.forward for _, node in result.items() if isinstance(node.op, ops.ReluMask)]
    assert masks == [relu, relu]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("", "x → x", ops.Relu, relu_of_relu), "the name of a rule"),
        (("a", "x → x", "relu", relu_of_relu), "are not classes of ops"),
        (("a", "x → x", (ops.Relu, 3), relu_of_relu), "are not classes of ops"),
        (("a", "x → x", (), relu_of_relu), "has no ops to apply to"),
        (("a", "x → x", Input, relu_of_relu), "inputs stay as they are"),
        (("a", "x → x", ops.Relu, 3), "rewrite=3 is not a function"),
        (("a", "x → x", ops.Relu, relu_of_relu, "roughly"), "keeps='roughly' is neither"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_where_it_is_made(arguments, told):
    with pytest.raises(OptionError, match=told):
        Rule(*arguments)


def test_the_names_of_rules_are_their_own():
    with pytest.raises(OptionError, match="there is a rule 'rot180-pairs' already"):
        simplify(chain(), rules=[Rule("rot180-pairs", "", ops.Relu, relu_of_relu)])
    with pytest.raises(OptionError, match="there is a rule 'relu-of-relu' already"):
        simplify(chain(), rules=[RELU_OF_RELU, RELU_OF_RELU])
    with pytest.raises(OptionError, match="is not a rule"):
        simplify(chain(), rules=[relu_of_relu])
    with pytest.raises(OptionError, match="rule 'empty' has no rewrite"):
        simplify(chain(), rules=[Rule("empty", "x → x", ops.Relu)])
    graph = chain(ops.Relu(), ops.Relu())
    assert simplify(graph, rules=[RELU_OF_RELU], without=["relu-of-relu"]) == graph
