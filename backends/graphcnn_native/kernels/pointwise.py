"""Pointwise ops on the lanes of a vector, and the loops of kernels that are pointwise alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphcnn import ops
from graphcnn.ir import Op, TensorType
from graphcnn_native.codegen.function import Function, Ssa, constant, item_of, lanes_of, suffix_of, vector
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.elementary import (
    by_lane,
    error_function,
    exponential,
    exponential_minus_one,
    hyperbolic_tangent,
    logarithm,
    softplus,
)

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


def _function(write: Callable[[Function, Ssa], Ssa]) -> Emit:
    return lambda f, op, x, type: write(f, x[0])


def _library(name: str) -> Emit:
    return lambda f, op, x, type: by_lane(f, name, x[0])


def _extreme(comparison: str) -> Emit:
    """The greater or the lesser; NaN if either is, as in NumPy."""

    def emit(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
        chosen = f.select(f.compare(comparison, x[0], x[1]), x[0], x[1])
        return f.select(f.compare("uno", x[0], x[0]), x[0], chosen)

    return emit


def _sign(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
    zero = constant(x[0].type, 0.0)
    sign = f.select(f.compare("ogt", x[0], zero), constant(x[0].type, 1.0), zero)
    sign = f.select(f.compare("olt", x[0], zero), constant(x[0].type, -1.0), sign)
    return f.select(f.compare("uno", x[0], x[0]), x[0], sign)


def _not(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
    return f.binary("xor", x[0], constant(x[0].type, 1))


def _relu(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
    zero = constant(x[0].type, 0.0)
    return f.select(f.compare("ogt", zero, x[0]), zero, x[0])


def _relu_mask(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
    """1 where the number is above 0, and 0 elsewhere; NaN at NaN, so that no gradient hides one."""
    zero = constant(x[0].type, 0.0)
    mask = f.select(f.compare("ogt", x[0], zero), constant(x[0].type, 1.0), zero)
    return f.select(f.compare("uno", x[0], x[0]), x[0], mask)


def _elu(f: Function, op: ops.Elu, x: list[Ssa], type: TensorType) -> Ssa:
    below = f.binary("fmul", constant(x[0].type, op.alpha), exponential_minus_one(f, x[0]))
    return f.select(f.compare("ogt", x[0], constant(x[0].type, 0.0)), x[0], below)


def _clip(f: Function, op: ops.Clip, x: list[Ssa], type: TensorType) -> Ssa:
    low, high = constant(x[0].type, op.low), constant(x[0].type, op.high)
    above = f.select(f.compare("olt", x[0], low), low, x[0])
    return f.select(f.compare("ogt", above, high), high, above)


def _clip_mask(f: Function, op: ops.ClipMask, x: list[Ssa], type: TensorType) -> Ssa:
    """1 within the interval and 0 outside; NaN at NaN, as for relu."""
    zero, one = constant(x[0].type, 0.0), constant(x[0].type, 1.0)
    within = "ole" if op.closed else "olt"
    below = f.compare(within, x[0], constant(x[0].type, op.high))
    above = f.compare(within, constant(x[0].type, op.low), x[0])
    mask = f.select(f.binary("and", above, below), one, zero)
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
    kind, type = "fptoui" if item == "i8" else "fptosi", vector(item, lanes)
    return f.call(type, f"llvm.{kind}.sat.{suffix_of(type)}.{suffix_of(x.type)}", x)


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


def _round_bfloat16(f: Function, op: Op, x: list[Ssa], type: TensorType) -> Ssa:
    """The nearest bfloat16 by integers: no instruction for it keeps the numbers that are not normal.

    A NaN keeps its upper bits and is made quiet, so that those that are dropped are 0 here, too.
    """
    (value,) = x
    lanes, narrow = lanes_of(value.type), item_of(value.type) == "float"
    integer, dropped, quiet = (vector("i32", lanes), 16, 22) if narrow else (vector("i64", lanes), 45, 51)
    bits = f.emit(integer, f"bitcast {value} to {integer}")
    lowest = f.binary("and", f.binary("lshr", bits, constant(integer, dropped)), constant(integer, 1))
    half = f.binary("add", lowest, constant(integer, (1 << (dropped - 1)) - 1))
    not_a_number = f.binary("or", bits, constant(integer, 1 << quiet))
    chosen = f.select(f.compare("uno", value, value), not_a_number, f.binary("add", bits, half))
    kept = f.binary("and", chosen, constant(integer, -(1 << dropped)))
    nearest = f.emit(value.type, f"bitcast {kept} to {value.type}")
    return nearest if narrow else _in_range_of_bfloat16(f, value, nearest)


def _in_range_of_bfloat16(f: Function, x: Ssa, nearest: Ssa) -> Ssa:
    """A float64 x of 8 bits of precision, with the exponents that a bfloat16 can have."""
    grid = f.intrinsic("rint", f.binary("fmul", x, constant(x.type, 2.0**133)))
    small = f.binary("fmul", grid, constant(x.type, 2.0**-133))
    is_small = f.compare("olt", f.intrinsic("fabs", x), constant(x.type, 2.0**-126))
    is_beyond = f.compare("oge", f.intrinsic("fabs", nearest), constant(x.type, 2.0**128))
    infinity = f.intrinsic("copysign", constant(x.type, float("inf")), x)
    return f.select(is_beyond, infinity, f.select(is_small, small, nearest))


POINTWISE: dict[type[Op], Emit] = {
    ops.Add: _binary("fadd"),
    ops.Subtract: _binary("fsub"),
    ops.Multiply: _binary("fmul"),
    ops.Divide: _binary("fdiv"),
    ops.Maximum: _extreme("ogt"),
    ops.Minimum: _extreme("olt"),
    ops.Negate: lambda f, op, x, type: f.emit(x[0].type, f"fneg {x[0]}"),
    ops.Abs: _intrinsic("fabs"),
    ops.Sign: _sign,
    ops.Power: _power,
    ops.Exp: _function(exponential),
    ops.Log: _function(logarithm),
    ops.Sqrt: _intrinsic("sqrt"),
    ops.Sin: _library("sin"),
    ops.Cos: _library("cos"),
    ops.Erf: _function(error_function),
    ops.Tanh: _function(hyperbolic_tangent),
    ops.Sigmoid: _sigmoid,
    ops.Relu: _relu,
    ops.ReluMask: _relu_mask,
    ops.Softplus: _function(softplus),
    ops.Elu: _elu,
    ops.Clip: _clip,
    ops.ClipMask: _clip_mask,
    ops.RoundBfloat16: _round_bfloat16,
    ops.Greater: _compared("ogt", "sgt"),
    ops.GreaterEqual: _compared("oge", "sge"),
    ops.Equal: _compared("oeq", "eq"),
    ops.LogicalAnd: _binary("and"),
    ops.LogicalOr: _binary("or"),
    ops.LogicalNot: _not,
    ops.Select: lambda f, op, x, type: f.select(*x),
    ops.Cast: _cast,
}
