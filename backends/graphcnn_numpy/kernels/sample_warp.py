"""Kernels that read images between their pixels, at places that each sample's own map says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.ops.sample_warp import UNITS, WEIGHT_BITS
from graphcnn_numpy.kernels.kernel import Kernels


def warp_samples(op: ops.WarpSamples, operands: list[Array], batch: int) -> Array:
    images, *numbers = operands
    first = np.arange(len(images))[:, None, None]
    rows = []
    for row, row_share in _along(numbers[:3], images):
        sides = []
        for column, column_share in _along(numbers[3:], images):
            inside = _inside(row, column, images)
            pixels = images[first, np.where(inside, row, 0), np.where(inside, column, 0)]
            sides.append(column_share * np.where(inside[..., None], pixels, images.dtype.type(0)))
        rows.append(row_share * (sides[0] + sides[1]))
    return np.asarray(rows[0] + rows[1])


def warp_samples_transposed(op: ops.WarpSamplesTransposed, operands: list[Array], batch: int) -> Array:
    deltas, *numbers = operands
    first = np.broadcast_to(np.arange(len(deltas))[:, None, None], deltas.shape[:3])
    total = np.zeros(deltas.shape)
    for row, row_share in _along(numbers[:3], deltas):
        for column, column_share in _along(numbers[3:], deltas):
            inside = _inside(row, column, deltas)
            terms = row_share.astype(np.float64) * column_share.astype(np.float64) * deltas
            np.add.at(total, (first[inside], row[inside], column[inside]), terms[inside])
    return total.astype(deltas.dtype)


def _along(numbers: Sequence[Array], images: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the two pixels along one axis that each place lies between, [N, H, W], and their shares."""
    by_row, by_column, shift = (each[:, None, None] for each in numbers)
    places = by_row * np.arange(images.shape[1])[:, None] + by_column * np.arange(images.shape[2]) + shift
    weights = places >> (UNITS - WEIGHT_BITS) & (2**WEIGHT_BITS - 1)
    t = (weights.astype(images.dtype) * images.dtype.type(2.0**-WEIGHT_BITS))[..., None]
    below = places >> UNITS
    yield below, 1 - t
    yield below + 1, t


def _inside(row: Array, column: Array, images: Array) -> Array:
    inside: Array = (row >= 0) & (row < images.shape[1]) & (column >= 0) & (column < images.shape[2])
    return inside


KERNELS: Kernels = {ops.WarpSamples: warp_samples, ops.WarpSamplesTransposed: warp_samples_transposed}
