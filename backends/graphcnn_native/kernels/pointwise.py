"""Pointwise ops on the lanes of a vector, and the loops of kernels that are pointwise alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphcnn import ops
from graphcnn.ir import Op, TensorType
from graphcnn_native.codegen.function import Function, Ssa, constant, item_of, lanes_of, vector
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.elementary import exponential, hyperbolic_tangent, logarithm

LEAST_NORMAL = 1.17549435e-38
"""Numbers of float32 below this are denormals."""

Emit = Callable[[Function, Any, list[Ssa], TensorType], Ssa]


def _binary(instruction: str) -> Emit:
    return lambda f, op, x, type: f.binary(instruction, *x)


def _intrinsic(name: str) -> Emit:
    return lambda f, op, x, type: f.intrinsic(name, *x)


def _compared(floating: str, integer: str) -> Emit:
    def emit(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
        item = item_of(x[0].type)
        unsigned = item in ("i1", "i8") and integer.startswith("s")
        return f.compare(
            floating if item in ("float", "double") else f"u{integer[1:]}" if unsigned else integer, *x
        )

    return emit


def _maximum(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
    """The greater; NaN if either is, as in NumPy."""
    greater = f.select(f.compare("ogt", x[0], x[1]), x[0], x[1])
    return f.select(f.compare("uno", x[0], x[0]), x[0], greater)


def _relu(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
    zero = constant(x[0].type, 0.0)
    return f.select(f.compare("ogt", zero, x[0]), zero, x[0])


def _relu_mask(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
    """1 where the number is above 0, and 0 elsewhere; NaN at NaN, so that no gradient hides one."""
    zero = constant(x[0].type, 0.0)
    mask = f.select(f.compare("ogt", x[0], zero), constant(x[0].type, 1.0), zero)
    return f.select(f.compare("uno", x[0], x[0]), x[0], mask)


def _sigmoid(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
    """1 / (1 + e^-x) without overflow: e^-|x| is at most 1."""
    zero, one = constant(x[0].type, 0.0), constant(x[0].type, 1.0)
    small = exponential(f, f.emit(x[0].type, f"fneg {f.intrinsic('fabs', x[0])}"))
    numerator = f.select(f.compare("oge", x[0], zero), one, small)
    quotient = f.binary("fdiv", numerator, f.binary("fadd", one, small))
    return f.select(f.compare("uno", x[0], x[0]), x[0], quotient)


def _power(f: Function, op: ops.Power, x: list[Ssa], type: TensorType) -> Ssa:
    if op.exponent == 2:
        return f.binary("fmul", x[0], x[0])
    if op.exponent == -1:
        return f.binary("fdiv", constant(x[0].type, 1.0), x[0])
    if op.exponent == 0.5:
        return f.intrinsic("sqrt", x[0])
    base = x[0]
    if item_of(base.type) == "float":  # the C library looks at the bits of denormals, which here are 0
        is_zero = f.compare("olt", f.intrinsic("fabs", base), constant(base.type, LEAST_NORMAL))
        base = f.select(is_zero, f.binary("fmul", base, constant(base.type, 0.0)), base)
    return f.intrinsic("pow", base, constant(base.type, op.exponent))


def _whole(f: Function, x: Ssa, item: str) -> Ssa:
    """Round towards 0; beyond the range of the integers their greatest or least, and 0 for NaN."""
    lanes = lanes_of(x.type)
    kind, source = "fptoui" if item == "i8" else "fptosi", {"float": "f32", "double": "f64"}[item_of(x.type)]
    types = f"{item}.{source}" if lanes == 1 else f"v{lanes}{item}.v{lanes}{source}"
    return f.call(vector(item, lanes), f"llvm.{kind}.sat.{types}", x)


def _cast(f: Function, op: ops.Cast, x: list[Ssa], type: TensorType) -> Ssa:
    (value,) = x
    source, target = item_of(value.type), "i1" if op.dtype == "bool" else ITEMS[op.dtype]
    floats = ("float", "double")
    if source == target:
        return value
    if target == "i1":
        return f.compare("une" if source in floats else "ne", value, constant(value.type, 0))
    if source in floats and target in floats:
        return f.convert("fpext" if target == "double" else "fptrunc", value, target)
    unsigned = source in ("i1", "i8")
    if target in floats:
        return f.convert("uitofp" if unsigned else "sitofp", value, target)
    if source in floats:
        return _whole(f, value, target)
    widths = {"i1": 1, "i8": 8, "i32": 32, "i64": 64}
    if widths[target] < widths[source]:
        return f.convert("trunc", value, target)
    return f.convert("zext" if unsigned else "sext", value, target)


POINTWISE: dict[type[Op], Emit] = {
    ops.Add: _binary("fadd"),
    ops.Subtract: _binary("fsub"),
    ops.Multiply: _binary("fmul"),
    ops.Divide: _binary("fdiv"),
    ops.Maximum: _maximum,
    ops.Negate: lambda f, op, x, type: f.emit(x[0].type, f"fneg {x[0]}"),
    ops.Power: _power,
    ops.Exp: lambda f, op, x, type: exponential(f, x[0]),
    ops.Log: lambda f, op, x, type: logarithm(f, x[0]),
    ops.Sqrt: _intrinsic("sqrt"),
    ops.Tanh: lambda f, op, x, type: hyperbolic_tangent(f, x[0]),
    ops.Sigmoid: _sigmoid,
    ops.Relu: _relu,
    ops.ReluMask: _relu_mask,
    ops.Greater: _compared("ogt", "sgt"),
    ops.Equal: _compared("oeq", "eq"),
    ops.Select: lambda f, op, x, type: f.select(*x),
    ops.Cast: _cast,
}
