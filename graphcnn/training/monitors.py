"""Callbacks that watch a number: they stop training, keep what was best, or lower the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.errors import OptionError, meant
from graphcnn.interchange.files import as_path, require_place
from graphcnn.ops.attributes import fits_float, is_int
from graphcnn.training.callbacks import Callback, StopTraining

if TYPE_CHECKING:
    from graphcnn.training.model import Model

SCORES: Final = ("accuracy", "iou", "f1", "precision", "recall", "r2")
"""Numbers of which more is better end so."""


class Monitor(Callback):
    """Base of callbacks that watch a number, and know when it was best.

    monitor: its name. sign: what makes less better. best: the best number so far; None before there is one.
    best_epoch: when it was, or before how many epochs were done.
    """

    def __init__(self, monitor: object, mode: str, min_delta: float = 0.0) -> None:
        title = type(self).__name__
        if not isinstance(monitor, str):
            has_patience = is_int(monitor, 0) and not isinstance(self, BestWeights | ModelCheckpoint)
            made = f"gcn.{title}(patience={monitor})" if has_patience else 'monitor="val_loss"'
            raise OptionError(f"monitor={monitor!r:.60} is not the name of a number", mend=made)
        if mode not in ("", "min", "max"):
            raise OptionError(f"mode={mode!r:.60} is neither 'min' nor 'max'", mend='mode="min" for a loss')
        _require_number("min_delta", min_delta, least=0.0, most=math.inf)
        self.monitor = monitor
        self.min_delta = min_delta
        self.sign = 1.0 if (mode or ("max" if monitor.endswith(SCORES) else "min")) == "min" else -1.0
        self._forget()

    def _forget(self, epochs_done: int = 0) -> None:
        self.best: float | None = None
        self.best_epoch = epochs_done

    def require(self, recorded: Sequence[str]) -> None:
        """Raise OptionError unless the number that is watched is among those that are recorded."""
        if self.monitor in recorded:
            return
        mend = "pass validation_data to fit, or watch another number"
        if self.monitor.removeprefix("val_") not in recorded:
            could_be = {*recorded, *(f"val_{name}" for name in recorded)}
            mend = meant(self.monitor, could_be, mend)
        raise OptionError(
            f"{type(self).__name__} watches {self.monitor!r}, which is not recorded",
            facts=[f"recorded: {', '.join(recorded)}"],
            mend=mend,
        )

    def _has_improved(self, epoch: int, logs: dict[str, float]) -> bool:
        """Return whether the number is better than ever, and note it then."""
        number = float(logs[self.monitor])
        if not math.isfinite(number):
            return False
        if self.best is not None and not self.sign * number < self.sign * self.best - self.min_delta:
            return False
        self.best, self.best_epoch = number, epoch
        return True

    def on_train_begin(self, model: Model) -> None:
        self._forget(model.epochs_done)

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def set_state(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class Keeper(Monitor):
    """Base of those that keep the model's state of the best epoch, and give it back after training."""

    def _forget(self, epochs_done: int = 0) -> None:
        super()._forget(epochs_done)
        self._kept: dict[str, Array] = {}

    def _keep(self, model: Model) -> None:
        self._kept = model.state()

    def on_train_end(self, model: Model) -> None:
        if self._kept:
            model.set_state(self._kept)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "kept": self._kept}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._kept = state["kept"]


