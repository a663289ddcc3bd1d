"""Callbacks: what `fit` calls between steps and epochs."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.interchange.files import as_path, require_place
from graphcnn.ops.attributes import is_int

if TYPE_CHECKING:
    from graphcnn.training.model import Model


class StopTraining(Exception):  # noqa: N818 - it is a signal, like StopIteration
    """Raised by a callback to end `fit` after the present epoch."""


class Callback:
    """Base of callbacks. `logs` maps names to numbers: loss, metrics, `val_` ones, learning_rate, seconds."""

    def on_train_begin(self, model: Model) -> None:
        """Called once before the first epoch."""

    def on_epoch_begin(self, model: Model, epoch: int) -> None:
        """Called before each epoch; they count from 1."""

    def on_step_begin(self, model: Model, epoch: int, step: int, batch: Mapping[str, Array]) -> None:
        """Called before each step of an epoch; they count from 1. batch: inputs and "target" by name."""

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        """Called after each epoch. May raise StopTraining."""

    def on_train_end(self, model: Model) -> None:
        """Called once at the end, after an error or an interruption too."""


def check_callbacks(callbacks: object) -> None:
    """Raise OptionError unless this is a sequence of callbacks."""
    if not isinstance(callbacks, list | tuple):
        raise OptionError(
            f"callbacks is {type(callbacks).__name__}, not a sequence", mend="callbacks=[gcn.EarlyStopping()]"
        )
    for callback in callbacks:
        if not isinstance(callback, Callback):
            shown = f"the class {callback.__name__}" if isinstance(callback, type) else repr(callback)
            raise OptionError(f"{shown} is not a callback", mend="callbacks=[gcn.EarlyStopping()]")


class LearningRateSchedule(Callback):
    """Sets the learning rate before each epoch.

    schedule: from the number of the epoch, counted from 1, to the learning rate.
    """

    def __init__(self, schedule: Callable[[int], float]) -> None:
        self.schedule = schedule

    def on_epoch_begin(self, model: Model, epoch: int) -> None:
        model.learning_rate = self.schedule(epoch)


def cosine_decay(start: float, epochs: int, end: float = 0.0) -> LearningRateSchedule:
    """Return a schedule that falls from `start` to `end` along half a cosine over these epochs."""

    def rate(epoch: int) -> float:
        progress = min((epoch - 1) / max(epochs - 1, 1), 1.0)
        return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2

    return LearningRateSchedule(rate)


def step_decay(start: float, every: int, factor: float = 0.1) -> LearningRateSchedule:
    """Return a schedule that multiplies the learning rate by `factor` every so many epochs."""
    if not is_int(every, 1):
        raise OptionError(f"every={every!r} is not a number of epochs of at least 1", mend="every=10")
    return LearningRateSchedule(lambda epoch: start * factor ** ((epoch - 1) // every))


class EarlyStopping(Callback):
    """Ends training when a number has not improved for `patience` epochs.

    monitor: the name of the number. mode: "min" or "max"; by default "max" for accuracy, else "min".
    restore_best: whether the model gets back the state that it had in its best epoch.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 3, *, mode: str = "", restore_best: bool = True
    ) -> None:
        if mode not in ("", "min", "max"):
            raise OptionError(f"mode={mode!r} is neither 'min' nor 'max'", mend='mode="min" for a loss')
        if not is_int(patience, 0):
            raise OptionError(f"patience={patience!r} is not a number of epochs", mend="patience=3")
        self.monitor = monitor
        self.patience = patience
        self.restore_best = restore_best
        self.sign = 1.0 if (mode or ("max" if "accuracy" in monitor else "min")) == "min" else -1.0
        self._forget()

    def _forget(self) -> None:
        self.best_epoch = 0
        self._best = math.inf
        self._state: dict[str, np.ndarray[Any, Any]] = {}

    def on_train_begin(self, model: Model) -> None:
        self._forget()

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        if self.monitor not in logs:
            raise OptionError(
                f"EarlyStopping watches {self.monitor!r}, which is not recorded",
                facts=[f"recorded: {', '.join(logs)}"],
                mend="pass validation_data to fit, or watch another number",
            )
        if self.sign * logs[self.monitor] < self._best:
            self._best, self.best_epoch = self.sign * logs[self.monitor], epoch
            if self.restore_best:
                self._state = model.state()
        elif epoch - self.best_epoch >= self.patience:
            raise StopTraining

    def on_train_end(self, model: Model) -> None:
        if self.restore_best and self._state:
            model.set_state(self._state)


class ModelCheckpoint(Callback):
    """Saves the model after each epoch, so that what ends the training costs one epoch at most.

    path: the file, which `gcn.load` reads; each epoch replaces it atomically. `fit` raises OSError before the
    first epoch where it cannot be written.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path(path)

    def on_train_begin(self, model: Model) -> None:
        require_place(self.path)

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        model.save(self.path)


class CSVLog(Callback):
    """Appends a row per epoch to a CSV file as training goes on; the file begins anew with each `fit`."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)

    def on_train_begin(self, model: Model) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        row = {"epoch": epoch, **logs}
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
