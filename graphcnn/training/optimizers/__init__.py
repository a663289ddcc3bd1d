"""Optimisers: each appends the nodes that replace parameters and its own state after a step.

The learning rate is an input of the graph, so that a schedule needs no compilation.
"""

from __future__ import annotations

from typing import Any, Final

from graphcnn.training.optimizers.adam import Adam, AdamW
from graphcnn.training.optimizers.descent import SGD, Adagrad, Lion, RMSprop
from graphcnn.training.optimizers.muon import Muon
from graphcnn.training.optimizers.optimizer import (
    LEARNING_RATE,
    Optimizer,
    append_updates,
    check_optimizer,
    checked_rate,
)
from graphcnn.training.optimizers.updates import (
    AVERAGE,
    GivenGroups,
    Updates,
    checked_groups,
    given_optimizer,
    with_updates,
)

OPTIMIZERS: Final[dict[str, type[Any]]] = {
    optimizer.__name__: optimizer for optimizer in (SGD, Adam, AdamW, RMSprop, Adagrad, Lion, Muon, Updates)
}
"""The optimisers that a file of a model can name."""

__all__ = [
    "AVERAGE",
    "LEARNING_RATE",
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "GivenGroups",
    "Lion",
    "Muon",
    "Optimizer",
    "RMSprop",
    "Updates",
    "append_updates",
    "check_optimizer",
    "checked_groups",
    "checked_rate",
    "given_optimizer",
    "with_updates",
]
