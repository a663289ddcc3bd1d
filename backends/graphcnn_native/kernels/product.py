"""Matrix products: rows in tiles, columns in the lanes."""

from __future__ import annotations

from collections.abc import Callable

from graphcnn.ir import BATCH, Value
from graphcnn.ops import Transpose
from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.function import INDEX, Index, Ssa, constant
from graphcnn_native.codegen.lanes import Column, columns, load_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.dot import DotProduct
from graphcnn_native.kernels.nest import over_run
from graphcnn_native.kernels.tile import (
    ColumnGroup,
    Factors,
    accumulate,
    column_groups,
    largest_rows,
    multiply_add,
    zeros,
)
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.program import Buffer, Place

COLUMNS = 3
SINGLE_ROW_COLUMNS = 8
DEEP = 1024
"""From this depth on, a product is summed up in parts whose factors on the right stay in the second cache."""
DEPTHS = range(640, 127, -1)
PART = 512
"""So many products are added one to the other before their sum is added to that of the others."""


def matmul(w: Writer) -> None:
    """[A, K] x [K, B]; the kernel's share is a range of the rows."""
    assert w.kernel.root is not None
    (result,) = w.graph.results(w.kernel.root)
    left, right = w.graph.node(w.kernel.root).operands
    transpose = w.graph.node(right.key)
    if transpose.op == Transpose((1, 0)) and w.plan.unshaped(right) not in w.kernel.loads:
        DotProduct(w, left, transpose.operands[0], result).write()
        return
    product = _Product(w)
    if product.value.type.shape[1] == BATCH:
        product.write_plain()
    elif w.kernel.unfinished is not None:
        product.write_over_samples(w.kernel.unfinished)
    elif (sums := product.buffer_of_sums()) is not None:
        product.write_in_depths(sums)
    else:
        product.write()


