"""Sums, products, powers, and what compares sizes: arithmetic, element by element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Gradients, TensorType, Value, Values
from graphcnn.ops.attributes import fits_float
from graphcnn.ops.comparison import Equal, Greater, Select
from graphcnn.ops.pointwise import Pointwise, constant, unspread


@dataclass(frozen=True, slots=True)
class Add(Pointwise):
    name: ClassVar[str] = "add"
    equation: ClassVar[str] = "z = x + y"
    formula: ClassVar[str] = r"$y = $a + $b"
    arity: ClassVar[int] = 2

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return tuple(unspread(emit, delta, operand) for operand in operands)


@dataclass(frozen=True, slots=True)
class Subtract(Pointwise):
    name: ClassVar[str] = "subtract"
    equation: ClassVar[str] = "z = x - y"
    formula: ClassVar[str] = r"$y = $a - $b"
    arity: ClassVar[int] = 2

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        x, y = operands
        return unspread(emit, delta, x), unspread(emit, emit(Negate(), delta), y)


@dataclass(frozen=True, slots=True)
class Multiply(Pointwise):
    name: ClassVar[str] = "multiply"
    equation: ClassVar[str] = "z = x · y"
    formula: ClassVar[str] = r"$y = $a \cdot $b"
    arity: ClassVar[int] = 2

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        x, y = operands
        return (
            unspread(emit, emit(Multiply(), delta, y), x),
            unspread(emit, emit(Multiply(), delta, x), y),
        )


@dataclass(frozen=True, slots=True)
class Divide(Pointwise):
    name: ClassVar[str] = "divide"
    equation: ClassVar[str] = "z = x / y"
    formula: ClassVar[str] = r"$y = \frac{$a}{$b}"
    arity: ClassVar[int] = 2

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        x, y = operands
        quotient = emit(Divide(), delta, y)
        return (
            unspread(emit, quotient, x),
            unspread(emit, emit(Negate(), emit(Multiply(), quotient, results[0])), y),
        )


@dataclass(frozen=True, slots=True)
class Maximum(Pointwise):
    """The greater of two; where they are equal, the gradient is shared half and half."""

    name: ClassVar[str] = "maximum"
    equation: ClassVar[str] = "z = max(x, y)"
    formula: ClassVar[str] = r"$y = \max($a, $b)"
    arity: ClassVar[int] = 2

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        x, y = operands
        half = emit(Multiply(), delta, constant(emit, 0.5, delta.type))
        zero = constant(emit, 0.0, delta.type)
        shared = emit(Select(), emit(Equal(), x, y), half, zero)
        return (
            unspread(emit, emit(Select(), emit(Greater(), x, y), delta, shared), x),
            unspread(emit, emit(Select(), emit(Greater(), y, x), delta, shared), y),
        )


@dataclass(frozen=True, slots=True)
class Minimum(Pointwise):
    """The lesser of two; where they are equal, the gradient is shared half and half."""

    name: ClassVar[str] = "minimum"
    equation: ClassVar[str] = "z = min(x, y)"
    formula: ClassVar[str] = r"$y = \min($a, $b)"
    arity: ClassVar[int] = 2

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        x, y = operands
        half = emit(Multiply(), delta, constant(emit, 0.5, delta.type))
        zero = constant(emit, 0.0, delta.type)
        shared = emit(Select(), emit(Equal(), x, y), half, zero)
        return (
            unspread(emit, emit(Select(), emit(Greater(), y, x), delta, shared), x),
            unspread(emit, emit(Select(), emit(Greater(), x, y), delta, shared), y),
        )


@dataclass(frozen=True, slots=True)
class Negate(Pointwise):
    name: ClassVar[str] = "negate"
    equation: ClassVar[str] = "y = -x"
    formula: ClassVar[str] = r"$y = -$a"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Negate(), delta),)


@dataclass(frozen=True, slots=True)
class Abs(Pointwise):
    """The absolute value; its slope at 0 is 0."""

    name: ClassVar[str] = "abs"
    equation: ClassVar[str] = "y = |x|, f'(x) = sign x"
    formula: ClassVar[str] = r"$y = |$a|"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Multiply(), delta, emit(Sign(), operands[0])),)


@dataclass(frozen=True, slots=True)
class Sign(Pointwise):
    name: ClassVar[str] = "sign"
    equation: ClassVar[str] = "y = 1 if x > 0, -1 if x < 0, else 0"
    formula: ClassVar[str] = r"$y = \operatorname{sign} $a"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,)


@dataclass(frozen=True, slots=True)
class Power(Pointwise):
    """A constant power of each element."""

    exponent: float

    name: ClassVar[str] = "power"
    equation: ClassVar[str] = "y = x^p"
    arity: ClassVar[int] = 1

    def __post_init__(self) -> None:
        is_number = isinstance(self.exponent, int | float) and fits_float(self.exponent)
        if not is_number or not math.isfinite(self.exponent):
            raise OptionError(f"exponent={self.exponent!r:.60} is not a finite number")

    def latex(self, *operands: TensorType) -> str:
        return f"$y = ($a)^{{{self.exponent:g}}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        if self.exponent == 0:
            return (None,)
        slope = constant(emit, self.exponent, delta.type)
        if self.exponent != 1:
            rest = operands[0] if self.exponent == 2 else emit(Power(self.exponent - 1.0), operands[0])
            slope = emit(Multiply(), rest, slope)
        return (emit(Multiply(), delta, slope),)
