"""Work that can wait: threads of the pool do it while they would wait for other work."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphcnn_native.runtime.threads import pool


class Work:
    """A function that is to be called for each item, as `Pool.parallel_for` says, in any order.

    function: its address. threads: that may take part. held: what must live until all is done.
    """

    __slots__ = ("context", "function", "held", "is_shared", "items", "threads")

    def __init__(
        self, function: int, context: ctypes.Array[ctypes.c_int64], items: int, threads: int, held: Any = None
    ) -> None:
        self.function = function
        self.context = context
        self.items = items
        self.threads = threads
        self.held = held
        self.is_shared = False
        """Whether it has got into the pool of this process."""

    def do(self) -> None:
        """Do all of it; return when it is done."""
        _calls(self.threads).parallel_for(self.function, self.context, self.items, self.threads)

    def begin(self) -> None:
        """Let threads do it as far as they wait for other work and are awake. Nobody is woken."""
        _turns.begin(self)

    def end(self) -> None:
        """Do what is left of what was begun; return when all is done."""
        _turns.end(self)
        if not self.is_shared:
            self.do()


class _Turns:
    """Which work is in the pool. It has room for one: before another one begins, that is ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._present: Work | None = None
        os.register_at_fork(after_in_child=self._in_child)

    def begin(self, work: Work) -> None:
        calls = _calls(work.threads)
        with self._lock:
            if self._present is not None:
                calls.end()
            self._present = work  # first: should an interrupt come now, what it holds lives until it is ended
            calls.begin(work.function, work.context, work.items, work.threads)
            work.is_shared = True

    def end(self, work: Work) -> None:
        """End this work, unless that is done."""
        with self._lock:
            if self._present is work:
                _calls(work.threads).end()
                self._present = None

    def _in_child(self) -> None:
        """Take the work out of the pool: a fork has none of the threads that were at it."""
        self._lock = threading.Lock()
        if self._present is not None:
            self._present.is_shared = False
            self._present = None


_turns = _Turns()


@dataclass(frozen=True)
class _Calls:
    """The functions of the pool."""

    parallel_for: Callable[..., None]
    begin: Callable[..., None]
    end: Callable[[], None]


@functools.cache
def _calls(threads: int) -> _Calls:
    """Return the functions of the pool, which has so many threads from now on."""
    workers = pool(threads)
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    with_work = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, number, number)
    return _Calls(
        functools.partial(with_work(workers.parallel_for), workers.address),
        functools.partial(with_work(workers.begin_spare), workers.address),
        functools.partial(ctypes.CFUNCTYPE(None, pointer)(workers.end_spare), workers.address),
    )
