"""Words of 32 random bits as normal numbers, on the lanes of a vector, as `ops.RandomNormal` says.

Every step is an instruction that IEEE 754 rounds in one way, and none is fused with another, so that the bits
are those of any other backend.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.ops import RandomNormal
from graphcnn_native.codegen.function import Function, Ssa, constant

MANTISSA = 52
ONE = 0x3FF


def normal_quantile(f: Function, word: Ssa) -> Ssa:
    """Return Φ⁻¹((word + 1/2) / 2^32) in float64. word: integers of 64 bits, of which 32 are used."""
    number = f.convert("sitofp", word, "double")
    q = _times(f, f.binary("fsub", number, constant(number.type, 2.0**31 - 0.5)), 2.0**-32)
    size = f.intrinsic("fabs", q)
    near_by = f.binary("fsub", constant(q.type, RandomNormal.EDGE**2), f.binary("fmul", q, q))
    numerator, denominator = (_polynomial(f, each, near_by) for each in RandomNormal.NEAR)
    near = f.binary("fdiv", f.binary("fmul", q, numerator), denominator)
    logarithm = _logarithm(f, f.binary("fsub", constant(q.type, 0.5), size))
    distance = f.intrinsic("sqrt", _times(f, logarithm, -1.0))
    distance = f.binary("fsub", distance, constant(q.type, 1.6))
    numerator, denominator = (_polynomial(f, each, distance) for each in RandomNormal.FAR)
    far = f.intrinsic("copysign", f.binary("fdiv", numerator, denominator), q)
    return f.select(f.compare("ole", size, constant(q.type, RandomNormal.EDGE)), near, far)


def _logarithm(f: Function, t: Ssa) -> Ssa:
    """Return ln t for positive numbers that are not denormal."""
    integer = t.type.replace("double", "i64")
    bits = f.emit(integer, f"bitcast {t} to {integer}")
    exponent = f.binary("sub", f.binary("lshr", bits, constant(integer, MANTISSA)), constant(integer, ONE))
    mantissa = f.binary("and", bits, constant(integer, 2**MANTISSA - 1))
    mantissa = f.binary("or", mantissa, constant(integer, ONE << MANTISSA))
    m = f.emit(t.type, f"bitcast {mantissa} to {t.type}")
    is_large = f.compare("ogt", m, constant(t.type, RandomNormal.ROOT))
    m = f.select(is_large, _times(f, m, 0.5), m)
    exponent = f.binary("add", exponent, f.convert("zext", is_large, "i64"))
    one = constant(t.type, 1.0)
    s = f.binary("fdiv", f.binary("fsub", m, one), f.binary("fadd", m, one))
    rest = f.binary("fmul", s, _polynomial(f, RandomNormal.LOGARITHM, f.binary("fmul", s, s)))
    return f.binary("fadd", _times(f, f.convert("sitofp", exponent, "double"), RandomNormal.LN2), rest)


def _polynomial(f: Function, coefficients: Sequence[float], x: Ssa) -> Ssa:
    total = constant(x.type, coefficients[0])
    for coefficient in coefficients[1:]:
        total = f.binary("fadd", f.binary("fmul", total, x), constant(x.type, coefficient))
    return total


def _times(f: Function, x: Ssa, factor: float) -> Ssa:
    return f.binary("fmul", x, constant(x.type, factor))
