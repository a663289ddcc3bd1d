"""A log of training as a CSV file, which goes on when training does."""

from __future__ import annotations

import csv
import io
from os import PathLike
from typing import TYPE_CHECKING

from graphcnn.arguments import known_arguments
from graphcnn.errors import OptionError
from graphcnn.interchange.files import as_path, write_atomically
from graphcnn.training.callbacks import Callback

if TYPE_CHECKING:
    from graphcnn.training.model import Model

EPOCH = "epoch"
"""The first column."""


@known_arguments
class CSVLog(Callback):
    """Appends a row per epoch to a CSV file, as training goes on.

    Training that begins with epoch 1 begins the file anew. Training that goes on keeps the rows of the epochs
    that the model has done, and drops those of later ones, which are trained again. Numbers that come in
    later add columns. `fit` raises OptionError where it would go on in a file that is no such log.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path(path)
        self._columns: list[str] = []
        self._rows: list[dict[str, object]] = []

    def on_train_begin(self, model: Model) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._columns, self._rows = [], []
        if model.epochs_done and self.path.exists():
            self._read(model.epochs_done)
        self._rewrite()

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        row: dict[str, object] = {EPOCH: epoch, **logs}
        self._rows.append(row)
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            self._rewrite()
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _read(self, epochs_done: int) -> None:
        """Take over the rows of the epochs that are done."""
        with self.path.open(newline="", encoding="utf-8") as file:
            try:
                columns, *rows = csv.reader(file, strict=True) or [[]]
                epochs = [int(row[0]) for row in rows]
            except (ValueError, IndexError, csv.Error):
                columns, rows, epochs = [], [], []
        if columns[:1] != [EPOCH] and self.path.stat().st_size:
            raise OptionError(
                f"{self.path} is not a log of epochs, so it cannot go on after epoch {epochs_done}",
                mend="give CSVLog another path, or fit(..., initial_epoch=0), with which it begins anew",
            )
        self._columns = columns
        self._rows = [
            dict(zip(columns, row, strict=False))
            for epoch, row in zip(epochs, rows, strict=True)
            if epoch <= epochs_done
        ]

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        if self._columns:
            writer = csv.DictWriter(text, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)
        write_atomically(self.path, text.getvalue().encode())
