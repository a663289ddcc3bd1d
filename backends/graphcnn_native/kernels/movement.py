"""Kernels of ops that move elements: each element of the result is one of the operand, or zero."""

from __future__ import annotations

from collections.abc import Callable

from graphcnn import ops
from graphcnn.ir import BATCH, Value
from graphcnn_native.codegen.function import Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import load_lanes
from graphcnn_native.elements import ITEMS, SQUARE
from graphcnn_native.kernels.nest import over_axes, over_rest, over_run, share_within
from graphcnn_native.kernels.writer import Position, Writer, value_item
from graphcnn_native.lowering.program import Place


def _parts(w: Writer) -> tuple[Value, Value]:
    assert w.kernel.root is not None
    node = w.graph.node(w.kernel.root)
    return w.graph.results(w.kernel.root)[0], node.operands[0]


def fetch(w: Writer, operand: Value, indices: list[Index], position: Position, axis: int) -> Ssa:
    """Load lanes that run along one axis of the operand, from `indices` on."""
    f, item, type = w.f, ITEMS[operand.type.dtype], operand.type
    base, buffer = w.address(w.buffer(operand)), w.buffer(operand)
    start = f.element(base, item, w.offset(type, indices))
    if axis == type.rank - 1:
        exact = buffer.place is Place.CALLER
        loaded = load_lanes(f, item, start, position.lanes, position.used, exact=exact)
    else:
        stride = w.strides(type)[axis]
        scalars = [
            f.load(item, f.element(start, item, f.multiply(stride, lane))) for lane in range(position.used)
        ]
        loaded = f.assemble([*scalars, *[scalars[0]] * (position.lanes - position.used)])
    return _as_value(w, operand, loaded)


def _as_value(w: Writer, operand: Value, loaded: Ssa) -> Ssa:
    return w.f.compare("ne", loaded, constant(loaded.type, 0)) if operand.type.dtype == "bool" else loaded


def _number(value: Value, number: float, position: Position) -> Ssa:
    return constant(vector(value_item(value.type), position.lanes), number)


def transpose(w: Writer) -> None:
    value, operand = _parts(w)
    assert w.kernel.root is not None
    op = w.graph.node(w.kernel.root).op
    assert isinstance(op, ops.Transpose)

    def body(position: Position) -> None:
        indices: list[Index] = [0] * len(op.permutation)
        for axis, source in enumerate(op.permutation):
            indices[source] = position.indices[axis]
        w.store(position, {value: fetch(w, operand, indices, position, op.permutation[-1])})

    rank = len(op.permutation)
    matrices = op.permutation == (*range(rank - 2), rank - 1, rank - 2)
    if matrices and value.type.is_float and BATCH not in value.type.shape[-2:]:
        _transpose_matrices(w, value, operand, body)
    else:
        over_axes(w, w.sizes(value.type), body, ITEMS[value.type.dtype])


def _transpose_matrices(w: Writer, value: Value, operand: Value, body: Callable[[Position], None]) -> None:
    """Transpose the last two axes, block by block of SQUARE elements; what is left over one by one."""
    f, item, rank = w.f, ITEMS[value.type.dtype], value.type.rank
    width = value.type.static(rank - 1)
    whole_width = width // SQUARE * SQUARE

    def matrix(outer: tuple[Index, ...], begin: Index, end: Index) -> None:
        whole = f.add(begin, f.multiply(f.divide(f.subtract(end, begin), SQUARE), SQUARE))
        with f.loop(begin, whole, SQUARE, name="row") as row:
            with f.loop(0, whole_width, SQUARE, name="column") as column:
                _square(w, value, operand, outer, row.index, column.index)
            with f.loop(row.index, f.add(row.index, SQUARE), name="element") as single:
                over_run(w, whole_width, width, (*outer, single.index), body, item)
        with f.loop(whole, end, name="element") as single:
            over_run(w, 0, width, (*outer, single.index), body, item)

    def along(outer: tuple[Index, ...]) -> None:
        axis = len(outer)
        begin, end = (w.begin, w.end) if axis == 0 else (0, w.sizes(value.type)[axis])
        if axis == rank - 2:
            matrix(outer, begin, end)
            return
        with f.loop(begin, end, name="element") as run:
            along((*outer, run.index))

    along(())


