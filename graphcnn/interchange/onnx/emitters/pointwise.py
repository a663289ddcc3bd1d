"""Ops that work element by element, in whatever layout their operands are held."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphcnn import ops
from graphcnn.interchange.onnx.emitters.fused import batch_norm, biased
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import Node, Value

Emit = Callable[[Writer, Node, tuple[Value, ...]], None]


def elementwise(write_node: Callable[..., str]) -> Emit:
    """Return what writes an op by `write_node(write, op, *tensors)`, in the layout of its operands."""

    def emit(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
        layout = write.layout(*node.operands)
        tensors = write.operands(node.operands, layout)
        write.put(results[0], write_node(write, node.op, *tensors), layout)

    return emit


def operator(kind: str) -> Emit:
    """Return what writes an op that is one of ONNX's operators, without attributes."""
    return elementwise(lambda write, op, *tensors: write(kind, *tensors))


def typed(write_node: Callable[..., str]) -> Emit:
    """Return what writes an op by `write_node(write, op, dtype, *tensors)`: the operands' element type."""

    def emit(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
        dtype = node.operands[0].type.dtype
        elementwise(lambda write, op, *tensors: write_node(write, op, dtype, *tensors))(write, node, results)

    return emit


def constant(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    op: Any = node.op
    write.put(results[0], write.number(op.value, op.type))


def add(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write a sum; one with a layer's bias, or batch norm's last one, is a part of another operator."""
    if not biased(write, node, results) and not batch_norm(write, node, results):
        operator("Add")(write, node, results)


def relu_mask(write: Writer, op: ops.ReluMask, dtype: str, x: str) -> str:
    return write.cast(write("Greater", x, write.number(0, dtype)), dtype)


def power(write: Writer, op: ops.Power, dtype: str, x: str) -> str:
    return write("Pow", x, write.number(op.exponent, dtype))


def clip(write: Writer, op: ops.Clip, dtype: str, x: str) -> str:
    ends = ["" if math.isinf(end) else write.number(end, dtype) for end in (op.low, op.high)]
    return write("Clip", x, *ends)


def clip_mask(write: Writer, op: ops.ClipMask, dtype: str, x: str) -> str:
    above, below = ("GreaterOrEqual", "LessOrEqual") if op.closed else ("Greater", "Less")
    low, high = (write.number(end, dtype) for end in (op.low, op.high))
    return write.cast(write("And", write(above, x, low), write(below, x, high)), dtype)


def softplus(write: Writer, op: ops.Softplus, dtype: str, x: str) -> str:
    """In float64, for which runtimes have no Softplus, max(x, 0) + ln(1 + e^-|x|)."""
    if dtype == "float32":
        return write("Softplus", x)
    small = write("Exp", write("Neg", write("Abs", x)))
    return write("Add", write("Relu", x), write("Log", write("Add", small, write.number(1, dtype))))


def elu(write: Writer, op: ops.Elu, dtype: str, x: str) -> str:
    """In float64, for which runtimes have no Elu, what it is made of."""
    if dtype == "float32":
        return write("Elu", x, alpha=op.alpha)
    zero, one, alpha = (write.number(each, dtype) for each in (0, 1, op.alpha))
    below = write("Mul", alpha, write("Sub", write("Exp", write("Min", x, zero)), one))
    return write("Where", write("Greater", x, zero), x, below)


def erf(write: Writer, op: ops.Erf, dtype: str, x: str) -> str:
    """In float64, for which runtimes have no Erf, what `ops.Erf` says."""
    if dtype == "float32":
        return write("Erf", x)
    one, size = write.number(1, dtype), write("Abs", x)
    square = write("Mul", x, x)
    above, below = (polynomial(write, each, write("Min", square, one)) for each in op.NEAR)
    near = write("Div", write("Mul", x, above), below)
    within = write("Min", size, write.number(8, dtype))
    above, below = (polynomial(write, each, within) for each in op.FAR)
    rest = write("Div", write("Mul", write("Exp", write("Neg", square)), above), below)
    far = write("Mul", write("Sign", x), write("Sub", one, rest))
    return write("Where", write("LessOrEqual", size, one), near, far)


def polynomial(write: Writer, coefficients: Sequence[float], x: str) -> str:
    """Return a polynomial by Horner's rule, in float64; the coefficients begin at the highest power."""
    total = write.number(coefficients[0], "float64")
    for coefficient in coefficients[1:]:
        total = write("Add", write("Mul", total, x), write.number(coefficient, "float64"))
    return total


def round_bfloat16(write: Writer, op: ops.RoundBfloat16, dtype: str, x: str) -> str:
    return write.cast(write.cast(x, "bfloat16"), dtype)


def alias(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write nothing: the result is the operand."""
    (x,) = node.operands
    write.tensor(x, write.layout(x))
    for layout in write.layouts(x):
        write.put(results[0], write.tensor(x, layout), layout)


def cast(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    op: Any = node.op
    if op.dtype == node.operands[0].type.dtype:
        alias(write, node, results)
    else:
        elementwise(lambda write, op, x: write.cast(x, op.dtype))(write, node, results)


def count(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write how many elements there are along axes, of which one may be the batch."""
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.Count)
    sizes = [x.type.shape[axis] for axis in op.axes]
    known = math.prod(size for size in sizes if isinstance(size, int))
    if len([size for size in sizes if isinstance(size, int)]) == len(sizes):
        write.put(results[0], write.number(known, x.type))
        return
    number = write.samples()
    if known > 1:
        number = write("Mul", number, write.constant(np.array(known, np.int64)))
    write.put(results[0], number if x.type.dtype == "int64" else write.cast(number, x.type.dtype))


EMITTERS = {
    ops.Constant: constant,
    ops.Add: add,
    ops.Subtract: operator("Sub"),
    ops.Multiply: operator("Mul"),
    ops.Divide: operator("Div"),
    ops.Maximum: operator("Max"),
    ops.Minimum: operator("Min"),
    ops.Negate: operator("Neg"),
    ops.Abs: operator("Abs"),
    ops.Sign: operator("Sign"),
    ops.Power: typed(power),
    ops.Log: operator("Log"),
    ops.Sqrt: operator("Sqrt"),
    ops.Sin: operator("Sin"),
    ops.Cos: operator("Cos"),
    ops.Erf: typed(erf),
    ops.Tanh: operator("Tanh"),
    ops.Sigmoid: operator("Sigmoid"),
    ops.Relu: operator("Relu"),
    ops.ReluMask: typed(relu_mask),
    ops.Softplus: typed(softplus),
    ops.Elu: typed(elu),
    ops.Clip: typed(clip),
    ops.ClipMask: typed(clip_mask),
    ops.RoundBfloat16: typed(round_bfloat16),
    ops.StopGradient: alias,
    ops.AllReduce: alias,
    ops.AllGather: alias,
    ops.BroadcastFrom: alias,
    ops.KeepOn: alias,
    ops.Greater: operator("Greater"),
    ops.GreaterEqual: operator("GreaterOrEqual"),
    ops.Equal: operator("Equal"),
    ops.LogicalAnd: operator("And"),
    ops.LogicalOr: operator("Or"),
    ops.LogicalNot: operator("Not"),
    ops.Select: operator("Where"),
    ops.Cast: cast,
    ops.Count: count,
}
