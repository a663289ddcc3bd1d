"""What can be shown: a graph that has nodes and obeys the rules of the IR."""

from __future__ import annotations

import networkx

from graphcnn.errors import GraphError
from graphcnn.ir import Graph, verify

READ_ONLY = "graph.nx is for reading; add nodes with Graph.add"


def checked(graph: Graph) -> Graph:
    """Return the graph if it can be shown.

    Raises GraphError for a graph without nodes, and for one that was changed behind its back, through
    `graph.nx`, such that its edges run in a circle or no longer follow from its operands.
    """
    if not isinstance(graph, Graph):
        raise GraphError(
            f"a graph is shown, not {type(graph).__name__}",
            mend="model.gradient_graph, or gcn.Network(...).graph",
        )
    if not len(graph):
        raise GraphError(f"graph {graph.name!r:.60} is empty: it has no nodes to show")
    if networkx.is_directed_acyclic_graph(graph.nx):
        return verify(graph)
    circle = networkx.find_cycle(graph.nx)
    path = " → ".join(f"%{key}" for key in (*(source for source, *_ in circle), circle[0][0]))
    raise GraphError(
        f"graph {graph.name!r:.60} was edited: its edges run in a circle", facts=[path], mend=READ_ONLY
    )
