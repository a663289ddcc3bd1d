"""Schedules: the learning rate as a function of the epoch.

Epochs count from 1 through all training of a model. A schedule that goes from `start` to `end` trains its
first epoch at `start`, and comes to `end` after its last, not in it: an end of 0 wastes no epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from graphcnn.arguments import known_arguments
from graphcnn.errors import OptionError
from graphcnn.ir import users_line
from graphcnn.ops.attributes import fits_float, is_int
from graphcnn.training.callbacks import Callback

if TYPE_CHECKING:
    from graphcnn.training.model import Model


@known_arguments
class LearningRateSchedule(Callback):
    """Sets the learning rate of each epoch; after `fit` the model has the rate that it had before.

    schedule: from the number of the epoch, counted from 1 through all training, to the learning rate.
    Raises OptionError where it is no function.
    """

    def __init__(self, schedule: Callable[[int], float]) -> None:
        if not callable(schedule):
            raise OptionError(
                f"schedule={schedule!r:.60} is not a function of the epoch",
                mend="gcn.LearningRateSchedule(lambda epoch: 0.1 / epoch)",
            )
        self.schedule = schedule

    def on_epoch_begin(self, model: Model, epoch: int) -> None:
        model.scheduled_rate = self.schedule(epoch)


@known_arguments
def cosine_decay(start: float, epochs: int, end: float = 0.0) -> LearningRateSchedule:
    """Return a schedule that falls from `start` along half a cosine, and comes to `end` after these epochs.

    Epoch e of E trains at end + (start - end) · (1 + cos(π · (e - 1) / E)) / 2; later ones at `end`. (SGDR,
    Loshchilov and Hutter, ICLR 2017, Eq. 5 without restarts.) start: above 0. end: of at least 0.
    Raises OptionError for other values.
    """
    _require_rate("start", start, zero=False)
    _require_rate("end", end, zero=True)
    _require_epochs("epochs", epochs)

    def rate(epoch: int) -> float:
        if epoch > epochs:
            return end
        return end + (start - end) * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2

    return LearningRateSchedule(rate)


@known_arguments
def step_decay(start: float, every: int, factor: float = 0.1) -> LearningRateSchedule:
    """Return a schedule that begins at `start` and is multiplied by `factor` after every so many epochs.

    start, factor: above 0. Raises OptionError for other values.
    """
    _require_rate("start", start, zero=False)
    _require_rate("factor", factor, zero=False)
    _require_epochs("every", every)
    return LearningRateSchedule(lambda epoch: start * factor ** ((epoch - 1) // every))


def _require_rate(name: str, value: object, *, zero: bool) -> None:
    is_number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    if is_number and fits_float(value) and 0 <= value < math.inf and (value or zero):  # type: ignore[operator,arg-type]
        return
    least = "of at least 0" if zero else "above 0"
    raise _at_users_line(OptionError(f"{name}={value!r:.60} is not a number {least}", mend=f"{name}=0.05"))


def _require_epochs(name: str, value: object) -> None:
    if not is_int(value, 1):
        raise _at_users_line(
            OptionError(f"{name}={value!r:.60} is not a number of epochs of at least 1", mend=f"{name}=10")
        )


def _at_users_line(error: OptionError) -> OptionError:
    place = users_line()
    error.located(file=place.file, line=place.line)
    return error
