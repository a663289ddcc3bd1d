"""Losses of networks that choose among classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.errors import ShapeError
from graphcnn.ir import Emitter, TensorType, Value
from graphcnn.ops.attributes import is_int
from graphcnn.ops.vectors import along_last_axis
from graphcnn.training.losses.loss import Reduction, check_reduction
from graphcnn.training.losses.nodes import averaged, scaled
from graphcnn.training.losses.options import as_weights, require_classes, require_count, require_outputs
from graphcnn.training.options import is_positive, refuse, require_flag, require_number

_INT64 = TensorType((), "int64")


@known_arguments
@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Cross-entropy between softmax of the outputs and integer labels, as PyTorch's `CrossEntropyLoss`.

    Outputs are [N, classes] and labels [N]; or for each pixel outputs [N, H, W, classes] and labels
    [N, H, W].
    label_smoothing: from 0 to 1, the share of a label that is spread over all classes alike (Szegedy et al.,
    "Rethinking the Inception Architecture", CVPR 2016, section 7). class_weights: a number for each class,
    which multiplies the loss of what is labelled so. ignore: a label, such as 255 or -1, that does not count.
    soft_targets: targets are shares of the classes, of the shape and type of the outputs, in place of labels.
    reduction: "sum" over samples and pixels; or "mean" over samples and pixels that are not ignored, each
    weighing as much as its class. A batch in which nothing counts has the loss 0, where PyTorch's is NaN.

    Raises OptionError for arguments that are not allowed.
    """

    reduction: Reduction = "mean"
    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    ignore: int | None = None
    soft_targets: bool = False

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        require_number("label_smoothing", self.label_smoothing, lambda share: 0 <= share <= 1, "from 0 to 1")
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", as_weights("class_weights", self.class_weights))
        require_flag("soft_targets", self.soft_targets)
        if self.ignore is not None and not is_int(self.ignore, -(2**63)):
            refuse(f"ignore={self.ignore!r:.60} is not a label, which is an integer", "ignore=255")
        if self.ignore is not None and self.soft_targets:
            refuse(
                "ignore is a label, but soft_targets=True takes shares of classes",
                "leave out ignore, and give shares of 0 to all classes of what does not count",
            )

    @property
    def target_range(self) -> tuple[float, float] | None:
        return (0.0, 1.0) if self.soft_targets else None

    def target_type(self, output: TensorType) -> TensorType:
        require_outputs("CrossEntropy", output, 2, "[N, classes]")
        require_classes("CrossEntropy", output, "BinaryCrossEntropy() for one answer, yes or no")
        if self.class_weights is not None:
            require_count("class_weights", tuple(self.class_weights), output)
        return output if self.soft_targets else TensorType(output.shape[:-1], "int64")

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        if self == CrossEntropy(self.reduction) and output.type.rank == 2:
            return emit(ops.SoftmaxCrossEntropy(), output, target)
        classes = output.type.static(output.type.rank - 1)
        shares = target if self.soft_targets else emit(ops.OneHot(classes, output.type.dtype), target)
        weights = None
        if self.class_weights is not None:
            weights = along_last_axis(emit, tuple(self.class_weights), output.type)
        over_classes = ops.Sum((output.type.rank - 1,))
        each = self._cross_entropy(emit, output, shares, weights)  # [N] or [N, H, W]
        if self.soft_targets or (self.class_weights is None and self.ignore is None):
            return averaged(emit, each, self.reduction)
        counted = None if weights is None else emit(over_classes, emit(ops.Multiply(), weights, shares))
        if self.ignore is not None:
            zero = ops.constant(emit, 0.0, output.type)
            ignored = emit(ops.Equal(), target, emit(ops.Constant(self.ignore, _INT64)))
            each = emit(ops.Select(), ignored, zero, each)
            weight = ops.constant(emit, 1.0, output.type) if counted is None else counted
            counted = emit(ops.Select(), ignored, zero, weight)
        assert counted is not None
        total = averaged(emit, each, "sum")
        return total if self.reduction == "sum" else _shared(emit, total, averaged(emit, counted, "sum"))

    def _cross_entropy(self, emit: Emitter, output: Value, shares: Value, weights: Value | None) -> Value:
        """Append -Σ w(k) q(k) ln p(k) over the classes, where q are the smoothed shares."""
        if self.label_smoothing:
            classes = output.type.static(output.type.rank - 1)
            even = ops.constant(emit, self.label_smoothing / classes, shares.type)
            shares = emit(ops.Add(), scaled(emit, 1.0 - self.label_smoothing, shares), even)
        if weights is not None:
            shares = emit(ops.Multiply(), weights, shares)
        product = emit(ops.Multiply(), shares, emit(ops.LogSoftmax(), output))
        return emit(ops.Negate(), emit(ops.Sum((output.type.rank - 1,)), product))


