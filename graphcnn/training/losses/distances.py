"""Losses that measure how far outputs are from targets of the same shape."""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.ir import Emitter, TensorType, Value
from graphcnn.training.losses.loss import Reduction, check_reduction
from graphcnn.training.losses.nodes import averaged, scaled
from graphcnn.training.losses.options import require_outputs
from graphcnn.training.options import is_positive, require_number


@known_arguments
@dataclass(frozen=True, slots=True)
class SquaredError:
    """Half the squared distance between outputs and targets of the same shape, Eq. 9: E = ½Σ(t - y)².

    reduction: "sum" over all predictions, as Eq. 9 says, or "mean" over the samples of the batch, with
    which the best learning rate does not depend on the batch size.
    """

    reduction: Reduction = "sum"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        return output

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        return emit.by("Eq. 9")(ops.SquaredError(), output, target)


@known_arguments
@dataclass(frozen=True, slots=True)
class AbsoluteError:
    """The distance |y - t| between outputs and targets of the same shape (PyTorch's `L1Loss`).

    reduction: "mean" over all elements, or their "sum".
    """

    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        return output

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        distance = emit(ops.Abs(), emit(ops.Subtract(), output, target))
        return averaged(emit, distance, self.reduction)


@known_arguments
@dataclass(frozen=True, slots=True)
class Huber:
    """Half the squared distance up to delta, and from there on a line of slope delta (PyTorch's `HuberLoss`).

    With e = |y - t| and c = min(e, delta) it is c · (e - c / 2). (Huber, "Robust Estimation of a Location
    Parameter", Annals of Mathematical Statistics 35, 1964.)
    delta: above 0. reduction: "mean" over all elements, or their "sum".
    """

    delta: float = 1.0
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        require_number("delta", self.delta, is_positive, "above 0")
        check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        return output

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        distance = emit(ops.Abs(), emit(ops.Subtract(), output, target))
        near = emit(ops.Minimum(), distance, ops.constant(emit, self.delta, distance.type))
        middle = emit(ops.Subtract(), distance, scaled(emit, 0.5, near))
        return averaged(emit, emit(ops.Multiply(), near, middle), self.reduction)


@known_arguments
@dataclass(frozen=True, slots=True)
class CosineSimilarity:
    """1 - cos of the angle between outputs and targets along the last axis, [N, ..., D].

    As PyTorch's `CosineEmbeddingLoss` for pairs that belong together: 0 where they point the same way, 2
    where they are opposite.
    epsilon: above 0, the least length that a vector is divided by. reduction: "mean" over the vectors, or
    their "sum".
    """

    epsilon: float = 1e-8
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        require_number("epsilon", self.epsilon, is_positive, "above 0")
        check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        require_outputs("CosineSimilarity", output, 2, "[N, ..., D]")
        return output

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        along = ops.Sum((output.type.rank - 1,))
        product = emit(along, emit(ops.Multiply(), output, target))
        lengths = emit(ops.Multiply(), self._length(emit, output), self._length(emit, target))
        cosine = emit(ops.Divide(), product, lengths)
        each = emit(ops.Subtract(), ops.constant(emit, 1.0, cosine.type), cosine)
        return averaged(emit, each, self.reduction)

    def _length(self, emit: Emitter, vectors: Value) -> Value:
        squares = emit(ops.Sum((vectors.type.rank - 1,)), emit(ops.Multiply(), vectors, vectors))
        least = ops.constant(emit, self.epsilon**2, squares.type)
        return emit(ops.Sqrt(), emit(ops.Maximum(), squares, least))
