"""Losses of questions that each have the answer yes or no: several labels at once, and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.ir import Emitter, TensorType, Value
from graphcnn.ops.vectors import along_last_axis
from graphcnn.training.losses.loss import Reduction, check_reduction
from graphcnn.training.losses.nodes import averaged, scaled
from graphcnn.training.losses.options import as_weights, require_classes, require_count, require_outputs
from graphcnn.training.options import is_not_negative, is_positive, refuse, require_number


@known_arguments
@dataclass(frozen=True, slots=True)
class BinaryCrossEntropy:
    """Cross-entropy between sigmoid of the outputs and targets of the same shape, from 0 to 1.

    Every output is a question of its own, so several labels can hold at once: [N, labels] for images, and
    [N, H, W, 1] for masks. It is computed from the outputs as they are, without overflow (PyTorch's
    `BCEWithLogitsLoss`): end the network without a sigmoid.
    positive_weights: what the answers yes count, a number for each output along the last axis; above 1 where
    they are rare. reduction: "mean" over all elements, or their "sum".
    """

    positive_weights: Sequence[float] | None = None
    reduction: Reduction = "mean"
    target_range: ClassVar = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.positive_weights is not None:
            weights = as_weights("positive_weights", self.positive_weights)
            object.__setattr__(self, "positive_weights", weights)
        check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        if self.positive_weights is not None:
            require_outputs("BinaryCrossEntropy(positive_weights=...)", output, 2, "[N, ..., labels]")
            require_count("positive_weights", tuple(self.positive_weights), output)
        return output

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        yes = emit(ops.Softplus(), emit(ops.Negate(), output))  # -ln p, and -ln(1 - p): no difference of both
        no = emit(ops.Softplus(), output)
        if self.positive_weights is not None:
            weights = along_last_axis(emit, tuple(self.positive_weights), output.type)
            yes = emit(ops.Multiply(), weights, yes)
        rest = emit(ops.Subtract(), ops.constant(emit, 1.0, target.type), target)
        each = emit(ops.Add(), emit(ops.Multiply(), target, yes), emit(ops.Multiply(), rest, no))
        return averaged(emit, each, self.reduction)


@known_arguments
@dataclass(frozen=True, slots=True)
class Focal:
    """Binary cross-entropy in which what is answered well already counts less: α · (1 - p)^γ · (-ln p).

    p is the share that sigmoid of the output gives to the true answer. Outputs and targets have the same
    shape; targets are 0 or 1. (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, Eq. 5;
    torchvision's `sigmoid_focal_loss`.)
    gamma: of at least 0. alpha: from 0 to 1, the weight of the answer yes; no has 1 - alpha. None weighs both
    alike, with 1. reduction: "mean" over all elements, or their "sum".
    """

    gamma: float = 2.0
    alpha: float | None = 0.25
    reduction: Reduction = "mean"
    target_range: ClassVar = (0.0, 1.0)

    def __post_init__(self) -> None:
        require_number("gamma", self.gamma, is_not_negative, "of at least 0")
        if self.alpha is not None:
            require_number("alpha", self.alpha, lambda value: 0 <= value <= 1, "from 0 to 1")
        check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        return output

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        one = ops.constant(emit, 1.0, output.type)
        sign = emit(ops.Subtract(), scaled(emit, 2.0, target), one)
        margin = emit(ops.Multiply(), sign, output)  # p = sigmoid(margin)
        each = emit(ops.Softplus(), emit(ops.Negate(), margin))  # -ln p
        if self.gamma:
            doubt = emit(ops.Softplus(), margin)  # -ln(1 - p), whose power needs no division
            each = emit(ops.Multiply(), emit(ops.Exp(), scaled(emit, -self.gamma, doubt)), each)
        if self.alpha is not None:
            rest = emit(ops.Subtract(), one, target)
            weights = emit(ops.Add(), scaled(emit, self.alpha, target), scaled(emit, 1.0 - self.alpha, rest))
            each = emit(ops.Multiply(), weights, each)
        return averaged(emit, each, self.reduction)


Activation = Literal["sigmoid", "softmax"]


@known_arguments
@dataclass(frozen=True, slots=True)
class Dice:
    """1 - the Dice coefficient of predicted and true masks, (2 Σ p·t + smooth) / (Σ p + Σ t + smooth).

    Outputs and targets are [N, ..., classes], the targets from 0 to 1; sums go over all axes between, and the
    classes of a sample are averaged. (Milletari et al., "V-Net", 3DV 2016, in the form without squares;
    MONAI's `DiceLoss`.)
    activation: what makes shares p of outputs: "sigmoid" where classes are questions of their own, "softmax"
    along the last axis where each pixel has one class. smooth: above 0; what an empty mask is measured by.
    reduction: "mean" over samples and classes, or their "sum".
    """

    activation: Activation = "sigmoid"
    smooth: float = 1.0
    reduction: Reduction = "mean"
    target_range: ClassVar = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            refuse(
                f"activation={self.activation!r:.60} is neither 'sigmoid' nor 'softmax'",
                'activation="sigmoid"',
            )
        require_number("smooth", self.smooth, is_positive, "above 0")
        check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        require_outputs("Dice", output, 3, "[N, H, W, classes]", "gcn.Conv2d(classes, 1)")
        if self.activation == "softmax":
            require_classes('Dice("softmax")', output, 'Dice("sigmoid") for one mask')
        return output

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        is_softmax = self.activation == "softmax"
        shares = (
            emit(ops.Exp(), emit(ops.LogSoftmax(), output)) if is_softmax else emit(ops.Sigmoid(), output)
        )
        within = ops.Sum(tuple(range(1, output.type.rank - 1)))
        smooth = ops.constant(emit, self.smooth, output.type)
        both = emit(within, emit(ops.Multiply(), shares, target))  # [N, classes]
        either = emit(within, emit(ops.Add(), shares, target))
        above = emit(ops.Add(), scaled(emit, 2.0, both), smooth)
        coefficient = emit(ops.Divide(), above, emit(ops.Add(), either, smooth))
        each = emit(ops.Subtract(), ops.constant(emit, 1.0, output.type), coefficient)
        return averaged(emit, each, self.reduction)
