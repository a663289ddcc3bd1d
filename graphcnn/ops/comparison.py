"""Ops that compare, that combine truth values, and that choose by them, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import ShapeError
from graphcnn.ir import Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.pointwise import common_type, constant, unspread


@dataclass(frozen=True, slots=True)
class Comparison(Op):
    """An op that answers True or False for each element."""

    arity: ClassVar[int] = 2
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (common_type(self.name, operands).with_dtype("bool"),)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return None, None


@dataclass(frozen=True, slots=True)
class Greater(Comparison):
    name: ClassVar[str] = "greater"
    equation: ClassVar[str] = "z = x > y"
    formula: ClassVar[str] = r"$y = [\,$a > $b\,]"


@dataclass(frozen=True, slots=True)
class GreaterEqual(Comparison):
    name: ClassVar[str] = "greater_equal"
    equation: ClassVar[str] = "z = x >= y"
    formula: ClassVar[str] = r"$y = [\,$a \ge $b\,]"


@dataclass(frozen=True, slots=True)
class Equal(Comparison):
    name: ClassVar[str] = "equal"
    equation: ClassVar[str] = "z = (x = y)"
    formula: ClassVar[str] = r"$y = [\,$a = $b\,]"


@dataclass(frozen=True, slots=True)
class Logic(Op):
    """An op on truth values."""

    arity: ClassVar[int] = 2
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        if any(type.dtype != "bool" for type in operands):
            raise ShapeError(
                f"{self.name} takes truth values, not {' and '.join(map(str, operands))}",
                mend="compare first, as in x > 0",
            )
        return (common_type(self.name, operands),)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,) * len(operands)


@dataclass(frozen=True, slots=True)
class LogicalAnd(Logic):
    name: ClassVar[str] = "logical_and"
    equation: ClassVar[str] = "z = x and y"
    formula: ClassVar[str] = r"$y = $a \wedge $b"


@dataclass(frozen=True, slots=True)
class LogicalOr(Logic):
    name: ClassVar[str] = "logical_or"
    equation: ClassVar[str] = "z = x or y"
    formula: ClassVar[str] = r"$y = $a \vee $b"


@dataclass(frozen=True, slots=True)
class LogicalNot(Logic):
    name: ClassVar[str] = "logical_not"
    equation: ClassVar[str] = "y = not x"
    formula: ClassVar[str] = r"$y = \neg $a"
    arity: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Select(Op):
    """Where the condition holds the first choice, elsewhere the second."""

    name: ClassVar[str] = "select"
    equation: ClassVar[str] = "z = x if condition else y"
    formula: ClassVar[str] = r"$y = \begin{cases} $b & \text{where } $a \\ $c & \text{elsewhere} \end{cases}"
    arity: ClassVar[int] = 3
    by_sample: ClassVar[bool] = True

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
