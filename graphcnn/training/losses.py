"""Losses: what training makes small. A loss appends its nodes to the graph of the training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from graphcnn import ops
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import Emitter, TensorType, Value, users_line

Reduction = Literal["mean", "sum"]


class Loss(Protocol):
    """What `gcn.compile` takes as a loss."""

    @property
    def reduction(self) -> Reduction:
        """How the losses of the samples become the loss of the batch."""

    def target_type(self, output: TensorType) -> TensorType:
        """Return the type of the targets for a network's output. Raises ShapeError where it does not fit."""

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        """Append the loss of each sample, of shape [N]."""


def total_loss(emit: Emitter, loss: Loss, output: Value, target: Value) -> Value:
    """Append the loss of the batch: the mean or the sum over its samples, a scalar."""
    each = loss.per_sample(emit, output, target)
    reduce = ops.Mean if loss.reduction == "mean" else ops.Sum
    return emit(reduce((0,)), each)


def _check_reduction(reduction: object) -> None:
    if reduction not in ("mean", "sum"):
        place = users_line()
        error = OptionError(f"reduction={reduction!r} is neither 'mean' nor 'sum'", mend='reduction="mean"')
        raise error.located(file=place.file, line=place.line)


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Cross-entropy between softmax of the outputs [N, classes] and integer labels [N].

    reduction: "mean" over the batch, or "sum".
    """

    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        _check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        if output.rank != 2:
            raise ShapeError(
                f"CrossEntropy takes outputs of shape [N, classes], but the network's output is {output}",
                mend="end the network with gcn.Flatten() and gcn.Dense(classes)",
            )
        return TensorType(output.shape[:1], "int64")

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        return emit(ops.SoftmaxCrossEntropy(), output, target)


@dataclass(frozen=True, slots=True)
class SquaredError:
    """Half the squared distance between outputs and targets of the same shape, Eq. 9: E = ½Σ(t - y)².

    reduction: "sum" over all predictions, as Eq. 9 says, or "mean" over the samples of the batch, with
    which the best learning rate does not depend on the batch size.
    """

    reduction: Reduction = "sum"

    def __post_init__(self) -> None:
        _check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        return output

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        return emit.by("Eq. 9")(ops.SquaredError(), output, target)


LOSSES: dict[str, type[CrossEntropy] | type[SquaredError]] = {
    "CrossEntropy": CrossEntropy,
    "SquaredError": SquaredError,
}
"""The losses that a weights file can name."""
