"""A hint after an epoch in which nothing was learnt: what it comes from, most often, and the mend."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from graphcnn.arrays import Array
from graphcnn.ir import format_shape
from graphcnn.training.losses import CrossEntropy
from graphcnn.training.objective import OUTPUT
from graphcnn.training.optimizers import Adam

if TYPE_CHECKING:
    from graphcnn.training.model import Model

STUCK = 0.98
"""A loss of this share of that of guessing has learnt nothing yet."""
CHANCE = 2.0
"""Standard errors: a loss that falls by more learns, and is given another epoch."""
JUMP = 2.0
"""A loss that has been so many times the first has jumped: that it falls again says nothing."""
LATEST = 1000
"""The steps that are looked at."""
FEWEST_STEPS = 20
"""Of fewer steps, nothing can be expected."""
GROWN = 10.0
"""A loss that has grown so many times over has run away."""
LARGEST_INPUT = 30.0
"""Inputs that are scaled are smaller, those of pixels from 0 to 255 larger."""


class Course:
    """The loss of an epoch, step by step. before: that of the epoch before."""

    def __init__(self, before: Course | None = None) -> None:
        self.first = math.nan
        self.recent = math.nan
        """The mean over the last ten steps or so."""
        self.latest: deque[float] = deque(maxlen=LATEST)
        self._level_before = None if before is None else before._level()

    @property
    def is_falling(self) -> bool:
        """Whether the loss falls by more than chance: along a line, or from the epoch before to this one."""
        steps = len(self.latest)
        if steps < FEWEST_STEPS or max(self.latest) > JUMP * self.first:
            return False
        if self._level_before is not None:
            (mean_before, error_before), (mean, error) = self._level_before, self._level()
            if mean < mean_before - CHANCE * math.hypot(error_before, error):
                return True
        times, losses = np.arange(steps) - (steps - 1) / 2, np.array(self.latest)
        slope = float(times @ losses / (times @ times))
        rest = losses - losses.mean() - slope * times
        return slope < -CHANCE * math.sqrt(float(rest @ rest / (steps - 2) / (times @ times)))

    def _level(self) -> tuple[float, float]:
        """Return the mean of the latest losses, and its standard error."""
        losses = np.array(self.latest)
        return float(losses.mean()), float(losses.std() / math.sqrt(len(losses)))

    def add(self, loss: float) -> None:
        """Note the loss of a step."""
        if not self.latest:
            self.first = self.recent = loss
        self.latest.append(loss)
        self.recent += 0.1 * (loss - self.recent)


def hint(model: Model, course: Course, images: tuple[Array, ...]) -> str:
    """Return what is probably wrong after an epoch, and the mend; "" where all goes well.

    images: the inputs, as far as they are at hand.
    """
    said = _trouble(model, course)
    if not said:
        return ""
    causes = [*_large_inputs(images), *_high_rate(model)] or [
        "Mend: try a learning rate ten times higher or lower; see that labels belong to their images; "
        "model.inspect(x, y) shows dead layers"
    ]
    return "\n  ".join([said, *causes])


def _trouble(model: Model, course: Course) -> str:
    """Return in which way the loss does not fall, or ""."""
    if course.is_falling:  # slowly perhaps, but it learns
        return ""
    output = model.forward_graph.outputs.get(OUTPUT)
    if isinstance(model.loss, CrossEntropy) and model.loss.reduction == "mean" and output is not None:
        classes = output.type.static(output.type.rank - 1)
        guessing = math.log(classes)
        high = 2.0 if len(course.latest) >= FEWEST_STEPS else GROWN  # batch norm overshoots at first
        if course.recent > high * guessing > 0 and course.recent > 0.5 * course.first:
            return f"the loss is {course.recent:.4g}, and that of guessing among {classes} is {guessing:.4g}"
        if classes > 1 and len(course.latest) >= FEWEST_STEPS and course.recent >= STUCK * guessing:
            return f"the loss is still that of guessing among {classes} classes: {guessing:.4g}"
        return ""
    if course.recent > GROWN * course.first > 0:
        return f"the loss has grown from {course.first:.4g} to {course.recent:.4g}"
    return ""


def _large_inputs(images: tuple[Array, ...]) -> list[str]:
    for array in images:
        if array.dtype == np.uint8:  # pixels, which are divided by 255
            continue
        least, greatest = float(np.min(array)), float(np.max(array))
        if max(-least, greatest) > LARGEST_INPUT:
            scaled = "images / 255" if least >= 0 and greatest <= 255 else "(x - x.mean()) / x.std()"
            shape = format_shape(("N", *array.shape[1:]))
            return [
                f"The inputs {shape} hold values from {least:.4g} to {greatest:.4g}. "
                f"Mend: compile anew, and train with {scaled}"
            ]
    return []


def _high_rate(model: Model) -> list[str]:
    """Return what is to be said of the rate: those of Adam are a step's length, whatever the gradient."""
    usual, high = (0.001, 0.05) if isinstance(model.optimizer, Adam) else (0.05, 1.0)
    if model.learning_rate < high:
        return []
    name = type(model.optimizer).__name__
    return [f"The learning rate is {model.learning_rate:g}. Mend: compile anew with gcn.{name}({usual:g})"]
