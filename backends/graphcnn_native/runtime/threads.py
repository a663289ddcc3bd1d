"""The pool of native threads on which generated code runs its loops."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from graphcnn.interrupts import uninterrupted
from graphcnn_native.runtime.engine import compile_module
from graphcnn_native.runtime.forks import COMPILING
from graphcnn_native.runtime.pool_code import pool_module
from graphcnn_native.runtime.processors import MOST_THREADS, processors
from graphcnn_native.target import host_target


@dataclass(frozen=True)
class Pool:
    """The threads of this process, as addresses for generated code.

    address: the first argument of `parallel_for`; the same for as long as the process lives, and in its
        forks, whose first job that wants threads starts their own.
    parallel_for: `void (ptr pool, ptr function, ptr context, i64 items, i64 threads)`. Calls
        `void function(ptr context, i64 worker, i64 item)` for every item from 0 to items - 1, begun in this
        order, on the caller, which is worker 0, and on up to threads - 1 others, and returns when all have
        returned. Workers are numbered below `threads`, and at any moment no two running items have the same.
        While the pool is busy with another call, which may be the one that this call comes from, and while
        it has no other threads, the caller runs all items itself.
    flush_denormals: `i64 ()`. Makes floating-point instructions of the calling thread take and give 0 for
        denormal numbers, as the pool's own threads always do, and returns the mode before.
    restore_mode: `void (i64 mode)`. Sets such a mode again.
    begin_spare: as `parallel_for`, but returns at once: other threads call `function` while they wait for
        jobs, if they are awake. There is one such job at a time: `graphcnn_native.runtime.spare` sees to it.
    end_spare: `void (ptr pool)`. Runs what is left of it, and returns when all is done.
    """

    address: int
    parallel_for: int
    flush_denormals: int
    restore_mode: int
    begin_spare: int
    end_spare: int

    @property
    def threads(self) -> int:
        """How many threads work at once: the caller's and those that the system has granted."""
        return int(_process.native().workers()) + 1


def pool(threads: int) -> Pool:
    """Return the pool of this process, grown to that many threads, counting the one that calls.

    It is never shrunk, and smaller than asked for where the system grants no more threads. Those that have
    nothing to do sleep.
    """
    return uninterrupted(lambda: _process.grow(min(threads, MOST_THREADS) - 1, processors()))


class _Native:
    """The compiled pool. Its threads run this code until the process ends, so it is never unloaded."""

    def __init__(self) -> None:
        target = host_target()
        library = compile_module(pool_module(target), target)
        address = ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("pool_address"))
        self.pool = Pool(
            address(),
            library.address("parallel_for"),
            library.address("flush_denormals"),
            library.address("restore_mode"),
            library.address("begin_spare"),
            library.address("end_spare"),
        )
        self.grow = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(library.address("grow"))
        self.workers = ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("workers"))
        self.forget_threads = ctypes.CFUNCTYPE(None)(library.address("forget_threads"))
        library.keep_forever()


class _Process:
    """Owns the pool of this process.

    It is made and grown under the lock that is held around a fork, so that the child finds it whole.
    """

    def __init__(self) -> None:
        self._native: _Native | None = None
        os.register_at_fork(after_in_child=self._in_child)

    def native(self) -> _Native:
        """Return the compiled pool, which the first call compiles."""
        with COMPILING:
            if self._native is None:
                self._native = _Native()
            return self._native

    def grow(self, workers: int, processors: int) -> Pool:
        """Return the pool with at least that many threads of its own."""
        with COMPILING:
            native = self.native()
            native.grow(workers, processors)
            return native.pool

    def _in_child(self) -> None:
        """Make the pool one without threads: a fork copies memory, and only the thread that forks."""
        if self._native is not None:
            self._native.forget_threads()


_process = _Process()
