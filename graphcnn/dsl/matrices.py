"""Products of matrices and of batches of them, by NumPy's rules for `@`."""

from __future__ import annotations

import math

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.errors import ShapeError
from graphcnn.ir import BATCH, Dim, TensorType, Value


def product(build: Builder, x: Value, y: Value) -> Value:
    """Append x @ y: the matrices of the last two axes, for every place along the axes in front.

    Axes in front are broadcast together. A vector counts as a row on the left, as a column on the right, and
    the result is without that axis. Raises ShapeError where the two do not fit.
    """
    _check(x.type, y.type)
    left = x if x.type.rank > 1 else build(ops.Reshape((1, *x.type.shape)), x)
    right = y if y.type.rank > 1 else build(ops.Reshape((*y.type.shape, 1)), y)
    result = _product(build, left, right)
    shape = list(result.type.shape)
    if y.type.rank == 1:
        del shape[-1]
    if x.type.rank == 1:
        del shape[-1 if y.type.rank == 1 else -2]
    return result if len(shape) == result.type.rank else build(ops.Reshape(tuple(shape)), result)


def _check(x: TensorType, y: TensorType) -> None:
    if x.is_scalar or y.is_scalar:
        raise ShapeError(
            f"matmul multiplies two matrices, but got {x} and {y}",
            facts=["a number is no matrix"],
            mend="use * for numbers and element-wise products",
        )
    columns, rows = x.shape[-1], y.shape[0 if y.rank == 1 else -2]
    if columns != rows:
        raise ShapeError(
            f"matmul of {x} and {y}: {columns} columns on the left, {rows} rows on the right",
            facts=[f"{columns} != {rows}"],
            mend="make them equal: gcn.transpose(x) exchanges the last two axes, gcn.flatten(x) makes rows "
            "of [N, H, W, C], and gcn.Dense(units) makes weights that fit its input",
        )


def _product(build: Builder, x: Value, y: Value) -> Value:
    """Append the product of two values of at least two axes."""
    if y.type.rank == 2 and x.type.rank > 2 and not y.type.has_batch:
        if not x.type.has_batch:
            return _rows_of_all(build, x, y)
        if x.type.shape[0] == BATCH:
            return _pixels(build, x, y)
    front = _together(x.type, y.type)
    return build(ops.Matmul(), *(_with_front(build, value, front) for value in (x, y)))


def _rows_of_all(build: Builder, x: Value, y: Value) -> Value:
    """Append the product of many matrices with one: that of all their rows."""
    *rows, depth = map(int, x.type.shape)
    flat = build(ops.Reshape((math.prod(rows), depth)), x)
    return build(ops.Reshape((*rows, y.type.shape[1])), build(ops.Matmul(), flat, y))


def _pixels(build: Builder, x: Value, y: Value) -> Value:
    """Append the product of every sample's rows with one matrix: a 1x1 correlation.

    Its gradient with respect to the matrix is summed over the batch as it goes, with no matrix per sample.
    """
    *rows, depth = map(int, x.type.shape[1:])
    maps = build(ops.Reshape((BATCH, 1, math.prod(rows), depth)), x)
    filters = build(ops.Reshape((1, 1, *y.type.shape)), y)
    return build(ops.Reshape((BATCH, *rows, y.type.shape[1])), build(ops.Correlate2d(), maps, filters))


def _together(x: TensorType, y: TensorType) -> tuple[Dim, ...]:
    """Return what the axes in front are broadcast to."""
    rank = max(x.rank, y.rank) - 2
    front: list[Dim] = []
    for axis in range(rank):
        sizes = [type.shape[axis - rank - 2] if axis >= rank + 2 - type.rank else 1 for type in (x, y)]
        different = [size for size in dict.fromkeys(sizes) if size != 1]
        if len(different) > 1:
            raise ShapeError(
                f"matmul of {x} and {y}: their axes in front of the matrices cannot be brought to one shape",
                facts=[f"{sizes[0]} and {sizes[1]}: a pair of sizes must be equal or contain a 1"],
                mend="gcn.reshape or gcn.transpose one side, so that equal axes stand above each other",
            )
        front.append(different[0] if different else 1)
    if BATCH in front and BATCH in (*x.shape[-2:], *y.shape[-2:]):
        raise ShapeError(
            f"matmul of {x} and {y} would pair every sample with every sample",
            facts=["the batch counts matrices on one side, and rows or columns on the other"],
            mend="for a row of each sample: gcn.reshape(x, (1, size)) @ y, of shape [N, 1, ...]",
        )
    return tuple(front)


def _with_front(build: Builder, value: Value, front: tuple[Dim, ...]) -> Value:
    shape = (*front, *value.type.shape[-2:])
    return value if value.type.shape == shape else build(ops.Broadcast(shape), value)