def _square(
    w: Writer, value: Value, operand: Value, outer: tuple[Index, ...], row: Index, column: Index
) -> None:
    f, item = w.f, ITEMS[value.type.dtype]
    base = w.address(w.buffer(operand))
    lanes = [
        f.load(
            vector(item, SQUARE),
            f.element(base, item, w.offset(operand.type, (*outer, f.add(column, n), row))),
        )
        for n in range(SQUARE)
    ]
    for n, x in enumerate(f.transposed(lanes)):
        w.store(Position((*outer, f.add(row, n), column), SQUARE, SQUARE), {value: x})


def view(w: Writer) -> None:
    """Rot180, Crop, Subsample: an affine map of the indices, the last axis untouched or shifted."""
    value, operand = _parts(w)
    assert w.kernel.root is not None
    op, f = w.graph.node(w.kernel.root).op, w.f
    sizes = w.sizes(operand.type)

    def body(position: Position) -> None:
        indices = list(position.indices)
        if isinstance(op, ops.Rot180):
            for axis in op.axes:
                indices[axis] = f.add(sizes[axis], -1, f.multiply(indices[axis], -1))
        elif isinstance(op, ops.Crop):
            indices = [f.add(i, before) for i, (before, _) in zip(indices, op.widths, strict=True)]
        else:
            assert isinstance(op, ops.Subsample)
            indices[1:3] = [f.multiply(i, s) for i, s in zip(indices[1:3], op.factors, strict=True)]
        if isinstance(op, ops.Rot180) and value.type.rank - 1 in op.axes and position.lanes > 1:
            rows = [[*indices[:-1], f.subtract(indices[-1], lane)] for lane in range(position.used)]
            scalars = [fetch(w, operand, row, Position(()), value.type.rank - 1) for row in rows]
            loaded = f.assemble([*scalars, *[scalars[0]] * (position.lanes - position.used)])
        else:
            loaded = fetch(w, operand, indices, position, value.type.rank - 1)
        w.store(position, {value: loaded})

    over_axes(w, w.sizes(value.type), body, ITEMS[value.type.dtype])


def pad(w: Writer) -> None:
    value, operand = _parts(w)
    assert w.kernel.root is not None
    op = w.graph.node(w.kernel.root).op
    assert isinstance(op, ops.Pad)
    sizes, item = w.sizes(value.type), ITEMS[value.type.dtype]
    last = value.type.rank - 1

    def beside(position: Position) -> None:
        w.store(position, {value: _number(value, op.value if value.type.is_float else 0, position)})

    def copied(position: Position) -> None:
        indices = [w.f.add(i, -before) for i, (before, _) in zip(position.indices, op.widths, strict=True)]
        w.store(position, {value: fetch(w, operand, indices, position, last)})

    def fill(begin: Index, end: Index, outer: tuple[Index, ...]) -> None:
        """Write the number where the next axis is in the padding."""
        axis = len(outer)
        if begin == end:
            return
        if axis == last:
            over_run(w, begin, end, outer, beside, item)
            return
        with w.f.loop(begin, end, name="element") as run:
            over_rest(w, sizes[axis + 1 :], (*outer, run.index), beside, item)

    def along(outer: tuple[Index, ...]) -> None:
        axis = len(outer)
        before, after = op.widths[axis]
        inner_end = w.f.add(sizes[axis], -after)
        fill(0, before, outer)
        if axis == last:
            over_run(w, before, inner_end, outer, copied, item)
        else:
            with w.f.loop(before, inner_end, name="element") as run:
                along((*outer, run.index))
        fill(inner_end, sizes[axis], outer)

    _by_first_axis(w, op.widths[0], value, along, beside, copied, item)


