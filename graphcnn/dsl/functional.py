"""Functions on values of a network. Each returns a new value; none has parameters."""

from __future__ import annotations

import builtins
import math

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.tensor import Tensor, apply_function, apply_op, broadcast_together
from graphcnn.ir import Dim, Value


def relu(x: Tensor) -> Tensor:
    """Return max(0, x), element by element."""
    return _activation(ops.Relu(), x)


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent of each element."""
    return _activation(ops.Tanh(), x)


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x) of each element."""
    return _activation(ops.Sigmoid(), x)


def _activation(op: ops.Relu | ops.Tanh | ops.Sigmoid, x: Tensor) -> Tensor:
    return apply_function(lambda build, value: build(op, value), op.name, x, rule="Eq. 8")


def exp(x: Tensor) -> Tensor:
    """Return e^x of each element."""
    return apply_op(ops.Exp(), x)


def log(x: Tensor) -> Tensor:
    """Return the natural logarithm of each element."""
    return apply_op(ops.Log(), x)


def sqrt(x: Tensor) -> Tensor:
    """Return the square root of each element."""
    return apply_op(ops.Sqrt(), x)


def maximum(x: Tensor | float, y: Tensor | float) -> Tensor:
    """Return the greater of two values, element by element; shapes are broadcast together."""
    op = ops.Maximum()
    return apply_function(
        lambda build, a, b: build(op, *broadcast_together(build, op.name, a, b)), op.name, x, y
    )


def correlate2d(x: Tensor, filters: Tensor) -> Tensor:
    """Return the cross-correlation (Eq. 1, 4) of images [N, H, W, C] with filters [k1, k2, C, D]."""
    return apply_op(ops.Correlate2d(), x, filters)


def convolve2d(x: Tensor, filters: Tensor) -> Tensor:
    """Return the true convolution (Eq. 2-3) of images [N, H, W, C] with filters [k1, k2, C, D]."""
    return apply_op(ops.Convolve2d(), x, filters)


def log_softmax(x: Tensor) -> Tensor:
    """Return the logarithm of softmax along the last axis."""
    return apply_op(ops.LogSoftmax(), x)


def softmax(x: Tensor) -> Tensor:
    """Return e^x / Σ e^x along the last axis: probabilities that add up to 1."""
    return apply_function(lambda build, value: build(ops.Exp(), build(ops.LogSoftmax(), value)), "softmax", x)


def sum(x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """Return the sum over axes (over all of them by default, the batch included)."""
    return apply_op(ops.Sum(_axes(x, axes)), x)


def mean(x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """Return the mean over axes (over all of them by default, the batch included)."""
    return apply_op(ops.Mean(_axes(x, axes)), x)


def _axes(x: Tensor, axes: tuple[int, ...] | None) -> tuple[int, ...]:
    rank = len(x.shape)
    chosen = range(rank) if axes is None else (axis % rank for axis in axes)
    return tuple(sorted(chosen))


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return half the squared distance of each sample, ½Σ(t-y)² (Eq. 9), of shape [N]."""
    return apply_function(
        lambda build, y, t: build(ops.SquaredError(), y, t), "squared_error", outputs, targets, rule="Eq. 9"
    )


def concatenate(*tensors: Tensor, axis: int = -1) -> Tensor:
    """Return tensors joined along one axis (the channels by default)."""
    return apply_op(ops.Concatenate(axis % builtins.max(len(tensors[0].shape), 1)), *tensors)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return each sample's elements in row-major order under another shape (without the batch axis)."""
    full: tuple[Dim, ...] = ("N", *shape) if x.type.has_batch else shape
    return apply_op(ops.Reshape(full), x)


def flatten(x: Tensor) -> Tensor:
    """Return [N, H, W, C] as [N, H·W·C]."""

    def build_flat(build: Builder, value: Value) -> Value:
        batch, *sizes = value.type.shape
        return build(ops.Reshape((batch, math.prod(int(size) for size in sizes))), value)

    return apply_function(build_flat, "flatten", x)