@known_arguments
class BestWeights(Keeper):
    """Gives the model after training the state that it had when a number was best.

    monitor: the name of the number. mode: "min" or "max"; by default "max" for accuracy, iou and other
    scores, else "min". It is looked at after each epoch, and at each validation within one.
    """

    def __init__(self, monitor: str = "val_loss", *, mode: str = "") -> None:
        super().__init__(monitor, mode)

    def on_validation_end(self, model: Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        if self.monitor in logs and self._has_improved(epoch, logs):
            self._keep(model)

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        self.require(list(logs))
        if self._has_improved(epoch, logs):
            self._keep(model)


@known_arguments
class EarlyStopping(Keeper):
    """Ends training when a number has not improved for `patience` epochs.

    monitor: the name of the number. mode: "min" or "max"; by default "max" for accuracy, iou and other
    scores, else "min". restore_best: whether the model gets back the state that it had in its best epoch.
    min_delta: by so much a number has to be better in order to be an improvement.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        *,
        mode: str = "",
        restore_best: bool = True,
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = _as_patience(type(self).__name__, monitor, patience)
        self.restore_best = restore_best

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        self.require(list(logs))
        if self._has_improved(epoch, logs):
            if self.restore_best:
                self._keep(model)
        elif epoch - self.best_epoch >= self.patience:
            raise StopTraining


@known_arguments
class ReduceOnPlateau(Monitor):
    """Multiplies the learning rate by `factor` when a number has not improved for `patience` epochs.

    It is the model's own rate, which stays so after `fit`, and is in the model's file. A schedule would set
    another one: `fit` raises OptionError where there is one as well.
    monitor: the name of the number. factor: between 0 and 1. min_rate: the rate is never made less.
    mode, min_delta: as those of `EarlyStopping`.
    """

    sets_rate = True

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        *,
        min_rate: float = 0.0,
        mode: str = "",
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        _require_number("factor", factor, least=0.0, most=1.0)
        if factor in (0, 1):
            raise OptionError(f"factor={factor!r} is not between 0 and 1", mend="factor=0.1")
        _require_number("min_rate", min_rate, least=0.0, most=math.inf)
        self.factor = factor
        self.patience = _as_patience(type(self).__name__, monitor, patience)
        self.min_rate = min_rate

    def _forget(self, epochs_done: int = 0) -> None:
        super()._forget(epochs_done)
        self._since = epochs_done

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        self.require(list(logs))
        if self._has_improved(epoch, logs):
            self._since = epoch
        elif epoch - self._since >= self.patience:
            self._since = epoch
            model.learning_rate = max(
                model.learning_rate * self.factor, min(self.min_rate, model.learning_rate)
            )

    def state(self) -> dict[str, Any]:
        return {**super().state(), "since": self._since}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._since = state["since"]


@known_arguments
class ModelCheckpoint(Monitor):
    """Saves the model after each epoch, so that what ends the training costs one epoch at most.

    path: the file, which `gcn.load` reads; each epoch replaces it atomically. save_best_only: whether to save
    it after those epochs alone in which a number was better than ever; monitor, mode: which, as those of
    `EarlyStopping`. `fit` raises OSError before the first epoch where it cannot be written.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        monitor: str = "val_loss",
        *,
        save_best_only: bool = False,
        mode: str = "",
    ) -> None:
        super().__init__(monitor, mode)
        if not isinstance(save_best_only, bool):
            raise OptionError(
                f"save_best_only={save_best_only!r:.60} is neither True nor False", mend="save_best_only=True"
            )
        self.path = as_path(path)
        self.save_best_only = save_best_only

    def require(self, recorded: Sequence[str]) -> None:
        if self.save_best_only:
            super().require(recorded)

    def on_train_begin(self, model: Model) -> None:
        super().on_train_begin(model)
        if model.rank == 0:
            require_place(self.path)

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        if self.save_best_only:
            self.require(list(logs))
            if not self._has_improved(epoch, logs):
                return
        if model.rank == 0 or model.shard_optimizer:  # all ranks give the first one what they have
            model.save(self.path)


def _as_patience(title: str, monitor: str, patience: object) -> int:
    if isinstance(patience, int) and is_int(patience, 0):
        return patience
    is_mode = str(patience) in ("min", "max")
    mend = f'gcn.{title}("{monitor}", mode="{patience}")' if is_mode else "patience=3"
    raise OptionError(f"patience={patience!r:.60} is not a number of epochs", mend=mend)


def _require_number(name: str, value: object, *, least: float, most: float) -> None:
    is_number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    if is_number and fits_float(value) and least <= value <= most:  # type: ignore[operator,arg-type]
        return
    range = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
    raise OptionError(
        f"{name}={value!r:.60} is not a number {range}",
        mend=f"{name}={0.001 if name == 'min_delta' else 0.1}",
    )
