"""What must be at rest while the process forks, so that the child, which has one thread, can go on with it.

A fork copies memory as it is at that moment. What another thread has half done there nobody finishes, and
locks that it holds stay locked for good. So whoever compiles holds a lock, and a fork waits for it, and for
llvmlite's own.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final

import llvmlite.binding as llvm

COMPILING: Final = threading.RLock()
"""Held by the thread that compiles, or makes or grows the pool of threads."""


def _llvmlite_lock() -> Any:
    """Return the lock around every call of llvmlite's library, Numba's calls among them."""
    return llvm.ffi.lib._lock


def _before() -> None:
    COMPILING.acquire()
    _llvmlite_lock().__enter__()


def _after() -> None:
    _llvmlite_lock().__exit__()
    COMPILING.release()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
