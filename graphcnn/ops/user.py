"""Ops whose meaning is a Python function of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from graphcnn.errors import DifferentiationError, OptionError
from graphcnn.ir import Emitter, Gradients, Op, TensorType, Value, Values, arguments_of
from graphcnn.ops.activation import SLOPE
from graphcnn.ops.arithmetic import Multiply
from graphcnn.ops.attributes import require_float
from graphcnn.ops.notation import as_text
from graphcnn.ops.pointwise import common_type, unspread
from graphcnn.scalar import ScalarFunction


@dataclass(frozen=True, slots=True)
class UserFunction(Op):
    """A function of the user's own, applied element by element.

    function: in the text form, its name. defined: the file and line where it is written, for the reader.
    """

    function: ScalarFunction
    defined: str = field(default="", compare=False)

    name: ClassVar[str] = "user_function"
    equation: ClassVar[str] = "z = f(x, y, ...)"
    arity: ClassVar[int] = -1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.function, ScalarFunction):
            raise OptionError(f"function={self.function!r:.60} is not a function that gcn.pointwise made")
        object.__setattr__(self, "defined", self.function.place)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        arguments = self.function.arguments
        if len(operands) != len(arguments):
            raise OptionError(
                f"{self.function.name} takes {len(arguments)} values, not {len(operands)}",
                facts=[f"its arguments: {', '.join(arguments)}", f"defined at {self.defined}"],
                mend="give it one value of the network, or number, for each argument",
            )
        require_float(self.function.name, *operands)
        return (common_type(self.function.name, operands),)

    def latex(self, *operands: TensorType) -> str:
        arguments = arguments_of(len(operands))
        return rf"$y = \text{{{as_text(self.function.name)}}}({arguments})"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        name = as_text(self.function.name)
        if len(operands) == 1:
            return rf"$G = $D\, \text{{{name}}}'($a)"
        argument = as_text(self.function.arguments[position])
        arguments = arguments_of(len(operands))
        return (
            rf"$G = $D\, \frac{{\partial\, \text{{{name}}}}}{{\partial\, \text{{{argument}}}}}({arguments})"
        )

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        slopes = self.function.derivatives
        if slopes is None:
            raise DifferentiationError(
                f"{self.function.name} has no derivative",
                facts=[f"defined at {self.defined}"],
                mend="derivative=lambda x: ...; to derive twice, derivative=gcn.pointwise(f, derivative=g)",
            )
        gradients: list[Value | None] = []
        for operand, argument, slope in zip(operands, self.function.arguments, slopes, strict=True):
            by = emit.by(SLOPE if len(operands) == 1 else f"· ∂f/∂{argument}")
            product = None if slope is None else by(Multiply(), delta, by(UserFunction(slope), *operands))
            gradients.append(None if product is None else unspread(by, product, operand))
        return tuple(gradients)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        """Return one per element: what the function costs is not known before it is compiled."""
        return results[0].elements(batch)
