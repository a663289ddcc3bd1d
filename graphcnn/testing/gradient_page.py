"""The table of docs/gradients.md: what every op says about itself, and its gradient as its rule emits it.

`python -m graphcnn.testing.gradient_page docs/gradients.md` writes it anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

from graphcnn import ops
from graphcnn.ir import Emitter, Graph, Node, Op, Value
from graphcnn.testing.gradient_matrix import forward_graphs

SIGNS: Final[dict[type[Op], str]] = {ops.Add: "+", ops.Subtract: "-", ops.Multiply: "·", ops.Divide: "/"}
OPERANDS: Final = "xyz"
BEGIN, END = "<!-- rules -->\n", "\n<!-- end of rules -->"


def table() -> str:
    """Return the table of all ops that have a gradient: equation, gradient of each operand, attributes."""
    graphs = sorted(forward_graphs(), key=len)
    lines = ["| op | equation | gradient for delta δ and result r | attributes |", "|---|---|---|---|"]
    for op in ops.OPS.values():
        gradient = "; ".join(_gradients_of(op, graphs)) if op.__module__.startswith("graphcnn.") else ""
        if gradient.strip("0; "):
            attributes = ", ".join(f"`{field.name}`" for field in fields(op) if field.compare)
            cells = [f"`{op.name}`", op.equation.replace("|", r"\|"), gradient, attributes]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _gradients_of(op: type[Op], graphs: Sequence[Graph]) -> list[str]:
    """Return the gradient of every operand as an expression, from the nodes that the rule emits in a case.

    That is the smallest case in which the operands are different ones, and no scalars.
    """
    for graph in graphs:
        for key, node in graph.items():
            distinct = len(set(node.operands)) == len(node.operands)
            if type(node.op) is op and distinct and all(value.type.rank for value in node.operands):
                return _written(graph, key, node)
    return []


def _written(graph: Graph, key: int, node: Node) -> list[str]:
    if not any(operand.type.is_float for operand in node.operands) or not node.types[0].is_float:
        return []
    work = graph.copy(outputs=False, updates=False)
    results = work.results(key)
    delta = work.input("delta of the page", node.types[0])
    gradients = node.op.gradient(Emitter(work), node.operands, results, delta)
    known = {delta: "δ"}
    for number, value in enumerate(results):
        known[value] = "r" if number == 0 else f"r{number + 1}"
    known.update(zip(node.operands, OPERANDS if len(node.operands) > 1 else "x", strict=False))
    return ["0" if gradient is None else f"`{_expression(work, gradient, known)}`" for gradient in gradients]


def _expression(graph: Graph, value: Value, known: dict[Value, str]) -> str:
    if value in known:
        return known[value]
    op = graph.node(value.key).op
    operands = [_expression(graph, operand, known) for operand in graph.node(value.key).operands]
    if isinstance(op, ops.Constant):
        return f"{op.value:.6g}"
    sign = SIGNS.get(type(op))
    if sign is not None:
        return f" {sign} ".join(map(_in_brackets, operands))
    return f"{op.name}({', '.join(operands)})"


def _in_brackets(text: str) -> str:
    """Return an expression that can be an operand of a sign."""
    outside = re.sub(r"\([^()]*\)", "", text)
    while "(" in outside:
        outside = re.sub(r"\([^()]*\)", "", outside)
    return f"({text})" if " " in outside else text


def with_table(page: str) -> str:
    """Return a page with the table of today between its marks. Raises ValueError where it has no marks."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page has no place for the table: {BEGIN}{END}")
    return before + BEGIN + table() + END + after


def main(arguments: Sequence[str]) -> None:
    """Write the table anew in the page of this path."""
    path = Path(arguments[0])
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
