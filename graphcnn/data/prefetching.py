"""Batches that a thread of its own draws ahead, while the ones before are computed with."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Generator, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

AHEAD: Final = 2
"""So many are drawn before they are asked for: one that is ready, and one that is being made."""


class _End:
    """What comes after the last: nothing, or an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetched(items: Iterable[T], ahead: int = AHEAD) -> Generator[T, None, None]:
    """Yield what an iterable yields, in its order; a thread draws up to `ahead` items before they are needed.

    What the iterable raises is raised here, once what came before is used. The thread ends with this
    iterator, after the item that it is at. Where the system grants no thread, items are drawn as they are
    needed.
    """
    drawn: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    room = threading.Semaphore(ahead)
    is_over = threading.Event()

    def draw() -> None:
        end = _End()
        try:
            iterator = iter(items)
            while room.acquire() and not is_over.is_set():
                drawn.put(next(iterator))
        except StopIteration:
            pass
        except BaseException as error:
            end = _End(error)
        drawn.put(end)

    context = contextvars.copy_context()  # NumPy's treatment of errors, for example
    thread = threading.Thread(target=context.run, args=(draw,), name="graphcnn prefetching", daemon=True)
    try:
        try:
            thread.start()
        except RuntimeError:
            yield from items
            return
        while not isinstance(item := drawn.get(), _End):
            room.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        is_over.set()
        room.release()
        if thread.ident is not None:
            thread.join()
