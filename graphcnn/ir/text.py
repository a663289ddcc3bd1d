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
An empty line stands before the first gradient node.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from graphcnn.errors import GraphcnnError, ParseError
from graphcnn.ir.graph import Graph, Input, Node, Value
from graphcnn.ir.op import Op
from graphcnn.ir.origin import Origin
from graphcnn.ir.types import TensorType
from graphcnn.scalar import ScalarFunction

ORIGIN_COLUMN = 76
MAX_NESTING = 8
TOLD_BY_TYPE: dict[str, Callable[[TensorType], object]] = {
    "type": lambda type: type,
    "shape": lambda type: type.shape,
    "dtype": lambda type: type.dtype,
}

# Printing


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
    arguments = [_format_value(graph, operand) for operand in node.operands]
    for field in dataclasses.fields(node.op):
        value = getattr(node.op, field.name)
        if field.name not in TOLD_BY_TYPE and value != field.default:
            arguments.append(f"{field.name}={_format_attribute(value)}")
    return f"{node.op.name}({', '.join(arguments)})"


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


def _aliases(files: list[str]) -> dict[str, str]:
    """Return a short name for each file: its base name, made unique."""
    aliases: dict[str, str] = {}
    for file in files:
        base = alias = PurePath(file).name or file
        copies = 2
        while alias in aliases.values():
            alias, copies = f"{base}~{copies}", copies + 1
        aliases[file] = alias
    return aliases


# Parsing

TOKEN = re.compile(
    r"""\s*(?:
        (?P<value>%\d{1,9}(?:\.\d{1,3})?)
      | (?P<number>-?(?:inf|nan|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\w))
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<word>[A-Za-z_]\w*)
      | (?P<mark>[\[\](),:=])
    )""",
    re.VERBOSE,
)
SOURCE_LINE = re.compile(r'source (?P<alias>"(?:[^"\\]|\\.)*"|[^"=]+?) = (?P<file>".*")')
FIELD = re.compile(r'[ ]*("(?:[^"\\]|\\.)*"[ ]*|[^|"]*)(?:\||$)')


def parse_graph(
    text: str, ops: Mapping[str, type[Op]], functions: Mapping[str, ScalarFunction] | None = None
) -> Graph:
    """Return the graph that `text` describes. Nothing in it is evaluated as Python.

    ops, functions: the operations and the functions of the user's own that the text may use, by name.
    Raises ParseError, which names the line of the text, for anything that is not a valid graph.
    """
    graph: Graph | None = None
    files: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if graph is None:
                graph = _parse_header(line)
            elif line.startswith("source "):
                _parse_source(line, files)
            elif line.startswith("%"):
                _parse_node(line, graph, ops, functions or {}, files)
            elif line.startswith(("output ", "update ")):
                _parse_root(line, graph)
            elif line.strip():
                raise ParseError("a line is neither a node (`%0: ...`) nor `source`, `output` or `update`")
        except GraphcnnError as error:
            facts = [ascii(line)[1:-1], *error.facts]
            raise ParseError(
                f"line {number} of the graph's text: {_shortened(error.problem)}",
                facts=[_shortened(fact) for fact in facts],
            ) from None
    if graph is None:
        raise ParseError("the graph's text is empty")
    return graph


def _shortened(text: str) -> str:
    return text if len(text) <= 240 else f"{text[:237]}..."


def _parse_header(line: str) -> Graph:
    scanner = _Scanner(line)
    if scanner.take("word") != "graph":
        raise ParseError('the text of a graph begins with `graph "name"`')
    name = scanner.string()
    scanner.end()
    return Graph(name)


def _parse_source(line: str, files: dict[str, str]) -> None:
    match = SOURCE_LINE.fullmatch(line)
    if match is None:
        raise ParseError('a source line reads `source name = "path"`')
    files[_unquoted(match["alias"])] = _unquoted(match["file"])


def _parse_root(line: str, graph: Graph) -> None:
    scanner = _Scanner(line)
    kind = scanner.take("word")
    label = scanner.string()
    scanner.expect("=")
    value = scanner.value(graph)
    scanner.end()
    if kind == "output":
        graph.output(label, value)
    else:
        graph.update(label, value)


def _parse_node(
    line: str,
    graph: Graph,
    ops: Mapping[str, type[Op]],
    functions: Mapping[str, ScalarFunction],
    files: Mapping[str, str],
) -> None:
    scanner = _Scanner(line)
    key = scanner.take("value")
    if key != f"%{len(graph)}":
        raise ParseError(f"nodes are numbered in order: expected %{len(graph)}, found {key}")
    scanner.expect(":")
    types = [scanner.type()]
    while scanner.skip(","):
        types.append(scanner.type())
    scanner.expect("=")
    op, operands = _parse_call(scanner, graph, ops, functions, types[0])
    origin = _parse_origin(scanner.rest(), files, len(graph))
    results = graph.add_all(op, *operands, origin=origin)
    if [result.type for result in results] != types:
        actual = ", ".join(str(result.type) for result in results)
        raise ParseError(f"{op.name} yields {actual}, not {', '.join(map(str, types))}")


