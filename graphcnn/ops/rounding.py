"""Rounding to a narrower number, as it is before a product that multiplies such numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphcnn.ir import Emitter, Gradients, TensorType, Value, Values
from graphcnn.ops.pointwise import Pointwise


@dataclass(frozen=True, slots=True)
class RoundBfloat16(Pointwise):
    """The nearest bfloat16 number, ties to even, in the element type of the operand.

    A bfloat16 has the exponents of float32 and 8 bits of precision: a float32 whose lower 16 bits are 0.
    What rounds beyond its greatest number is infinity; zeros keep their sign, numbers below the normal ones
    are rounded like all others, and NaN stays NaN.

    Its true slope is 0 almost everywhere. The gradient is passed straight through instead, as if y = x.
    """

    name: ClassVar[str] = "round_bfloat16"
    equation: ClassVar[str] = "y = the bfloat16 nearest to x, ties to even; f'(x) = 1"
    formula: ClassVar[str] = r"$y = \text{bfloat16}($a)"
    arity: ClassVar[int] = 1
    flops_per_element: ClassVar[int] = 0

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return "$G = $D"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (delta,)
