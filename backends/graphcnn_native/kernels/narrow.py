"""Cross-correlation with few filters: samples in the lanes.

With channels in the lanes, 6 filters leave a quarter of a vector of 8 empty, and most of one of 16. Here a
vector holds one pixel and channel of as many samples as it has lanes. Rows of the images are turned so that
samples are innermost when they are first needed, and kept while filters pass over them; the sums of a row
are turned back.
"""

from __future__ import annotations

from graphcnn.ir import Value
from graphcnn.ops import Correlate2d, Pad
from graphcnn_native.codegen.function import ITEMS, SIZES, Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import Column
from graphcnn_native.kernels.tile import LATENCY, Factors, accumulate, evenly, zeros
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.target import Target

LARGEST_WINDOW = 256 * 1024
"""Bytes of turned rows that a thread's stack and second cache hold."""
LEAST_PRODUCTS = 16
"""A sum of fewer products is not worth turning its factors."""
SQUARE = 4


def is_narrow(op: Correlate2d, images: Value, filters: Value, target: Target) -> bool:
    """Whether so few filters are better off with samples in the lanes."""
    lanes = target.lanes(SIZES[ITEMS[images.type.dtype]])
    k1, k2, channels, count = (filters.type.static(axis) for axis in range(4))
    window = k1 * images.type.static(2) * channels * lanes * SIZES[ITEMS[images.type.dtype]]
    return (
        (op.stride, op.dilation, op.groups) == ((1, 1), (1, 1), 1)
        and lanes % SQUARE == 0
        and 4 * count <= 3 * lanes
        and k1 * k2 * channels >= LEAST_PRODUCTS
        and window <= LARGEST_WINDOW
    )


class NarrowCorrelation:
    """Writes the kernel: for each group of samples, row after row of the result."""

    def __init__(self, w: Writer, op: Correlate2d) -> None:
        assert w.kernel.root is not None
        self.w, self.f, self.op = w, w.f, op
        self.images, self.filters = w.graph.node(w.kernel.root).operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.item = ITEMS[self.result.type.dtype]
        self.lanes = w.target.lanes(SIZES[self.item])
        self.height, self.width, self.channels = (self.images.type.static(axis) for axis in (1, 2, 3))
        self.k1, self.k2, _, self.count = (self.filters.type.static(axis) for axis in range(4))
        self.rows, self.columns = self.result.type.static(1), self.result.type.static(2)
        self.top = op.padding[0][0]
        self.left, self.right = self._zeros_beside()
        sums = w.target.registers - 1 - (0 if w.target.broadcasts else 1)
        self.pixels = max(1, min(self.columns, sums // (self.count + 1)))
        w.kernel.tile = f"{self.count} filters x {self.pixels} pixels of {self.lanes} samples"

    def _zeros_beside(self) -> tuple[int, int]:
        """Return how many columns at the left and right of the images are known to be zeros."""
        node = self.w.graph.node(self.images.key)
        return node.op.widths[2] if isinstance(node.op, Pad) else (0, 0)

    def enough_samples(self) -> Ssa:
        """Return whether more than half of the lanes have a sample."""
        f, w = self.f, self.w
        return f.compare("sgt", f.index(f.subtract(w.end, w.begin)), f.index(self.lanes // 2))

    def allocate(self) -> None:
        """Make room for the rows that are turned."""
        f, window = self.f, self.k1 * self.width * self.channels
        self.turned = f.allocate(self.item, window * self.lanes)
        self.sums = f.allocate(self.item, self.columns * self.count * self.lanes)

    def write(self) -> None:
        f, w = self.f, self.w
        first_rows = self.k1 - 1 - self.top
        with f.loop(w.begin, w.end, self.lanes) as group:
            self.first = group.index
            with f.loop(0, max(0, min(first_rows, self.height))) as row:
                self._turn(row.index)
            with f.loop(0, self.rows) as row:
                entering = f.add(row.index, first_rows)
                with f.when(f.compare("ult", f.index(entering), f.index(self.height))):
                    self._turn(entering)
                self._sum_row(row.index)
                self._turn_back(row.index)

    def _sample(self, lane: Index) -> Index:
        """Return the sample of a lane; beyond the last one, the last one again."""
        f = self.f
        return f.least(f.add(self.first, lane), f.subtract(self.w.end, 1))

    def _slot(self, row: Index) -> Ssa:
        """Return where a row of the images is kept."""
        f = self.f
        slot = f.binary("urem", f.index(row), f.index(self.k1))
        return f.element(self.turned, self.item, f.multiply(slot, self.width * self.channels * self.lanes))

    def _turn(self, row: Index) -> None:
        """Turn a row of the images, so that samples are innermost."""
        f, w, lanes = self.f, self.w, self.lanes
        run = self.width * self.channels
        base, target = w.base(w.buffer(self.images)), self._slot(row)
        start = f.multiply(row, run)
        rows = [
            f.element(base, self.item, f.multiply(self._sample(lane), self.height * run), start)
            for lane in range(lanes)
        ]
        whole = run // SQUARE * SQUARE
        with f.loop(0, whole, SQUARE) as place:
            for first in range(0, lanes, SQUARE):
                square = [
                    f.load(vector(self.item, SQUARE), f.element(r, self.item, place.index))
                    for r in rows[first : first + SQUARE]
                ]
                for number, x in enumerate(f.transposed(square)):
                    there = f.multiply(f.add(place.index, number), lanes)
                    f.store(x, f.element(target, self.item, there, first))
        for place_ in range(whole, run):
            for lane in range(lanes):
                x = f.load(self.item, f.element(rows[lane], self.item, place_))
                f.store(x, f.element(target, self.item, place_ * lanes + lane))

    def _sum_row(self, row: Index) -> None:
        f = self.f
        first = f.add(row, -self.top)
        low = f.greatest(0, f.multiply(first, -1))
        taps = low, f.least(self.k1, f.subtract(self.height, first))
        for start, size, count in evenly(self.columns, self.pixels).parts():
            with f.each(start, count, size) as pixel:
                self._tile(first, taps, pixel, size)

    def _tile(self, first: Index, taps: tuple[Index, Index], pixel: Index, pixels: int) -> None:
        """Sum up a few pixels of a row, all filters of each."""
        f, lanes, channels = self.f, self.lanes, self.channels
        group = [Column(p * channels * lanes, lanes, lanes) for p in range(pixels)]
        filters = self.w.base(self.w.buffer(self.filters))
        with f.loop(*taps, carried=zeros(self.item, self.count, group)) as m:
            images = f.element(
                self._slot(f.add(first, m.index)), self.item, f.multiply(pixel, channels * lanes)
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
                f.store(m.results[filter_ * pixels + p], f.element(self.sums, self.item, place))

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
                        f.element(self.sums, self.item, start, (channel + n) * lanes),
                    )
                    for n in range(used)
                ]
                square += [constant(vector(self.item, SQUARE), 0.0)] * (SQUARE - used)
                for lane, x in enumerate(f.transposed(square)):
                    sample = f.add(self.first, first.index, lane)
                    with f.when(f.compare("slt", f.index(sample), w.end)):
                        place = Position((sample, row, pixel.index, channel), SQUARE, used)
                        w.store(place, {self.result: x})
