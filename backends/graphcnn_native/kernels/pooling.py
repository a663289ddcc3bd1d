"""Pooling over windows, and how an error goes back through it; channels are in the lanes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from graphcnn import ops
from graphcnn.ir import Value
from graphcnn_native.codegen.function import Function, Index, Ssa, constant, lanes_of, vector
from graphcnn_native.codegen.lanes import load_lanes
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.nest import over_run, over_vectors
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.program import Place
from graphcnn_native.lowering.samples_in_lanes import LARGEST_POOL

Body: TypeAlias = Callable[[Position], None]
Step: TypeAlias = Callable[[Sequence[Ssa], Ssa, Index], list[Ssa]]

LARGEST_PLAIN_SUM = 9
"""Units of a window that are added up in their own precision."""


class _Pool:
    """What the kernels share: the op, its values, and loops over pixels and channels."""

    def __init__(self, w: Writer) -> None:
        self.w, self.f = w, w.f
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        self.op: Any = node.op
        self.operands = node.operands
        self.results = w.graph.results(w.kernel.root)
        self.item = ITEMS[self.results[0].type.dtype]

    def load(self, value: Value, position: Position, row: Index, column: Index) -> Ssa:
        """Load lanes of a pixel of the sample and channels at `position`."""
        f, buffer = self.f, self.w.buffer(value)
        item = ITEMS[value.type.dtype]
        n, _, _, channel = position.indices
        address = f.element(
            self.w.address(buffer), item, self.w.offset(value.type, (n, row, column, channel))
        )
        exact = buffer.place is Place.CALLER
        return load_lanes(f, item, address, position.lanes, position.used, exact=exact)

    def pixels(self, body: Body) -> None:
        """Run `body` for all pixels and vectors of channels of the result."""
        sizes = self.w.sizes(self.results[0].type)
        f = self.f
        rows = self.w.cut(0, sizes[1])
        with (
            f.loop(self.w.begin, self.w.end, name="sample") as n,
            f.loop(*rows, name="row") as i,
            f.loop(0, sizes[2], name="column") as j,
        ):
            self.channels((n.index, i.index, j.index), body)

    def channels(self, outer: tuple[Index, ...], body: Body) -> None:
        def vector_of(offset: Index, lanes: int, used: int) -> None:
            body(Position((*outer, offset), lanes, used))

        size = self.w.sizes(self.results[0].type)[3]
        if isinstance(size, int):
            over_vectors(self.w, 0, size, self.item, vector_of, unrolled=2)
        else:
            over_run(self.w, 0, size, outer, body, self.item)

    @property
    def is_padded(self) -> bool:
        return any(map(any, self.op.padding))

    def origin(self, index: Index, axis: int) -> Index:
        """Return the first row or column of a window, which may lie in the padding."""
        return self.f.subtract(self.f.multiply(index, self.op.stride[axis]), self.op.padding[axis][0])


def _taps(pool: _Pool, images: Value, position: Position, start: list[Ssa], step: Step) -> list[Ssa]:
    """Fold the units of one window: `step(carried, unit, number)` in the order of the rows."""
    f, op = pool.f, pool.op
    rows, columns_ = pool.origin(position.indices[1], 0), pool.origin(position.indices[2], 1)
    if not pool.is_padded and op.size[0] * op.size[1] <= LARGEST_POOL:
        for tap in range(op.size[0] * op.size[1]):
            down, across = divmod(tap, op.size[1])
            unit = pool.load(images, position, f.add(rows, down), f.add(columns_, across))
            start = step(start, unit, tap)
        return start
    bounds = []
    for axis, first in ((0, rows), (1, columns_)):
        size = images.type.static(1 + axis)
        low = f.greatest(0, f.multiply(first, -1))
        bounds.append((low, f.least(op.size[axis], f.subtract(size, first))))
    with f.loop(*bounds[0], carried=start, name="row") as row:
        with f.loop(*bounds[1], carried=row.values, name="column") as column:
            unit = pool.load(images, position, f.add(rows, row.index), f.add(columns_, column.index))
            number = f.add(f.multiply(row.index, op.size[1]), column.index)
            column.results = step(column.values, unit, number)
        row.results = column.results
    return row.results


def max_pool(w: Writer) -> None:
    """The greatest unit and its number; the first real unit wins if all are -inf, the first NaN if any is."""
    pool, f = _Pool(w), w.f
    images, (value, index) = pool.operands[0], pool.results
    index_item = ITEMS[index.type.dtype]
    is_stored = any(stored == index for stored, _ in w.kernel.stores)
    wants_index = is_stored or any(each.key != w.kernel.root for each in w.kernel.values)

    def body(position: Position) -> None:
        lanes = position.lanes

        def step(carried: Sequence[Ssa], unit: Ssa, number: Index) -> list[Ssa]:
            best, place, seen = carried
            better = f.compare("ugt", unit, best)
            better = f.binary("and", better, f.compare("ord", best, best))
            better = f.binary("or", better, f.splat(seen, lanes))
            place = f.select(better, _number(f, number, lanes), place)
            return [f.select(better, unit, best), place, Ssa("i1", "false")]

        if not pool.is_padded and pool.op.size[0] * pool.op.size[1] <= LARGEST_POOL:
            rows, columns_ = pool.origin(position.indices[1], 0), pool.origin(position.indices[2], 1)
            units = [
                pool.load(images, position, f.add(rows, row), f.add(columns_, column))
                for row in range(pool.op.size[0])
                for column in range(pool.op.size[1])
            ]
            best, winner = winner_of(f, units, wants_index=wants_index)
        else:
            type, place = vector(pool.item, lanes), constant(vector("i32", lanes), 0)
            start = [constant(type, float("-inf")), place, Ssa("i1", "true")]
            best, winner, _ = _taps(pool, images, position, start, step)
        known = {value: best}
        if winner is not None:
            known[index] = f.convert("trunc", winner, index_item)
        w.store(position, known)

    pool.pixels(body)


def winner_of(f: Function, units: Sequence[Ssa], *, wants_index: bool) -> tuple[Ssa, Ssa | None]:
    """Return the greatest of units, or the first NaN, and its number as i32 lanes if that is wanted."""
    best = units[0]
    winner = constant(vector("i32", lanes_of(best.type)), 0)
    for number, unit in enumerate(units[1:], 1):
        better = f.binary("and", f.compare("ugt", unit, best), f.compare("ord", best, best))
        best = f.select(better, unit, best)
        if wants_index:
            winner = f.select(better, constant(winner.type, number), winner)
    return best, winner if wants_index else None


def sum_pool(w: Writer) -> None:
    """SumPool2d, AveragePool2d and L2Pool2d: a sum over the window, scaled, or of squares."""
    pool = _Pool(w)
    images, value = pool.operands[0], pool.results[0]
    summing = Summing(w.f, pool.op, pool.item)

    def body(position: Position) -> None:
        def step(carried: Sequence[Ssa], unit: Ssa, number: Index) -> list[Ssa]:
            return [summing.add(carried[0], unit)]

        (total,) = _taps(pool, images, position, [summing.start(position.lanes)], step)
        w.store(position, {value: summing.finish(total)})

    pool.pixels(body)


class Summing:
    """How one window is summed up, whoever has its units at hand: start, add them one by one, finish.

    Sums of many units, and of squares, which may be beyond the range of float32, are added up in float64.
    """

    def __init__(self, f: Function, op: Any, item: str) -> None:
        self.f, self.op, self.item = f, op, item
        is_wide = isinstance(op, ops.L2Pool2d) or math.prod(op.size) > LARGEST_PLAIN_SUM
        self.sums = "double" if is_wide else item

    def start(self, lanes: int) -> Ssa:
        return constant(vector(self.sums, lanes), 0.0)

    def add(self, total: Ssa, unit: Ssa) -> Ssa:
        f = self.f
        unit = f.convert("fpext", unit, self.sums)
        term = f.binary("fmul", unit, unit) if isinstance(self.op, ops.L2Pool2d) else unit
        return f.binary("fadd", total, term)

    def sum(self, units: Sequence[Ssa]) -> Ssa:
        """Sum up a window all units of which are at hand."""
        total = self.start(lanes_of(units[0].type))
        for unit in units:
            total = self.add(total, unit)
        return self.finish(total)

    def finish(self, total: Ssa) -> Ssa:
        f = self.f
        if isinstance(self.op, ops.AveragePool2d):
            share = constant(total.type, 1 / math.prod(self.op.size))
            total = f.binary("fmul", total, share)
        elif isinstance(self.op, ops.L2Pool2d):
            total = f.intrinsic("sqrt", total)
        return f.convert("fptrunc", total, self.item)


def gather(w: Writer) -> None:
    """Fetch from each window the unit that an index names, and 0 where it names one in the padding."""
    pool, f = _Pool(w), w.f
    images, index = pool.operands

    def body(position: Position) -> None:
        named = _numbers(pool, index, position, position.indices[1], position.indices[2])

        def step(carried: Sequence[Ssa], unit: Ssa, number: Index) -> list[Ssa]:
            hit = f.compare("eq", named, _number(f, number, position.lanes))
            return [f.select(hit, unit, carried[0])]

        zero = constant(vector(pool.item, position.lanes), 0.0)
        (found,) = _taps(pool, images, position, [zero], step)
        w.store(position, {pool.results[0]: found})

    pool.pixels(body)


def _numbers(pool: _Pool, index: Value, position: Position, row: Index, column: Index) -> Ssa:
    """Load indices of winning units as i32 lanes."""
    return pool.f.convert("zext", pool.load(index, position, row, column), "i32")


def _number(f: Function, number: Index, lanes: int) -> Ssa:
    scalar = f.convert("trunc", number, "i32") if isinstance(number, Ssa) else Ssa("i32", str(number))
    return f.splat(scalar, lanes)


def back(w: Writer) -> None:
    """RouteToWinner2d, SpreadToBlock2d: each pixel of the images collects from the windows that hold it."""
    pool = _Pool(w)
    op, (_, height, width, _) = pool.op, pool.results[0].type.shape
    tiles = op.size == op.stride and not pool.is_padded and op.size[0] * op.size[1] <= 16
    if tiles:
        _back_by_window(pool, int(height), int(width))
    else:
        _back_by_pixel(pool)


def _back_by_window(pool: _Pool, height: int, width: int) -> None:
    """Windows tile the images: write every pixel of a window at once, and zeros where no window reaches."""
    w, f, op = pool.w, pool.f, pool.op
    image, pooled = pool.results[0], pool.operands[0].type
    windows = pooled.static(1), pooled.static(2)
    covered = windows[0] * op.size[0], windows[1] * op.size[1]

    def body(position: Position) -> None:
        n, i, j, channel = position.indices
        delta = pool.load(pool.operands[0], position, i, j)
        zero = constant(delta.type, 0.0)
        named = _numbers(pool, pool.operands[1], position, i, j) if len(pool.operands) > 1 else None
        for number in range(op.size[0] * op.size[1]):
            row, column = divmod(number, op.size[1])
            part = delta
            if named is not None:
                part = f.select(f.compare("eq", named, _number(f, number, position.lanes)), delta, zero)
            rows = f.add(f.multiply(i, op.size[0]), row)
            columns_ = f.add(f.multiply(j, op.size[1]), column)
            w.store(Position((n, rows, columns_, channel), position.lanes, position.used), {image: part})

    def empty(position: Position) -> None:
        w.store(position, {image: constant(vector(pool.item, position.lanes), 0.0)})

    with f.loop(w.begin, w.end, name="sample") as n:
        with f.loop(0, windows[0], name="row") as i, f.loop(0, windows[1], name="column") as j:
            pool.channels((n.index, i.index, j.index), body)
        if covered[1] < width:
            with f.loop(0, covered[0], name="row") as i, f.loop(covered[1], width, name="column") as j:
                pool.channels((n.index, i.index, j.index), empty)
        if covered[0] < height:
            with f.loop(covered[0], height, name="row") as i, f.loop(0, width, name="column") as j:
                pool.channels((n.index, i.index, j.index), empty)


def _back_by_pixel(pool: _Pool) -> None:
    w, f, op = pool.w, pool.f, pool.op
    pooled = pool.operands[0].type

    def body(position: Position) -> None:
        bounds = []
        places: list[Index] = []
        for axis in (0, 1):
            place = f.add(position.indices[1 + axis], op.padding[axis][0])
            beyond = f.add(place, 1, -op.size[axis])
            first = f.divide(f.greatest(0, f.add(beyond, op.stride[axis] - 1)), op.stride[axis])
            last = f.add(f.divide(place, op.stride[axis]), 1)
            bounds.append((first, f.least(last, pooled.static(1 + axis))))
            places.append(place)
        zero = constant(vector(pool.item, position.lanes), 0.0)
        with f.loop(*bounds[0], carried=[zero], name="row") as i:
            with f.loop(*bounds[1], carried=i.values, name="column") as j:
                delta = pool.load(pool.operands[0], position, i.index, j.index)
                if len(pool.operands) > 1:
                    row = f.subtract(places[0], f.multiply(i.index, op.stride[0]))
                    column = f.subtract(places[1], f.multiply(j.index, op.stride[1]))
                    number = f.add(f.multiply(row, op.size[1]), column)
                    named = _numbers(pool, pool.operands[1], position, i.index, j.index)
                    hit = f.compare("eq", named, _number(f, number, lanes_of(delta.type)))
                    delta = f.select(hit, delta, zero)
                j.results = [f.binary("fadd", j.values[0], delta)]
            i.results = j.results
        w.store(position, {pool.results[0]: i.results[0]})

    pool.pixels(body)
