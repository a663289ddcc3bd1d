"""Kernels of linear interpolation along one axis, and of its transpose: places are exact fractions."""

from __future__ import annotations

from collections.abc import Callable

from graphcnn import ops
from graphcnn_native.codegen.function import Index, Ssa, constant, vector
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.movement import fetch
from graphcnn_native.kernels.nest import over_rest
from graphcnn_native.kernels.writer import Position, Writer


def interpolate(w: Writer) -> None:
    """Each place reads its two neighbours."""
    assert w.kernel.root is not None
    node, f = w.graph.node(w.kernel.root), w.f
    op, (operand,) = node.op, node.operands
    assert isinstance(op, ops.Interpolate)
    (value,) = w.graph.results(w.kernel.root)
    grid, item, last = op.grid(operand.type), ITEMS[value.type.dtype], value.type.rank - 1

    def at(place: Ssa) -> Callable[[Position], None]:
        number = f.least(f.greatest(0, f.add(f.multiply(place, grid.slope), grid.shift)), grid.last)
        below = f.divide(number, grid.denominator)
        above = f.least(f.add(below, 1), grid.coarse - 1)
        left = f.index(f.subtract(number, f.multiply(below, grid.denominator)))
        t = f.binary("fdiv", f.convert("sitofp", left, item), constant(item, grid.denominator))
        rest = f.binary("fsub", constant(item, 1.0), t)

        def body(position: Position) -> None:
            parts = []
            for index, weight in ((below, rest), (above, t)):
                indices = list(position.indices)
                indices[op.axis] = index
                x = fetch(w, operand, indices, position, last)
                parts.append(f.binary("fmul", x, f.splat(weight, position.lanes)))
            w.store(position, {value: f.binary("fadd", *parts)})

        return body

    _along_axis(w, op.axis, at)


def interpolate_transposed(w: Writer) -> None:
    """Each place sums up, in order and in float64, what the places about it have of it."""
    assert w.kernel.root is not None
    node, f = w.graph.node(w.kernel.root), w.f
    op, (operand,) = node.op, node.operands
    assert isinstance(op, ops.InterpolateTransposed)
    (value,) = w.graph.results(w.kernel.root)
    grid, item, last = op.grid(operand.type), ITEMS[value.type.dtype], value.type.rank - 1
    slope = max(1, grid.slope)

    def numerator(i: Index) -> Index:
        return f.least(f.greatest(0, f.add(f.multiply(i, grid.slope), grid.shift)), grid.last)

    def at(place: Ssa) -> Callable[[Position], None]:
        # Fine places that are less than one coarse place away; at the ends, all that are beyond as well.
        before, behind = (
            f.greatest(0, f.add(f.multiply(f.add(place, side), grid.denominator), -grid.shift))
            for side in (-1, 1)
        )
        begin = f.divide(before, slope)
        end = f.least(f.add(f.divide(f.add(behind, slope - 1), slope), 1), grid.fine)
        own = f.multiply(place, grid.denominator)

        def body(position: Position) -> None:
            zero = constant(vector("double", position.lanes), 0.0)
            with f.loop(begin, end, carried=[zero], name="term") as term:
                distance = f.subtract(numerator(term.index), own)
                away = f.greatest(distance, f.multiply(distance, -1))
                share = f.index(f.greatest(0, f.add(f.multiply(away, -1), grid.denominator)))
                weight = f.binary(
                    "fdiv", f.convert("sitofp", share, "double"), constant("double", grid.denominator)
                )
                indices = list(position.indices)
                indices[op.axis] = term.index
                x = f.convert("fpext", fetch(w, operand, indices, position, last), "double")
                product = f.binary("fmul", x, f.splat(weight, position.lanes))
                term.results = [f.binary("fadd", term.values[0], product)]
            w.store(position, {value: f.convert("fptrunc", term.results[0], item)})

        return body

    _along_axis(w, op.axis, at)


def _along_axis(w: Writer, axis: int, at: Callable[[Ssa], Callable[[Position], None]]) -> None:
    """Run `at(place)` for each place along the axis, and what it returns for all positions there."""
    assert w.kernel.root is not None
    f, (value,) = w.f, w.graph.results(w.kernel.root)
    sizes, item = w.sizes(value.type), ITEMS[value.type.dtype]

    def along(outer: tuple[Index, ...]) -> None:
        begin, end = (w.begin, w.end) if not outer else (0, sizes[len(outer)])
        with f.loop(begin, end, name="place") as place:
            indices = (*outer, place.index)
            if len(outer) < axis:
                along(indices)
                return
            body = at(place.index)
            if axis == value.type.rank - 1:
                body(Position(indices))
            else:
                over_rest(w, sizes[axis + 1 :], indices, body, item)

    along(())
