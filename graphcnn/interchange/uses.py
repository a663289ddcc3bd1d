"""What a graph does with a weight: how other frameworks store it follows from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graphcnn import ops
from graphcnn.ir import Graph, Value


@dataclass(frozen=True, slots=True)
class Use:
    """The first use of a weight.

    kind: filters [k1, k2, C / groups, D] of a convolution, or of a transposed one; a matrix [C, units] that
    vectors are multiplied by; an image [H, W, C] or a vector that all samples have; or anything else.
    flipped: whether the filters are those of a convolution, and not of a correlation. beside: what the weight
    is used with. result: of the use.
    """

    kind: Literal["filters", "transposed", "matrix", "image", "vector", "other"]
    flipped: bool = False
    groups: int = 1
    beside: Value | None = None
    result: Value | None = None


def use_of(graph: Graph, weight: Value) -> Use:
    """Return the first use of a weight, which reshaping and turning it are not."""
    value, turned = weight, False
    while users := graph.users(value):
        key = users[0]
        op, operands = graph.node(key).op, graph.node(key).operands
        (result, *_) = graph.results(key)
        if isinstance(op, ops.Rot180 | ops.Reshape):
            value, turned = result, turned or isinstance(op, ops.Rot180)
            continue
        is_second = operands[1:2] == (value,)
        if isinstance(op, ops.Correlate2d | ops.Convolve2d) and is_second:
            is_transposed = turned and isinstance(op, ops.Correlate2d)
            return Use(
                "transposed" if is_transposed else "filters",
                flipped=isinstance(op, ops.Convolve2d),
                groups=op.groups,
                beside=operands[0],
                result=result,
            )
        if isinstance(op, ops.Matmul) and is_second and weight.type.rank == 2:
            return Use("matrix", beside=operands[0], result=result)
        if isinstance(op, ops.Broadcast) and weight.type.rank == 3 and result.type.rank == 4:
            return Use("image", result=result)
        if isinstance(op, ops.Broadcast) and weight.type.rank == 1:
            return Use("vector", result=result)
        break
    return Use("other")
