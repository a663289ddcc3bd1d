"""Batches: arrays cut into pieces, in order or shuffled by a seed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from graphcnn.arrays import Array


def permutation(samples: int, *seeds: int) -> NDArray[np.int64]:
    """Return the numbers from 0 to below `samples` in an order that is a function of the seeds alone."""
    sequence = np.random.SeedSequence([seed & 0xFFFFFFFFFFFFFFFF for seed in seeds])
    return np.random.Generator(np.random.Philox(sequence)).permutation(samples)


class Batches:
    """Arrays with one row per sample, as batches; the last one may be smaller.

    arrays: of equal length. size: samples per batch, at least 1.
    seed: shuffles; the order depends on the seed and the epoch alone. None keeps the arrays' order.
    """

    def __init__(self, *arrays: Array, size: int, seed: int | None = None) -> None:
        self.arrays = arrays
        self.size = size
        self.seed = seed

    @property
    def samples(self) -> int:
        return len(self.arrays[0])

    def __len__(self) -> int:
        return math.ceil(self.samples / self.size)

    def epoch(self, number: int, begin: int = 0) -> Iterator[tuple[Array, ...]]:
        """Yield the batches of one epoch from batch `begin` on, counted from 0."""
        starts = range(begin * self.size, self.samples, self.size)
        if self.seed is None:
            for start in starts:
                yield tuple(array[start : start + self.size] for array in self.arrays)
            return
        order = permutation(self.samples, self.seed, number)
        for start in starts:
            chosen = order[start : start + self.size]
            yield tuple(array[chosen] for array in self.arrays)
