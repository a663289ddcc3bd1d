"""A graph as a Mermaid flowchart, which GitHub, GitLab and many notebooks draw from Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from graphcnn.inspection.checked import checked
from graphcnn.inspection.dot import cluster_title, clusters, label
from graphcnn.inspection.labels import FILLS, SIDES, STROKES, shown, side
from graphcnn.ir import Graph, Input

_PLAIN = frozenset(" .,:-+*/=()[]·Σδᵀ½²")


def graph_mermaid(graph: Graph) -> str:
    """Return the graph in Mermaid: a subgraph per layer and side, with ops and shapes.

    Forward nodes are blue, gradients orange, updates green; what crosses over is dotted. Raises GraphError
    for a graph that is empty or broken.
    """
    return "\n".join(_lines(checked(graph)))


def _lines(graph: Graph) -> Iterator[str]:
    yield "flowchart TB"
    for part in SIDES:
        yield f"  classDef {part} fill:{FILLS[part]},stroke:{STROKES[part]},color:#1f2328"
    for number, ((part, layer), keys) in enumerate(clusters(graph).items()):
        indent = "  "
        if layer:
            yield f'  subgraph layer{number}["{escaped(cluster_title(part, layer))}"]'
            indent = "    "
        for key in keys:
            node = graph.node(key)
            text = "<br/>".join(escaped(line) for line in label(node))
            opening, closing = ('(["', '"])') if isinstance(node.op, Input) else ('["', '"]')
            yield f"{indent}n{key}{opening}{text}{closing}:::{part}"
        if layer:
            yield "  end"
    for key, node in graph.items():
        for operand in node.operands:
            crosses = side(graph, graph.node(operand.key)) != side(graph, node)
            yield f"  n{operand.key} {'-.->' if crosses else '-->'} n{key}"
    for number, (name, value) in enumerate((*graph.outputs.items(), *graph.updates.items())):
        yield f'  out{number}[/"{escaped(shown(name))}"/]'
        yield f"  n{value.key} --> out{number}"
    yield ""


def escaped(text: str) -> str:
    """Return text in which all but letters, digits and harmless signs are Mermaid's character codes."""
    return "".join(c if c in _PLAIN or c.isalnum() else f"#{ord(c)};" for c in text)
