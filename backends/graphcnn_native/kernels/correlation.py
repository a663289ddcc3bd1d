"""Cross-correlation, channels in the lanes: Eq. 1 and 4 forward, Eq. 13 for the filters.

The input gradient (Eq. 21) is the forward kernel on rotated filters. Zeros beside the images are in memory;
above and below them they are left out of the sums.
"""

from __future__ import annotations

from functools import partial

from graphcnn.ops import Correlate2d
from graphcnn_native.codegen.function import Index, Ssa
from graphcnn_native.codegen.lanes import columns
from graphcnn_native.elements import SIZES
from graphcnn_native.kernels.correlation_writer import NEARBY, CorrelationWriter
from graphcnn_native.kernels.depthwise import DepthwiseFilterGradient, DepthwiseForward
from graphcnn_native.kernels.samples_in_lanes import (
    FilterGradientOfSamples,
    ForwardOfSamples,
    samples_fill_lanes,
)
from graphcnn_native.kernels.tile import (
    ColumnGroup,
    Factors,
    accumulate,
    column_groups,
    joined,
    sets_of_sums,
    zeros,
)
from graphcnn_native.kernels.writer import Writer
from graphcnn_native.lowering.depthwise import is_depthwise
from graphcnn_native.lowering.panels import PanelCorrelation, meets_one_pixel
from graphcnn_native.lowering.samples_in_lanes import suits_samples_in_lanes
from graphcnn_native.tile_sizes import best_tile, evenly, tile_of_run

STRETCH = 32 * 1024
"""Bytes of results that are written, all their channels, before the next ones are begun."""
MANY_FILTERS = 128 * 1024
"""Bytes of filters that are too many to be read again for each stretch."""


def correlation(w: Writer) -> None:
    assert w.kernel.root is not None
    op = w.graph.node(w.kernel.root).op
    assert isinstance(op, Correlate2d)
    images, window = w.graph.node(w.kernel.root).operands
    over_batch = op.sum_over == "batch"
    filters = w.graph.results(w.kernel.root)[0].type if over_batch else window.type
    if w.is_by_sample and suits_samples_in_lanes(op, images.type, filters, w.target):
        in_lanes = FilterGradientOfSamples(w, op) if over_batch else ForwardOfSamples(w, op)
        in_lanes.allocate()
        with w.f.when(samples_fill_lanes(w)):
            with w.f.when(w.is_first_part()):
                in_lanes.write()
            w.f.do("ret void")
            w.f.begin_dead_block()
    if is_depthwise(op.groups, images.type, filters):
        (DepthwiseFilterGradient if over_batch else DepthwiseForward)(w, op).write()
    else:
        (_FilterGradient if over_batch else _Forward)(w, op).write()


