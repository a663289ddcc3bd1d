"""What machine code needs from whoever calls it: which arrays, in which order, and how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

ARENA: Final = -1


class Sums(NamedTuple):
    """Partial sums that are there behind one turn, and that another awaits (`Plan.turns`): from where to
    where in the memory of a shard, in bytes, and whether they are in float64."""

    turn: int
    awaited: int
    begin: int
    end: int
    is_double: bool


class Rows(NamedTuple):
    """Samples that are there behind one turn, and that another, or the caller, awaits.

    slot: of the caller's array, or ARENA, with the offset of a sample there. bytes: of each sample.
    """

    turn: int
    awaited: int
    slot: int
    offset: int
    bytes: int


class Updating(NamedTuple):
    """A kernel that works for updates: its number, those that its results serve, and whether they serve
    nothing else; and the parameters and states that it reads or writes."""

    kernel: int
    serves: tuple[str, ...]
    serves_these_alone: bool
    touches: tuple[str, ...]


@dataclass(frozen=True)
class Exchanges:
    """What ranks exchange in a call, if several share a batch.

    whole: the inputs with a batch of which every rank needs all samples. updated: of each update, the turn of
    the kernel that writes it. kernels: how many there are in all. updating: those of the whole that work for
    updates, which one rank may compute for all.
    """

    sums: tuple[Sums, ...] = ()
    rows: tuple[Rows, ...] = ()
    whole: tuple[str, ...] = ()
    updated: Mapping[str, int] = field(default_factory=dict)
    kernels: int = 0
    updating: tuple[Updating, ...] = ()

    @property
    def turns(self) -> int:
        """How many turns there are until all is exchanged."""
        awaited = [sums.awaited for sums in self.sums] + [rows.awaited for rows in self.rows]
        return max(awaited, default=0)

    @staticmethod
    def loaded(content: Mapping[str, Any]) -> Exchanges:
        """Return what JSON holds of `dataclasses.asdict`."""
        return Exchanges(
            tuple(Sums(*sums) for sums in content["sums"]),
            tuple(Rows(*rows) for rows in content["rows"]),
            tuple(content["whole"]),
            content["updated"],
            content["kernels"],
            tuple(Updating(*each) for each in content["updating"]),
        )


@dataclass(frozen=True)
class Interface:
    """All that a call has to know of a program; the program itself need not be there.

    slots: what each of the caller's arrays is: ("input" | "output" | "update", label).
    labels: inputs that must be labels, and of how many classes.
    block: samples that are carried through a stage together. is_divided: whether a large batch goes through
    in parts.
    prepared: how many stages at the begin make of parameters and states alone what the others read.
    work, work_per_sample: what a call does, in FLOPs and what takes as long.
    exchanges: what ranks tell one another.
    In bytes: arena, arena_per_sample: what is kept for the whole call. scratch: of one thread's block.
    sums: of the partial sums of one shard.
    """

    slots: tuple[tuple[str, str], ...]
    labels: Mapping[str, int]
    block: int
    is_divided: bool
    prepared: int
    arena: int
    arena_per_sample: int
    scratch: int
    sums: int
    work: int = 0
    work_per_sample: int = 0
    exchanges: Exchanges = field(default_factory=Exchanges)
