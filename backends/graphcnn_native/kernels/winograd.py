"""3x3 correlations on tiles of 4x4 pixels, by Winograd's F(2x2, 3x3): a third to a half of the time.

A few dozen tiles go through a linear map each, become 16 matrices [tiles, channels], are multiplied by the
mapped filters, and come back as 2x2 results. Maps of two dimensions are maps of one dimension, along both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from graphcnn.ir import Value
from graphcnn.ops import Correlate2d
from graphcnn_native.codegen.function import Function, Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.nest import over_run, over_vectors
from graphcnn_native.kernels.tile import Factors, accumulate, best_tile, column_groups, evenly, zeros
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.program import Place
from graphcnn_native.lowering.winograd import LARGEST_TILE, POINTS, RESULTS, SIDE, TAPS, workspace

Side: TypeAlias = Callable[[Function, Sequence[Ssa]], list[Ssa]]
"""A map along one dimension, by Lavin and Gray's matrices; the gradient has their transposes."""


def of_pixels(f: Function, d: Sequence[Ssa]) -> list[Ssa]:
    """Bᵀ: four pixels."""
    return [_minus(f, d[0], d[2]), _plus(f, d[1], d[2]), _minus(f, d[2], d[1]), _minus(f, d[1], d[3])]


def of_filters(f: Function, g: Sequence[Ssa]) -> list[Ssa]:
    """G: three taps."""
    ends = _plus(f, g[0], g[2])
    return [g[0], _half(f, _plus(f, ends, g[1])), _half(f, _minus(f, ends, g[1])), g[2]]


def to_results(f: Function, m: Sequence[Ssa]) -> list[Ssa]:
    """Aᵀ: four products become two results."""
    return [_plus(f, m[0], _plus(f, m[1], m[2])), _minus(f, _minus(f, m[1], m[2]), m[3])]


def of_deltas(f: Function, y: Sequence[Ssa]) -> list[Ssa]:
    """A: two deltas."""
    return [y[0], _plus(f, y[0], y[1]), _minus(f, y[0], y[1]), f.emit(y[1].type, f"fneg {y[1]}")]


def to_filters(f: Function, u: Sequence[Ssa]) -> list[Ssa]:
    """Gᵀ: four sums become the gradient of three taps."""
    even, odd = _half(f, _plus(f, u[1], u[2])), _half(f, _minus(f, u[1], u[2]))
    return [_plus(f, u[0], even), odd, _plus(f, even, u[3])]


def _plus(f: Function, x: Ssa, y: Ssa) -> Ssa:
    return f.binary("fadd", x, y)


def _minus(f: Function, x: Ssa, y: Ssa) -> Ssa:
    return f.binary("fsub", x, y)


def _half(f: Function, x: Ssa) -> Ssa:
    return f.binary("fmul", x, constant(x.type, 0.5))


def _along_both(f: Function, side: Side, square: Sequence[Ssa]) -> list[Ssa]:
    """Map the columns of a square that is given row by row, and then its rows."""
    size = math.isqrt(len(square))
    columns_ = [side(f, square[column::size]) for column in range(size)]
    return [x for row in zip(*columns_, strict=True) for x in side(f, row)]


def winograd_filters(w: Writer) -> None:
    """Map filters [3, 3, C, D] to [16, C, D]; the kernel's share is a range of the elements of [C, D]."""
    assert w.kernel.root is not None
    f, (result,), (filters,) = w.f, w.graph.results(w.kernel.root), w.graph.node(w.kernel.root).operands
    item, buffer = ITEMS[filters.type.dtype], w.buffer(filters)
    matrix = filters.type.static(2) * filters.type.static(3)

    def body(position: Position) -> None:
        first = f.element(w.address(buffer), item, *position.indices)
        taps = [
            load_lanes(
                f,
                item,
                f.element(first, item, tap * matrix),
                position.lanes,
                position.used,
                exact=buffer.place is Place.CALLER,
            )
            for tap in range(TAPS * TAPS)
        ]
        mapped = _along_both(f, of_filters, taps)
        for point, x in enumerate(mapped):
            w.store(Position((point, *position.indices), position.lanes, position.used), {result: x})

    over_run(w, w.begin, w.end, (), body, item)


