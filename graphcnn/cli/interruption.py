"""Ctrl-C while training: the first ends it after a whole step, a second ends the process at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

from graphcnn.training.callbacks import Callback, StopTraining
from graphcnn.training.model import Model


class Interruption(Callback):
    """Within its `with`, a Ctrl-C ends `fit` after the step that is being taken, without an error.

    came: whether one has come.
    """

    def __init__(self) -> None:
        self.came = False
        self._is_in_charge = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._is_in_charge:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_in_charge:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def on_step_end(self, model: Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        if self.came:
            raise StopTraining

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        if self.came:
            raise StopTraining
