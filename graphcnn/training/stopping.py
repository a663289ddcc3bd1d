"""Signals that end training: noted, and obeyed between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_DEFAULTS: Final[dict[str, object]] = {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGHUP": signal.SIG_DFL,
}
"""The signals that end training, and what Python does on them unless somebody has said otherwise."""


class Stopping:
    """Takes note of Ctrl-C, SIGTERM and SIGHUP, so that training can end after a whole step.

    Only the first one is taken note of: from then on all is as it was before, and a second one ends at once
    what it finds. Where a program has handlers of its own, and in other threads than the main one, these
    stay in charge.

    number: of the signal that has come; 0 before.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}
        self._is_listening = False
        self._is_at_once = False

    def listen(self) -> None:
        """Take note of signals from now on."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name, default in _DEFAULTS.items():
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == default:
                self._before[number] = default
                self._is_listening = True
                signal.signal(number, self._note)

    def end(self) -> None:
        """Let all be as it was before."""
        self._is_listening = False
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        is_first, self.number = self._is_listening, number
        self.end()
        if self._is_at_once or not is_first:
            raise self.error()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a signal ends what is going on at once: nothing is changed there that must be whole."""
        self._is_at_once = True
        try:
            if self.number:
                raise self.error()
            yield
        finally:
            self._is_at_once = False

    def error(self) -> BaseException:
        """Return what a signal ends training with: what Ctrl-C raises, or else the end of the process."""
        return KeyboardInterrupt() if self.number == signal.SIGINT else SystemExit(128 + self.number)

    @property
    def name(self) -> str:
        """What the signal is called."""
        return "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name
