"""The text form of a graph, which prints and parses: `parse_graph(str(graph), ops) == graph`.

    graph "lenet5"
    source train.py = "/home/me/train.py"

    %0: float32[N, 28, 28, 1] = input(label="image")                  | | train.py:9
    %1: float32[5, 5, 1, 6] = input(label="conv1.filters", role="parameter") | conv1 | train.py:4
    %2: float32[N, 24, 24, 6] = correlate2d(%0, %1)                   | conv1 | train.py:4 | Eq. 7

    output "logits" = %2

A node's line says its key, the types of its results, the op with operands and attributes, and behind
bars its origin: layer | place | rule | forward node. Left out are attributes at their default, and
`type`, `shape` and `dtype`, which the result's type already tells. `%7.1` is the second result of %7.
The attribute `function`, a function of the user's own, is held by its name alone.
An empty line stands before the first gradient node. `graphcnn.ir.parser` reads it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath

from graphcnn.errors import ParseError
from graphcnn.ir.graph import Graph, Node, Value
from graphcnn.ir.op import Op
from graphcnn.ir.types import TensorType
from graphcnn.scalar import ScalarFunction

ORIGIN_COLUMN = 76
TOLD_BY_TYPE: dict[str, Callable[[TensorType], object]] = {
    "type": lambda type: type,
    "shape": lambda type: type.shape,
    "dtype": lambda type: type.dtype,
}


def format_graph(graph: Graph) -> str:
    """Return the text form of a graph."""
    aliases = _aliases(sorted({node.origin.file for _, node in graph.items() if node.origin.file}))
    lines = [f"graph {_quoted(graph.name)}"]
    lines += [f"source {_bare(alias)} = {_quoted(file)}" for file, alias in aliases.items()]
    lines.append("")
    in_gradient = False
    for key, node in graph.items():
        if node.origin.forward is not None and not in_gradient:
            lines.append("")
            in_gradient = True
        lines.append(_format_node(graph, key, node, aliases))
    lines.append("")
    lines += [f"output {_quoted(label)} = {_format_value(graph, v)}" for label, v in graph.outputs.items()]
    lines += [f"update {_quoted(label)} = {_format_value(graph, v)}" for label, v in graph.updates.items()]
    return "\n".join(lines) + "\n"


def format_call(graph: Graph, key: int) -> str:
    """Return one node as `correlate2d(%0, %1, stride=(2, 2))`."""
    node = graph.node(key)
    return format_op(node.op, *(_format_value(graph, operand) for operand in node.operands))


def format_op(op: Op, *arguments: str) -> str:
    """Return an op on these arguments, with its attributes: `clip(x, low=-1.0, high=1.0)`."""
    attributes = [
        f"{field.name}={_format_attribute(getattr(op, field.name))}"
        for field in dataclasses.fields(op)
        if field.name not in TOLD_BY_TYPE and getattr(op, field.name) != field.default
    ]
    return f"{op.name}({', '.join([*arguments, *attributes])})"


def _format_node(graph: Graph, key: int, node: Node, aliases: Mapping[str, str]) -> str:
    types = ", ".join(map(str, node.types))
    line = f"%{key}: {types} = {format_call(graph, key)}"
    origin = node.origin
    place = f"{aliases[origin.file]}:{origin.line}" if origin.file else ""
    forward = f"of %{origin.forward}" if origin.forward is not None else ""
    fields = [_bare(field) for field in (origin.layer, place, origin.rule, forward)]
    while fields and not fields[-1]:
        fields.pop()
    return f"{line:<{ORIGIN_COLUMN}} | {' | '.join(fields)}" if fields else line


def _format_value(graph: Graph, value: Value) -> str:
    return f"%{value.key}.{value.index}" if len(graph.node(value.key).types) > 1 else f"%{value.key}"


def _format_attribute(value: object) -> str:
    if isinstance(value, tuple):
        comma = "," if len(value) == 1 else ""
        return f"({', '.join(map(_format_attribute, value))}{comma})"
    if isinstance(value, ScalarFunction):
        return _quoted(value.name)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool | int | float):
        return repr(value)
    raise ParseError(f"the attribute {value!r} has no text form")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _bare(text: str) -> str:
    """Return text for a field between bars, quoted only where it must be."""
    plain = text.isprintable() and text == text.strip() and not re.search(r'["|=]', text)
    return text if plain else _quoted(text)


def _aliases(files: Iterable[str]) -> dict[str, str]:
    """Return a short name for each file: its base name, made unique."""
    aliases: dict[str, str] = {}
    taken: set[str] = set()
    copies: dict[str, int] = {}
    for file in files:
        base = alias = PurePath(file).name or file
        while alias in taken:
            copies[base] = copies.get(base, 1) + 1
            alias = f"{base}~{copies[base]}"
        taken.add(alias)
        aliases[file] = alias
    return aliases
