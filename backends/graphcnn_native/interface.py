"""What machine code needs from whoever calls it: which arrays, in which order, and how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Interface:
    """All that a call has to know of a program; the program itself need not be there.

    slots: what each of the caller's arrays is: ("input" | "output" | "update", label).
    labels: inputs that must be labels, and of how many classes.
    block: samples that are carried through a stage together. is_divided: whether a large batch goes through
    in parts.
    prepared: how many stages at the begin make of parameters and states alone what the others read.
    work, work_per_sample: what a call does, in FLOPs and what takes as long.
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
