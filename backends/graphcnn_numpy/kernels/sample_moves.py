"""Kernels that move the pixels of each sample by numbers of its own."""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn_numpy.kernels.kernel import Kernels


def flip_samples(op: ops.FlipSamples, operands: list[Array], batch: int) -> Array:
    samples, flags = operands
    chosen = flags.reshape(-1, *[1] * (samples.ndim - 1))
    return np.where(chosen, np.flip(samples, op.axis), samples)


def crop_samples(op: ops.CropSamples, operands: list[Array], batch: int) -> Array:
    images, *places = operands
    return _shifted(images, op.size, [place.astype(np.int64) for place in places], op.value)


def paste_samples(op: ops.PasteSamples, operands: list[Array], batch: int) -> Array:
    windows, *places = operands
    return _shifted(windows, op.size, [-place.astype(np.int64) for place in places], 0.0)


def _shifted(images: Array, size: tuple[int, int], begins: list[Array], value: float) -> Array:
    """Return what lies from each sample's row and column on, and the value beside the images."""
    places, inside = [], []
    for axis in (0, 1):
        place = begins[axis][:, None] + np.arange(size[axis])
        held = (place >= 0) & (place < images.shape[1 + axis])
        places.append(np.where(held, place, 0))
        inside.append(held)
    found = images[np.arange(len(images))[:, None, None], places[0][:, :, None], places[1][:, None, :]]
    return np.where(_boxes(*inside), found, images.dtype.type(value))


def erase_samples(op: ops.EraseSamples, operands: list[Array], batch: int) -> Array:
    images, *box = operands
    within = []
    for axis in (0, 1):
        distance = np.arange(images.shape[1 + axis]) - box[axis].astype(np.int64)[:, None]
        within.append((distance >= 0) & (distance < box[2 + axis][:, None]))
    return np.where(_boxes(*within), images.dtype.type(op.value), images)


def _boxes(rows: Array, columns: Array) -> Array:
    """Return which pixels are in the rows and columns that hold, of each sample."""
    boxes: Array = rows[:, :, None, None] & columns[:, None, :, None]
    return boxes


KERNELS: Kernels = {
    ops.FlipSamples: flip_samples,
    ops.CropSamples: crop_samples,
    ops.PasteSamples: paste_samples,
    ops.EraseSamples: erase_samples,
}
