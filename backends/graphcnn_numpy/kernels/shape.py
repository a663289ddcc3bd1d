"""Kernels that move elements, or multiply matrices: NumPy's own functions."""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.ir import concrete_shape
from graphcnn.ops.interpolation import Grid
from graphcnn.ops.taking import Run
from graphcnn_numpy.kernels.kernel import Kernels
from graphcnn_numpy.kernels.sums import product


def zero_insert(op: ops.ZeroInsert, operands: list[Array], batch: int) -> Array:
    (images,) = operands
    height, width = ((images.shape[1 + a] - 1) * op.factors[a] + 1 for a in (0, 1))
    result = np.zeros((images.shape[0], height, width, images.shape[3]), images.dtype)
    result[:, :: op.factors[0], :: op.factors[1]] = images
    return result


def subsample(op: ops.Subsample, operands: list[Array], batch: int) -> Array:
    return operands[0][:, :: op.factors[0], :: op.factors[1]]


def pad(op: ops.Pad, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    return np.pad(x, op.widths, constant_values=op.value) if op.widths else x


def crop(op: ops.Crop, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    return x[
        tuple(slice(before, size - after) for size, (before, after) in zip(x.shape, op.widths, strict=True))
    ]


def _places(runs: tuple[Run, ...]) -> Array:
    return np.concatenate([first + step * np.arange(count) for first, count, step in runs])


def take(op: ops.Take, operands: list[Array], batch: int) -> Array:
    return operands[0].take(_places(op.runs), op.axis)


def scatter_sum(op: ops.ScatterSum, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    terms = np.moveaxis(x, op.axis, 0)
    total = np.zeros((op.size, *terms.shape[1:]))
    np.add.at(total, _places(op.runs), terms)
    return np.moveaxis(total, 0, op.axis).astype(x.dtype)


def interpolate(op: ops.Interpolate, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    places = np.moveaxis(x, op.axis, -1)
    number, below, above, denominator = _neighbours(Grid(places.shape[-1], op.size, op.align_corners))
    t = ((number - below * denominator) / denominator).astype(x.dtype)
    return np.moveaxis((1 - t) * places[..., below] + t * places[..., above], -1, op.axis)


def interpolate_transposed(op: ops.InterpolateTransposed, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    terms = np.moveaxis(x.astype(np.float64), op.axis, 0)
    number, below, above, denominator = _neighbours(Grid(op.size, len(terms), op.align_corners))
    t = ((number - below * denominator) / denominator).reshape(-1, *[1] * (x.ndim - 1))
    total = np.zeros((op.size, *terms.shape[1:]))
    np.add.at(total, below, (1 - t) * terms)
    np.add.at(total, above, t * terms)
    return np.moveaxis(total, 0, op.axis).astype(x.dtype)


def _neighbours(grid: Grid) -> tuple[Array, Array, Array, int]:
    """Return for each fine place its numerator, the coarse places below and above, and the denominator."""
    number = np.array(grid.numerators())
    below = number // grid.denominator
    return number, below, np.minimum(below + 1, grid.coarse - 1), grid.denominator


def transpose(op: ops.Transpose, operands: list[Array], batch: int) -> Array:
    return operands[0].transpose(op.permutation)


def reshape(op: ops.Reshape, operands: list[Array], batch: int) -> Array:
    return operands[0].reshape(concrete_shape(op.shape, batch))


def broadcast(op: ops.Broadcast, operands: list[Array], batch: int) -> Array:
    return np.broadcast_to(operands[0], concrete_shape(op.shape, batch))


def concatenate(op: ops.Concatenate, operands: list[Array], batch: int) -> Array:
    return np.concatenate(operands, op.axis)


def cast(op: ops.Cast, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    if x.dtype.kind != "f" or op.dtype in ("float32", "float64", "bool"):
        return x.astype(op.dtype)
    # What lies beyond an integer's range becomes its end, and NaN becomes 0; NumPy leaves both open.
    limits = np.iinfo(op.dtype)
    whole = np.trunc(np.nan_to_num(x, nan=0.0))
    inside = (whole > limits.min) & (whole < limits.max)
    result = np.where(whole > 0, limits.max, limits.min).astype(op.dtype)
    np.copyto(result, np.where(inside, whole, 0).astype(op.dtype), where=inside)
    return result


def matmul(op: ops.Matmul, operands: list[Array], batch: int) -> Array:
    return product(*operands)


KERNELS: Kernels = {
    ops.ZeroInsert: zero_insert,
    ops.Subsample: subsample,
    ops.Pad: pad,
    ops.Crop: crop,
    ops.Take: take,
    ops.ScatterSum: scatter_sum,
    ops.Interpolate: interpolate,
    ops.InterpolateTransposed: interpolate_transposed,
    ops.Transpose: transpose,
    ops.Reshape: reshape,
    ops.Broadcast: broadcast,
    ops.Concatenate: concatenate,
    ops.Cast: cast,
    ops.Matmul: matmul,
}
