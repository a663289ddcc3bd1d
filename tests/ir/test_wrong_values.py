"""What is passed in place of an op, and done with values in place of emitting: errors name the mend."""

import operator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import GraphcnnError, GraphError

ROW = gcn.TensorType(("N", 3), "float64")


@dataclass(frozen=True)
class Scaled(gcn.Op):
    factor: float
    offset: float = 0.0

    name: ClassVar[str] = "scaled"
    equation: ClassVar[str] = "y = factor · x + offset"
    arity: ClassVar[int] = 1

    def result_types(self, *operands):
        return (operands[0],)


def row():
    """Return an emitter and a value of its graph."""
    graph = gcn.Graph("row")
    return gcn.Emitter(graph), graph.input("x", ROW)


def error_of(run):
    with pytest.raises(GraphcnnError) as caught:
        run()
    assert str(caught.value).partition(": ")[0].endswith(tuple("0123456789)")), "the user's line"
    assert "test_wrong_values.py:" in str(caught.value)
    return str(caught.value)


def passing(op):
    """Yield each way in which an op is handed over."""
    emit, x = row()
    yield lambda: emit(op, x)
    yield lambda: emit.all(op, x)
    yield lambda: emit.graph.add(op, x)
    yield lambda: gcn.apply_op(op, gcn.Input((3,)))
    yield lambda: gcn.testing.check_op(op, ROW)

    class Applied(gcn.Layer):
        kind = "applied"

        def build(self, build, x):
            return build(op, x)

    yield lambda: Applied()(gcn.Input((3,)))


@pytest.mark.parametrize(
    ("op", "problem", "mend"),
    [
        (ops.Tanh, "Tanh is a class of ops, no op", "Mend: ops.Tanh()"),
        (ops.Pad, "Pad is a class of ops, no op", "Mend: ops.Pad(widths)"),
        (Scaled, "Scaled is a class of ops, no op", "Mend: Scaled(factor)"),
        (gcn.relu, "is no op", "such as ops.Tanh()"),
        (None, "None is no op", "such as ops.Tanh()"),
    ],
)
def test_what_is_no_op_is_refused_wherever_it_is_passed(op, problem, mend):
    for run in passing(op):
        message = error_of(run)
        assert problem in message
        assert mend in message


@pytest.mark.parametrize(
    ("compute", "mend"),
    [
        (operator.add, "emit(ops.Add(), x, y)"),
        (operator.sub, "emit(ops.Subtract(), x, y)"),
        (operator.mul, "emit(ops.Multiply(), x, y)"),
        (operator.truediv, "emit(ops.Divide(), x, y)"),
        (operator.matmul, "emit(ops.Matmul(), x, y)"),
        (operator.gt, "emit(ops.Greater(), x, y)"),
        (np.multiply, "emit(ops.Multiply(), x, y)"),
        (lambda x, y: x**2, "emit(ops.Power(2.0), x)"),
        (lambda x, y: -x, "emit(ops.Negate(), x)"),
        (lambda x, y: abs(x), "emit(ops.Abs(), x)"),
        (lambda x, y: np.square(x), "emit(ops.Power(2.0), x)"),
        (lambda x, y: np.sum(x), "emit(ops.Sum((1,)), x)"),
        (lambda x, y: np.mean(x), "emit(ops.Mean((1,)), x)"),
        (lambda x, y: np.where(x, y, x), "emit(ops.Select(), condition, x, y)"),
        (lambda x, y: np.arctan(x), "an op of graphcnn.ops"),
    ],
)
def test_values_are_computed_with_by_emitting(compute, mend):
    _, x = row()
    for other in (x, 2, 2.0, np.float32(2), np.ones(3)):
        message = error_of(lambda other=other: compute(x, other))
        assert mend in message.partition("Mend: ")[2]
        assert "a number is ops.constant(emit, 2.0, x.type)" in message
    if mend.endswith("x, y)") and compute is not np.multiply and "Select" not in mend:
        for number in (2, np.float32(2), np.ones(3)):
            assert "Mend: emit(ops." in error_of(lambda number=number: compute(number, x))


def test_the_mends_can_be_done():
    emit, x = row()
    condition = emit(ops.Greater(), x, ops.constant(emit, 2.0, x.type))
    for text in gcn.ir.arithmetic.OPS.values():
        op = eval(f"ops.{text}", {"ops": ops})
        if isinstance(op, ops.Select):
            emit(op, condition, x, x)
        elif not isinstance(op, ops.Matmul):
            emit(op, *[x] * op.arity)


def test_a_value_equals_no_number():
    _, x = row()
    assert x != 2.0
    assert (x == np.float32(2)) is False
    assert x != np.float32(2)
    assert x in [x]


def test_an_operator_in_a_loss_and_in_a_gradient_names_the_line():
    class Squares:
        reduction = "mean"

        def target_type(self, output):
            return output

        def per_sample(self, emit, output, target):
            return emit(ops.Sum((1,)), np.square(output - target))

    with pytest.raises(GraphError) as caught:
        gcn.compile(gcn.Dense(2), input_shape=(3,), loss=Squares(), backend="numpy")
    assert "np.square(output - target)" in str(caught.value), "the line"
    assert "emit(ops.Subtract(), x, y)" in str(caught.value)

    class Doubled(Scaled):
        def gradient(self, emit, operands, results, delta):
            return (delta * 2,)

    emit, x = row()
    emit.graph.output("y", emit(ops.Sum((0, 1)), emit(Doubled(2.0), x)))
    with pytest.raises(GraphError) as caught:
        gcn.gradient(emit.graph, "y", ["x"])
    assert "return (delta * 2,)" in str(caught.value), "the line"
    assert "emit(ops.Multiply(), x, y)" in str(caught.value)