class _Product:
    """One product: where its factors are, and the tiles of its result."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        self.w, self.f = w, w.f
        self.value = w.graph.results(w.kernel.root)[0]
        self.item = ITEMS[self.value.type.dtype]
        x, self.right = w.graph.node(w.kernel.root).operands
        self.left, self.row_stride, self.step = self._left(x)
        self.depth = w.sizes(self.right.type)[0]

    def _left(self, x: Value) -> tuple[Ssa, Index, Index]:
        """Return the left operand's address, and how far apart its rows and its columns are."""
        w, node = self.w, self.w.graph.node(x.key)
        if w.plan.unshaped(x) not in w.kernel.loads and node.op == Transpose((1, 0)):
            source = node.operands[0]
            strides = w.strides(source.type)
            return w.address(w.buffer(source)), strides[1], strides[0]
        strides = w.strides(x.type)
        return w.address(w.buffer(x)), strides[0], strides[1]

    @property
    def width(self) -> int:
        return self.value.type.static(1)

    def write(self) -> None:
        """Sum up each tile at once."""

        def tile(first: Index, rows: int, group: ColumnGroup, column: Index) -> None:
            totals = self._sum_in_parts(first, rows, group.columns, column)
            for place, total in zip(self._places(first, rows, group.columns, column), totals, strict=True):
                self.w.store(place, {self.value: total})

        self._tiles(tile)

    def write_over_samples(self, sums: Buffer) -> None:
        """Sum up over the batch and finish; between the parts of a batch, sums are put back."""
        f, w = self.f, self.w
        first, count = (w.slot(slot, INDEX) for slot in (Slot.FIRST, Slot.COUNT))
        is_later = f.convert("zext", f.compare("ne", first, f.index(0)), INDEX)
        is_last = f.compare("sge", f.index(f.add(first, count)), w.batch)
        is_early = f.compare("slt", f.index(f.add(first, count)), w.batch)

        def tile(row: Index, rows: int, group: ColumnGroup, column: Index) -> None:
            places = self._places(row, rows, group.columns, column)
            with f.loop(0, is_later, carried=zeros(self.item, rows, group.columns), name="before") as before:
                before.results = [self._unfinished(sums, place) for place in places]
            totals = self._more(before.results, row, rows, group.columns, column, first, count)
            with f.when(is_last):
                for place, total in zip(places, totals, strict=True):
                    w.store(place, {self.value: total})
            with f.when(is_early):
                for place, total in zip(places, totals, strict=True):
                    w.put(sums, place, total)

        self._tiles(tile)

    def _clear(self, sums: Buffer) -> None:
        f, w = self.f, self.w
        address = f.element(w.address(sums), self.item, f.multiply(w.begin, self.width))
        f.clear(address, f.multiply(f.subtract(w.end, w.begin), self.width * SIZES[self.item]))

    def _add_to(self, sums: Buffer, begin: Index, depth: Index) -> None:
        """Add products from `begin` on to the sums in a buffer."""

        def tile(first: Index, rows: int, group: ColumnGroup, column: Index) -> None:
            places = self._places(first, rows, group.columns, column)
            start = [self._unfinished(sums, place) for place in places]
            totals = self._more(start, first, rows, group.columns, column, begin, depth)
            for place, total in zip(places, totals, strict=True):
                self.w.put(sums, place, total)

        self._tiles(tile)

    def _unfinished(self, sums: Buffer, place: Position) -> Ssa:
        f, w = self.f, self.w
        address = f.element(w.address(sums), self.item, w.offset(self.value.type, place.indices))
        exact = sums.place is Place.CALLER
        return load_lanes(f, self.item, address, place.lanes, place.used, exact=exact)

    def buffer_of_sums(self) -> Buffer | None:
        """Return the buffer that can hold unfinished sums of a deep product, if there is one."""
        is_deep = self.w.is_by_sample and isinstance(self.depth, int) and self.depth >= DEEP
        if not is_deep or not self.w.kernel.stores or self._depth_at_once() is None:
            return None
        buffer = self.w.kernel.stores[0][1]
        is_state = buffer.place is Place.CALLER and self.w.plan.slots[buffer.slot][0] == "update"
        return buffer if buffer.value.type == self.value.type and not is_state else None

    def _depth_at_once(self) -> int | None:
        assert isinstance(self.depth, int)
        return next((depth for depth in DEPTHS if self.depth % depth == 0), None)

    def write_in_depths(self, sums: Buffer) -> None:
        """Go through the depth in parts, for all tiles; then finish the sums."""
        f, w, at_once = self.f, self.w, self._depth_at_once()
        assert at_once is not None
        self._clear(sums)
        with f.loop(0, self.depth, at_once, name="depth") as depth:
            self._add_to(sums, depth.index, at_once)

        def finish(place: Position) -> None:
            w.store(place, {self.value: self._unfinished(sums, place)})

        with f.loop(w.begin, w.end, name="row") as row:
            over_run(w, 0, self.width, (row.index,), finish, self.item)

    def _tiles(self, tile: Callable[[Index, int, ColumnGroup, Index], None]) -> None:
        """Run `tile(first row, rows, columns, first column)` for all tiles, and the rows left one by one."""
        f, w = self.f, self.w
        wide = min(COLUMNS, len(columns(self.width, w.target, self.item)))
        rows = product_rows(w)
        w.tile = f"{rows} rows x {wide} vectors"
        whole = f.add(w.begin, f.multiply(f.divide(f.subtract(w.end, w.begin), rows), rows))
        kinds: list[tuple[int, Index, Index, int]] = [(rows, w.begin, whole, wide)]
        if self.value.type.shape[0] == BATCH or self.value.type.static(0) % rows:
            kinds.append((1, whole, w.end, SINGLE_ROW_COLUMNS))
        for at_once, begin, end, most in kinds:
            for group in column_groups(self.width, most, w.target, self.item):
                across = f.each(group.offset, group.count, group.width)
                with across as column, f.loop(begin, end, at_once, name="first") as first:
                    tile(first.index, at_once, group, column)

    def _places(self, first: Index, rows: int, group: tuple[Column, ...], column: Index) -> list[Position]:
        """Return the positions of a tile's sums, row by row."""
        f = self.f
        return [
            Position((f.add(first, row), f.add(column, c.offset)), c.lanes, c.used)
            for row in range(rows)
            for c in group
        ]

    def _sum_in_parts(self, first: Index, rows: int, group: tuple[Column, ...], column: Index) -> list[Ssa]:
        """Sum up all products of a tile, of a deep product part by part: so a sum of many stays right."""
        f, start = self.f, zeros(self.item, rows, group)
        if not isinstance(self.depth, int) or self.depth < DEEP:
            return self._sum(first, rows, group, column, 0, self.depth, start)
        whole = self.depth // PART * PART
        with f.loop(0, whole, PART, carried=start, name="part") as part:
            part.results = self._more(part.values, first, rows, group, column, part.index, PART)
        if whole == self.depth:
            return part.results
        return self._more(part.results, first, rows, group, column, whole, self.depth - whole)

    def _more(
        self,
        sums: list[Ssa],
        first: Index,
        rows: int,
        group: tuple[Column, ...],
        column: Index,
        begin: Index,
        depth: Index,
    ) -> list[Ssa]:
        """Return sums and what the products of a tile from `begin` on add up to, added to them."""
        more = self._sum(first, rows, group, column, begin, depth, zeros(self.item, rows, group))
        return [self.f.binary("fadd", x, y) for x, y in zip(sums, more, strict=True)]

    def _sum(
        self,
        first: Index,
        rows: int,
        group: tuple[Column, ...],
        column: Index,
        begin: Index,
        depth: Index,
        start: list[Ssa],
    ) -> list[Ssa]:
        """Sum up the products of a tile from `begin` on, on top of `start`."""
        f, w = self.f, self.w
        buffer = w.buffer(self.right)
        row, step = f.multiply(first, self.row_stride), f.multiply(begin, self.step)
        factors = Factors(
            f.element(self.left, self.item, row, step),
            [f.multiply(self.row_stride, row) for row in range(rows)],
            self.step,
            f.element(w.address(buffer), self.item, column, f.multiply(begin, self.width)),
            self.width,
            exact=buffer.place is Place.CALLER,
        )
        return accumulate(f, w.target, self.item, factors, group, depth, start)

    def write_plain(self) -> None:
        """A product whose columns are the batch: element by element."""
        f, w, item = self.f, self.w, self.item
        right, right_step = w.address(w.buffer(self.right)), w.strides(self.right.type)[0]
        with f.loop(w.begin, w.end, name="row") as row, f.loop(0, w.batch, name="column") as column:
            start = f.element(self.left, item, f.multiply(row.index, self.row_stride))
            with f.loop(0, self.depth, carried=[constant(item, 0.0)], name="depth") as k:
                a = f.load(item, f.element(start, item, f.multiply(k.index, self.step)))
                b = f.load(item, f.element(right, item, f.multiply(k.index, right_step), column.index))
                k.results = [multiply_add(f, w.target, a, b, k.values[0])]
            w.store(Position((row.index, column.index)), {self.value: k.results[0]})


def product_rows(w: Writer) -> int:
    """Return the rows of a tile: a power of two, since samples come in blocks of eight."""
    return 8 if largest_rows(w.target, COLUMNS) >= 8 else 4
