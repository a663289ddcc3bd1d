"""Correlations of bfloat16: 64 places x 16 filters at a time in tiles, and then what follows pointwise.

Images lie in memory with zeros around them, so that a tile's rows are a tap's pixels of 16 neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphcnn_native.codegen.function import Index, Ssa, vector
from graphcnn_native.codegen.lanes import Column
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.bfloat16_tiles import LINE, Tiles
from graphcnn_native.kernels.tile import ColumnGroup, column_groups, over_columns
from graphcnn_native.kernels.writer import Position, Range, Writer
from graphcnn_native.lowering.bfloat16 import Bfloat16Correlation
from graphcnn_native.lowering.bfloat16_tiling import AT_ONCE, DEPTH, FILTERS, TILE
from graphcnn_native.lowering.program import Buffer, Place
from graphcnn_native.tile_sizes import evenly

LARGEST_BODY = 9
"""Steps of a sum that are written out."""
FINISHED = 8
"""Places whose results are finished together, and whose sums on the way are added up in registers."""
LEFT, RIGHT = (4, 5, 6, 4), 7
"""Tiles of places, and of filters."""


@dataclass(frozen=True)
class _Part:
    """What is summed up before it is finished: some runs of a sample, or all of a few.

    sample, run: the first of each; samples, runs: how many.
    """

    sample: Index
    samples: Index
    run: Index
    runs: Index
    number: Index


class _Forward:
    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        assert isinstance(node.op, Bfloat16Correlation)
        self.w, self.f, self.op, self.tiles = w, w.f, node.op, Tiles(w.f)
        self.images, panels = node.operands
        self.panels = w.address(w.buffer(panels))
        (self.result,) = w.graph.results(w.kernel.root)
        self.buffer = w.buffer(self.images)
        assert self.buffer.margins is not None
        self.margins = self.buffer.margins
        self.pitch, self.channels = self.margins.pitch(self.images.type), self.images.type.static(3)
        self.rows, self.columns, self.filters = (self.result.type.static(axis) for axis in (1, 2, 3))
        maps = w.maps_beside(self.result, self.images)
        self.cuts = self.op.cuts(self.images.type, self.result.type, self.margins)
        is_far = [b.place is Place.ARENA and b.margins is None and len(self.cuts) == 1 for b in maps]
        self.far_maps = [b for b, far in zip(maps, is_far, strict=True) if far]
        self.all_steps = sum(phase.steps.count for phase, _ in self.cuts)

    def write(self) -> None:
        w, (_, cut) = self.w, self.cuts[0]
        w.tile = f"{AT_ONCE} x {cut.rows} pixels x {TILE} filters"
        w.tile += f", {len(self.cuts)} phases" if len(self.cuts) > 1 else ""
        groups = column_groups(self.filters, FILTERS // TILE, w.target, "float")
        count, is_cut = sum(group.count for group in groups), self.filters % TILE == 0
        rows: Range = (0, -(-cut.runs // cut.at_once))
        units: Range | None = None
        if len(self.cuts) == 1:
            rows, units = w.cut_along((*rows, 1), (0, count, 1 if is_cut else count))
        for phase, cut in self.cuts:
            self.phase, self.cut = phase, cut
            parts = rows if len(self.cuts) == 1 else (0, -(-self.cut.runs // self.cut.at_once))
            self.tiles.set_up(self.cut.rows, RIGHT)
            self._write(groups, parts, units if is_cut else None)
        self.tiles.give_back()

    def _write(self, groups: Sequence[ColumnGroup], rows: Range, units: Range | None) -> None:
        """Compute the results of a phase: of these parts, and units of filters or all."""
        f, w, cut = self.f, self.w, self.cut
        with f.loop(w.begin, w.end, cut.samples, name="sample") as n, f.loop(*rows, name="part") as number:
            run = f.multiply(number.index, cut.at_once) if cut.at_once < cut.runs else 0
            runs = f.least(cut.at_once, f.subtract(cut.runs, run))
            samples = f.least(cut.samples, f.subtract(w.end, n.index)) if cut.samples > 1 else 1
            part, before = _Part(n.index, samples, run, runs, number.index), 0
            for group in groups:
                with over_columns(f, group, before, units) as column:
                    self._sum(part, len(group.columns), column)
                    self._finish(part, group, column)
                before += group.count

    # Sums

    def _sum(self, part: _Part, wide: int, column: Index) -> None:
        """Sum up some filters at all places of a part, four tiles of these at a time."""
        f, cut = self.f, self.cut
        count = f.multiply(f.multiply(part.samples, part.runs), cut.tiles)
        last = f.add(count, -1)
        with f.loop(0, count, AT_ONCE, name="tiles") as first:
            numbers = [f.least(f.add(first.index, number), last) for number in range(AT_ONCE)]
            places = [self._place_of(number) for number in numbers]
            pixels = [self._pixel(part, *place) for place in places]
            sums = [self._sums(*place) for place in places]
            maps = [self._results(buffer, part, *place) for buffer in self.far_maps for place in places]
            with f.each(0, wide, 1, name="filters") as number:
                panel, within = f.add(f.divide(column, TILE), number), f.multiply(number, TILE)
                here = [f.element(x, "float", within) for x in sums]
                there = [f.element(x, "float", column, within) for x in maps]
                self._tiles(pixels, panel, here, there)

    def _tiles(self, pixels: Sequence[Ssa], panel: Index, sums: Sequence[Ssa], maps: Sequence[Ssa]) -> None:
        """Sum up the products of four tiles of pixels with 16 filters.

        maps: where what the results meet begins; it is asked for meanwhile.
        """
        f, tiles, steps = self.f, self.tiles, self.phase.steps
        first = f.add(f.multiply(panel, self.all_steps), self.phase.before)
        filters = f.element(self.panels, "i8", f.multiply(first, TILE * LINE))
        for total in range(AT_ONCE):
            tiles.clear(total)
        if steps.count:
            self._add_steps(pixels, filters, maps)
        for total, address in enumerate(sums):
            tiles.store(total, address, FILTERS * SIZES["float"])

    def _add_steps(self, pixels: Sequence[Ssa], filters: Ssa, maps: Sequence[Ssa]) -> None:
        f, steps = self.f, self.phase.steps
        rows_at_once = steps.rows if steps.rows * steps.along <= LARGEST_BODY else 1
        bodies = steps.blocks * steps.rows // rows_at_once
        asked = -(-self.cut.rows // bodies)
        with f.each(0, steps.blocks, 1, name="block") as block:
            for start, size, count in evenly(steps.along, LARGEST_BODY // rows_at_once).parts():
                with (
                    f.each(0, steps.rows // rows_at_once, rows_at_once, name="filter_row") as row,
                    f.each(start, count, size, name="step") as step,
                ):
                    body = f.divide(f.add(f.multiply(block, steps.rows), row), rows_at_once)
                    lines = [(x, f.add(f.multiply(body, asked), n)) for x in maps for n in range(asked)]
                    for number in range(rows_at_once * size):
                        down, along = divmod(number, size)
                        self._step(pixels, filters, (block, f.add(row, down), f.add(step, along)))
                        for x, place in lines[number :: rows_at_once * size] if not start else ():
                            f.prefetch(f.element(x, "float", f.multiply(place, self.filters)))

    def _step(self, pixels: Sequence[Ssa], filters: Ssa, step: tuple[Index, Index, Index]) -> None:
        f, tiles, steps, (block, row, along) = self.f, self.tiles, self.phase.steps, step
        further = f.multiply(along, self.channels if steps.by_channels else DEPTH)
        across = f.add(f.multiply(row, self.pitch * self.channels), further, f.multiply(block, DEPTH))
        number = f.add(f.multiply(f.add(f.multiply(block, steps.rows), row), steps.along), along)
        tiles.load(RIGHT, f.element(filters, "i8", f.multiply(number, TILE * LINE)), LINE)
        for number, pixel in enumerate(pixels):
            tiles.load(LEFT[number], f.element(pixel, "i16", across), 2 * self.op.stride[1] * self.channels)
            tiles.multiply_add(number, LEFT[number], RIGHT)

    def _place_of(self, tile: Index) -> tuple[Index, Index, Index]:
        """Return where a tile of a part begins: sample, run, and place of the run."""
        f, cut = self.f, self.cut
        sample: Index = 0
        if cut.samples > 1:
            sample = f.divide(tile, cut.runs * cut.tiles)
            tile = f.subtract(tile, f.multiply(sample, cut.runs * cut.tiles))
        run = f.divide(tile, cut.tiles)
        place = f.multiply(f.subtract(tile, f.multiply(run, cut.tiles)), cut.rows)
        return sample, run, f.least(place, cut.length - cut.rows) if cut.tiles > 1 else 0

    def _pixel(self, part: _Part, sample: Index, run: Index, place: Index) -> Ssa:
        """Return the address of the first tap's pixel of a place."""
        f, op, phase = self.f, self.op, self.phase
        row = f.multiply(f.add(part.run, run), op.stride[0] * self.pitch)
        first_pixel = self.margins.first(self.images.type)
        before = first_pixel + phase.down.shift * self.pitch + phase.across.shift
        pixel = f.add(row, f.multiply(place, op.stride[1]), before)
        first = f.multiply(f.add(part.sample, sample), self.buffer.bytes)
        return f.element(
            f.element(self.w.address(self.buffer), "i8", first), "i16", f.multiply(pixel, self.channels)
        )

    def _results(self, buffer: Buffer, part: _Part, sample: Index, run: Index, place: Index) -> Ssa:
        """Return the address of the results of a place, in one of the maps of their shape."""
        is_run = self.cut.length == self.phase.across.count
        row = self.f.add(part.run, run) if is_run else 0
        indices = self.f.add(part.sample, sample), row, place, 0
        type = buffer.value.type
        return self.f.element(self.w.address(buffer), ITEMS[type.dtype], self.w.offset(type, indices))

    def _sums(self, sample: Index, run: Index, place: Index) -> Ssa:
        """Return the address of the sums of a place."""
        f, cut = self.f, self.cut
        number = f.add(f.multiply(f.add(f.multiply(sample, cut.at_once), run), cut.length), place)
        return f.element(self.w.workspace, "float", f.multiply(number, FILTERS))

    # What follows

    def _finish(self, part: _Part, group: ColumnGroup, column: Index) -> None:
        """Compute what follows from the sums, and store it."""
        f, w, cut, phase, apart = self.f, self.w, self.cut, self.phase, self.op.inserted
        is_run = cut.length == phase.across.count
        with (
            f.loop(0, part.samples, name="sample") as n,
            f.loop(0, part.runs if is_run else phase.down.count, name="row") as row,
        ):
            sums = self._sums(n.index, *((row.index, 0) if is_run else (0, f.multiply(row.index, cut.pitch))))
            down = f.add(f.multiply(f.add(part.run, row.index), apart[0]), phase.down.first)
            for start, size, count in evenly(phase.across.count, FINISHED).parts():
                with f.each(start, count, size, name="pixel") as pixel:
                    for c, times in _alike(group.columns):
                        with (
                            f.each(c.offset, times, TILE, name="filter") as filter_,
                            w.on_the_way.tile(part.number),
                        ):
                            for number in range(size):
                                place = f.add(pixel, number)
                                total = f.element(sums, "float", f.multiply(place, FILTERS), filter_)
                                across = f.add(f.multiply(place, apart[1]), phase.across.first)
                                indices = f.add(part.sample, n.index), down, across, f.add(column, filter_)
                                position = Position(indices, c.lanes, c.used)
                                w.store(position, {self.result: f.load(vector("float", c.lanes), total)})


def _alike(columns: Sequence[Column]) -> list[tuple[Column, int]]:
    """Return whole vectors as the first of them and their number, and then one that is of use in part."""
    whole = [column for column in columns if column.used == TILE]
    found = [(whole[0], len(whole))] if whole else []
    return [*found, *((column, 1) for column in columns[len(whole) :])]


def bfloat16_correlation(w: Writer) -> None:
    _Forward(w).write()
