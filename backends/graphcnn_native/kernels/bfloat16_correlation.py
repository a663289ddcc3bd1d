"""Correlations of bfloat16: 32 places x 32 filters at a time in tiles, and then what follows pointwise.

Images lie in memory with zeros around them, so that a tile's rows are a tap's pixels of 16 neighbours.
"""

from __future__ import annotations

from graphcnn_native.codegen.function import Index, Ssa
from graphcnn_native.kernels.bfloat16_tiles import LINE, Tiles
from graphcnn_native.kernels.tile import ColumnGroup, column_groups, over_columns
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.bfloat16 import Bfloat16Correlation
from graphcnn_native.lowering.bfloat16_tiling import DEPTH, TILE, steps_of, tiling
from graphcnn_native.tile_sizes import evenly

LARGEST_BODY = 9
"""Steps of a sum that are written out."""
AT_ONCE = 8
"""Places whose results are finished together, and whose sums on the way are added up in registers."""
LEFT = 4, 5
RIGHT = {1: (5, 6, 7, 5), 2: (6, 7)}
"""Tiles of factors; on the right beside one or two on the left."""


class _Forward:
    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        assert isinstance(node.op, Bfloat16Correlation)
        self.w, self.f, self.op, self.tiles = w, w.f, node.op, Tiles(w.f)
        self.images, self.panels = node.operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.buffer = w.buffer(self.images)
        assert self.buffer.margins is not None
        self.margins = self.buffer.margins
        self.pitch, self.channels = self.margins.pitch(self.images.type), self.images.type.static(3)
        self.rows, self.columns, self.filters = (self.result.type.static(axis) for axis in (1, 2, 3))
        self.steps = steps_of(self.op.taps[1] * self.channels)
        self.cut = tiling(self.op, self.images.type, self.result.type, self.margins)

    def write(self) -> None:
        f, w, cut = self.f, self.w, self.cut
        self.tiles.set_up(cut.rows, min(2, cut.runs * cut.tiles))
        w.tile = f"{min(2, cut.runs * cut.tiles)} x {cut.rows} pixels x {cut.columns * TILE} filters"
        groups = column_groups(self.filters, cut.columns, w.target, "float")
        count = sum(group.count for group in groups)
        is_cut = self.filters % TILE == 0
        parts = -(-cut.runs // cut.at_once)
        rows, units = w.cut_along((0, parts, 1), (0, count, 1 if is_cut else count))
        with f.loop(w.begin, w.end, name="sample") as n, f.loop(*rows, name="part") as part:
            self.n, self.part = n.index, part.index
            self.first = f.multiply(part.index, cut.at_once)
            self.runs = f.least(cut.at_once, f.subtract(cut.runs, self.first))
            before = 0
            for group in groups:
                with over_columns(f, group, before, units if is_cut else None) as column:
                    self._sum(group, column)
                    self._finish(group, column)
                before += group.count
        self.tiles.give_back()

    def _sum(self, group: ColumnGroup, column: Index) -> None:
        """Sum up some filters at all places of a part."""
        f, cut = self.f, self.cut
        if cut.tiles == 1:
            if cut.runs == 1:
                self._tile(group, column, [(0, 0)])
                return
            with f.loop(0, f.divide(f.add(self.runs, 1), 2), name="pair") as pair:
                run = f.least(f.multiply(pair.index, 2), f.subtract(self.runs, 2))
                self._tile(group, column, [(run, 0), (f.add(run, 1), 0)])
            return
        with f.loop(0, self.runs, name="run") as row, f.loop(0, cut.tiles, 2, name="pair") as pair:
            numbers = pair.index, f.add(pair.index, 1)
            places = (f.least(f.multiply(number, cut.rows), cut.length - cut.rows) for number in numbers)
            self._tile(group, column, [(row.index, place) for place in places])

    def _tile(self, group: ColumnGroup, column: Index, places: list[tuple[Index, Index]]) -> None:
        """Sum up the products of one or two tiles of places, given as runs of the part and places of these,
        with some tiles of filters."""
        f, tiles, wide = self.f, self.tiles, len(group.columns)
        sums = range(len(places) * wide)
        for total in sums:
            tiles.clear(total)
        images = [self._pixels(run, place) for run, place in places]
        panel = f.element(self.w.address(self.w.buffer(self.panels)), "i8",
                          f.multiply(column, self.op.taps[0] * self.steps * LINE))  # fmt: skip
        for rows_at_once, parts in self._bodies():
            with f.each(0, self.op.taps[0] // rows_at_once, rows_at_once, name="filter_row") as row:
                for start, size, count in parts:
                    with f.each(start, count, size, name="step") as first:
                        for step in range(size * rows_at_once):
                            down, along = divmod(step, size) if rows_at_once > 1 else (0, step)
                            self._step(images, panel, f.add(row, down), f.add(first, along), wide)
        for total in sums:
            place, number = divmod(total, wide)
            tiles.store(
                total, f.element(self._sums(*places[place]), "float", number * TILE), self.cut.columns * LINE
            )

    def _bodies(self) -> list[tuple[int, list[tuple[int, int, int]]]]:
        """Return how many rows of taps are written out together, and their steps in parts."""
        if self.op.taps[0] * self.steps <= LARGEST_BODY:
            return [(self.op.taps[0], [(0, self.steps, 1)])]
        return [(1, evenly(self.steps, LARGEST_BODY).parts())]

    def _step(self, images: list[Ssa], panel: Ssa, row: Index, step: Index, wide: int) -> None:
        f, tiles, taps = self.f, self.tiles, self.op.taps[0]
        across = f.add(f.multiply(row, self.pitch * self.channels), f.multiply(step, DEPTH))
        here = f.multiply(f.add(f.multiply(row, self.steps), step), TILE * LINE)
        stride = 2 * self.op.stride[1] * self.channels
        rights = RIGHT[len(images)]
        for number, left in enumerate(images):
            tiles.load(LEFT[number], f.element(left, "i16", across), stride)
            for column in range(wide):
                if number == 0:
                    filters = f.element(panel, "i8", here, column * taps * self.steps * TILE * LINE)
                    tiles.load(rights[column], filters, LINE)
                tiles.multiply_add(number * wide + column, LEFT[number], rights[column])

    def _pixels(self, run: Index, place: Index) -> Ssa:
        """Return the address of the first tap's pixel of a place."""
        f, op, margins = self.f, self.op, self.margins
        row = f.multiply(f.add(self.first, run), op.stride[0] * self.pitch)
        before = margins.first(self.images.type) - op.padding[0][0] * self.pitch - op.padding[1][0]
        pixel = f.add(row, f.multiply(place, op.stride[1]), before)
        sample = f.element(self.w.address(self.buffer), "i8", f.multiply(self.n, self.buffer.bytes))
        return f.element(sample, "i16", f.multiply(pixel, self.channels))

    def _sums(self, run: Index, place: Index) -> Ssa:
        """Return the address of the sums of a place."""
        f, cut = self.f, self.cut
        number = f.add(f.multiply(f.add(run, 1), cut.length), place)
        return f.element(self.w.workspace, "float", f.multiply(number, cut.columns * TILE))

    def _finish(self, group: ColumnGroup, column: Index) -> None:
        """Compute what follows from the sums, and store it."""
        f, w, cut = self.f, self.w, self.cut
        rows = self.runs if cut.runs > 1 else self.rows
        with f.loop(0, rows, name="row") as row:
            sums = (
                self._sums(row.index, 0) if cut.runs > 1 else self._sums(0, f.multiply(row.index, cut.pitch))
            )
            for start, size, count in evenly(self.columns, AT_ONCE).parts():
                with f.each(start, count, size, name="pixel") as pixel, w.on_the_way.tile(self.part):
                    for place in range(size):
                        self._place(group, column, f.add(self.first, row.index), f.add(pixel, place), sums)

    def _place(self, group: ColumnGroup, column: Index, row: Index, across: Index, sums: Ssa) -> None:
        f = self.f
        here = f.element(sums, "float", f.multiply(across, self.cut.columns * TILE))
        for c in group.columns:
            total = f.load(
                f"<{c.lanes} x float>" if c.lanes > 1 else "float", f.element(here, "float", c.offset)
            )
            position = Position((self.n, row, across, f.add(column, c.offset)), c.lanes, c.used)
            self.w.store(position, {self.result: total})


def bfloat16_correlation(w: Writer) -> None:
    _Forward(w).write()
