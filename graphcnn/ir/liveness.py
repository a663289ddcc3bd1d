"""How much memory a graph needs, node by node."""

from __future__ import annotations

from graphcnn.ir.graph import Graph, Input


def live_bytes(graph: Graph, batch: int) -> dict[int, int]:
    """Return for each node how many bytes are alive while it is computed, at this batch size.

    The nodes are computed one after the other, in the order of their creation. The results of a node are
    alive from then on until the last node that reads any of them is done; what leaves the graph, to the end.
    Inputs are the caller's and are not counted. So the greatest number is what an interpreter needs that
    stores every value once and forgets it as soon as it can.
    """
    last_use = {key: key for key, _ in graph.items()}
    for key, node in graph.items():
        last_use.update((operand.key, key) for operand in node.operands)
    kept = {value.key for value in graph.roots()}
    dropped: dict[int, int] = {}
    alive, found = 0, {}
    for key, node in graph.items():
        size = 0 if isinstance(node.op, Input) else sum(type.bytes(batch) for type in node.types)
        alive += size
        if key not in kept:
            dropped[last_use[key]] = dropped.get(last_use[key], 0) + size
        found[key] = alive
        alive -= dropped.pop(key, 0)
    return found
