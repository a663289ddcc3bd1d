"""Losses: what training makes small."""

from __future__ import annotations

from typing import Any, Final

from graphcnn.training.losses.binary import BinaryCrossEntropy, Dice, Focal
from graphcnn.training.losses.classes import CrossEntropy, Hinge, KLDivergence
from graphcnn.training.losses.distances import AbsoluteError, CosineSimilarity, Huber, SquaredError
from graphcnn.training.losses.loss import Loss, check_loss, target_type, total_loss

LOSSES: Final[dict[str, type[Any]]] = {
    loss.__name__: loss
    for loss in (
        *(CrossEntropy, Hinge, KLDivergence),
        *(BinaryCrossEntropy, Focal, Dice),
        *(SquaredError, AbsoluteError, Huber, CosineSimilarity),
    )
}
"""The losses that a file of a model can name."""

__all__ = [
    "LOSSES",
    "AbsoluteError",
    "BinaryCrossEntropy",
    "CosineSimilarity",
    "CrossEntropy",
    "Dice",
    "Focal",
    "Hinge",
    "Huber",
    "KLDivergence",
    "Loss",
    "SquaredError",
    "check_loss",
    "target_type",
    "total_loss",
]
