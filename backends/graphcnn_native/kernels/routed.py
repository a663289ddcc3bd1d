"""Gradients of a convolution before a max pool, by lists of the errors that are not 0.

An error's products with a row of taps are as many numbers side by side: of the images, or of the filters. So
a list names for each error that is not 0 where the first of them are, and the sums that a list adds to stay
in registers as long as it is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

from graphcnn.ir import Value
from graphcnn_native.codegen.function import INDEX, Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import (
    Column,
    columns,
    first_lanes,
    load_first,
    load_lanes,
    moved_together,
    store_lanes,
)
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.nest import over_vectors
from graphcnn_native.kernels.tile import multiply_add
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.program import Place
from graphcnn_native.lowering.routing import RoutedCorrelation, RoutedFilterGradient, filter_lists, map_lists
from graphcnn_native.tile_sizes import evenly

BESIDE = 4
"""Registers that a list's sums leave: for an error, in vectors of both sizes, and numbers on their way."""


class _Listing:
    """What both gradients share: pooled errors and numbers of winners, and products of listed ones."""

    def __init__(self, w: Writer, delta: Value, index: Value, taps: int, run: int) -> None:
        self.w, self.f, self.delta, self.index, self.taps = w, w.f, delta, index, taps
        self.item = ITEMS[delta.type.dtype]
        self.lanes = w.target.lanes(SIZES[self.item])
        self.rows, self.columns, self.filters = (delta.type.static(axis) for axis in (1, 2, 3))
        self.row = columns(run, w.target, self.item)

    def _at(self, offset: int, item: str, *elements: Index) -> Ssa:
        """Return the address of an element of what lies at an offset of the workspace."""
        return self.f.element(self.f.element(self.w.workspace, "i8", offset), item, *elements)

    def _load(self, value: Value, address: Ssa, used: int) -> Ssa:
        """Load lanes of an operand."""
        exact = self.w.buffer(value).place is Place.CALLER
        return load_lanes(self.f, ITEMS[value.type.dtype], address, self.lanes, used, exact=exact)

    def _tiles(self) -> list[list[tuple[int, Column]]]:
        """Return rows of taps and vectors of them, as many together as registers hold sums."""
        places, first, found = list(product(range(self.taps), self.row[:])), 0, []
        for _, size, times in evenly(len(places), self.w.target.registers - BESIDE).parts():
            for _ in range(times):
                found.append(places[first : first + size])
                first += size
        return found

    def _add_products(
        self,
        listed: tuple[Ssa, Ssa, Ssa],
        others: Value,
        first: Ssa,
        steps: tuple[int, int],
        sums: Ssa,
        tile: Sequence[tuple[int, Column]],
    ) -> None:
        """Add the products of listed errors to sums in memory: of a row of taps and a vector of it each.

        listed: the errors, where each has its other factors, and how many there are. others, first: the value
        that has those, and where their offsets count from. steps: from a row of taps to the next, of factors
        and of sums.
        """
        f, (values, offsets, count) = self.f, listed
        exact = self.w.buffer(others).place is Place.CALLER
        addresses = [f.element(sums, self.item, m * steps[1] + c.offset) for m, c in tile]
        start = [f.load(vector(self.item, c.lanes), at) for at, (_, c) in zip(addresses, tile, strict=True)]
        with f.loop(0, count, carried=start, name="error") as error:
            x = f.load(self.item, f.element(values, self.item, error.index))
            offset = f.convert("sext", f.load("i32", f.element(offsets, "i32", error.index)), INDEX)
            here = f.element(first, self.item, offset)
            for number, (m, c) in enumerate(tile):
                address = f.element(here, self.item, m * steps[0] + c.offset)
                y = load_first(f, self.item, address, c.lanes, c.used if exact else c.lanes)
                total = error.values[number]
                error.results[number] = multiply_add(f, self.w.target, f.splat(x, c.lanes), y, total)
        for at, (_, c), total in zip(addresses, tile, error.results, strict=True):
            store_lanes(f, total, at, c.used, self.w.target)


