"""What can be shown: a graph that has nodes and obeys the rules of the IR."""

from __future__ import annotations

from graphcnn.errors import GraphError
from graphcnn.ir import Graph, verify


def checked(graph: Graph) -> Graph:
    """Return the graph if it can be shown.

    Raises GraphError for a graph without nodes, and for one that was changed behind its back, through
    `graph.nx`, such that its edges no longer follow from its operands or run in a circle.
    """
    if not isinstance(graph, Graph):
        raise GraphError(
            f"a graph is shown, not {type(graph).__name__}",
            mend="model.gradient_graph, or gcn.Network(...).graph",
        )
    if not len(graph):
        raise GraphError(
            f"graph {graph.name!r:.60} is empty: it has no nodes to show", mend="add nodes to it first"
        )
    return verify(graph)
