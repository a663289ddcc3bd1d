"""Batches: rows of arrays, in order or shuffled by a seed, in the element types that a network takes."""

from __future__ import annotations

import functools
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphcnn.arrays import Array

Gather: TypeAlias = Callable[[Array, Array | None, Array], None]
"""`gather(array, rows, out)` writes those rows of an array, or all, into `out`: see `gather`.

One that can work beside its caller has a method `ahead(array, rows, dtype)` as well, which returns a `Begin`.
"""
End: TypeAlias = Callable[[], object]
"""Called once, it returns when what was begun is done."""
Begin: TypeAlias = Callable[[int, Array], End]
"""`begin(first, out)` begins to write the chosen rows of an array, from the first one on, into `out`."""
Needed: TypeAlias = Callable[[int], Sequence[range]]
"""`needed(samples)` says which rows of a batch of so many are needed here, where others have the rest."""
WHITE: Final = 255
"""The greatest pixel of images in bytes, which is 1 for a network."""
AT_ONCE: Final = 1 << 20
"""Bytes of smaller batches that are gathered together, since each time takes some microseconds."""
LINE: Final = 64
"""Bytes of a cache line; to write across two takes longer."""
ROOMS: Final = 3
"""At most: for rows that are used, that are gathered, and that whoever used them lets go a bit later."""


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
    converted when its rows are gathered. gather: what does that. needed: of each array, which rows of a batch
    are gathered; None, as by default, is all. The others are not read, and hold anything.
    """

    def __init__(
        self,
        *arrays: Array,
        size: int,
        seed: int | None = None,
        rows: NDArray[np.int64] | None = None,
        dtypes: Sequence[str | np.dtype[Any]] | None = None,
        gather: Gather = gather,
        needed: Sequence[Needed | None] | None = None,
    ) -> None:
        self.arrays: Final = [np.asarray(array) for array in arrays]  # of a file, too, no more than an array
        self.size: Final = size
        self.seed: Final = seed
        self._chosen: Final = rows
        self._dtypes: Final = [np.dtype(each) for each in dtypes or [array.dtype for array in arrays]]
        self._gather: Final = gather
        self._needed: Final = needed or [None] * len(arrays)
        shapes = [array.shape[1:] for array in self.arrays]
        row = sum(map(_bytes, shapes, self._dtypes))
        together = size * max(1, AT_ONCE // max(1, row * size))
        self._together: Final = max(1, min(together, self.samples))
        """How many rows are gathered together: those of whole batches, or all."""
        is_small = row * self._together <= AT_ONCE
        self._ahead: Final = getattr(gather, "ahead", None) if is_small else None
        """What begins to gather rows, where they stay in a cache until they are used."""
        rooms = _kept_rooms if is_small else _Rooms
        self._rooms: Final = [
            rooms((self._together, *shape), dtype) for shape, dtype in zip(shapes, self._dtypes, strict=True)
        ]

    @property
    def samples(self) -> int:
        return len(self.arrays[0] if self._chosen is None else self._chosen)

    def __len__(self) -> int:
        return math.ceil(self.samples / self.size)

    def epoch(self, number: int, begin: int = 0) -> Iterator[tuple[Array, ...]]:
        """Yield the batches of one epoch from batch `begin` on, counted from 0.

        Their arrays are views: of what is gathered for several batches, or of the arrays themselves, where
        these are in order and need no conversion.
        """
        start, samples = begin * self.size, self.samples
        if start >= samples:
            return
        order = self._order(number)
        columns = [self._column(place, order) for place in range(len(self.arrays))]
        # The first batch is gathered alone: somebody waits for it.
        bounds = [start, *range(start + self.size, samples, self._together), samples]
        batches: Iterator[tuple[Array, ...]] = iter(())
        is_one = True
        for first, last in pairwise(bounds):
            # After one more, nobody uses the memory of those before.
            yield from islice(batches, None if self._ahead is None else 0 if is_one else 1)
            begun = [column(first, last) for column in columns]
            try:
                yield from batches
            finally:  # nobody is to write into memory that is gone
                for _, end in begun:
                    end()
            batches, is_one = self._cut([array for array, _ in begun]), last - first <= self.size
        yield from batches

    def _cut(self, arrays: list[Array]) -> Iterator[tuple[Array, ...]]:
        """Yield the batches of which arrays hold the rows."""
        for start in range(0, len(arrays[0]), self.size):
            yield tuple([array[start : start + self.size] for array in arrays])

    def _order(self, number: int) -> NDArray[np.int64] | None:
        """Return the rows of an epoch; None for all in order."""
        if self.seed is None:
            return self._chosen
        shuffled = permutation(self.samples, self.seed, number)
        return shuffled if self._chosen is None else self._chosen[shuffled]

    def _column(self, place: int, order: NDArray[np.int64] | None) -> Callable[[int, int], tuple[Array, End]]:
        """Return what begins to gather rows of one of the arrays, from the first to below the last."""
        array, rooms, needed = self.arrays[place], self._rooms[place], self._needed[place]
        if array.dtype == self._dtypes[place]:
            if order is None:
                return lambda first, last: (array[first:last], _nothing)
            if array.ndim == 1:
                return lambda first, last: (array[order[first:last]], _nothing)
        begin = (
            at_the_end(self._gather, array, order)
            if self._ahead is None
            else self._ahead(array, order, rooms.dtype)
        )

        def begun(first: int, last: int) -> tuple[Array, End]:
            out = rooms.array(last - first)
            if needed is None:
                return out, begin(first, out)
            own = self._own(needed, last - first)
            ends = [begin(first + rows.start, out[rows.start : rows.stop]) for rows in own]
            return out, lambda: [end() for end in ends]

        return begun

    def _own(self, needed: Needed, count: int) -> list[range]:
        """Return which of so many rows of whole batches are needed."""
        return [
            range(start + rows.start, start + rows.stop)
            for start in range(0, count, self.size)
            for rows in needed(min(self.size, count - start))
            if rows
        ]


def _nothing() -> None:
    """All is done already."""


def at_the_end(gather: Gather, array: Array, rows: NDArray[np.int64] | None) -> Begin:
    """Return what gathers the chosen rows of an array, or all, when their gathering is to end."""

    def begin(first: int, out: Array) -> End:
        chosen = slice(first, first + len(out))
        if rows is None:
            return functools.partial(gather, array[chosen], None, out)
        return functools.partial(gather, array, rows[chosen], out)

    return begin


class _Rooms:
    """Memory for rows, which is used again once nobody has the array any more, nor a part of it.

    New memory takes longer than what is written there: the system looks for it page by page.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.dtype: Final = dtype
        self._shape = shape
        self._rooms: deque[Array] = deque(maxlen=ROOMS)

    def array(self, count: int) -> Array:
        """Return an array of so many rows, to be filled."""
        room = self._unused()
        if room is None:
            room = self._new()
        rows = room[:count]
        self._rooms.append(room)
        return rows

    def _unused(self) -> Array | None:
        """Take a room out that nobody uses, if there is one; no other thread finds it there meanwhile."""
        with suppress(IndexError):
            for _ in range(len(self._rooms)):
                room = self._rooms.popleft()
                if _references(room) == _unshared():
                    return room
                self._rooms.append(room)
        return None

    def _new(self) -> Array:
        """Return a room, which begins at a cache line."""
        size = _bytes(self._shape, self.dtype)
        memory = np.empty(size + LINE, np.uint8)
        begin = -memory.ctypes.data % LINE
        return memory[begin : begin + size].view(self.dtype).reshape(self._shape)


def _references(room: Array) -> int:
    """Return how many refer to the memory of an array: each array that is a part of it is one more."""
    return sys.getrefcount(room.base)


@functools.cache
def _unshared() -> int:
    """Return how many refer to memory that one array is made of."""
    return _references(np.empty(1)[:])


_kept_rooms: Final = functools.lru_cache(4)(_Rooms)
"""Of batches of the latest kinds, which are kept for the next epochs of such."""


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def converted(array: Array, dtype: str | np.dtype[Any], gather: Gather = gather) -> Array:
    """Return an array in an element type, as `gather` converts; it itself, where it is of that type."""
    if array.dtype == dtype:
        return array
    out = np.empty(array.shape, dtype)
    gather(array, None, out)
    return out
