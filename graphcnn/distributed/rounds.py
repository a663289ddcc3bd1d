"""In which messages sums go from rank to rank, so that all of them have the sum of all, added up by the tree.

A small sum goes as it is, in a message for each level of the tree: the fewest there can be. Of a large one
each rank adds up a part: at each level it sends half of what it has to the rank that it meets, and adds up
the other half; then the parts go back the same way. So a rank sends at most twice the sum, however many there
are, and each number is added up as before. (Rabenseifner, "Optimization of collective reduction operations",
ICCS 2004.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from graphcnn.arrays import Array
from graphcnn.distributed.transport import Traffic
from graphcnn.distributed.tree import meetings, shards_of

LARGE: Final = 32 * 1024
"""Bytes from which on a sum goes in halves, on four ranks and more."""
UNIT: Final = 64
"""A sum is parted at multiples of so many bytes: a line of the caches."""

NONE: Final = range(0)

Add: TypeAlias = Callable[[int, Array, Array, bool], None]
"""`add(begin, own, other, is_left)` adds bytes of another rank to a rank's own ones, in place, which lie at
`begin` of the sum; these come first if is_left."""


@dataclass(frozen=True, slots=True)
class Round:
    """The messages of one rank at one level of the tree.

    sent: the bytes of the sum that go to each of the readers. received: those that come from the partner.
    They are added, this rank's own first if is_left, or else taken as they are.
    """

    readers: tuple[int, ...] = ()
    sent: range = field(default=NONE)
    partner: int = 0
    received: range = field(default=NONE)
    adds: bool = False
    is_left: bool = False


@functools.lru_cache(maxsize=1024)  # the same sums go in every step
def rounds(rank: int, ranks: int, shards: int, size: int) -> tuple[Round, ...]:
    """Return the messages of a sum of so many bytes, in order. All ranks have as many rounds."""
    if goes_in_halves(ranks, shards, size):
        return tuple(_in_halves(rank, ranks, size))
    whole = range(size)
    found = [
        Round(
            meeting.readers if meeting.sends else (),
            whole if meeting.sends else NONE,
            meeting.partner,
            whole if meeting.receives else NONE,
            meeting.adds,
            meeting.is_left,
        )
        for meeting in meetings(rank, ranks, shards)
    ]
    alone = (ranks - 1).bit_length() - len(found)  # while others meet within larger groups
    return *[Round()] * alone, *found


def goes_in_halves(ranks: int, shards: int, size: int) -> bool:
    """Whether each rank adds up a part: of a large sum, on a power of two of ranks that all have shards."""
    is_even = ranks >= 4 and not ranks & (ranks - 1)
    return is_even and size >= LARGE and bool(shards_of(ranks - 1, ranks, shards))


def _in_halves(rank: int, ranks: int, size: int) -> list[Round]:
    """Return the messages by which a rank comes to its part of the sum, and then to the others' parts."""
    adding, returning = [], []
    first, last = 0, ranks  # the parts that this rank has, of as many as there are ranks
    step = 1
    while step < ranks:
        middle, is_left = (first + last) // 2, not rank & step
        halves = _bytes(first, middle, ranks, size), _bytes(middle, last, ranks, size)
        own, other = halves if is_left else halves[::-1]
        adding.append(Round((rank ^ step,), other, rank ^ step, own, adds=True, is_left=is_left))
        returning.append(Round((rank ^ step,), own, rank ^ step, other))
        first, last = (first, middle) if is_left else (middle, last)
        step *= 2
    return adding + returning[::-1]


def _bytes(first: int, last: int, parts: int, size: int) -> range:
    begin, end = (part * size // parts // UNIT * UNIT if part < parts else size for part in (first, last))
    return range(begin, end)


def messages(
    rank: int, ranks: int, total: Array, shards: int, add: Add, spare: Array | None = None
) -> Iterator[Traffic]:
    """Yield the messages of a sum, round by round; who asks for the next one has waited for those before.

    total: what the rank has summed up of its shards, as bytes, and afterwards the sum of all ranks. spare: as
    many bytes for what comes from others; by default they are made.
    """
    if spare is None:
        spare = np.empty_like(total)
    for each in rounds(rank, ranks, shards, total.size):
        sent, place = (total[part.start : part.stop] for part in (each.sent, each.received))
        into = spare[: place.size] if each.adds else place
        sends = [(reader, sent) for reader in each.readers] if each.sent else []
        yield sends, [(each.partner, into)] if each.received else []
        if each.adds:
            add(each.received.start, place, into, each.is_left)
