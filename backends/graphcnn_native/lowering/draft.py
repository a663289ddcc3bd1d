"""A kernel while it is being planned: the one thing in lowering that changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphcnn.ir import Dim, Graph, Op, Value
from graphcnn_native.lowering.program import Buffer, Domain


@dataclass(eq=False)
class Draft:
    """What will be a `PlannedKernel`, which says what the fields mean; other drafts in place of numbers."""

    number: int
    domain: Domain
    stage: int
    shape: tuple[Dim, ...]
    root: int | None = None
    values: list[Value] = field(default_factory=list)
    loads: frozenset[Value] = frozenset()
    stores: list[tuple[Value, Buffer]] = field(default_factory=list)
    adds_up_samples: bool = False
    sums: list[int] = field(default_factory=list)
    totals: Draft | None = None
    unfinished: Buffer | None = None
    copies: Value | None = None
    source: Buffer | None = None
    pad: Draft | None = None
    pool: Draft | None = None
    pooled_by: Draft | None = None
    is_optional: bool = False

    @property
    def total(self) -> Value | None:
        return None if self.totals is None else self.values[0]

    def op(self, graph: Graph) -> Op | None:
        return None if self.root is None else graph.node(self.root).op


def drafts_by_value(drafts: list[Draft]) -> dict[Value, list[Draft]]:
    """Return the drafts that load each value."""
    readers: dict[Value, list[Draft]] = {}
    for draft in drafts:
        for value in draft.loads:
            readers.setdefault(value, []).append(draft)
    return readers
