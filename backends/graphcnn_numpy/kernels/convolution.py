"""Cross-correlation and convolution: windows gathered into a matrix (im2col), then one matrix product."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.ops.attributes import Pair
from graphcnn_numpy.kernels.kernel import Kernels
from graphcnn_numpy.kernels.sums import product


def windows(images: Array, positions: Pair, step: Pair, taps: Pair, spacing: Pair) -> Array:
    """Return a read-only view [N, P1, P2, T1, T2, C] of windows: no element is copied.

    Window (p1, p2) begins at pixel (p1·step, p2·step); its taps lie `spacing` pixels apart.
    """
    n, h, w, c = images.strides
    return as_strided(
        images,
        (images.shape[0], *positions, *taps, images.shape[3]),
        (n, step[0] * h, step[1] * w, spacing[0] * h, spacing[1] * w, c),
        writeable=False,
    )


def correlate2d(op: ops.Correlate2d | ops.Convolve2d, operands: list[Array], batch: int) -> Array:
    images, window = operands
    if any(map(any, op.padding)):
        images = np.pad(images, ((0, 0), *op.padding, (0, 0)))
    if op.sum_over == "batch":
        return _summed_over_batch(op, images, window)
    k1, k2, channels, filters = window.shape
    positions = _positions(images, (k1, k2), op.stride, op.dilation)
    columns = windows(images, positions, op.stride, (k1, k2), op.dilation)
    if op.groups == 1:
        total = product(columns.reshape(-1, k1 * k2 * channels), window.reshape(-1, filters))
    else:
        grouped = columns.reshape(-1, k1 * k2, op.groups, channels).transpose(2, 0, 1, 3)
        by_group = window.reshape(k1 * k2, channels, op.groups, -1).transpose(2, 0, 1, 3)
        total = product(
            grouped.reshape(op.groups, -1, k1 * k2 * channels),
            by_group.reshape(op.groups, k1 * k2 * channels, -1),
        ).transpose(1, 0, 2)
    return total.reshape(images.shape[0], *positions, filters)


def _summed_over_batch(op: ops.Correlate2d | ops.Convolve2d, images: Array, delta: Array) -> Array:
    """Return [R1, R2, C / groups, D]: each tap of the result meets every position of the delta."""
    samples, height, width, filters = delta.shape
    taps = _positions(images, (height, width), op.stride, op.dilation)
    columns = windows(images, (height, width), op.dilation, taps, op.stride)
    channels = images.shape[3] // op.groups
    if op.groups == 1:
        total = product(columns.reshape(samples * height * width, -1).T, delta.reshape(-1, filters))
        return total.reshape(*taps, channels, filters)
    grouped = columns.reshape(-1, taps[0] * taps[1], op.groups, channels).transpose(2, 1, 3, 0)
    by_group = delta.reshape(-1, op.groups, filters // op.groups).transpose(1, 0, 2)
    total = product(grouped.reshape(op.groups, -1, samples * height * width), by_group)
    return total.transpose(1, 0, 2).reshape(*taps, channels, filters)


def _positions(images: Array, window: Pair, step: Pair, spacing: Pair) -> Pair:
    rows, columns = ((images.shape[1 + a] - spacing[a] * (window[a] - 1) - 1) // step[a] + 1 for a in (0, 1))
    return rows, columns


def convolve2d(op: ops.Convolve2d, operands: list[Array], batch: int) -> Array:
    images, window = operands
    axes = (0, 1) if op.sum_over == "channels" else (1, 2)
    return correlate2d(op, [images, np.flip(window, axes)], batch)


def rot180(op: ops.Rot180, operands: list[Array], batch: int) -> Array:
    return np.flip(operands[0], op.axes)


KERNELS: Kernels = {ops.Correlate2d: correlate2d, ops.Convolve2d: convolve2d, ops.Rot180: rot180}
