"""What a picture of a graph shows: boxes in bands, a band per layer and a column per side, and the edges.

A small graph is shown node by node; parameters, numbers and broadcasts are then words on the boxes that use
them. A larger one is shown layer by layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx

from graphcnn.inspection.labels import Side, shapes, shown, side, title
from graphcnn.ir import BATCH, Graph, Input, Node, Value, format_call, format_shape
from graphcnn.ops import Broadcast, Cast, Constant, Count
from graphcnn.transform.differentiate import PATHS

MOST_NODES = 24
"""So many boxes in a column are still a picture; more nodes are shown by layer."""

MOST_BANDS = 60
"""More layers than this are shown by the scope that is in front of their names, where there is one."""


@dataclass(eq=False)
class Box:
    """One node, or the nodes of one layer on one side. lines: below the title. about: for the tooltip."""

    side: Side
    title: str
    lines: list[str] = field(default_factory=list)
    about: str = ""


@dataclass(eq=False)
class Edge:
    """A value on its way from the box that makes it to one that uses it."""

    source: Box
    target: Box
    shape: str


@dataclass(eq=False)
class Band:
    """A layer: its boxes on each side, in the order of the flow."""

    name: str
    boxes: dict[Side, list[Box]] = field(default_factory=dict)


@dataclass(eq=False)
class Picture:
    """Bands from top to bottom. by_layer: whether a box is a layer."""

    name: str
    bands: list[Band]
    edges: list[Edge]
    by_layer: bool


def picture(graph: Graph, by_layer: bool | None = None) -> Picture:
    """Return what to draw. by_layer: None, the default, decides by the size of the graph."""
    if by_layer is None:
        boxes = Counter(side(graph, node) for _, node in graph.items() if _is_visible(node))
        has_layers = any(node.origin.layer for _, node in graph.items())
        by_layer = has_layers and max(boxes.values(), default=0) > MOST_NODES
    return _by_layer(graph) if by_layer else _by_node(graph)


def _is_visible(node: Node) -> bool:
    op = node.op
    if isinstance(op, Input):
        return op.role == "data" and BATCH in op.type.shape and op.label.partition(".")[0] != "target"
    return not isinstance(op, Constant | Count | Broadcast | Cast)


def _by_node(graph: Graph) -> Picture:
    boxes: dict[int, Box] = {}
    edges: list[Edge] = []
    outputs = {value: name for name, value in graph.outputs.items()}
    updates = {value: name for name, value in graph.updates.items()}
    visible = {key for key, node in graph.items() if _is_visible(node)}
    for key, node in graph.items():
        if visible and key not in visible:
            continue
        box = boxes[key] = Box(side(graph, node), title(node), about=_about(graph, key))
        words = []
        for operand in node.operands:
            source = _made_by(graph, operand)
            if source.key in boxes:
                edges.append(Edge(boxes[source.key], box, format_shape(source.type.shape)))
            else:
                words.append(_word(graph.node(source.key)))
        rule = shown(node.origin.rule) if box.side == "gradient" else ""
        leaving = [f"→ {shown(outputs[v])}" for v in graph.results(key) if v in outputs]
        leaving += [f"→ new {shown(updates[v])}" for v in graph.results(key) if v in updates]
        made = shapes(node) if leaving and not node.types[0].is_scalar else ""
        told = [rule, ", ".join(filter(None, words)), made]
        box.lines += [line for line in (" · ".join(filter(None, told)), *leaving) if line]
    bands = _bands((graph.node(key), box) for key, box in boxes.items())
    picture = Picture(shown(graph.name), bands, edges, by_layer=False)
    _order(picture)
    return picture


def _made_by(graph: Graph, value: Value) -> Value:
    """Return the value behind broadcasts and casts."""
    node = graph.node(value.key)
    while isinstance(node.op, Broadcast | Cast) and not _is_word(graph, node.operands[0]):
        value = node.operands[0]
        node = graph.node(value.key)
    return node.operands[0] if isinstance(node.op, Broadcast | Cast) else value


def _is_word(graph: Graph, value: Value) -> bool:
    node = graph.node(value.key)
    return isinstance(node.op, Constant | Count) or (isinstance(node.op, Input) and not _is_visible(node))


def _word(node: Node) -> str:
    """Return how a value is called that has no box."""
    if isinstance(node.op, Constant):
        return f"{node.op.value:.6g}"
    if isinstance(node.op, Input):
        return shown(node.op.label)
    return "" if isinstance(node.op, Count) else title(node)


def _about(graph: Graph, key: int) -> str:
    """Return a node in the text form, and where it comes from."""
    origin = graph.node(key).origin
    place = f"{shown(origin.file.rpartition('/')[2])}:{origin.line}" if origin.file else ""
    of = f"of %{origin.forward}" if origin.forward is not None else ""
    told = " | ".join(filter(None, (shown(origin.layer), place, shown(origin.rule), of)))
    return "\n".join(filter(None, (shown(format_call(graph, key), 300), told)))


def _by_layer(graph: Graph) -> Picture:
    names = {key: _band_name(node) for key, node in graph.items()}
    if len(set(names.values())) > MOST_BANDS:
        names = {key: name.partition(".")[0] for key, name in names.items()}
    members: dict[tuple[str, Side], list[int]] = {}
    for key, node in graph.items():
        if not isinstance(node.op, Input) or _is_visible(node):
            members.setdefault((names[key], side(graph, node)), []).append(key)
    boxes = {place: _layer_box(graph, place, keys) for place, keys in members.items()}
    found: dict[tuple[Box, Box], Edge] = {}
    for key, node in graph.items():
        target = boxes.get((names[key], side(graph, node)))
        for operand in node.operands:
            if _is_word(graph, operand):
                continue
            source = boxes.get((names[operand.key], side(graph, graph.node(operand.key))))
            if source is not None and target is not None and source is not target:
                edge = Edge(source, target, format_shape(operand.type.shape))
                found.setdefault((source, target), edge)
    by_name: dict[str, Band] = {}
    for (name, part), box in boxes.items():
        by_name.setdefault(name, Band(name)).boxes[part] = [box]
    return Picture(shown(graph.name), list(by_name.values()), list(found.values()), by_layer=True)


def _band_name(node: Node) -> str:
    return node.origin.layer or (node.op.label if isinstance(node.op, Input) else "")


def _layer_box(graph: Graph, place: tuple[str, Side], keys: list[int]) -> Box:
    name, part = place
    nodes = [graph.node(key) for key in keys]
    telling = [node for node in nodes if _is_visible(node)]
    if part == "forward":
        words = [title(node) for node in telling]
        made = shapes(nodes[-1])
    else:
        words = [node.origin.rule.partition(", with")[0] for node in telling]
        words.sort(key=lambda rule: (rule == PATHS, not rule.startswith("Eq.")))
        made = f"{len(nodes)} nodes"
    told = ", ".join(dict.fromkeys(shown(word) for word in words if word))
    about = "\n".join(_about(graph, key).partition("\n")[0] for key in keys[:12])
    return Box(part, shown(name) or "other nodes", [told] if told and told != name else [], about or made)


def _bands(placed: Iterable[tuple[Node, Box]]) -> list[Band]:
    found: dict[str, Band] = {}
    for node, box in placed:
        name = _band_name(node)
        shows = shown(node.origin.layer)
        found.setdefault(name, Band(shows)).boxes.setdefault(box.side, []).append(box)
    return list(found.values())


def _order(picture: Picture) -> None:
    """Order the boxes of each band such that what feeds a box stands right before it.

    What leaves the band comes last, next to where it goes; of several operands the one with the longest way.
    """
    flow = networkx.DiGraph()
    flow.add_nodes_from(box for band in picture.bands for boxes in band.boxes.values() for box in boxes)
    flow.add_edges_from((edge.source, edge.target) for edge in picture.edges)
    for band in picture.bands:
        for part, boxes in band.boxes.items():
            band.boxes[part] = _chained(flow, boxes)


def _chained(flow: networkx.DiGraph, boxes: list[Box]) -> list[Box]:
    inside = flow.subgraph(boxes)
    depth: dict[Box, int] = {}
    for box in boxes:  # in the order of their creation, operands first
        depth[box] = 1 + max((depth[operand] for operand in inside.predecessors(box)), default=0)
    leaving = {
        box for box in boxes if any(user.side == box.side and user not in inside for user in flow[box])
    }
    ends = [box for box in boxes if not inside[box] or box in leaving]
    placed: dict[Box, None] = {}
    for end in sorted(ends, key=lambda box: box in leaving):
        waiting = [(end, False)]
        while waiting:
            box, is_fed = waiting.pop()
            if box in placed:
                continue
            if is_fed:
                placed[box] = None
                continue
            waiting.append((box, True))
            operands = sorted(inside.predecessors(box), key=lambda operand: -depth[operand])
            waiting += [(operand, False) for operand in operands]
    return list(placed)
