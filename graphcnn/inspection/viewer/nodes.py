"""The nodes of a graph as plain JSON data: what each is, what it costs, where it comes from."""

from __future__ import annotations

import dataclasses
import linecache
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Any, TypeAlias

import networkx

from graphcnn.errors import GraphError
from graphcnn.inspection.viewer.mathematics import equation_data
from graphcnn.ir import Graph, Input, Node, Op, Origin, live_bytes, verify
from graphcnn.ir.text import TOLD_BY_TYPE
from graphcnn.transform import sent_bytes

Json: TypeAlias = dict[str, Any]

CONTEXT_LINES = 3
FORWARD, GRADIENT, UPDATE = 0, 1, 2


@dataclasses.dataclass
class Tables:
    """What many nodes share, stored once: equations, places in the user's source."""

    equations: list[Json] = dataclasses.field(default_factory=list)
    sources: list[Json] = dataclasses.field(default_factory=list)
    _equation_numbers: dict[str, int] = dataclasses.field(default_factory=dict)
    _source_numbers: dict[tuple[str, int], int] = dataclasses.field(default_factory=dict)

    def equation(self, graph: Graph, key: int) -> int:
        """Return the number of a node's equation."""
        data = equation_data(graph, key)
        return self._number(self.equations, self._equation_numbers, repr(data), data)

    def source(self, origin: Origin) -> int | None:
        """Return the number of the place in the user's source, or None where there is none."""
        if not origin.file:
            return None
        place = origin.file, origin.line
        if place not in self._source_numbers:
            self._source_numbers[place] = len(self.sources)
            self.sources.append(_source(*place))
        return self._source_numbers[place]

    @staticmethod
    def _number(table: list[Json], numbers: dict[str, int], name: str, data: Json) -> int:
        if name not in numbers:
            numbers[name] = len(table)
            table.append(data)
        return numbers[name]


def _source(file: str, line: int) -> Json:
    """Return a line of a script with its neighbours; without them where the script is not there."""
    path = PurePath(file)
    around = range(max(line - CONTEXT_LINES, 1), line + CONTEXT_LINES + 1)
    lines = [(number, linecache.getline(file, number).rstrip("\n")) for number in around]
    while lines and not lines[-1][1]:
        lines.pop()
    # The folder's name helps to tell files apart; the whole path is nobody's business but the user's.
    name = "/".join(path.parts[-2:]).lstrip("/")
    return {"file": name, "line": line, "lines": [[number, text] for number, text in lines]}


def require_showable(graph: Graph) -> None:
    """Raise GraphError for a graph that cannot be drawn: an empty one, or one that breaks the rules."""
    if not isinstance(graph, Graph):
        raise GraphError(
            f"{type(graph).__name__} is not a graph",
            mend="show a Graph, such as model.gradient_graph, or a model",
        )
    if not len(graph):
        raise GraphError(f"graph {graph.name!r} is empty: it has no nodes to show", mend="add nodes first")
    for key, node in graph.items():
        if not isinstance(node, Node) or not isinstance(node.types, tuple) or not node.types:
            raise GraphError(
                f"node %{key} of graph {graph.name!r} has no shapes",
                mend="build graphs with Graph.add, which computes the shape of every result",
            )
    if not networkx.is_directed_acyclic_graph(graph.nx):
        around = [edge[0] for edge in networkx.find_cycle(graph.nx)]
        raise GraphError(
            f"graph {graph.name!r} has a cycle: {' → '.join(f'%{key}' for key in [*around, around[0]])}",
            mend="graph.nx is for reading; build graphs with Graph.add, which cannot make one",
        )
    verify(graph)


def graph_nodes(
    graph: Graph, batch: int, tables: Tables, seconds: Mapping[int, float], ranks: int | None = None
) -> list[Json]:
    """Return the nodes of a graph in the order of its keys. Costs and live memory are for `batch` samples.

    ranks: how many share these, for what each sends.
    """
    sides = node_sides(graph)
    sent = {} if ranks is None else sent_bytes(graph, batch, ranks)
    live = live_bytes(graph, batch)
    return [
        _node(graph, key, node, batch, tables)
        | {"side": sides[key], "live": live[key]}
        | ({"seconds": seconds[key]} if key in seconds else {})
        | ({"sent": sent[key]} if key in sent else {})
        for key, node in graph.items()
    ]


