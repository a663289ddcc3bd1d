"""Filters rounded to bfloat16, in the order in which tiles read them."""

from __future__ import annotations

from graphcnn_native.codegen.function import Function, Index, Ssa, constant
from graphcnn_native.codegen.lanes import load_filled, load_lanes
from graphcnn_native.kernels.tile import ColumnGroup, column_groups
from graphcnn_native.kernels.writer import Writer, rounded_to_bfloat16
from graphcnn_native.lowering.bfloat16 import Bfloat16Filters
from graphcnn_native.lowering.bfloat16_tiling import DEPTH, TILE, Phase
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
        op = w.graph.node(w.kernel.root).op
        assert isinstance(op, Bfloat16Filters)
        self.w, self.f = w, w.f
        self.rows, self.taps, self.channels, self.count = (filters.type.static(axis) for axis in range(4))
        self.exact = w.buffer(filters).place is Place.CALLER
        self.source, self.target = w.address(w.buffer(filters)), w.address(w.buffer(result))
        self.phases, self.inserted = op.phases(filters.type), op.inserted

    @property
    def columns(self) -> int:
        """How many columns the panels have: a filter each."""
        return self.count

    def write(self) -> None:
        f, w, total = self.f, self.w, sum(phase.steps.count for phase in self.phases)
        for group in column_groups(self.columns, 1, w.target, "float"):
            before = group.offset // TILE
            begin, end = f.greatest(w.begin, before), f.least(w.end, before + group.count)
            with f.loop(begin, end, name="panel") as panel:
                for phase in self.phases:
                    first = f.add(f.multiply(panel.index, total), phase.before)
                    self._phase(group, panel.index, phase, first)

    def _phase(self, group: ColumnGroup, panel: Index, phase: Phase, before: Index) -> None:
        """Write the tiles of a phase, the first of which has so many before it."""
        f, steps, self.phase = self.f, phase.steps, phase
        with (
            f.loop(0, steps.blocks, name="block") as block,
            f.loop(0, steps.rows, name="filter_row") as row,
            f.loop(0, steps.along, name="step") as along,
        ):
            number = f.add(f.multiply(block.index, steps.rows), row.index)
            number = f.add(f.multiply(number, steps.along), along.index, before)
            target = f.element(self.target, "i32", f.multiply(number, ELEMENTS))
            self._step(group, panel, (block.index, row.index, along.index), target)

    def _tap(self, row: Index, along: Index) -> tuple[Index, Index]:
        """Return the row and the column of a phase's tap."""
        f, taps = self.f, (self.phase.down.tap, self.phase.across.tap)
        down, across = (f.multiply(n, step) for n, step in zip((row, along), self.inserted, strict=True))
        return f.add(down, taps[0]), f.add(across, taps[1])

    def _step(self, group: ColumnGroup, panel: Index, step: tuple[Index, Index, Index], target: Ssa) -> None:
        """Write the tile of a step: of a block, row and place along it."""
        f, steps, (block, row, along) = self.f, self.phase.steps, step
        further = f.multiply(along, DEPTH)
        if steps.by_channels:
            row, tap = self._tap(row, along)
            further = f.multiply(tap, self.channels)
        number = f.add(f.multiply(row, self.taps * self.channels), further, f.multiply(block, DEPTH))
        source = f.element(self.source, "float", f.multiply(number, self.count), f.multiply(panel, TILE))
        if steps.by_channels:
            self._tile(group, source, target, DEPTH)
            return
        last = steps.along - 1
        if last:
            with f.when(f.compare("slt", f.index(along), f.index(last))):
                self._tile(group, source, target, DEPTH)
        with f.when(f.compare("eq", f.index(along), f.index(last))):
            self._tile(group, source, target, self.taps * self.channels - last * DEPTH)

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
    """Of an input gradient: a column is a channel, and a tap meets the filters.

    These fill blocks of 32, or there is but one tap.
    """

    @property
    def columns(self) -> int:
        return self.channels

    def _step(self, group: ColumnGroup, panel: Index, step: tuple[Index, Index, Index], target: Ssa) -> None:
        f, (block, row, along) = self.f, step
        (column,) = group.columns
        number: Index = along
        taps: Index = 0
        if self.phase.steps.by_channels:
            down, across = self._tap(row, along)
            rows = f.multiply(f.subtract(self.rows - 1, down), self.taps)
            number, taps = block, f.add(rows, f.subtract(self.taps - 1, across))
        channel = f.add(f.multiply(taps, self.channels), f.multiply(panel, TILE))
        first = f.add(f.multiply(channel, self.count), f.multiply(number, DEPTH))
        source, rest = f.element(self.source, "float", first), self.count % DEPTH
        if not rest:
            self._turn(column.used, source, target, DEPTH)
            return
        last = f.index(self.count // DEPTH)
        with f.when(f.compare("slt", f.index(number), last)):
            self._turn(column.used, source, target, DEPTH)
        with f.when(f.compare("eq", f.index(number), last)):
            self._turn(column.used, source, target, rest)

    def _turn(self, channels: int, source: Ssa, target: Ssa, numbers: int) -> None:
        """Write a tile from so many numbers of each of so many channels."""
        f = self.f
        rows = [f.element(source, "float", channel * self.count) for channel in range(channels)]
        pairs = [self._pairs(row, numbers) for row in rows]
        pairs += [constant(f"<{TILE} x float>", 0.0)] * (TILE - channels)
        for pair, x in enumerate(f.turned(pairs)):
            f.store(x, f.element(target, "i32", pair * TILE))

    def _pairs(self, address: Ssa, numbers: int) -> Ssa:
        """Return so many numbers from an address on, rounded, pair by pair, and zeros behind them."""
        f, rounded = self.f, []
        for first in (0, TILE):
            used = min(TILE, numbers - first)
            if used <= 0:
                rounded.append(constant(f"<{TILE} x i16>", 0))
                continue
            there = f.element(address, "float", first)
            x = load_filled(f, "float", there, TILE, used, 0.0, exact=self.exact)
            rounded.append(rounded_to_bfloat16(f, x))
        return f.emit(f"<{TILE} x float>", f"bitcast {f.joined(rounded)} to <{TILE} x float>")


def joined(f: Function, lower: Ssa, upper: Ssa) -> Ssa:
    """Return pairs of numbers that stand in the lower halves of 32 bits, one beside the other."""
    return f.binary("or", f.binary("shl", upper, constant(upper.type, 16)), lower)
