"""Cross-correlation with few filters, forward and their gradient: samples in the lanes.

With channels in the lanes, 6 filters leave a quarter of a vector of 8 empty, and most of one of 16. Here a
vector holds one pixel and channel of as many samples as it has lanes. Rows of the images are turned so that
samples are innermost when they are first needed, and kept while filters pass over them; the sums of a row
are turned back.
"""

from __future__ import annotations

from collections.abc import Callable

from graphcnn.ir import TensorType, Value
from graphcnn.ops import Correlate2d, MaxPool2d, Pad
from graphcnn_native.codegen.function import Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import Column, across
from graphcnn_native.elements import ITEMS, SIZES, SQUARE
from graphcnn_native.kernels.pooling import Summing, winner_of
from graphcnn_native.kernels.tile import Factors, accumulate, zeros
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.program import Buffer, PlannedKernel
from graphcnn_native.lowering.samples_in_lanes import POOLS, is_same_for_samples, too_few
from graphcnn_native.tile_sizes import LATENCY, evenly, tile_cost

OVERHEAD = 60
"""Cycles that a tile takes beside its products."""


def samples_fill_lanes(w: Writer) -> Ssa:
    """Return whether more than half of the lanes have a sample: then it pays to put samples into them."""
    assert w.kernel.root is not None
    item = ITEMS[w.graph.results(w.kernel.root)[0].type.dtype]
    lanes = w.target.lanes(SIZES[item])
    return w.f.compare("sgt", w.f.index(w.f.subtract(w.end, w.begin)), w.f.index(too_few(lanes)))


def leave_to_neighbours(w: Writer) -> None:
    """Write the begin of a kernel whose work its neighbours do where samples fill the lanes."""
    with w.f.when(samples_fill_lanes(w)):
        w.f.do("ret void")
        w.f.begin_dead_block()


