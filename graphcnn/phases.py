"""Where the time of a compilation goes: code says which phase it is in, and whoever asks gets the seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_MEASURED: Final[ContextVar[dict[str, float] | None]] = ContextVar("measured", default=None)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Count the time within to a phase, where somebody measures. Phases do not nest."""
    seconds = _MEASURED.get()
    start = time.perf_counter()
    try:
        yield
    finally:
        if seconds is not None:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start


@contextmanager
def measured_phases() -> Iterator[dict[str, float]]:
    """Give the seconds by phase of what is compiled within, on this thread; they are there in the end."""
    seconds: dict[str, float] = {}
    token = _MEASURED.set(seconds)
    try:
        yield seconds
    finally:
        _MEASURED.reset(token)
