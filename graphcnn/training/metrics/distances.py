"""Errors of regression: how far outputs are from targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Value


@dataclass(frozen=True, slots=True)
class MeanAbsoluteError:
    """The mean of |output - target| over all numbers."""

    name: ClassVar[str] = "mae"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        return _mean(emit, emit(ops.Abs(), _difference(emit, self.name, output, target)))


@dataclass(frozen=True, slots=True)
class MeanSquaredError:
    """The mean of (output - target)² over all numbers."""

    name: ClassVar[str] = "mse"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        return _mean_square(emit, self.name, output, target)


@dataclass(frozen=True, slots=True)
class RootMeanSquaredError:
    """The root of the mean of (output - target)² over all numbers of a set."""

    name: ClassVar[str] = "rmse"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        difference = _difference(emit, self.name, output, target)
        every = tuple(range(output.type.rank))
        squares = emit(ops.Sum(every), emit(ops.Multiply(), difference, difference))
        parts = (squares, emit(ops.Count(every), output))
        return emit(ops.Concatenate(0), *(emit(ops.Broadcast((1,)), part) for part in parts))

    def result(self, statistics: Array) -> float:
        squares, count = statistics
        return math.sqrt(squares / count)


@dataclass(frozen=True, slots=True)
class DeterminationCoefficient:
    """R², the share of the targets' variance that outputs explain: 1 - Σ (t - y)² / Σ (t - mean t)².

    Of each number of a sample's last axis over all others, and then averaged. Where targets do not vary, it
    is 1 for outputs that equal them, and else 0.
    """

    name: ClassVar[str] = "r2"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        difference = _difference(emit, self.name, output, target)
        over = tuple(range(output.type.rank - 1)) if output.type.rank > 1 else (0,)
        mean = emit(ops.Mean(over), target)
        centred = emit(ops.Subtract(), target, emit(ops.Broadcast(target.type.shape), mean))
        count = emit(ops.Broadcast(mean.type.shape), emit(ops.Count(over), target))
        squares = (emit(ops.Sum(over), emit(ops.Multiply(), each, each)) for each in (difference, centred))
        parts = (count, mean, *squares)
        if mean.type.is_scalar:
            parts = tuple(emit(ops.Broadcast((1,)), part) for part in parts)
        return emit(ops.Concatenate(0), *parts)

    def merge(self, one: Array, other: Array) -> Array:
        """Return count, mean, Σ (t - y)² and Σ (t - mean)² of both (Chan, Golub and LeVeque, 1979)."""
        (n, mean, errors, spread), (m, other_mean, other_errors, other_spread) = (
            each.reshape(4, -1) for each in (one, other)
        )
        apart = other_mean - mean
        whole = n + m
        between = apart**2 * n * m / whole
        return np.stack(
            [whole, mean + apart * m / whole, errors + other_errors, spread + other_spread + between]
        ).reshape(-1)

    def result(self, statistics: Array) -> float:
        _, _, errors, spread = statistics.reshape(4, -1)
        varies = spread > 0
        unexplained = np.divide(errors, spread, out=np.where(errors > 0, 1.0, 0.0), where=varies)
        return float(np.mean(1 - unexplained))


def _mean(emit: Emitter, each: Value) -> Value:
    return emit(ops.Mean(tuple(range(each.type.rank))), each)


def _mean_square(emit: Emitter, name: str, output: Value, target: Value) -> Value:
    difference = _difference(emit, name, output, target)
    return _mean(emit, emit(ops.Multiply(), difference, difference))


def _difference(emit: Emitter, name: str, output: Value, target: Value) -> Value:
    if target.type != output.type:
        raise OptionError(
            f"{name} needs outputs and targets of one shape",
            facts=[f"outputs {output.type}, targets {target.type}"],
            mend="use it with loss=gcn.SquaredError(), or leave metrics out",
        )
    return emit(ops.Subtract(), output, target)
