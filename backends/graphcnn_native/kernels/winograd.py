"""3x3 correlations on tiles, by Winograd's minimal filtering: a quarter to a half of the time.

A few dozen tiles go through a linear map each (`winograd_maps.py`), become 16 or 36 matrices [tiles,
channels], are multiplied by the mapped filters, and come back as 2x2 or 4x4 results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graphcnn.ir import Value
from graphcnn_native.codegen.function import Index, Ssa, vector
from graphcnn_native.codegen.lanes import Column, load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.nest import over_vectors
from graphcnn_native.kernels.tile import ColumnGroup, Factors, accumulate, column_groups, zeros
from graphcnn_native.kernels.winograd_maps import BothDimensions, Side, maps_to
from graphcnn_native.kernels.writer import Position, Range, Writer
from graphcnn_native.lowering.program import ALIGNMENT, Place
from graphcnn_native.lowering.winograd import (
    LARGE_FILTERS,
    TAPS,
    WinogradCorrelation,
    WinogradFilterGradient,
    WinogradFilters,
    points,
    side,
    workspace,
)
from graphcnn_native.tile_sizes import best_tile, evenly


def winograd_filters(w: Writer) -> None:
    """Map filters [3, 3, C, D] to [points, C, D], in panels; the kernel's share is a range of channels."""
    assert w.kernel.root is not None
    node = w.graph.node(w.kernel.root)
    assert isinstance(node.op, WinogradFilters)
    f, (result,), (filters,) = w.f, w.graph.results(w.kernel.root), node.operands
    item, buffer, results = ITEMS[filters.type.dtype], w.buffer(filters), node.op.results
    lanes, exact = w.target.lanes(SIZES[item]), buffer.place is Place.CALLER
    channels, count = filters.type.static(2), filters.type.static(3)
    maps, both = maps_to(results, f, w.target), BothDimensions(f, item, lanes, results)
    fills_lines = count % lanes == 0 and w.target.vector_bytes == ALIGNMENT
    past_caches = fills_lines and result.type.bytes(1) > LARGE_FILTERS

    def map_vector(part: Column, source: Ssa, target: Ssa) -> None:
        """source: a panel's first element in a row, at the first tap; target: it at the first point."""

        def tap(row: int, column: int) -> Ssa:
            address = f.element(source, item, (row * TAPS + column) * channels * count, part.offset)
            return load_lanes(f, item, address, part.lanes, part.used, exact=exact)

        for row, mapped in enumerate(both.map(maps.of_filters, tap, TAPS)):
            for column, x in enumerate(mapped):
                point = row * side(results) + column
                address = f.element(target, item, point * channels * count, part.offset)
                if past_caches:
                    f.store_past_caches(x, address)
                else:
                    store_lanes(f, x, address, part.used, w.target)

    groups = column_groups(count, node.op.panel // lanes, w.target, item)
    with f.loop(w.begin, w.end, name="channel") as channel:
        for group in groups:
            with f.each(group.offset, group.count, group.width, name="column") as first:
                source = f.element(w.address(buffer), item, f.multiply(channel.index, count), first)
                panel = f.element(w.address(w.buffer(result)), item, f.multiply(first, channels))
                target = f.element(panel, item, f.multiply(channel.index, group.used))
                for part in group.columns:
                    map_vector(part, source, target)
    if past_caches:
        f.publish()


class _Tiled:
    """What both kernels share: tiles of all samples, counted through, and where each is in the workspace."""

    def __init__(self, w: Writer, maps: Value) -> None:
        """maps: the result or its deltas."""
        assert w.kernel.root is not None
        op = w.graph.node(w.kernel.root).op
        assert isinstance(op, WinogradCorrelation | WinogradFilterGradient)
        self.w, self.f, self.op = w, w.f, op
        self.results, self.points = op.results, points(op.results)
        self.images, self.window = w.graph.node(w.kernel.root).operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.item = ITEMS[self.result.type.dtype]
        self.rows, self.columns, self.filters = (maps.type.static(axis) for axis in (1, 2, 3))
        self.channels = self.images.type.static(3)
        self.tile_rows, self.tile_columns = (-(-size // op.results) for size in (self.rows, self.columns))
        self.space = workspace(op, self.images.type, maps.type, w.target)
        self.maps = maps_to(op.results, self.f, w.target)
        self.both = BothDimensions(self.f, self.item, w.target.lanes(SIZES[self.item]), op.results)
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
            with f.loop(0, count, name="tile") as tile:
                self.enter(tile.index, self._place(f.add(first.index, tile.index)))
            self.leave(first.index, count)

    def enter(self, tile: Index, place: tuple[Index, Index, Index]) -> None:
        """Map what belongs to one tile into the workspace: its pixels."""
        target = self.f.element(self.mapped_images, self.item, self.f.multiply(tile, self.space.channels))
        before = (self.op.padding[0][0], self.op.padding[1][0])
        size, stride = side(self.results), self.space.image_stride
        self.map_square(self.images, place, before, self.maps.of_pixels, size, target, stride)

    def cut(self, total: Index) -> Range:
        """Return the tiles that this part of the kernel works on."""
        return 0, total

    def leave(self, first: Index, count: Index) -> None:
        """Multiply what some tiles became, and map it back."""
        raise NotImplementedError

    def _place(self, number: Index) -> tuple[Index, Index, Index]:
        """Return sample, row and column of a tile."""
        f, per_sample = self.f, self.tile_rows * self.tile_columns
        sample = f.divide(number, per_sample)
        rest = f.subtract(number, f.multiply(sample, per_sample))
        row = f.divide(rest, self.tile_columns)
        return f.add(self.w.begin, sample), row, f.subtract(rest, f.multiply(row, self.tile_columns))

    def map_square(
        self,
        value: Value,
        place: tuple[Index, Index, Index],
        before: tuple[int, int],
        along: Side,
        size: int,
        target: Ssa,
        stride: int,
    ) -> None:
        """Map the pixels of a tile, or its deltas, in all channels, to a row of each point's matrix.

        before: how many rows and columns the first pixel lies before the tile's first result. size: of the
        square. target: that row for the first point; stride: how far apart the points' matrices are.
        """
        f, w = self.f, self.w
        buffer = w.buffer(value)
        addresses = self._addresses(value, place, before, size)

        def body(offset: Index, lanes: int, used: int) -> None:
            def pixel(row: int, column: int) -> Ssa:
                address = f.element(addresses[row][column], self.item, offset)
                return load_lanes(f, self.item, address, lanes, used, exact=buffer.place is Place.CALLER)

            for row, mapped in enumerate(self.both.map(along, pixel, size)):
                for column, x in enumerate(mapped):
                    point = row * side(self.results) + column
                    f.store(x, f.element(target, self.item, offset, point * stride))

        self.vectors(value.type.static(3), body)

    def _addresses(
        self, value: Value, place: tuple[Index, Index, Index], before: tuple[int, int], size: int
    ) -> list[list[Ssa]]:
        """Return the addresses of a square of pixels, row by row; beyond the images there are zeros."""
        f, w, type = self.f, self.w, value.type
        sample, *corner = place
        offsets: list[list[tuple[Index, Ssa | None]]] = []
        for axis, tiles in ((0, self.tile_rows), (1, self.tile_columns)):
            extent, along = type.static(1 + axis), []
            for pixel in range(size):
                index = f.add(f.multiply(corner[axis], self.results), pixel - before[axis])
                reached = (tile * self.results + pixel - before[axis] for tile in range(tiles))
                known = all(0 <= place < extent for place in reached)
                inside = None if known else f.compare("ult", f.index(index), f.index(extent))
                along.append((index, inside))
            offsets.append(along)
        base, found = w.address(w.buffer(value)), list[list[Ssa]]()
        for row, row_inside in offsets[0]:
            found.append([])
            for column, column_inside in offsets[1]:
                address = f.element(base, self.item, w.offset(type, (sample, row, column, 0)))
                conditions = [inside for inside in (row_inside, column_inside) if inside is not None]
                if conditions:
                    address = f.select(self.all_of(conditions), address, self.zeros)
                found[-1].append(address)
        return found

    def vectors(self, size: int, body: Callable[[Index, int, int], None]) -> None:
        """Run `body(offset, lanes, used)` for the vectors of a row of channels."""
        over_vectors(self.w, 0, size, self.item, body, unrolled=1)

    def all_of(self, conditions: list[Ssa]) -> Ssa:
        """Return whether one or two conditions hold."""
        return conditions[0] if len(conditions) == 1 else self.f.binary("and", *conditions)


class WinogradForward(_Tiled):
    """Sums over channels: 2x2 results a tile, with what follows them pointwise."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        super().__init__(w, w.graph.results(w.kernel.root)[0])
        assert isinstance(self.op, WinogradCorrelation)
        self.at_once, panel = self.op.tile
        wide = panel // w.target.lanes(SIZES[self.item])
        self.groups = column_groups(self.filters, wide, w.target, self.item)
        w.tile = f"{self.results}x{self.results} results, {self.at_once} tiles x {wide} vectors"

    def cut(self, total: Index) -> Range:
        """Cut the tiles and, where these are too few, the columns of register tiles, if vectors are whole."""
        count = sum(group.count for group in self.groups)
        self.is_cut = count > 1 and self.filters == self.space.width
        grain = 1 if self.is_cut else count
        tiles, self.units = self.w.cut_along((0, total, self.at_once), (0, count, grain))
        return tiles

    def _multiply(self, point: Index, count: Index) -> None:
        """Multiply the matrices of one point."""
        f, w, space = self.f, self.w, self.space
        tiles = f.element(self.mapped_images, self.item, f.multiply(point, space.image_stride))
        matrix = f.multiply(point, self.channels * self.filters)
        filters = f.element(w.address(w.buffer(self.window)), self.item, matrix)
        sums = f.element(self.mapped_maps, self.item, f.multiply(point, space.map_stride))
        offsets = [row * space.channels for row in range(self.at_once)]
        before = 0
        for group in self.groups:
            with self._columns_of(group, before) as column, f.loop(0, count, self.at_once, name="row") as row:
                left = f.element(tiles, self.item, f.multiply(row.index, space.channels))
                right = f.element(filters, self.item, f.multiply(column, self.channels))
                factors = Factors(left, offsets, 1, right, group.used)
                start = zeros(self.item, self.at_once, group.columns)
                totals = accumulate(f, w.target, self.item, factors, group.columns, self.channels, start)
                first = f.element(sums, self.item, f.multiply(row.index, space.width), column)
                for number, total in enumerate(totals):
                    down, along = divmod(number, len(group.columns))
                    offset = down * space.width + group.columns[along].offset
                    f.store(total, f.element(first, self.item, offset))
            before += group.count

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

    def leave(self, first: Index, count: Index) -> None:
        f = self.f
        with f.loop(0, self.points, name="point") as point:
            self._multiply(point.index, count)
        with f.loop(0, count, name="tile") as tile:
            source = f.element(self.mapped_maps, self.item, f.multiply(tile.index, self.space.width))
            sample, row, column = self._place(f.add(first, tile.index))
            corner = (sample, f.multiply(row, self.results), f.multiply(column, self.results))

            def body(offset: Index, lanes: int, used: int) -> None:
                def product(row: int, column: int) -> Ssa:
                    point = (row * side(self.results) + column) * self.space.map_stride
                    return f.load(vector(self.item, lanes), f.element(source, self.item, offset, point))

                rows = self.both.map(self.maps.to_results, product, side(self.results))
                for row, results in enumerate(rows):
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
        within = [
            f.compare("slt", f.index(index), f.index(size))
            for index, size, further in ((row, self.rows, beside[0]), (column, self.columns, beside[1]))
            if size % self.results and further >= size % self.results
        ]
        if not within:
            self.w.store(place, {self.result: x})
            return
        with f.when(self.all_of(within)):
            self.w.store(place, {self.result: x})


class WinogradGradient(_Tiled):
    """Sums over tiles, for a few channels and filters at a time at all points, and then what they mean for
    the taps."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        images, deltas = w.graph.node(w.kernel.root).operands
        super().__init__(w, deltas)
        lanes = w.target.lanes(SIZES[self.item])
        self.at_once, wide = best_tile(w.target, images.type.static(3), self.space.width // lanes)
        self.groups = column_groups(self.filters, wide, w.target, self.item)
        w.tile = f"{self.results}x{self.results} deltas, {self.at_once} channels x {wide} vectors"

    def enter(self, tile: Index, place: tuple[Index, Index, Index]) -> None:
        super().enter(tile, place)
        maps = self.f.element(self.mapped_maps, self.item, self.f.multiply(tile, self.space.width))
        size, stride = self.results, self.space.map_stride
        self.map_square(self.window, place, (0, 0), self.maps.of_deltas, size, maps, stride)

    def leave(self, first: Index, count: Index) -> None:
        f = self.f
        for group in self.groups:
            with f.each(group.offset, group.count, group.width, name="column") as column:
                for start, size, times in evenly(self.channels, self.at_once).parts():
                    with f.each(start, times, size, name="channel") as channel:
                        self._multiply(group, column, channel, size, count)
                        with f.loop(0, size, name="row") as row:
                            self._add_to_taps(group, column, channel, row.index)

    def _multiply(self, group: ColumnGroup, column: Index, channel: Index, size: int, count: Index) -> None:
        """Sum up products of some channels with some filters over the tiles, point by point."""
        f, w, space = self.f, self.w, self.space
        with f.loop(0, self.points, name="point") as point:
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
        target = f.element(w.shard, self.item, f.multiply(f.add(channel, row), self.filters), column)
        for part in group.columns:

            def total(row: int, column: int, part: Column = part) -> Ssa:
                point = (row * side(self.results) + column) * space.sum_stride
                return f.load(vector(self.item, part.lanes), f.element(source, self.item, point, part.offset))

            for row, taps in enumerate(self.both.map(self.maps.to_filters, total, side(self.results))):
                for column, x in enumerate(taps):
                    place = (row * TAPS + column) * self.channels * self.filters
                    address = f.element(target, self.item, place, part.offset)
                    before = load_lanes(f, self.item, address, part.lanes, part.used, exact=False)
                    store_lanes(f, f.binary("fadd", before, x), address, part.used, w.target)


def winograd(w: Writer) -> None:
    WinogradForward(w).write()


def winograd_gradient(w: Writer) -> None:
    WinogradGradient(w).write()
