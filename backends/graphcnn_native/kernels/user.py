"""Functions of the user's own, on the lanes of a vector."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final

from graphcnn import ops
from graphcnn.errors import BackendError
from graphcnn.ir import DType, Node, Op, TensorType
from graphcnn.scalar import ScalarFunction
from graphcnn_native.codegen.function import Function, Ssa, constant, item_of, lanes_of
from graphcnn_native.codegen.scalar import (
    BINARY,
    CASTS,
    COMPARISONS,
    INTRINSIC,
    Edge,
    ScalarCode,
    Step,
    Straight,
    scalar_code,
)
from graphcnn_native.kernels.pointwise import POINTWISE

DTYPES: Final[dict[str, DType]] = {"float": "float32", "double": "float64"}
SAME: Final[dict[str, Op]] = {
    op.name: op for op in (ops.Exp(), ops.Log(), ops.Sqrt(), ops.Sin(), ops.Cos(), ops.Tanh(), ops.Erf())
}
"""Functions of the C library that are ops as well."""


def require_numbers(node: Node, function: ScalarFunction) -> None:
    """Raise BackendError for an op that was registered as a function of numbers, but has other operands."""
    if len(function.arguments) != len(node.operands):
        raise BackendError(
            f"the native code of {node.op.name} is a function of {len(function.arguments)} numbers, "
            f"but it has {len(node.operands)} operands",
            facts=[f"{function!r}"],
            mend="pointwise=lambda op: lambda x: ..., with a number for each operand; op has its attributes",
        ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)
    (result,) = node.types
    fits = all(each.type.shape in ((), result.shape) for each in node.operands)
    if fits and result.is_float and all(each.type.dtype == result.dtype for each in node.operands):
        return
    raise BackendError(
        f"{node.op.name} has native code for floating-point tensors of one shape and type",
        facts=[
            f"here it makes {result} of {', '.join(str(each.type) for each in node.operands) or 'nothing'}"
        ],
        mend="graphcnn_native.register(op, element=...) for other operands, or cast and broadcast them",
    ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)


def user_function(f: Function, function: ScalarFunction, x: Sequence[Ssa], used: int) -> Ssa:
    """Return the function of the first `used` lanes; the others hold anything.

    Straight code is written out for all lanes together. Other functions are called lane by lane, for those
    lanes alone: on what happens to be in the others, a loop might never end.
    """
    code = scalar_code(function, DTYPES[item_of(x[0].type)])
    if code.straight is not None:
        return _Lanes(f, code, code.straight, x).result()
    for result, name, parameters in code.calls:
        f.declare(result, name, parameters)
    f.declarations.add(code.definition)
    item, lanes = item_of(x[0].type), lanes_of(x[0].type)
    total = Ssa(x[0].type, "poison")
    for lane in range(used):
        arguments = ", ".join(str(f.lane(each, lane)) for each in x)
        number = f.emit(item, f"call {item} @{code.name}({arguments})")
        total = number if lanes == 1 else f.emit(total.type, f"insertelement {total}, {number}, i64 {lane}")
    return total


class _Lanes:
    """Writes straight code for vectors. Where the code branches, every way is gone, and lanes are picked."""

    def __init__(self, f: Function, code: ScalarCode, straight: Straight, x: Sequence[Ssa]) -> None:
        self.f = f
        self.lanes = lanes_of(x[0].type)
        self.straight = straight
        self.values = {name.name: given for name, given in zip(code.arguments, x, strict=True)}
        self.visitors: dict[str, Ssa | None] = {}

    def result(self) -> Ssa:
        for step in self.straight.steps:
            self.values[step.result.name] = self._done(step, [self._value(each) for each in step.operands])
        return self._value(self.straight.result)

    def _value(self, number: Ssa) -> Ssa:
        return self.values[number.name] if number.name.startswith("%") else self.f.splat(number, self.lanes)

    def _done(self, step: Step, x: list[Ssa]) -> Ssa:
        f, opcode = self.f, step.opcode
        if opcode in BINARY:
            return f.binary(opcode, *x)
        if opcode in COMPARISONS:
            return f.compare(step.detail, *x)
        if opcode in CASTS:
            return f.convert(opcode, x[0], step.result.type)
        match opcode:
            case "select":
                return f.select(*x)
            case "phi":
                return self._picked(step, x)
            case "call":
                return self._called(step, x)
        return f.emit(x[0].type, f"{opcode} {x[0]}")

    def _called(self, step: Step, x: list[Ssa]) -> Ssa:
        intrinsic = INTRINSIC.fullmatch(step.detail)
        item = step.result.type
        name = (
            intrinsic[1] if intrinsic else re.sub(r"f$", "", step.detail) if item == "float" else step.detail
        )
        if name in SAME:
            return POINTWISE[type(SAME[name])](self.f, SAME[name], x, TensorType((), DTYPES[item]))
        if intrinsic:
            return self.f.intrinsic(name, *x)
        numbers = [
            self.f.call(item, step.detail, *(self.f.lane(each, lane) for each in x))
            for lane in range(self.lanes)
        ]
        return self.f.assemble(numbers)

    # Branches

    def _picked(self, phi: Step, x: list[Ssa]) -> Ssa:
        """Return for each lane what comes from the block that it has gone through."""
        edges = {edge.source: edge for edge in self.straight.edges if edge.target == phi.detail}
        result = x[-1]
        for source, value in zip(phi.sources[:-1], x[:-1], strict=True):
            takers = self._takers(edges[source])
            assert takers is not None, "only one edge leads here"
            result = self.f.select(takers, value, result)
        return result

    def _takers(self, edge: Edge) -> Ssa | None:
        """Return which lanes take an edge; None for all."""
        before = self._visitors(edge.source)
        if edge.condition is None:
            return before
        taken = self._value(edge.condition)
        if edge.negated:
            taken = self.f.binary("xor", taken, constant(taken.type, 1))
        if before is None:
            return taken
        # Unlike `and`, this holds where the condition is undefined for lanes that have not come so far.
        return self.f.select(before, taken, constant(taken.type, 0))

    def _visitors(self, block: str) -> Ssa | None:
        """Return which lanes get to a block; None for all."""
        if block not in self.visitors:
            found = [self._takers(edge) for edge in self.straight.edges if edge.target == block]
            masks = [mask for mask in found if mask is not None]
            complete = bool(masks) and len(masks) == len(found)
            union = functools.partial(self.f.binary, "or")
            self.visitors[block] = functools.reduce(union, masks) if complete else None
        return self.visitors[block]
