"""Depthwise correlation, channels in the lanes: each filter meets one channel.

A number takes part in as few products as a filter has taps, so that to move it takes as long as they do.
Zeros beside the images are left out of the sums, as those above and below them are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from graphcnn.ops import Correlate2d
from graphcnn_native.codegen.function import Index, Ssa
from graphcnn_native.codegen.lanes import columns
from graphcnn_native.kernels.correlation_writer import NEARBY, CorrelationWriter
from graphcnn_native.kernels.depthwise_tiles import Tiles, add_taps, taps_met, tiles
from graphcnn_native.kernels.tile import (
    ColumnGroup,
    column_groups,
    holds_copies,
    multiply_add,
    unrolling,
    zeros,
)
from graphcnn_native.kernels.writer import Range
from graphcnn_native.lowering.depthwise import MOST_TAPS
from graphcnn_native.tile_sizes import evenly, pixels_at_once, taps_at_once


class DepthwiseForward(CorrelationWriter[Correlate2d]):
    """result[i, j, c] = Σ over m, n of images[i + m, j + n, c] · window[m, n, 0, c].

    Row by row, and within a row a few channels after the other, so that a pixel of the rows at work is in the
    first cache when the next tile needs it again.
    """

    def write(self) -> None:
        f, w, op = self.f, self.w, self.op
        rows, self.columns = self.result.type.static(1), self.result.type.static(2)
        self.k1, self.k2 = self.window.type.static(0), self.window.type.static(1)
        wide = len(columns(self.filters, w.target, self.item))
        pixels, wide = pixels_at_once(w.target, self.columns, min(self.k2, MOST_TAPS), wide)
        w.tile = f"{pixels} pixels x {wide} vectors"
        groups = column_groups(self.filters, wide, w.target, self.item)
        met = taps_met(self.columns, self.k2, self.width, op.padding[1][0], (op.stride[1], op.dilation[1]))
        self.asks = self.is_far(self.result.type)
        self.others = self.w.maps_beside(self.result, self.images, self.window)
        run = w.cut(0, rows)
        with f.loop(w.begin, w.end, name="sample") as n, f.loop(*run, name="row") as i:
            self.n, self.i = n.index, i.index
            self.first_row = f.add(f.multiply(i.index, op.stride[0]), -self.top)
            self.bounds = self.rows_met(self.first_row, self.k1, op.dilation[0])
            self.column_loops(groups, partial(self._row, tiles(self.columns, pixels, met)))

    def _row(self, row: Sequence[Tiles], group: ColumnGroup, column: Index) -> None:
        for tile in row:
            with self.f.each(tile.first, tile.count, len(tile.taps), name="pixel") as j:
                self._tile(group, column, j, tile.taps)

    def _tile(self, group: ColumnGroup, column: Index, j: Index, taps: Sequence[range]) -> None:
        f, op = self.f, self.op
        if self.asks:
            self._ask(group, column, j, len(taps))
        left = f.add(f.multiply(j, op.stride[1]), -op.padding[1][0])
        images = self.at(self.images, self.n, self.first_row, left, column)
        window = self.at(self.window, 0, 0, 0, column)
        totals = zeros(self.item, len(taps), group.columns)
        with f.loop(*self.bounds, carried=totals, name="filter_row") as m:
            down = f.multiply(m.index, op.dilation[0] * self.width * self.channels)
            here = f.element(images, self.item, down)
            there = f.element(window, self.item, f.multiply(m.index, self.k2 * self.filters))
            m.results = add_taps(self, group, here, there, taps, (op.stride[1], op.dilation[1], 1), m.values)
        across = (f.add(j, p) for p in range(len(taps)))
        self.store_tile(group, self.i, across, column, m.results, self.i)

    def _ask(self, group: ColumnGroup, column: Index, j: Index, size: int) -> None:
        """Ask for a tile's share of the next row of the maps, and of the images' rows below those at work."""
        f, op = self.f, self.op
        count = size * group.used
        first = f.add(f.multiply(column, self.columns), f.multiply(j, group.used))
        for buffer in self.others:
            self.ask(buffer.value, self.n, f.add(self.i, 1), first, count)
        share = -(-op.stride[0] * self.width // self.columns)
        below = f.add(self.first_row, (self.k1 - 1) * op.dilation[0] + 1)
        self.ask(self.images, self.n, below, f.multiply(first, share), count * share)


class DepthwiseFilterGradient(CorrelationWriter[Correlate2d]):
    """result[m, n, 0, c] = Σ over samples, i, j of images[i + m, j + n, c] · window[i, j, c].

    One pass over the window sums up all taps of a filter, or as many rows of them as the registers hold. It
    takes those rows of the window that meet the images with each row of taps; the others follow. Where a
    sample does not stay in the cache, there is a pass for each row of the window.
    """

    def write(self) -> None:
        f, w, op = self.f, self.w, self.op
        self.rows, self.columns = self.window.type.static(1), self.window.type.static(2)
        self.k1, self.k2 = self.result.type.static(0), self.result.type.static(1)
        wide = len(columns(self.filters, w.target, self.item))
        at_once, along, wide = taps_at_once(w.target, self.k1, self.k2, wide)
        w.tile = f"{at_once}x{along} taps x {wide} vectors"
        groups = column_groups(self.filters, wide, w.target, self.item)
        met = taps_met(self.columns, self.k2, self.width, op.padding[1][0], (op.dilation[1], op.stride[1]))
        samples, rows = NEARBY // (self.images.type.bytes(1) + self.window.type.bytes(1)), self.rows
        if self.is_far(self.window.type):
            samples = rows = 1
        with (
            f.loop(w.begin, w.end, samples, name="chunk") as chunk,
            f.each(0, self.rows // rows, rows, name="first_row") as first_row,
        ):
            self.samples = chunk.index, f.least(f.add(chunk.index, samples), w.end)
            self.span = first_row, f.add(first_row, rows)
            for first, size, count in evenly(self.k2, along).parts():
                for tap in range(first, first + size * count, size):
                    self.part = range(tap, tap + size)
                    self.tiles = tiles(self.columns, 1, [_common(self.part, taps) for taps in met])
                    self._rows_of_taps(groups, at_once)

    def _rows_of_taps(self, groups: list[ColumnGroup], at_once: int) -> None:
        """Sum up for these taps of all rows of the filters."""
        f = self.f
        for first, size, count in evenly(self.k1, at_once).parts():
            with f.each(first, count, size, name="filter_row") as m:
                begin = self._met(m)[0]
                end = f.greatest(begin, self._met(f.add(m, size - 1))[1])
                self._sum(groups, m, size, (begin, end))
                if size > 1 and any(self.op.padding[0]):
                    with f.loop(m, f.add(m, size), name="filter_row") as single:
                        low, high = self._met(single.index)
                        summed = f.least(begin, high), f.least(end, high)
                        self._sum(groups, single.index, 1, (low, high), summed)

    def _met(self, m: Index) -> Range:
        """Return the rows of the window at work that fall on rows of the images with a row of taps."""
        f, op = self.f, self.op
        low, high = self.rows_met(f.add(f.multiply(m, op.stride[0]), -self.top), self.rows, op.dilation[0])
        low = f.greatest(self.span[0], low)
        return low, f.greatest(low, f.least(self.span[1], high))

    def _sum(
        self, groups: list[ColumnGroup], m: Index, size: int, rows: Range, summed: Range | None = None
    ) -> None:
        """Sum up for rows of taps, `size` from `m` on, over rows of the window but those `summed` already."""
        f = self.f
        begin, end = rows
        jump, behind = (0, end) if summed is None else (f.subtract(summed[1], summed[0]), summed[0])
        end = f.subtract(end, jump)
        self.asks = self.is_far(self.window.type) and summed is None

        def row(i: Ssa) -> Index:
            if summed is None:
                return i
            is_behind = f.compare("sge", i, f.index(behind))
            return f.add(i, f.select(is_behind, f.index(jump), f.index(0)))

        def of_columns(group: ColumnGroup, column: Index) -> None:
            totals = zeros(self.item, size * len(self.part), group.columns)
            with f.loop(*self.samples, carried=totals, name="sample") as n:
                with f.loop(begin, end, carried=n.values, name="row") as i:
                    i.results = self._row(group, column, n.index, m, size, row(i.index), i.values)
                n.results = i.results
            self._add_up(group, column, m, size, n.results)

        with f.when(f.compare("slt", f.index(begin), f.index(end))):
            self.column_loops(groups, of_columns)

    def _row(
        self, group: ColumnGroup, column: Index, n: Index, m: Index, rows: int, i: Index, totals: list[Ssa]
    ) -> list[Ssa]:
        """Sum up over a row of the window."""
        f, op = self.f, self.op
        top = f.add(f.multiply(i, op.dilation[0]), f.multiply(m, op.stride[0]), -self.top)
        images, window = self.at(self.images, n, top, 0, column), self.at(self.window, n, i, 0, column)
        for part in self.tiles:
            (taps,) = part.taps
            if not taps:
                continue
            turns = unrolling(part.count, rows * len(taps) * len(group.columns))
            # A single place has a loop as well: in one block, places would share pixels beyond the registers.
            with f.loop(part.first, part.first + part.count, turns, carried=totals, name="place") as j:
                totals = j.values
                if self.asks:
                    self._ask(group, column, n, i, j.index, turns)
                for number in range(turns):
                    place = f.add(j.index, number)
                    here = images
                    if number and holds_copies(self.w.target):  # of pixels, where places share some
                        here = f.opaque(images)
                    totals = self._place(group, here, window, place, taps, rows, totals)
                j.results = totals
            totals = j.results
        return totals

    def _ask(self, group: ColumnGroup, column: Index, n: Index, i: Index, j: Index, turns: int) -> None:
        """Ask for a share of the next row of the window, and of the images' rows below those at work."""
        f, op = self.f, self.op
        first, count = (
            f.add(f.multiply(column, self.columns), f.multiply(j, group.used)),
            turns * group.used,
        )
        self.ask(self.window, n, f.add(i, 1), first, count)
        share = -(-op.dilation[0] * self.width // self.columns)
        below = f.add(f.multiply(i, op.dilation[0]), (self.k1 - 1) * op.stride[0] + 1 - self.top)
        self.ask(self.images, n, below, f.multiply(first, share), count * share)

    def _place(
        self,
        group: ColumnGroup,
        images: Ssa,
        window: Ssa,
        j: Index,
        taps: range,
        rows: int,
        totals: Sequence[Ssa],
    ) -> list[Ssa]:
        """Add the products of one place of the window with the pixels under these taps."""
        f, op, sums = self.f, self.op, list(totals)
        here = f.element(window, self.item, f.multiply(j, self.filters))
        deltas = [self.load(here, c) for c in group.columns]
        left = f.add(f.multiply(j, op.dilation[1] * self.channels), -op.padding[1][0] * self.channels)
        for row in range(rows):
            for tap in taps:
                across = row * op.stride[0] * self.width + tap * op.stride[1]
                pixel = f.element(images, self.item, left, across * self.channels)
                first = (row * len(self.part) + tap - self.part.start) * len(group.columns)
                for number, (c, delta) in enumerate(zip(group.columns, deltas, strict=True), first):
                    x = self.load(pixel, c)
                    sums[number] = multiply_add(f, self.w.target, x, delta, sums[number])
        return sums

    def _add_up(self, group: ColumnGroup, column: Index, m: Index, rows: int, totals: Sequence[Ssa]) -> None:
        """Add sums to those of the shard."""
        f = self.f
        for row in range(rows):
            place = f.multiply(f.add(f.multiply(f.add(m, row), self.k2), self.part.start), self.filters)
            sums = f.element(self.w.shard, self.item, place, column)
            for number in range(len(self.part)):
                first = (row * len(self.part) + number) * len(group.columns)
                for total, c in zip(totals[first:], group.columns, strict=False):
                    self.add_to(f.element(sums, self.item, number * self.filters + c.offset), c, total)


def _common(x: range, y: range) -> range:
    return range(max(x.start, y.start), max(x.start, y.start, min(x.stop, y.stop)))
