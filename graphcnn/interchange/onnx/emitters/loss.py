"""Losses and the softmax they rest on."""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import Node, Value


def log_softmax(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,) = node.operands
    layout = write.layout(x)
    axis = layout.index(x.type.rank - 1)
    write.put(results[0], write("LogSoftmax", write.tensor(x, layout), axis=axis), layout)


def exp(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write an exponential; that of a softmax's logarithm is Softmax itself."""
    (x,) = node.operands
    layout, logarithm = write.layout(x), write.node_of(x)
    if isinstance(logarithm.op, ops.LogSoftmax):
        tensor = write.tensor(logarithm.operands[0], layout)
        tensor = write("Softmax", tensor, axis=layout.index(x.type.rank - 1))
    else:
        tensor = write("Exp", write.operands(node.operands, layout)[0])
    write.put(results[0], tensor, layout)


def one_hot(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (labels,), op = node.operands, node.op
    assert isinstance(op, ops.OneHot)
    column = write.unsqueezed(write.tensor(labels), labels.type.rank)
    numbers = write.constant(np.arange(op.classes, dtype=labels.type.dtype))
    write.put(results[0], write.cast(write("Equal", column, numbers), op.dtype))


def softmax_cross_entropy(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    logits, labels = node.operands
    likelihood = write("LogSoftmax", write.tensor(logits), axis=1)
    column = write.unsqueezed(write.tensor(labels), 1)
    chosen = write("GatherElements", likelihood, column, axis=1)
    write.put(results[0], write("Neg", write("Squeeze", chosen, write.integers(1))))


def squared_error(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    outputs, targets = node.operands
    layout = write.layout(outputs, targets)
    difference = write("Sub", *reversed(write.operands((outputs, targets), layout)))
    squares = write("Mul", difference, difference)
    axes = [place for place, axis in enumerate(layout) if axis]
    total = write.reduced("ReduceSum", squares, axes, keep=False) if axes else squares
    write.put(results[0], write("Mul", total, write.number(0.5, outputs.type)))


EMITTERS = {
    ops.Exp: exp,
    ops.LogSoftmax: log_softmax,
    ops.OneHot: one_hot,
    ops.SoftmaxCrossEntropy: softmax_cross_entropy,
    ops.SquaredError: squared_error,
}
