"""What one rank of several computes of a node, and what it tells the others.

The batch is cut into shards by its size alone, and a rank computes what belongs to samples shard by shard, so
that each kernel is given arrays of the same sizes on any number of ranks, and returns the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from graphcnn.arrays import Array
from graphcnn.distributed.collectives import all_gather, all_reduce, broadcast_arrays, row_begins, tree_sum
from graphcnn.distributed.transport import Transport
from graphcnn.distributed.tree import shards_of
from graphcnn.errors import BackendError
from graphcnn.ir import Graph, Node, TensorType
from graphcnn.ops import AllGather, AllReduce, BroadcastFrom
from graphcnn.transform.distribute import Held, held
from graphcnn_numpy.applying import apply, no_memory
from graphcnn_numpy.kernels import SUMS_OF_SAMPLES

SHARDS: Final = 16
"""Into so many shards a batch is cut; one of fewer samples into as many as it has."""


@dataclass(frozen=True, slots=True)
class OwnSamples:
    """The samples of a rank: an array for each of its shards."""

    shards: tuple[Array, ...]


@dataclass(slots=True)
class PartialSum:
    """The sum over the samples of a rank, None where it has none; and the results, once ranks have met."""

    total: Array | None
    results: tuple[Array, ...] | None = None


Value: TypeAlias = Array | OwnSamples | PartialSum


class Sharing:
    """One rank's part of a call."""

    def __init__(self, graph: Graph, ranks: Transport, batch: int) -> None:
        self._graph, self._ranks, self._batch = graph, ranks, batch
        self._bounds = _bounds(batch)
        self._owned = shards_of(ranks.rank, ranks.size, len(self._bounds) - 1)

    def compute(self, node: Node, operands: Sequence[Value]) -> tuple[Value, ...]:
        """Return what this rank has of a node's results."""
        if isinstance(node.op, AllReduce):
            return (self._reduced(node, operands[0]),)
        if isinstance(node.op, AllGather):
            return (self._gathered(node.types[0], operands[0]),)
        if isinstance(node.op, BroadcastFrom):
            return (self._broadcast(node.op.rank, node.types[0], operands[0]),)
        kind = held(node)
        if kind is Held.OWN:
            shards = [self._of_shard(node, operands, place) for place in range(len(self._owned))]
            return tuple(OwnSamples(tuple(parts)) for parts in zip(*shards, strict=True)) or tuple(
                OwnSamples(()) for _ in node.types
            )
        if kind is Held.PART:
            return (self._summed(node, operands),) * len(node.types)
        arrays = [
            _shape_of(operand.type, self._batch) if isinstance(each, OwnSamples | PartialSum) else each
            for each, operand in zip(operands, node.operands, strict=True)
        ]
        return apply(node, arrays, self._batch)

    def _of_shard(self, node: Node, operands: Sequence[Value], place: int) -> tuple[Array, ...]:
        arrays, samples = self._operands(node, operands, place)
        return apply(node, arrays, samples)

    def _operands(self, node: Node, operands: Sequence[Value], place: int) -> tuple[list[Array], int]:
        """Return the operands for one of the rank's own shards, and how many samples it has."""
        first, last = (self._bounds[self._owned[place] + end] for end in (0, 1))
        arrays = []
        for operand, value in zip(node.operands, operands, strict=True):
            if isinstance(value, OwnSamples):
                arrays.append(value.shards[place])
            else:
                assert not isinstance(value, PartialSum)
                arrays.append(value[first:last] if operand.type.has_batch else value)
        return arrays, last - first

    def _summed(self, node: Node, operands: Sequence[Value]) -> PartialSum:
        part = SUMS_OF_SAMPLES[type(node.op)].part

        def of_shard(shard: int) -> Array:
            arrays, samples = self._operands(node, operands, shard - self._owned.start)
            try:
                found: Array = part(node.op, arrays, samples)
            except MemoryError as error:
                raise no_memory(node, samples, error) from None
            return found

        return PartialSum(tree_sum(of_shard, self._owned, len(self._bounds) - 1))

    def _reduced(self, reduce: Node, own: Value) -> Array:
        """Return a result of a sum over the samples of all ranks."""
        assert isinstance(own, PartialSum)
        (operand,) = reduce.operands
        node = self._graph.node(operand.key)
        if own.results is None:
            summed = node.op.sum_type(node.types)
            like = np.empty(summed.concrete(self._batch), summed.dtype)
            total = all_reduce(self._ranks, own.total, like, len(self._bounds) - 1)
            shape = node.operands[0].type.concrete(self._batch)
            own.results = SUMS_OF_SAMPLES[type(node.op)].end(node.op, total, shape)
        return own.results[operand.index].astype(operand.type.dtype)

    def _broadcast(self, root: int, type: TensorType, own: Value | None) -> Array:
        """Return what one rank has computed."""
        here = self._ranks.rank == root
        array = np.array(own, order="C") if here else np.empty(type.concrete(self._batch), type.dtype)
        for messages in broadcast_arrays(self._ranks, [(root, array)]):
            messages.wait()
        return array

    def _gathered(self, type: TensorType, own: Value) -> Array:
        if not isinstance(own, OwnSamples):
            assert not isinstance(own, PartialSum)
            return own
        rows = np.empty(type.concrete(self._batch), type.dtype)
        for shard, samples in zip(self._owned, own.shards, strict=True):
            rows[self._bounds[shard] : self._bounds[shard + 1]] = samples
        all_gather(self._ranks, rows, row_begins(self._ranks.size, self._bounds))
        return rows


def _bounds(batch: int) -> list[int]:
    """Return of each shard the first of its samples, and behind the last one, how many there are."""
    count = min(SHARDS, batch)
    return [shard * batch // count for shard in range(count + 1)]


def own_samples(ranks: Transport, batch: int) -> range:
    """Return which samples of a batch of this size are a rank's own."""
    return range(*row_begins(ranks.size, _bounds(batch))[ranks.rank : ranks.rank + 2])


def _shape_of(type: TensorType, batch: int) -> Array:
    """Return an array of a type, of which nothing is read but the shape."""
    return np.broadcast_to(np.zeros((), type.dtype), type.concrete(batch))


def require_sums(graph: Graph) -> None:
    """Raise BackendError for a sum over samples that cannot be added up by ranks."""
    for _, node in graph.items():
        if node.sums_samples and type(node.op) not in SUMS_OF_SAMPLES:
            raise BackendError(
                f"backend 'numpy' cannot add up {node.op.name} of several ranks",
                mend="leave ops of graphcnn their kernels, and leave out sums_samples in an op of your own",
            ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)