def _by_first_axis(
    w: Writer,
    widths: tuple[int, int],
    value: Value,
    along: Callable[[tuple[Index, ...]], None],
    beside: Callable[[Position], None],
    copied: Callable[[Position], None],
    item: str,
) -> None:
    """Pad the kernel's share of the first axis, in which there can be padding as well."""
    f, sizes = w.f, w.sizes(value.type)
    first, last = widths[0], f.add(sizes[0], -widths[1])
    before, inner, behind = (share_within(w, *run) for run in ((0, first), (first, last), (last, sizes[0])))
    if value.type.rank == 1:
        for (begin, end), body in ((before, beside), (inner, copied), (behind, beside)):
            over_run(w, begin, end, (), body, item)
        return
    if any(widths):
        for begin, end in (before, behind):
            with f.loop(begin, end, name="element") as run:
                over_rest(w, sizes[1:], (run.index,), beside, item)
    with f.loop(*inner, name="element") as run:
        along((run.index,))


def zero_insert(w: Writer) -> None:
    value, operand = _parts(w)
    assert w.kernel.root is not None
    op, f = w.graph.node(w.kernel.root).op, w.f
    assert isinstance(op, ops.ZeroInsert)
    sizes, item = w.sizes(value.type), ITEMS[value.type.dtype]
    last = value.type.rank - 1

    def copied(position: Position) -> None:
        indices = list(position.indices)
        indices[1:3] = [f.divide(i, s) for i, s in zip(indices[1:3], op.factors, strict=True)]
        w.store(position, {value: fetch(w, operand, indices, position, last)})

    def zeros(position: Position) -> None:
        w.store(position, {value: _number(value, 0, position)})

    with (
        f.loop(w.begin, w.end, name="sample") as n,
        f.loop(0, sizes[1], name="row") as i,
        f.loop(0, sizes[2], name="column") as j,
    ):
        remainders = [
            f.binary("urem", axis.index, f.index(factor))
            for axis, factor in zip((i, j), op.factors, strict=True)
        ]
        kept = f.compare("eq", f.binary("or", *remainders), f.index(0))
        for condition, body in ((kept, copied), (f.binary("xor", kept, constant("i1", 1)), zeros)):
            with f.when(condition):
                over_run(w, 0, sizes[3], (n.index, i.index, j.index), body, item)


def concatenate(w: Writer) -> None:
    assert w.kernel.root is not None
    node, f = w.graph.node(w.kernel.root), w.f
    value = w.graph.results(w.kernel.root)[0]
    op = node.op
    assert isinstance(op, ops.Concatenate)
    sizes, item = w.sizes(value.type), ITEMS[value.type.dtype]
    last = value.type.rank - 1

    def along(outer: tuple[Index, ...]) -> None:
        axis = len(outer)
        if axis != op.axis:
            with f.loop(0, sizes[axis], name="element") as run:
                along((*outer, run.index))
            return
        before = 0
        for operand in node.operands:
            joined(operand, before, before + operand.type.static(axis), outer)
            before += operand.type.static(axis)

    def joined(
        operand: Value, begin: Index, end: Index, outer: tuple[Index, ...], shift: int | None = None
    ) -> None:
        axis = len(outer)
        moved = begin if shift is None else shift

        def body(position: Position) -> None:
            indices = list(position.indices)
            indices[op.axis] = f.subtract(indices[op.axis], moved)
            w.store(position, {value: fetch(w, operand, indices, position, last)})

        if axis == last:
            over_run(w, begin, end, outer, body, item)
            return
        with f.loop(begin, end, name="element") as run:
            over_rest(w, sizes[axis + 1 :], (*outer, run.index), body, item)

    if op.axis > 0:
        with f.loop(w.begin, w.end, name="first") as first:
            along((first.index,))
        return
    before = 0
    for operand in node.operands:
        size = operand.type.static(0)
        joined(operand, *share_within(w, before, before + size), (), before)
        before += size
