"""Kernels that fold axes away. Sums over samples come in two steps, between which others can be added."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.ir import Op
from graphcnn_numpy.kernels.convolution import convolve2d, correlate2d
from graphcnn_numpy.kernels.kernel import Kernel, Kernels
from graphcnn_numpy.kernels.sums import summed


class SumOfSamples(NamedTuple):
    """An op that sums over samples: `end(op, Σ part(op, operands of some samples, their number), shape)`.

    part: a kernel for the sum of some samples, neither divided nor rounded. end: returns the results, in
    float64 where the sum is of that; shape: that of the first operand, with all samples.
    """

    part: Kernel
    end: Callable[[Any, Array, Sequence[int]], tuple[Array, ...]]


def total(op: ops.Sum | ops.Mean, operands: list[Array], batch: int) -> Array:
    return summed(operands[0], op.axes, keep=op.keep)


def total_of_squares(op: ops.InverseDeviation, operands: list[Array], batch: int) -> Array:
    return summed(np.square(operands[0], dtype=np.float64), op.axes, keep=op.keep)


def _as_it_is(op: Op, total: Array, shape: Sequence[int]) -> tuple[Array, ...]:
    return (total,)


def _mean(op: ops.Mean | ops.InverseDeviation, total: Array, shape: Sequence[int]) -> tuple[Array, ...]:
    return (np.asarray(total / math.prod(shape[axis] for axis in op.axes)),)


def _inverse(op: ops.InverseDeviation, total: Array, shape: Sequence[int]) -> tuple[Array, ...]:
    (variance,) = _mean(op, total, shape)
    return np.asarray(1 / np.sqrt(variance + op.epsilon)), variance


SUMS_OF_SAMPLES: dict[type[Op], SumOfSamples] = {
    ops.Sum: SumOfSamples(total, _as_it_is),
    ops.Mean: SumOfSamples(total, _mean),
    ops.InverseDeviation: SumOfSamples(total_of_squares, _inverse),
    ops.Correlate2d: SumOfSamples(correlate2d, _as_it_is),
    ops.Convolve2d: SumOfSamples(convolve2d, _as_it_is),
}


def of_sums(op: Op, operands: list[Array], batch: int) -> tuple[Array, ...]:
    """Return what is made of a sum, all of which is added up at once."""
    (x,) = operands
    part, end = SUMS_OF_SAMPLES[type(op)]
    return tuple(result.astype(x.dtype) for result in end(op, part(op, operands, batch), x.shape))


def max_over(op: ops.Max, operands: list[Array], batch: int) -> Array:
    return np.asarray(operands[0].max(op.axes, keepdims=op.keep))


def count(op: ops.Count, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    return np.asarray(np.prod([x.shape[axis] for axis in op.axes], dtype=np.int64)).astype(x.dtype)


def argmax(op: ops.ArgMax, operands: list[Array], batch: int) -> Array:
    return np.asarray(operands[0].argmax(op.axis), np.int64)


KERNELS: Kernels = {
    ops.Sum: of_sums,
    ops.Mean: of_sums,
    ops.InverseDeviation: of_sums,
    ops.Max: max_over,
    ops.Count: count,
    ops.ArgMax: argmax,
}
