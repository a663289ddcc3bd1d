"""Kernels that look at whole rows: softmax, cross-entropy, and where the greatest element is."""

from __future__ import annotations

from collections.abc import Callable

from graphcnn import ops
from graphcnn.ir import Value
from graphcnn_native.codegen.function import INDEX, Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import columns, load_filled, load_lanes
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.elementary import exponential, logarithm
from graphcnn_native.kernels.nest import over_run
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.program import Place


def _each_row(w: Writer, sizes: tuple[Index, ...], body: Callable[[tuple[Index, ...]], None]) -> None:
    """Run `body` for every place along these axes; the first one is the kernel's share."""

    def along(remaining: tuple[Index, ...], outer: tuple[Index, ...]) -> None:
        if not remaining:
            body(outer)
            return
        begin, end = (w.begin, w.end) if not outer else (0, remaining[0])
        with w.f.loop(begin, end, name="element") as run:
            along(remaining[1:], (*outer, run.index))

    along(sizes, ())


class _Row:
    """A row of a stored value: what is common to softmax and its kin."""

    def __init__(self, w: Writer, value: Value, outer: tuple[Index, ...]) -> None:
        self.w, self.value, self.outer = w, value, outer
        self.item = ITEMS[value.type.dtype]
        self.columns = columns(value.type.static(value.type.rank - 1), w.target, self.item)

    def load(self, offset: Index, lanes: int, used: int, filling: float) -> Ssa:
        """Load lanes, with `filling` in those beyond the row."""
        w, f = self.w, self.w.f
        buffer = w.buffer(self.value)
        address = f.element(w.address(buffer), self.item, w.offset(self.value.type, (*self.outer, offset)))
        exact = buffer.place is Place.CALLER
        return load_filled(f, self.item, address, lanes, used, filling, exact=exact)

    def fold(
        self,
        start: float,
        filling: float,
        step: Callable[[Ssa, Ssa], Ssa],
        instruction: Callable[[Ssa, Ssa], Ssa],
    ) -> Ssa:
        """Fold the row into one number: `step(total, lanes)` for each vector, then across the lanes."""
        f, lanes = self.w.f, self.columns[0].lanes
        total = constant(vector(self.item, lanes), start)
        first = 0
        if self.columns.whole > 1:
            first = self.columns.whole
            with f.loop(0, first * lanes, lanes, carried=[total], name="element") as run:
                run.results = [step(run.values[0], self.load(run.index, lanes, lanes, filling))]
            total = run.results[0]
        rest = self.columns[first:]
        result = None
        for column in rest:
            if column.lanes == lanes:
                total = step(total, self.load(column.offset, lanes, column.used, filling))
                continue
            narrow = constant(vector(self.item, column.lanes), start)
            part = step(narrow, self.load(column.offset, column.lanes, column.used, filling))
            result = self._across(part, instruction)
        across = self._across(total, instruction)
        return across if result is None else instruction(across, result)

    def _across(self, x: Ssa, instruction: Callable[[Ssa, Ssa], Ssa]) -> Ssa:
        f = self.w.f
        from graphcnn_native.codegen.function import lanes_of

        while (lanes := lanes_of(x.type)) > 1:
            x = instruction(f.part(x, 0, lanes // 2), f.part(x, lanes // 2, lanes // 2))
        return x

    def log_sum(self) -> tuple[Ssa, Ssa]:
        """Return the greatest element and ln Σ e^(x - greatest)."""
        f = self.w.f

        def greater(x: Ssa, y: Ssa) -> Ssa:
            picked = f.select(f.compare("ogt", x, y), x, y)
            return f.select(f.compare("uno", x, x), x, picked)

        from graphcnn_native.codegen.function import lanes_of

        infinity = float("-inf")
        top = self.fold(infinity, infinity, greater, greater)

        def add(total: Ssa, x: Ssa) -> Ssa:
            shifted = f.binary("fsub", x, f.splat(top, lanes_of(x.type)))
            return f.binary("fadd", total, exponential(f, shifted))

        total = self.fold(0.0, infinity, add, lambda x, y: f.binary("fadd", x, y))
        return top, logarithm(f, total)


def log_softmax(w: Writer) -> None:
    value, operand = _parts(w)

    def row(outer: tuple[Index, ...]) -> None:
        f = w.f
        top, log_total = _Row(w, operand, outer).log_sum()

        def body(position: Position) -> None:
            buffer = w.buffer(operand)
            item = ITEMS[operand.type.dtype]
            address = f.element(w.address(buffer), item, w.offset(operand.type, position.indices))
            exact = buffer.place is Place.CALLER
            x = load_lanes(f, item, address, position.lanes, position.used, exact=exact)
            shifted = f.binary("fsub", x, f.splat(top, position.lanes))
            w.store(position, {value: f.binary("fsub", shifted, f.splat(log_total, position.lanes))})

        over_run(w, 0, w.sizes(operand.type)[-1], outer, body, ITEMS[operand.type.dtype])

    if value.type.rank == 1:
        row(())
    else:
        _each_row(w, w.sizes(operand.type)[:-1], row)


def _parts(w: Writer) -> tuple[Value, Value]:
    assert w.kernel.root is not None
    return w.graph.results(w.kernel.root)[0], w.graph.node(w.kernel.root).operands[0]


def softmax_cross_entropy(w: Writer) -> None:
    value, logits = _parts(w)
    assert w.kernel.root is not None
    labels = w.graph.node(w.kernel.root).operands[1]

    def row(outer: tuple[Index, ...]) -> None:
        f, item = w.f, ITEMS[logits.type.dtype]
        top, log_total = _Row(w, logits, outer).log_sum()
        address = f.element(w.address(w.buffer(labels)), ITEMS[labels.type.dtype], *outer)
        label = f.convert("sext", f.load(ITEMS[labels.type.dtype], address), INDEX)
        known = f.compare("ult", label, f.index(logits.type.static(1)))
        place = f.select(known, label, f.index(0))
        start = w.offset(logits.type, (*outer, 0))
        chosen = f.load(item, f.element(w.address(w.buffer(logits)), item, start, place))
        loss = f.binary("fsub", log_total, f.binary("fsub", chosen, top))
        w.store(Position(outer), {value: f.select(known, loss, constant(item, float("nan")))})

    _each_row(w, w.sizes(value.type), row)


def argmax(w: Writer) -> None:
    """The first of the greatest; the first NaN, where there is one."""
    value, operand = _parts(w)
    assert w.kernel.root is not None
    op = w.graph.node(w.kernel.root).op
    assert isinstance(op, ops.ArgMax)
    size, item = w.sizes(operand.type)[op.axis], ITEMS[operand.type.dtype]

    def row(outer: tuple[Index, ...]) -> None:
        f = w.f

        def element(index: Index) -> Ssa:
            indices = (*outer[: op.axis], index, *outer[op.axis :])
            address = f.element(w.address(w.buffer(operand)), item, w.offset(operand.type, indices))
            return f.load(item, address)

        with f.loop(1, size, carried=[element(0), f.index(0)], name="element") as run:
            best, place = run.values
            x = element(run.index)
            if item in ("float", "double"):
                better = f.binary("and", f.compare("ugt", x, best), f.compare("ord", best, best))
            else:
                better = f.compare("sgt" if item != "i8" else "ugt", x, best)
            run.results = [f.select(better, x, best), f.select(better, run.index, place)]
        w.store(Position(outer), {value: run.results[1]})

    if not value.type.rank:
        row(())
    else:
        _each_row(w, w.sizes(value.type), row)
