"""Batches that a thread of its own draws ahead, while the ones before are computed with."""

from __future__ import annotations

import contextvars
import itertools
import queue
import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")

AHEAD: Final = 2
"""So many are drawn before they are asked for: one that is ready, and one that is being made."""


class _End:
    """What comes after the last: StopIteration, or an error."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetched(items: Iterable[T], ahead: int = AHEAD, most: int | None = None) -> Generator[T, None, None]:
    """Yield what an iterable yields, in its order; a thread draws up to `ahead` items before they are needed.

    most: how many to yield, and so to draw, at most. What the iterable raises is raised here, once what came
    before is used. The thread ends with this iterator, after the item that it is at. Without items ahead, and
    where the system grants no thread, items are drawn as they are needed.

    Of an iterator, which yields each item once, those that were drawn and not used come first when it is gone
    through the next time. So close this before somebody else goes on with the iterator.
    """
    iterator = iter(items)
    unused = _drawn_before.of(iterator)
    rest = itertools.islice(iterator, None if most is None else max(0, most - len(unused)))
    drawn: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    room = threading.Semaphore(ahead)
    is_over = threading.Event()

    def draw() -> None:
        try:
            while room.acquire() and not is_over.is_set():
                drawn.put(next(rest))
        except BaseException as error:
            drawn.put(_End(error))

    context = contextvars.copy_context()  # NumPy's treatment of errors, for example
    thread = threading.Thread(target=context.run, args=(draw,), name="graphcnn prefetching", daemon=True)
    try:
        for item in list(unused)[:most]:
            unused.popleft()
            if isinstance(item, _End):
                raise item.error
            yield item
        try:
            if ahead:
                thread.start()
        except RuntimeError:
            ahead = 0
        if not ahead:
            yield from rest
            return
        while not isinstance(item := drawn.get(), _End):
            room.release()
            yield item
        if not isinstance(item.error, StopIteration):
            raise item.error
    finally:
        is_over.set()
        room.release()
        if thread.ident is not None:
            thread.join()
        while not drawn.empty():
            item = drawn.get()
            if not isinstance(item, _End) or not isinstance(item.error, StopIteration):
                unused.append(item)
        if iterator is items:
            _drawn_before.keep(iterator, unused)


class _Unused:
    """What was drawn of iterators and not used, for as long as they live.

    Some, as that of `zip`, do not tell when they die. Of those, the latest is kept alive.
    """

    def __init__(self) -> None:
        self._found: dict[int, tuple[object, deque[Any]]] = {}
        self._alive: int | None = None

    def keep(self, iterator: Iterator[Any], items: deque[Any]) -> None:
        """Note items of an iterator, where there are any."""
        if not items:
            return
        key = id(iterator)
        try:
            self._found[key] = weakref.ref(iterator, lambda _: self._found.pop(key, None)), items
        except TypeError:
            if self._alive is not None:
                self._found.pop(self._alive, None)
            self._alive = key
            self._found[key] = iterator, items

    def of(self, iterator: Iterator[Any]) -> deque[Any]:
        """Return the items of an iterator, which are noted no longer."""
        if self._alive == id(iterator):
            self._alive = None
        return self._found.pop(id(iterator), (None, deque()))[1]


_drawn_before: Final = _Unused()