class _Tiled:
    """What both kernels share: tiles of all samples, counted through, and where each is in the workspace."""

    def __init__(self, w: Writer, maps: Value, rows: int) -> None:
        """maps: the result or its deltas. rows: of the products' matrices, to be cut into register tiles."""
        assert w.kernel.root is not None
        op = w.graph.node(w.kernel.root).op
        assert isinstance(op, Correlate2d)
        self.w, self.f, self.op = w, w.f, op
        self.images, self.window = w.graph.node(w.kernel.root).operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.item = ITEMS[self.result.type.dtype]
        self.rows, self.columns, self.filters = (maps.type.static(axis) for axis in (1, 2, 3))
        self.channels = self.images.type.static(3)
        self.tile_rows, self.tile_columns = -(-self.rows // RESULTS), -(-self.columns // RESULTS)
        self.space = workspace(op, self.images.type, maps.type, w.target)
        wide = self.space.width // w.target.lanes(SIZES[self.item])
        self.at_once, self.wide = best_tile(w.target, rows, wide)
        self.groups = column_groups(self.space.width, self.wide, w.target, self.item)
        start = w.workspace
        self.zeros, self.mapped_images, self.mapped_maps, self.sums = (
            self.f.element(start, "i8", offset)
            for offset in (self.space.zeros, self.space.images, self.space.maps, self.space.sums)
        )

    def write(self) -> None:
        """Go through the tiles of all samples, some at a time."""
        f, w = self.f, self.w
        f.clear(self.zeros, self.space.images - self.space.zeros)
        self.begin()
        total = f.multiply(f.subtract(w.end, w.begin), self.tile_rows * self.tile_columns)
        with f.loop(0, total, self.space.tiles, name="first") as first:
            count = f.least(self.space.tiles, f.subtract(total, first.index))
            with f.loop(0, count, name="tile") as tile:
                self.enter(tile.index, self._place(f.add(first.index, tile.index)))
            with f.loop(0, POINTS, name="point") as point:
                self.multiply(point.index, count)
            self.leave(first.index, count)
        self.end()

    def begin(self) -> None:
        """Do what comes before the first tile."""

    def enter(self, tile: Index, place: tuple[Index, Index, Index]) -> None:
        """Map what belongs to one tile into the workspace: its pixels."""
        target = self.f.element(self.mapped_images, self.item, self.f.multiply(tile, self.space.channels))
        before = (self.op.padding[0][0], self.op.padding[1][0])
        self.map_pixels(self.images, place, before, of_pixels, target)

    def multiply(self, point: Index, count: Index) -> None:
        """Multiply the matrices of one point."""
        raise NotImplementedError

    def leave(self, first: Index, count: Index) -> None:
        """Do what comes after the products of some tiles."""

    def end(self) -> None:
        """Do what comes after the last tile."""

    def _place(self, number: Index) -> tuple[Index, Index, Index]:
        """Return sample, row and column of a tile."""
        f, per_sample = self.f, self.tile_rows * self.tile_columns
        sample = f.divide(number, per_sample)
        rest = f.subtract(number, f.multiply(sample, per_sample))
        row = f.divide(rest, self.tile_columns)
        return f.add(self.w.begin, sample), row, f.subtract(rest, f.multiply(row, self.tile_columns))

    def map_pixels(
        self,
        value: Value,
        place: tuple[Index, Index, Index],
        before: tuple[int, int],
        side: Side,
        target: Ssa,
    ) -> None:
        """Map the pixels of a tile, in all channels, to a row of each point's matrix.

        before: how many rows and columns the first pixel lies before the tile's first result.
        target: that row for the first point.
        """
        f, w = self.f, self.w
        buffer, size = w.buffer(value), SIDE if side is of_pixels else RESULTS
        stride = self.space.image_stride if side is of_pixels else self.space.map_stride
        addresses = self._addresses(value, place, before, size)

        def body(offset: Index, lanes: int, used: int) -> None:
            exact = buffer.place is Place.CALLER
            pixels = [
                load_lanes(f, self.item, f.element(address, self.item, offset), lanes, used, exact=exact)
                for address in addresses
            ]
            for point, x in enumerate(_along_both(f, side, pixels)):
                f.store(x, f.element(target, self.item, offset, point * stride))

        self.vectors(value.type.static(3), body)

    def _addresses(
        self, value: Value, place: tuple[Index, Index, Index], before: tuple[int, int], size: int
    ) -> list[Ssa]:
        """Return the addresses of a square of pixels; beyond the images there are zeros."""
        f, w, type = self.f, self.w, value.type
        sample, *corner = place
        offsets: list[list[tuple[Index, Ssa | None]]] = []
        for axis, tiles in ((0, self.tile_rows), (1, self.tile_columns)):
            extent, along = type.static(1 + axis), []
            for pixel in range(size):
                index = f.add(f.multiply(corner[axis], RESULTS), pixel - before[axis])
                reached = (tile * RESULTS + pixel - before[axis] for tile in range(tiles))
                known = all(0 <= place < extent for place in reached)
                inside = None if known else f.compare("ult", f.index(index), f.index(extent))
                along.append((index, inside))
            offsets.append(along)
        base, found = w.address(w.buffer(value)), []
        for row, row_inside in offsets[0]:
            for column, column_inside in offsets[1]:
                address = f.element(base, self.item, w.offset(type, (sample, row, column, 0)))
                conditions = [inside for inside in (row_inside, column_inside) if inside is not None]
                if conditions:
                    address = f.select(self.all_of(conditions), address, self.zeros)
                found.append(address)
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
        super().__init__(w, w.graph.results(w.kernel.root)[0], LARGEST_TILE)
        w.tile = f"2x2 results, {self.at_once} tiles x {self.wide} vectors"

    def multiply(self, point: Index, count: Index) -> None:
        f, w, space = self.f, self.w, self.space
        tiles = f.element(self.mapped_images, self.item, f.multiply(point, space.image_stride))
        matrix = f.multiply(point, self.channels * self.filters)
        filters = f.element(w.address(w.buffer(self.window)), self.item, matrix)
        sums = f.element(self.mapped_maps, self.item, f.multiply(point, space.map_stride))
        offsets = [row * space.channels for row in range(self.at_once)]
        for group in self.groups:
            across = f.each(group.offset, group.count, group.width)
            with across as column, f.loop(0, count, self.at_once, name="row") as row:
                left = f.element(tiles, self.item, f.multiply(row.index, space.channels))
                right = f.element(filters, self.item, column)
                factors = Factors(left, offsets, 1, right, self.filters)
                start = zeros(self.item, self.at_once, group.columns)
                totals = accumulate(f, w.target, self.item, factors, group.columns, self.channels, start)
                first = f.element(sums, self.item, f.multiply(row.index, space.width), column)
                for number, total in enumerate(totals):
                    down, along = divmod(number, len(group.columns))
                    offset = down * space.width + group.columns[along].offset
                    f.store(total, f.element(first, self.item, offset))

    def leave(self, first: Index, count: Index) -> None:
        f = self.f
        with f.loop(0, count, name="tile") as tile:
            source = f.element(self.mapped_maps, self.item, f.multiply(tile.index, self.space.width))
            sample, row, column = self._place(f.add(first, tile.index))
            corner = (sample, f.multiply(row, RESULTS), f.multiply(column, RESULTS))

            def body(offset: Index, lanes: int, used: int) -> None:
                type = vector(self.item, lanes)
                products = [
                    f.load(type, f.element(source, self.item, offset, point * self.space.map_stride))
                    for point in range(POINTS)
                ]
                for number, x in enumerate(_along_both(f, to_results, products)):
                    self._store(corner, divmod(number, RESULTS), Position((offset,), lanes, used), x)

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
            if further and size % RESULTS
        ]
        if not within:
            self.w.store(place, {self.result: x})
            return
        with f.when(self.all_of(within)):
            self.w.store(place, {self.result: x})


