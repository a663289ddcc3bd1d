"""Losses and what they are made of. Each gives one number per sample, [N]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import Dim, DType, Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.arithmetic import Multiply, Negate, Subtract
from graphcnn.ops.attributes import is_int, require_float, require_rank
from graphcnn.ops.elementary import Exp
from graphcnn.ops.reduction import Broadcast, Sum
from graphcnn.ops.shape import Reshape


@dataclass(frozen=True, slots=True)
class LogSoftmax(Op):
    """The logarithm of softmax along the last axis, computed without overflow."""

    name: ClassVar[str] = "log_softmax"
    equation: ClassVar[str] = "y(d) = x(d) - ln Σk e^x(k)"
    formula: ClassVar[str] = r"$y_{d} = $a_{d} - \ln \sum_{k} e^{$a_{k}}"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        require_float(self.name, x)
        if not x.rank:
            raise ShapeError("log_softmax needs at least one axis")
        x.static(x.rank - 1)
        return operands

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 5 * results[0].elements(batch)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        softmax = emit(Exp(), results[0])
        total = emit(Sum((delta.type.rank - 1,), keep=True), delta)
        spread = emit(Broadcast(delta.type.shape), total)
        return (emit(Subtract(), delta, emit(Multiply(), softmax, spread)),)


@dataclass(frozen=True, slots=True)
class OneHot(Op):
    """A row per label: 1 at the label's place, 0 elsewhere."""

    classes: int
    dtype: DType

    name: ClassVar[str] = "one_hot"
    equation: ClassVar[str] = "y(n, d) = 1 if d = label(n) else 0"
    formula: ClassVar[str] = r"$y_{d} = [\,d = $a\,]"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_int(self.classes, 1):
            raise OptionError(f"classes={self.classes!r} is not an integer of at least 1")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (labels,) = operands
        if labels.dtype not in ("int32", "int64"):
            raise ShapeError(f"labels are integers, not {labels}", mend='gcn.Input((), dtype="int64")')
        return (TensorType((*labels.shape, self.classes), self.dtype),)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,)


@dataclass(frozen=True, slots=True)
class SoftmaxCrossEntropy(Op):
    """Cross-entropy between softmax(logits) [N, K] and integer labels [N]; one number per sample [N]."""

    name: ClassVar[str] = "softmax_cross_entropy"
    equation: ClassVar[str] = "E(n) = -ln softmax(x(n))(label(n))"
    formula: ClassVar[str] = r"$y = -\ln\, \text{softmax}($a)_{$b}"
    arity: ClassVar[int] = 2
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        logits, labels = operands
        require_rank(self.name, "logits", logits, 2, "N, classes")
        require_float(self.name, logits)
        if labels.dtype not in ("int32", "int64") or labels.shape != logits.shape[:1]:
            raise ShapeError(
                f"softmax_cross_entropy needs an integer label per row of {logits}, but got {labels}",
                mend="labels are one int64 per sample, of shape [N]",
            )
        return (logits.with_shape(logits.shape[:1]),)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 5 * operands[0].elements(batch)

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return r"$G_{d} = (\text{softmax}($a)_{d} - [\,d = $b\,])\, $D"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        logits, labels = operands
        emit = emit.by("softmax - one_hot")
        softmax = emit(Exp(), emit(LogSoftmax(), logits))
        target = emit(OneHot(logits.type.static(1), logits.type.dtype), labels)
        column: tuple[Dim, ...] = (logits.type.shape[0], 1)
        spread = emit(Broadcast(logits.type.shape), emit(Reshape(column), delta))
        return emit(Multiply(), emit(Subtract(), softmax, target), spread), None


@dataclass(frozen=True, slots=True)
class SquaredError(Op):
    """Half the squared distance between outputs and targets, Eq. 9; one number per sample [N]."""

    name: ClassVar[str] = "squared_error"
    equation: ClassVar[str] = "E = ½ Σp (t(p) - y(p))²"
    formula: ClassVar[str] = r"$y = \frac{1}{2} \sum_{p} ($b_{p} - $a_{p})^2"
    article: ClassVar[str] = "Eq. 9"
    arity: ClassVar[int] = 2
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        outputs, targets = operands
        require_float(self.name, outputs, targets)
        if outputs.shape != targets.shape or not outputs.rank:
            raise ShapeError(
                f"squared_error needs targets like the outputs {outputs}, but got {targets}",
                mend="reshape the targets to the shape of the outputs",
            )
        return (outputs.with_shape(outputs.shape[:1]),)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 3 * operands[0].elements(batch)

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return r"$G_{p} = ($a_{p} - $b_{p})\, $D" if position == 0 else ""

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        emit = emit.by("Eq. 9 derived: y - t")
        outputs, targets = operands
        difference = emit(Subtract(), outputs, targets)
        column = (outputs.type.shape[0], *(1,) * (outputs.type.rank - 1))
        if outputs.type.rank > 1:
            delta = emit(Reshape(column), delta)
            delta = emit(Broadcast(outputs.type.shape), delta)
        gradient = emit(Multiply(), difference, delta)
        return gradient, emit(Negate(), gradient)
