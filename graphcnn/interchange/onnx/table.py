"""The table of what writes each op, and the door through which more come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from graphcnn.backend import check_kernel
from graphcnn.interchange.onnx.emitters import (
    convolution,
    linear,
    loss,
    pointwise,
    pooling,
    random,
    reduction,
    sample_moves,
    sample_warp,
    shape,
)
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import Node, Op, Value

Emit: TypeAlias = Callable[[Writer, Node, tuple[Value, ...]], None]
"""`emit(write, node, results)` writes a node of the graph, and says which tensors hold its results."""

EMITTERS: dict[type[Op], Emit] = {}
"""What writes each op; `register` fills it."""


def register(op: type[Op], emit: Emit) -> None:
    """Let files of ONNX have an op: graphs that are exported from now on may hold it.

        def emit_swish(write, node, results):
            x = write.tensor(node.operands[0])
            write.put(results[0], write("Mul", x, write("Sigmoid", x)))

        register(Swish, emit_swish)

    emit: `emit(write, node, results)`. node: the graph's, with its op and operands. results: its values.
    `write(operator, *inputs, **attributes)` writes one of ONNX's operators and returns the name of its
    output, `write.tensor(value)` is the tensor that holds an operand, and `write.put(value, tensor)` says
    which one holds a result.

    What wrote the op before is replaced. Raises OptionError, at the user's line, for what is no registered
    op, and for what cannot be called like this.
    """
    check_kernel(op, "write", "node", "results", emit=emit)
    EMITTERS[op] = emit


for _table in (
    *(convolution, pointwise, pooling, shape, reduction, linear, loss),
    *(random, sample_moves, sample_warp),
):
    for _op, _emit in _table.EMITTERS.items():
        register(_op, _emit)
