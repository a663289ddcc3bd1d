"""exp, log, tanh and their like on the lanes of a vector, to about the last bit of float32.

float64 calls the C library, but for erf. The polynomials are those of the Cephes library (S. Moshier, expf.c,
logf.c, tanhf.c and ndtr.c). A scalar takes the same way as a vector, so that an element's bits do not depend
on its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.ops import Erf
from graphcnn_native.codegen.function import Function, Ssa, constant, item_of, lanes_of, vector

LOG2_OF_E = 1.44269504088896341
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
ROUNDING = 12582912.0
"""1.5 · 2^23: a float32 that it is added to is rounded to an integer, which then is in the lowest bits."""
EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)

ERF_NEAR_OF_FLOAT = (
    *(-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1),
)
"""erf x = x + x · P(x²), up to 0.9277, in float32 (N. Juffa)."""
ERF_FAR_OF_FLOAT = (
    *(-1.72853470e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1),
    -1.28717512e-1,
)
"""erf x = 1 - e^(x · P(x) - x), from there on."""


def exponential(f: Function, x: Ssa) -> Ssa:
    """e^x: 0 below the range, infinity above it."""
    if item_of(x.type) == "double":
        return f.intrinsic("exp", x)
    number = _Numbers(f, x.type)
    fraction, exponents = _scaled(f, x)
    power = f.binary("fadd", fraction, number(1.0))
    for exponent in exponents:
        power = f.binary("fmul", power, _power_of_two(f, exponent, x.type))
    return power


def exponential_minus_one(f: Function, x: Ssa) -> Ssa:
    """e^x - 1, to its last bits near 0 too."""
    if item_of(x.type) == "double":
        return by_lane(f, "expm1", x)
    number = _Numbers(f, x.type)
    fraction, (first, second) = _scaled(f, x)
    factor = _power_of_two(f, first, x.type)
    inverse = _power_of_two(f, f.binary("sub", constant(second.type, 0), second), x.type)
    rest = number.fused(fraction, factor, f.binary("fsub", factor, inverse))
    return f.binary("fmul", rest, _power_of_two(f, second, x.type))


def _scaled(f: Function, x: Ssa) -> tuple[Ssa, tuple[Ssa, Ssa]]:
    """Return e^x = (1 + p) · 2^i · 2^j as p and (i, j): one power of two alone may be out of range."""
    number, integer = _Numbers(f, x.type), _integers(x.type)
    x = f.select(f.compare("ogt", x, number(89.0)), number(89.0), x)
    x = f.select(f.compare("olt", x, number(-104.0)), number(-104.0), x)
    shifted = number.fused(x, number(LOG2_OF_E), number(ROUNDING))
    whole = f.binary("fsub", shifted, number(ROUNDING))
    rest = number.fused(whole, number(-LN2_HIGH), x)
    rest = number.fused(whole, number(-LN2_LOW), rest)
    square = f.binary("fmul", rest, rest)
    fraction = number.fused(_polynomial(number, EXP, rest), square, rest)
    exponent = f.binary("sub", _cast(f, shifted, integer), constant(integer, 0x4B400000))
    half = f.binary("ashr", exponent, constant(integer, 1))
    return fraction, (half, f.binary("sub", exponent, half))


def hyperbolic_tangent(f: Function, x: Ssa) -> Ssa:
    """tanh x = 1 - 2 / (e^2x + 1), and a polynomial near 0, where that would cancel."""
    if item_of(x.type) == "double":
        return by_lane(f, "tanh", x)
    number = _Numbers(f, x.type)
    size = f.intrinsic("fabs", x)
    above = f.binary("fadd", exponential(f, f.binary("fadd", size, size)), number(1.0))
    far = f.binary("fsub", number(1.0), f.binary("fdiv", number(2.0), above))
    square = f.binary("fmul", x, x)
    near = number.fused(f.binary("fmul", _polynomial(number, TANH, square), square), x, x)
    result = f.select(f.compare("olt", size, number(0.625)), near, far)
    return f.intrinsic("copysign", result, x)


def logarithm(f: Function, x: Ssa) -> Ssa:
    """ln x: minus infinity at 0, NaN below."""
    if item_of(x.type) == "double":
        return f.intrinsic("log", x)
    number, integer = _Numbers(f, x.type), _integers(x.type)
    bits = _cast(f, x, integer)
    exponent = f.binary("sub", f.binary("lshr", bits, constant(integer, 23)), constant(integer, 126))
    mantissa = f.binary(
        "or", f.binary("and", bits, constant(integer, 0x7FFFFF)), constant(integer, 0x3F000000)
    )
    m = _cast(f, mantissa, x.type)
    small = f.compare("olt", m, number(0.707106781186547524))
    e = f.convert("sitofp", exponent, "float")
    e = f.binary("fsub", e, f.select(small, number(1.0), number(0.0)))
    m = f.binary("fadd", f.binary("fsub", m, number(1.0)), f.select(small, m, number(0.0)))
    square = f.binary("fmul", m, m)
    y = f.binary("fmul", f.binary("fmul", _polynomial(number, LOG, m), m), square)
    y = number.fused(e, number(LN2_LOW), y)
    y = number.fused(square, number(-0.5), y)
    y = number.fused(e, number(LN2_HIGH), f.binary("fadd", m, y))
    infinity = number(float("inf"))
    y = f.select(f.compare("oeq", x, infinity), infinity, y)
    y = f.select(f.compare("olt", x, number(1.17549435e-38)), number(float("-inf")), y)
    return f.select(f.compare("ult", x, number(0.0)), number(float("nan")), y)


def softplus(f: Function, x: Ssa) -> Ssa:
    """ln(1 + e^x) without overflow: max(x, 0) + ln(1 + z), where z = e^-|x| is at most 1.

    What is lost of z in 1 + z is added to the logarithm (W. Kahan).
    """
    zero, one = constant(x.type, 0.0), constant(x.type, 1.0)
    small = exponential(f, f.emit(x.type, f"fneg {f.intrinsic('fabs', x)}"))
    above = f.binary("fadd", one, small)
    lost = f.binary("fsub", small, f.binary("fsub", above, one))
    log = f.binary("fadd", logarithm(f, above), f.binary("fdiv", lost, above))
    return f.binary("fadd", f.select(f.compare("ogt", zero, x), zero, x), log)


def error_function(f: Function, x: Ssa) -> Ssa:
    """erf x, to about the last bit of float32 and of float64."""
    number = _Numbers(f, x.type)
    square = f.binary("fmul", x, x)
    if item_of(x.type) == "float":
        size = f.intrinsic("fabs", x)
        near = number.fused(_polynomial(number, ERF_NEAR_OF_FLOAT, square), x, x)
        exponent = number.fused(
            _polynomial(number, ERF_FAR_OF_FLOAT, size), size, f.emit(x.type, f"fneg {size}")
        )
        far = f.binary("fsub", number(1.0), exponential(f, exponent))
        return f.select(f.compare("ogt", size, number(0.927734375)), f.intrinsic("copysign", far, x), near)
    near = f.binary("fmul", x, _quotient(number, Erf.NEAR, square))
    size = f.intrinsic("fabs", x)
    size = f.select(f.compare("ogt", size, number(8.0)), number(8.0), size)
    bell = exponential(f, f.emit(x.type, f"fneg {f.binary('fmul', size, size)}"))
    rest = f.binary("fmul", bell, _quotient(number, Erf.FAR, size))
    far = f.intrinsic("copysign", f.binary("fsub", number(1.0), rest), x)
    return f.select(f.compare("ogt", size, number(1.0)), far, near)


def by_lane(f: Function, name: str, x: Ssa) -> Ssa:
    """Call a function of the C library for each lane."""
    item = item_of(x.type)
    symbol = f"{name}f" if item == "float" else name
    return f.assemble([f.call(item, symbol, f.lane(x, lane)) for lane in range(lanes_of(x.type))])


class _Numbers:
    """Numbers of one type, and the fused multiply-add on them."""

    def __init__(self, f: Function, type: str) -> None:
        self.f, self.type = f, type

    def __call__(self, value: float) -> Ssa:
        return constant(self.type, value)

    def fused(self, x: Ssa, y: Ssa, z: Ssa) -> Ssa:
        return self.f.intrinsic("fmuladd", x, y, z)


def _polynomial(number: _Numbers, coefficients: Sequence[float], x: Ssa) -> Ssa:
    total = number(coefficients[0])
    for coefficient in coefficients[1:]:
        total = number.fused(total, x, number(coefficient))
    return total


def _quotient(number: _Numbers, coefficients: tuple[Sequence[float], Sequence[float]], x: Ssa) -> Ssa:
    over, under = (_polynomial(number, each, x) for each in coefficients)
    return number.f.binary("fdiv", over, under)


def _power_of_two(f: Function, exponent: Ssa, type: str) -> Ssa:
    biased = f.binary("add", exponent, constant(exponent.type, 127))
    return _cast(f, f.binary("shl", biased, constant(exponent.type, 23)), type)


def _cast(f: Function, x: Ssa, type: str) -> Ssa:
    return f.emit(type, f"bitcast {x} to {type}")


def _integers(type: str) -> str:
    return vector("i32", lanes_of(type))
