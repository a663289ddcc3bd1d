"""How many bytes go between ranks that share the samples of a batch."""

from __future__ import annotations

from graphcnn.distributed.rounds import rounds
from graphcnn.ir import Graph
from graphcnn.ops import AllGather, AllReduce, BroadcastFrom


def sent_bytes(graph: Graph, batch: int, ranks: int) -> dict[int, int]:
    """Return for each message of a distributed graph the bytes that a rank sends: of ranks, that with most.

    batch: the number of samples of all ranks, which have as many each. A sum goes as it is before it is
    rounded (`graphcnn.distributed.rounds`), once for all results that are made of it; samples go to all other
    ranks, and so do parameters that one rank has computed: of these it is what ranks send on average, since
    each computes some.
    """
    own = -(-batch // ranks)
    found: dict[int, int] = {}
    met = set[int]()
    for key, node in graph.items():
        if isinstance(node.op, AllReduce):
            (part,) = node.operands
            summed = graph.node(part.key)
            found[key] = 0 if part.key in met else _sent(ranks, summed.op.sum_type(summed.types).bytes(batch))
            met.add(part.key)
        elif isinstance(node.op, AllGather):
            found[key] = (ranks - 1) * node.types[0].bytes(own)
        elif isinstance(node.op, BroadcastFrom):
            found[key] = -(-(ranks - 1) * node.types[0].bytes(batch) // ranks)
    return found


def _sent(ranks: int, size: int) -> int:
    """Return what the rank sends that sends most, for a sum of so many bytes."""
    every = range(ranks) if ranks & (ranks - 1) else range(1)  # on a power of two all send the same
    return max(
        sum(len(each.readers) * len(each.sent) for each in rounds(rank, ranks, ranks, size)) for rank in every
    )
