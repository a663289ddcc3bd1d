"""`model.evaluate(x, y, report=True)`: what a network takes for what, and where it is most wrong."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphcnn.arguments import known_methods
from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.inspection.picture_sheet import Picture, PictureSheet
from graphcnn.inspection.report_table import report_display, report_text
from graphcnn.inspection.tallies import AnswerTally, ClassScores, ClassTally, ErrorTally, tally_of
from graphcnn.ops.attributes import is_int
from graphcnn.rendering import as_html
from graphcnn.training.feed import Source
from graphcnn.training.named import Named
from graphcnn.training.objective import Head
from graphcnn.training.views import WeightedViews

if TYPE_CHECKING:
    from rich.console import Group

    from graphcnn.training.model import Model

MOST_MISTAKES: Final = 100
"""So many of the worst samples are kept with their inputs."""


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """A sample that the network is wrong about.

    index: its row in the data. score: how wrong, more is worse. true, predicted: in words. inputs: by name.
    file: its path, where the data say it.
    """

    index: int
    score: float
    true: str
    predicted: str
    inputs: Mapping[str, Array]
    file: str = ""

    @property
    def place(self) -> str:
        """Where the sample is: the name of its file, or its row in the data."""
        return PurePath(self.file).name if self.file else f"#{self.index}"

    @property
    def caption(self) -> str:
        return f"{self.true} → {self.predicted}" if self.predicted else self.true


@known_methods()
class Report:
    """What an evaluation found of one output; it prints and displays itself.

    results: loss and metrics, as without a report. samples: how many there were. mistakes: up to a hundred of
    the worst, the worst first; of a regression the samples that it is farthest from.
    """

    def __init__(
        self,
        title: str,
        samples: int,
        results: Mapping[str, float],
        tally: ClassTally | AnswerTally | ErrorTally,
        mistakes: Sequence[Mistake],
    ) -> None:
        self.title = title
        self.samples = samples
        self.results = Named(dict(results), "report.results")
        self.mistakes = tuple(mistakes)
        self.tally = tally

    def __getitem__(self, name: str) -> float:
        """Return a result by name: `report["accuracy"]`."""
        return self.results[name]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of classes, of questions that are answered with yes or no, or of numbers."""
        return self.tally.names

    @property
    def confusion(self) -> Array:
        """How many of each class, a row, are taken for each class, a column: int64 [classes, classes]."""
        if isinstance(self.tally, ClassTally):
            return self.tally.confusion
        raise OptionError("only classes are taken for each other", mend="print(report)")

    @property
    def scores(self) -> ClassScores:
        """Precision, recall, F1, intersection over union and support of each class, or of each question."""
        if isinstance(self.tally, ErrorTally):
            raise OptionError("numbers have errors, and no scores", mend="report.errors")
        return self.tally.scores

    @property
    def errors(self) -> Mapping[str, Array]:
        """Of a regression "mae", "rmse" and "r2" of each number of the output: [outputs]."""
        if not isinstance(self.tally, ErrorTally):
            raise OptionError("classes have scores, and no errors", mend="report.scores")
        return Named({"mae": self.tally.mae, "rmse": self.tally.rmse, "r2": self.tally.r2}, "report.errors")

    def show_mistakes(
        self, path: str | PathLike[str] | None = None, *, count: int = 25, open: bool = True
    ) -> Path:
        """Write a page with pictures of the worst samples, what they are and what they are taken for.

        It is opened in the browser, or displayed in the notebook; return its path. path: the file to write,
        atomically; by default one in a new folder for temporary files. count: at most so many. open: whether
        to open it. The page loads nothing.
        Raises OptionError where inputs are no images or nothing was wrong, and OSError where the file cannot
        be written.
        """
        return self.mistake_sheet(count).show(path, open=open)

    def mistake_sheet(self, count: int = 25) -> PictureSheet:
        """Return the pictures of that page. Raises OptionError as `show_mistakes` does."""
        if not is_int(count, 1):
            raise OptionError(f"count={count!r:.60} is not an integer of at least 1", mend="count=25")
        shown = self.mistakes[:count]
        if not shown:
            raise OptionError("there is no mistake to show", mend="evaluate more samples")
        image = next((name for name, array in shown[0].inputs.items() if array.ndim == 3), None)
        if image is None:
            raise OptionError("samples of this network are no images", mend="report.mistakes lists them")
        low, high = _range(np.stack([each.inputs[image] for each in shown]))
        pictures = [
            Picture((each.inputs[image] - low) / (high - low), f"{each.place}: {each.caption}")
            for each in shown
        ]
        places = "" if shown[0].file else ", by their places in the data"
        heading = f"the worst {len(shown)} of {self.samples:,}{places}"
        return PictureSheet(self.title, [(heading, pictures)])

    def __rich__(self) -> Group:
        return report_display(self)

    def __str__(self) -> str:
        return report_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(str(self))


