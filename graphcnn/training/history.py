"""What happened in a run: a row of numbers per epoch, and one per validation within an epoch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from graphcnn.arguments import known_arguments, known_methods
from graphcnn.errors import OptionError, UnknownNameError, meant
from graphcnn.figures import new_figure
from graphcnn.foreign_names import OF_HISTORIES
from graphcnn.interchange.files import write_atomically
from graphcnn.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DECADES = 100.0
"""Numbers that are so many times others are drawn by their logarithms."""


@known_methods()
@dataclass
class History:
    """The losses and metrics of each epoch: `history["val_accuracy"]` is a list with one number per epoch.

    Where several runs follow each other and only some record a number, the epochs without it hold NaN.

    validations: of each epoch what `fit(validate_every=)` has measured within it, in order: {"step": 200,
    "val_loss": 0.31, ...}, and "steps", how many the epoch has, where that is known.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    validations: list[list[dict[str, float]]] = field(default_factory=list)

    def latest(self, epochs: int) -> History:
        """Return the last epochs, and what there is of one that has not ended."""
        first = len(self.epochs) - epochs
        return History(self.epochs[first:], [list(rows) for rows in self.validations[first:]])

    def begin_epoch(self) -> None:
        """Forget what was measured within an epoch that has not ended."""
        del self.validations[len(self.epochs) :]

    def add_validation(self, row: dict[str, float]) -> None:
        """Enter a validation within the epoch that has not ended."""
        self.validations += [[] for _ in range(len(self.epochs) + 1 - len(self.validations))]
        self.validations[-1].append(row)

    def within(self, epoch: int) -> list[dict[str, float]]:
        """Return the validations within an epoch by its place in `epochs`."""
        return self.validations[epoch] if epoch < len(self.validations) else []

    def rows(self) -> list[dict[str, float]]:
        """Return all in order: with "epoch" each epoch, and before it, with "step", what is within it."""
        found: list[dict[str, float]] = []
        for place in range(max(len(self.epochs), len(self.validations))):
            number: dict[str, float] = {EPOCH: place + 1}
            found += [number | without_steps(row) for row in self.within(place)]
            found += [number | row for row in self.epochs[place : place + 1]]
        return found

    @known_arguments
    def __getitem__(self, name: str) -> list[float]:
        if name not in self.names:
            raise UnknownNameError(
                f"{name!r:.60} was not recorded",
                facts=[f"recorded: {', '.join(self.names) or 'nothing'}"],
                mend=_instead(name, self.names),
            )
        return [epoch.get(name, math.nan) for epoch in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.epochs)

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError, with what has that name here."""
            said = f"a History has no attribute {visible(name)!r}"
            if name.startswith("_") or "epochs" not in vars(self):
                raise AttributeError(said)
            recorded = f"history[{name!r}]" if name in self.names else ""
            known = ("epochs", *self.names, "names", "plot", "to_csv", "validations")
            found = recorded or OF_HISTORIES.get(name) or meant(name, known)
            raise AttributeError(f"{said}: {found}" if found else said)

    @property
    def names(self) -> list[str]:
        """The names of the recorded numbers."""
        return list(dict.fromkeys(name for epoch in self.epochs for name in epoch))

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write `rows`, with a header; atomically. Raises OSError where it cannot be written."""
        text, rows = io.StringIO(newline=""), self.rows()
        writer = csv.DictWriter(text, columns_of(rows))
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(path, text.getvalue().encode())

    def plot(self) -> Figure:
        """Return a matplotlib figure with a panel for the losses and one for each metric.

        Validations within an epoch stand between those after the one before and after it. Numbers that span
        decades, as a loss that begins high, are drawn by their logarithms. Notebooks display the figure.
        Raises OptionError where matplotlib is not installed or nothing was recorded.
        """
        figure = new_figure(layout="constrained")
        names = [name for row in self.rows() for name in row if name not in UNPLOTTED]
        panels = list(dict.fromkeys(name.removeprefix("val_") for name in names))
        if not panels:
            raise OptionError(
                "the history is empty: there is nothing to plot",
                mend="history = model.fit(x, y); history.plot()",
            )
        figure.set_size_inches(5 * len(panels), 3.5)
        for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            if name in self.names:
                axes.plot(range(1, len(self) + 1), self[name], "o-", label="training")
            places, values = self._validated(f"val_{name}")
            if places:
                axes.plot(places, values, "o-", label="validation")
                axes.legend()
            axes.set(xlabel="epoch")
            if _spans_decades(line.get_ydata() for line in axes.lines):
                axes.set_yscale("log")
            axes.set_title(visible(name), parse_math=False)
            axes.locator_params(axis="x", integer=True)
            axes.grid(alpha=0.3)
        return figure

    def _validated(self, name: str) -> tuple[list[float], list[float]]:
        """Return where validations stand, in epochs, and what they have measured."""
        places: list[float] = []
        values: list[float] = []
        for epoch in range(max(len(self.epochs), len(self.validations))):
            rows = self.within(epoch)
            for row in rows:
                steps = row.get("steps", rows[0]["step"] + rows[-1]["step"])
                places.append(epoch + row["step"] / steps)
                values.append(row.get(name, math.nan))
            if epoch < len(self.epochs) and (name in self.epochs[epoch] or name in self.names):
                places.append(epoch + 1)
                values.append(self.epochs[epoch].get(name, math.nan))
        return places, values

    def __repr__(self) -> str:
        rows = self.rows()
        if not rows:
            return "History(no epochs)"
        names = columns_of(rows)
        cells = [[visible(name) for name in names]]
        cells += [[_cell(name, row.get(name)) for name in names] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in cells)


def without_steps(row: Mapping[str, float]) -> dict[str, float]:
    """Return a validation within an epoch without the number of steps that the epoch has."""
    return {name: value for name, value in row.items() if name != "steps"}


def columns_of(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the names in rows of epochs and of validations: epochs say the order, and the step is second."""
    in_order = sorted(rows, key=lambda row: STEP in row)
    names = dict.fromkeys(name for row in in_order for name in row)
    return sorted(names, key=lambda name: {EPOCH: 0, STEP: 1}.get(name, 2))


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if name in (EPOCH, STEP) else f"{value:.4g}"


def _instead(name: object, recorded: list[str]) -> str:
    """Return what to write instead of a name that was not recorded, or how it comes to be."""
    if isinstance(name, int):
        return f"history.epochs[{name}] has the numbers of one epoch"
    if isinstance(name, str) and name.removeprefix("val_") in recorded:
        return "model.fit(..., validation_data=(images, labels)) records it"
    return meant(name, recorded, 'history["loss"]')


EPOCH, STEP = "epoch", "step"
TIMES = ("seconds", "images_per_second")
UNPLOTTED = (EPOCH, STEP, "learning_rate", *TIMES)


def _spans_decades(curves: Iterable[Any]) -> bool:
    """Whether numbers, all of them positive, are too far apart for one to see how the smaller ones change."""
    values = [float(value) for curve in curves for value in curve if math.isfinite(value)]
    return bool(values) and min(values) > 0 and max(values) > DECADES * min(values)
