"""Products of bfloat16 numbers, summed up in float32: a pass that shows in the graph what is rounded."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

from graphcnn.errors import OptionError
from graphcnn.ir import Graph, Node, Origin, Rebuild, Value, use_counts, verify
from graphcnn.ops import (
    Broadcast,
    Concatenate,
    Convolve2d,
    Correlate2d,
    Crop,
    Matmul,
    Pad,
    Reshape,
    Rot180,
    RoundBfloat16,
    RouteToWinner2d,
    SpreadToBlock2d,
    Subsample,
    Transpose,
    ZeroInsert,
)

PRODUCTS: Final = (Correlate2d, Convolve2d, Matmul)
"""Ops whose every result is a sum of products."""
MOVES: Final = (Broadcast, Concatenate, Crop, Reshape, Rot180, Subsample, Transpose, ZeroInsert)
"""Ops that leave numbers as they are: what they move may be rounded before."""
RULE: Final = "product of bfloat16"


def bfloat16_products(graph: Graph) -> Graph:
    """Return the graph with the float32 operands of its products rounded to bfloat16.

    Products are correlations and convolutions, which a convolution's gradients are too, and products of
    matrices. They are summed up in float32, and everything else stays as it is. What is read by several
    products is rounded once, and before it is moved, as by a transposition, where products alone read that.

    The graph is to be finished: of a rounding, `differentiate` makes the identity. Products of other element
    types stay as they are.
    """
    return _Rounding(graph).run()


class _Rounding:
    """The graph under construction. Values are those of the source, but for what `_rounded` returns."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._rebuild = Rebuild(graph)
        self._moved = _moved_to_products(graph)
        self._known: dict[Value, Value] = {}

    def run(self) -> Graph:
        graph, rebuild = self._graph, self._rebuild
        for key, node in graph.items():
            origin = node.origin.remapped(rebuild.new_key)
            if _is_product(node) or key in self._moved:
                operands = tuple(self._rounded(operand, origin) for operand in node.operands)
                rebuild.replace(key, rebuild.result.add_like(node, operands, origin))
            else:
                rebuild.copy(key, origin)
        rebuild.name_roots()
        return verify(rebuild.result)

    def _rounded(self, value: Value, origin: Origin) -> Value:
        """Return what stands for the rounding of a value, of which indices have none."""
        made = self._graph.node(value.key)
        if value.key in self._moved or isinstance(made.op, RoundBfloat16) or not value.type.is_float:
            return self._rebuild.value(value)
        if value not in self._known:
            self._known[value] = self._rebuild.result.add(
                RoundBfloat16(), self._rebuild.value(value), origin=replace(origin, rule=RULE)
            )
        return self._known[value]


def _is_product(node: Node) -> bool:
    return isinstance(node.op, PRODUCTS) and node.types[0].dtype == "float32"


def _moved_to_products(graph: Graph) -> set[int]:
    """Return the keys of nodes that move numbers to products, and to nothing else."""
    uses, by_products = use_counts(graph, range(len(graph))), dict.fromkeys(range(len(graph)), 0)
    found: set[int] = set()
    for key in range(len(graph) - 1, -1, -1):
        node = graph.node(key)
        if _only_moves(node) and 0 < by_products[key] == uses[key, 0]:
            found.add(key)
        elif not _is_product(node):
            continue
        for operand in node.operands:
            by_products[operand.key] += operand.index == 0
    return found


def _only_moves(node: Node) -> bool:
    """Whether the results of a node are some of the float32 numbers that it takes, and bfloat16 numbers."""
    op: Any = node.op
    if node.types[0].dtype != "float32":
        return False
    if isinstance(op, RouteToWinner2d | SpreadToBlock2d):
        return all(size <= stride for size, stride in zip(op.size, op.stride, strict=True))
    return isinstance(op, MOVES) or (isinstance(op, Pad) and (op.value == 0 or math.isinf(op.value)))


def require_float32(graph: Graph) -> None:
    """Raise OptionError, at the line of the user's that made it, for a product of a network in float64."""
    for _, node in graph.items():
        if isinstance(node.op, PRODUCTS) and node.types[0].dtype != "float32":
            raise OptionError(
                f"precision='bfloat16' rounds what float32 products multiply, and this {node.op.name} is of "
                f"{node.types[0].dtype}",
                mend='leave out precision; or leave out dtype="float64", here and of inputs',
            ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)
