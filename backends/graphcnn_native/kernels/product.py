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
from graphcnn_native.kernels.tile import ColumnGroup, Factors, accumulate, column_groups, multiply_add, zeros
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.program import Buffer, Place, turns_matrices
from graphcnn_native.tile_sizes import largest_rows

COLUMNS = 3
SINGLE_ROW_COLUMNS = 8
DEEP = 1024
"""From this depth on, a product is summed up in parts whose factors on the right stay in the second cache."""
DEPTHS = range(640, 127, -1)
PART = 512
"""So many products are added one to the other before their sum is added to that of the others."""


def matmul(w: Writer) -> None:
    """[..., A, K] x [..., K, B]; the kernel's share is a range of the first axis: the rows, or matrices."""
    assert w.kernel.root is not None
    (result,) = w.graph.results(w.kernel.root)
    left, right = w.graph.node(w.kernel.root).operands
    if result.type.rank > 2:
        _each_matrix(w, result, ())
        return
    transpose = w.graph.node(right.key)
    if transpose.op == Transpose((1, 0)) and w.plan.unshaped(right) not in w.kernel.loads:
        DotProduct(w, left, transpose.operands[0], result).write()
        return
    product = _Product(w, (), w.begin, w.end)
    if product.value.type.shape[1] == BATCH:
        product.write_plain()
    elif w.kernel.unfinished is not None:
        product.write_over_samples(w.kernel.unfinished)
    elif (sums := product.buffer_of_sums()) is not None:
        product.write_in_depths(sums)
    else:
        product.write()


def _each_matrix(w: Writer, result: Value, outer: tuple[Index, ...]) -> None:
    """Go through the axes in front, and multiply the two matrices at each place along them."""
    axis, sizes = len(outer), w.sizes(result.type)
    if axis < result.type.rank - 2:
        begin, end = (w.begin, w.end) if axis == 0 else (0, sizes[axis])
        with w.f.loop(begin, end, name="matrix") as matrix:
            _each_matrix(w, result, (*outer, matrix.index))
        return
    product = _Product(w, outer, 0, sizes[-2])
    if result.type.shape[-1] == BATCH:
        product.write_plain()
    else:
        product.write()


class _Product:
    """One product: where its factors are, and the tiles of its result.

    outer: the place of the matrices along the axes in front. begin, end: the rows to compute.
    """

    def __init__(self, w: Writer, outer: tuple[Index, ...], begin: Index, end: Index) -> None:
        assert w.kernel.root is not None
        self.w, self.f = w, w.f
        self.outer, self.begin, self.end = outer, begin, end
        self.value = w.graph.results(w.kernel.root)[0]
        self.item = ITEMS[self.value.type.dtype]
        x, self.right = w.graph.node(w.kernel.root).operands
        self.left, self.row_stride, self.step = self._left(x)
        self.right_address = self._matrix(self.right)
        self.depth = w.sizes(self.right.type)[-2]

    def _left(self, x: Value) -> tuple[Ssa, Index, Index]:
        """Return the left matrix's address, and how far apart its rows and its columns are."""
        w, node = self.w, self.w.graph.node(x.key)
        if w.plan.unshaped(x) not in w.kernel.loads and turns_matrices(node.op):
            source = node.operands[0]
            strides = w.strides(source.type)
            return self._matrix(source), strides[-1], strides[-2]
        strides = w.strides(x.type)
        return self._matrix(x), strides[-2], strides[-1]

    def _matrix(self, value: Value) -> Ssa:
        """Return the address of a factor's matrix."""
        w = self.w
        indices = (*self.outer, *[0] * (value.type.rank - len(self.outer)))
        return self.f.element(w.address(w.buffer(value)), self.item, w.offset(value.type, indices))

    @property
    def width(self) -> int:
        return self.value.type.static(self.value.type.rank - 1)

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
        whole = f.add(self.begin, f.multiply(f.divide(f.subtract(self.end, self.begin), rows), rows))
        kinds: list[tuple[int, Index, Index, int]] = [(rows, self.begin, whole, wide)]
        height = self.value.type.shape[-2]
        if height == BATCH or int(height) % rows:
            kinds.append((1, whole, self.end, SINGLE_ROW_COLUMNS))
        for at_once, begin, end, most in kinds:
            for group in column_groups(self.width, most, w.target, self.item):
                across = f.each(group.offset, group.count, group.width)
                with across as column, f.loop(begin, end, at_once, name="first") as first:
                    tile(first.index, at_once, group, column)

    def _places(self, first: Index, rows: int, group: tuple[Column, ...], column: Index) -> list[Position]:
        """Return the positions of a tile's sums, row by row."""
        f = self.f
        return [
            Position((*self.outer, f.add(first, row), f.add(column, c.offset)), c.lanes, c.used)
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
            f.element(self.right_address, self.item, column, f.multiply(begin, self.width)),
            self.width,
            exact=buffer.place is Place.CALLER,
        )
        return accumulate(f, w.target, self.item, factors, group, depth, start)

    def write_plain(self) -> None:
        """A product whose columns are the batch: element by element."""
        f, w, item = self.f, self.w, self.item
        right_step = w.strides(self.right.type)[-2]
        with f.loop(self.begin, self.end, name="row") as row, f.loop(0, w.batch, name="column") as column:
            start = f.element(self.left, item, f.multiply(row.index, self.row_stride))
            with f.loop(0, self.depth, carried=[constant(item, 0.0)], name="depth") as k:
                a = f.load(item, f.element(start, item, f.multiply(k.index, self.step)))
                b = f.load(
                    item, f.element(self.right_address, item, f.multiply(k.index, right_step), column.index)
                )
                k.results = [multiply_add(f, w.target, a, b, k.values[0])]
            w.store(Position((*self.outer, row.index, column.index)), {self.value: k.results[0]})


def product_rows(w: Writer) -> int:
    """Return the rows of a tile: a power of two, since samples come in blocks of eight."""
    return 8 if largest_rows(w.target, COLUMNS) >= 8 else 4
