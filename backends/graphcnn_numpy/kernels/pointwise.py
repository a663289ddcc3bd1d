"""Element-by-element kernels, which NumPy has ready-made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

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


def clip(op: ops.Clip, operands: list[Array], batch: int) -> Array:
    return np.clip(operands[0], op.low, op.high)


def clip_mask(op: ops.ClipMask, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    inside = (op.low <= x) & (x <= op.high) if op.closed else (op.low < x) & (x < op.high)
    return np.where(np.isnan(x), x, inside).astype(x.dtype)


def elu(op: ops.Elu, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    return np.where(x > 0, x, op.alpha * np.expm1(np.where(x > 0, 0, x)))


def softplus(x: Array) -> Array:
    result: Array = np.logaddexp(x, x.dtype.type(0))
    return result


BFLOAT16_GRID: Final = 2.0**133
"""How many bfloat16 numbers there are from 0 to 1, if all were as far apart as the least ones."""
LEAST_NORMAL_BFLOAT16: Final = 2.0**-126
BEYOND_BFLOAT16: Final = 2.0**128
_ERF: Final = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """Return the error function of each number, which NumPy lacks and Python has."""
    return np.asarray(_ERF(x), x.dtype)


def power(op: ops.Power, operands: list[Array], batch: int) -> Array:
    result: Array = operands[0] ** operands[0].dtype.type(op.exponent)
    return result


def round_bfloat16(x: Array) -> Array:
    """Return the nearest bfloat16 numbers: by their bits, and for float64 by their range."""
    narrow = x.dtype == np.float32
    integer, dropped, quiet = ("u4", 16, 1 << 22) if narrow else ("u8", 45, 1 << 51)
    bits: Array = x.view(integer)
    nearest = bits + (bits >> dropped & 1) + ((1 << (dropped - 1)) - 1)
    kept = np.where(np.isnan(x), bits | quiet, nearest) >> dropped << dropped
    result: Array = np.asarray(kept).view(x.dtype)
    if narrow:
        return result
    small = np.rint(x * BFLOAT16_GRID) / BFLOAT16_GRID
    result = np.where(np.abs(x) < LEAST_NORMAL_BFLOAT16, small, result)
    return np.where(np.abs(result) >= BEYOND_BFLOAT16, np.copysign(np.inf, x), result)


KERNELS: Kernels = {
    ops.Constant: constant,
    ops.Add: _ufunc(np.add),
    ops.Subtract: _ufunc(np.subtract),
    ops.Multiply: _ufunc(np.multiply),
    ops.Divide: _ufunc(np.divide),
    ops.Maximum: _ufunc(np.maximum),
    ops.Minimum: _ufunc(np.minimum),
    ops.Negate: _ufunc(np.negative),
    ops.Abs: _ufunc(np.abs),
    ops.Sign: _ufunc(np.sign),
    ops.Power: power,
    ops.Exp: _ufunc(np.exp),
    ops.Log: _ufunc(np.log),
    ops.Sqrt: _ufunc(np.sqrt),
    ops.Sin: _ufunc(np.sin),
    ops.Cos: _ufunc(np.cos),
    ops.Erf: _ufunc(erf),
    ops.Tanh: _ufunc(np.tanh),
    ops.Sigmoid: _ufunc(sigmoid),
    ops.Relu: _ufunc(relu),
    ops.ReluMask: _ufunc(relu_mask),
    ops.Softplus: _ufunc(softplus),
    ops.Elu: elu,
    ops.Clip: clip,
    ops.ClipMask: clip_mask,
    ops.RoundBfloat16: _ufunc(round_bfloat16),
    ops.StopGradient: _ufunc(lambda x: x),
    ops.AllReduce: _ufunc(lambda x: x),
    ops.AllGather: _ufunc(lambda x: x),
    ops.BroadcastFrom: _ufunc(lambda x: x),
    ops.KeepOn: _ufunc(lambda x: x),
    ops.Greater: _ufunc(np.greater),
    ops.GreaterEqual: _ufunc(np.greater_equal),
    ops.Equal: _ufunc(np.equal),
    ops.LogicalAnd: _ufunc(np.logical_and),
    ops.LogicalOr: _ufunc(np.logical_or),
    ops.LogicalNot: _ufunc(np.logical_not),
    ops.Select: _ufunc(np.where),
}
