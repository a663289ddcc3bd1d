"""Cross-correlation with few filters, forward and their gradient: samples in the lanes.

With channels in the lanes, 6 filters leave a quarter of a vector of 8 empty, and most of one of 16. Here a
vector holds one pixel and channel of as many samples as it has lanes. Rows of the images are turned so that
samples are innermost when they are first needed, and kept while filters pass over them; the sums of a row
are turned back.
"""

from __future__ import annotations

from graphcnn.ir import TensorType, Value
from graphcnn.ops import Correlate2d, Pad
from graphcnn_native.codegen.function import ITEMS, SIZES, Index, Ssa, constant, lanes_of, vector
from graphcnn_native.codegen.lanes import Column, across
from graphcnn_native.kernels.tile import LATENCY, Factors, accumulate, evenly, zeros
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.target import Target

LARGEST_WINDOW = 256 * 1024
"""Bytes of turned rows that a thread's stack and second cache hold."""
LEAST_PRODUCTS = 16
"""A sum of fewer products is not worth turning its factors."""
SQUARE = 4


def is_narrow(op: Correlate2d, images: Value, filters: TensorType, target: Target) -> bool:
    """Whether so few filters, or their gradient, are better off with samples in the lanes."""
    lanes = target.lanes(SIZES[ITEMS[images.type.dtype]])
    k1, k2, channels, count = (filters.static(axis) for axis in range(4))
    window = k1 * images.type.static(2) * channels * lanes * SIZES[ITEMS[images.type.dtype]]
    return (
        (op.stride, op.dilation, op.groups) == ((1, 1), (1, 1), 1)
        and lanes % SQUARE == 0
        and 4 * count <= 3 * (-(-count // lanes) * lanes)
        and count <= target.registers - 3
        and k1 * k2 * channels >= LEAST_PRODUCTS
        and window <= LARGEST_WINDOW
    )


class _Narrow:
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

    def enough_samples(self) -> Ssa:
        """Return whether more than half of the lanes have a sample."""
        f, w = self.f, self.w
        return f.compare("sgt", f.index(f.subtract(w.end, w.begin)), f.index(self.lanes // 2))

    def allocate(self) -> None:
        """Make room for turned rows: of the images as many as filters have, and one of the maps."""
        f, window = self.f, self.k1 * self.width * self.channels
        self.turned = f.allocate(self.item, window * self.lanes)
        self.map = f.allocate(self.item, self.columns * self.count * self.lanes)

    def write(self) -> None:
        f, w = self.f, self.w
        first_rows = self.k1 - 1 - self.top
        with f.loop(w.begin, w.end, self.lanes) as group:
            self.first = group.index
            with f.loop(0, max(0, min(first_rows, self.height))) as row:
                self._turn_images(row.index)
            with f.loop(0, self.rows) as row:
                entering = f.add(row.index, first_rows)
                with f.when(f.compare("ult", f.index(entering), f.index(self.height))):
                    self._turn_images(entering)
                self.row(row.index)

    def row(self, row: Index) -> None:
        """Do the work of one row of the maps."""
        raise NotImplementedError

    def _sample(self, lane: Index) -> Index:
        """Return the sample of a lane; beyond the last one, the last one again."""
        f = self.f
        return f.least(f.add(self.first, lane), f.subtract(self.w.end, 1))

    def _slot(self, row: Index) -> Ssa:
        """Return where a row of the images is kept."""
        f = self.f
        slot = f.binary("urem", f.index(row), f.index(self.k1))
        return f.element(self.turned, self.item, f.multiply(slot, self.width * self.channels * self.lanes))

    def _turn_images(self, row: Index) -> None:
        self._turn(self.images, row, self._slot(row))

    def _turn(self, value: Value, row: Index, target: Ssa, *, absent_as_zero: bool = False) -> None:
        """Turn a row of feature maps, so that samples are innermost."""
        f, w, lanes = self.f, self.w, self.lanes
        height, width, channels = (value.type.static(axis) for axis in (1, 2, 3))
        run, base = width * channels, w.base(w.buffer(value))
        start = f.multiply(row, run)
        rows = [
            f.element(base, self.item, f.multiply(self._sample(lane), height * run), start)
            for lane in range(lanes)
        ]
        there = f.subtract(w.end, self.first)

        def present(x: Ssa, first: int) -> Ssa:
            if not absent_as_zero:
                return x
            known = f.compare(
                "slt", f.counting(first, lanes_of(x.type)), f.splat(f.index(there), lanes_of(x.type))
            )
            return f.select(known, x, constant(x.type, 0.0))

        whole = run // SQUARE * SQUARE
        with f.loop(0, whole, SQUARE) as place:
            for first in range(0, lanes, SQUARE):
                square = [
                    f.load(vector(self.item, SQUARE), f.element(r, self.item, place.index))
                    for r in rows[first : first + SQUARE]
                ]
                for number, x in enumerate(f.transposed(square)):
                    offset = f.multiply(f.add(place.index, number), lanes)
                    f.store(present(x, first), f.element(target, self.item, offset, first))
        for place_ in range(whole, run):
            for lane in range(lanes):
                x = f.load(self.item, f.element(rows[lane], self.item, place_))
                f.store(present(x, lane), f.element(target, self.item, place_ * lanes + lane))

    def _taps(self, row: Index) -> tuple[Index, Index]:
        """Return the rows of the filters that fall on rows of the images, for a row of the maps."""
        f = self.f
        first = f.add(row, -self.top)
        low = f.greatest(0, f.multiply(first, -1))
        return low, f.least(self.k1, f.subtract(self.height, first))


class NarrowForward(_Narrow):
    """Sums of a row of the result, turned back before they are stored."""

    def __init__(self, w: Writer, op: Correlate2d) -> None:
        assert w.kernel.root is not None
        filters = w.graph.node(w.kernel.root).operands[1]
        super().__init__(w, op, filters.type, w.graph.results(w.kernel.root)[0].type)
        self.left, self.right = self._zeros_beside()
        sums = w.target.registers - 1 - (0 if w.target.broadcasts else 1)
        self.pixels = max(1, min(self.columns, sums // (self.count + 1)))
        w.kernel.tile = f"{self.count} filters x {self.pixels} pixels of {self.lanes} samples"

    def _zeros_beside(self) -> tuple[int, int]:
        """Return how many columns at the left and right of the images are known to be zeros."""
        node = self.w.graph.node(self.images.key)
        return node.op.widths[2] if isinstance(node.op, Pad) else (0, 0)

    def row(self, row: Index) -> None:
        for start, size, count in evenly(self.columns, self.pixels).parts():
            with self.f.each(start, count, size) as pixel:
                self._tile(row, pixel, size)
        self._turn_back(row)

    def _tile(self, row: Index, pixel: Index, pixels: int) -> None:
        """Sum up a few pixels of a row, all filters of each."""
        f, lanes, channels = self.f, self.lanes, self.channels
        group = [Column(p * channels * lanes, lanes, lanes) for p in range(pixels)]
        filters = self.w.base(self.w.buffer(self.window))
        with f.loop(*self._taps(row), carried=zeros(self.item, self.count, group)) as m:
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

            if channels < LATENCY or self.left + self.right == 0:
                m.results = run(0, self.k2 * channels, m.values)
            else:
                low = f.greatest(0, f.subtract(self.left - pixels + 1, pixel))
                high = f.least(self.k2, f.subtract(self.width - self.right, pixel))
                with f.loop(low, high, carried=m.values) as tap:
                    tap.results = run(tap.index, channels, tap.values)
                m.results = tap.results
        for filter_ in range(self.count):
            for p in range(pixels):
                place = f.multiply(f.add(f.multiply(f.add(pixel, p), self.count), filter_), lanes)
                f.store(m.results[filter_ * pixels + p], f.element(self.map, self.item, place))

    def _turn_back(self, row: Index) -> None:
        """Store the sums of a row sample by sample."""
        f, w, lanes = self.f, self.w, self.lanes
        with f.loop(0, self.columns) as pixel, f.loop(0, lanes, SQUARE) as first:
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
                    sample = f.add(self.first, first.index, lane)
                    with f.when(f.compare("slt", f.index(sample), w.end)):
                        place = Position((sample, row, pixel.index, channel), SQUARE, used)
                        w.store(place, {self.result: x})


class NarrowFilterGradient(_Narrow):
    """A sum for each tap, filter and lane, kept in memory from row to row; lanes are added up at the end."""

    def __init__(self, w: Writer, op: Correlate2d) -> None:
        assert w.kernel.root is not None
        window = w.graph.node(w.kernel.root).operands[1]
        super().__init__(w, op, w.graph.results(w.kernel.root)[0].type, window.type)
        self.run = self.k2 * self.channels
        self.taps = max(1, min(self.run, (w.target.registers - 2) // (self.count + 1)))
        w.kernel.tile = f"{self.count} filters x {self.taps} taps of {self.lanes} samples"

    def allocate(self) -> None:
        super().allocate()
        self.sums = self.f.allocate(self.item, self.k1 * self.run * self.count * self.lanes)

    def write(self) -> None:
        f, size = self.f, self.k1 * self.run * self.count
        f.clear(self.sums, size * self.lanes * SIZES[self.item])
        super().write()
        shard = f.element(self.w.sums, "i8", self.w.kernel.partial)
        with f.loop(0, size) as place:
            lanes = f.element(self.sums, self.item, f.multiply(place.index, self.lanes))
            total = across(f, f.load(vector(self.item, self.lanes), lanes), "fadd")
            address = f.element(shard, self.item, place.index)
            f.store(f.binary("fadd", f.load(self.item, address), total), address)

    def row(self, row: Index) -> None:
        f = self.f
        self._turn(self.window, row, self.map, absent_as_zero=True)
        with f.loop(*self._taps(row)) as m:
            for start, size, count in evenly(self.run, self.taps).parts():
                with f.each(start, count, size) as tap:
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
