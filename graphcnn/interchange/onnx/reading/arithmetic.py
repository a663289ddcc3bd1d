"""Arithmetic and elementary functions, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.interchange.onnx.reading.pooling import sum_pool
from graphcnn.interchange.onnx.reading.step import Step, op, operands_of
from graphcnn.interchange.onnx.reading.table import WholeNumbersError, in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Held, Known, Variable
from graphcnn.ir import Op, Value
from graphcnn.ir.types import FLOATS

_OPS: Final[dict[str, Op]] = {
    "Add": ops.Add(),
    "Sub": ops.Subtract(),
    "Mul": ops.Multiply(),
    "Div": ops.Divide(),
    "Neg": ops.Negate(),
    "Abs": ops.Abs(),
    "Sign": ops.Sign(),
    "Exp": ops.Exp(),
    "Log": ops.Log(),
    "Sqrt": ops.Sqrt(),
    "Sin": ops.Sin(),
    "Cos": ops.Cos(),
    "Erf": ops.Erf(),
}


@reads(*_OPS)
def arithmetic(step: Step) -> Variable:
    kind = _OPS[step.node.op_type]
    operands = operands_of(step, kind.arity)
    whole = [each for each in operands if isinstance(each, Variable) and each.dtype not in FLOATS]
    if whole:
        raise WholeNumbersError(whole)
    if step.node.op_type == "Mul" and (sums := _sum_pool(step, operands)) is not None:
        return sums
    return step.each(kind.name, op(kind), *operands)


def _sum_pool(step: Step, operands: list[Held]) -> Variable | None:
    """Return the sums of windows, where their means are multiplied by how many units they have."""
    number = next((each for each in operands if isinstance(each, Known) and each.array.size == 1), None)
    means = next((each for each in operands if isinstance(each, Variable)), None)
    if number is None or means is None or not means.operands_of("AveragePool") or means.made is None:
        return None
    pool = replace(step, inputs=means.made.operands, attributes=means.made.attributes)
    if float(number.array.reshape(-1)[0]) != math.prod(pool.setting("kernel_shape")):
        return None
    return sum_pool(pool)


_MANY: Final[dict[str, Op]] = {
    "Max": ops.Maximum(),
    "Min": ops.Minimum(),
    "Sum": ops.Add(),
    "Mean": ops.Add(),
}


@reads(*_MANY)
def of_many(step: Step) -> Variable:
    kind, count = _MANY[step.node.op_type], len(step.inputs)

    def folded(build: Builder, first: Value, *others: Value) -> Value:
        for each in others:
            first = _combined(build, kind, first, each)
        if step.node.op_type == "Mean" and count > 1:
            return build(ops.Multiply(), first, ops.constant(build, 1 / count, first.type))
        return first

    return step.each(step.node.op_type.lower(), folded, *(step[position] for position in range(count)))


def _combined(build: Builder, kind: Op, x: Value, y: Value) -> Value:
    """Append an op of floats; the greater and the lesser of two are chosen of whole numbers, too."""
    if x.type.is_float or kind == ops.Add():
        return build(kind, x, y)
    is_greater = build(ops.Greater(), x, y)
    both = (x, y) if kind == ops.Maximum() else (y, x)
    return build(ops.Select(), is_greater, *both)


def _numbers(build: Builder, x: Value, *values: float) -> tuple[Value, ...]:
    return tuple(ops.constant(build, value, x.type) for value in values)


def _reciprocal(build: Builder, x: Value) -> Value:
    (one,) = _numbers(build, x, 1.0)
    return build(ops.Divide(), one, x)


def _tan(build: Builder, x: Value) -> Value:
    return build(ops.Divide(), build(ops.Sin(), x), build(ops.Cos(), x))


def _of_exponentials(kind: Op) -> Callable[..., Value]:
    """Return what appends (e^x ± e^-x) / 2."""

    def of(build: Builder, x: Value) -> Value:
        (half,) = _numbers(build, x, 0.5)
        both = build(kind, build(ops.Exp(), x), build(ops.Exp(), build(ops.Negate(), x)))
        return build(ops.Multiply(), both, half)

    return of


def _inverse(shift: float) -> Callable[..., Value]:
    """Return what appends ln(|x| + √(x² + shift)), with the sign of x where the function is odd."""

    def of(build: Builder, x: Value) -> Value:
        size = build(ops.Abs(), x) if shift > 0 else x
        root = build(ops.Sqrt(), build(ops.Add(), build(ops.Multiply(), x, x), *_numbers(build, x, shift)))
        result = build(ops.Log(), build(ops.Add(), size, root))
        return build(ops.Multiply(), build(ops.Sign(), x), result) if shift > 0 else result

    return of


def _atanh(build: Builder, x: Value) -> Value:
    one, half = _numbers(build, x, 1.0, 0.5)
    ratio = build(ops.Divide(), build(ops.Add(), one, x), build(ops.Subtract(), one, x))
    return build(ops.Multiply(), build(ops.Log(), ratio), half)


def floored(build: Builder, x: Value) -> Value:
    """Append the greatest whole number that is not above x; where x is so large that it is whole, x."""
    (one, zero, large) = _numbers(build, x, 1.0, 0.0, 2.0**23 if x.type.dtype == "float32" else 2.0**52)
    whole = build(ops.Cast(x.type.dtype), build(ops.Cast("int64"), x))
    above = build(ops.Select(), build(ops.Greater(), whole, x), one, zero)
    is_small = build(ops.Greater(), large, build(ops.Abs(), x))
    return build(ops.Select(), is_small, build(ops.Subtract(), whole, above), x)


def _ceil(build: Builder, x: Value) -> Value:
    return build(ops.Negate(), floored(build, build(ops.Negate(), x)))


def rounded(build: Builder, x: Value) -> Value:
    """Append the nearest whole number, of two the even one, as adding 1.5 · 2^23 rounds it."""
    digits = 23 if x.type.dtype == "float32" else 52
    shift, large = _numbers(build, x, 1.5 * 2.0**digits, 2.0 ** (digits - 1))
    near = build(ops.Subtract(), build(ops.Add(), x, shift), shift)
    is_small = build(ops.Greater(), large, build(ops.Abs(), x))
    return build(ops.Select(), is_small, near, x)


_COMPOSED: Final[dict[str, Callable[..., Value]]] = {
    "Tan": _tan,
    "Sinh": _of_exponentials(ops.Subtract()),
    "Cosh": _of_exponentials(ops.Add()),
    "Asinh": _inverse(1.0),
    "Acosh": _inverse(-1.0),
    "Atanh": _atanh,
    "Floor": floored,
    "Ceil": _ceil,
    "Round": rounded,
}


@reads(*_COMPOSED)
def composed(step: Step) -> Variable:
    name = step.node.op_type
    return step.each(name.lower(), _COMPOSED[name], step[0])


@reads("Reciprocal")
def reciprocal(step: Step) -> Variable:
    x = step.variable(0)
    return _inverse_deviation(step, x) or step.each("reciprocal", _reciprocal, x)


def _inverse_deviation(step: Step, root: Variable) -> Variable | None:
    """Return what norms multiply by, where a value is √(mean of x² + epsilon): one op, of more range."""
    (safe,) = root.operands_of("Sqrt") or (None,)
    sums = safe.operands_of("Add") if isinstance(safe, Variable) else ()
    epsilon = next((each for each in sums if isinstance(each, Known) and each.array.size == 1), None)
    mean = next((each for each in sums if isinstance(each, Variable)), None)
    if epsilon is None or mean is None or not (squares := mean.operands_of("ReduceMean")):
        return None
    square = squares[0].operands_of("Mul") if isinstance(squares[0], Variable) else ()
    x = square[0] if len(square) == 2 and square[0] is square[1] else None
    if not isinstance(x, Variable) or mean.rank != x.rank:
        return None
    order = x.any_order
    axes = tuple(place for place, axis in enumerate(order) if mean.shape[axis] == 1 != x.shape[axis])
    number = float(str(epsilon.array.reshape(-1)[0]))
    deviation = op(ops.InverseDeviation(axes, keep=True, epsilon=number))
    return Variable.of(step.emit("inverse_deviation", deviation, x.at(order)), order)


@reads("Pow")
def power(step: Step) -> Variable:
    x, exponent = operands_of(step, 2)
    if isinstance(exponent, Known) and exponent.array.size == 1:
        value = float(exponent.array.reshape(-1)[0])
        if math.isfinite(value) and isinstance(x, Variable) and exponent.rank <= x.rank:
            return step.each("power", lambda build, v: build(ops.Power(value), v), x)
    if isinstance(x, Known) and x.array.size == 1 and float(x.array.reshape(-1)[0]) > 0:
        factor = float(np.log(np.float64(x.array.reshape(-1)[0])))
        return step.each(
            "power",
            lambda build, v: build(ops.Exp(), build(ops.Multiply(), v, ops.constant(build, factor, v.type))),
            exponent,
        )
    if isinstance(exponent, Known) and exponent.array.size <= 2**16:
        return _powers(step, x, exponent)
    if not all(
        each.array.dtype.kind == "f" if isinstance(each, Known) else each.dtype in FLOATS
        for each in (x, exponent)
    ):
        raise in_the_way("it computes with whole numbers, and powers are of floats")
    return step.each("power", _power_of_values, x, exponent)


def _power_of_values(build: Builder, x: Value, exponent: Value) -> Value:
    """Append |x|^p as e^(p ln |x|): times -1 for odd p and x below 0, NaN for p that is not whole there."""
    zero, one, half, nothing = _numbers(build, x, 0.0, 1.0, 0.5, -1.0)
    size = build(ops.Exp(), build(ops.Multiply(), exponent, build(ops.Log(), build(ops.Abs(), x))))
    is_whole = build(ops.Equal(), floored(build, exponent), exponent)
    halved = build(ops.Multiply(), exponent, half)
    is_even = build(ops.Equal(), floored(build, halved), halved)
    turned = build(ops.Select(), is_even, size, build(ops.Negate(), size))
    below = build(ops.Select(), is_whole, turned, build(ops.Sqrt(), build(ops.Add(), nothing, zero)))
    power = build(ops.Select(), build(ops.Greater(), zero, x), below, size)
    return build(ops.Select(), build(ops.Equal(), exponent, zero), one, power)


def _powers(step: Step, x: Held, exponent: Known) -> Variable:
    """Return powers by exponents that differ: one power for each, chosen by where it is."""
    values = np.unique(exponent.array).tolist()
    if len(values) > 16:
        raise in_the_way("it has more than 16 different exponents")
    masks = [Known(exponent.array == value) for value in values]

    def chosen(build: Builder, value: Value, *where: Value) -> Value:
        result = build(ops.Power(float(values[0])), value)
        for number, mask in zip(values[1:], where[1:], strict=True):
            result = build(ops.Select(), mask, build(ops.Power(float(number)), value), result)
        return result

    return step.each("power", chosen, x, *masks)
