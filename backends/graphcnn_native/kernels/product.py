"""Matrix products: rows in tiles, columns in the lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphcnn.ir import BATCH, Value
from graphcnn.ops import Transpose
from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.function import INDEX, Index, Ssa, constant
from graphcnn_native.codegen.lanes import Column, columns, load_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.dot import DotProduct
from graphcnn_native.kernels.nest import UNROLLED, over_vectors
from graphcnn_native.kernels.tile import (
    Factors,
    accumulate,
    column_groups,
    multiply_add,
    over_columns,
    zeros,
)
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.panels import PanelMatmul
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


@dataclass(frozen=True)
class _Panel:
    """Columns of the result from `first` on, and the address of their factors, row by row."""

    first: Index
    width: int
    right: Ssa


@dataclass(frozen=True)
class _Tile:
    """Rows of the result, and vectors of a panel: `offset` is that of the first within the panel."""

    first: Index
    rows: int
    columns: tuple[Column, ...]
    offset: Index
    panel: _Panel


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
        op = w.graph.node(w.kernel.root).op
        self.panel = op.panel if isinstance(op, PanelMatmul) else None

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

        def tile(t: _Tile) -> None:
            for place, total in zip(self._places(t), self._sum_in_parts(t), strict=True):
                self.w.store(place, {self.value: total})

        self._over_panels(lambda panel: self._tiles(panel, tile))

    def write_over_samples(self, sums: Buffer) -> None:
        """Sum up over the batch and finish; between the parts of a batch, sums are put back."""
        f, w = self.f, self.w
        first, count = (w.slot(slot, INDEX) for slot in (Slot.FIRST, Slot.COUNT))
        is_later = f.convert("zext", f.compare("ne", first, f.index(0)), INDEX)
        is_last = f.compare("sge", f.index(f.add(first, count)), w.batch)
        is_early = f.compare("slt", f.index(f.add(first, count)), w.batch)

        def tile(t: _Tile) -> None:
            places, none = self._places(t), zeros(self.item, t.rows, t.columns)
            with f.loop(0, is_later, carried=none, name="before") as before:
                before.results = [self._unfinished(sums, place) for place in places]
            totals = self._more(before.results, t, first, count)
            with f.when(is_last):
                for place, total in zip(places, totals, strict=True):
                    w.store(place, {self.value: total})
            with f.when(is_early):
                for place, total in zip(places, totals, strict=True):
                    w.put(sums, place, total)

        self._over_panels(lambda panel: self._tiles(panel, tile))

    def _clear(self, sums: Buffer, panel: _Panel) -> None:
        f, w = self.f, self.w
        with f.loop(w.begin, w.end, name="row") as row:
            first = f.add(f.multiply(row.index, self.width), panel.first)
            f.clear(f.element(w.address(sums), self.item, first), panel.width * SIZES[self.item])

    def _add_to(self, sums: Buffer, panel: _Panel, begin: Index, depth: Index) -> None:
        """Add products from `begin` on to the sums in a buffer."""

        def tile(t: _Tile) -> None:
            places = self._places(t)
            totals = self._more([self._unfinished(sums, place) for place in places], t, begin, depth)
            for place, total in zip(places, totals, strict=True):
                self.w.put(sums, place, total)

        self._tiles(panel, tile)

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
        """Go through the depth in parts, for all tiles of a panel; then finish the sums."""
        f, w, at_once = self.f, self.w, self._depth_at_once()
        assert at_once is not None

        def write(panel: _Panel) -> None:
            self._clear(sums, panel)
            with f.loop(0, self.depth, at_once, name="depth") as depth:
                self._add_to(sums, panel, depth.index, at_once)
            with f.loop(w.begin, w.end, name="row") as row:

                def finish(offset: Index, lanes: int, used: int) -> None:
                    place = Position((row.index, f.add(panel.first, offset)), lanes, used)
                    w.store(place, {self.value: self._unfinished(sums, place)})

                over_vectors(w, 0, panel.width, self.item, finish, unrolled=UNROLLED)

        self._over_panels(write)

    def _over_panels(self, write: Callable[[_Panel], None]) -> None:
        """Run `write` for this part's panels; a matrix that is in none is one."""
        f, w = self.f, self.w
        if self.panel is None:
            write(_Panel(0, self.width, self.right_address))
            return
        vectors = self.panel // w.target.lanes(SIZES[self.item])
        groups = column_groups(self.width, vectors, w.target, self.item)
        units, before = w.cut(0, sum(group.count for group in groups)), 0
        for group in groups:
            with over_columns(f, group, before, units) as first:
                address = f.element(self.right_address, self.item, f.multiply(first, self.depth))
                write(_Panel(first, group.used, address))
            before += group.count

    def _tiles(self, panel: _Panel, tile: Callable[[_Tile], None]) -> None:
        """Run `tile` for all of a panel, and for the rows left one by one."""
        f, w = self.f, self.w
        wide = min(COLUMNS, len(columns(panel.width, w.target, self.item)))
        rows = product_rows(w)
        w.tile = f"{rows} rows x {wide} vectors"
        whole = f.add(self.begin, f.multiply(f.divide(f.subtract(self.end, self.begin), rows), rows))
        kinds: list[tuple[int, Index, Index, int]] = [(rows, self.begin, whole, wide)]
        height = self.value.type.shape[-2]
        if height == BATCH or int(height) % rows:
            kinds.append((1, whole, self.end, SINGLE_ROW_COLUMNS))
        for at_once, begin, end, most in kinds:
            for group in column_groups(panel.width, most, w.target, self.item):
                across = f.each(group.offset, group.count, group.width)
                with across as offset, f.loop(begin, end, at_once, name="first") as first:
                    tile(_Tile(first.index, at_once, group.columns, offset, panel))

    def _places(self, tile: _Tile) -> list[Position]:
        """Return the positions of a tile's sums, row by row."""
        f = self.f
        column = f.add(tile.panel.first, tile.offset)
        return [
            Position((*self.outer, f.add(tile.first, row), f.add(column, c.offset)), c.lanes, c.used)
            for row in range(tile.rows)
            for c in tile.columns
        ]

    def _sum_in_parts(self, tile: _Tile) -> list[Ssa]:
        """Sum up all products of a tile, of a deep product part by part: so a sum of many stays right."""
        f = self.f
        if not isinstance(self.depth, int) or self.depth < DEEP:
            return self._sum(tile, 0, self.depth)
        whole, none = self.depth // PART * PART, zeros(self.item, tile.rows, tile.columns)
        with f.loop(0, whole, PART, carried=none, name="part") as part:
            part.results = self._more(part.values, tile, part.index, PART)
        if whole == self.depth:
            return part.results
        return self._more(part.results, tile, whole, self.depth - whole)

    def _more(self, sums: list[Ssa], tile: _Tile, begin: Index, depth: Index) -> list[Ssa]:
        """Return sums and what the products of a tile from `begin` on add up to, added to them."""
        more = self._sum(tile, begin, depth)
        return [self.f.binary("fadd", x, y) for x, y in zip(sums, more, strict=True)]

    def _sum(self, tile: _Tile, begin: Index, depth: Index) -> list[Ssa]:
        """Sum up the products of a tile from `begin` on."""
        f, w, width = self.f, self.w, tile.panel.width
        row, step = f.multiply(tile.first, self.row_stride), f.multiply(begin, self.step)
        factors = Factors(
            f.element(self.left, self.item, row, step),
            [f.multiply(self.row_stride, row) for row in range(tile.rows)],
            self.step,
            f.element(tile.panel.right, self.item, tile.offset, f.multiply(begin, width)),
            width,
            exact=w.buffer(self.right).place is Place.CALLER,
        )
        start = zeros(self.item, tile.rows, tile.columns)
        return accumulate(f, w.target, self.item, factors, tile.columns, depth, start)

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
