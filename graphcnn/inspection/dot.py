"""A graph in DOT, the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from graphcnn.inspection.checked import checked
from graphcnn.inspection.labels import FILLS, GREY, SIDES, STROKES, Side, shapes, shown, side, title
from graphcnn.ir import Graph, Input, Node


def graph_dot(graph: Graph) -> str:
    """Return the graph in DOT: a cluster per layer and side, with ops and shapes.

    Forward nodes are blue, gradients orange, updates green. Raises GraphError for a graph that is empty or
    broken.
    """
    return "\n".join(_lines(checked(graph)))


def _lines(graph: Graph) -> Iterator[str]:
    yield f"digraph {quoted(shown(graph.name))} {{"
    yield f'  graph [fontname="Helvetica", color="{GREY}", fontcolor="{GREY}"]'
    yield '  node [fontname="Helvetica", fontsize=11, shape=box, style="rounded,filled"]'
    yield f'  edge [color="{GREY}"]'
    for number, ((part, layer), keys) in enumerate(clusters(graph).items()):
        indent = "  "
        if layer:
            yield f"  subgraph cluster_{number} {{"
            yield f"    label={quoted(cluster_title(part, layer))}"
            indent = "    "
        for key in keys:
            node = graph.node(key)
            shape = ", shape=ellipse" if isinstance(node.op, Input) else ""
            colours = f'fillcolor="{FILLS[part]}", color="{STROKES[part]}"'
            yield f"{indent}n{key} [label={quoted(*label(node))}, {colours}{shape}]"
        if layer:
            yield "  }"
    for key, node in graph.items():
        for operand in node.operands:
            crosses = side(graph, graph.node(operand.key)) != side(graph, node)
            style = " [style=dashed]" if crosses else ""
            yield f"  n{operand.key} -> n{key}{style}"
    for number, (name, value) in enumerate((*graph.outputs.items(), *graph.updates.items())):
        yield f'  out{number} [label={quoted(shown(name))}, shape=plaintext, style="", fontcolor="{GREY}"]'
        yield f"  n{value.key} -> out{number}"
    yield "}\n"


def clusters(graph: Graph) -> dict[tuple[Side, str], list[int]]:
    """Return the keys of each side and layer, side by side, in the order in which the layers appear."""
    found: dict[tuple[Side, str], list[int]] = {}
    for key, node in graph.items():
        found.setdefault((side(graph, node), node.origin.layer), []).append(key)
    return dict(sorted(found.items(), key=lambda item: SIDES.index(item[0][0])))


def cluster_title(part: Side, layer: str) -> str:
    return shown(layer) if part == "forward" else f"{shown(layer)}: {part}"


def label(node: Node) -> list[str]:
    """Return the lines on a node: what it is, the rule that made it, and its shapes."""
    rule = shown(node.origin.rule) if node.origin.forward is not None else ""
    return [line for line in (title(node), rule, shapes(node)) if line]


def quoted(*lines: str) -> str:
    r"""Return lines as one quoted string; backslashes are doubled, so that no \N in a name takes effect."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