class _Worst:
    """Keeps those samples that are worst."""

    def __init__(self, is_of_mistakes: bool) -> None:
        self._least = 0.0 if is_of_mistakes else -1.0
        self._held: list[tuple[float, int, Mistake]] = []

    def add(
        self,
        first: int,
        scores: Array,
        words: Sequence[tuple[str, str]],
        inputs: Mapping[str, Array],
    ) -> None:
        for row in np.flatnonzero(scores > self._least):
            score, index = float(scores[row]), first + int(row)
            if len(self._held) == MOST_MISTAKES and score <= self._held[0][0]:
                continue
            true, predicted = words[int(row)]
            sample = {name: array[row].copy() for name, array in inputs.items()}
            item = (score, -index, Mistake(index, score, true, predicted, sample))
            if len(self._held) == MOST_MISTAKES:
                heapq.heapreplace(self._held, item)
            else:
                heapq.heappush(self._held, item)

    def sorted(self, files: Sequence[str]) -> list[Mistake]:
        found = [each for _, _, each in sorted(self._held, key=lambda item: item[:2], reverse=True)]
        return [replace(each, file=files[each.index]) for each in found] if files else found


def evaluation_report(
    model: Model,
    source: Source,
    classes: Sequence[str] | None,
    views: WeightedViews | None,
    files: Sequence[str] = (),
) -> Report | Named[Report]:
    """Return the report on an evaluation; of several outputs a dictionary by output. See `Model.evaluate`.

    files: the path of each sample, if any.
    """
    heads = [head for head in model.heads if head.output in model.forward_graph.outputs]
    names = [_names(head, classes) for head in heads]
    tallies = [tally_of(head, each) for head, each in zip(heads, names, strict=True)]
    worst = [_Worst(tally.is_of_mistakes) for tally in tallies]
    inputs = model.forward_graph.inputs_with_role("data")
    samples = 0

    def watch(batch: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        nonlocal samples
        rows = {name: batch[name] for name, value in inputs.items() if value.type.has_batch}
        for head, tally, kept in zip(heads, tallies, worst, strict=True):
            output, target = outputs[head.output], batch[head.target]
            if output.ndim == 1:
                output, target = output[:, None], target[:, None]
            scores, words = tally.add(output, target)
            kept.add(samples, scores, words, rows)
        samples += model.samples(batch)

    results = model.evaluate_batches(source, views, watch)
    reports = {
        head.output: Report(_title(model, head), samples, _own(results, head), tally, kept.sorted(files))
        for head, tally, kept in zip(heads, tallies, worst, strict=True)
    }
    if len(reports) == 1:
        return next(iter(reports.values()))
    return Named(reports, "model.evaluate(x, y, report=True)")


def _title(model: Model, head: Head) -> str:
    return f"{model.forward_graph.name} {head.output}" if head.prefix else model.forward_graph.name


def _own(results: Mapping[str, float], head: Head) -> Mapping[str, float]:
    """Return the results of one output among those of several."""
    if not head.prefix:
        return results
    return {name: value for name, value in results.items() if name.startswith(head.prefix)}


def _names(head: Head, classes: Any) -> tuple[str, ...]:
    count = head.classes if head.type.rank > 1 else 1
    given = classes.get(head.output) if isinstance(classes, Mapping) else classes
    if given is None:
        return tuple(map(str, range(count)))
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != count:
        raise OptionError(
            f"classes={given!r:.60} are not {count} names, which the output {head.output!r} has",
            mend=f"classes=({', '.join(repr(str(each)) for each in range(min(count, 3)))}, ...)",
        )
    return tuple(map(str, given))


def _range(images: Array) -> tuple[float, float]:
    """Return what is black and what is white: 0 and 1, unless pixels are beyond."""
    finite = images[np.isfinite(images)]
    if not finite.size or (finite.min() >= 0 and finite.max() <= 1):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return low, high if high > low else low + 1.0
