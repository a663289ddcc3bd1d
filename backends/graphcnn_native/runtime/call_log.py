"""When each kernel ran, and on which thread: what generated code notes, if it is given such a log."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import KERNEL_CALLS, Timeline

BEGAN, ENDED, HEADER = 1, 3, 5
"""Before the calls: the room for those of one thread; ticks and nanoseconds at the begin of the step; both at
its end. That tells how long a tick is.
"""
FIELDS = 3
"""Of each call: the kernel's number, and the ticks at which it began and ended."""


class CallLog:
    """Memory in which every thread notes its calls of kernels.

    As generated code sees it, 64-bit integers: the header; then for each thread the number of its calls, and
    the calls. What there is no room for is counted, but not noted.
    """

    def __init__(self, threads: int, room: int) -> None:
        self.room: Final = room
        self._memory: Final = np.zeros(HEADER + threads * (1 + room * FIELDS), np.int64)
        self._memory[0] = room
        self._rows: Final = self._memory[HEADER:].reshape(threads, 1 + room * FIELDS)
        self._counts: Final = self._rows[:, 0]
        self._began = 0.0
        self._has_ended = False

    @property
    def address(self) -> int:
        return self._memory.ctypes.data

    def clear(self) -> None:
        """Forget the calls before."""
        self._counts.fill(0)
        self._has_ended = False

    def begin(self) -> None:
        """Forget the calls before; the machine code is called next."""
        self.clear()
        self._began = time.perf_counter()

    def end(self) -> None:
        """The machine code has returned, and has done the whole step."""
        self._has_ended = True

    def timeline(self) -> Timeline | None:
        """Return what happened in the latest call; None where there was none."""
        if not self._has_ended:
            return None
        first, began, last, ended = map(int, self._memory[BEGAN:HEADER])
        tick = (ended - began) / (last - first) / 1e9 if last > first else 0.0
        return Timeline(self._began, (ended - began) / 1e9, self._calls(first, tick))

    def _calls(self, first: int, tick: float) -> Array:
        assert (self._counts <= self.room).all(), "the bound of the number of calls is too low"
        calls = np.empty(int(self._counts.sum()), KERNEL_CALLS)
        begin = 0
        for thread, count in enumerate(self._counts.tolist()):
            noted = self._rows[thread, 1 : 1 + count * FIELDS].reshape(count, FIELDS)
            mine = calls[begin : begin + count]
            mine["kernel"], mine["thread"] = noted[:, 0], thread
            mine["begin"] = (noted[:, 1] - first) * tick
            mine["end"] = (noted[:, 2] - first) * tick
            begin += count
        return calls
