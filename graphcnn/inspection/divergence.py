"""Why the loss of a training is no longer a number: the step and the node with which that began."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from graphcnn.arrays import Array
from graphcnn.backend import with_state
from graphcnn.inspection.nonfinite import NonFinite, first_nonfinite_computed
from graphcnn.training.objective import variant
from graphcnn.training.optimizers import LEARNING_RATE
from graphcnn.training.trail import is_finite

if TYPE_CHECKING:
    from graphcnn.training.model import Model


def first_nonfinite_of_steps(
    model: Model, state: Mapping[str, Array], steps: Iterator[tuple[dict[str, Array], float]]
) -> tuple[int, NonFinite] | None:
    """Take steps again until one makes NaN or infinity; return how many came before it, and where it began.

    state: before the first of the steps. The node is one of the gradient graph, or where that is finite, one
    of the step graph: an update. None where the reference backend finds all steps finite.
    """
    present = {name: array.copy() for name, array in state.items()}
    for number, (batch, rate) in enumerate(steps):
        before = {name: array.copy() for name, array in present.items()}
        step = variant("step", batch)
        results = model.executable(step).step(present, **batch, **{LEARNING_RATE: rate})
        present = model.whole_state(present)
        if math.isfinite(float(results["loss"])) and is_finite(present):
            continue
        for graph, inputs in (
            (model.graph(variant("gradient", batch)), batch),
            (model.graph(step), {**batch, LEARNING_RATE: rate}),
        ):
            found = first_nonfinite_computed(graph, with_state(graph, before, inputs))
            if found is not None:
                return number, found
        return None
    return None
