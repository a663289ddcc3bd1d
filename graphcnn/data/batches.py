"""Batches: arrays cut into pieces, in order or shuffled by a seed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from graphcnn.arrays import Array


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

    def epoch(self, number: int) -> Iterator[tuple[Array, ...]]:
        """Yield the batches of one epoch."""
        if self.seed is None:
            for start in range(0, self.samples, self.size):
                yield tuple(array[start : start + self.size] for array in self.arrays)
            return
        sequence = np.random.SeedSequence([self.seed & 0xFFFFFFFFFFFFFFFF, number])
        order = np.random.Generator(np.random.Philox(sequence)).permutation(self.samples)
        for start in range(0, self.samples, self.size):
            chosen = order[start : start + self.size]
            yield tuple(array[chosen] for array in self.arrays)
