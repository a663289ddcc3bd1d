"""Sums and means over axes. Sums over samples go to the memory of a shard, and are added up later.

All are added up in float64, whatever they are of: a sum of many is as right as one of few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphcnn import ops
from graphcnn.ir import BATCH, Value
from graphcnn_native.codegen.function import Function, Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import Column, across, columns, load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.nest import is_flat, over_vectors
from graphcnn_native.kernels.writer import Position, Writer

Finish = Callable[[Position, Ssa], None]
ACCUMULATORS = 4
"""So many independent sums, each of two vectors of float64, hide how long an addition takes."""
BESIDE = 4
"""Sums of a row stay in all registers but these, two for each: rows are read in the order of memory."""
SUMS = "double"


def reduction(w: Writer) -> None:
    """Write a kernel that sums an expression over axes."""
    assert w.kernel.root is not None
    node = w.graph.node(w.kernel.root)
    op, operand = node.op, node.operands[0]
    assert isinstance(op, ops.Sum | ops.Mean)
    (result,) = w.graph.results(w.kernel.root)
    item = ITEMS[operand.type.dtype]

    def finish(position: Position, total: Ssa) -> None:
        if w.kernel.adds_up_samples:
            _add_to_shard(w, result, position, total)
            return
        if isinstance(op, ops.Mean):
            count = w.count(op, operand, result.type.with_dtype("float64"))
            total = w.f.binary("fdiv", total, w.f.splat(count, position.lanes))
        w.store(position, {result: w.f.convert("fptrunc", total, item)})

    count, rank = len(op.axes), operand.type.rank
    are_leading = op.axes == tuple(range(count)) and 0 < count < rank and not op.keep
    of_rows = are_leading and BATCH not in operand.type.shape[1:]
    flat = of_rows and _is_flat(w, operand)
    if flat or (of_rows and count == rank - 1):
        _sum_rows(w, operand, count, finish, item, flat=flat)
    else:
        _sum_over(w, operand, op.axes, op.keep, finish, item)


def _added(f: Function, total: Ssa, x: Ssa) -> Ssa:
    return f.binary("fadd", total, f.convert("fpext", x, SUMS))


def _add_to_shard(w: Writer, result: Value, position: Position, total: Ssa) -> None:
    f, offset = w.f, w.offset(result.type, position.indices)
    address = f.element(w.shard, SUMS, offset)
    before = load_lanes(f, SUMS, address, position.lanes, position.used, exact=True)
    store_lanes(f, f.binary("fadd", before, total), address, position.used, w.target)


def _sum_rows(w: Writer, operand: Value, axes: int, finish: Finish, item: str, *, flat: bool) -> None:
    """Sum over the leading axes: rows of memory are added up, column by column.

    flat: the operand is computed in memory order, whatever its axes; a row is then all that stays, and else
    the last axis.
    """
    f, shape = w.f, operand.type.shape
    width = math.prod(int(size) for size in shape[axes:])
    inner = [int(size) for size in shape[1:axes]]
    inner = [math.prod(inner)] if flat else inner
    cut = columns(width, w.target, item)
    at_once = min(max(1, w.target.registers // 2 - BESIDE), len(cut))
    most = max(1, ACCUMULATORS // at_once) if inner else 1
    turns = next(n for n in range(most, 0, -1) if n == 1 or inner[-1] % n == 0)
    begin: Index = w.begin if w.kernel.adds_up_samples else 0
    end = w.end if w.kernel.adds_up_samples else w.sizes(operand.type)[0]

    def add_up(group: Sequence[Column], first: Index) -> None:
        zeros = [constant(vector(SUMS, column.lanes), 0.0) for column in group] * turns

        def along(sizes: Sequence[int], indices: tuple[Index, ...], totals: list[Ssa]) -> list[Ssa]:
            if not sizes:
                return rows(indices, totals)
            with f.loop(0, sizes[0], 1 if sizes[1:] else turns, carried=totals, name="row") as row:
                row.results = along(sizes[1:], (*indices, row.index), row.values)
            return row.results

        def rows(indices: tuple[Index, ...], totals: list[Ssa]) -> list[Ssa]:
            sums = []
            for turn in range(turns):
                *outer, last = indices
                row = (*outer, f.add(last, turn))
                for number, column in enumerate(group):
                    element = f.add(first, column.offset)
                    place = (*row, element)
                    if flat:
                        place = _place_in_rows(w, operand, row, element, width, inner)
                    x = w.expression(operand, Position(place, column.lanes, column.used))
                    sums.append(_added(f, totals[turn * len(group) + number], x))
            return sums

        with f.loop(begin, end, carried=zeros, name="sample") as sample:
            sample.results = along(inner, (sample.index,), sample.values)
        for number, column in enumerate(group):
            total = sample.results[number]
            for turn in range(1, turns):
                total = f.binary("fadd", total, sample.results[turn * len(group) + number])
            finish(Position((f.add(first, column.offset),), column.lanes, column.used), total)

    groups = cut.whole // at_once
    first = 0
    if groups > 1:
        first = groups * at_once
        with f.loop(0, first * cut.lanes, at_once * cut.lanes, name="group") as group:
            add_up(cut[:at_once], group.index)
    for place in range(first, len(cut), at_once):
        add_up(cut[place : place + at_once], 0)


def _is_flat(w: Writer, operand: Value) -> bool:
    """Whether an expression can be summed up in memory order, and what follows from the sums computed so."""
    has_one_axis = len(w.kernel.shape) == 1
    return w.is_flat(operand) and (has_one_axis or is_flat(w))


def _place_in_rows(
    w: Writer, operand: Value, row: tuple[Index, ...], element: Index, width: int, inner: Sequence[int]
) -> tuple[Index, ...]:
    """Return the indices of an element of a flat expression, by its first axis and its place in the rest."""
    f, first = w.f, row[0]
    if operand.type.rank == 1:
        return (first,)
    element = f.add(f.multiply(row[1], width), element)
    if operand.type.has_batch:
        return first, element
    return (f.add(f.multiply(first, width * inner[0]), element),)


def _sum_over(
    w: Writer, operand: Value, axes: tuple[int, ...], keep: bool, finish: Finish, item: str
) -> None:
    """Sum over any axes: loops over those that stay, and within them over those that go."""
    f, rank = w.f, operand.type.rank
    sizes = w.sizes(operand.type)
    stays = [axis for axis in range(rank) if axis not in axes]
    share = 0 if (w.is_by_sample or not axes or 0 in stays) else None

    def bounds(axis: int) -> tuple[Index, Index]:
        if axis == share and (w.is_by_sample or 0 in stays):
            return w.begin, w.end
        return 0, sizes[axis]

    def along(remaining: list[int], indices: dict[int, Index]) -> None:
        if not remaining:
            reduce(indices, 1, 1)
            return
        axis, *rest = remaining
        begin, end = bounds(axis)
        if axis == rank - 1 and isinstance(end, int) and isinstance(begin, int):

            def vector_of(offset: Index, lanes: int, used: int) -> None:
                reduce({**indices, axis: offset}, lanes, used)

            over_vectors(w, 0, end, item, vector_of, unrolled=ACCUMULATORS)
            return
        with f.loop(begin, end, name="element") as run:
            along(rest, {**indices, axis: run.index})

    def reduce(indices: dict[int, Index], lanes: int, used: int) -> None:
        total = inner(list(axes), indices, constant(vector(SUMS, lanes), 0.0), lanes, used)
        place = [indices.get(axis, 0) for axis in range(rank) if axis in stays or keep]
        finish(Position(tuple(place), lanes, used), total)

    def inner(remaining: list[int], indices: dict[int, Index], start: Ssa, lanes: int, used: int) -> Ssa:
        if not remaining:
            place = Position(tuple(indices[axis] for axis in range(rank)), lanes, used)
            return _added(f, start, w.expression(operand, place))
        axis, *rest = remaining
        begin, end = bounds(axis)
        if axis == rank - 1 and isinstance(end, int) and isinstance(begin, int):
            return _across(w, operand, indices, end, start, item)
        with f.loop(begin, end, carried=[start], name="element") as run:
            run.results = [inner(rest, {**indices, axis: run.index}, run.values[0], lanes, used)]
        return run.results[0]

    along(stays, {})


def _across(w: Writer, operand: Value, indices: dict[int, Index], size: int, start: Ssa, item: str) -> Ssa:
    """Sum along the last axis, in lanes that are added up at the end."""
    f, lanes = w.f, w.target.lanes(SIZES[item])
    outer = tuple(indices[axis] for axis in range(operand.type.rank - 1))
    whole = size // lanes * lanes
    total = start
    if whole:
        with f.loop(0, whole, lanes, carried=[constant(vector(SUMS, lanes), 0.0)], name="element") as run:
            x = w.expression(operand, Position((*outer, run.index), lanes, lanes))
            run.results = [_added(f, run.values[0], x)]
        total = f.binary("fadd", total, across(f, run.results[0], "fadd"))
    for element in range(whole, size):
        total = _added(f, total, w.expression(operand, Position((*outer, element))))
    return total
