"""Batches: rows of arrays, in order or shuffled by a seed, in the element types that a network takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphcnn.arrays import Array

Gather: TypeAlias = Callable[[Array, Array | None, Array], None]
"""`gather(array, rows, out)` writes those rows of an array, or all, into `out`: see `gather`."""
WHITE: Final = 255
"""The greatest pixel of images in bytes, which is 1 for a network."""


def gather(array: Array, rows: Array | None, out: Array) -> None:
    """Write rows of an array into another array, in its element type.

    array: [N, ...]. rows: the numbers of rows, from 0 to below N  # int64 [n]; None is all rows in order.
    out: [n, ...]. Bytes that become floating-point numbers are pixels: they are divided by 255, with the bits
    of `array.astype(out.dtype) / out.dtype.type(255)`.
    """
    if rows is not None and array.dtype == out.dtype and array.flags.c_contiguous:
        array.take(rows, 0, out, "clip")  # the mode that needs no buffer; all rows are there anyway
        return
    chosen = array if rows is None else array[rows]
    if array.dtype == np.uint8 and out.dtype.kind == "f":
        np.divide(chosen, WHITE, out=out, dtype=out.dtype)
    else:
        np.copyto(out, chosen)


def permutation(samples: int, *seeds: int) -> NDArray[np.int64]:
    """Return the numbers from 0 to below `samples` in an order that is a function of the seeds alone."""
    sequence = np.random.SeedSequence([seed & 0xFFFFFFFFFFFFFFFF for seed in seeds])
    return np.random.Generator(np.random.Philox(sequence)).permutation(samples)


class Batches:
    """Arrays with one row per sample, as batches; the last one may be smaller.

    arrays: of equal length. size: samples per batch, at least 1.
    seed: shuffles; the order depends on the seed and the epoch alone. None keeps the arrays' order.
    rows: numbers of the rows that are taken, by default all  # int64 [n]
    dtypes: of the batches' arrays, by default those of the arrays, which stay as they are: a batch is
    converted when its rows are gathered. gather: what does that.
    """

    def __init__(
        self,
        *arrays: Array,
        size: int,
        seed: int | None = None,
        rows: NDArray[np.int64] | None = None,
        dtypes: Sequence[str | np.dtype[Any]] | None = None,
        gather: Gather = gather,
    ) -> None:
        self.arrays: Final = [np.asarray(array) for array in arrays]  # of a file, too, no more than an array
        self.size: Final = size
        self.seed: Final = seed
        self._chosen: Final = rows
        self._dtypes: Final = [np.dtype(each) for each in dtypes or [array.dtype for array in arrays]]
        self._gather: Final = gather

    @property
    def samples(self) -> int:
        return len(self.arrays[0] if self._chosen is None else self._chosen)

    def __len__(self) -> int:
        return math.ceil(self.samples / self.size)

    def epoch(self, number: int, begin: int = 0) -> Iterator[tuple[Array, ...]]:
        """Yield the batches of one epoch from batch `begin` on, counted from 0."""
        for rows in self.rows(number, begin):
            yield self.take(rows)

    def rows(self, number: int, begin: int = 0) -> Iterator[slice | NDArray[np.int64]]:
        """Yield the rows of each batch of one epoch from batch `begin` on, counted from 0."""
        order = self._chosen
        if self.seed is not None:
            shuffled = permutation(self.samples, self.seed, number)
            order = shuffled if order is None else order[shuffled]
        for start in range(begin * self.size, self.samples, self.size):
            rows = slice(start, min(start + self.size, self.samples))
            yield rows if order is None else order[rows]

    def take(self, rows: slice | NDArray[np.int64]) -> tuple[Array, ...]:
        """Return these rows of all arrays; rows in order that need no conversion are views."""
        return tuple(
            [self._taken(array, dtype, rows) for array, dtype in zip(self.arrays, self._dtypes, strict=True)]
        )

    def _taken(self, array: Array, dtype: np.dtype[Any], rows: slice | NDArray[np.int64]) -> Array:
        if isinstance(rows, slice):
            part = array[rows]
            return part if part.dtype == dtype else converted(part, dtype, self._gather)
        if array.dtype == dtype and array.flags.c_contiguous:
            return array.take(rows, 0)
        out = np.empty((len(rows), *array.shape[1:]), dtype)
        self._gather(array, rows, out)
        return out


def converted(array: Array, dtype: str | np.dtype[Any], gather: Gather = gather) -> Array:
    """Return an array in an element type, as `gather` converts; it itself, where it is of that type."""
    if array.dtype == dtype:
        return array
    out = np.empty(array.shape, dtype)
    gather(array, None, out)
    return out
