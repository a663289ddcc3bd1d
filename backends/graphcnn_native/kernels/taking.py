"""Kernels that take places along an axis, run by run, and that add up what goes back to each place."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn import ops
from graphcnn.ir import Value
from graphcnn.ops.taking import Run
from graphcnn_native.codegen.function import INDEX, Index, Ssa, constant, vector
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.movement import fetch
from graphcnn_native.kernels.nest import over_rest, over_run
from graphcnn_native.kernels.writer import Position, Writer


def take(w: Writer) -> None:
    """For each run, a loop over its places, and over the axes behind it."""
    assert w.kernel.root is not None
    node, f = w.graph.node(w.kernel.root), w.f
    op, (operand,) = node.op, node.operands
    assert isinstance(op, ops.Take)
    (value,) = w.graph.results(w.kernel.root)
    sizes, item, last = w.sizes(value.type), ITEMS[value.type.dtype], value.type.rank - 1

    def run_of(run: Run, begin: Index, end: Index, offset: int, outer: tuple[Index, ...]) -> None:
        first, _, step = run

        def body(position: Position) -> None:
            indices = list(position.indices)
            indices[op.axis] = f.add(f.multiply(f.add(indices[op.axis], -offset), step), first)
            steps = step if op.axis == last else 1
            w.store(position, {value: _lanes(w, operand, indices, position, steps)})

        if op.axis == last:
            over_run(w, begin, end, outer, body, item)
            return
        with f.loop(begin, end, name="place") as place:
            over_rest(w, sizes[op.axis + 1 :], (*outer, place.index), body, item)

    def along(outer: tuple[Index, ...]) -> None:
        axis = len(outer)
        if axis != op.axis:
            begin, end = (w.begin, w.end) if axis == 0 else (0, sizes[axis])
            with f.loop(begin, end, name="element") as element:
                along((*outer, element.index))
            return
        offset = 0
        for run in op.runs:
            begin, end = offset, offset + run[1]
            if axis == 0:
                own = f.greatest(w.begin, begin)
                run_of(run, own, f.greatest(own, f.least(w.end, end)), offset, outer)
            else:
                run_of(run, begin, end, offset, outer)
            offset = end

    along(())


def _lanes(w: Writer, operand: Value, indices: Sequence[Index], position: Position, step: int) -> Ssa:
    """Load lanes that lie `step` elements apart along the last axis of the operand."""
    f, last = w.f, operand.type.rank - 1
    if step == 1 or position.lanes == 1:
        return fetch(w, operand, [*indices], position, last)
    places = [[*indices[:-1], f.add(indices[-1], step * lane)] for lane in range(position.used)]
    scalars = [fetch(w, operand, place, Position(()), last) for place in places]
    return f.assemble([*scalars, *[scalars[0]] * (position.lanes - position.used)])


def scatter_sum(w: Writer) -> None:
    """For each place, what every run gives it, in the order of the runs: no two threads add to one number."""
    assert w.kernel.root is not None
    node, f = w.graph.node(w.kernel.root), w.f
    op, (operand,) = node.op, node.operands
    assert isinstance(op, ops.ScatterSum)
    (value,) = w.graph.results(w.kernel.root)
    sizes, item, rank = w.sizes(value.type), ITEMS[value.type.dtype], value.type.rank

    def summed(position: Position, given: list[tuple[Index, Ssa]]) -> None:
        total = constant(vector("double", position.lanes), 0.0)
        for start, count in given:
            with f.loop(0, count, carried=[total], name="term") as term:
                indices = list(position.indices)
                indices[op.axis] = f.add(start, term.index)
                x = fetch(w, operand, indices, position, rank - 1)
                term.results = [f.binary("fadd", term.values[0], f.convert("fpext", x, "double"))]
            total = term.results[0]
        w.store(position, {value: f.convert("fptrunc", total, item)})

    def along(outer: tuple[Index, ...]) -> None:
        axis = len(outer)
        begin, end = (w.begin, w.end) if axis == 0 else (0, sizes[axis])
        with f.loop(begin, end, name="place") as place:
            if axis != op.axis:
                along((*outer, place.index))
                return
            given = _given(w, op.runs, place.index)
            if axis == rank - 1:
                summed(Position((*outer, place.index)), given)
                return
            over_rest(
                w, sizes[axis + 1 :], (*outer, place.index), lambda position: summed(position, given), item
            )

    along(())


def _given(w: Writer, runs: Sequence[Run], place: Ssa) -> list[tuple[Index, Ssa]]:
    """Return where in the operand the terms of a place begin, and how many of each run there are.

    A run that moves meets a place once or never; one that stays gives all of its terms to its only place.
    """
    f, offset, found = w.f, 0, list[tuple[Index, Ssa]]()
    for first, count, step in runs:
        if step == 0:
            meets = f.compare("eq", place, f.index(first))
            found.append((offset, f.select(meets, f.index(count), f.index(0))))
        else:
            # Below the first place the distance is negative: as an unsigned number, beyond every count.
            distance = f.index(f.multiply(f.add(place, -first), 1 if step > 0 else -1))
            number = f.binary("udiv", distance, f.index(abs(step)))
            left = f.binary("urem", distance, f.index(abs(step)))
            meets = f.binary(
                "and", f.compare("eq", left, f.index(0)), f.compare("ult", number, f.index(count))
            )
            found.append(
                (f.add(f.select(meets, number, f.index(0)), offset), f.convert("zext", meets, INDEX))
            )
        offset += count
    return found
