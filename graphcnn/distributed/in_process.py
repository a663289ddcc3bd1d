"""Ranks as threads of one process: for tests, and to see what a number of ranks does."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from graphcnn.arrays import Array
from graphcnn.distributed.transport import Message, Pending, Transport
from graphcnn.errors import OptionError, RankError

Result = TypeVar("Result")
Expected: TypeAlias = tuple[int, int, int]
"""A message: its sender, its reader, and its number among those of the one to the other."""
Places: TypeAlias = dict[Expected, Array]
"""Where messages belong that have not arrived yet."""


def run_ranks(count: int, function: Callable[[Transport], Result]) -> list[Result]:
    """Run a function on so many ranks at once, each a thread, and return what each returns.

    function: takes the rank's `Transport`. Where one raises an error, all others end with a RankError when
    they next send, or wait for a message; so do ranks that wait for messages that nobody will send.

    Raises RankError, which names the first rank that has failed and its error, and has that as its cause.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise OptionError(f"{count!r:.60} is not a number of ranks", mend="run_ranks(2, function)")
    post = _Post(count)
    results: dict[int, Result] = {}

    def run(rank: int) -> None:
        try:
            results[rank] = function(InProcess(rank, count, post))
        except BaseException as error:
            post.fail(rank, error)
        post.leave(rank)

    threads = [threading.Thread(target=run, args=(rank,), name=f"rank {rank}") for rank in range(count)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException as error:  # Ctrl-C: the ranks end before it goes on
        post.fail(-1, error)
        for thread in threads:
            thread.join()
        raise
    if post.failure is not None:
        raise post.error() from post.failure[1]
    return [results[rank] for rank in range(count)]


class InProcess:
    """The `Transport` of a rank that is a thread."""

    def __init__(self, rank: int, size: int, post: _Post) -> None:
        self._rank, self._size, self._post = rank, size, post

    @property
    def rank(self) -> int:
        return self._rank

    @property
    def size(self) -> int:
        return self._size

    def begin(self, sends: Sequence[Message], receives: Sequence[Message]) -> Pending:
        for other, _ in (*sends, *receives):
            if not 0 <= other < self._size or other == self._rank:
                raise RankError(f"rank {self._rank} of {self._size} has no messages with rank {other}")
        for reader, array in sends:
            self._post.send(self._rank, reader, array)
        return _Receipt(self._rank, self._post, self._post.expect(self._rank, receives))


class _Receipt:
    """Messages that a rank waits for."""

    def __init__(self, rank: int, post: _Post, places: Places) -> None:
        self._rank, self._post, self._places = rank, post, places

    def done(self) -> bool:
        return not self._post.take(self._places)

    def wait(self) -> None:
        self._post.wait(self._rank, self._places)


class _Post:
    """The messages between all ranks, and which rank has failed, left, or waits for what.

    Messages of one rank to another are numbered on either side: each goes where it was expected first.
    """

    def __init__(self, size: int) -> None:
        self._changed = threading.Condition()
        self._size = size
        self._sent: dict[Expected, Array] = {}
        self._next_sent: Counter[tuple[int, int]] = Counter()
        self._next_expected: Counter[tuple[int, int]] = Counter()
        self._waiting: dict[int, Places] = {}
        self._left: set[int] = set()
        self.failure: tuple[int, BaseException] | None = None

    def fail(self, rank: int, error: BaseException) -> None:
        with self._changed:
            if self.failure is None:
                self.failure = rank, error
            self._changed.notify_all()

    def leave(self, rank: int) -> None:
        """Note that a rank has ended, and sends nothing any more."""
        with self._changed:
            self._left.add(rank)
            self._changed.notify_all()

    def error(self) -> RankError:
        """Return what ranks end with when one has failed."""
        assert self.failure is not None
        rank, error = self.failure
        if isinstance(error, RankError):
            return RankError(error.problem, facts=error.facts, mend=error.mend)
        first, *others = f"{type(error).__name__}: {error}".splitlines()
        who = f"rank {rank} has failed" if rank >= 0 else "the ranks were interrupted"
        return RankError(f"{who}, and all ranks end: {first}", facts=[line.strip() for line in others])

    def send(self, sender: int, reader: int, array: Array) -> None:
        with self._changed:
            self._require_well()
            number = self._next_sent[sender, reader]
            self._next_sent[sender, reader] += 1
            self._sent[sender, reader, number] = np.array(array)
            self._changed.notify_all()

    def expect(self, reader: int, receives: Sequence[Message]) -> Places:
        """Return where the next messages of these ranks to this one belong."""
        places: Places = {}
        with self._changed:
            self._require_well()
            for sender, array in receives:
                number = self._next_expected[sender, reader]
                self._next_expected[sender, reader] += 1
                places[sender, reader, number] = array
        return places

    def take(self, places: Places) -> Places:
        """Put messages that have arrived into their places; return the places of those that have not."""
        with self._changed:
            self._require_well()
            return self._take(places)

    def wait(self, reader: int, places: Places) -> None:
        """Return when all messages have arrived."""
        with self._changed:
            while True:
                self._require_well()
                places = self._take(places)
                if not places:
                    return
                self._waiting[reader] = places
                try:
                    self._require_hope(reader)
                    self._changed.wait()
                finally:
                    del self._waiting[reader]

    def _take(self, places: Places) -> Places:
        for expected in [each for each in places if each in self._sent]:
            message, place = self._sent.pop(expected), places.pop(expected)
            sender, reader, _ = expected
            if message.nbytes != place.nbytes:
                sizes = f"{message.nbytes} bytes, and rank {reader} waits for {place.nbytes}"
                raise RankError(f"rank {sender} has sent {sizes}")
            place[...] = message.reshape(-1).view(place.dtype).reshape(place.shape)
        return places

    def _require_well(self) -> None:
        if self.failure is not None:
            raise self.error() from self.failure[1]

    def _require_hope(self, reader: int) -> None:
        """Raise RankError where a rank waits for one that has ended, or all that are left wait."""
        if any(expected in self._sent for places in self._waiting.values() for expected in places):
            return
        ended = [sender for sender, _, _ in self._waiting[reader] if sender in self._left]
        if ended:
            raise RankError(f"rank {reader} waits for a message of rank {ended[0]}, which has ended")
        if len(self._waiting) + len(self._left) == self._size:
            waits = [f"rank {rank} waits for rank {min(places)[0]}" for rank, places in self._waiting.items()]
            raise RankError("all ranks wait for messages, and none sends any", facts=sorted(waits))
