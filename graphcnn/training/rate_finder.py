"""The learning-rate range test: which rates make the loss fall, and from which on it runs away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from graphcnn.arguments import known_arguments
from graphcnn.backend import State
from graphcnn.errors import OptionError
from graphcnn.figures import new_figure
from graphcnn.ops.attributes import is_int
from graphcnn.rendering import as_html
from graphcnn.training.bars import log_trend
from graphcnn.training.epoch_length import of_steps
from graphcnn.training.objective import LOSS, variant
from graphcnn.training.optimizers import LEARNING_RATE
from graphcnn.training.options import is_positive, refuse, require_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from graphcnn.training.model import Model

SMOOTHING: Final = 0.9
"""How much of the moving average of the losses is of those before."""
AWAY: Final = 4.0
"""So many times the least loss, the test ends: the loss has run away."""
LEADING: Final = 10
"""The first steps, among which the least loss is not looked for: the average is of few."""
NEAR: Final = (0.01, 0.3)
"""Where the steepest rate is looked for, in parts of that with the least loss: noise below, danger above."""


@dataclass(frozen=True, slots=True, repr=False)
class LearningRateCurve:
    """The loss at growing learning rates; it prints, plots and displays itself.

    rates: of each step. losses: of each step's batch, before the step, as a moving average. suggestion: the
    rate at which the loss falls fastest, on a logarithmic scale: good for a constant rate. highest: the rate
    from which on it rises again: a schedule's peak stays below it.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    highest: float

    def plot(self) -> Figure:
        """Return a matplotlib figure. Raises OptionError where matplotlib is not installed."""
        figure = new_figure(layout="constrained")
        figure.set_size_inches(6, 4)
        axes = figure.subplots()
        axes.plot(self.rates, self.losses)
        axes.axvline(self.suggestion, color="tab:green", label=f"steepest at {self.suggestion:.2g}")
        axes.axvline(self.highest, color="tab:red", label=f"least loss at {self.highest:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss (moving average)")
        axes.grid(alpha=0.3)
        axes.legend()
        return figure

    def __str__(self) -> str:
        first, last = self.rates[0], self.rates[-1]
        return (
            f"loss {log_trend(self.losses, 40)} at rates {first:.2g} to {last:.2g}, {len(self.rates)} steps\n"
            f"it falls fastest at {self.suggestion:.2g}, and is least at {self.highest:.2g}"
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(str(self))


@known_arguments
def find_learning_rate(
    model: Model,
    x: object,
    y: object = None,
    *,
    start: float = 1e-6,
    end: float = 10.0,
    steps: int = 200,
    batch_size: int = 32,
) -> LearningRateCurve:
    """Return how the loss goes when the learning rate grows from step to step, by the same factor.

    The steps are taken on a copy of the model's state: the model stays as it is. x, y, batch_size: as in
    `Model.fit`. start, end: the first and the last rate; steps: how many, unless the loss runs away before.
    (Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.)

    Raises OptionError for rates or steps that cannot be, and DataError for data that does not fit, or of
    which there are too few batches in an iterable.
    """
    require_number("start", start, is_positive, "above 0")
    require_number("end", end, lambda rate: rate > start, f"above start={start:g}")
    if not is_int(steps, 2 * LEADING):
        refuse(f"steps={steps!r:.60} is not a number of steps of at least {2 * LEADING}", "steps=200")
    source = of_steps(model.source(x, y, batch_size=batch_size), steps, is_iterator=isinstance(x, Iterator))
    state = State(model.state())
    rates: list[float] = []
    averages: list[float] = []
    least, average = math.inf, 0.0
    with closing(source), closing(source.epoch(0, 0)) as batches:
        for batch in batches:
            rate = start * (end / start) ** (len(rates) / (steps - 1))
            step = model.executable(variant("step", batch))
            with np.errstate(over="ignore", invalid="ignore"):
                loss = float(step.step(state, **batch, **{LEARNING_RATE: rate})[LOSS])
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            smoothed = average / (1 - SMOOTHING ** (len(rates) + 1))
            is_away = not math.isfinite(smoothed) or smoothed > AWAY * least > 0
            if is_away and len(rates) > LEADING:
                break
            if not math.isfinite(smoothed):
                raise OptionError(
                    f"the loss is {loss} already in step {len(rates) + 1}, at a rate of {rate:.2g}",
                    mend="start=1e-9; and look for NaN or huge values in the data",
                )
            rates.append(rate)
            averages.append(smoothed)
            least = min(least, smoothed)
    return _curve(rates, averages)


def _curve(rates: list[float], losses: list[float]) -> LearningRateCurve:
    """Return the curve, with the rate where it is steepest up to its least loss, and that one."""
    smoothed = np.array(losses)
    bottom = LEADING + int(smoothed[LEADING:].argmin())
    first, last = (int(np.searchsorted(rates, rates[bottom] * part)) for part in NEAR)
    first = max(LEADING, first)
    slopes = np.gradient(smoothed, np.log(rates))
    steepest = first + int(slopes[first : max(last, first) + 1].argmin())
    return LearningRateCurve(tuple(rates), tuple(losses), rates[steepest], rates[bottom])
