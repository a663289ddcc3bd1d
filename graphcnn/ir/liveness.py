"""Which nodes are needed, how often and until when values are read, and how much memory that takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from graphcnn.ir.graph import Graph, Input


def needed_nodes(graph: Graph, *, explained: bool = False) -> set[int]:
    """Return the keys of the nodes that outputs and updates need, and of the inputs.

    explained: the forward nodes that needed gradient nodes belong to are needed as well.
    """
    needed = {value.key for value in (*graph.roots(), *graph.inputs.values())}
    for key in range(len(graph) - 1, -1, -1):
        if key not in needed:
            continue
        node = graph.node(key)
        needed.update(operand.key for operand in node.operands)
        if explained and node.origin.forward is not None:
            needed.add(node.origin.forward)
    return needed


def use_counts(graph: Graph, among: Collection[int]) -> Counter[tuple[int, int]]:
    """Return how often each result (key, index) is read by these nodes or leaves the graph."""
    counts = Counter((value.key, value.index) for value in graph.roots())
    for key in among:
        counts.update((operand.key, operand.index) for operand in graph.node(key).operands)
    return counts


def last_reads(graph: Graph) -> dict[int, list[int]]:
    """Return for each node the nodes whose results nobody reads after it: what can be forgotten then.

    What leaves the graph is never forgotten. A node that nobody reads can be forgotten at once.
    """
    last = {key: key for key, _ in graph.items()}
    for key, node in graph.items():
        last.update((operand.key, key) for operand in node.operands)
    kept = {value.key for value in graph.roots()}
    found: dict[int, list[int]] = {}
    for key, reader in last.items():
        if key not in kept:
            found.setdefault(reader, []).append(key)
    return found


def live_bytes(graph: Graph, batch: int) -> dict[int, int]:
    """Return for each node how many bytes are alive while it is computed, at this batch size.

    The nodes are computed one after the other, in the order of their creation. The results of a node are
    alive from then on until the last node that reads any of them is done; what leaves the graph, to the end.
    Inputs are the caller's and are not counted. So the greatest number is what an interpreter needs that
    stores every value once and forgets it as soon as it can.
    """
    forgotten = last_reads(graph)
    sizes: dict[int, int] = {}
    alive, found = 0, {}
    for key, node in graph.items():
        sizes[key] = 0 if isinstance(node.op, Input) else sum(type.bytes(batch) for type in node.types)
        alive += sizes[key]
        found[key] = alive
        alive -= sum(sizes[old] for old in forgotten.get(key, ()))
    return found