class _SamplesInLanes:
    """What the forward pass and the filter gradient share: for each group of samples, row after row."""

    def __init__(self, w: Writer, op: Correlate2d, filters: TensorType, maps: TensorType) -> None:
        assert w.kernel.root is not None
        self.w, self.f, self.op = w, w.f, op
        self.images, self.window = w.graph.node(w.kernel.root).operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.item = ITEMS[self.result.type.dtype]
        self.lanes = w.target.lanes(SIZES[self.item])
        self.height, self.width, self.channels = (self.images.type.static(axis) for axis in (1, 2, 3))
        self.k1, self.k2, _, self.count = (filters.static(axis) for axis in range(4))
        self.rows, self.columns = maps.static(1), maps.static(2)
        self.top = op.padding[0][0]
        self.map_rows = 1

    def allocate(self) -> None:
        """Make room for turned rows: of the images as many as filters have, and those of the maps."""
        f, window = self.f, self.k1 * self.width * self.channels
        self.turned = f.allocate(self.item, window * self.lanes)
        self.map = f.allocate(self.item, self.map_rows * self.columns * self.count * self.lanes)

    def write(self) -> None:
        f, w = self.f, self.w
        if w.kernel.pad is not None:
            size = self.k1 * self.width * self.channels * self.lanes
            f.clear(self.turned, size * SIZES[self.item])
        first_rows = self.k1 - 1 - self.top
        with f.loop(w.begin, w.end, self.lanes, name="group") as group:
            self.first = group.index
            with f.loop(0, max(0, min(first_rows, self.height)), name="row") as row:
                self._turn_images(row.index)
            with f.loop(0, self.rows, name="row") as row:
                entering = f.add(row.index, first_rows)
                with f.when(f.compare("ult", f.index(entering), f.index(self.height))):
                    self._turn_images(entering)
                self.row(row.index)

    def row(self, row: Index) -> None:
        """Do the work of one row of the maps."""
        raise NotImplementedError

    def _sample(self, lane: Index) -> Index:
        """Return the sample of a lane; beyond the last one, the last one again.

        What is computed of it twice is stored twice.
        """
        f = self.f
        return f.least(f.add(self.first, lane), f.subtract(self.w.end, 1))

    def _slot(self, row: Index) -> Ssa:
        """Return where a row of the images is kept."""
        f = self.f
        slot = f.binary("urem", f.index(row), f.index(self.k1))
        return f.element(self.turned, self.item, f.multiply(slot, self.width * self.channels * self.lanes))

    def _turn_images(self, row: Index) -> None:
        """Turn a row of the images. Zeros beside it that a pad would have written are there already."""
        node, slot = self.w.graph.node(self.images.key), self._slot(row)
        if self.w.kernel.pad is None:
            self._turn(self.images, row, slot)
            return
        assert isinstance(node.op, Pad)
        beside = node.op.widths[2][0] * self.channels * self.lanes
        self._turn(node.operands[0], row, self.f.element(slot, self.item, beside))

    def _turn(self, value: Value, row: Index, target: Ssa, *, absent_as_zero: bool = False) -> None:
        """Turn a row of feature maps, so that samples are innermost.

        By blocks of as many numbers as there are lanes; the last one may overlap the one before.
        """
        f, w, lanes = self.f, self.w, self.lanes
        height, width, channels = (value.type.static(axis) for axis in (1, 2, 3))
        run, base = width * channels, w.address(w.buffer(value))
        start = f.multiply(row, run)
        rows = [
            f.element(base, self.item, f.multiply(self._sample(lane), height * run), start)
            for lane in range(lanes)
        ]
        there = f.splat(f.index(f.subtract(w.end, self.first)), lanes)
        present = f.compare("slt", f.counting(0, lanes), there)

        def keep(x: Ssa, place: Index) -> None:
            x = f.select(present, x, constant(x.type, 0.0)) if absent_as_zero else x
            f.store(x, f.element(target, self.item, f.multiply(place, lanes)))

        type = vector(self.item, lanes)
        if run >= lanes:
            with f.loop(0, run, lanes, name="place") as place:
                first = f.least(place.index, run - lanes)
                block = f.turned([f.load(type, f.element(r, self.item, first)) for r in rows])
                for number, x in enumerate(block):
                    keep(x, f.add(first, number))
            return
        for single in range(run):
            keep(f.assemble([f.load(self.item, f.element(r, self.item, single)) for r in rows]), single)

    def _taps(self, row: Index) -> tuple[Index, Index]:
        """Return the rows of the filters that fall on rows of the images, for a row of the maps."""
        f = self.f
        first = f.add(row, -self.top)
        low = f.greatest(0, f.multiply(first, -1))
        return low, f.least(self.k1, f.subtract(self.height, first))