def _shared(emit: Emitter, total: Value, counted: Value) -> Value:
    """Append total / (mean of counted), [N], whose mean over the samples is Σ total / Σ counted."""
    mean = emit(ops.Mean((0,)), counted)
    zero, one = (ops.constant(emit, number, mean.type) for number in (0.0, 1.0))
    divisor = emit(ops.Select(), emit(ops.Greater(), mean, zero), mean, one)
    return emit(ops.Divide(), total, divisor)


@known_arguments
@dataclass(frozen=True, slots=True)
class Hinge:
    """How far the outputs of other classes come within a margin of the true one's.

    Outputs are [N, classes] and labels [N]: 1/K Σ max(0, margin - y(label) + y(k))^power over the K - 1 other
    classes. (PyTorch's `MultiMarginLoss`; Crammer and Singer, JMLR 2, 2001, take the greatest, not the sum.)
    margin: above 0. power: 1 or 2. reduction: "mean" over the batch, or "sum".
    """

    margin: float = 1.0
    power: int = 1
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        require_number("margin", self.margin, is_positive, "above 0")
        if not is_int(self.power, 1) or self.power > 2:
            refuse(f"power={self.power!r:.60} is neither 1 nor 2", "power=1")
        check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        if output.rank != 2:
            raise ShapeError(
                f"Hinge takes outputs of shape [N, classes], but the network's output is {output}",
                mend="end the network with gcn.Flatten() and gcn.Dense(classes)",
            )
        return TensorType(output.shape[:1], "int64")

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        classes = output.type.static(1)
        one_hot = emit(ops.OneHot(classes, output.type.dtype), target)
        right = emit(ops.Sum((1,), keep=True), emit(ops.Multiply(), one_hot, output))
        ahead = emit(ops.Subtract(), output, emit(ops.Broadcast(output.type.shape), right))
        excess = emit(ops.Relu(), emit(ops.Add(), ahead, ops.constant(emit, self.margin, output.type)))
        if self.power == 2:
            excess = emit(ops.Multiply(), excess, excess)
        others = emit(ops.Subtract(), ops.constant(emit, 1.0, output.type), one_hot)
        return emit(ops.Mean((1,)), emit(ops.Multiply(), others, excess))


@known_arguments
@dataclass(frozen=True, slots=True)
class KLDivergence:
    """The Kullback-Leibler divergence Σ t · (ln t - ln softmax(y)) of the outputs from target shares.

    Outputs and targets are [N, ..., classes]; the targets of each row sum to 1, and 0 · ln 0 is 0. (PyTorch's
    `KLDivLoss(reduction="batchmean")` on log_softmax of the outputs.)
    reduction: "mean" over samples and pixels, or "sum".
    """

    reduction: Reduction = "mean"
    target_range: ClassVar = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_reduction(self.reduction)

    def target_type(self, output: TensorType) -> TensorType:
        require_outputs("KLDivergence", output, 2, "[N, ..., classes]")
        return output

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        zero, one = (ops.constant(emit, number, target.type) for number in (0.0, 1.0))
        positive = emit(ops.Select(), emit(ops.Greater(), target, zero), target, one)
        ratio = emit(ops.Subtract(), emit(ops.Log(), positive), emit(ops.LogSoftmax(), output))
        each = emit(ops.Sum((output.type.rank - 1,)), emit(ops.Multiply(), target, ratio))
        return averaged(emit, each, self.reduction)
