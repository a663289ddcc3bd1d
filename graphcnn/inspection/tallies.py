"""What is counted of outputs and targets, batch by batch, for the report on an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from graphcnn.arrays import Array
from graphcnn.training.losses import BinaryCrossEntropy, CrossEntropy, Dice, Focal, KLDivergence
from graphcnn.training.metrics.classes import F1, MeanIntersectionOverUnion, Precision, Recall
from graphcnn.training.metrics.distances import DeterminationCoefficient
from graphcnn.training.objective import Head


class Tally(Protocol):
    """Counts over batches.

    is_of_mistakes: whether a sample can be without a mistake, so that its score is 0.
    """

    is_of_mistakes: bool

    def add(self, output: Array, target: Array) -> tuple[Array, list[tuple[str, str]]]:
        """Count a batch; return how wrong each sample is, [n], and what it is and is taken for, in words."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of each class, [classes]. support: how many samples or pixels are of it."""

    precision: Array
    recall: Array
    f1: Array
    iou: Array
    support: Array

    @staticmethod
    def of(right: Array, predicted: Array, true: Array) -> ClassScores:
        counts = [np.asarray(each, np.float64) for each in (right, predicted, true)]
        kinds = (Precision, Recall, F1, MeanIntersectionOverUnion)
        precision, recall, f1, iou = (kind.of(*counts) for kind in kinds)
        return ClassScores(precision, recall, f1, iou, np.asarray(true))


class ClassTally:
    """Of a network that chooses among classes, for each sample or for each pixel.

    confusion: how many of each class, a row, are taken for each class, a column  # int64 [classes, classes]
    """

    is_of_mistakes: Final = True

    def __init__(self, classes: int, names: tuple[str, ...], ignore: int | None = None) -> None:
        self.names = names
        self.confusion: NDArray[np.int64] = np.zeros((classes, classes), np.int64)
        self._ignore = ignore

    def add(self, output: Array, target: Array) -> tuple[Array, list[tuple[str, str]]]:
        classes = len(self.confusion)
        labels = target if target.ndim < output.ndim else target.argmax(-1)
        chosen = output.argmax(-1)
        counts = (labels >= 0) & (labels < classes)
        if self._ignore is not None:
            counts &= labels != self._ignore
        places = labels[counts] * classes + chosen[counts]
        self.confusion += np.bincount(places, minlength=classes**2).reshape(classes, classes)
        is_wrong = counts & (labels != chosen)
        if output.ndim > 2:
            over = tuple(range(1, labels.ndim))
            shares = is_wrong.sum(over) / np.maximum(counts.sum(over), 1)
            return shares, [(f"{share:.0%} wrong", "") for share in shares]
        scores = np.zeros(len(labels))
        rows = np.flatnonzero(is_wrong)
        logits = output[rows].astype(np.float64)
        highest = logits.max(1, initial=-np.inf, keepdims=True)
        total = np.log(np.exp(logits - highest).sum(1)) + highest[:, 0]
        scores[rows] = np.maximum(total - logits[np.arange(len(rows)), labels[rows]], np.finfo(float).tiny)
        words = [
            (self.names[label] if is_counted else "", self.names[choice])
            for label, choice, is_counted in zip(
                labels.tolist(), chosen.tolist(), counts.tolist(), strict=True
            )
        ]
        return scores, words

    @property
    def scores(self) -> ClassScores:
        return ClassScores.of(self.confusion.diagonal(), self.confusion.sum(0), self.confusion.sum(1))

    @property
    def accuracy(self) -> float:
        return float(self.confusion.trace() / max(self.confusion.sum(), 1))


