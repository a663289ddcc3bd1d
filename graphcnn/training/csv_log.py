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
from graphcnn.training.history import EPOCH, STEP, columns_of

if TYPE_CHECKING:
    from graphcnn.training.model import Model


@known_arguments
class CSVLog(Callback):
    """Appends a row per epoch to a CSV file, as training goes on, and one per validation within an epoch.

    The latter have the column "step", which is empty in those of epochs.
    Training that begins with epoch 1 begins the file anew. Training that goes on keeps the rows of the epochs
    and steps that are done, and drops those of later ones, which are trained again. Numbers that come in
    later add columns. `fit` raises OptionError where it would go on in a file that is no such log.
    """

    only_writes = True

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = as_path(path)
        self._columns: list[str] = []
        self._rows: list[dict[str, object]] = []

    def on_train_begin(self, model: Model) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._columns, self._rows = [], []
        if (model.epochs_done or model.steps_done) and self.path.exists():
            self._read(model.epochs_done, model.steps_done)
        self._rewrite()

    def on_validation_end(self, model: Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        self._append({EPOCH: epoch, STEP: step, **logs})

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        self._append({EPOCH: epoch, **logs})

    def _append(self, row: dict[str, object]) -> None:
        self._rows.append(row)
        if not row.keys() <= set(self._columns):
            self._columns = columns_of([*self._rows, dict.fromkeys(self._columns)])
            self._rewrite()
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _read(self, epochs_done: int, steps_done: int) -> None:
        """Take over the rows of the epochs that are done, and of the steps of the next one."""
        with self.path.open(newline="", encoding="utf-8") as file:
            try:
                columns, *lines = csv.reader(file, strict=True) or [[]]
                rows = [
                    {name: text for name, text in zip(columns, line, strict=False) if text or name != STEP}
                    for line in lines
                ]
                places = [(int(row[EPOCH]), int(row.get(STEP, 0))) for row in rows]
            except (ValueError, KeyError, csv.Error):
                columns, rows, places = [], [], []
        if columns[:1] != [EPOCH] and self.path.stat().st_size:
            raise OptionError(
                f"{self.path} is not a log of epochs, so it cannot go on after epoch {epochs_done}",
                mend="give CSVLog another path, or fit(..., initial_epoch=0), with which it begins anew",
            )
        self._columns = columns
        self._rows = [
            {**row}
            for row, (epoch, step) in zip(rows, places, strict=True)
            if epoch <= epochs_done or (epoch == epochs_done + 1 and 0 < step <= steps_done)
        ]

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        if self._columns:
            writer = csv.DictWriter(text, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)
        write_atomically(self.path, text.getvalue().encode())
