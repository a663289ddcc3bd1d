"""Ops that fold axes away, wherever these stand in the layout at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphcnn import ops
from graphcnn.interchange.onnx.layouts import without
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import Node, Value


def reduction(kind: str) -> Callable[[Writer, Node, tuple[Value, ...]], None]:
    """Return what writes one of ONNX's reductions."""

    def emit(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
        (x,), op = node.operands, node.op
        layout = write.layout(x)
        tensor = _reduced(write, kind, write.tensor(x, layout), op, layout)
        write.put(results[0], tensor, _left(op, layout))

    return emit


def _reduced(write: Writer, kind: str, tensor: str, op: Any, layout: tuple[int, ...]) -> str:
    places = sorted(layout.index(axis) for axis in op.axes)
    return write.reduced(kind, tensor, places, keep=op.keep) if places else tensor


def _left(op: Any, layout: tuple[int, ...]) -> tuple[int, ...]:
    return layout if op.keep else without(layout, op.axes)


def inverse_deviation(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.InverseDeviation)
    layout = write.layout(x)
    tensor = write.tensor(x, layout)
    variance = _reduced(write, "ReduceMean", write("Mul", tensor, tensor), op, layout)
    safe = write("Add", variance, write.number(op.epsilon, x.type)) if op.epsilon else variance
    write.put(results[0], write("Reciprocal", write("Sqrt", safe)), _left(op, layout))
    write.put(results[1], variance, _left(op, layout))


def argmax(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.ArgMax)
    layout = write.layout(x)
    place = write("ArgMax", write.tensor(x, layout), axis=layout.index(op.axis), keepdims=0)
    write.put(results[0], place, without(layout, (op.axis,)))


EMITTERS = {
    ops.Sum: reduction("ReduceSum"),
    ops.Mean: reduction("ReduceMean"),
    ops.Max: reduction("ReduceMax"),
    ops.InverseDeviation: inverse_deviation,
    ops.ArgMax: argmax,
}
