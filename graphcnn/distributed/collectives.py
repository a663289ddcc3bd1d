"""What all ranks do together with what carries arrays: sums, rows and bytes.

Every rank calls the same functions in the same order, and gets what all others get.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphcnn.arrays import Array
from graphcnn.distributed.rounds import LARGE, messages
from graphcnn.distributed.transport import Message, Pending, Traffic, Transport
from graphcnn.distributed.tree import leaf_count, shards_of


def tree_sum(part: Callable[[int], Array], owned: range, shards: int) -> Array | None:
    """Return the sum of a rank's own shards, added up as the tree says; None where it has none.

    part: returns the sum of one shard, of those that are owned.
    """
    return _below(part, owned, shards, 0, leaf_count(shards))


def _below(part: Callable[[int], Array], owned: range, shards: int, begin: int, end: int) -> Array | None:
    """Return the sum of the owned shards below the node of the tree that has these leaves."""
    if end <= owned.start or begin >= owned.stop:
        return None
    if end - begin == 1:
        return part(begin)
    middle = (begin + end) // 2
    left = _below(part, owned, shards, begin, middle)
    right = _below(part, owned, shards, middle, end)
    if left is None or right is None:
        return right if left is None else left
    return np.asarray(left + right)


def all_reduce(transport: Transport, own: Array | None, like: Array, shards: int) -> Array:
    """Return the sum of all ranks' sums, added up as the tree over so many shards says.

    own: what a rank has summed up of its own shards; None where it has none. like: an array of the shape and
    element type of the sum, whose numbers are not looked at.
    """
    total = np.zeros(like.shape, like.dtype) if own is None else np.array(own, order="C")
    numbers = total.reshape(-1).view(np.uint8)

    def add(begin: int, own: Array, other: Array, is_left: bool) -> None:
        parts = own.view(like.dtype), other.view(like.dtype)
        np.add(*(parts if is_left else parts[::-1]), out=parts[0])

    for traffic in messages(transport.rank, transport.size, numbers, shards, add):
        transport.begin(*traffic).wait()
    return total


def all_gather(transport: Transport, rows: Array, begins: list[int]) -> None:
    """Give all ranks all rows of an array, each of which one rank has; they are put in their places.

    rows: an array whose first axis counts rows, of one size on all ranks, in one piece of memory. begins: of
    each rank the first row that it has, and behind the last one, how many there are.
    """
    transport.begin(*gathered(transport.rank, rows, begins)).wait()


def gathered(rank: int, rows: Array, begins: list[int]) -> Traffic:
    """Return the messages of `all_gather`."""
    parts = [rows[begin:end] for begin, end in itertools.pairwise(begins)]
    others = [other for other in range(len(parts)) if other != rank]
    sends = [(other, parts[rank]) for other in others if parts[rank].size]
    return sends, [(other, parts[other]) for other in others if parts[other].size]


def together(transport: Transport, several: Sequence[Iterator[Traffic]]) -> Iterator[Pending]:
    """Yield the messages of several sums and gatherings, those of each round begun at once.

    Who asks for the next round has waited for the one before.
    """
    for round in itertools.zip_longest(*several, fillvalue=((), ())):
        sends, receives = zip(*round, strict=True)
        yield transport.begin([*itertools.chain(*sends)], [*itertools.chain(*receives)])


def broadcast_arrays(transport: Transport, told: Sequence[Message]) -> Iterator[Pending]:
    """Yield the messages that give arrays to all ranks, round by round, as `rounds.messages` does.

    told: each array, in one piece of memory, with the rank that has it; on the others it is filled. A large
    one goes to each of them in part, and these tell one another their parts: nobody sends more than it has.
    (Barnett et al., "Building a High-Performance Collective Communication Library", SC 1994.)
    """
    here, ranks = transport.rank, range(transport.size)
    first, second = _Round(), _Round()
    for root, array in told:
        numbers = array.reshape(-1).view(np.uint8)
        others = [rank for rank in ranks if rank != root]
        if numbers.size < LARGE or len(others) < 2:
            first.add(here, root, others, numbers)
            continue
        ends = [numbers.size * place // len(others) for place in range(len(others) + 1)]
        for place, owner in enumerate(others):
            part = numbers[ends[place] : ends[place + 1]]
            first.add(here, root, [owner], part)
            second.add(here, owner, [rank for rank in others if rank != owner], part)
    for round in (first, second):
        if round.sends or round.receives:
            yield transport.begin(round.sends, round.receives)


@dataclass
class _Round:
    """The messages of one rank that are under way together."""

    sends: list[Message] = field(default_factory=list)
    receives: list[Message] = field(default_factory=list)

    def add(self, here: int, sender: int, readers: Sequence[int], part: Array) -> None:
        if here == sender:
            self.sends += [(reader, part) for reader in readers]
        elif here in readers:
            self.receives.append((sender, part))


def row_begins(ranks: int, bounds: list[int]) -> list[int]:
    """Return of each rank the first of its samples, and behind the last one, how many there are.

    bounds: of each shard the first of its samples, and behind the last one, how many there are.
    """
    shards = len(bounds) - 1
    begins = [0]
    for rank in range(ranks):
        owned = shards_of(rank, ranks, shards)
        begins.append(bounds[owned.stop] if owned else begins[-1])
    return begins


def broadcast(transport: Transport, data: bytes | None, *, root: int = 0) -> bytes:
    """Return on all ranks the bytes that one has. data: of the root; of the others it is not looked at."""
    others = [rank for rank in range(transport.size) if rank != root]
    if transport.rank == root:
        assert data is not None
        for message in (_size_of(data), np.frombuffer(data, np.uint8)):
            transport.begin([(rank, message) for rank in others], []).wait()
        return data
    return _received(transport, root)


def gather(transport: Transport, data: bytes, *, root: int = 0) -> list[bytes]:
    """Return on the root the bytes of each rank, in their order; on the others an empty list."""
    if transport.rank == root:
        return [data if rank == root else _received(transport, rank) for rank in range(transport.size)]
    for message in (_size_of(data), np.frombuffer(data, np.uint8)):
        transport.begin([(root, message)], []).wait()
    return []


def barrier(transport: Transport) -> None:
    """Return when all ranks have come here."""
    gather(transport, b"")
    broadcast(transport, b"")


def _size_of(data: bytes) -> Array:
    return np.array([len(data)], np.int64)


def _received(transport: Transport, source: int) -> bytes:
    size = np.zeros(1, np.int64)
    transport.begin([], [(source, size)]).wait()
    data = np.empty(int(size[0]), np.uint8)
    transport.begin([], [(source, data)]).wait()
    return data.tobytes()
