"""The door for ops: what comes in, what is refused, and what works for an op that came in."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

import graphcnn as gcn
import graphcnn_numpy
from graphcnn import ops
from graphcnn.errors import BackendError, DifferentiationError, GraphError, OptionError, ParseError


def make(name="halve", arity=1, equation="y = x / factor", **attributes):
    """Return a class of ops that divide by a factor."""

    @dataclass(frozen=True)
    class Halve(gcn.Op):
        factor: float = 2.0

        def result_types(self, *operands):
            return (operands[0],)

        def gradient(self, emit, operands, results, delta):
            return (emit(self, delta),)

    for attribute, value in {"name": name, "arity": arity, "equation": equation, **attributes}.items():
        setattr(Halve, attribute, value)
    return Halve


def graph_of(op):
    graph = gcn.Graph("halved")
    graph.output("y", graph.add(op, graph.input("x", gcn.TensorType(("N", 3), "float64"))))
    return graph


def test_a_registered_op_is_parsed_verified_and_differentiated():
    halve = gcn.register_op(make())
    assert ops.OPS["halve"] is halve
    graph = graph_of(halve(4.0))
    again = gcn.parse(str(graph))
    assert again == graph
    assert "halve(%0, factor=4.0)" in str(gcn.verify(again))
    total = graph.copy()
    total.output("total", total.add(ops.Sum((0, 1)), graph.outputs["y"]))
    assert "of %1" in str(gcn.gradient(total, "total", ["x"]))


def test_an_op_that_is_not_registered_is_not_parsed():
    with pytest.raises(ParseError) as caught:
        gcn.parse(str(graph_of(make()())))
    assert "there is no op 'halve'" in str(caught.value)
    assert "gcn.register_op" in str(caught.value)


def test_the_built_in_ops_came_through_the_same_door():
    for name, op in ops.OPS.items():
        assert gcn.register_op(op) is op
        assert op.name == name


def test_a_class_that_is_defined_anew_takes_the_place_of_the_old_one():
    first, second = gcn.register_op(make()), make()
    assert first is not second
    gcn.register_op(second)
    assert type(gcn.parse(str(graph_of(first()))).node(1).op) is second


def without_dataclass():
    return type("Bare", (gcn.Op,), {"name": "bare", "arity": 1, "equation": "y = x"})


def not_frozen():
    return dataclass(eq=False)(type("Loose", (), {}))


def by_hand(**attributes):
    return dataclass(frozen=True)(type("Made", (gcn.Op,), attributes))


SHAPE = {"result_types": lambda self, *operands: operands}
HEAD = {"name": "made", "arity": 1, "equation": "y = x"}


@pytest.mark.parametrize(
    ("op", "problem", "mend"),
    [
        (make()(), "is not a class of ops", "class Swish(gcn.Op)"),
        (int, "is not a class of ops", "class Swish(gcn.Op)"),
        (not_frozen(), "is not a class of ops", "class Swish(gcn.Op)"),
        (without_dataclass(), "Bare is not a frozen dataclass", "@dataclass(frozen=True)"),
        (make(name="Half it"), "Halve.name='Half it' is not a word", 'ClassVar[str] = "swish"'),
        (make(name=3), "Halve.name=3 is not a word", "ClassVar[str]"),
        (by_hand(**SHAPE), "Made.name=None is not a word", "ClassVar[str]"),
        (make(equation=""), "Halve.equation='' is not text", "equation: ClassVar"),
        (make(arity=True), "Halve.arity=True is not a number of operands", "arity: ClassVar[int] = 1"),
        (make(arity=-2), "Halve.arity=-2 is not a number of operands", "-1 stands for any number"),
        (by_hand(**HEAD), "Made has no shape rule", "def result_types"),
        (make(name="relu"), "there is an op 'relu' already", "give Halve another name"),
        (
            make(gradient=lambda self, emit, x, delta: (delta,)),
            "Halve.gradient takes (self, emit, x, delta), but is called with (self, emit, operands, ",
            "def gradient(self, emit, operands, results, delta): ...",
        ),
        (
            make(result_types=lambda self: ()),
            "Halve.result_types takes (self), but is called with (self, operand0)",
            "def result_types(self, *operands): ...",
        ),
        (make(flops=lambda self, x: 0), "Halve.flops takes (self, x)", "def flops(self, operands, results"),
        (
            by_hand(**HEAD, **SHAPE, __annotations__={"name": "str"}),
            "Made.name is an attribute of each op, not of the class",
            "ClassVar",
        ),
        (
            by_hand(**HEAD, **SHAPE, __annotations__={"sign": "int"}, sign=field(init=False, default=1)),
            "the attribute 'sign' of Made is not set by its constructor",
            "property",
        ),
    ],
)
def test_what_is_refused(op, problem, mend):
    before = dict(ops.OPS)
    with pytest.raises(OptionError) as caught:
        gcn.register_op(op)
    assert problem in str(caught.value)
    assert mend in str(caught.value).partition("Mend:")[2]
    assert str(caught.value).startswith("test_register.py:"), "the user's line"
    assert before == ops.OPS


@pytest.mark.parametrize(
    ("kernel", "problem", "mend"),
    [
        (
            lambda x: x,
            "takes (x), but is called with (op, operands, batch)",
            "def halve(op, operands, batch)",
        ),
        (
            lambda op, x, batch, more: x,
            "missing a required argument: 'more'",
            "def halve(op, operands, batch)",
        ),
        (3, "kernel=3 is not a function", "kernel=function"),
    ],
)
def test_a_kernel_of_another_form_is_refused_where_it_is_registered(kernel, problem, mend):
    halve = gcn.register_op(make())
    with pytest.raises(OptionError) as caught:
        graphcnn_numpy.register(halve, kernel)
    assert problem in str(caught.value)
    assert mend in str(caught.value).partition("Mend: ")[2]
    assert str(caught.value).startswith("test_register.py:"), "the user's line"
    assert halve not in graphcnn_numpy.kernels.KERNELS


def test_a_kernel_of_an_op_that_is_not_registered_is_refused():
    halve = make()
    with pytest.raises(OptionError, match="Halve is not registered") as caught:
        graphcnn_numpy.register(halve, lambda op, operands, batch: operands[0])
    assert "put @gcn.register_op above class Halve" in str(caught.value)
    graphcnn_numpy.register(ops.Tanh, graphcnn_numpy.kernels.KERNELS[ops.Tanh])


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize(
    ("kernel", "found"),
    [
        (lambda op, operands, batch: operands[0].astype(np.float32), "float32[2, 3]"),
        (lambda op, operands, batch: operands[0][:, 1:], "float64[2, 2]"),
        (lambda op, operands, batch: (operands[0], operands[0]), "float64[2, 3], float64[2, 3]"),
        (lambda op, operands, batch: 1.0, "float, no array"),
        (lambda op, operands, batch: None, "NoneType, no array"),
    ],
)
def test_results_of_a_kernel_are_what_the_shape_rule_says(kernel, found, backend):
    halve = gcn.register_op(make())
    graphcnn_numpy.register(halve, kernel)
    x = gcn.Input((3,))
    model = gcn.compile(gcn.Network(x, gcn.apply_op(halve(), x)), dtype="float64", backend=backend)
    with pytest.raises(BackendError) as caught:
        model.predict(np.ones((2, 3)))
    message = str(caught.value)
    assert f"the kernel of halve, <lambda> (test_register.py:{kernel.__code__.co_firstlineno})" in message
    assert f"returned {found}; the shape rule says float64[2, 3]" in message
    assert "gcn.apply_op(halve(), x)" in message, "the user's line"


def test_a_shape_rule_that_returns_no_types():
    for wrong in (None, (), "float32", gcn.TensorType((3,)), ((3,),)):
        broken = make(result_types=lambda self, *operands, wrong=wrong: wrong)
        with pytest.raises(GraphError, match="the shape rule of halve returned"):
            graph_of(broken())


def test_a_gradient_rule_that_does_not_fit():
    def differentiated(rule):
        graph = graph_of(make(gradient=rule)())
        graph.output("total", graph.add(ops.Sum((0, 1)), graph.outputs["y"]))
        return gcn.gradient(graph, "total", ["x"])

    def summed(self, emit, operands, results, delta):
        return (emit(ops.Sum((0,)), delta),)

    for rule, problem in (
        (lambda self, emit, operands, results, delta: None, "the gradient rule of halve returned None"),
        (lambda self, emit, operands, results, delta: delta, "the gradient rule of halve returned"),
        (lambda self, emit, operands, results, delta: (delta, delta), "a value or None for each operand: 1"),
        (summed, r"the gradient rule of halve gives float64\[3\] for operand 0, which is float64\[N, 3\]"),
    ):
        with pytest.raises(DifferentiationError, match=problem):
            differentiated(rule)
    foreign = graph_of(make()()).inputs["x"]
    with pytest.raises(GraphError, match="the gradient rule of halve for operand 0"):
        differentiated(lambda self, emit, operands, results, delta: (foreign,))


def test_an_op_in_a_network_and_its_file(tmp_path):
    import graphcnn_numpy

    @gcn.register_op
    @dataclass(frozen=True)
    class Mirror(gcn.Op):
        name: ClassVar[str] = "mirror"
        equation: ClassVar[str] = "y(d) = x(D - 1 - d)"
        arity: ClassVar[int] = 1

        def result_types(self, *operands):
            return (operands[0],)

        def gradient(self, emit, operands, results, delta):
            return (emit(self, delta),)

    graphcnn_numpy.register(Mirror, lambda op, operands, batch: operands[0][..., ::-1])
    x = gcn.Input((3,))
    network = gcn.Network(x, gcn.Dense(2)(gcn.apply_op(Mirror(), x)))
    options = {"loss": gcn.SquaredError(), "optimizer": gcn.SGD(0.1), "backend": "numpy"}
    model = gcn.compile(network, **options)
    images, targets = np.eye(3, dtype=np.float32), np.ones((3, 2), np.float32)
    expected = images[:, ::-1] @ model.parameters["dense1.weights"]
    np.testing.assert_allclose(model.predict(images), expected)
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors", backend="numpy")
    assert again.train_step(images, targets) == model.train_step(images, targets)
    del ops.OPS["mirror"]
    with pytest.raises(OptionError) as caught:
        gcn.load(tmp_path / "model.safetensors", backend="numpy")
    assert "has ops of its writer's own: mirror" in str(caught.value)
    assert "gcn.register_op" in str(caught.value)
