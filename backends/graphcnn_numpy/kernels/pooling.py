"""Pooling: a loop over the few taps of the window, each tap a strided view of all windows at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn_numpy.kernels.kernel import Kernels
from graphcnn_numpy.kernels.sums import in_pairs


def taps(op: Any, padded: Array, pooled: tuple[int, ...]) -> Iterator[Array]:
    """Yield for each tap of the window, row by row, the view [N, H', W', C] of that tap in every window."""
    height, width = pooled[1:3]
    for row in range(op.size[0]):
        for column in range(op.size[1]):
            yield padded[
                :,
                row : row + op.stride[0] * (height - 1) + 1 : op.stride[0],
                column : column + op.stride[1] * (width - 1) + 1 : op.stride[1],
            ]


def _padded(op: Any, images: Array, value: float) -> Array:
    if not any(map(any, op.padding)):
        return images
    return np.pad(images, ((0, 0), *op.padding, (0, 0)), constant_values=value)


def _pooled_shape(op: Any, images: Array) -> tuple[int, ...]:
    sizes = [(images.shape[1 + a] + sum(op.padding[a]) - op.size[a]) // op.stride[a] + 1 for a in (0, 1)]
    return images.shape[0], *sizes, images.shape[3]


def _cropped(op: Any, padded: Array) -> Array:
    (top, bottom), (left, right) = op.padding
    return padded[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right]


def max_pool2d(op: ops.MaxPool2d, operands: list[Array], batch: int) -> tuple[Array, Array]:
    (images,) = operands
    views = list(taps(op, _padded(op, images, -np.inf), _pooled_shape(op, images)))
    winner = views[0].copy()
    index = np.zeros(winner.shape, op.index_dtype)
    for number, view in enumerate(views[1:], 1):
        better = view > winner
        np.copyto(winner, view, where=better)
        np.copyto(index, number, where=better)
    if any(map(any, op.padding)):
        first = _first_real_unit(op, images)
        np.copyto(index, first, where=np.isneginf(winner), casting="unsafe")
    _let_nan_win(views, winner, index)
    return winner, index


def _first_real_unit(op: ops.MaxPool2d, images: Array) -> Array:
    """Return for each window its first unit that is no padding: the winner where all are minus infinity."""
    real = np.ones((1, *images.shape[1:3], 1), bool)
    units = taps(op, _padded(op, real, 0), _pooled_shape(op, real))
    first: Array = np.stack(list(units)).argmax(0)
    return first


def _let_nan_win(views: list[Array], winner: Array, index: Array) -> None:
    """Make the first NaN of a window its winner, so that a NaN is never hidden by pooling."""
    for number in reversed(range(len(views))):
        broken = np.isnan(views[number])
        if broken.any():
            winner[broken] = np.nan
            index[broken] = number


def route_to_winner2d(op: ops.RouteToWinner2d, operands: list[Array], batch: int) -> Array:
    delta, index = operands
    images = _padded_zeros(op, delta)
    for number, view in enumerate(taps(op, images, delta.shape)):
        view += np.where(index == number, delta, 0)
    return _cropped(op, images)


def gather_winner2d(op: ops.GatherWinner2d, operands: list[Array], batch: int) -> Array:
    images, index = operands
    gathered = np.zeros(index.shape, images.dtype)
    for number, view in enumerate(taps(op, _padded(op, images, 0), index.shape)):
        np.copyto(gathered, view, where=index == number)
    return gathered


def sum_pool2d(op: Any, operands: list[Array], batch: int) -> Array:
    (images,) = operands
    return in_pairs(taps(op, _padded(op, images, 0), _pooled_shape(op, images)))


def spread_to_block2d(op: ops.SpreadToBlock2d, operands: list[Array], batch: int) -> Array:
    (delta,) = operands
    images = _padded_zeros(op, delta)
    for view in taps(op, images, delta.shape):
        view += delta
    return _cropped(op, images)


def _padded_zeros(op: ops.RouteToWinner2d | ops.SpreadToBlock2d, delta: Array) -> Array:
    _, height, width, _ = op.shape
    assert isinstance(height, int)
    assert isinstance(width, int)
    padded = (delta.shape[0], height + sum(op.padding[0]), width + sum(op.padding[1]), delta.shape[3])
    return np.zeros(padded, delta.dtype)


def average_pool2d(op: ops.AveragePool2d, operands: list[Array], batch: int) -> Array:
    result: Array = sum_pool2d(op, operands, batch) * operands[0].dtype.type(1 / (op.size[0] * op.size[1]))
    return result


def l2_pool2d(op: ops.L2Pool2d, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    squares = np.square(x, dtype=np.float64)  # which may be beyond the range of float32
    return np.sqrt(sum_pool2d(op, [squares], batch)).astype(x.dtype)


KERNELS: Kernels = {
    ops.MaxPool2d: max_pool2d,
    ops.RouteToWinner2d: route_to_winner2d,
    ops.GatherWinner2d: gather_winner2d,
    ops.SumPool2d: sum_pool2d,
    ops.SpreadToBlock2d: spread_to_block2d,
    ops.AveragePool2d: average_pool2d,
    ops.L2Pool2d: l2_pool2d,
}
