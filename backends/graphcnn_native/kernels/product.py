"""Matrix products: rows in tiles, columns in the lanes."""

from __future__ import annotations

from graphcnn.ir import BATCH, Value
from graphcnn.ops import Transpose
from graphcnn_native.codegen.function import ITEMS, Index, Ssa, constant
from graphcnn_native.codegen.lanes import columns
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
from graphcnn_native.lowering.program import Place

COLUMNS = 3
SINGLE_ROW_COLUMNS = 8


def matmul(w: Writer) -> None:
    """[A, K] x [K, B]; the kernel's share is a range of the rows."""
    f = w.f
    assert w.kernel.root is not None
    value = w.graph.results(w.kernel.root)[0]
    x, y = w.graph.node(w.kernel.root).operands
    item = ITEMS[value.type.dtype]
    left, row_stride, step = _left(w, x)
    buffer = w.buffer(y)
    width = value.type.shape[1]
    depth = w.sizes(y.type)[0]
    if width == BATCH:
        _plain(w, value, left, row_stride, step, y, depth)
        return
    size = int(width)
    wide = min(COLUMNS, len(columns(size, w.target, item)))
    rows = product_rows(w)
    whole = f.add(w.begin, f.multiply(f.divide(f.subtract(w.end, w.begin), rows), rows))
    exact = buffer.place is Place.CALLER and y.type.shape[-1] != BATCH

    def tile(first: Index, count: int, group: ColumnGroup, column: Index) -> None:
        start = f.element(left, item, f.multiply(first, row_stride))
        factors = Factors(
            start,
            [f.multiply(row_stride, row) for row in range(count)],
            step,
            f.element(w.base(buffer), item, column),
            size,
            exact=exact,
        )
        totals = accumulate(
            f, w.target, item, factors, group.columns, depth, zeros(item, count, group.columns)
        )
        for row in range(count):
            for number, c in enumerate(group.columns):
                place = Position((f.add(first, row), f.add(column, c.offset)), c.lanes, c.used)
                w.store(place, {value: totals[row * len(group.columns) + number]})

    tiles: list[tuple[int, Index, Index, int]] = [(rows, w.begin, whole, wide)]
    if w.is_by_sample or value.type.shape[0] == BATCH or value.type.static(0) % rows:
        tiles.append((1, whole, w.end, SINGLE_ROW_COLUMNS))
    for at_once, begin, end, most in tiles:
        for group in column_groups(size, most, w.target, item):
            with (
                f.each(group.offset, group.count, group.width) as column,
                f.loop(begin, end, at_once) as first,
            ):
                tile(first.index, at_once, group, column)


def product_rows(w: Writer) -> int:
    """Return the rows of a tile: a power of two, since samples come in blocks of eight."""
    most = largest_rows(w.target, COLUMNS)
    return 8 if most >= 8 else 4


def _left(w: Writer, x: Value) -> tuple[Ssa, Index, Index]:
    """Return the left operand's address, and how far apart its rows and its columns are."""
    node = w.graph.node(x.key)
    stored = w.program.base(x)
    if stored not in w.kernel.loads and node.op == Transpose((1, 0)):
        source = node.operands[0]
        strides = w.strides(source.type)
        return w.base(w.buffer(source)), strides[1], strides[0]
    strides = w.strides(x.type)
    return w.base(w.buffer(x)), strides[0], strides[1]


def _plain(
    w: Writer, value: Value, left: Ssa, row_stride: Index, step: Index, y: Value, depth: Index
) -> None:
    """A product whose columns are the batch: element by element."""
    f, item = w.f, ITEMS[value.type.dtype]
    right, right_step = w.base(w.buffer(y)), w.strides(y.type)[0]
    with f.loop(w.begin, w.end) as row, f.loop(0, w.batch) as column:
        start = f.element(left, item, f.multiply(row.index, row_stride))
        with f.loop(0, depth, carried=[constant(item, 0.0)]) as k:
            a = f.load(item, f.element(start, item, f.multiply(k.index, step)))
            b = f.load(item, f.element(right, item, f.multiply(k.index, right_step), column.index))
            k.results = [multiply_add(f, w.target, a, b, k.values[0])]
        w.store(Position((row.index, column.index)), {value: k.results[0]})
