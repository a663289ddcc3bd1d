"""Weights of classes, and the outputs that losses take: checked against each other."""

from __future__ import annotations

import numpy as np

from graphcnn.errors import OptionError, ShapeError
from graphcnn.foreign_arguments import weights_written
from graphcnn.ir import TensorType
from graphcnn.training.options import refuse


def as_weights(name: str, given: object) -> tuple[float, ...]:
    """Return weights as a tuple of floats. Raises OptionError unless they are numbers of at least 0."""
    try:
        array = np.asarray(given)
    except ValueError:
        array = np.empty(0)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
        meant = "" if array.ndim > 1 else weights_written(given)
        refuse(
            f"{name}={given!r:.60} is not a list of numbers",
            f"{name}={meant or '[1.0, 2.5, 1.0]'}, with a number for each output",
        )
    if not np.isfinite(array).all() or array.min() < 0:
        refuse(f"{name}={given!r:.60} are not finite numbers of at least 0", f"{name}=[1.0, 2.5, 1.0]")
    return tuple(map(float, array))


def require_count(name: str, weights: tuple[float, ...], output: TensorType) -> None:
    """Raise OptionError unless there is a weight for each of the outputs along the last axis."""
    classes = output.static(output.rank - 1)
    if len(weights) != classes:
        raise OptionError(
            f"{name} has {len(weights)} numbers, but the network has {classes} outputs",
            facts=[f"the network's output is {output}"],
            mend=f"give {classes} numbers, one for each output in their order",
        )


def require_classes(loss: str, output: TensorType, single: str) -> None:
    """Raise ShapeError for outputs with one class only, of which any loss that chooses is constant.

    single: the loss of a single answer, and of what.
    """
    if output.shape[-1] == 1:
        raise ShapeError(
            f"{loss} chooses among classes, but the network's output {output} has one only",
            facts=["the share of a single class is 1, whatever the network says"],
            mend=f"{single}; or an output for each class",
        )


def require_outputs(
    loss: str, output: TensorType, least: int, axes: str, last: str = "gcn.Flatten() and gcn.Dense(classes)"
) -> None:
    """Raise ShapeError unless the output has at least so many axes.

    axes: what they are. last: layers whose output has them.
    """
    if output.rank < least:
        raise ShapeError(
            f"{loss} takes outputs of shape {axes}, but the network's output is {output}",
            mend=f"end the network with {last}",
        )
