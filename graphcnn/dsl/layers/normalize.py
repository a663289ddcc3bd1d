"""Images with mean 0 and deviation 1, by what is known of the data they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.base import OneValue
from graphcnn.errors import DataError, OptionError, ShapeError
from graphcnn.ir import TensorType, Value
from graphcnn.ops.vectors import along_last_axis

if TYPE_CHECKING:
    from graphcnn.data.dataset import Dataset

Numbers: TypeAlias = float | Sequence[float]
"""One number for all channels, or one for each."""
AT_ONCE = 1 << 22
"""So many numbers are added up at once: statistics take no copy of the data."""


@dataclass(eq=False)
class Normalize(OneValue):
    """Subtracts the mean of each channel and divides by its deviation, in training and in inference alike.

    mean, deviation: one number for all channels, or one for each, of images from 0 to 1, as networks take
    those of bytes. `gcn.Normalize.of(images)` computes them.
    They are constants of the graph.
    """

    mean: Numbers
    deviation: Numbers

    kind: ClassVar[str] = "normalize"

    def check(self) -> None:
        for name in ("mean", "deviation"):
            given = np.asarray(getattr(self, name))
            if (
                given.dtype.kind not in "iuf"
                or given.ndim > 1
                or not given.size
                or not np.isfinite(given).all()
            ):
                raise OptionError(
                    f"{name}={getattr(self, name)!r:.60} is neither a number nor one for each channel",
                    mend=f"{name}=0.5, or {name}=(0.49, 0.48, 0.45); gcn.Normalize.of(images) computes both",
                )
            setattr(self, name, given.astype(float).tolist())
        if not (np.asarray(self.deviation) > 0).all():
            raise OptionError(
                f"deviation={self.deviation!r:.60} is to be divided by, and is not above 0",
                mend="give a channel that never changes the deviation 1",
            )

    @classmethod
    def of(cls, images: Array | Dataset) -> Self:
        """Return the layer with the mean and the deviation of each channel of images [n, H, W, C].

        images: floating-point numbers, or bytes, which are counted as their 255th parts; any array
        [n, ..., C] will do. Of a `Dataset` they are those to train on. A channel that never changes has the
        deviation 1. Raises DataError for what is no such array.
        """
        return cls(*statistics(getattr(images, "images", images)))

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        factors = [1 / each for each in self._of_channels("deviation", x.type)]
        mean = along_last_axis(build, self._of_channels("mean", x.type), x.type)
        centred = build(ops.Subtract(), x, mean)
        return build(ops.Multiply(), centred, along_last_axis(build, factors, x.type))

    def _of_channels(self, name: str, images: TensorType) -> list[float]:
        given, channels = getattr(self, name), images.static(images.rank - 1)
        numbers = [given] * channels if isinstance(given, float) else given
        if len(numbers) != channels:
            raise ShapeError(
                f"{name} has {len(numbers)} numbers, but {images} has {channels} channels",
                mend=f"give one number, or {channels}; gcn.Normalize.of(images) computes them",
            )
        return list(numbers)


def statistics(images: object) -> tuple[list[float], list[float]]:
    """Return mean and deviation of each channel, the last axis of an array of floats or bytes.

    Of bytes they are computed from counts of whole numbers, exactly but for the last rounding; of floats in
    float64 and in two passes.
    """
    array = np.asarray(images)
    is_bytes = array.dtype == np.uint8
    if array.ndim < 2 or not array.size or not (is_bytes or array.dtype.kind == "f"):
        raise DataError(
            f"statistics are those of images [n, H, W, C], not of {array.dtype}{list(array.shape)}",
            mend="gcn.Normalize.of(images), where images are floats, or bytes as uint8",
        )
    rows = array.reshape(-1, array.shape[-1]) if array.flags.c_contiguous else None
    parts = _parts(array if rows is None else rows)
    if is_bytes:
        counts = sum(np.stack([np.bincount(channel, minlength=256) for channel in part.T]) for part in parts)
        values = np.arange(256) / 255
        share = np.asarray(counts) / (array.size // array.shape[-1])  # [C, 256]
        mean = share @ values
        variance = (share * np.square(values - mean[:, None])).sum(1)
    else:
        count = array.size // array.shape[-1]
        mean = np.sum([part.sum(0, dtype=np.float64) for part in parts], 0) / count
        variance = np.sum([np.square(part - mean).sum(0) for part in parts], 0) / count
    deviation = np.sqrt(variance)
    if not np.isfinite(deviation).all():
        raise DataError("images hold NaN or infinity", mend="leave such samples out: np.isfinite(images)")
    return mean.tolist(), np.where(deviation > 0, deviation, 1.0).tolist()


def _parts(array: Array) -> list[Array]:
    """Return an array as views [n, C] of parts of it, each of at most AT_ONCE numbers or one row."""
    step = max(1, AT_ONCE // max(1, array[:1].size))
    return [array[first : first + step].reshape(-1, array.shape[-1]) for first in range(0, len(array), step)]
