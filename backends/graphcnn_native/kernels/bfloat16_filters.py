"""Filters rounded to bfloat16, in the order in which tiles read them."""

from __future__ import annotations

from graphcnn_native.codegen.function import Function, Index, Ssa, constant
from graphcnn_native.codegen.lanes import load_lanes
from graphcnn_native.kernels.tile import ColumnGroup, column_groups
from graphcnn_native.kernels.writer import Writer, rounded_to_bfloat16
from graphcnn_native.lowering.bfloat16 import Bfloat16Filters
from graphcnn_native.lowering.bfloat16_tiling import DEPTH, TILE, steps_of
from graphcnn_native.lowering.program import Place

ELEMENTS = TILE * TILE
"""Pairs of a tile."""


def bfloat16_filters(w: Writer) -> None:
    """Put filters [K, K', C, D] into panels of pairs; the kernel's share is a range of panels."""
    assert w.kernel.root is not None
    op = w.graph.node(w.kernel.root).op
    assert isinstance(op, Bfloat16Filters)
    (_TurnedFilters if op.is_turned else _Filters)(w).write()


class _Filters:
    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        (result,), (filters,) = w.graph.results(w.kernel.root), w.graph.node(w.kernel.root).operands
        self.w, self.f = w, w.f
        self.rows, self.taps, self.channels, self.count = (filters.type.static(axis) for axis in range(4))
        self.exact = w.buffer(filters).place is Place.CALLER
        self.source, self.target = w.address(w.buffer(filters)), w.address(w.buffer(result))

    @property
    def columns(self) -> int:
        """How many columns the panels have: a filter each."""
        return self.count

    @property
    def length(self) -> int:
        """The numbers of a row of taps."""
        return self.taps * self.channels

    def write(self) -> None:
        f, w, steps = self.f, self.w, steps_of(self.length)
        for group in column_groups(self.columns, 1, w.target, "float"):
            before = group.offset // TILE
            begin, end = f.greatest(w.begin, before), f.least(w.end, before + group.count)
            with (
                f.loop(begin, end, name="panel") as panel,
                f.loop(0, self.rows, name="filter_row") as row,
            ):
                tiles = f.multiply(f.add(f.multiply(panel.index, self.rows), row.index), steps * ELEMENTS)
                self._row(group, panel.index, row.index, f.element(self.target, "i32", tiles))

    def _row(self, group: ColumnGroup, panel: Index, row: Index, target: Ssa) -> None:
        """Write the tiles of a row of taps."""
        f, row_of = self.f, self.length * self.count
        source = f.element(self.source, "float", f.multiply(panel, TILE), f.multiply(row, row_of))
        whole, rest = divmod(self.length, DEPTH)
        with f.loop(0, whole, name="step") as step:
            there = f.element(source, "float", f.multiply(step.index, DEPTH * self.count))
            self._tile(group, there, f.element(target, "i32", f.multiply(step.index, ELEMENTS)), DEPTH)
        if rest:
            there = f.element(source, "float", whole * DEPTH * self.count)
            self._tile(group, there, f.element(target, "i32", whole * ELEMENTS), rest)

    def _tile(self, group: ColumnGroup, source: Ssa, target: Ssa, numbers: int) -> None:
        """Write the pairs of a step, of which so many numbers are there."""
        f = self.f
        (column,) = group.columns

        def number(place: int) -> Ssa:
            """Return a number for each filter, in the lower half of 32 bits."""
            if place >= numbers:
                return constant(f"<{TILE} x i32>", 0)
            address = f.element(source, "float", place * self.count)
            x = load_lanes(f, "float", address, TILE, column.used, exact=self.exact)
            return f.convert("zext", rounded_to_bfloat16(f, x), "i32")

        for pair in range(TILE):
            f.store(joined(f, number(2 * pair), number(2 * pair + 1)), f.element(target, "i32", pair * TILE))


class _TurnedFilters(_Filters):
    """Of an input gradient: a column is a channel, and a row of taps meets the filters one by one."""

    @property
    def columns(self) -> int:
        return self.channels

    @property
    def length(self) -> int:
        return self.taps * self.count

    def _row(self, group: ColumnGroup, panel: Index, row: Index, target: Ssa) -> None:
        f, of_tap = self.f, self.count // DEPTH
        (column,) = group.columns
        there = f.subtract(self.rows - 1, row)
        with f.loop(0, self.taps, name="tap") as tap, f.loop(0, of_tap, name="step") as step:
            taps = f.add(f.multiply(there, self.taps), f.subtract(self.taps - 1, tap.index))
            channel = f.add(f.multiply(taps, self.channels), f.multiply(panel, TILE))
            first = f.add(f.multiply(channel, self.count), f.multiply(step.index, DEPTH))
            number = f.add(f.multiply(tap.index, of_tap), step.index)
            self._turn(column.used, f.element(self.source, "float", first),
                       f.element(target, "i32", f.multiply(number, ELEMENTS)))  # fmt: skip

    def _turn(self, channels: int, source: Ssa, target: Ssa) -> None:
        """Write a tile from 32 numbers of each of so many channels."""
        f = self.f
        pairs = [self._pairs(f.element(source, "float", channel * self.count)) for channel in range(channels)]
        pairs += [constant(f"<{TILE} x float>", 0.0)] * (TILE - channels)
        for pair, x in enumerate(f.turned(pairs)):
            f.store(x, f.element(target, "i32", pair * TILE))

    def _pairs(self, address: Ssa) -> Ssa:
        """Return 32 numbers from an address on, rounded, pair by pair."""
        f = self.f
        halves = [f.load(f"<{TILE} x float>", f.element(address, "float", n)) for n in (0, TILE)]
        rounded = f.joined([rounded_to_bfloat16(f, half) for half in halves])
        return f.emit(f"<{TILE} x float>", f"bitcast {rounded} to <{TILE} x float>")


def joined(f: Function, lower: Ssa, upper: Ssa) -> Ssa:
    """Return pairs of numbers that stand in the lower halves of 32 bits, one beside the other."""
    return f.binary("or", f.binary("shl", upper, constant(upper.type, 16)), lower)
