"""Ctrl-C, where it must not cut something in half.

Python raises KeyboardInterrupt between any two steps of the main thread. What has to be done whole is done
with the interrupt put off until it is, or in another thread, where interrupts do not come.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class PutOff:
    """A Ctrl-C that is put off, and how to let it take effect in between."""

    def __init__(self, handler: Callable[[int, FrameType | None], object] | None) -> None:
        """handler: of Ctrl-C; None where none comes."""
        self._handler = handler
        self._came: list[tuple[int, FrameType | None]] = []
        self._is_open = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))
        if self._is_open:
            self._take_effect()

    def _take_effect(self) -> None:
        if self._came and self._handler is not None:
            came, self._came = self._came, []
            self._handler(*came[0])

    def begin(self) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._note)

    def end(self) -> None:
        """Let take effect what has come and will come."""
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._take_effect()

    def let_through(self) -> None:
        """Let a Ctrl-C take effect until `close`, and one that has come before: where waiting may be long."""
        self._is_open = True
        if self._came:
            self._take_effect()

    def close(self) -> None:
        """Put it off again."""
        self._is_open = False


@contextmanager
def interrupts_put_off() -> Iterator[PutOff]:
    """Let a Ctrl-C that comes meanwhile take effect at the end: for a few assignments or copies."""
    handler = signal.getsignal(signal.SIGINT)
    comes = threading.current_thread() is threading.main_thread() and callable(handler)
    put_off = PutOff(handler if comes and callable(handler) else None)
    try:
        put_off.begin()
        yield put_off
    finally:
        put_off.end()


def uninterrupted(work: Callable[[], T]) -> T:
    """Return what `work()` returns. Ctrl-C ends the waiting for it, but not the work.

    In the main thread, where alone interrupts come, another thread does the work, and finishes it even where
    nobody waits for it any more. Where the system grants no thread, the interrupt is put off.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    errors: list[BaseException] = []
    is_done = threading.Lock()
    is_done.acquire()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            is_done.release()

    try:
        threading.Thread(target=copy_context().run, args=(run,), name="graphcnn").start()
    except RuntimeError:  # no thread is granted, or the interpreter is about to end
        with interrupts_put_off():
            return work()
    is_done.acquire()
    if errors:
        raise errors[0]
    return results[0]