def _parse_call(
    scanner: _Scanner,
    graph: Graph,
    ops: Mapping[str, type[Op]],
    functions: Mapping[str, ScalarFunction],
    type: TensorType,
) -> tuple[Op, list[Value]]:
    name = scanner.take("word")
    op_class = Input if name == Input.name else ops.get(name)
    if op_class is None:
        raise ParseError(f"there is no op {name!r}")
    fields = {field.name for field in dataclasses.fields(op_class)}
    attributes: dict[str, Any] = {told: tell(type) for told, tell in TOLD_BY_TYPE.items() if told in fields}
    operands: list[Value] = []
    scanner.expect("(")
    while not scanner.skip(")"):
        if scanner.peek() == "value":
            operands.append(scanner.value(graph))
        else:
            attribute = scanner.take("word")
            if attribute not in fields or attribute in attributes:
                raise ParseError(f"{name} has no attribute {attribute!r}, or has it twice")
            scanner.expect("=")
            value = scanner.attribute()
            attributes[attribute] = _function(functions, value) if attribute == "function" else value
        if not scanner.skip(","):
            scanner.expect(")")
            break
    try:
        return op_class(**attributes), operands
    except TypeError as error:
        raise ParseError(f"the attributes of {name} are wrong: {error}") from None


def _function(functions: Mapping[str, ScalarFunction], name: object) -> ScalarFunction:
    if not isinstance(name, str) or name not in functions:
        raise ParseError(
            f"there is no function {name!r} among those that came with the text",
            facts=[f"those that came: {', '.join(functions) or 'none'}"],
        )
    return functions[name]


def _parse_origin(text: str, files: Mapping[str, str], key: int) -> Origin:
    if not text.strip():
        return Origin()
    if not text.lstrip().startswith("|"):
        raise ParseError("behind the closing parenthesis only `| origin` may stand")
    fields: list[str] = []
    rest = text.strip()[1:]
    position = 0
    while position <= len(rest) and len(fields) < 4:
        match = FIELD.match(rest, position)
        if match is None:
            raise ParseError("the origin is not of the form `| layer | place | rule | of %key`")
        fields.append(_unquoted(match[1].strip()))
        position = match.end() + (match.end() == len(rest) and not match[0].endswith("|"))
    if position < len(rest):
        raise ParseError("the origin has more than four fields")
    layer, place, rule, forward = (*fields, "", "", "", "")[:4]
    file, _, line = place.rpartition(":")
    if place and (file not in files or not re.fullmatch(r"\d{1,9}", line)):
        raise ParseError(f"the place {place!r} is not `source:line` of a declared source")
    if forward and not (re.fullmatch(r"of %\d{1,9}", forward) and int(forward[4:]) < key):
        raise ParseError(f"{forward!r} is not `of %key` of an earlier node")
    return Origin(
        files.get(file, ""), int(line) if place else 0, layer, rule, int(forward[4:]) if forward else None
    )


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text.strip()
    try:
        return str(json.loads(text))
    except ValueError:
        raise ParseError(f"{text} is not a quoted string") from None


class _Scanner:
    """Reads one line token by token."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._position = 0

    def _match(self) -> re.Match[str]:
        match = TOKEN.match(self._line, self._position)
        if match is None:
            raise ParseError(f"column {self._position + 1} cannot be read")
        return match

    def peek(self) -> str:
        return self._match().lastgroup or ""

    def take(self, kind: str) -> str:
        match = self._match()
        if match.lastgroup != kind:
            raise ParseError(f"column {self._position + 1}: expected a {kind}, found {match[0].strip()!r}")
        self._position = match.end()
        return match[kind]

    def skip(self, mark: str) -> bool:
        match = TOKEN.match(self._line, self._position)
        if match is None or match["mark"] != mark:
            return False
        self._position = match.end()
        return True

    def expect(self, mark: str) -> None:
        if not self.skip(mark):
            raise ParseError(f"column {self._position + 1}: expected {mark!r}")

    def string(self) -> str:
        return _unquoted(self.take("string"))

    def value(self, graph: Graph) -> Value:
        key, _, index = self.take("value")[1:].partition(".")
        if int(key) >= len(graph):
            raise ParseError(f"%{key} is used before it is computed")
        results = graph.results(int(key))
        if int(index or 0) >= len(results):
            raise ParseError(f"%{key} has no result {index}")
        return results[int(index or 0)]

    def type(self) -> TensorType:
        dtype = self.take("word")
        self.expect("[")
        shape: list[Any] = []
        while not self.skip("]"):
            shape.append(self.take("word") if self.peek() == "word" else self._number())
            if not self.skip(","):
                self.expect("]")
                break
        return TensorType(tuple(shape), dtype)  # type: ignore[arg-type]

    def attribute(self, depth: int = 0) -> object:
        if depth > MAX_NESTING:
            raise ParseError(f"tuples are nested more than {MAX_NESTING} deep")
        kind = self.peek()
        if kind == "number":
            return self._number()
        if kind == "string":
            return self.string()
        if kind == "word":
            word = self.take("word")
            if word not in ("True", "False"):
                raise ParseError(f"{word!r} is not a value")
            return word == "True"
        self.expect("(")
        items = []
        while not self.skip(")"):
            items.append(self.attribute(depth + 1))
            if not self.skip(","):
                self.expect(")")
                break
        return tuple(items)

    def _number(self) -> int | float:
        text = self.take("number")
        if len(text) > 30:
            raise ParseError("a number has more than 30 characters")
        return int(text) if re.fullmatch(r"-?\d+", text) else float(text)

    def rest(self) -> str:
        return self._line[self._position :]

    def end(self) -> None:
        if self.rest().strip():
            raise ParseError(f"column {self._position + 1}: nothing more may stand here")
