"""Sums over a batch, added up by the kernel that computes what they are of (`lowering/sums_on_the_way.py`).

What a tile holds of a channel is added up in registers, in the type of the summands; then in float64, to
the sums of the shard. A shard's work is cut into bands, each with sums of its own: threads that share a shard
take whole bands, so that the bits do not depend on how many they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graphcnn_native.codegen.function import Index, Ssa, constant
from graphcnn_native.codegen.lanes import load_lanes, store_lanes
from graphcnn_native.elements import ITEMS
from graphcnn_native.lowering.program import BANDS, aligned, partial_sum_type

if TYPE_CHECKING:
    from graphcnn_native.kernels.writer import Position, Writer


class SumsOnTheWay:
    """The sums that one kernel adds up on its way.

    bands: of what the kernel is cut along, where the first band begins, and how long each is; none, if it is
    not cut.
    """

    def __init__(self, w: Writer) -> None:
        self._w = w
        self._totals: dict[tuple[int, Position], Ssa] = {}
        self._is_open = False
        self.bands: tuple[Index, Index] | None = None

    def add(self, position: Position) -> None:
        """Add up what is known at a position, and follows from that."""
        w = self._w
        for key in w.kernel.sums:
            assert self._is_open, "sums have no tile that they belong to"
            (summand,) = w.graph.node(key).operands
            x = w.value(summand, position)
            place = key, w.along(position)
            self._totals[place] = w.f.binary("fadd", self._totals[place], x) if place in self._totals else x

    @contextmanager
    def tile(self, at: Index = 0) -> Iterator[None]:
        """A tile: what is stored meanwhile is added up in registers, and afterwards to the sums of the shard.

        at: where the tile is, along what the kernel is cut along.
        """
        self._is_open = True
        yield
        for (key, along), total in self._totals.items():
            self._put(key, along, total, at)
        self._totals.clear()
        self._is_open = False

    @contextmanager
    def where(self, condition: Ssa | None) -> Iterator[None]:
        """A part of a tile that is there only where a condition holds, if there is one."""
        if condition is None:
            yield
            return
        before = dict(self._totals)
        with self._w.f.when(condition) as branch:
            yield
            branch.results = list(self._totals.values())
            zeros = [constant(total.type, 0.0) for total in branch.results]
            branch.otherwise = [before.get(k, zero) for k, zero in zip(self._totals, zeros, strict=True)]
        self._totals = dict(zip(self._totals, branch.results, strict=True))

    def _put(self, key: int, along: Position, total: Ssa, at: Index) -> None:
        w, f = self._w, self._w.f
        kept = partial_sum_type(w.graph, key)
        item, size = ITEMS[kept.dtype], aligned(kept.bytes(1))
        before = w.kernel.sums.index(key) * BANDS
        place = f.multiply(f.add(self._band(at), before), size)
        address = f.element(f.element(w.shard, "i8", place), item, *along.indices)
        added = load_lanes(f, item, address, along.lanes, along.used, exact=True)
        added = f.binary("fadd", added, f.convert("fpext", total, item))
        store_lanes(f, added, address, along.used, w.target)

    def _band(self, at: Index) -> Index:
        if self.bands is None:
            return 0
        begin, length = self.bands
        return self._w.f.quotient(self._w.f.subtract(at, begin), length)
