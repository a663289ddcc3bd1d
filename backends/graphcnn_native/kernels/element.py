"""Kernels of ops that say what one element of their result is: a loop over all of them, one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from graphcnn.errors import BackendError
from graphcnn_native.codegen.function import Function, Index, Ssa, constant
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.writer import Position, Writer, value_item


class Element:
    """Writes the code of one element of a result.

    indices: where the element is, one for each axis, the sample first. sizes: those of the result.
    f: writes LLVM instructions on numbers: `f.binary("fadd", x, y)`, `f.select(condition, x, y)`,
    `f.compare("olt", x, y)`, `f.intrinsic("sqrt", x)`.

    An index is a Python int, known now, or a value of the program; the methods take and return either.
    """

    def __init__(self, w: Writer, indices: tuple[Index, ...]) -> None:
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        self._w, self._operands = w, node.operands
        self.f: Function = w.f
        self.indices = indices
        self.sizes: tuple[Index, ...] = w.sizes(node.types[0])
        self._item = value_item(node.types[0])

    def operand_sizes(self, operand: int) -> tuple[Index, ...]:
        """Return the size of an operand along each axis."""
        return self._w.sizes(self._operands[operand].type)

    def load(self, operand: int, *indices: Index) -> Ssa:
        """Return an element of an operand, by its position; 0 where there is none."""
        w, f, value = self._w, self.f, self._operands[operand]
        if len(indices) != value.type.rank:
            raise BackendError(f"operand {operand} is {value.type}, which {len(indices)} indices do not fit")
        held: list[Ssa] = []
        safe: list[Index] = []
        for index, size in zip(indices, w.sizes(value.type), strict=True):
            if isinstance(index, int) and isinstance(size, int) and 0 <= index < size:
                safe.append(index)
                continue
            held.append(f.compare("ult", f.index(index), f.index(size)))
            safe.append(f.select(held[-1], f.index(index), f.index(0)))
        item = ITEMS[value.type.dtype]
        found = f.load(item, f.element(w.address(w.buffer(value)), item, w.offset(value.type, safe)))
        if value.type.dtype == "bool":
            found = f.compare("ne", found, constant(found.type, 0))
        for inside in held:
            found = f.select(inside, found, constant(found.type, 0))
        return found

    def number(self, value: float) -> Ssa:
        """Return a number of the result's element type."""
        return constant(self._item, value)

    # Indices

    def add(self, *terms: Index) -> Index:
        return self.f.add(*terms)

    def subtract(self, x: Index, y: Index) -> Index:
        return self.f.subtract(x, y)

    def multiply(self, x: Index, y: Index) -> Index:
        return self.f.multiply(x, y)

    def divide(self, x: Index, y: Index) -> Index:
        """Return x // y, for x of at least 0 and y of at least 1."""
        if isinstance(y, int):
            return self.f.divide(x, y)
        return self.f.binary("udiv", self.f.index(x), y)

    def remainder(self, x: Index, y: Index) -> Index:
        """Return x % y, for x of at least 0 and y of at least 1."""
        if isinstance(x, int) and isinstance(y, int):
            return x % y
        return self.f.binary("urem", self.f.index(x), self.f.index(y))

    def sum(self, count: Index, term: Callable[[Index], Ssa]) -> Ssa:
        """Return the sum of `term(k)` for k below a count, in the order of k, for floating-point numbers."""
        with self.f.loop(0, count, carried=[self.number(0.0)], name="loop") as loop:
            loop.results = [self.f.binary("fadd", loop.values[0], term(loop.index))]
        return loop.results[0]


OfElement: TypeAlias = Callable[[Element, Any], Ssa | Sequence[Ssa]]


def element_by_element(w: Writer, element: OfElement) -> None:
    """Write a kernel whose elements are what `element(e, op)` returns."""
    assert w.kernel.root is not None
    node, values = w.graph.node(w.kernel.root), w.graph.results(w.kernel.root)
    if any(value.type.shape != values[0].type.shape for value in values):
        raise BackendError(
            f"{node.op.name} has results of several shapes: {', '.join(map(str, node.types))}",
            mend="register it as an emitter, or leave it to the reference's kernel",
        ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)

    def at(indices: tuple[Index, ...]) -> None:
        found = element(Element(w, indices), node.op)
        results = [found] if isinstance(found, Ssa) else list(found)
        wanted = [value_item(value.type) for value in values]
        if [result.type for result in results] != wanted:
            shown = ", ".join(result.type for result in results)
            raise BackendError(
                f"the element of {node.op.name} is {shown}, not {', '.join(wanted)}",
                mend="e.number(value) is a number of the result's type; e.f.convert changes the type of one",
            ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)
        w.store(Position(indices), dict(zip(values, results, strict=True)))

    def along(outer: tuple[Index, ...]) -> None:
        axis = len(outer)
        if axis == values[0].type.rank:
            at(outer)
            return
        begin, end = (w.begin, w.end) if axis == 0 else (0, w.sizes(values[0].type)[axis])
        with w.f.loop(begin, end, name="element") as run:
            along((*outer, run.index))

    along(())
