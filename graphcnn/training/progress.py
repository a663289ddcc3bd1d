"""What `fit` shows while it runs: a bar on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from graphcnn.rendering import console_of_output
from graphcnn.visible import visible

REFRESH_SECONDS = 0.1


class Progress:
    """Shows epoch, loss, metrics, images per second and time left. Nothing where `shown` is False."""

    def __init__(self, epochs: int, steps: int | None, *, shown: bool) -> None:
        self._epochs = epochs
        self._steps = steps
        self._console: Any = None
        self._bar: Any = None
        self._next = 0.0
        if shown:
            self._console = console_of_output()

    @property
    def is_shown(self) -> bool:
        return self._console is not None

    def begin(self, epoch: int) -> None:
        """Begin the bar of one epoch."""
        self._start = time.perf_counter()
        self._next = 0.0
        if self._console is None or not self._console.is_terminal:
            return
        from rich import progress

        self._bar = progress.Progress(
            progress.TextColumn(f"epoch {epoch}/{self._epochs}"),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[numbers]}"),
            progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=self._steps, numbers="")
        self._bar.start()

    def advance(self, step: int, samples: int, numbers: Callable[[], dict[str, float]]) -> None:
        """Show the state after a step; most calls return at once."""
        now = time.perf_counter()
        if self._bar is None or now < self._next:
            return
        self._next = now + REFRESH_SECONDS
        speed = f"{samples / (now - self._start):,.0f} images/s"
        self._bar.update(self._task, completed=step, numbers=f"{format_numbers(numbers())}  {speed}")

    def validated(self, epoch: int, step: int, numbers: dict[str, float]) -> None:
        """Show what a validation within an epoch has measured, on a line that stays."""
        if self._console is not None:
            self._console.print(
                f"epoch {epoch}/{self._epochs}  step {step}  {format_numbers(numbers)}",
                highlight=False,
                soft_wrap=True,
            )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def end(self, epoch: int, logs: dict[str, float]) -> None:
        """Replace the bar by a line that stays."""
        self.close()
        if self._console is not None:
            speed = f"{logs['images_per_second']:,.0f} images/s"
            numbers = {name: logs[name] for name in logs if name not in NOT_SHOWN}
            self._console.print(
                f"epoch {epoch}/{self._epochs}  {format_numbers(numbers)}  {speed}  {logs['seconds']:.1f} s",
                highlight=False,
                soft_wrap=True,
            )

    def hint(self, text: str) -> None:
        """Show a hint, unless it is empty."""
        if self._console is not None and text:
            self._console.print(f"Hint: {text}", highlight=False, soft_wrap=True, markup=False)


NOT_SHOWN = ("learning_rate", "seconds", "images_per_second")


def format_numbers(numbers: dict[str, float]) -> str:
    """Return `loss 0.1234  accuracy 96.5 %`."""
    return "  ".join(
        f"{visible(name)} {value:.2%}" if name.endswith("accuracy") else f"{visible(name)} {value:.4f}"
        for name, value in numbers.items()
    )
