"""Activations that are ops, f in Eq. 8. All others are made of these and of arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Gradients, TensorType, Value, Values
from graphcnn.ops.arithmetic import Add, Multiply, Subtract
from graphcnn.ops.attributes import fits_float
from graphcnn.ops.comparison import Greater, Select
from graphcnn.ops.notation import number
from graphcnn.ops.pointwise import Pointwise, constant

SLOPE = "Eq. 21, · f'(x)"
"""The rule of every activation: the delta times the slope, the last factor of Eq. 20 and 21."""


@dataclass(frozen=True, slots=True)
class Tanh(Pointwise):
    name: ClassVar[str] = "tanh"
    equation: ClassVar[str] = "y = tanh x, f'(x) = 1 - y²"
    formula: ClassVar[str] = r"$y = f($a), \quad f(x) = \tanh x"
    article: ClassVar[str] = "Eq. 8"
    arity: ClassVar[int] = 1

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return r"$G = $D\, f'($a), \quad f'(x) = 1 - \tanh^2 x"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        emit = emit.by(SLOPE)
        square = emit(Multiply(), results[0], results[0])
        slope = emit(Subtract(), constant(emit, 1.0, delta.type), square)
        return (emit(Multiply(), delta, slope),)


@dataclass(frozen=True, slots=True)
class Sigmoid(Pointwise):
    name: ClassVar[str] = "sigmoid"
    equation: ClassVar[str] = "y = 1 / (1 + e^-x), f'(x) = y (1 - y)"
    formula: ClassVar[str] = r"$y = f($a), \quad f(x) = \frac{1}{1 + e^{-x}}"
    article: ClassVar[str] = "Eq. 8"
    arity: ClassVar[int] = 1
    flops_per_element: ClassVar[int] = 3

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return r"$G = $D\, f'($a), \quad f'(x) = f(x)\, (1 - f(x))"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        emit = emit.by(SLOPE)
        rest = emit(Subtract(), constant(emit, 1.0, delta.type), results[0])
        return (emit(Multiply(), delta, emit(Multiply(), results[0], rest)),)


@dataclass(frozen=True, slots=True)
class Relu(Pointwise):
    name: ClassVar[str] = "relu"
    equation: ClassVar[str] = "f(x) = max(0, x)"
    formula: ClassVar[str] = r"$y = f($a), \quad f(x) = \max(0, x)"
    article: ClassVar[str] = "Eq. 8"
    arity: ClassVar[int] = 1

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return r"$G = $D\, f'($a), \quad f'(x) = \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        emit = emit.by(SLOPE)
        return (emit(Multiply(), delta, emit(ReluMask(), operands[0])),)


@dataclass(frozen=True, slots=True)
class ReluMask(Pointwise):
    """The slope of relu: 1 where x > 0, and 0 elsewhere, at 0 too."""

    name: ClassVar[str] = "relu_mask"
    equation: ClassVar[str] = "f'(x) = 1 if x > 0 else 0"
    formula: ClassVar[str] = r"$y = f'($a), \quad f'(x) = \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,)


@dataclass(frozen=True, slots=True)
class Softplus(Pointwise):
    """The logarithm of 1 + e^x, a smooth relu, without overflow."""

    name: ClassVar[str] = "softplus"
    equation: ClassVar[str] = "y = ln(1 + e^x), f'(x) = 1 / (1 + e^-x)"
    formula: ClassVar[str] = r"$y = f($a), \quad f(x) = \ln(1 + e^x)"
    arity: ClassVar[int] = 1
    flops_per_element: ClassVar[int] = 4

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return r"$G = $D\, f'($a), \quad f'(x) = \frac{1}{1 + e^{-x}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        emit = emit.by(SLOPE)
        return (emit(Multiply(), delta, emit(Sigmoid(), operands[0])),)


@dataclass(frozen=True, slots=True)
class Elu(Pointwise):
    """The exponential linear unit of Clevert, Unterthiner and Hochreiter (2016); its slope at 0 is alpha."""

    alpha: float = 1.0

    name: ClassVar[str] = "elu"
    equation: ClassVar[str] = "f(x) = x if x > 0 else α (e^x - 1), f'(x) = 1 if x > 0 else y + α"
    arity: ClassVar[int] = 1
    flops_per_element: ClassVar[int] = 3

    def __post_init__(self) -> None:
        _require_number("alpha", self.alpha)
        if not math.isfinite(self.alpha):
            raise OptionError(f"alpha={self.alpha!r} is not a finite number")

    def _factor(self) -> str:
        return "" if self.alpha == 1 else rf"{number(self.alpha)}\, "

    def latex(self, *operands: TensorType) -> str:
        below = rf"{self._factor()}(e^x - 1)"
        return rf"$y = f($a), \quad f(x) = \begin{{cases}} x & x > 0 \\ {below} & x \le 0 \end{{cases}}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        below = rf"{self._factor()}e^x"
        cases = rf"\begin{{cases}} 1 & x > 0 \\ {below} & x \le 0 \end{{cases}}"
        return rf"$G = $D\, f'($a), \quad f'(x) = {cases}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        emit = emit.by(SLOPE)
        above = emit(Greater(), operands[0], constant(emit, 0.0, delta.type))
        below = emit(Add(), results[0], constant(emit, self.alpha, delta.type))
        slope = emit(Select(), above, constant(emit, 1.0, delta.type), below)
        return (emit(Multiply(), delta, slope),)


@dataclass(frozen=True, slots=True)
class _Interval(Pointwise):
    """An op of an interval, from low to high; an end may be infinite.

    closed: whether the slope of the identity holds at the ends too, as PyTorch's clamp has it; otherwise it
    is 0 there, as the slope of relu at 0 is.
    """

    low: float
    high: float
    closed: bool = True

    arity: ClassVar[int] = 1
    flops_per_element: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for end, value in (("low", self.low), ("high", self.high)):
            _require_number(end, value)
        if not self.low <= self.high:
            raise OptionError(
                f"low={self.low!r}, high={self.high!r} is no interval", mend="give the lesser number first"
            )
        if not isinstance(self.closed, bool):
            raise OptionError(f"closed={self.closed!r} is neither True nor False")

    def _slope(self) -> str:
        less = r"\le" if self.closed else "<"
        inside = rf"{number(self.low)} {less} x {less} {number(self.high)}"
        return rf"f'(x) = \begin{{cases}} 1 & {inside} \\ 0 & \text{{elsewhere}} \end{{cases}}"


@dataclass(frozen=True, slots=True)
class Clip(_Interval):
    """The nearest number of an interval."""

    name: ClassVar[str] = "clip"
    equation: ClassVar[str] = "f(x) = min(max(x, low), high)"

    def latex(self, *operands: TensorType) -> str:
        clipped = rf"\min(\max(x, {number(self.low)}), {number(self.high)})"
        return rf"$y = f($a), \quad f(x) = {clipped}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return rf"$G = $D\, f'($a), \quad {self._slope()}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        emit = emit.by(SLOPE)
        mask = emit(ClipMask(self.low, self.high, self.closed), operands[0])
        return (emit(Multiply(), delta, mask),)


@dataclass(frozen=True, slots=True)
class ClipMask(_Interval):
    """The slope of clip: 1 within the interval and 0 outside; `closed` says which it is at the ends."""

    name: ClassVar[str] = "clip_mask"
    equation: ClassVar[str] = "f'(x) = 1 if low <= x <= high else 0; if not closed, low < x < high"

    def latex(self, *operands: TensorType) -> str:
        return rf"$y = f'($a), \quad {self._slope()}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,)


def _require_number(name: str, value: object) -> None:
    """Raise OptionError unless a value is a number, though perhaps an infinite one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise OptionError(f"{name}={value!r:.60} is not a number")
    if not fits_float(value) or math.isnan(value):
        raise OptionError(f"{name}={value!r:.60} is not a number that floats hold", mend=f"{name}=1.0")
