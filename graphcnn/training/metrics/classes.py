"""Precision, recall, F1 and intersection over union by class, over all samples and pixels of a set together.

Their statistics are counts of each class: how often it is right, predicted and true. The number is the mean
over those classes that occur, predicted or true; 0 where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.ir import Emitter, Value
from graphcnn.training.metrics.nodes import counts, has_labels, is_above, require_shares


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Base of scores by class.

    Outputs are [N, ..., classes]. Targets are labels [N, ...], and the greatest output is the predicted one;
    labels that are no class do not count. Or they are of the outputs' shape, and classes are questions of
    their own: outputs above 0 say yes, and targets above 1/2. ignore: a label that does not count.
    """

    ignore: int | None = None

    name: ClassVar[str] = ""

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        rank, dtype = output.type.rank, output.type.dtype
        if has_labels(output, target):
            classes = output.type.static(rank - 1)
            true = emit(ops.OneHot(classes, dtype), target)
            if self.ignore is not None and 0 <= self.ignore < classes:
                rows = ops.Reshape((*output.type.shape[:-1], 1))
                counted = emit(rows, counts(emit, output, target, self.ignore))
                true = emit(ops.Multiply(), true, emit(ops.Broadcast(output.type.shape), counted))
            counted = emit(ops.Sum((rank - 1,), keep=True), true)
            chosen = emit(ops.OneHot(classes, dtype), emit(ops.ArgMax(rank - 1), output))
            predicted = emit(ops.Multiply(), chosen, emit(ops.Broadcast(output.type.shape), counted))
        else:
            require_shares(self.name, output, target)
            predicted, true = (
                emit(ops.Cast(dtype), is_above(emit, value, least))
                for value, least in ((output, 0.0), (target, 0.5))
            )
        over_all = ops.Sum(tuple(range(rank - 1)))
        right = emit(ops.Multiply(), predicted, true)
        return emit(ops.Concatenate(0), *(emit(over_all, each) for each in (right, predicted, true)))

    def result(self, statistics: Array) -> float:
        right, predicted, true = statistics.reshape(3, -1)
        occurs = predicted + true > 0
        scores = self.of(right, predicted, true)[occurs]
        return float(scores.mean()) if scores.size else 0.0

    @staticmethod
    def of(right: Array, predicted: Array, true: Array) -> Array:
        """Return the score of each class."""
        raise NotImplementedError


def _ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, and 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


@dataclass(frozen=True, slots=True)
class Precision(ClassScore):
    """Of what is predicted to be of a class, the share that is; the mean over classes."""

    name: ClassVar[str] = "precision"

    @staticmethod
    def of(right: Array, predicted: Array, true: Array) -> Array:
        return _ratio(right, predicted)


@dataclass(frozen=True, slots=True)
class Recall(ClassScore):
    """Of what is of a class, the share that is predicted to be; the mean over classes."""

    name: ClassVar[str] = "recall"

    @staticmethod
    def of(right: Array, predicted: Array, true: Array) -> Array:
        return _ratio(right, true)


@dataclass(frozen=True, slots=True)
class F1(ClassScore):
    """The harmonic mean of precision and recall; the mean over classes."""

    name: ClassVar[str] = "f1"

    @staticmethod
    def of(right: Array, predicted: Array, true: Array) -> Array:
        return _ratio(2 * right, predicted + true)


@dataclass(frozen=True, slots=True)
class MeanIntersectionOverUnion(ClassScore):
    """Intersection over union of each class over the whole set, and the mean over classes (PASCAL VOC)."""

    name: ClassVar[str] = "mean_iou"

    @staticmethod
    def of(right: Array, predicted: Array, true: Array) -> Array:
        return _ratio(right, predicted + true - right)
