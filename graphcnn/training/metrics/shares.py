"""The share of answers that are right: a mean over samples, so that batches are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphcnn import ops
from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Value
from graphcnn.training.metrics.nodes import counts, is_above, require_labels, require_shares


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of samples, or of their pixels, whose greatest output is at the label's place.

    ignore: a label that does not count; that of the loss, where it has one. Over several batches the shares
    are averaged by the number of samples.
    """

    ignore: int | None = None

    name: ClassVar[str] = "accuracy"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        require_labels(self.name, output, target)
        right = emit(ops.Equal(), emit(ops.ArgMax(output.type.rank - 1), output), target)
        return _share(emit, right, output, target, self.ignore)


@dataclass(frozen=True, slots=True)
class TopAccuracy:
    """The share of samples, or of their pixels, whose label is among the `k` greatest outputs.

    A label is among them where fewer than k other classes have greater outputs. ignore: as of accuracy.
    """

    k: int
    ignore: int | None = None

    @property
    def name(self) -> str:
        return f"top{self.k}_accuracy"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        require_labels(self.name, output, target)
        last = output.type.rank - 1
        classes = output.type.static(last)
        if self.k >= classes:
            raise OptionError(
                f"{self.name} is 1 whatever is predicted: there are {classes} classes",
                mend=f'metrics=["top{classes - 1}_accuracy"]' if classes > 2 else 'metrics=["accuracy"]',
            )
        zero = ops.constant(emit, 0.0, output.type)
        one_hot = emit(ops.OneHot(classes, output.type.dtype), target)
        is_labels = emit(ops.Greater(), one_hot, zero)
        own = emit(ops.Sum((last,), keep=True), emit(ops.Select(), is_labels, output, zero))
        greater = emit(ops.Greater(), output, emit(ops.Broadcast(output.type.shape), own))
        ahead = emit(ops.Sum((last,)), emit(ops.Cast(output.type.dtype), greater))
        right = emit(ops.Greater(), ops.constant(emit, self.k, output.type), ahead)
        return _share(emit, right, output, target, self.ignore)


def _share(emit: Emitter, right: Value, output: Value, target: Value, ignore: int | None) -> Value:
    """Append the share of answers that are right, among those whose label is not ignored."""
    every = tuple(range(target.type.rank))
    hits = emit(ops.Cast(output.type.dtype), right)
    if ignore is None:
        return emit(ops.Mean(every), hits)
    counted = counts(emit, output, target, ignore)
    total = emit(ops.Maximum(), emit(ops.Sum(every), counted), ops.constant(emit, 1.0, output.type))
    return emit(ops.Divide(), emit(ops.Sum(every), emit(ops.Multiply(), hits, counted)), total)


@dataclass(frozen=True, slots=True)
class BinaryAccuracy:
    """The share of answers, yes or no, that are right: outputs above 0 say yes, and targets above 1/2.

    Outputs, which `BinaryCrossEntropy` or `Focal` are given, and targets have the same shape.
    """

    name: ClassVar[str] = "binary_accuracy"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        require_shares(self.name, output, target)
        right = emit(ops.Equal(), is_above(emit, output, 0.0), is_above(emit, target, 0.5))
        return emit(ops.Mean(tuple(range(output.type.rank))), emit(ops.Cast(output.type.dtype), right))


@dataclass(frozen=True, slots=True)
class IntersectionOverUnion:
    """What predicted and true masks have in common, by what they cover together: Σ p·t / Σ max(p, t).

    It is 1 where neither covers anything, and the mean over the classes of each sample, and over samples.
    (The Jaccard index of each image; that of a whole set is `mean_iou`.)
    Outputs are [N, ..., classes]. Targets are labels [N, ...], and the greatest output is the predicted one;
    those that are no class, as 255 often is, do not count, predicted or not. Or they are of the outputs'
    shape, from 0 to 1: classes are questions of their own then, to which outputs above 0 say yes.
    """

    name: ClassVar[str] = "iou"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        rank, dtype = output.type.rank, output.type.dtype
        if rank < 3:
            raise OptionError(
                "iou needs outputs [N, H, W, classes]",
                facts=[f"outputs {output.type}"],
                mend="leave metrics out, and those that go with the loss are taken",
            )
        if target.type.shape == output.type.shape[:-1] and not target.type.is_float:
            classes = output.type.static(rank - 1)
            true = emit(ops.OneHot(classes, dtype), target)
            counts = emit(ops.Sum((rank - 1,), keep=True), true)
            chosen = emit(ops.OneHot(classes, dtype), emit(ops.ArgMax(rank - 1), output))
            predicted = emit(ops.Multiply(), chosen, emit(ops.Broadcast(output.type.shape), counts))
        else:
            require_shares(self.name, output, target)
            predicted, true = (
                emit(ops.Cast(dtype), is_above(emit, value, least))
                for value, least in ((output, 0.0), (target, 0.5))
            )
        within = ops.Sum(tuple(range(1, rank - 1)))
        both = emit(within, emit(ops.Multiply(), predicted, true))  # [N, classes]
        either = emit(within, emit(ops.Maximum(), predicted, true))
        zero, one = (ops.constant(emit, number, either.type) for number in (0.0, 1.0))
        is_empty = emit(ops.Equal(), either, zero)
        share = emit(ops.Divide(), both, emit(ops.Select(), is_empty, one, either))
        return emit(ops.Mean((0, 1)), emit(ops.Select(), is_empty, one, share))
