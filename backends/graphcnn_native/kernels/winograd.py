"""Correlations on tiles, by Winograd's minimal filtering: a quarter to a half of the time.

A few dozen tiles go through a linear map each (`winograd_maps.py`), become 16 or 36 matrices [tiles,
channels], are multiplied by the mapped filters, and come back as 2x2 to 4x4 results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from graphcnn.ir import Value
from graphcnn.ops.attributes import NO_PADDING, Padding, Pair
from graphcnn_native.codegen.function import Index, Ssa, vector
from graphcnn_native.codegen.lanes import Column, load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.nest import over_vectors
from graphcnn_native.kernels.tile import ColumnGroup, Factors, accumulate, column_groups, over_columns, zeros
from graphcnn_native.kernels.winograd_filters import both, offset_of_part, taps_of_part, where
from graphcnn_native.kernels.winograd_maps import Side, along_both, maps_of
from graphcnn_native.kernels.writer import Position, Range, Writer
from graphcnn_native.lowering.program import ALIGNMENT, Buffer, Place
from graphcnn_native.lowering.winograd import (
    WinogradCorrelation,
    WinogradFilterGradient,
    step_of,
    workspace,
)
from graphcnn_native.tile_sizes import best_tile, evenly

Place3: TypeAlias = tuple[Index, Index, Index]
"""Of a tile: its sample, row and column."""


@dataclass(frozen=True)
class _Square:
    """What a tile reads: so many rows and columns (`size`) of pixels, or of deltas, and how they are mapped.

    It begins before the tile's first result by the padding, and after it by as far as a part of the filters
    is moved. step: pixels from one to the next. channel: the first that is read.
    """

    value: Value
    along: Side
    size: int
    padding: Padding = NO_PADDING
    step: Pair = (1, 1)
    moved: tuple[Index, Index] = (0, 0)
    channel: Index = 0


class _Tiled:
    """What both kernels share: tiles of all samples, counted through, and where each is in the workspace."""

    def __init__(self, w: Writer, maps: Value) -> None:
        """maps: the result or its deltas."""
        assert w.kernel.root is not None
        op = w.graph.node(w.kernel.root).op
        assert isinstance(op, WinogradCorrelation | WinogradFilterGradient)
        self.w, self.f, self.op = w, w.f, op
        self.form, self.results = op.form, op.form.results
        self._taps = f"{op.form.taps}x{op.form.taps} taps"
        self.images, self.window = w.graph.node(w.kernel.root).operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.item = ITEMS[self.result.type.dtype]
        self.space = space = workspace(op, self.images.type, maps.type, w.target)
        self.rows, self.columns, self.filters = (maps.type.static(axis) for axis in (1, 2, 3))
        self.step = step_of(op)
        self.down, self.across = op.form.parts_of(op.taps, self.step)
        self.channel_slices = self.images.type.static(3) // space.taken
        self.slices = self.down * self.across * self.channel_slices // space.parts
        self.depth = space.parts * space.taken
        self.tile_rows, self.tile_columns = (-(-size // self.results) for size in (self.rows, self.columns))
        self.maps = maps_of(op.form, self.f, w.target)
        start = w.workspace
        self.zeros, self.mapped_images, self.mapped_maps, self.sums = (
            self.f.element(start, "i8", offset)
            for offset in (self.space.zeros, self.space.images, self.space.maps, self.space.sums)
        )

    def write(self) -> None:
        """Go through the tiles of all samples, some at a time."""
        f, w = self.f, self.w
        f.clear(self.zeros, self.space.images - self.space.zeros)
        total = f.multiply(f.subtract(w.end, w.begin), self.tile_rows * self.tile_columns)
        begin, end = self.cut(total)
        with f.loop(begin, end, self.space.tiles, name="first") as first:
            count = f.least(self.space.tiles, f.subtract(end, first.index))
            self.first = first.index
            self.begin(first.index, count)
            with f.each(0, self.slices, 1, name="slice") as number:
                with f.loop(0, count, name="tile") as tile:
                    self._enter(tile.index, self.place(f.add(first.index, tile.index)), number)
                self.multiply(number, count)
            self.end(first.index, count)

    def begin(self, first: Index, count: Index) -> None:
        """Prepare for some tiles."""

    def multiply(self, number: Index, count: Index) -> None:
        """Multiply what some tiles became in a slice of their channels."""
        raise NotImplementedError

    def end(self, first: Index, count: Index) -> None:
        """Finish some tiles."""

    def _enter(self, tile: Index, place: Place3, number: Index) -> None:
        """Map the pixels of one tile into the workspace, those of one slice.

        A slice is of some parts of the filters, which read pixels further on, or of some channels of a part.
        """
        f, space = self.f, self.space
        row = f.element(self.mapped_images, self.item, f.multiply(tile, space.channels))
        along, size = self.maps.of_pixels, self.form.side
        with f.each(0, space.parts, 1, name="part") as each:
            part = f.add(f.divide(f.multiply(number, space.parts), self.channel_slices), each)
            slices_before = f.multiply(f.divide(number, self.channel_slices), self.channel_slices)
            channel = f.multiply(f.subtract(number, slices_before), space.taken)
            down = f.divide(part, self.across)
            across = f.subtract(part, f.multiply(down, self.across))
            moved = (
                offset_of_part(f, self.form, down, self.step[0]),
                offset_of_part(f, self.form, across, self.step[1]),
            )
            square = _Square(self.images, along, size, self.op.padding, self.step, moved, channel)
            target = f.element(row, self.item, f.multiply(each, space.taken))
            self.map_square(square, space.taken, place, target, space.image_stride)

    def cut(self, total: Index) -> Range:
        """Return the tiles that this part of the kernel works on."""
        return 0, total

    def place(self, number: Index) -> Place3:
        """Return sample, row and column of a tile."""
        f, per_sample = self.f, self.tile_rows * self.tile_columns
        sample = f.divide(number, per_sample)
        rest = f.subtract(number, f.multiply(sample, per_sample))
        row = f.divide(rest, self.tile_columns)
        return f.add(self.w.begin, sample), row, f.subtract(rest, f.multiply(row, self.tile_columns))

    def map_square(self, square: _Square, channels: int, place: Place3, target: Ssa, stride: int) -> None:
        """Map a square of pixels or deltas, in so many channels, to a row of each point's matrix.

        target: that row for the first point; stride: how far apart the points' matrices are.
        """
        f, w = self.f, self.w
        exact = w.buffer(square.value).place is Place.CALLER
        addresses = self._addresses(square, place)

        def body(offset: Index, lanes: int, used: int) -> None:
            def pixel(row: int, column: int) -> Ssa:
                address = f.element(addresses[row][column], self.item, offset)
                return load_lanes(f, self.item, address, lanes, used, exact=exact)

            for row, mapped in along_both(w.target, square.along, pixel, square.size, self.form.side):
                for column, x in enumerate(mapped):
                    point = row * self.form.side + column
                    f.store(x, f.element(target, self.item, offset, point * stride))

        self.vectors(channels, body)

    def _addresses(self, square: _Square, place: Place3) -> list[list[Ssa]]:
        """Return the addresses of a square, row by row; beyond the images there are zeros."""
        f, w, type = self.f, self.w, square.value.type
        sample, *corner = place
        offsets: list[list[tuple[Index, Ssa | None]]] = []
        for axis, tiles in ((0, self.tile_rows), (1, self.tile_columns)):
            extent, along, (before, _) = type.static(1 + axis), [], square.padding[axis]
            step, moved = square.step[axis], square.moved[axis]
            furthest = 0 if moved == 0 else self.form.offset_of((self.down, self.across)[axis] - 1, step)
            for pixel in range(square.size):
                first = step * pixel - before
                index = f.add(f.multiply(corner[axis], self.results * step), first, moved)
                last = (tiles - 1) * self.results * step + first + furthest
                known = first >= 0 and last < extent
                inside = None if known else f.compare("ult", f.index(index), f.index(extent))
                along.append((index, inside))
            offsets.append(along)
        base, found = w.address(w.buffer(square.value)), list[list[Ssa]]()
        for row, row_inside in offsets[0]:
            found.append([])
            for column, column_inside in offsets[1]:
                address = f.element(base, self.item, w.offset(type, (sample, row, column, square.channel)))
                inside = both(f, row_inside, column_inside)
                if inside is not None:
                    address = f.select(inside, address, self.zeros)
                found[-1].append(address)
        return found

    def vectors(self, size: int, body: Callable[[Index, int, int], None]) -> None:
        """Run `body(offset, lanes, used)` for the vectors of a row of channels."""
        over_vectors(self.w, 0, size, self.item, body, unrolled=1)


class WinogradForward(_Tiled):
    """Sums over channels, some results a tile, with what follows them pointwise."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        super().__init__(w, w.graph.results(w.kernel.root)[0])
        assert isinstance(self.op, WinogradCorrelation)
        self.at_once, panel = self.op.tile
        wide = panel // w.target.lanes(SIZES[self.item])
        self.groups = column_groups(self.filters, wide, w.target, self.item)
        w.tile = (
            f"{self.results}x{self.results} results of {self._taps}, {self.at_once} tiles x {wide} vectors"
        )

    def cut(self, total: Index) -> Range:
        """Cut the tiles and, where these are too few, the columns of register tiles, if vectors are whole."""
        count = sum(group.count for group in self.groups)
        self.is_cut = count > 1 and self.filters == self.space.width
        grain = 1 if self.is_cut else count
        of_sample = self.tile_rows * self.tile_columns
        ranges = (0, total, self.at_once), (0, count, grain)
        tiles, self.units = self.w.cut_along(*ranges, of_sample=of_sample)
        return tiles

    def begin(self, first: Index, count: Index) -> None:
        if self.slices > 1:
            self.f.clear(self.mapped_maps, self.space.sums - self.space.maps)

    def multiply(self, number: Index, count: Index) -> None:
        f, before, far = self.f, 0, self._far_maps()
        for group in self.groups:
            with (
                over_columns(f, group, before, self.units if self.is_cut else None) as column,
                f.loop(0, self.form.points, name="point") as point,
            ):
                with f.loop(0, count, self.at_once, name="row") as row:
                    self._multiply(group, column, point.index, row.index, number)
                if far:
                    unit = f.add(before, f.divide(f.add(column, -group.offset), group.width))
                    self._ask_for_share(far, (number, unit, point.index), count)
            before += group.count

    def _far_maps(self) -> list[Buffer]:
        """Return the buffers that results are written to, or meet where they are, and that no cache holds."""
        maps = self.w.maps_beside(self.result, self.images, self.window)
        return [buffer for buffer in maps if buffer.place is Place.ARENA]

    def _ask_for_share(self, maps: Sequence[Buffer], step: tuple[Index, Index, Index], count: Index) -> None:
        """Ask for some of the tiles, all of which are asked for by the time that their products are there.

        step: the slice, the column of register tiles and the point whose products have been computed.
        """
        f, points, units = self.f, self.form.points, sum(group.count for group in self.groups)
        number, unit, point = step
        done = f.add(f.multiply(f.add(f.multiply(number, units), unit), points), point)
        begin, end = (
            f.divide(f.multiply(f.add(done, n), count), self.slices * units * points) for n in (0, 1)
        )
        with f.loop(begin, end, name="asked") as tile:
            self._ask(maps, self.place(f.add(self.first, tile.index)))

    def _ask(self, maps: Sequence[Buffer], place: Place3) -> None:
        """Ask for the places of a tile in maps, while there is nothing but products to be computed.

        Its rows are short and lie apart, so that processors do not see what comes next.
        """
        f, w = self.f, self.w
        sample, row, column = place
        rows = [f.add(f.multiply(row, self.results), down) for down in range(self.results)]
        across, type = f.multiply(column, self.results), self.result.type
        with f.loop(0, self.results * self.filters, ALIGNMENT // SIZES[self.item], name="line") as line:
            for each in rows:
                first = w.offset(type, (sample, each, across, 0))
                for buffer in maps:
                    f.prefetch(f.element(w.address(buffer), self.item, first, line.index))

    def _multiply(self, group: ColumnGroup, column: Index, point: Index, row: Index, number: Index) -> None:
        """Multiply some rows of a point's matrices with a panel, on top of the slices before."""
        f, w, space = self.f, self.w, self.space
        left = f.add(f.multiply(point, space.image_stride), f.multiply(row, space.channels))
        panels = f.multiply(f.add(f.multiply(number, self.filters), column), self.form.points)
        panel = f.multiply(f.add(panels, f.multiply(point, group.used)), self.depth)
        factors = Factors(
            f.element(self.mapped_images, self.item, left),
            [down * space.channels for down in range(self.at_once)],
            1,
            f.element(w.address(w.buffer(self.window)), self.item, panel),
            group.used,
        )
        first = f.add(f.multiply(point, space.map_stride), f.multiply(row, space.width), column)
        places = [
            (
                f.element(self.mapped_maps, self.item, first, down * space.width + part.offset),
                vector(self.item, part.lanes),
            )
            for down in range(self.at_once)
            for part in group.columns
        ]
        start = zeros(self.item, self.at_once, group.columns)
        if self.slices > 1:
            start = [f.load(type, address) for address, type in places]
        totals = accumulate(f, w.target, self.item, factors, group.columns, self.depth, start)
        for (address, _), total in zip(places, totals, strict=True):
            f.store(total, address)

    def _begin_of(self, unit: Index) -> Index:
        """Return the first filter of a column of register tiles, or the one behind the last."""
        f, before, found = self.f, 0, list[Index]()
        for group in self.groups:
            within = f.greatest(0, f.least(group.count, f.subtract(unit, before)))
            found.append(f.multiply(within, group.width))
            before += group.count
        return f.add(*found)

    def end(self, first: Index, count: Index) -> None:
        """Map what the products have summed up back to results."""
        f = self.f
        with f.loop(0, count, name="tile") as tile:
            source = f.element(self.mapped_maps, self.item, f.multiply(tile.index, self.space.width))
            sample, row, column = self.place(f.add(first, tile.index))
            corner = (sample, f.multiply(row, self.results), f.multiply(column, self.results))

            def body(offset: Index, lanes: int, used: int) -> None:
                def product(row: int, column: int) -> Ssa:
                    point = (row * self.form.side + column) * self.space.map_stride
                    return f.load(vector(self.item, lanes), f.element(source, self.item, offset, point))

                rows = along_both(self.w.target, self.maps.to_results, product, self.form.side, self.results)
                with self.w.on_the_way.tile(f.add(first, tile.index)):
                    for row, results in rows:
                        for column, x in enumerate(results):
                            self._store(corner, (row, column), Position((offset,), lanes, used), x)

            if self.is_cut:
                lanes = self.w.target.lanes(SIZES[self.item])
                begin, end = map(self._begin_of, self.units)
                with f.loop(begin, end, lanes, name="filter") as run:
                    body(run.index, lanes, lanes)
            else:
                self.vectors(self.filters, body)

    def _store(
        self, corner: tuple[Index, Index, Index], beside: tuple[int, int], along: Position, x: Ssa
    ) -> None:
        """Store lanes of one result, unless the maps end before it."""
        f = self.f
        sample, row, column = corner[0], f.add(corner[1], beside[0]), f.add(corner[2], beside[1])
        place = Position((sample, row, column, *along.indices), along.lanes, along.used)
        in_row, in_column = (
            f.compare("slt", f.index(index), f.index(size))
            if size % self.results and further >= size % self.results
            else None
            for index, size, further in ((row, self.rows, beside[0]), (column, self.columns, beside[1]))
        )
        with self.w.on_the_way.where(both(f, in_row, in_column)):
            self.w.store(place, {self.result: x})


class WinogradGradient(_Tiled):
    """Sums over tiles, for a few channels and filters at a time at all points, and then what they mean for
    the taps."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        super().__init__(w, w.graph.node(w.kernel.root).operands[1])
        lanes = w.target.lanes(SIZES[self.item])
        self.at_once, wide = best_tile(w.target, self.depth, self.space.width // lanes)
        self.groups = column_groups(self.filters, wide, w.target, self.item)
        w.tile = (
            f"{self.results}x{self.results} deltas for {self._taps}, {self.at_once} channels x {wide} vectors"
        )

    def begin(self, first: Index, count: Index) -> None:
        """Map the deltas of some tiles."""
        f, deltas = self.f, _Square(self.window, self.maps.of_deltas, self.results)
        with f.loop(0, count, name="tile") as tile:
            target = f.element(self.mapped_maps, self.item, f.multiply(tile.index, self.space.width))
            place = self.place(f.add(first, tile.index))
            self.map_square(deltas, self.filters, place, target, self.space.map_stride)

    def multiply(self, number: Index, count: Index) -> None:
        f, before = self.f, self.f.multiply(number, self.depth)
        for group in self.groups:
            with f.each(group.offset, group.count, group.width, name="column") as column:
                for start, size, times in evenly(self.depth, self.at_once).parts():
                    with f.each(start, times, size, name="channel") as channel:
                        self._multiply(group, column, channel, size, count)
                        with f.loop(0, size, name="row") as row:
                            self._add_to_taps(group, column, f.add(before, channel), row.index)

    def _multiply(self, group: ColumnGroup, column: Index, channel: Index, size: int, count: Index) -> None:
        """Sum up products of some channels with some filters over the tiles, point by point."""
        f, w, space = self.f, self.w, self.space
        with f.loop(0, self.form.points, name="point") as point:
            left = f.element(
                self.mapped_images, self.item, f.multiply(point.index, space.image_stride), channel
            )
            right = f.element(self.mapped_maps, self.item, f.multiply(point.index, space.map_stride), column)
            factors = Factors(left, list(range(size)), space.channels, right, space.width)
            start = zeros(self.item, size, group.columns)
            totals = accumulate(f, w.target, self.item, factors, group.columns, count, start)
            first = f.element(self.sums, self.item, f.multiply(point.index, space.sum_stride))
            for number, total in enumerate(totals):
                row, along = divmod(number, len(group.columns))
                f.store(total, f.element(first, self.item, row * group.width + group.columns[along].offset))

    def _add_to_taps(self, group: ColumnGroup, column: Index, channel: Index, row: Index) -> None:
        """Add to the taps of one channel what its sums mean for them."""
        f, w, space = self.f, self.w, self.space
        source = f.element(self.sums, self.item, f.multiply(row, group.width))
        places = taps_of_part(f, self.result.type, self.form, self.step, f.add(channel, row))
        for part in group.columns:

            def total(row: int, column: int, part: Column = part) -> Ssa:
                point = (row * self.form.side + column) * space.sum_stride
                return f.load(vector(self.item, part.lanes), f.element(source, self.item, point, part.offset))

            for row, taps in along_both(
                w.target, self.maps.to_filters, total, self.form.side, self.form.taps
            ):
                for across, x in enumerate(taps):
                    place, is_there = places[row][across]
                    with where(f, is_there):
                        address = f.element(w.shard, self.item, place, column, part.offset)
                        before = load_lanes(f, self.item, address, part.lanes, part.used, exact=False)
                        store_lanes(f, f.binary("fadd", before, x), address, part.used, w.target)


def winograd(w: Writer) -> None:
    WinogradForward(w).write()


def winograd_gradient(w: Writer) -> None:
    WinogradGradient(w).write()
