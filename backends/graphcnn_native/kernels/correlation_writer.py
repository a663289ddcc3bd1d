"""What kernels of correlations with channels in the lanes are written with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from graphcnn.ir import TensorType, Value
from graphcnn.ops import Correlate2d
from graphcnn_native.codegen.function import Index, Ssa
from graphcnn_native.codegen.lanes import Column, load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.tile import ColumnGroup, Factors, accumulate
from graphcnn_native.kernels.writer import Position, Range, Writer
from graphcnn_native.lowering.depthwise import is_depthwise
from graphcnn_native.lowering.program import ALIGNMENT, Place
from graphcnn_native.lowering.strides import PhasedCorrelation

NEARBY = 256 * 1024
"""Bytes that stay in the second cache while they are read again and again."""


Correlation = TypeVar("Correlation", bound=Correlate2d | PhasedCorrelation)


class CorrelationWriter(Generic[Correlation]):
    """What kernels of correlations share: operands, sizes, groups."""

    def __init__(self, w: Writer, op: Correlation) -> None:
        assert w.kernel.root is not None
        self.w, self.f, self.op = w, w.f, op
        self.images, self.window = w.graph.node(w.kernel.root).operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.item = ITEMS[self.result.type.dtype]
        self.height, self.width, self.channels = (self.images.type.static(axis) for axis in (1, 2, 3))
        self.filters = self.window.type.static(3)
        self.top, self.is_padded = op.padding[0][0], any(op.padding[0])
        self.depthwise = is_depthwise(op.groups, self.images.type, self.result.type)
        self.groups = 1 if self.depthwise else op.groups
        self.group_filters = self.filters // self.groups
        self.group_channels = 1 if self.depthwise else self.channels // self.groups
        w.address(w.buffer(self.images))
        w.address(w.buffer(self.window))
        self.exact = any(w.buffer(v).place is Place.CALLER for v in (self.images, self.window))
        if not self.depthwise:
            self.exact = w.buffer(self.window).place is Place.CALLER

    def at(self, value: Value, *indices: Index) -> Ssa:
        """Return the address of an element."""
        w = self.w
        return self.f.element(w.address(w.buffer(value)), self.item, w.offset(value.type, indices))

    def is_far(self, maps: TensorType) -> bool:
        """Whether images and maps of a sample do not stay in the cache, so that rows are to be asked for."""
        return self.images.type.bytes(1) + maps.bytes(1) > NEARBY

    def ask(self, maps: Value, n: Index, row: Index, first: Index, count: int) -> None:
        """Ask for `count` elements of a sample's map, `first` after the begin of a row that is to come.

        Rows are asked for from their begin to their end, by and by. Processors recognise such a walk along
        memory and run ahead of it; not so a walk over a few channels of each pixel, which tiles take.
        """
        w, f, item = self.w, self.f, ITEMS[maps.type.dtype]
        start = f.element(w.address(w.buffer(maps)), item, w.offset(maps.type, (n, row, 0, 0)), first)
        for element in range(0, count, ALIGNMENT // SIZES[item]):
            f.prefetch(f.element(start, item, element))

    def column_loops(self, groups: list[ColumnGroup], body: object) -> None:
        """Run `body(group, column)` for all groups of columns, with the first column of each."""
        assert callable(body)
        for group in groups:
            with self.f.each(group.offset, group.count, group.width, name="column") as column:
                body(group, column)

    def over_samples(self, groups: list[ColumnGroup], body: object) -> None:
        """Run `body(group, column)` for all samples, groups of channels and groups of columns."""
        w, f = self.w, self.f
        with f.loop(w.begin, w.end, name="sample") as n, f.each(0, self.groups, 1, name="group") as g:
            self.n, self.g = n.index, g
            self.column_loops(groups, body)

    def rows_met(self, first: Index, count: int, reach: int) -> Range:
        """Return which of `count` rows, `first`, first + reach and so on, fall on the images."""
        f = self.f
        if not self.is_padded:
            return 0, count
        low = f.divide(f.add(f.greatest(0, f.multiply(first, -1)), reach - 1), reach)
        high = f.divide(f.greatest(0, f.add(f.subtract(self.height, first), reach - 1)), reach)
        return low, f.greatest(low, f.least(count, high))

    def over_taps(
        self,
        here: Ssa,
        there: Ssa,
        offsets: list[int],
        group: ColumnGroup,
        taps: int,
        steps: tuple[int, int],
        totals: list[Ssa],
        beside: int | None = None,
    ) -> list[Ssa]:
        """Sum over taps of a row of the filter one by one.

        here, there: pixel and filter of the first tap; steps: how many of the row's pixels and taps lie from
        one tap to the next; beside: filters that lie side by side, all by default.
        """
        f, target, filters = self.f, self.w.target, beside or self.filters
        left_step, right_step = steps[0] * self.channels, steps[1] * self.group_channels * filters
        with f.loop(0, taps, carried=totals, name="tap") as tap:
            left = f.element(here, self.item, f.multiply(tap.index, left_step))
            right = f.element(there, self.item, f.multiply(tap.index, right_step))
            factors = Factors(left, offsets, 1, right, filters, exact=self.exact)
            tap.results = accumulate(
                f, target, self.item, factors, group.columns, self.group_channels, tap.values
            )
        return tap.results

    def in_panel(self, group: ColumnGroup, column: Index, row: Index, tap: Index = 0) -> Ssa:
        """Return where a panel of the filters has a row, or a tap of it."""
        f, across = self.f, self.window.type.static(1)
        of_tap = f.multiply(f.add(f.multiply(row, across), tap), self.channels * group.used)
        panel = f.multiply(column, self.window.type.static(0) * across * self.channels)
        return f.element(self.w.address(self.w.buffer(self.window)), self.item, panel, of_tap)

    def store_tile(
        self,
        group: ColumnGroup,
        row: Index,
        across: Iterable[Index],
        filter_: Index,
        totals: list[Ssa],
        at: Index = 0,
    ) -> None:
        """Store the sums of a tile, at these places across a row.

        at: where the tile is, along what the kernel is cut along.
        """
        with self.w.on_the_way.tile(at):
            for p, place in enumerate(across):
                for number, c in enumerate(group.columns):
                    position = Position((self.n, row, place, self.f.add(filter_, c.offset)), c.lanes, c.used)
                    self.w.store(position, {self.result: totals[p * len(group.columns) + number]})

    def load(self, address: Ssa, column: Column) -> Ssa:
        """Load a vector of channels; `address`: of those of the first column."""
        address = self.f.element(address, self.item, column.offset)
        return load_lanes(self.f, self.item, address, column.lanes, column.used, exact=self.exact)

    def add_to(self, address: Ssa, column: Column, total: Ssa) -> None:
        add_to(self.w, self.item, address, column, total)


def add_to(w: Writer, item: str, address: Ssa, column: Column, total: Ssa) -> None:
    """Add a vector to sums in memory."""
    f = w.f
    before = load_lanes(f, item, address, column.lanes, column.used, exact=False)
    store_lanes(f, f.binary("fadd", before, total), address, column.used, w.target)
