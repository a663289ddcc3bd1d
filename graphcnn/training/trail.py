"""The way back from a step: enough to take the last steps again, bit by bit."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping

import numpy as np

from graphcnn.arrays import Array
from graphcnn.training.ranks import Ranks

SECONDS = 10.0
"""Steps of that time, at most, have to be taken again."""
BYTES = 1 << 26
"""So many bytes of batches, at most, are held where they cannot be cut out of the data again."""
STEPS = 32
"""After so many steps, ranks that have parts of the state ask whether these have taken long."""


class Trail:
    """The state some steps ago, and what the steps since were taken with.

    The same bits come out of the same steps, so whatever happened on the way can be seen by going it again.
    Ranks that have parts of the state alone begin it anew at the same step.
    """

    def __init__(self, state: Mapping[str, Array], ranks: Ranks) -> None:
        self._present = state
        self._ranks = ranks
        self._taken = 0
        self._mark()

    def _mark(self) -> None:
        self.state = {name: array.copy() for name, array in self._present.items()}
        self._first = self._taken
        self._rates: list[float] = []
        self._held: list[dict[str, Array]] = []
        self._bytes = 0
        self._marked = time.perf_counter()

    @property
    def first(self) -> int:
        """The number of the step, counted from 1, that is taken from `state`."""
        return self._first + 1

    def add(self, rate: float, batch: dict[str, Array] | None = None) -> None:
        """Note a step that is going to be taken; with its batch, where that cannot be had again."""
        if self._is_long():
            self._renew()
        self._rates.append(rate)
        self._taken += 1
        if batch is not None:
            self._held.append(batch)
            self._bytes += sum(array.nbytes for array in batch.values())

    def _is_long(self) -> bool:
        is_long = self._bytes > BYTES or time.perf_counter() - self._marked > SECONDS
        if not self._ranks.have_parts:
            return is_long
        return self._taken % STEPS == 0 and bool(self._ranks.number_of_first(is_long))

    def _renew(self) -> None:
        """Begin the trail anew here, unless what went wrong has begun already."""
        is_bad = not is_finite(self._present)
        if self._ranks.have_parts:
            is_bad = bool(self._ranks.greatest(is_bad))
        if not is_bad:
            self._mark()

    def steps(self, batches: Iterator[dict[str, Array]] | None) -> Iterator[tuple[dict[str, Array], float]]:
        """Yield batch and learning rate of every step since `state`.

        batches: those of the whole epoch, from its begin; None for those that are held.
        """
        since = self._held if batches is None else itertools.islice(batches, self._first, None)
        yield from zip(since, self._rates, strict=False)


def is_finite(arrays: Mapping[str, Array]) -> bool:
    """Whether there is neither NaN nor infinity in any of the arrays."""
    with np.errstate(over="ignore", invalid="ignore"):
        return all(
            np.isfinite(array.sum()) or np.isfinite(array).all()
            for array in arrays.values()
            if array.dtype.kind == "f"
        )
