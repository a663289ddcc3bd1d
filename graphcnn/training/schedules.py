"""Schedules: the learning rate as a function of the position in training, and of nothing else.

The position is the epoch, counted from 1 through all training of a model, the step, counted from 1 in the
epoch, and how many steps an epoch has. So training that goes on takes up a schedule where it is.

A schedule that goes from one rate to another has the first at the begin of its first epoch or step, and the
last at the end of its last one, not in it: an end of 0 wastes no epoch.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.ir import users_line
from graphcnn.ops.attributes import fits_float, is_int
from graphcnn.training.callbacks import Callback

if TYPE_CHECKING:
    from graphcnn.training.model import Model

By = Literal["epoch", "step"]
POSITION: Final = {"epoch": ("epoch",), "step": ("epoch", "step", "steps")}
"""What a schedule is a function of."""


@known_arguments
class LearningRateSchedule(Callback):
    """Sets the learning rate of each epoch or step; after `fit` the model has the rate that it had before.

    schedule: the learning rate as a function of the number of the epoch, counted from 1 through all training;
    with by="step" of epoch, step and steps: the number of the step in the epoch, counted from 1, and how many
    an epoch has.
    Raises OptionError where it is no such function, and `fit` where a schedule by step is to go with batches
    of which nobody knows how many there are.
    """

    sets_rate = True

    def __init__(self, schedule: Callable[..., float], *, by: By = "epoch") -> None:
        if by not in tuple(POSITION):
            raise OptionError(f"by={by!r:.60} is neither 'epoch' nor 'step'", mend='by="step"')
        example = "gcn.LearningRateSchedule(lambda epoch: 0.1 / epoch)"
        if by == "step":
            example = 'gcn.LearningRateSchedule(lambda epoch, step, steps: 0.1 / epoch, by="step")'
        if not callable(schedule):
            raise OptionError(f"schedule={schedule!r:.60} is not a function of the {by}", mend=example)
        _require_arguments(schedule, by, example)
        self.schedule = schedule
        self.by = by

    def on_epoch_begin(self, model: Model, epoch: int) -> None:
        model.scheduled_rate = self._rate(model, epoch, 1)

    def on_step_begin(self, model: Model, epoch: int, step: int, batch: Mapping[str, Array]) -> None:
        if self.by == "step":
            model.scheduled_rate = self._rate(model, epoch, step)

    def _rate(self, model: Model, epoch: int, step: int) -> float:
        if self.by == "epoch":
            return self.schedule(epoch)
        steps = model.steps_per_epoch
        if steps is None:
            raise OptionError(
                "a schedule by step needs to know how many steps an epoch has, and these batches do not tell",
                mend='model.fit(batches, steps_per_epoch=100); or a schedule with by="epoch"',
            )
        return self.schedule(epoch, step, steps)


def _require_arguments(schedule: Callable[..., float], by: By, example: str) -> None:
    """Raise OptionError for a function that cannot be called with what it is to be a function of."""
    try:
        inspect.signature(schedule).bind(*POSITION[by])
    except TypeError:
        other = "step" if by == "epoch" else "epoch"
        raise _at_users_line(
            OptionError(
                f"the schedule takes {inspect.signature(schedule)}, not ({', '.join(POSITION[by])})",
                facts=[f"with by={other!r} it is called with ({', '.join(POSITION[other])})"],
                mend=example,
            )
        ) from None
    except ValueError:
        return  # it has no signature to be known


def _scheduled(rate: Callable[[float], float], by: By, warmup: float) -> LearningRateSchedule:
    """Return a schedule of a rate that is a function of the epochs that are done, after a warm-up.

    rate: of the epochs done since the end of the warm-up. It is taken at the begin of each epoch or step. A
    warm-up of K epochs or steps goes up evenly to rate(0): the k-th of them has k / (K + 1) of it.
    """
    if by not in tuple(POSITION):
        raise _at_users_line(OptionError(f"by={by!r:.60} is neither 'epoch' nor 'step'", mend='by="step"'))
    _require_rate("warmup", warmup, zero=True, mend="warmup=1")
    if by == "epoch" and warmup != math.floor(warmup):
        raise _at_users_line(
            OptionError(
                f"warmup={warmup!r} is no whole number of epochs, but the rate changes by epoch",
                mend=f'warmup={warmup!r}, by="step"; or warmup=1',
            )
        )

    def at(done: float, length: float) -> float:
        """Return the rate of the epoch or step that begins after so many epochs, and takes so many."""
        if done + length / 2 < warmup:  # the half keeps clear of what rounding makes of the warm-up's end
            return rate(0.0) * (done + length) / (warmup + length)
        return rate(max(done - warmup, 0.0))

    if by == "epoch":
        return LearningRateSchedule(lambda epoch: at(epoch - 1, 1))
    return LearningRateSchedule(
        lambda epoch, step, steps: at(epoch - 1 + (step - 1) / steps, 1 / steps), by="step"
    )


@known_arguments
def cosine_decay(
    start: float, epochs: int, end: float = 0.0, *, warmup: float = 0, by: By = "epoch"
) -> LearningRateSchedule:
    """Return a schedule that falls from `start` along half a cosine, and comes to `end` after these epochs.

    Epoch e of E trains at end + (start - end) · (1 + cos(π · (e - 1) / E)) / 2; later ones at `end`. (SGDR,
    Loshchilov and Hutter, ICLR 2017, Eq. 5 without restarts.) start: above 0. end: of at least 0.
    warmup: so many of the epochs rise evenly to `start` before. by: "epoch", or "step" for a rate
    that changes within epochs, too.
    Raises OptionError for other values.
    """
    _require_rate("start", start, zero=False)
    _require_rate("end", end, zero=True)
    falling = _falling(epochs, warmup)

    def rate(done: float) -> float:
        return end if done >= falling else end + (start - end) * (1 + math.cos(math.pi * done / falling)) / 2

    return _scheduled(rate, by, warmup)


@known_arguments
def step_decay(
    start: float, every: int, factor: float = 0.1, *, warmup: float = 0, by: By = "epoch"
) -> LearningRateSchedule:
    """Return a schedule that begins at `start` and is multiplied by `factor` after every so many epochs.

    start, factor: above 0. warmup: so many epochs rise evenly to `start` before. by: "epoch", or "step" for a
    warm-up that rises within epochs. Raises OptionError for other values.
    """
    _require_rate("start", start, zero=False)
    _require_rate("factor", factor, zero=False)
    _require_epochs("every", every)
    return _scheduled(lambda done: start * factor ** math.floor(done / every + ROUNDING), by, warmup)


@known_arguments
def exponential_decay(
    start: float, factor: float, *, warmup: float = 0, by: By = "epoch"
) -> LearningRateSchedule:
    """Return a schedule that begins at `start` and is multiplied by `factor` in the course of each epoch.

    Epoch e trains at start · factor^(e - 1); with by="step" the power is that of the epochs and parts of them
    that are done. start, factor: above 0. warmup: so many epochs rise evenly to `start` before.
    Raises OptionError for other values.
    """
    _require_rate("start", start, zero=False)
    _require_rate("factor", factor, zero=False)
    return _scheduled(lambda done: start * factor**done, by, warmup)


@known_arguments
def polynomial_decay(
    start: float, epochs: int, end: float = 0.0, power: float = 1.0, *, warmup: float = 0, by: By = "epoch"
) -> LearningRateSchedule:
    """Return a schedule that falls from `start`, and comes to `end` after these epochs; evenly with power 1.

    Epoch e of E trains at end + (start - end) · (1 - (e - 1) / E)^power; later ones at `end`. start, power:
    above 0. end: of at least 0. warmup: so many of the epochs rise evenly to `start` before. by: "epoch" or
    "step". Raises OptionError for other values.
    """
    _require_rate("start", start, zero=False)
    _require_rate("end", end, zero=True)
    _require_rate("power", power, zero=False, mend="power=1.0")
    falling = _falling(epochs, warmup)

    def rate(done: float) -> float:
        return end if done >= falling else end + (start - end) * (1 - done / falling) ** power

    return _scheduled(rate, by, warmup)


@known_arguments
def triangular(
    peak: float,
    epochs: int,
    *,
    start: float | None = None,
    end: float = 0.0,
    rise: float = 0.25,
    by: By = "step",
) -> LearningRateSchedule:
    """Return a schedule that rises evenly from `start` to `peak`, and falls evenly to `end`: one triangle.

    rise: the share of the epochs that it rises. start: by default a fifth of the peak. Later epochs train at
    `end`. by: "step" or "epoch". (Smith, "Cyclical Learning Rates", WACV 2017, one cycle.)
    Raises OptionError unless peak and start are above 0, end is at least 0 and rise from 0 to 1.
    """
    _require_rate("peak", peak, zero=False)
    return _up_and_down(
        peak, epochs, peak / 5 if start is None else start, end, rise, by, lambda share: share
    )


@known_arguments
def one_cycle(
    peak: float,
    epochs: int,
    *,
    start: float | None = None,
    end: float | None = None,
    rise: float = 0.3,
    by: By = "step",
) -> LearningRateSchedule:
    """Return a schedule that rises along half a cosine from `start` to `peak`, and falls along one to `end`.

    rise: the share of the epochs that it rises. start: by default peak / 25. end: by default start / 10,000.
    Later epochs train at `end`. by: "step" or "epoch". (Smith and Topin, "Super-Convergence", 2018, as
    PyTorch's `OneCycleLR` has it, whose momentum does not cycle here.)
    Raises OptionError unless peak and start are above 0, end is at least 0 and rise from 0 to 1.
    """
    _require_rate("peak", peak, zero=False)
    if start is not None:
        _require_rate("start", start, zero=False)
    first = peak / 25 if start is None else start
    last = first / 10_000 if end is None else end
    return _up_and_down(peak, epochs, first, last, rise, by, lambda s: (1 - math.cos(math.pi * s)) / 2)


def _up_and_down(
    peak: float,
    epochs: int,
    start: float,
    end: float,
    rise: float,
    by: By,
    eased: Callable[[float], float],
) -> LearningRateSchedule:
    """Return a schedule from start to peak and to end. eased: how far it is, after a share of the way."""
    _require_rate("start", start, zero=False)
    _require_rate("end", end, zero=True)
    _require_epochs("epochs", epochs)
    _require_rate("rise", rise, zero=True, mend="rise=0.25")
    if rise > 1:
        raise _at_users_line(OptionError(f"rise={rise!r} is no share from 0 to 1", mend="rise=0.25"))
    rising = rise * epochs

    def rate(done: float) -> float:
        if done >= epochs:
            return end
        if done < rising:
            return start + (peak - start) * eased(done / rising)
        return peak + (end - peak) * eased((done - rising) / (epochs - rising))

    return _scheduled(rate, by, 0)


ROUNDING: Final = 1e-9
"""So much of a stage may be lacking at its begin: the third of three steps of a third are 0.999... epochs."""


def _falling(epochs: int, warmup: Any) -> float:
    """Return how many epochs are left after the warm-up."""
    _require_epochs("epochs", epochs)
    _require_rate("warmup", warmup, zero=True, mend="warmup=1")
    if warmup >= epochs:
        raise _at_users_line(
            OptionError(
                f"no epoch is left after a warm-up of {warmup!r}: there are {epochs}",
                mend=f"epochs={math.floor(warmup) + epochs}, of all epochs, those of the warm-up included",
            )
        )
    left: float = epochs - warmup
    return left


def _require_rate(name: str, value: object, *, zero: bool, mend: str = "") -> None:
    is_number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    if is_number and fits_float(value) and 0 <= value < math.inf and (value or zero):  # type: ignore[operator,arg-type]
        return
    least = "of at least 0" if zero else "above 0"
    raise _at_users_line(
        OptionError(f"{name}={value!r:.60} is not a number {least}", mend=mend or f"{name}=0.05")
    )


def _require_epochs(name: str, value: object) -> None:
    if not is_int(value, 1):
        raise _at_users_line(
            OptionError(f"{name}={value!r:.60} is not a number of epochs of at least 1", mend=f"{name}=10")
        )


def _at_users_line(error: OptionError) -> OptionError:
    place = users_line()
    error.located(file=place.file, line=place.line)
    return error