class WinogradGradient(_Tiled):
    """Sums over tiles and samples; what they mean for the taps is worked out at the end."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        images, deltas = w.graph.node(w.kernel.root).operands
        super().__init__(w, deltas, images.type.static(3))
        w.tile = f"2x2 deltas, {self.at_once} channels x {self.wide} vectors"

    def begin(self) -> None:
        self.f.clear(self.sums, self.space.bytes - self.space.sums)

    def enter(self, tile: Index, place: tuple[Index, Index, Index]) -> None:
        super().enter(tile, place)
        maps = self.f.element(self.mapped_maps, self.item, self.f.multiply(tile, self.space.width))
        self.map_pixels(self.window, place, (0, 0), of_deltas, maps)

    def multiply(self, point: Index, count: Index) -> None:
        f, w, space = self.f, self.w, self.space
        images = f.element(self.mapped_images, self.item, f.multiply(point, space.image_stride))
        maps = f.element(self.mapped_maps, self.item, f.multiply(point, space.map_stride))
        sums = f.element(self.sums, self.item, f.multiply(point, space.channels * space.width))
        for group in self.groups:
            with f.each(group.offset, group.count, group.width, name="column") as column:
                for start, size, times in evenly(self.channels, self.at_once).parts():
                    with f.each(start, times, size, name="channel") as channel:
                        left = f.element(images, self.item, channel)
                        right = f.element(maps, self.item, column)
                        first = f.element(sums, self.item, f.multiply(channel, space.width), column)
                        places = [
                            f.element(first, self.item, row * space.width + c.offset)
                            for row in range(size)
                            for c in group.columns
                        ]
                        type = vector(self.item, group.columns[0].lanes)
                        factors = Factors(left, list(range(size)), space.channels, right, space.width)
                        before = [f.load(type, place) for place in places]
                        totals = accumulate(f, w.target, self.item, factors, group.columns, count, before)
                        for place, total in zip(places, totals, strict=True):
                            f.store(total, place)

    def end(self) -> None:
        f, w, space = self.f, self.w, self.space
        shard = w.shard
        with f.loop(0, self.channels, name="channel") as channel:
            source = f.element(self.sums, self.item, f.multiply(channel.index, space.width))
            target = f.element(shard, self.item, f.multiply(channel.index, self.filters))

            def body(offset: Index, lanes: int, used: int) -> None:
                type = vector(self.item, lanes)
                stride = space.channels * space.width
                sums = [
                    f.load(type, f.element(source, self.item, offset, point * stride))
                    for point in range(POINTS)
                ]
                for number, x in enumerate(_along_both(f, to_filters, sums)):
                    place = number * self.channels * self.filters
                    address = f.element(target, self.item, offset, place)
                    before = load_lanes(f, self.item, address, lanes, used, exact=False)
                    store_lanes(f, f.binary("fadd", before, x), address, used, w.target)

            self.vectors(self.filters, body)


def winograd(w: Writer) -> None:
    WinogradForward(w).write()


def winograd_gradient(w: Writer) -> None:
    WinogradGradient(w).write()
