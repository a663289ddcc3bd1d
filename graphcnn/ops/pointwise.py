"""What all ops have in common that work element by element: operands of one shape, or scalars of rank 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.attributes import fits_float, require_float
from graphcnn.ops.notation import number
from graphcnn.ops.reduction import Sum

INTEGER_LIMITS: Final = {
    "int64": (-(2**63), 2**63 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint8": (0, 255),
    "bool": (0, 1),
}


@dataclass(frozen=True, slots=True)
class Constant(Op):
    """One number, as a scalar."""

    value: float
    type: TensorType

    name: ClassVar[str] = "constant"
    equation: ClassVar[str] = "c"
    arity: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if not isinstance(self.value, bool | int | float):
            raise OptionError(f"value={self.value!r} is not a number")
        if self.type.is_float and not fits_float(self.value):
            raise OptionError("value is an integer beyond the range of floating-point numbers")
        if not self.type.is_scalar:
            raise ShapeError(f"a constant is a scalar, not {self.type}; broadcast it")
        if math.isnan(self.value):
            raise OptionError("NaN cannot be a constant: it equals nothing, not even itself")
        least, greatest = INTEGER_LIMITS.get(self.type.dtype, (-math.inf, math.inf))
        if not least <= self.value <= greatest or (not self.type.is_float and self.value % 1):
            raise OptionError(f"value={self.value!r} is not an {self.type.dtype} number")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (self.type,)

    def latex(self, *operands: TensorType) -> str:
        return f"$y = {number(self.value)}"


def constant(emit: Emitter, value: float, like: TensorType) -> Value:
    """Emit a scalar constant of the element type of `like`."""
    return emit(Constant(float(value), like.with_shape(())))


def common_type(name: str, operands: Sequence[TensorType]) -> TensorType:
    """Return the type that all operands have, scalars apart."""
    shaped = [type for type in operands if not type.is_scalar]
    if len({type.shape for type in shaped}) > 1:
        raise ShapeError(
            f"{name} works element by element, so its operands need one shape",
            facts=[f"operand {position}: {type}" for position, type in enumerate(operands)],
            mend="make the shapes equal by padding, cropping, reshaping or broadcasting one of them",
        )
    if len({type.dtype for type in operands}) > 1:
        raise ShapeError(
            f"{name} takes operands of one element type, not {', '.join(map(str, operands))}",
            mend='give all inputs one element type, for example gcn.Input(shape, dtype="float32")',
        )
    return shaped[0] if shaped else operands[0]


def unspread(emit: Emitter, gradient: Value, operand: Value) -> Value:
    """Emit the gradient of an operand, summed up where a scalar was used for every element."""
    if gradient.type.shape == operand.type.shape:
        return gradient
    return emit(Sum(tuple(range(gradient.type.rank))), gradient)


@dataclass(frozen=True, slots=True)
class Pointwise(Op):
    """An op on floating-point operands whose result has their type."""

    flops_per_element: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        require_float(self.name, *operands)
        return (common_type(self.name, operands),)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return self.flops_per_element * results[0].elements(batch)


@dataclass(frozen=True, slots=True)
class StopGradient(Op):
    """Its operand, which differentiation takes for a constant."""

    name: ClassVar[str] = "stop_gradient"
    equation: ClassVar[str] = "y = x, f'(x) = 0"
    formula: ClassVar[str] = r"$y = $a"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return operands

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,)