class _FilterGradient(_Listing):
    """result[m, n, c, d] = Σ over listed errors of filter d of error · images[row + m, column + n, c]."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        assert isinstance(node.op, RoutedFilterGradient)
        self.op = node.op
        self.images, delta, index = node.operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.height, self.width, self.channels = (self.images.type.static(axis) for axis in (1, 2, 3))
        taps, across = self.result.type.static(0), self.result.type.static(1)
        super().__init__(w, delta, index, taps, across * self.channels)
        self.lists = filter_lists(node.op, self.images.type, self.delta.type, w.target)

    def write(self) -> None:
        f, w, taken = self.f, self.w, self.lists
        w.tile = f"lists of {taken.places} errors, {self.taps} x {len(self.row)} vectors"
        f.clear(w.workspace, taken.first_pixels)
        self._find_first_pixels()
        with f.loop(w.begin, w.end, taken.samples, name="chunk") as chunk:
            samples = f.least(taken.samples, f.subtract(w.end, chunk.index))
            with f.loop(0, self.rows, taken.rows, name="row") as row:
                self.first = chunk.index, row.index
                rows = f.least(taken.rows, f.subtract(self.rows, row.index))
                self.places = f.multiply(f.multiply(samples, rows), self.columns)
                self._by_vectors(self.filters, self._filters)
        self._add_up()

    def _by_vectors(self, size: int, body: Callable[[Index, int], None]) -> None:
        """Run `body(first, used)` for the vectors of a row of whole lanes, and for the rest of the row."""
        whole = size // self.lanes * self.lanes
        if whole:
            with self.f.loop(0, whole, self.lanes, name="first") as first:
                body(first.index, self.lanes)
        if whole < size:
            body(whole, size - whole)

    def _find_first_pixels(self) -> None:
        """Note for each place that is listed together where its window begins in the images."""
        f, taken = self.f, self.lists
        down, across = self.op.size
        with (
            f.loop(0, taken.samples, name="sample") as n,
            f.loop(0, taken.rows, name="row") as i,
            f.loop(0, self.columns, name="column") as j,
        ):
            row = f.add(f.multiply(n.index, self.height), f.multiply(i.index, down))
            pixel = f.add(f.multiply(row, self.width), f.multiply(j.index, across))
            place = f.add(f.multiply(n.index, taken.rows), i.index)
            place = f.add(f.multiply(place, self.columns), j.index)
            first = f.convert("trunc", f.index(f.multiply(pixel, self.channels)), "i32")
            f.store(first, self._at(taken.first_pixels, "i32", place))

    def _filters(self, filter_: Index, used: int) -> None:
        """List the errors of a vector of filters, and add up their products filter by filter."""
        f, taken = self.f, self.lists
        self._list(filter_, used)
        with f.loop(0, used, name="filter") as number:
            count = f.load(INDEX, self._at(taken.counts, INDEX, number.index))
            start = f.multiply(number.index, taken.length)
            values, pixels = self._at(taken.values, self.item, start), self._at(taken.pixels, "i32", start)
            sums = self._at(0, self.item, f.multiply(f.add(filter_, number.index), self.taps * taken.run))
            steps = self.width * self.channels, taken.run
            for tile in self._tiles():
                self._add_products(
                    (values, pixels, count), self.images, self._first_pixel(), steps, sums, tile
                )

    def _first_pixel(self) -> Ssa:
        """Return the address of the pixel that offsets count from."""
        n, row = self.first
        images = self.w.address(self.w.buffer(self.images))
        first = self.w.offset(self.images.type, (n, self.f.multiply(row, self.op.size[0]), 0, 0))
        return self.f.element(images, self.item, first)

    def _list(self, filter_: Index, used: int) -> None:
        """Turn errors and numbers of winners so that a vector is of one filter, and list what is not 0."""
        f, taken, lanes = self.f, self.lists, self.lanes
        delta, index = (self._pooled(value, filter_) for value in (self.delta, self.index))
        table = self._offsets_in_window()
        last = f.subtract(self.places, 1)
        counts = [f.index(0)] * used
        with f.loop(0, self.places, lanes, carried=counts, name="place") as place:
            there = [f.least(f.add(place.index, number), last) for number in range(lanes)]
            errors = f.turned(
                [
                    self._load(self.delta, f.element(delta, self.item, f.multiply(each, self.filters)), used)
                    for each in there
                ]
            )[:used]
            for number, x in enumerate(errors):
                f.store(x, self._at(taken.block, self.item, number * lanes))
            loaded = [
                self._load(self.index, f.element(index, "i8", f.multiply(each, self.filters)), used)
                for each in there
            ]
            winners = f.turned([f.convert("zext", x, "i32") for x in loaded])[:used]
            firsts = f.load(vector("i32", lanes), self._at(taken.first_pixels, "i32", place.index))
            left = f.splat(f.index(f.subtract(self.places, place.index)), lanes)
            present = f.compare("slt", f.counting(0, lanes), left)
            units = constant(firsts.type, math.prod(self.op.size))
            for number, winner in enumerate(winners):
                x = f.load(vector(self.item, lanes), self._at(taken.block, self.item, number * lanes))
                listed = f.binary("and", f.compare("une", x, constant(x.type, 0.0)), present)
                listed = f.binary("and", listed, f.compare("ult", winner, units))
                offset = f.call(winner.type, "llvm.x86.avx512.permvar.si.512", table, winner)
                start = f.add(place.values[number], number * taken.length)
                f.store(moved_together(f, x, listed), self._at(taken.values, self.item, start))
                pixel = moved_together(f, f.binary("add", offset, firsts), listed)
                f.store(pixel, self._at(taken.pixels, "i32", start))
                place.results[number] = f.index(f.add(place.values[number], f.count_of(listed)))
        for number, count in enumerate(place.results):
            f.store(count, self._at(taken.counts, INDEX, number))

    def _pooled(self, value: Value, filter_: Index) -> Ssa:
        """Return the address of the first place that is listed."""
        w = self.w
        offset = w.offset(value.type, (*self.first, 0, filter_))
        return self.f.element(w.address(w.buffer(value)), ITEMS[value.type.dtype], offset)

    def _offsets_in_window(self) -> Ssa:
        """Return how far each unit of a window is behind its first one in the images."""
        down, across = self.op.size
        found = [
            (row * self.width + column) * self.channels for row, column in product(range(down), range(across))
        ]
        found += [0] * (self.lanes - len(found))
        return Ssa(vector("i32", self.lanes), f"<{', '.join(f'i32 {offset}' for offset in found)}>")

    def _add_up(self) -> None:
        """Turn the sums so that filters are side by side, and add them to those of the shard."""
        size = self.row[-1].offset + self.row[-1].used
        with self.f.loop(0, self.taps, name="filter_row") as m:

            def of_filters(filter_: Index, count: int) -> None:
                self._by_vectors(size, partial(self._add_square, m.index, filter_, count))

            self._by_vectors(self.filters, of_filters)

    def _add_square(self, m: Index, filter_: Index, filters: int, place: Index, places: int) -> None:
        """Add up a vector of sums of a row of taps, of as many filters as a vector has lanes, or fewer."""
        f, lanes, of_filter = self.f, self.lanes, self.taps * self.lists.run
        first = f.add(f.multiply(m, self.lists.run), f.multiply(filter_, of_filter), place)
        type = vector(self.item, lanes)
        block = [f.load(type, self._at(0, self.item, first, d * of_filter)) for d in range(lanes)]
        row = f.multiply(m, self.row[-1].offset + self.row[-1].used)
        for number, total in enumerate(f.turned(block)[:places]):
            sums = f.add(f.multiply(f.add(row, place, number), self.filters), filter_)
            address = f.element(self.w.shard, self.item, sums)
            before = load_lanes(f, self.item, address, lanes, filters, exact=False)
            store_lanes(f, f.binary("fadd", before, total), address, filters, self.w.target)


class _InputGradient(_Listing):
    """Each listed error of filter d adds itself · filters[d, m, n, c] to sums[row + m, column + n, c]."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        assert isinstance(node.op, RoutedCorrelation)
        self.op = node.op
        delta, index, self.weights = node.operands
        (self.result,) = w.graph.results(w.kernel.root)
        _, taps, self.across, self.channels = (self.weights.type.static(axis) for axis in range(4))
        super().__init__(w, delta, index, taps, self.across * self.channels)
        self.maps = map_lists(node.op, delta.type, self.weights.type, w.target)
        self.units = math.prod(self.op.size)
        self.width = self.op.map_size[1] + self.across - 1

    def write(self) -> None:
        f, w, taken = self.f, self.w, self.maps
        w.tile = f"maps of {taken.samples} samples, {self.taps} x {len(self.row)} vectors"
        with f.loop(w.begin, w.end, taken.samples, name="chunk") as chunk:
            self.first, self.samples = chunk.index, f.least(taken.samples, f.subtract(w.end, chunk.index))
            f.clear(w.workspace, taken.values)
            with f.loop(0, self.rows, name="row") as i, f.loop(0, self.columns, name="column") as j:
                with f.loop(0, self.samples, name="sample") as n:
                    self._list(n.index, i.index, j.index)
                for unit in range(self.units):
                    down, across = divmod(unit, self.op.size[1])
                    row = f.add(f.multiply(i.index, self.op.size[0]), down)
                    column = f.add(f.multiply(j.index, self.op.size[1]), across)
                    pixel = f.multiply(f.add(f.multiply(row, self.width), column), self.channels)
                    with f.loop(0, self.samples, name="sample") as n:
                        self._add_patch(n.index, unit, pixel)
            with f.loop(0, self.samples, name="sample") as n:
                self._store(n.index)

    def _list(self, n: Index, row: Index, column: Index) -> None:
        """List the errors of a pooled place, for each unit of its window those that go there."""
        f, w, lanes = self.f, self.w, self.lanes
        first = [
            f.element(
                w.address(w.buffer(value)),
                ITEMS[value.type.dtype],
                w.offset(value.type, (f.add(self.first, n), row, column, 0)),
            )
            for value in (self.delta, self.index)
        ]
        counts: list[Ssa] = [f.index(0)] * self.units
        whole = self.filters // lanes * lanes
        with f.loop(0, whole, lanes, carried=counts, name="filter") as filter_:
            filter_.results = self._list_vector(n, filter_.index, lanes, first, filter_.values)
        counts = filter_.results
        if whole < self.filters:
            counts = self._list_vector(n, whole, self.filters - whole, first, counts)
        for unit, count in enumerate(counts):
            f.store(count, self._at(self.maps.counts, INDEX, self._list_of(n, unit)))

    def _list_of(self, n: Index, unit: int) -> Index:
        return self.f.add(self.f.multiply(n, self.units), unit)

    def _list_vector(
        self, n: Index, filter_: Index, used: int, first: Sequence[Ssa], counts: Sequence[Ssa]
    ) -> list[Ssa]:
        f, lanes, taken = self.f, self.lanes, self.maps
        x, winner = (
            self._load(value, f.element(address, ITEMS[value.type.dtype], filter_), used)
            for value, address in zip((self.delta, self.index), first, strict=True)
        )
        winner = f.convert("zext", winner, "i32")
        size = self.taps * self.across * self.channels
        offsets = Ssa(winner.type, f"<{', '.join(f'i32 {d * size}' for d in range(lanes))}>")
        before = f.convert("trunc", f.index(f.multiply(filter_, size)), "i32")
        offsets = f.binary("add", f.splat(before, lanes), offsets)
        hit = first_lanes(f, f.compare("une", x, constant(x.type, 0.0)), used)
        found = []
        for unit, count in enumerate(counts):
            here = f.binary("and", hit, f.compare("eq", winner, constant(winner.type, unit)))
            start = f.add(f.multiply(self._list_of(n, unit), taken.length), count)
            f.store(moved_together(f, x, here), self._at(taken.values, self.item, start))
            f.store(moved_together(f, offsets, here), self._at(taken.filters, "i32", start))
            found.append(f.index(f.add(count, f.count_of(here))))
        return found

    def _add_patch(self, n: Index, unit: int, pixel: Index) -> None:
        """Add the products of a pixel's errors to the sums that they reach."""
        f, w, taken = self.f, self.w, self.maps
        count = f.load(INDEX, self._at(taken.counts, INDEX, self._list_of(n, unit)))
        start = f.multiply(self._list_of(n, unit), taken.length)
        listed = self._at(taken.values, self.item, start), self._at(taken.filters, "i32", start), count
        sums = self._at(0, self.item, f.multiply(n, taken.map), pixel)
        filters = w.address(w.buffer(self.weights))
        steps = self.across * self.channels, self.width * self.channels
        for tile in self._tiles():
            self._add_products(listed, self.weights, filters, steps, sums, tile)

    def _store(self, n: Index) -> None:
        """Store what a map holds within its border, and what follows from it."""
        f, w = self.f, self.w
        rows, width = self.result.type.static(1), self.result.type.static(2) * self.channels
        border = [
            count - 1 - widths[0]
            for count, widths in zip((self.taps, self.across), self.op.padding, strict=True)
        ]
        sample = f.add(self.first, n)
        is_flat = w.is_flat(*(value for value, _ in w.kernel.stores))
        with f.loop(0, rows, name="row") as row:
            first = f.multiply(
                f.add(f.multiply(f.add(row.index, border[0]), self.width), border[1]), self.channels
            )
            map_ = self._at(0, self.item, f.multiply(n, self.maps.map), first)

            def run(start: Index, lanes: int, used: int) -> None:
                x = f.load(vector(self.item, lanes), f.element(map_, self.item, start))
                place = f.add(f.multiply(row.index, width), start)
                w.store(Position((sample, place), lanes, used), {self.result: x})

            def of_pixel(column: Index, start: Index, lanes: int, used: int) -> None:
                at = f.element(map_, self.item, f.multiply(column, self.channels), start)
                place = Position((sample, row.index, column, start), lanes, used)
                w.store(place, {self.result: f.load(vector(self.item, lanes), at)})

            if is_flat:
                over_vectors(w, 0, width, self.item, run, unrolled=2)
            else:
                with f.loop(0, self.result.type.static(2), name="column") as column:
                    over_vectors(w, 0, self.channels, self.item, partial(of_pixel, column.index), unrolled=2)


def routed_correlation(w: Writer) -> None:
    _InputGradient(w).write()


def routed_filter_gradient(w: Writer) -> None:
    _FilterGradient(w).write()