class AnswerTally:
    """Of a network that answers questions with yes or no, along the last axis of its outputs.

    counts: of each question, how often yes is right, said and true, and how often it was asked
    # int64 [4, questions]
    """

    is_of_mistakes: Final = True

    def __init__(self, questions: int, names: tuple[str, ...]) -> None:
        self.names = names
        self.counts: NDArray[np.int64] = np.zeros((4, questions), np.int64)

    def add(self, output: Array, target: Array) -> tuple[Array, list[tuple[str, str]]]:
        said, true = output > 0, target > 0.5
        over = tuple(range(output.ndim - 1))
        asked = np.full(output.shape[-1], said[..., 0].size)
        self.counts += np.stack([(said & true).sum(over), said.sum(over), true.sum(over), asked])
        is_wrong = said != true
        within = tuple(range(1, output.ndim))
        if output.ndim > 2:
            shares = is_wrong.mean(within)
            return shares, [(f"{share:.0%} wrong", "") for share in shares]
        return np.where(is_wrong, np.abs(output), 0).max(1).astype(np.float64), [
            (self._list(yes), self._list(answer)) for yes, answer in zip(true, said, strict=True)
        ]

    def _list(self, answers: Array) -> str:
        return ", ".join(self.names[place] for place in np.flatnonzero(answers)) or "none"

    @property
    def scores(self) -> ClassScores:
        return ClassScores.of(*self.counts[:3])

    @property
    def accuracy(self) -> float:
        right, said, true, asked = self.counts
        return float((asked - said - true + 2 * right).sum() / max(asked.sum(), 1))


class ErrorTally:
    """Of a network whose outputs are numbers, along the last axis.

    absolute: Σ |error| of each  # [outputs]
    """

    is_of_mistakes: Final = False

    def __init__(self, outputs: int, names: tuple[str, ...]) -> None:
        self.names = names
        self.absolute = np.zeros(outputs)
        self._statistics: Array | None = None

    def add(self, output: Array, target: Array) -> tuple[Array, list[tuple[str, str]]]:
        rows, aims = (each.reshape(-1, each.shape[-1]).astype(np.float64) for each in (output, target))
        errors = rows - aims
        self.absolute += np.abs(errors).sum(0)
        mean = aims.mean(0)
        squares = [(errors**2).sum(0), ((aims - mean) ** 2).sum(0)]
        found = np.stack([np.full(len(mean), float(len(aims))), mean, *squares]).reshape(-1)
        held = self._statistics
        self._statistics = found if held is None else DeterminationCoefficient().merge(held, found)
        far = np.abs(output.astype(np.float64) - target).reshape(len(output), -1).mean(1)
        if output.ndim > 2:
            return far, [(f"off by {each:.3g}", "") for each in far]
        return far, [(_numbers(aim), _numbers(row)) for aim, row in zip(target, output, strict=True)]

    def _parts(self) -> Any:
        assert self._statistics is not None
        return self._statistics.reshape(4, -1)

    @property
    def mae(self) -> Array:
        mean: Array = self.absolute / self._parts()[0]
        return mean

    @property
    def rmse(self) -> Array:
        count, _, squares, _ = self._parts()
        root: Array = np.sqrt(squares / count)
        return root

    @property
    def r2(self) -> Array:
        return np.array(
            [
                DeterminationCoefficient().result(self._parts()[:, place])
                for place in range(len(self.absolute))
            ]
        )


def _numbers(row: Array) -> str:
    shown = ", ".join(f"{number:.3g}" for number in row[:3])
    return f"{shown}, ..." if len(row) > 3 else shown


def tally_of(head: Head, names: tuple[str, ...]) -> ClassTally | AnswerTally | ErrorTally:
    """Return the tally that fits an output. names: of its classes, questions or numbers."""
    loss, outputs = head.loss, head.classes if head.type.rank > 1 else 1
    if head.has_labels:
        return ClassTally(outputs, names, getattr(loss, "ignore", None))
    if isinstance(loss, CrossEntropy | KLDivergence) or (
        isinstance(loss, Dice) and loss.activation == "softmax"
    ):
        return ClassTally(outputs, names)
    if isinstance(loss, BinaryCrossEntropy | Focal | Dice):
        return AnswerTally(outputs, names)
    return ErrorTally(outputs, names)
