"""Which rows of batches a rank needs, of several that train a model together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from graphcnn.arrays import Array
from graphcnn.backend import Executable, own_samples
from graphcnn.data.batches import Needed
from graphcnn.transform import whole_inputs


class OwnRows:
    """The rows of batches that an executable needs on this rank; the others are not read.

    rank: which one this is, of so many ranks. executable: returns the one that takes batches of these names.
    Arrays of one number per sample, as labels and weights, are needed whole.
    """

    def __init__(self, rank: int, ranks: int, executable: Callable[[Collection[str]], Executable]) -> None:
        self._rank: Final = rank
        self._ranks: Final = ranks
        self._executable: Final = executable
        self._sees_all = False
        self._latest: tuple[Executable, frozenset[str]] | None = None
        """The executable of the latest batch, and the inputs that it needs whole."""

    def see_all(self) -> None:
        """Need all rows from now on, in batches of an epoch that has begun, too."""
        self._sees_all = True

    def share(self, samples: int) -> slice:
        """Return the rows of a whole set that this rank looks at, where all ranks look at all of them."""
        return slice(*(samples * rank // self._ranks for rank in (self._rank, self._rank + 1)))

    def needed(self, name: str, array: Array, names: Collection[str]) -> Needed | None:
        """Return which rows are needed of an array, among the arrays of these names; None is all."""
        if array.ndim == 1:
            return None

        def rows(samples: int) -> Sequence[range]:
            if not self._sees_all:
                executable = self._executable(names)
                if name not in self._whole(executable):
                    return own_samples(executable, samples)
            return [range(samples)]

        return rows

    def _whole(self, executable: Executable) -> frozenset[str]:
        """Return the inputs that are needed whole: asked for each batch, and found by a walk of the graph."""
        if self._latest is None or self._latest[0] is not executable:
            self._latest = executable, whole_inputs(executable.graph)
        return self._latest[1]
