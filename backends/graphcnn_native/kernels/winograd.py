"""Correlations on tiles, by Winograd's minimal filtering: a quarter to a half of the time.

A few dozen tiles go through a linear map each (`winograd_maps.py`), become 16 or 36 matrices [tiles,
channels], are multiplied by the mapped filters, and come back as 2x2 to 4x4 results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

from graphcnn.ir import TensorType, Value
from graphcnn.ops.attributes import NO_PADDING, Padding, Pair
from graphcnn_native.codegen.function import Function, Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import Column, load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.nest import over_vectors
from graphcnn_native.kernels.tile import ColumnGroup, Factors, accumulate, column_groups, zeros
from graphcnn_native.kernels.winograd_maps import Side, along_both, maps_of
from graphcnn_native.kernels.writer import Position, Range, Writer
from graphcnn_native.lowering.program import ALIGNMENT, Place
from graphcnn_native.lowering.winograd import (
    LARGE_FILTERS,
    Form,
    WinogradCorrelation,
    WinogradFilterGradient,
    WinogradFilters,
    step_of,
    taps_of,
    workspace,
)
from graphcnn_native.tile_sizes import best_tile, evenly


def winograd_filters(w: Writer) -> None:
    """Map filters [K, K', C, D] to [points, parts · C, D], in panels; its share is a range of channels."""
    assert w.kernel.root is not None
    node = w.graph.node(w.kernel.root)
    assert isinstance(node.op, WinogradFilters)
    f, (result,), (filters,) = w.f, w.graph.results(w.kernel.root), node.operands
    item, buffer, form = ITEMS[filters.type.dtype], w.buffer(filters), node.op.form
    lanes, exact = w.target.lanes(SIZES[item]), buffer.place is Place.CALLER
    depth, count = node.op.depth, result.type.static(2)
    maps = maps_of(form, f, w.target)
    fills_lines = count % lanes == 0 and w.target.vector_bytes == ALIGNMENT
    past_caches = fills_lines and result.type.bytes(1) > LARGE_FILTERS

    def map_vector(part: Column, used: int, source: Ssa, taps: list[list[_Tap]], target: Ssa) -> None:
        """source: a panel's first element in a row, at the first tap; target: it at the first point.

        used: how wide the panel is.
        """

        def tap(row: int, column: int) -> Ssa:
            offset, is_there = taps[row][column]
            offset = offset if is_there is None else f.select(is_there, f.index(offset), f.index(0))
            address = f.element(source, item, offset, part.offset)
            x = load_lanes(f, item, address, part.lanes, part.used, exact=exact)
            return x if is_there is None else f.select(is_there, x, constant(x.type, 0.0))

        for row, mapped in along_both(w.target, maps.of_filters, tap, form.taps, form.side):
            for column, x in enumerate(mapped):
                point = row * form.side + column
                address = f.element(target, item, point * depth * used, part.offset)
                if past_caches:
                    f.store_past_caches(x, address)
                else:
                    store_lanes(f, x, address, part.used, w.target)

    groups = column_groups(count, node.op.panel // lanes, w.target, item)
    with f.loop(w.begin, w.end, name="channel") as channel:
        taps = _taps_of_part(f, filters.type, form, node.op.step, channel.index)
        number = f.divide(channel.index, depth)
        within = f.subtract(channel.index, f.multiply(number, depth))
        panels = f.element(w.address(w.buffer(result)), item, f.multiply(number, form.points * depth * count))
        for group in groups:
            with f.each(group.offset, group.count, group.width, name="column") as first:
                source = f.element(w.address(buffer), item, first)
                panel = f.element(panels, item, f.multiply(first, form.points * depth))
                target = f.element(panel, item, f.multiply(within, group.used))
                for part in group.columns:
                    map_vector(part, group.used, source, taps, target)
    if past_caches:
        f.publish()


_Tap: TypeAlias = tuple[Index, Ssa | None]
"""Where in filters a tap is, and whether it is one of theirs, unless that is sure."""


def _taps_of_part(
    f: Function, filters: TensorType, form: Form, step: Pair, channel: Index
) -> list[list[_Tap]]:
    """Return the taps of a part of filters [K, K', C, D]; channel: of all parts, one after the other."""
    size, channels, count = taps_of(filters), filters.static(2), filters.static(3)
    parts = form.parts_of(size, step)
    part = f.divide(channel, channels) if parts != (1, 1) else 0
    channel = f.subtract(channel, f.multiply(part, channels))
    down = f.divide(part, parts[1])
    places: list[list[_Tap]] = []
    for axis, along in enumerate((down, f.subtract(part, f.multiply(down, parts[1])))):
        first = _offset(f, form, along, step[axis])
        furthest = form.offset_of(parts[axis] - 1, step[axis])
        places.append([])
        for tap in range(form.taps):
            place = f.add(first, tap * step[axis])
            is_sure = furthest + tap * step[axis] < size[axis]
            is_there = None if is_sure else f.compare("ult", f.index(place), f.index(size[axis]))
            places[-1].append((place, is_there))

    def of(row: Index, column: Index) -> Index:
        tap = f.add(f.multiply(row, size[1]), column)
        return f.multiply(f.add(f.multiply(tap, channels), channel), count)

    return [
        [(of(row, column), _both(f, in_row, in_column)) for column, in_column in places[1]]
        for row, in_row in places[0]
    ]


def _offset(f: Function, form: Form, part: Index, step: int) -> Index:
    """Return `Form.offset_of` a part that is known when the program runs."""
    return f.add(part, f.multiply(f.divide(part, step), (form.taps - 1) * step))


def _both(f: Function, x: Ssa | None, y: Ssa | None) -> Ssa | None:
    """Return whether both conditions hold; None stands for one that surely does."""
    return f.binary("and", x, y) if x is not None and y is not None else x or y


def _where(f: Function, condition: Ssa | None) -> AbstractContextManager[None]:
    """A block that runs where the condition holds."""
    return nullcontext() if condition is None else f.when(condition)


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
            moved = _offset(f, self.form, down, self.step[0]), _offset(f, self.form, across, self.step[1])
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
                inside = _both(f, row_inside, column_inside)
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
        f, before = self.f, 0
        for group in self.groups:
            with (
                self._columns_of(group, before) as column,
                f.loop(0, self.form.points, name="point") as point,
                f.loop(0, count, self.at_once, name="row") as row,
            ):
                self._multiply(group, column, point.index, row.index, number)
            before += group.count

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

    @contextmanager
    def _columns_of(self, group: ColumnGroup, before: int) -> Iterator[Index]:
        """A loop over the first columns of a group's tiles that this part of the kernel works on.

        before: how many columns of tiles there are in the groups before it.
        """
        f = self.f
        if not self.is_cut:
            with f.each(group.offset, group.count, group.width, name="column") as column:
                yield column
            return
        first, last = (f.greatest(before, f.least(before + group.count, unit)) for unit in self.units)
        with f.loop(first, last, name="unit") as unit:
            yield f.add(group.offset, f.multiply(f.subtract(unit.index, before), group.width))

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
        with _where(f, _both(f, in_row, in_column)):
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
        places = _taps_of_part(f, self.result.type, self.form, self.step, f.add(channel, row))
        for part in group.columns:

            def total(row: int, column: int, part: Column = part) -> Ssa:
                point = (row * self.form.side + column) * space.sum_stride
                return f.load(vector(self.item, part.lanes), f.element(source, self.item, point, part.offset))

            for row, taps in along_both(
                w.target, self.maps.to_filters, total, self.form.side, self.form.taps
            ):
                for across, x in enumerate(taps):
                    place, is_there = places[row][across]
                    with _where(f, is_there):
                        address = f.element(w.shard, self.item, place, column, part.offset)
                        before = load_lanes(f, self.item, address, part.lanes, part.used, exact=False)
                        store_lanes(f, f.binary("fadd", before, x), address, part.used, w.target)


def winograd(w: Writer) -> None:
    WinogradForward(w).write()


def winograd_gradient(w: Writer) -> None:
    WinogradGradient(w).write()
