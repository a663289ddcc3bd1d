"""What happened in a run: one row of numbers per epoch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING

from graphcnn.arguments import known_arguments, known_methods
from graphcnn.errors import OptionError, UnknownNameError, meant
from graphcnn.figures import new_figure
from graphcnn.foreign_names import OF_HISTORIES
from graphcnn.interchange.files import write_atomically
from graphcnn.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@known_methods()
@dataclass
class History:
    """The losses and metrics of each epoch: `history["val_accuracy"]` is a list with one number per epoch.

    Where several runs follow each other and only some record a number, the epochs without it hold NaN.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)

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
            known = ("epochs", *self.names, "names", "plot", "to_csv")
            found = recorded or OF_HISTORIES.get(name) or meant(name, known)
            raise AttributeError(f"{said}: {found}" if found else said)

    @property
    def names(self) -> list[str]:
        """The names of the recorded numbers."""
        return list(dict.fromkeys(name for epoch in self.epochs for name in epoch))

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write a row per epoch, with a header; atomically. Raises OSError where it cannot be written."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["epoch", *self.names])
        writer.writeheader()
        writer.writerows({"epoch": number, **row} for number, row in enumerate(self.epochs, 1))
        write_atomically(path, text.getvalue().encode())

    def plot(self) -> Figure:
        """Return a matplotlib figure with a panel for the losses and one for each metric.

        Notebooks display it. Raises OptionError where matplotlib is not installed or nothing was recorded.
        """
        figure = new_figure(layout="constrained")
        panels = [name for name in self.names if not name.startswith("val_") and name not in UNPLOTTED]
        if not panels:
            raise OptionError(
                "the history is empty: there is nothing to plot",
                mend="history = model.fit(x, y); history.plot()",
            )
        figure.set_size_inches(5 * len(panels), 3.5)
        for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            epochs = range(1, len(self) + 1)
            axes.plot(epochs, self[name], "o-", label="training")
            if f"val_{name}" in self.names:
                axes.plot(epochs, self[f"val_{name}"], "o-", label="validation")
                axes.legend()
            axes.set(xlabel="epoch")
            axes.set_title(visible(name), parse_math=False)
            axes.locator_params(axis="x", integer=True)
            axes.grid(alpha=0.3)
        return figure

    def __repr__(self) -> str:
        if not self.epochs:
            return "History(no epochs)"
        rows = [["epoch", *map(visible, self.names)]]
        columns = [self[name] for name in self.names]
        rows += [[str(n), *(f"{v:.4g}" for v in row)] for n, row in enumerate(zip(*columns, strict=True), 1)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in rows)


def _instead(name: object, recorded: list[str]) -> str:
    """Return what to write instead of a name that was not recorded, or how it comes to be."""
    if isinstance(name, int):
        return f"history.epochs[{name}] has the numbers of one epoch"
    if isinstance(name, str) and name.removeprefix("val_") in recorded:
        return "model.fit(..., validation_data=(images, labels)) records it"
    return meant(name, recorded, 'history["loss"]')


TIMES = ("seconds", "images_per_second")
UNPLOTTED = ("learning_rate", *TIMES)
