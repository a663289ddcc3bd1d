"""Losses and the softmax they rest on."""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.errors import DataError
from graphcnn_numpy.kernels.kernel import Kernels
from graphcnn_numpy.kernels.sums import summed


def log_softmax(op: ops.LogSoftmax, operands: list[Array], batch: int) -> Array:
    (x,) = operands
    shifted: Array = x - x.max(-1, keepdims=True)
    total = summed(np.exp(shifted), (shifted.ndim - 1,), keep=True).astype(x.dtype)
    result: Array = shifted - np.log(total)
    return result


def one_hot(op: ops.OneHot, operands: list[Array], batch: int) -> Array:
    (labels,) = operands
    rows: Array = (labels[..., None] == np.arange(op.classes)).astype(op.dtype)
    return rows


def softmax_cross_entropy(op: ops.SoftmaxCrossEntropy, operands: list[Array], batch: int) -> Array:
    logits, labels = operands
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise DataError(
            f"the labels {labels.min()} to {labels.max()} do not fit {logits.shape[1]} classes",
            mend=f"number the classes from 0 to {logits.shape[1] - 1}",
        )
    likelihood = log_softmax(ops.LogSoftmax(), [logits], batch)
    return -np.take_along_axis(likelihood, labels[:, None], 1)[:, 0]


def squared_error(op: ops.SquaredError, operands: list[Array], batch: int) -> Array:
    outputs, targets = operands
    squares = np.square(targets - outputs)
    total = summed(squares, tuple(range(1, squares.ndim)), keep=False)
    return (total * 0.5).astype(outputs.dtype)


KERNELS: Kernels = {
    ops.LogSoftmax: log_softmax,
    ops.OneHot: one_hot,
    ops.SoftmaxCrossEntropy: softmax_cross_entropy,
    ops.SquaredError: squared_error,
}
