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
    """The error function (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.1).

    For who has none, as the Cephes library computes it (S. Moshier, ndtr.c): up to 1 it is x P(x²) / Q(x²),
    of `NEAR`, and from there to 8, where it is 1, 1 - e^-x² P(x) / Q(x), of `FAR`. The coefficients begin at
    the highest power.
    """

    name: ClassVar[str] = "erf"
    equation: ClassVar[str] = "y = 2/√π ∫ e^-t² dt from 0 to x, f'(x) = 2/√π e^-x²"
    formula: ClassVar[str] = (
        r"$y = \operatorname{erf}($a), \quad "
        r"\operatorname{erf}(x) = \frac{2}{\sqrt{\pi}} \int_0^x e^{-t^2} dt"
    )
    arity: ClassVar[int] = 1

    NEAR: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = (
        (
            *(9.60497373987051638749, 90.0260197203842689217, 2232.00534594684319226, 7003.32514112805075473),
            *(55592.3013010394962768,),
        ),
        (
            *(1.0, 33.5617141647503099647, 521.357949780152679795, 4594.32382970980127987),
            *(22629.0000613890934246, 49267.3942608635921086),
        ),
    )
    FAR: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = (
        (
            *(
                2.46196981473530512524e-10,
                0.564189564831068821977,
                7.46321056442269912687,
                48.6371970985681366614,
            ),
            *(196.520832956077098242, 526.445194995477358631, 934.528527171957607540, 1027.55188689515710272),
            *(557.535335369399327526,),
        ),
        (
            *(
                1.0,
                13.2281951154744992508,
                86.7072140885989742329,
                354.937778887819891062,
                975.708501743205489753,
            ),
            *(1823.90916687909736289, 2246.33760818710981792, 1656.66309194161350182, 557.535340817727675546),
        ),
    )

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        (x,) = operands
        bell = emit(Exp(), emit(Negate(), emit(Multiply(), x, x)))
        slope = emit(Multiply(), bell, constant(emit, 2.0 / math.sqrt(math.pi), delta.type))
        return (emit(Multiply(), delta, slope),)
