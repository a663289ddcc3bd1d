"""What a compilation says of itself to whoever asks: where its time goes, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

Listener: TypeAlias = Callable[[int, int], None]
"""`listener(done, total)` is told, from any thread, how many functions of a compilation are compiled."""

_LISTENER: Final[ContextVar[Listener]] = ContextVar("listener", default=lambda done, total: None)
_COUNTS: Final[ContextVar[dict[str, int] | None]] = ContextVar("counts", default=None)
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


def count(name: str, number: int) -> None:
    """Add to what is counted under a name, where somebody counts."""
    counts = _COUNTS.get()
    if counts is not None:
        counts[name] = counts.get(name, 0) + number


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Give the numbers by name of what is counted within, on this thread; they are there in the end."""
    counts: dict[str, int] = {}
    token = _COUNTS.set(counts)
    try:
        yield counts
    finally:
        _COUNTS.reset(token)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Let a listener be told how far the compilations within are."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def listener() -> Listener:
    """Return who is to be told; a backend asks in the thread that compiles, and may tell from others."""
    return _LISTENER.get()
