"""The greatest element along axes: NaN where there is one, as in NumPy."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.ir import Value
from graphcnn_native.codegen.function import Function, Index, Ssa, constant, lanes_of, vector
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.nest import over_run
from graphcnn_native.kernels.writer import Position, Writer

LEAST = float("-inf")


def greatest(w: Writer) -> None:
    """Loops over the axes that stay, and within them over those that go; the first axis is the share."""
    assert w.kernel.root is not None
    node, f = w.graph.node(w.kernel.root), w.f
    op, operand = node.op, node.operands[0]
    assert isinstance(op, ops.Max)
    (result,) = w.graph.results(w.kernel.root)
    item, rank, sizes = ITEMS[operand.type.dtype], operand.type.rank, w.sizes(operand.type)
    stays = [axis for axis in range(rank) if axis not in op.axes]
    shared = next((axis for axis in range(rank) if op.keep or axis in stays), None)

    def finish(indices: dict[int, Index], lanes: int, used: int) -> None:
        total = fold(list(op.axes), indices, constant(vector(item, lanes), LEAST), lanes, used)
        place = tuple(indices.get(axis, 0) for axis in range(rank) if axis in stays or op.keep)
        w.store(Position(place, lanes, used), {result: total})

    def along(remaining: list[int], indices: dict[int, Index]) -> None:
        if not remaining:
            finish(indices, 1, 1)
            return
        axis, *rest = remaining
        begin, end = (w.begin, w.end) if axis == shared else (0, sizes[axis])
        if axis == rank - 1:

            def run_of(position: Position) -> None:
                finish({**indices, axis: position.indices[0]}, position.lanes, position.used)

            over_run(w, begin, end, (), run_of, item)
            return
        with f.loop(begin, end, name="element") as run:
            along(rest, {**indices, axis: run.index})

    def fold(remaining: list[int], indices: dict[int, Index], start: Ssa, lanes: int, used: int) -> Ssa:
        if not remaining:
            place = Position(tuple(indices[axis] for axis in range(rank)), lanes, used)
            return _greater(f, start, w.expression(operand, place))
        axis, *rest = remaining
        if axis == rank - 1:
            return _across(w, operand, indices, start, item)
        with f.loop(0, sizes[axis], carried=[start], name="element") as run:
            run.results = [fold(rest, {**indices, axis: run.index}, run.values[0], lanes, used)]
        return run.results[0]

    along(stays, {})


def _greater(f: Function, x: Ssa, y: Ssa) -> Ssa:
    picked = f.select(f.compare("ogt", x, y), x, y)
    return f.select(f.compare("uno", x, x), x, picked)


def _across(w: Writer, operand: Value, indices: dict[int, Index], start: Ssa, item: str) -> Ssa:
    """Go along the last axis in lanes, which are compared at the end, and then one by one."""
    f, lanes, size = w.f, w.target.lanes(SIZES[item]), w.sizes(operand.type)[-1]
    outer = tuple(indices[axis] for axis in range(operand.type.rank - 1))
    whole = f.multiply(f.divide(size, lanes), lanes)
    with f.loop(0, whole, lanes, carried=[constant(vector(item, lanes), LEAST)], name="element") as run:
        x = w.expression(operand, Position((*outer, run.index), lanes, lanes))
        run.results = [_greater(f, run.values[0], x)]
    widest = run.results[0]
    while (half := lanes_of(widest.type) // 2) > 0:
        widest = _greater(f, f.part(widest, 0, half), f.part(widest, half, half))
    with f.loop(whole, size, carried=[_greater(f, start, widest)], name="element") as single:
        x = w.expression(operand, Position((*outer, single.index)))
        single.results = [_greater(f, single.values[0], x)]
    return single.results[0]
