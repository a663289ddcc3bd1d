"""The elementary functions and the error function, element by element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.ir import Emitter, Gradients, Value, Values
from graphcnn.ops.arithmetic import Divide, Multiply, Negate
from graphcnn.ops.pointwise import Pointwise, constant


@dataclass(frozen=True, slots=True)
class Exp(Pointwise):
    name: ClassVar[str] = "exp"
    equation: ClassVar[str] = "y = e^x"
    formula: ClassVar[str] = r"$y = e^{$a}"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Multiply(), delta, results[0]),)


@dataclass(frozen=True, slots=True)
class Log(Pointwise):
    name: ClassVar[str] = "log"
    equation: ClassVar[str] = "y = ln x"
    formula: ClassVar[str] = r"$y = \ln $a"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Divide(), delta, operands[0]),)


@dataclass(frozen=True, slots=True)
class Sqrt(Pointwise):
    name: ClassVar[str] = "sqrt"
    equation: ClassVar[str] = "y = √x"
    formula: ClassVar[str] = r"$y = \sqrt{$a}"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        half = emit(Multiply(), delta, constant(emit, 0.5, delta.type))
        return (emit(Divide(), half, results[0]),)


@dataclass(frozen=True, slots=True)
class Sin(Pointwise):
    name: ClassVar[str] = "sin"
    equation: ClassVar[str] = "y = sin x"
    formula: ClassVar[str] = r"$y = \sin $a"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Multiply(), delta, emit(Cos(), operands[0])),)


@dataclass(frozen=True, slots=True)
class Cos(Pointwise):
    name: ClassVar[str] = "cos"
    equation: ClassVar[str] = "y = cos x"
    formula: ClassVar[str] = r"$y = \cos $a"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Multiply(), delta, emit(Negate(), emit(Sin(), operands[0]))),)


@dataclass(frozen=True, slots=True)
class Erf(Pointwise):
    """The error function (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.1)."""

    name: ClassVar[str] = "erf"
    equation: ClassVar[str] = "y = 2/√π ∫ e^-t² dt from 0 to x, f'(x) = 2/√π e^-x²"
    formula: ClassVar[str] = (
        r"$y = \operatorname{erf}($a), \quad "
        r"\operatorname{erf}(x) = \frac{2}{\sqrt{\pi}} \int_0^x e^{-t^2} dt"
    )
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        (x,) = operands
        bell = emit(Exp(), emit(Negate(), emit(Multiply(), x, x)))
        slope = emit(Multiply(), bell, constant(emit, 2.0 / math.sqrt(math.pi), delta.type))
        return (emit(Multiply(), delta, slope),)
