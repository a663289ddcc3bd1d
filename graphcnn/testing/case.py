"""One case of the conformance suite under construction, and inputs that many cases take."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from graphcnn.arrays import Array
from graphcnn.ir import BATCH, Dim, DType, Graph, Op, TensorType, Value

BATCHES = (1, 15, 16, 17, 33)
FLOAT_TYPES: tuple[DType, ...] = ("float32", "float64")


@dataclass
class Case:
    """A graph under construction, the arrays to run it on, and what it must give where that is known.

    expected: values by output name that do not come from any backend.
    """

    name: str
    graph: Graph = field(init=False)
    inputs: dict[str, Array] = field(default_factory=dict)
    expected: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = Graph(self.name)
        self.random = np.random.default_rng(zlib.crc32(self.name.encode()))

    def input(self, array: Array, *, batch: bool = False, state: bool = False) -> Value:
        """Append an input for an array; `batch` makes its first axis N."""
        label = f"input{len(self.inputs)}"
        shape: tuple[Dim, ...] = (BATCH, *array.shape[1:]) if batch else array.shape
        self.inputs[label] = array
        dtype: Any = str(array.dtype)
        return self.graph.input(label, TensorType(shape, dtype), role="state" if state else "data")

    def normal(self, dtype: DType, *shape: int, batch: bool = False, state: bool = False) -> Value:
        """Append an input of normally distributed numbers."""
        return self.input(self.random.standard_normal(shape).astype(dtype), batch=batch, state=state)

    def array(self, value: Value) -> Array:
        """Return the array of an input value."""
        return next(self.inputs[label] for label, known in self.graph.inputs.items() if known == value)

    def apply(self, op: Op, *operands: Value) -> tuple[Value, ...]:
        """Append an op and name its results as outputs."""
        results = self.graph.add_all(op, *operands)
        for result in results:
            self.graph.output(f"output{len(self.graph.outputs)}", result)
        return results

    def expect(self, *values: Array) -> None:
        """Note the values of the outputs, in order."""
        self.expected.update(zip(self.graph.outputs, values, strict=True))


Fill: TypeAlias = Callable[[Case], object]
Named: TypeAlias = Iterator[tuple[str, Fill]]


def unary(op: Op, dtype: DType, shape: Sequence[int], case: Case, *, positive: bool = False) -> None:
    """Apply an op to an input of normally distributed numbers; `positive` ones are at least 0.1."""
    array = case.random.standard_normal(shape)
    array = np.asarray(np.abs(array) + 0.1 if positive else array, dtype)
    case.apply(op, case.input(array, batch=len(shape) > 1))


def whole(case: Case, dtype: DType, shape: Sequence[int]) -> Value:
    """Append an input of small whole numbers, none of them 0, so that ties happen."""
    array = case.random.integers(1, 4, shape) * case.random.choice([-1.0, 1.0], shape)
    return case.input(np.asarray(array, dtype), batch=len(shape) > 1)
