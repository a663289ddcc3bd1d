"""What is shown while a backend compiles: on a terminal, once it lasts, how far it is."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from graphcnn.interrupts import interrupts_put_off
from graphcnn.phases import heard
from graphcnn.rendering import console_of_output
from graphcnn.visible import visible

T = TypeVar("T")

DELAY_SECONDS = 2.0
"""Nothing is shown of what takes no longer."""

_ARE_SHOWN: Final[ContextVar[bool]] = ContextVar("compilations are shown", default=True)


@contextmanager
def compilations_shown(shown: bool) -> Iterator[None]:
    """Show compilations within, or show none of them."""
    token = _ARE_SHOWN.set(shown and _ARE_SHOWN.get())
    try:
        yield
    finally:
        _ARE_SHOWN.reset(token)


def shown(name: str, work: Callable[[], T]) -> T:
    """Return what `work()` compiles; show how far it is, if it lasts and the errors' stream is a terminal."""
    if not _ARE_SHOWN.get() or sys.stderr is None or not sys.stderr.isatty():
        return work()
    bar = CompilationBar(name)
    try:
        try:
            bar.show_later()
            with heard(bar.report):
                return work()
        finally:
            bar.close()
    finally:
        bar.close()  # again, should another interrupt have come while the first one ended the work


class CompilationBar:
    """A bar on the errors' stream, from `show` until `close`. Any thread may call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._timer = threading.Timer(DELAY_SECONDS, self.show)
        self._timer.daemon = True
        self._is_closed = False
        self._so_far: tuple[int, int | None] = (0, None)
        self._bar: Any = None

    def report(self, done: int, total: int) -> None:
        """Note how many of the functions are compiled."""
        with self._lock:
            self._so_far = done, total
            self._draw()

    def show_later(self) -> None:
        """Begin to draw after a while, if it is not closed before."""
        with suppress(RuntimeError):  # the system grants no thread: then nothing is shown
            self._timer.start()

    def show(self) -> None:
        """Begin to draw."""
        from rich import progress

        with self._lock:
            if self._is_closed:
                return
            self._bar = progress.Progress(
                progress.TextColumn(f"compiling {visible(self._name)}", markup=False),
                progress.BarColumn(bar_width=None),
                progress.MofNCompleteColumn(),
                progress.TextColumn("functions, {task.elapsed:.0f} s"),
                console=console_of_output(stderr=True),
                transient=True,
                expand=True,
                get_time=time.perf_counter,
            )
            task = self._bar.add_task("", total=None)
            self._bar.tasks[task].start_time = self._began
            self._draw()
            self._bar.start()

    def close(self) -> None:
        """Take the bar away; what is reported later is not shown."""
        with interrupts_put_off(), self._lock:
            self._is_closed = True
            self._timer.cancel()
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.stop()

    def _draw(self) -> None:
        if self._bar is not None:
            done, total = self._so_far
            self._bar.update(0, completed=done, total=total)