class ForwardOfSamples(_SamplesInLanes):
    """Sums of a row of the result, turned back before they are stored."""

    def __init__(self, w: Writer, op: Correlate2d) -> None:
        assert w.kernel.root is not None
        filters = w.graph.node(w.kernel.root).operands[1]
        super().__init__(w, op, filters.type, w.graph.results(w.kernel.root)[0].type)
        self.left, self.right = self._zeros_beside()
        self.skips_zeros = self.channels >= LATENCY and self.left + self.right > 0
        factors = 2 if not w.target.broadcasts else 1 if w.target.masks else 3
        self.pixels = max(1, min(self.columns, (w.target.registers - factors) // (self.count + 1)))
        self.finished = self._finished()
        self.pool = None if w.kernel.pool is None else w.plan.kernels[w.kernel.pool]
        if self.pool is not None:
            assert self.pool.root is not None
            pool_op = w.graph.node(self.pool.root).op
            assert isinstance(pool_op, POOLS)
            self.map_rows, self.map_columns = pool_op.size
        w.tile = f"{self.count} filters x {self.pixels} pixels of {self.lanes} samples"

    def _zeros_beside(self) -> tuple[int, int]:
        """Return how many columns at the left and right of the images are known to be zeros."""
        node = self.w.graph.node(self.images.key)
        return node.op.widths[2] if isinstance(node.op, Pad) and not node.op.value else (0, 0)

    def row(self, row: Index) -> None:
        f = self.f
        for start, size, count in self._cut():
            with f.each(start, count, size, name="pixel") as pixel:
                self._tile(row, pixel, size)
        if self.pool is None:
            self._turn_back(row)
            return
        last = f.compare("eq", self._map_row(row), f.index(self.map_rows - 1))
        with f.when(last):
            self._pool_row(self.pool, f.divide(row, self.map_rows))

    def _map_row(self, row: Index) -> Ssa:
        """Return which of the rows of the maps that are kept this one is."""
        return self.f.binary("urem", self.f.index(row), self.f.index(self.map_rows))

    def allocate(self) -> None:
        super().allocate()
        if self.pool is None:
            return
        size = self.columns // self.map_columns * self.count * self.lanes
        self.pooled, self.winners = self.f.allocate(self.item, size), self.f.allocate("i32", size)

    def _pool_row(self, pool: PlannedKernel, row: Index) -> None:
        """Pool the rows of the maps that are kept, and store what the pooling kernel would."""
        f, w, lanes = self.f, self.w, self.lanes
        assert pool.root is not None
        op, results = w.graph.node(pool.root).op, w.graph.results(pool.root)
        value = results[0]
        wants_index = any(stored != value for stored, _ in pool.stores)
        type, width = vector(self.item, lanes), self.columns // self.map_columns
        with f.loop(0, width, name="pixel") as pixel, f.loop(0, self.count, name="filter") as filter_:
            units = []
            for down in range(self.map_rows):
                for along in range(self.map_columns):
                    column = f.add(f.multiply(pixel.index, self.map_columns), along + down * self.columns)
                    place = f.add(f.multiply(column, self.count), filter_.index)
                    units.append(f.load(type, f.element(self.map, self.item, f.multiply(place, lanes))))
            if isinstance(op, MaxPool2d):
                pooled, winner = winner_of(f, units, wants_index=wants_index)
            else:
                pooled, winner = Summing(f, op, self.item).sum(units), None
            place = f.multiply(f.add(f.multiply(pixel.index, self.count), filter_.index), lanes)
            f.store(pooled, f.element(self.pooled, self.item, place))
            if winner is not None:
                f.store(winner, f.element(self.winners, "i32", place))
        for stored, buffer in pool.stores:
            source, item = (self.pooled, self.item) if stored == value else (self.winners, "i32")

            def put(place: Position, x: Ssa, buffer: Buffer = buffer, stored: Value = stored) -> None:
                w.put(
                    buffer, place, x if stored == value else f.convert("trunc", x, ITEMS[stored.type.dtype])
                )

            self._turn_back_run(source, item, row, value.type.static(1), width * self.count, put)

    def _cut(self) -> list[tuple[int, int, int]]:
        """Cut a row into tiles, as (first pixel, pixels, how many).

        Beside zeros, small tiles have fewer products with them; but every size of tiles is code to compile.
        """
        edge = min(max(self.left, self.right), self.k2)
        choices = [
            self._cut_with_edges(size, count)
            for size in range(1, self.pixels + 1)
            for count in range(edge // size + 1)
            if 2 * size * count < self.columns
        ]

        def cost(runs: list[tuple[int, int, int]]) -> float:
            tiles = [(first + n * size, size) for first, size, count in runs for n in range(count)]
            return sum(self._cost(*tile) for tile in tiles) * (1 + 0.02 * len(runs))

        return min(choices, key=cost)

    def _cut_with_edges(self, size: int, count: int) -> list[tuple[int, int, int]]:
        edge = size * count
        inside = evenly(self.columns - 2 * edge, self.pixels).parts()
        runs = [(0, size, count), *((edge + first, wide, n) for first, wide, n in inside)]
        return [run for run in (*runs, (self.columns - edge, size, count)) if run[2]]

    def _cost(self, pixel: int, pixels: int) -> float:
        """Return about how many cycles a tile takes."""
        low, high = self._taps_of_tile(pixel, pixels)
        assert isinstance(low, int) and isinstance(high, int)
        return (high - low) * self.channels * tile_cost(self.count, pixels) * self.k1 + OVERHEAD

    def _taps_of_tile(self, pixel: Index, pixels: int) -> tuple[Index, Index]:
        """Return the columns of the filters that fall on pixels, not on zeros beside the images."""
        if not self.skips_zeros:
            return 0, self.k2
        f = self.f
        low = f.greatest(0, f.subtract(self.left - pixels + 1, pixel))
        return low, f.least(self.k2, f.subtract(self.width - self.right, pixel))

    def _tile(self, row: Index, pixel: Index, pixels: int) -> None:
        """Sum up a few pixels of a row, all filters of each."""
        f, lanes, channels = self.f, self.lanes, self.channels
        group = [Column(p * channels * lanes, lanes, lanes) for p in range(pixels)]
        filters = self.w.address(self.w.buffer(self.window))
        with f.loop(*self._taps(row), carried=zeros(self.item, self.count, group), name="filter_row") as m:
            images = f.element(
                self._slot(f.add(row, m.index, -self.top)), self.item, f.multiply(pixel, channels * lanes)
            )
            window = f.element(filters, self.item, f.multiply(m.index, self.k2 * channels * self.count))

            def run(
                tap: Index, steps: int, totals: list[Ssa], images: Ssa = images, window: Ssa = window
            ) -> list[Ssa]:
                factors = Factors(
                    f.element(window, self.item, f.multiply(tap, channels * self.count)),
                    list(range(self.count)),
                    self.count,
                    f.element(images, self.item, f.multiply(tap, channels * lanes)),
                    lanes,
                )
                return accumulate(f, self.w.target, self.item, factors, group, steps, totals)

            if not self.skips_zeros:
                m.results = run(0, self.k2 * channels, m.values)
            else:
                with f.loop(*self._taps_of_tile(pixel, pixels), carried=m.values, name="tap") as tap:
                    tap.results = run(tap.index, channels, tap.values)
                m.results = tap.results
        rows_before: Index = 0
        if self.pool is not None:
            rows_before = f.multiply(self._map_row(row), self.columns)
        for filter_ in range(self.count):
            for p in range(pixels):
                column = f.add(pixel, p)
                x = m.results[filter_ * pixels + p]
                if self.finished is not None:
                    position = Position((self.first, row, column, filter_), lanes, lanes, of_samples=True)
                    x = self.w.expression(self.finished, position, {self.result: x})
                kept = f.add(rows_before, column)
                place = f.multiply(f.add(f.multiply(kept, self.count), filter_), lanes)
                f.store(x, f.element(self.map, self.item, place))

    def _finished(self) -> Value | None:
        """Return the one value that the kernel stores, if it can be computed before rows are turned back."""
        stored = {value for value, _ in self.w.kernel.stores}
        if len(stored) != 1 or self.w.has_margins() or not is_same_for_samples(self.w.graph, self.w.kernel):
            return None
        (value,) = stored
        return value if value.type == self.result.type else None

    def _turn_back(self, row: Index) -> None:
        """Store the sums of a row sample by sample."""
        w, stores = self.w, self.w.kernel.stores
        map_, run = (self.map, self.item, row, self.rows), self.columns * self.count
        if self.finished is not None:

            def put(place: Position, x: Ssa) -> None:
                for _, buffer in stores:
                    w.put(buffer, place, x)

            self._turn_back_run(*map_, run, put)
        elif w.is_flat(*(value for value, _ in stores)):
            self._turn_back_run(*map_, run, lambda place, x: w.store(place, {self.result: x}))
        else:
            self._turn_back_pixels(row)

    def _turn_back_run(
        self, source: Ssa, item: str, row: Index, rows: int, run: int, store: Callable[[Position, Ssa], None]
    ) -> None:
        """Store a row, one of `rows`, as a run of numbers in each sample, wherever pixels begin.

        The last block may overlap the one before, and store the same again.
        """
        f, lanes = self.f, self.lanes
        samples = [self._sample(lane) for lane in range(lanes)]
        for sample in samples:
            f.multiply(sample, rows * run)  # known before the loop, it is not repeated in it
        start, type = f.multiply(row, run), vector(item, lanes)

        def element(place: Index) -> Ssa:
            return f.load(type, f.element(source, item, f.multiply(place, lanes)))

        if run >= lanes:
            with f.loop(0, run, lanes, name="place") as place:
                first = f.least(place.index, run - lanes)
                block = f.turned([element(f.add(first, number)) for number in range(lanes)])
                for sample, x in zip(samples, block, strict=True):
                    store(Position((sample, f.add(start, first)), lanes, lanes), x)
            return
        for single in range(run):
            x = element(single)
            for lane, sample in enumerate(samples):
                store(Position((sample, f.add(start, single))), f.lane(x, lane))

    def _turn_back_pixels(self, row: Index) -> None:
        """Store a row pixel by pixel, a few filters at a time."""
        f, w, lanes = self.f, self.w, self.lanes
        with f.loop(0, self.columns, name="pixel") as pixel, f.loop(0, lanes, SQUARE, name="first") as first:
            start = f.add(f.multiply(pixel.index, self.count * lanes), first.index)
            for channel in range(0, self.count, SQUARE):
                used = min(SQUARE, self.count - channel)
                square = [
                    f.load(
                        vector(self.item, SQUARE),
                        f.element(self.map, self.item, start, (channel + n) * lanes),
                    )
                    for n in range(used)
                ]
                square += [constant(vector(self.item, SQUARE), 0.0)] * (SQUARE - used)
                for lane, x in enumerate(f.transposed(square)):
                    sample = self._sample(f.add(first.index, lane))
                    w.store(Position((sample, row, pixel.index, channel), SQUARE, used), {self.result: x})


class FilterGradientOfSamples(_SamplesInLanes):
    """A sum for each tap, filter and lane, kept in memory from row to row; lanes are added up at the end."""

    def __init__(self, w: Writer, op: Correlate2d) -> None:
        assert w.kernel.root is not None
        window = w.graph.node(w.kernel.root).operands[1]
        super().__init__(w, op, w.graph.results(w.kernel.root)[0].type, window.type)
        self.run = self.k2 * self.channels
        self.taps = max(1, min(self.run, (w.target.registers - 2) // (self.count + 1)))
        w.tile = f"{self.count} filters x {self.taps} taps of {self.lanes} samples"

    def allocate(self) -> None:
        super().allocate()
        self.sums = self.f.allocate(self.item, self.k1 * self.run * self.count * self.lanes)

    def write(self) -> None:
        f, size = self.f, self.k1 * self.run * self.count
        f.clear(self.sums, size * self.lanes * SIZES[self.item])
        super().write()
        shard = self.w.shard
        with f.loop(0, size, name="place") as place:
            lanes = f.element(self.sums, self.item, f.multiply(place.index, self.lanes))
            total = across(f, f.load(vector(self.item, self.lanes), lanes), "fadd")
            address = f.element(shard, self.item, place.index)
            f.store(f.binary("fadd", f.load(self.item, address), total), address)

    def row(self, row: Index) -> None:
        f = self.f
        self._turn(self.window, row, self.map, absent_as_zero=True)
        with f.loop(*self._taps(row), name="filter_row") as m:
            for start, size, count in evenly(self.run, self.taps).parts():
                with f.each(start, count, size, name="tap") as tap:
                    self._tile(row, m.index, tap, size)

    def _tile(self, row: Index, m: Index, tap: Index, taps: int) -> None:
        """Add the products of a row, for a few taps and all filters."""
        f, lanes = self.f, self.lanes
        group = [Column(t * lanes, lanes, lanes) for t in range(taps)]
        images = f.element(self._slot(f.add(row, m, -self.top)), self.item, f.multiply(tap, lanes))
        first = f.multiply(f.add(f.multiply(m, self.run), tap), self.count)
        places = [
            f.element(self.sums, self.item, f.multiply(f.add(first, t * self.count + d), lanes))
            for d in range(self.count)
            for t in range(taps)
        ]
        factors = Factors(
            self.map,
            [d * lanes for d in range(self.count)],
            self.count * lanes,
            images,
            self.channels * lanes,
            vectors=True,
        )
        start = [f.load(vector(self.item, lanes), place) for place in places]
        totals = accumulate(f, self.w.target, self.item, factors, group, self.columns, start)
        for place, total in zip(places, totals, strict=True):
            f.store(total, place)
