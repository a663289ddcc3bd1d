"""Element-by-element kernels, which NumPy has ready-made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn_numpy.kernels.kernel import Kernels


def _ufunc(function: Callable[..., Array]) -> Callable[[Any, list[Array], int], Array]:
    return lambda op, operands, batch: function(*operands)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x) without overflow: e^-|x| is at most 1."""
    small = np.exp(-np.abs(x))
    one = small.dtype.type(1)
    result: Array = np.where(x >= 0, one, small) / (one + small)
    return result


def relu(x: Array) -> Array:
    return np.where(x < 0, x.dtype.type(0), x)  # NumPy leaves open which zero is the maximum of both


def relu_mask(x: Array) -> Array:
    return np.where(np.isnan(x), x, x > 0).astype(x.dtype)


def constant(op: ops.Constant, operands: list[Array], batch: int) -> Array:
    return np.asarray(op.value, op.type.dtype)


def power(op: ops.Power, operands: list[Array], batch: int) -> Array:
    result: Array = operands[0] ** operands[0].dtype.type(op.exponent)
    return result


KERNELS: Kernels = {
    ops.Constant: constant,
    ops.Add: _ufunc(np.add),
    ops.Subtract: _ufunc(np.subtract),
    ops.Multiply: _ufunc(np.multiply),
    ops.Divide: _ufunc(np.divide),
    ops.Maximum: _ufunc(np.maximum),
    ops.Negate: _ufunc(np.negative),
    ops.Power: power,
    ops.Exp: _ufunc(np.exp),
    ops.Log: _ufunc(np.log),
    ops.Sqrt: _ufunc(np.sqrt),
    ops.Tanh: _ufunc(np.tanh),
    ops.Sigmoid: _ufunc(sigmoid),
    ops.Relu: _ufunc(relu),
    ops.ReluMask: _ufunc(relu_mask),
    ops.Greater: _ufunc(np.greater),
    ops.Equal: _ufunc(np.equal),
    ops.Select: _ufunc(np.where),
}