def _node(graph: Graph, key: int, node: Node, batch: int, tables: Tables) -> Json:
    cost = node.cost(batch)
    origin = node.origin
    data: Json = {
        "id": str(key),
        "op": node.op.name,
        "title": node.op.label if isinstance(node.op, Input) else node.op.name,
        "kind": op_kind(node.op),
        "types": [str(each) for each in node.types],
        "attributes": _attributes(node.op),
        "operands": [[str(operand.key), operand.index] for operand in node.operands],
        "flops": cost.flops,
        "bytes": cost.bytes,
        "layer": origin.layer,
        "rule": origin.rule,
        "equation": tables.equation(graph, key),
    }
    if isinstance(node.op, Input):
        data["role"] = node.op.role
        if node.op.role in ("parameter", "frozen"):
            data["parameters"] = node.types[0].elements(1)
    if origin.forward is not None:
        data["of"] = str(origin.forward)
    source = tables.source(origin)
    if source is not None:
        data["source"] = source
    return data


def op_kind(op: Op) -> str:
    """Return the family of an op, which gives its colour: the module that defines it, or the input's role."""
    if isinstance(op, Input):
        return "parameter" if op.role in ("parameter", "frozen") else "input"
    module = type(op).__module__
    if module.startswith("graphcnn.ops."):
        return module.rpartition(".")[2]
    return "user"


def _attributes(op: Op) -> list[list[str]]:
    """Return the attributes that are not at their default, with their values as text."""
    if isinstance(op, Input):
        return []
    return [
        [field.name, attribute_text(getattr(op, field.name))]
        for field in dataclasses.fields(op)
        if field.name not in TOLD_BY_TYPE and getattr(op, field.name) != field.default
    ]


def attribute_text(value: object) -> str:
    """Return an attribute as the text form prints it, without quotes around strings."""
    return str(getattr(value, "name", value))


def node_sides(graph: Graph) -> dict[int, int]:
    """Return for each key whether it belongs to the forward pass, the gradient, or the optimiser's update.

    The optimiser's nodes stand behind the learning rate, the one input with the role "setting".
    """
    settings = [value.key for value in graph.inputs_with_role("setting").values()]
    first_update = min(settings) if settings and graph.updates else len(graph)
    return {
        key: UPDATE if key >= first_update else (FORWARD if node.origin.forward is None else GRADIENT)
        for key, node in graph.items()
    }


def _computed(key: int, by_key: Mapping[int, Json], home: Mapping[int, str]) -> list[str]:
    """Return the kernels or inputs that a value comes from; nodes without a kernel only view those."""
    if key in home:
        return [home[key]]
    node = by_key[key]
    if node["op"] == "input":
        return [node["id"]]
    return [source for operand, _ in node["operands"] for source in _computed(int(operand), by_key, home)]


def kernel_nodes(
    nodes: Collection[Json], kernels: Collection[tuple[str, tuple[int, ...], Json]]
) -> list[Json]:
    """Return inputs and kernels as nodes; `kernels` holds name, keys of its nodes, and further facts.

    A kernel stands where the node with most work stands. It is drawn to read what its nodes read,
    and the kernel before it that computed a part of the same node, such as the padding of a convolution.
    """
    by_key = {int(node["id"]): node for node in nodes}
    home = {key: f"k{number}" for number, (_, keys, _) in enumerate(kernels) for key in keys}
    result_of: dict[int, str] = {}
    result = [node for key, node in by_key.items() if node["op"] == "input"]
    for number, (name, keys, facts) in enumerate(kernels):
        if not keys:
            continue
        main = by_key[max(keys, key=lambda key: (by_key[key]["flops"], key))]
        last = by_key[max(keys)]
        reads = {
            source
            for key in keys
            for operand, _ in by_key[key]["operands"]
            if int(operand) not in keys
            for source in _computed(int(operand), by_key, home)
        }
        reads |= {result_of[key] for key in keys if key in result_of}
        result_of[max(keys)] = f"k{number}"
        operands = [each for each in sorted(reads) if each != f"k{number}"]
        copied = ("kind", "layer", "rule", "equation", "side", "of", "source")
        result.append(
            {name: main[name] for name in copied if name in main}
            | {
                "id": f"k{number}",
                "op": name,
                "title": name,
                "types": last["types"],
                "attributes": [],
                "operands": [[operand, 0] for operand in operands],
                "members": [str(key) for key in keys],
                "main": main["id"],
                "live": max(by_key[key]["live"] for key in keys),
            }
            | facts
        )
    return result
