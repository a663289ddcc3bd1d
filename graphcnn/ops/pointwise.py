"""Ops that work element by element. Operands have one shape, or are scalars of rank 0."""

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


SLOPE = "Eq. 21, · f'(x)"
"""The rule of every activation: the delta times the slope, the last factor of Eq. 20 and 21."""


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
class _Pointwise(Op):
    """An op on floating-point operands whose result has their type."""

    flops_per_element: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        require_float(self.name, *operands)
        return (common_type(self.name, operands),)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return self.flops_per_element * results[0].elements(batch)


@dataclass(frozen=True, slots=True)
class Add(_Pointwise):
    name: ClassVar[str] = "add"
    equation: ClassVar[str] = "z = x + y"
    formula: ClassVar[str] = r"$y = $a + $b"
    arity: ClassVar[int] = 2

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return tuple(unspread(emit, delta, operand) for operand in operands)


@dataclass(frozen=True, slots=True)
class Subtract(_Pointwise):
    name: ClassVar[str] = "subtract"
    equation: ClassVar[str] = "z = x - y"
    formula: ClassVar[str] = r"$y = $a - $b"
    arity: ClassVar[int] = 2

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        x, y = operands
        return unspread(emit, delta, x), unspread(emit, emit(Negate(), delta), y)


@dataclass(frozen=True, slots=True)
class Multiply(_Pointwise):
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
class Divide(_Pointwise):
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
class Maximum(_Pointwise):
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
class Negate(_Pointwise):
    name: ClassVar[str] = "negate"
    equation: ClassVar[str] = "y = -x"
    formula: ClassVar[str] = r"$y = -$a"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Negate(), delta),)


@dataclass(frozen=True, slots=True)
class Power(_Pointwise):
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


@dataclass(frozen=True, slots=True)
class Exp(_Pointwise):
    name: ClassVar[str] = "exp"
    equation: ClassVar[str] = "y = e^x"
    formula: ClassVar[str] = r"$y = e^{$a}"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Multiply(), delta, results[0]),)


@dataclass(frozen=True, slots=True)
class Log(_Pointwise):
    name: ClassVar[str] = "log"
    equation: ClassVar[str] = "y = ln x"
    formula: ClassVar[str] = r"$y = \ln $a"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Divide(), delta, operands[0]),)


@dataclass(frozen=True, slots=True)
class Sqrt(_Pointwise):
    name: ClassVar[str] = "sqrt"
    equation: ClassVar[str] = "y = √x"
    formula: ClassVar[str] = r"$y = \sqrt{$a}"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        half = emit(Multiply(), delta, constant(emit, 0.5, delta.type))
        return (emit(Divide(), half, results[0]),)


@dataclass(frozen=True, slots=True)
class Tanh(_Pointwise):
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
class Sigmoid(_Pointwise):
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
class Relu(_Pointwise):
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
class ReluMask(_Pointwise):
    """The slope of relu: 1 where x > 0, and 0 elsewhere, at 0 too."""

    name: ClassVar[str] = "relu_mask"
    equation: ClassVar[str] = "f'(x) = 1 if x > 0 else 0"
    formula: ClassVar[str] = r"$y = f'($a), \quad f'(x) = \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}"
    arity: ClassVar[int] = 1

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,)


@dataclass(frozen=True, slots=True)
class _Comparison(Op):
    """An op that answers True or False for each element."""

    arity: ClassVar[int] = 2

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (common_type(self.name, operands).with_dtype("bool"),)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return None, None


@dataclass(frozen=True, slots=True)
class Greater(_Comparison):
    name: ClassVar[str] = "greater"
    equation: ClassVar[str] = "z = x > y"
    formula: ClassVar[str] = r"$y = [\,$a > $b\,]"


@dataclass(frozen=True, slots=True)
class Equal(_Comparison):
    name: ClassVar[str] = "equal"
    equation: ClassVar[str] = "z = (x = y)"
    formula: ClassVar[str] = r"$y = [\,$a = $b\,]"


@dataclass(frozen=True, slots=True)
class Select(Op):
    """Where the condition holds the first choice, elsewhere the second."""

    name: ClassVar[str] = "select"
    equation: ClassVar[str] = "z = x if condition else y"
    formula: ClassVar[str] = r"$y = \begin{cases} $b & \text{where } $a \\ $c & \text{elsewhere} \end{cases}"
    arity: ClassVar[int] = 3

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        condition, x, y = operands
        if condition.dtype != "bool":
            raise ShapeError(f"the condition of select is {condition}, not bool")
        return (common_type(self.name, (condition.with_dtype(x.dtype), x, y)),)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        condition, x, y = operands
        zero = constant(emit, 0.0, delta.type)
        return (
            None,
            unspread(emit, emit(Select(), condition, delta, zero), x),
            unspread(emit, emit(Select(), condition, zero, delta), y),
        )
