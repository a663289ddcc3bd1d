"""What `fit` costs beside its steps: measured against a loop of `train_step` on ready batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphcnn.data.batches import Batches, converted
from graphcnn.errors import OptionError
from graphcnn.inputs import of_images
from graphcnn.training.model import Model

MOST_STEPS = 200
MOST_BYTES = 1 << 28
"""Of ready batches, which are all in memory."""
RATE = 1e-6
"""At which random labels are learnt: so slowly that the network stays as it is."""


@dataclass(frozen=True, slots=True)
class FitOverhead:
    """Seconds of a step in medians, over as many rounds of as many steps each.

    ready: by `train_step` on batches that are ready. fitted: by `fit` on arrays, of bytes for images. cost:
    the median over the rounds of what fit takes longer, as a share of the former.
    """

    batch: int
    steps: int
    rounds: int
    ready: float
    fitted: float
    cost: float

    def __str__(self) -> str:
        return (
            f"batch {self.batch}, {self.rounds} rounds of {self.steps} steps, medians of a step\n"
            f"  train_step on ready batches   {self.ready * 1e3:9.4f} ms\n"
            f"  fit on arrays                 {self.fitted * 1e3:9.4f} ms  {self.cost:+.1%}"
        )


def fit_overhead(model: Model, *, batch: int = 64, rounds: int = 30) -> FitOverhead:
    """Return what `fit` costs on random data. The model is trained by a hair.

    batch: samples per step. rounds: how often both are measured, in turn.
    Raises OptionError for a model with several inputs or outputs, or that is not trained on labels.
    """
    images, labels = _random_data(model, batch)
    steps = len(images) // batch
    dtype = next(iter(model.forward_graph.inputs_with_role("data").values())).type.dtype
    pairs = Batches(images, labels, size=batch, seed=1).epoch(0)
    ready = [(converted(x, dtype), y) for x, y in pairs]

    def stepping() -> None:
        for x, y in ready:
            model.train_step(x, y)

    def fitting() -> None:
        model.fit(images, labels, batch_size=batch, progress=False)

    before, model.learning_rate = model.learning_rate, RATE
    try:
        measured = []
        for number in range(rounds + 1):
            order = (stepping, fitting) if number % 2 else (fitting, stepping)
            seconds = {work: _seconds(work) for work in order}
            if number:  # the first round warms up
                measured.append((seconds[stepping], seconds[fitting]))
    finally:
        model.learning_rate = before
    stepped, fitted = (statistics.median(each) / steps for each in zip(*measured, strict=True))
    cost = statistics.median(b / a - 1 for a, b in measured)
    return FitOverhead(batch, steps, rounds, stepped, fitted, cost)


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _random_data(model: Model, batch: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return images, bytes where the network takes images, and labels, for all steps of a round."""
    inputs = model.forward_graph.inputs_with_role("data")
    outputs = list(model.forward_graph.outputs.values())
    targets = model.graph("step").inputs_with_role("data")
    labels = [value.type for label, value in targets.items() if label not in inputs]
    if len(inputs) != 1 or len(outputs) != 1 or len(labels) != 1 or labels[0].is_float or labels[0].rank != 1:
        raise OptionError(
            "fit is measured for networks with one input and one output that are trained on labels",
            mend="graphcnn bench NETWORK, without --fit, for its kernels",
        )
    (type,) = (value.type for value in inputs.values())
    steps = max(2, min(MOST_STEPS, MOST_BYTES // type.bytes(batch)))
    random = np.random.default_rng(0)
    shape = type.concrete(steps * batch)
    if of_images(type):
        images: Any = random.integers(256, size=shape, dtype=np.uint8)
    else:
        images = random.standard_normal(shape).astype(type.dtype)
    classes = outputs[0].type.static(1)
    return images, random.integers(classes, size=steps * batch)
