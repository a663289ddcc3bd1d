"""In which order sums over the samples of a batch are added up: by a balanced tree over the shards.

A batch is cut into shards by its size alone, and each shard has sums of its own. Shards 0 and 1 are added,
2 and 3, and so on; then these sums, neighbours with neighbours, until one is left. A rank has the shards
below one node of the tree, so it adds these up by itself, and the ranks' sums are added above: the same
additions for any number of ranks, and the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass


@functools.lru_cache(maxsize=1024)  # asked for each rank in every batch
def shards_of(rank: int, ranks: int, shards: int) -> range:
    """Return the shards of a rank; none where there are fewer than ranks.

    Powers of two share evenly; of other numbers, some ranks have twice the shards of others.
    """
    leaves = _leaves(0, ranks, 0, leaf_count(shards))
    owned = {first: range(min(begin, shards), min(end, shards)) for first, begin, end in leaves}
    return owned.get(rank, range(0))


@dataclass(frozen=True)
class Meeting:
    """Two groups of ranks that have each added up their own, as one rank of them sees it.

    partner: the rank of the other group from which this one receives. readers: those to which it sends.
    is_left: whether this rank's sum is the left one. adds: whether both have one; else it is taken as it is.
    sends, receives: whether there is anything on this side, and on the other.
    """

    partner: int
    readers: tuple[int, ...]
    is_left: bool
    sends: bool
    receives: bool

    @property
    def adds(self) -> bool:
        return self.sends and self.receives


def meetings(rank: int, ranks: int, shards: int) -> list[Meeting]:
    """Return with whom a rank exchanges sums, in order; after the last one it has the sum of all shards."""
    found = []
    for first, middle, last in reversed(list(_groups_of(rank, 0, ranks))):
        left, right = range(first, middle), range(middle, last)
        own, other = (left, right) if rank < middle else (right, left)
        place = own.index(rank)
        readers = tuple(other[n] for n in range(len(other)) if min(n, len(own) - 1) == place)
        sends, receives = (any(shards_of(each, ranks, shards) for each in group) for group in (own, other))
        partner = other[min(place, len(other) - 1)]
        found.append(Meeting(partner, readers, rank < middle, sends, receives))
    return found


def _groups_of(rank: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Yield the groups that a rank is in, from that of all ranks down: first, middle, behind the last."""
    while last - first > 1:
        middle = first + -(-(last - first) // 2)
        yield first, middle, last
        first, last = (first, middle) if rank < middle else (middle, last)


def _leaves(first: int, last: int, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the ranks that have shards, and which, of a group of ranks and its node of the tree."""
    if last - first == 1 or end - begin == 1:
        yield first, begin, end
        return
    middle, half = first + -(-(last - first) // 2), (begin + end) // 2
    yield from _leaves(first, middle, begin, half)
    yield from _leaves(middle, last, half, end)


def leaf_count(shards: int) -> int:
    """Return the least power of two of so many leaves."""
    return 1 << max(0, shards - 1).bit_length()