class _Forward(CorrelationWriter[Correlate2d]):
    def write(self) -> None:
        w = self.w
        self.rows, self.columns = self.result.type.static(1), self.result.type.static(2)
        cut = columns(self.group_filters, w.target, self.item)
        runs_on = self._runs_on()
        if isinstance(self.op, PanelCorrelation):
            self.pixels, panel = self.op.tile
            self.wide = panel // w.target.lanes(SIZES[self.item])
        elif runs_on:
            places, samples = self.rows * self.columns, w.plan.block
            self.pixels, self.wide = tile_of_run(w.target, places, samples, len(cut), has_half=cut.has_half)
        else:
            self.pixels, self.wide = best_tile(w.target, self.columns, len(cut), has_half=cut.has_half)
        w.tile = w.tile or f"{self.pixels} pixels x {self.wide} vectors"
        groups = column_groups(self.group_filters, self.wide, w.target, self.item)
        if runs_on:
            self._write_run(groups)
        else:
            self.run = w.cut(0, self.rows)
            self.over_samples(groups, self._columns)

    def _runs_on(self) -> bool:
        """Whether pixels follow each other across rows and samples: one tap, and nothing that asks where."""
        w = self.w
        has_one_tap = meets_one_pixel(self.op, self.images.type, self.window.type, self.result.type)
        return has_one_tap and w.is_by_sample and w.asks_for_channels_alone()

    def _write_run(self, groups: list[ColumnGroup]) -> None:
        """Take the pixels of all samples as one long row.

        Where they become more channels, few filters write much: one stretch of results after the other, so
        that memory is walked along, and asked for ahead.
        """
        f, w, pixels, places = self.f, self.w, self.pixels, self.rows * self.columns
        all_places = f.multiply(w.begin, places), f.multiply(w.end, places)
        begin, end = w.cut(*all_places, pixels, of_sample=places)
        writes_much = self.filters > self.channels and self.window.type.bytes(1) <= MANY_FILTERS
        ahead = -(-STRETCH // (self.filters * pixels * SIZES[self.item])) * pixels if writes_much else 0
        length = ahead or f.subtract(end, begin)
        with (
            f.loop(begin, end, length, name="stretch") as start,
            f.each(0, self.groups, 1, name="group") as g,
        ):
            self.n, self.g = f.index(0), g
            stop = f.least(f.add(start.index, length), end)
            self.column_loops(groups, partial(self._stretch, start.index, stop, ahead))

    def _stretch(self, begin: Index, end: Index, ahead: int, group: ColumnGroup, column: Index) -> None:
        """Compute a few channels of pixels; ask for their share of as many pixels, `ahead` of them."""
        f, pixels = self.f, self.pixels
        whole = f.add(begin, f.multiply(f.divide(f.subtract(end, begin), pixels), pixels))
        before = f.multiply(f.add(column, f.multiply(self.g, self.group_filters)), ahead)
        next_one = f.add(f.multiply(f.add(begin, ahead), self.filters), before)
        with f.loop(begin, whole, pixels, name="pixel") as pixel:
            done = f.multiply(f.subtract(pixel.index, begin), group.used)
            for buffer in self.w.maps_beside(self.result, self.images, self.window) if ahead else ():
                self.ask(buffer.value, 0, 0, f.add(next_one, done), pixels * group.used)
            self._tile(group, column, 0, 0, pixel.index, pixels, (0, 1), pixel.index)
        with f.loop(whole, end, name="pixel") as pixel:
            self._tile(group, column, 0, 0, pixel.index, 1, (0, 1), pixel.index)

    def _columns(self, group: ColumnGroup, column: Index) -> None:
        f = self.f
        with f.loop(*self.run, name="row") as row:
            first_row = f.add(f.multiply(row.index, self.op.stride[0]), -self.top)
            taps = self.rows_met(first_row, self.window.type.static(0), self.op.dilation[0])
            for start, size, count in evenly(self.columns, self.pixels).parts():
                with f.each(start, count, size, name="pixel") as pixel:
                    self._tile(group, column, row.index, first_row, pixel, size, taps, row.index)

    def _tile(
        self,
        group: ColumnGroup,
        column: Index,
        row: Index,
        first_row: Index,
        pixel: Index,
        pixels: int,
        taps: tuple[Index, Index],
        at: Index,
    ) -> None:
        f, w, op = self.f, self.w, self.op
        channel = f.multiply(self.g, self.group_channels)
        filter_ = f.add(column, f.multiply(self.g, self.group_filters))
        left = self.at(self.images, self.n, 0, f.multiply(pixel, op.stride[1]), channel)
        offsets = [p * op.stride[1] * self.channels for p in range(pixels)]
        totals = zeros(self.item, pixels, group.columns)
        k2 = self.window.type.static(1)
        run_is_contiguous = op.dilation[1] == 1 and self.groups == 1
        with f.loop(*taps, carried=totals, name="filter_row") as m:
            image_row = f.add(first_row, f.multiply(m.index, op.dilation[0]))
            here = f.element(left, self.item, f.multiply(image_row, self.width * self.channels))
            there = self.at(self.window, m.index, 0, 0, filter_)
            step = self.filters
            if isinstance(op, PanelCorrelation):
                there, step = self.in_panel(group, column, m.index), group.used
            if run_is_contiguous:
                factors = Factors(here, offsets, 1, there, step, exact=self.exact)
                m.results = accumulate(
                    f, w.target, self.item, factors, group.columns, k2 * self.channels, m.values
                )
            else:
                m.results = self.over_taps(here, there, offsets, group, k2, (op.dilation[1], 1), m.values)
        across = (f.add(pixel, p) for p in range(pixels))
        self.store_tile(group, row, across, filter_, m.results, at)


class _FilterGradient(CorrelationWriter[Correlate2d]):
    """result[m, n, c, d] = Σ over samples, i, j of images[m + i, n + j, c] · window[i, j, d]."""

    def write(self) -> None:
        f, w, op = self.f, self.w, self.op
        self.rows, self.columns = self.window.type.static(1), self.window.type.static(2)
        taps = self.result.type.static(1)
        contiguous = op.stride[1] == 1 and self.groups == 1
        run = taps * self.channels if contiguous else self.group_channels
        cut = columns(self.group_filters, w.target, self.item)
        at_once, self.wide = best_tile(w.target, run, len(cut), has_half=cut.has_half)
        w.tile = w.tile or f"{at_once} taps x {self.wide} vectors"
        groups = column_groups(self.group_filters, self.wide, w.target, self.item)
        has_one_tap = meets_one_pixel(op, self.images.type, self.result.type, self.window.type)
        self.runs_on = has_one_tap
        with f.loop(w.begin, w.end, self._samples(), name="chunk") as chunk:
            self.first = chunk.index
            self.last = f.least(f.add(chunk.index, self._samples()), w.end)
            with (
                f.loop(0, self.result.type.static(0), name="filter_row") as m,
                f.each(0, 1 if contiguous else taps, 1, name="tap") as tap,
            ):
                self.m, self.tap = m.index, tap
                self.first_row = f.add(f.multiply(m.index, op.stride[0]), -self.top)
                self.bounds = self.rows_met(self.first_row, self.rows, op.dilation[0])
                with f.each(0, self.groups, 1, name="group") as g:
                    self.g = g
                    for start, size, count in evenly(run, at_once).parts():
                        with f.each(start, count, size, name="place") as place:
                            self.start, self.count = place, size
                            self.column_loops(groups, self._tile)

    def _samples(self) -> int:
        """Return how many samples to sum up before the sums are put back: as many as stay in the cache."""
        images, window = self.images.type, self.window.type
        return max(1, NEARBY // (images.bytes(1) + window.bytes(1)))

    def _tile(self, group: ColumnGroup, column: Index) -> None:
        f, w, op = self.f, self.w, self.op
        filter_ = f.add(column, f.multiply(self.g, self.group_filters))
        channel = f.add(self.start, f.multiply(self.g, self.group_channels))
        across = f.multiply(self.tap, op.stride[1] * self.channels)
        products = self.count * len(group.columns)
        totals = zeros(self.item, self.count, group.columns) * sets_of_sums(products)
        if self.runs_on:
            totals = self._run(group, channel, filter_, totals)
            self._add_up(group, filter_, joined(f, totals, products))
            return
        with f.loop(self.first, self.last, carried=totals, name="sample") as n:
            images = f.element(self.at(self.images, n.index, 0, 0, channel), self.item, across)
            window = self.at(self.window, n.index, 0, 0, filter_)
            with f.loop(*self.bounds, carried=n.values, name="row") as i:
                row = f.add(self.first_row, f.multiply(i.index, op.dilation[0]))
                factors = Factors(
                    f.element(images, self.item, f.multiply(row, self.width * self.channels)),
                    list(range(self.count)),
                    op.dilation[1] * self.channels,
                    f.element(window, self.item, f.multiply(i.index, self.columns * self.filters)),
                    self.filters,
                    exact=self.exact,
                )
                i.results = accumulate(f, w.target, self.item, factors, group.columns, self.columns, i.values)
            n.results = i.results
        self._add_up(group, filter_, joined(f, n.results, products))

    def _run(self, group: ColumnGroup, channel: Index, filter_: Index, totals: list[Ssa]) -> list[Ssa]:
        """Sum over the places of all samples as over one long row: each meets one pixel, its own."""
        f, w = self.f, self.w
        factors = Factors(
            self.at(self.images, self.first, 0, 0, channel),
            list(range(self.count)),
            self.channels,
            self.at(self.window, self.first, 0, 0, filter_),
            self.filters,
            exact=self.exact,
        )
        places = f.multiply(f.subtract(self.last, self.first), self.rows * self.columns)
        return accumulate(f, w.target, self.item, factors, group.columns, places, totals)

    def _add_up(self, group: ColumnGroup, filter_: Index, totals: list[Ssa]) -> None:
        """Add a tile to the sums of the shard."""
        f, w = self.f, self.w
        channels = self.result.type.static(2)
        place = f.multiply(
            f.add(
                f.multiply(f.add(f.multiply(self.m, self.result.type.static(1)), self.tap), channels),
                self.start,
            ),
            self.filters,
        )
        sums = f.element(w.shard, self.item, place, filter_)
        for row_number in range(self.count):
            for number, c in enumerate(group.columns):
                address = f.element(sums, self.item, row_number * self.filters + c.offset)
                self.add_to(address, c, totals[row_number * len(group.columns) + number])
