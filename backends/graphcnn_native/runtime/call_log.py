"""When each kernel ran, and on which thread: what generated code notes, if it is given such a log."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import KERNEL_CALLS, Timeline

FIELDS = 3
"""Of each call: the kernel's number, and when it began and ended in nanoseconds of the monotonic clock."""


class CallLog:
    """Memory in which every thread notes its calls of kernels.

    As generated code sees it, 64-bit integers: the room for calls of one thread; then for each thread the
    number of its calls, and the calls. What there is no room for is counted, but not noted.
    """

    def __init__(self, threads: int, room: int) -> None:
        self.room: Final = room
        self._memory: Final = np.zeros(1 + threads * (1 + room * FIELDS), np.int64)
        self._memory[0] = room
        self._rows: Final = self._memory[1:].reshape(threads, 1 + room * FIELDS)
        self._began_there = 0.0
        self._began = 0
        self._seconds: float | None = None

    @property
    def address(self) -> int:
        return self._memory.ctypes.data

    def clear(self) -> None:
        """Forget the calls before."""
        self._rows[:, 0] = 0
        self._seconds = None

    def begin(self) -> None:
        """Forget the calls before; the machine code is called next."""
        self.clear()
        self._began_there = time.perf_counter()
        self._began = time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    def end(self) -> None:
        """The machine code has returned."""
        self._seconds = (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self._began) / 1e9

    def timeline(self) -> Timeline | None:
        """Return what happened in the latest call; None where there was none."""
        return None if self._seconds is None else Timeline(self._began_there, self._seconds, self._calls())

    def _calls(self) -> Array:
        counts = self._rows[:, 0]
        assert (counts <= self.room).all(), "the bound of the number of calls is too low"
        calls = np.empty(int(counts.sum()), KERNEL_CALLS)
        begin = 0
        for thread, count in enumerate(counts.tolist()):
            noted = self._rows[thread, 1 : 1 + count * FIELDS].reshape(count, FIELDS)
            mine = calls[begin : begin + count]
            mine["kernel"], mine["thread"] = noted[:, 0], thread
            mine["begin"] = (noted[:, 1] - self._began) / 1e9
            mine["end"] = (noted[:, 2] - self._began) / 1e9
            begin += count
        return calls
