"""The ranks that train a model together: which one speaks, and what they tell each other."""

from __future__ import annotations

import functools
import itertools
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from graphcnn import errors
from graphcnn.arrays import Array
from graphcnn.backend import Executable
from graphcnn.distributed.agreement import Stated, greatest, require_agreement
from graphcnn.distributed.collectives import broadcast
from graphcnn.distributed.transport import Message, Transport
from graphcnn.errors import GraphcnnError, OptionError, RankError
from graphcnn.ir import TensorType
from graphcnn.training.callbacks import StopTraining
from graphcnn.training.feed import Batch, Source
from graphcnn.training.own_rows import OwnRows
from graphcnn.training.stated import stated_of_batch

T = TypeVar("T")


class Ranks:
    """All ranks of a model, as one of them sees them. transport: the way to the others; None for one process.

    number, count: which rank this is, from 0, and of how many. shards_optimizer: whether each of several has
    a part of the optimiser's state alone; have_parts: whether that is so here. Every method but `own_rows`
    and `note` is to be called by all of them, in the same order.
    """

    def __init__(self, transport: Transport | None, *, shards_optimizer: bool = False) -> None:
        self.transport: Final = transport
        self.shards_optimizer: Final = shards_optimizer
        self.number: Final = 0 if transport is None else transport.rank
        self.count: Final = 1 if transport is None else transport.size
        self.is_first: Final = self.number == 0
        self.are_several: Final = self.count > 1
        self.have_parts: Final = shards_optimizer and self.are_several

    def __deepcopy__(self, memo: object) -> Ranks:
        """Copies of a model train with the same ranks."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Another process has its own ranks. Raises OptionError for one that has a part of a model alone."""
        if self.have_parts:
            raise OptionError(
                "the optimiser's state is cut over ranks, so that no rank could pickle the model",
                mend="model.save(path), on all ranks; gcn.load(path)",
            )
        return Ranks, (None,)

    def passed_on(
        self, state: Mapping[str, Array], moves: Mapping[str, tuple[int, TensorType, Collection[int]]]
    ) -> dict[str, Array]:
        """Return the arrays that others give to this rank. moves: from whom, of which type, and to whom."""
        found: dict[str, Array] = {}
        sends: list[Message] = []
        receives: list[Message] = []
        for name, (source, type, readers) in moves.items():
            if source == self.number:
                sends += [(reader, state[name]) for reader in readers if reader != source]
            elif self.number in readers:
                found[name] = np.empty(type.concrete(1), type.dtype)
                receives.append((source, found[name]))
        if self.transport is not None and moves:
            self.transport.begin(sends, receives).wait()
        return found

    def own_rows(self, executable: Callable[[Collection[str]], Executable]) -> OwnRows | None:
        """Return which rows of batches this rank needs for an executable; None for all."""
        return OwnRows(self.number, self.count, executable) if self.are_several else None

    def require_agreement(self, stated: Callable[[], Mapping[str, Stated]]) -> None:
        """Raise RankError unless all ranks state the same."""
        if self.transport is not None and self.are_several:
            require_agreement(self.transport, stated())

    def greatest(self, number: int) -> int:
        """Return the greatest of the ranks' numbers, once all have told theirs."""
        if self.transport is None or not self.are_several:
            return number
        return greatest(self.transport, number)

    def meet(self) -> None:
        """Return when all ranks have come here."""
        self.greatest(0)

    @contextmanager
    def stopping_together(self) -> Iterator[None]:
        """Where a callback of one rank raises StopTraining within, raise it on all of them."""
        if not self.are_several:
            yield
            return
        is_to_stop = False
        try:
            yield
        except StopTraining:
            is_to_stop = True
        if self.greatest(is_to_stop):
            raise StopTraining

    def alike(self, batches: Iterator[Batch], source: Source, what: str, begin: int = 0) -> Iterator[Batch]:
        """Return the batches of a source; where users make them, raise RankError unless ranks have the same.

        what: to what they belong. begin: the number of batches before them.
        """
        if not self.are_several or source.is_repeatable:
            return batches
        return self._compared(batches, what, begin)

    def _compared(self, batches: Iterator[Batch], what: str, begin: int) -> Iterator[Batch]:
        for number in itertools.count(begin + 1):
            batch = next(batches, None)
            self.require_agreement(functools.partial(stated_of_batch, batch, f"batch {number} {what}"))
            if batch is None:
                return
            yield batch

    def note(self, about: str, text: str) -> None:
        """Let what is said of a rank that fails say this as well."""
        monitor = getattr(self.transport, "monitor", None)
        if monitor is not None:
            monitor.note(about, text)

    def number_of_first(self, number: float) -> float:
        """Return the number that the first rank has."""
        if not self.are_several:
            return number
        return float(np.frombuffer(self._of_first(np.float64(number).tobytes()), np.float64)[0])

    def read_by_first(self, find: Callable[[], tuple[Path, T]], read: Callable[[Path], T]) -> tuple[Path, T]:
        """Return the place of a file, and what is in it, of which the first rank alone needs a copy.

        find: returns both, and is called by the first rank. read: returns what is in a file, for the others.
        What `find` raises is raised on all ranks.
        """
        if not self.are_several:
            return find()
        if self.is_first:
            try:
                path, found = find()
                content = path.read_bytes()
            except Exception as error:
                self._of_first(json.dumps({"error": _described(error)}).encode())
                raise
            self._of_first(json.dumps({"path": str(path)}).encode())
            self._of_first(content)
            return path, found
        told = json.loads(self._of_first())
        if "error" in told:
            raise _restored(told["error"])
        with tempfile.TemporaryDirectory(prefix="graphcnn-") as folder:
            place = Path(folder) / Path(told["path"]).name
            place.write_bytes(self._of_first())
            return Path(told["path"]), read(place)

    def _of_first(self, content: bytes = b"") -> bytes:
        assert self.transport is not None
        return broadcast(self.transport, content)


def _described(error: Exception) -> list[Any]:
    if isinstance(error, GraphcnnError):
        return [type(error).__name__, error.problem, error.facts, error.mend]
    return [RankError.__name__, f"rank 0 failed: {type(error).__name__}: {error}", (), ""]


def _restored(described: list[Any]) -> GraphcnnError:
    """Return the error of another rank."""
    name, problem, facts, mend = described
    kind = getattr(errors, name, RankError)
    error: GraphcnnError = kind(problem, facts=facts, mend=mend)
    return error
