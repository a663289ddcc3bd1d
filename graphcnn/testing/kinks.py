"""Slopes where an op has a corner or a tie, which no difference can tell: what PyTorch and we agree on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.backend import reference
from graphcnn.ir import Emitter, Graph, Op, TensorType
from graphcnn.transform import differentiate

DELTA: Final = 2.0
"""The delta that a rule is given, by which gradients are divided afterwards: 1 would hide that it is lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Kink:
    """An op at points with a corner or a tie, or near one.

    operands: numbers of float64, one array for each operand. slopes: the gradients of the sum of the first
    result, one for each operand.
    """

    op: Op
    operands: tuple[Array, ...]
    slopes: tuple[Array, ...]

    def __str__(self) -> str:
        return f"{self.op} at {', '.join(str(operand.tolist()) for operand in self.operands)}"

    def gradients(self) -> tuple[Array, ...]:
        """Return the gradients as the reference computes them."""
        graph = Graph("kink")
        arrays = {f"x{place}": operand for place, operand in enumerate(self.operands)}
        values = {
            label: graph.input(label, TensorType(array.shape, "float64")) for label, array in arrays.items()
        }
        emit = Emitter(graph)
        result = emit(self.op, *values.values())
        total = emit(ops.Sum(tuple(range(result.type.rank))), result) if result.type.rank else result
        scaled = emit(ops.Multiply(), total, ops.constant(emit, DELTA, total.type))
        derived, found = differentiate(graph, scaled, values)
        for label, value in found.items():
            derived.output(label, value)
        computed = reference().compile(derived)(**arrays)
        return tuple(computed[label] / DELTA for label in arrays)

    def check(self) -> None:
        """Assert that the gradients are the agreed ones."""
        for place, (found, agreed) in enumerate(zip(self.gradients(), self.slopes, strict=True)):
            if not np.array_equal(found, agreed):
                raise AssertionError(
                    f"{self}: the gradient of operand {place} is {found.tolist()}, not {agreed.tolist()}"
                )


def _kink(op: Op, *arrays: object) -> Kink:
    """Return an op with its operands, then the slopes of each."""
    numbers = [np.array(array, np.float64) for array in arrays]
    half = len(numbers) // 2
    return Kink(op, tuple(numbers[:half]), tuple(numbers[half:]))


def _image(*rows: list[float]) -> Array:
    """Return one image of one channel."""
    return np.array(rows, np.float64)[None, :, :, None]


AROUND: Final = [-2.0, 0.0, 2.0]

KINKS: Final[tuple[Kink, ...]] = (
    _kink(ops.Relu(), AROUND, [0, 0, 1]),
    _kink(ops.Abs(), AROUND, [-1, 0, 1]),
    _kink(ops.Elu(0.25), [-0.0, 0.0, 2.0], [0.25, 0.25, 1]),
    _kink(ops.Elu(0.25), 1.0, 1.0),
    _kink(ops.Clip(-2.0, 0.0), AROUND, [1, 1, 0]),
    _kink(ops.Clip(-2.0, 0.0, closed=False), AROUND, [0, 0, 0]),
    _kink(ops.Clip(0.0, 2.0), AROUND, [0, 1, 1]),
    _kink(ops.Clip(0.0, 2.0, closed=False), AROUND, [0, 0, 0]),
    _kink(ops.Clip(-math.inf, 1.0), AROUND, [1, 1, 0]),
    _kink(ops.Maximum(), [1, 2, 3], [2, 2, 2], [0, 0.5, 1], [1, 0.5, 0]),
    _kink(ops.Maximum(), 3, 3, 0.5, 0.5),
    _kink(ops.Minimum(), 3, 3, 0.5, 0.5),
    _kink(ops.Minimum(), [1, 2, 3], [2, 2, 2], [1, 0.5, 0], [0, 0.5, 1]),
    _kink(ops.Max((1,)), [[1, 4, 4, 4, 0], [5, 0, 0, 0, 5]], [[0, *[1 / 3] * 3, 0], [0.5, 0, 0, 0, 0.5]]),
    _kink(ops.Max((0,)), [[1, 5], [4, 0], [4, 5]], [[0, 0.5], [0.5, 0], [0.5, 0.5]]),
    _kink(
        ops.MaxPool2d((2, 2), (2, 2)),
        _image([1, 7, 3, 3], [7, 7, 3, 3]),
        _image([0, 1, 1, 0], [0, 0, 0, 0]),
    ),
    _kink(ops.L2Pool2d((2, 2), (2, 2)), _image([0, 0, 3, 0], [0, 0, 0, 0]), _image([0, 0, 1, 0], [0] * 4)),
)
