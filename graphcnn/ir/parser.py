"""From the text form to a graph: `parse_graph(str(graph), ops) == graph`. Texts are not trusted.

Nothing in a text is evaluated as Python, all that it can ask for is bounded, and whatever is no valid graph
raises ParseError with the number of the line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from graphcnn.errors import GraphcnnError, GraphError, ParseError
from graphcnn.ir.attributes import require_types
from graphcnn.ir.graph import Graph, Input, Value
from graphcnn.ir.op import Op
from graphcnn.ir.scanner import FORWARD, LINE, LONGEST_STRING, SOURCE, Scanner, origin_fields, unquoted
from graphcnn.ir.text import TOLD_BY_TYPE
from graphcnn.ir.types import TensorType
from graphcnn.ir.verify import verify
from graphcnn.origin import Origin
from graphcnn.scalar import ScalarFunction

LONGEST_TEXT = 2**23
MOST_LINES = 2**18
MOST_NODES = 2**16


def parse_graph(
    text: str, ops: Mapping[str, type[Op]], functions: Mapping[str, ScalarFunction] | None = None
) -> Graph:
    """Return the graph that `text` describes, which obeys the rules of `verify`.

    ops, functions: the operations and the functions of the user's own that the text may use, by name.
    Raises ParseError, which names the line of the text, for anything that is not a valid graph.
    """
    lines = _lines(text)
    graph: Graph | None = None
    files: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
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
            raise _at(f"line {number} of the graph's text", error, line) from None
    assert graph is not None
    try:
        return verify(graph)
    except GraphcnnError as error:
        raise _at("the graph's text", error) from None


def require_parsable(graph: Graph) -> Graph:
    """Return the graph; raise GraphError where its text would be more than `parse_graph` reads."""
    if len(graph) > MOST_NODES:
        raise GraphError(
            f"a graph of {len(graph)} nodes is too large for a file, which may have {MOST_NODES}"
        )
    names = [graph.name, *graph.inputs, *graph.outputs]
    names += [name for _, node in graph.items() for name in (node.origin.layer, node.origin.rule)]
    longest = max(names, key=len)
    if len(longest) > LONGEST_STRING:
        raise GraphError(
            f"the name {longest[:40]!r}... of {len(longest)} characters is too long for a file",
            mend=f"give a layer, input or network a name of at most {LONGEST_STRING}",
        )
    return graph


def _lines(text: str) -> list[str]:
    if not isinstance(text, str):
        raise ParseError(f"the text of a graph is a string, not {type(text).__name__}")
    if not text:
        raise ParseError("the graph's text is empty")
    for what, count, most in (
        ("characters", len(text), LONGEST_TEXT),
        ("lines", text.count("\n") + 1, MOST_LINES),
    ):
        if count > most:
            raise ParseError(f"the graph's text has {count} {what}, and at most {most} are read")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _at(place: str, error: GraphcnnError, line: str = "") -> ParseError:
    """Return the error with the line that caused it."""
    facts = [ascii(line[:240])[1:-1]] if line else []
    return ParseError(
        f"{place}: {_shortened(error.problem)}", facts=[_shortened(fact) for fact in (*facts, *error.facts)]
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 240 else f"{text[:237]}..."


def _parse_header(line: str) -> Graph:
    scanner = Scanner(line)
    if scanner.take("word") != "graph":
        raise ParseError('the text of a graph begins with `graph "name"`')
    name = scanner.string()
    scanner.end()
    return Graph(name)


def _parse_source(line: str, files: dict[str, str]) -> None:
    match = SOURCE.fullmatch(line)
    if match is None:
        raise ParseError('a source line reads `source name = "path"`')
    alias = unquoted(match["alias"].rstrip())
    if alias in files:
        raise ParseError(f"there is a source {alias!r} already")
    files[alias] = unquoted(match["file"].rstrip())


def _parse_root(line: str, graph: Graph) -> None:
    scanner = Scanner(line)
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
    scanner = Scanner(line)
    key = scanner.take("value")
    if key != f"%{len(graph)}":
        raise ParseError(f"nodes are numbered in order: expected %{len(graph)}, found {key}")
    if len(graph) == MOST_NODES:
        raise ParseError(f"the graph has more than {MOST_NODES} nodes")
    scanner.expect(":")
    types = [scanner.type()]
    while scanner.skip(","):
        types.append(scanner.type())
    scanner.expect("=")
    op, operands = _parse_call(scanner, graph, ops, functions, types[0])
    origin = _parse_origin(scanner.rest(), files, len(graph))
    try:
        results = graph.add_all(op, *operands, origin=origin)
    except GraphcnnError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise ParseError(f"{op.name} does not take these operands: {error}") from None
    if [result.type for result in results] != types:
        actual = ", ".join(str(result.type) for result in results)
        raise ParseError(f"{op.name} yields {actual}, not {', '.join(map(str, types))}")


def _parse_call(
    scanner: Scanner,
    graph: Graph,
    ops: Mapping[str, type[Op]],
    functions: Mapping[str, ScalarFunction],
    type: TensorType,
) -> tuple[Op, list[Value]]:
    name = scanner.take("word")
    op_class = Input if name == Input.name else ops.get(name)
    if op_class is None:
        raise ParseError(
            f"there is no op {name!r}",
            facts=["one of your own is known after gcn.register_op, in its module"],
        )
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
    return _constructed(op_class, attributes), operands


def _constructed(op_class: type[Op], attributes: Mapping[str, Any]) -> Op:
    try:
        op = op_class(**attributes)
    except GraphcnnError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise ParseError(f"the attributes of {op_class.name} are wrong: {error}") from None
    require_types(op)
    return op


def _function(functions: Mapping[str, ScalarFunction], name: object) -> ScalarFunction:
    if not isinstance(name, str) or name not in functions:
        raise ParseError(
            f"there is no function {name!r} among those that came with the text",
            facts=[f"those that came: {', '.join(functions) or 'none'}"],
        )
    return functions[name]


def _parse_origin(text: str, files: Mapping[str, str], key: int) -> Origin:
    text = text.strip()
    if not text:
        return Origin()
    if not text.startswith("|"):
        raise ParseError("behind the closing parenthesis only `| origin` may stand")
    layer, place, rule, forward = origin_fields(text)
    alias, _, line = place.rpartition(":")
    if place and (alias not in files or not LINE.fullmatch(line)):
        raise ParseError(f"the place {place!r} is not `source:line` of a declared source")
    of = FORWARD.fullmatch(forward)
    if forward and (of is None or int(of[1]) >= key):
        raise ParseError(f"{forward!r} is not `of %key` of an earlier node")
    file, number = (files[alias], int(line)) if place else ("", 0)
    return Origin(file, number, layer, rule, int(of[1]) if of is not None else None)
