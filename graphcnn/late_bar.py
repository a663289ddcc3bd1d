"""A bar for work of which nobody knows beforehand how long it lasts: on a terminal, once it does."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import Any

from graphcnn.interrupts import interrupts_put_off
from graphcnn.rendering import console_of_output

DELAY_SECONDS = 2.0
"""Nothing is shown of what takes no longer."""


def is_watched() -> bool:
    """Whether somebody may look at the errors' stream, where such bars are drawn."""
    return sys.stderr is not None and sys.stderr.isatty()


class LateBar:
    """A bar on the errors' stream, from `show` until `close`. Any thread may call.

    title: what is done, without anything that would command a terminal. unit: what is counted, such as
    images.
    """

    def __init__(self, title: str, unit: str) -> None:
        self._title = title
        self._unit = unit
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._timer = threading.Timer(DELAY_SECONDS, self.show)
        self._timer.daemon = True
        self._is_closed = False
        self._so_far: tuple[int, int | None] = (0, None)
        self._bar: Any = None

    def report(self, done: int, total: int) -> None:
        """Note how much is done."""
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
                progress.TextColumn(self._title, markup=False),
                progress.BarColumn(bar_width=None),
                progress.MofNCompleteColumn(),
                progress.TextColumn(f"{self._unit}, {{task.elapsed:.0f}} s"),
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
