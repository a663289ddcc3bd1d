"""Correlations over maps with inserted zeros, channels in the lanes: each result meets its own taps alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from graphcnn_native.codegen.function import Index
from graphcnn_native.codegen.lanes import columns
from graphcnn_native.kernels.correlation_writer import CorrelationWriter
from graphcnn_native.kernels.depthwise_tiles import add_taps, taps_met, tiles
from graphcnn_native.kernels.tile import ColumnGroup, column_groups, zeros
from graphcnn_native.kernels.writer import Writer
from graphcnn_native.lowering.depthwise import MOST_TAPS, is_depthwise
from graphcnn_native.lowering.strides import Phase, PhasedCorrelation, phases, tile_of_phases
from graphcnn_native.tile_sizes import evenly, pixels_at_once


class _Phased(CorrelationWriter[PhasedCorrelation]):
    """Rows know their phase as they run; for columns, whose tiles differ, code is written phase by phase."""

    def write(self) -> None:
        w, op = self.w, self.op
        self.rows, size = self.result.type.static(1), self.result.type.static(2)
        taps = self.window.type.static(1)
        self.phases = phases(size, taps, op.padding[1][0], op.factors[1])
        self.pixels, self.wide = tile_of_phases(op, self.images.type, self.window.type, w.target)
        w.tile = f"{self.pixels} pixels x {self.wide} vectors, {op.factors[0]}x{op.factors[1]} phases"
        groups = column_groups(self.group_filters, self.wide, w.target, self.item)
        self.over_samples(groups, self._columns)

    def _columns(self, group: ColumnGroup, column: Index) -> None:
        f = self.f
        self.filter = f.add(column, f.multiply(self.g, self.group_filters))
        self.channel = f.multiply(self.g, self.group_channels)
        with f.loop(0, self.rows, name="row") as row:
            self.row = row.index
            self._enter_row()
            for phase in self.phases:
                for start, size, count in evenly(phase.count, self.pixels).parts():
                    with f.each(start, count, size, name="pixel") as pixel:
                        self._tile(group, phase, pixel, size)

    def _enter_row(self) -> None:
        """Find the first tap of a row, the row of the map that it falls on, and the taps that fall on any."""
        f, factor, taps = self.f, self.op.factors[0], self.window.type.static(0)
        turns = -(-self.rows // factor)
        before = f.add(self.top + turns * factor, f.multiply(self.row, -1))
        quotient = f.divide(before, factor)
        self.first_tap = f.subtract(before, f.multiply(quotient, factor))
        self.first_row = f.add(turns, f.multiply(quotient, -1))
        count = f.divide(f.add(taps + factor - 1, f.multiply(self.first_tap, -1)), factor)
        self.low = f.greatest(0, f.multiply(self.first_row, -1))
        self.high = f.least(count, f.add(self.height, f.multiply(self.first_row, -1)))

    def _tile(self, group: ColumnGroup, phase: Phase, pixel: Index, pixels: int) -> None:
        f = self.f
        totals = zeros(self.item, pixels, group.columns)
        if phase.taps:
            offsets = [p * self.channels for p in range(pixels)]
            first = f.add(pixel, phase.shift + self.op.sides[0])
            left = self.at(self.images, self.n, 0, first, self.channel)
            with f.loop(self.low, self.high, carried=totals, name="filter_row") as m:
                row = f.multiply(f.add(self.first_row, m.index), self.width * self.channels)
                tap = f.add(self.first_tap, f.multiply(m.index, self.op.factors[0]))
                here = f.element(left, self.item, row)
                there, used = self.at(self.window, tap, phase.tap, 0, self.filter), self.filters
                if self.op.panel:
                    there, used = self.in_panel(group, self.filter, tap, phase.tap), group.used
                steps = 1, self.op.factors[1]
                m.results = self.over_taps(here, there, offsets, group, phase.taps, steps, m.values, used)
            totals = m.results
        across = (f.add(phase.first, f.multiply(f.add(pixel, p), self.op.factors[1])) for p in range(pixels))
        self.store_tile(group, self.row, across, self.filter, totals)


class _DepthwisePhased(_Phased):
    """Row by row, a few channels after the other, phase by phase."""

    def write(self) -> None:
        f, w, op = self.f, self.w, self.op
        self.rows, size = self.result.type.static(1), self.result.type.static(2)
        found = phases(size, self.window.type.static(1), op.padding[1][0], op.factors[1])
        taps = min(max(phase.taps for phase in found), MOST_TAPS)
        wide = len(columns(self.filters, w.target, self.item))
        pixels, wide = pixels_at_once(w.target, found[0].count, taps, wide)
        w.tile = f"{pixels} pixels x {wide} vectors, {op.factors[0]}x{op.factors[1]} phases"
        groups = column_groups(self.filters, wide, w.target, self.item)
        is_far = self.is_far(self.result.type)
        self.others = self.w.maps_beside(self.result, self.images, self.window) if is_far else []
        with f.loop(w.begin, w.end, name="sample") as n, f.loop(0, self.rows, name="row") as row:
            self.n, self.row = n.index, row.index
            self._enter_row()
            self.column_loops(groups, partial(self._row, found, pixels))

    def _row(self, found: Sequence[Phase], pixels: int, group: ColumnGroup, column: Index) -> None:
        before = 0
        for phase in found:
            left = phase.shift + self.op.sides[0]
            met = taps_met(phase.count, phase.taps, self.width, -left, (1, 1))
            for tile in tiles(phase.count, pixels, met):
                with self.f.each(tile.first, tile.count, len(tile.taps), name="pixel") as pixel:
                    self._places(group, column, phase, pixel, tile.taps)
                    self._ask(group, column, self.f.add(before, pixel), len(tile.taps))
            before += phase.count

    def _ask(self, group: ColumnGroup, column: Index, done: Index, size: int) -> None:
        """Ask for a tile's share of the next row of the maps."""
        f = self.f
        first = f.add(f.multiply(column, self.result.type.static(2)), f.multiply(done, group.used))
        for buffer in self.others:
            self.ask(buffer.value, self.n, f.add(self.row, 1), first, size * group.used)

    def _places(
        self, group: ColumnGroup, column: Index, phase: Phase, pixel: Index, taps: Sequence[range]
    ) -> None:
        f, op, size = self.f, self.op, len(taps)
        left = f.add(pixel, phase.shift + op.sides[0])
        images = self.at(self.images, self.n, self.first_row, left, column)
        window = self.at(self.window, self.first_tap, phase.tap, 0, column)
        totals = zeros(self.item, size, group.columns)
        if any(taps):
            with f.loop(self.low, self.high, carried=totals, name="filter_row") as m:
                here = f.element(images, self.item, f.multiply(m.index, self.width * self.channels))
                row_of_taps = op.factors[0] * self.window.type.static(1) * self.filters
                there = f.element(window, self.item, f.multiply(m.index, row_of_taps))
                m.results = add_taps(self, group, here, there, taps, (1, 1, op.factors[1]), m.values)
            totals = m.results
        across = (f.add(phase.first, f.multiply(f.add(pixel, p), op.factors[1])) for p in range(size))
        self.store_tile(group, self.row, across, column, totals)


def phased(w: Writer) -> None:
    assert w.kernel.root is not None
    op = w.graph.node(w.kernel.root).op
    assert isinstance(op, PhasedCorrelation)
    images, filters = w.graph.node(w.kernel.root).operands
    is_by_channel = is_depthwise(op.groups, images.type, filters.type)
    (_DepthwisePhased if is_by_channel else _Phased)(w, op).write()
