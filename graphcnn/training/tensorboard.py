"""A log of training for TensorBoard, written by its own package."""

from __future__ import annotations

import time
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graphcnn.arguments import known_arguments
from graphcnn.errors import OptionError
from graphcnn.interchange.files import as_path
from graphcnn.ops.attributes import is_int
from graphcnn.training.callbacks import Callback

if TYPE_CHECKING:
    from graphcnn.training.model import Model

TRAINING: Final = "training"
VALIDATION: Final = "validation"
"""Two runs of TensorBoard, so that it draws the same number of both into one chart."""


@known_arguments
class TensorBoard(Callback):
    """Writes losses, metrics, learning rate and speed into a folder that `tensorboard --logdir` shows.

    folder: where the runs "training" and "validation" go; it is made. every: writes loss and metrics of each
    so many steps as well, as "step_loss" and so on.

    Numbers stand at the steps that were taken until then, through all training; with batches that do not tell
    how many an epoch has, at epochs. Training that goes on in the same folder drops what lies behind the
    position from which it goes on, which is trained again. Needs `pip install 'graphcnn[tensorboard]'`, and
    raises OptionError without.
    """

    only_writes = True

    def __init__(self, folder: str | PathLike[str], *, every: int | None = None) -> None:
        if every is not None and not is_int(every, 1):
            raise OptionError(f"every={every!r:.60} is not a number of steps of at least 1", mend="every=10")
        _written_by()
        self.folder = as_path(folder)
        self.every = every
        self._runs: dict[str, _Run] = {}
        self._steps: int | None = None
        self._begin = 0

    def on_train_begin(self, model: Model) -> None:
        self._close()
        self._steps = model.steps_per_epoch
        if self.every is not None and self._steps is None:
            raise OptionError(
                "TensorBoard(every=...) needs to know how many steps an epoch has, which batches do not tell",
                mend="model.fit(batches, steps_per_epoch=100); or leave out every",
            )
        self._begin = self._place(model.epochs_done, model.steps_done)

    def _place(self, epochs: int, steps: int = 0) -> int:
        """Return where numbers stand after so many epochs, and steps of the next one."""
        return epochs if self._steps is None else epochs * self._steps + steps

    def on_step_end(self, model: Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        if self.every is not None and step % self.every == 0:
            numbers = {f"step_{name}": value for name, value in logs.items()}
            self._write(TRAINING, self._place(epoch - 1, step), numbers)

    def on_validation_end(self, model: Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        if self._steps is not None:
            self._write_all(self._place(epoch - 1, step), logs)

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        self._write_all(self._place(epoch), logs)
        for run in self._runs.values():
            run.writer.flush()

    def on_train_end(self, model: Model) -> None:
        self._close()

    def _write_all(self, place: int, logs: Mapping[str, float]) -> None:
        """Write numbers into the run that each belongs to, under the name that both have for it."""
        validated = [name for name in logs if name.startswith("val_")]
        self._write(TRAINING, place, {name: logs[name] for name in logs if name not in validated})
        self._write(VALIDATION, place, {name.removeprefix("val_"): logs[name] for name in validated})

    def _write(self, run: str, place: int, numbers: Mapping[str, float]) -> None:
        if not numbers:
            return
        if run not in self._runs:
            self._runs[run] = _Run(self.folder / run, self._begin + 1)
        self._runs[run].write(place, numbers)

    def _close(self) -> None:
        for run in self._runs.values():
            run.writer.close()
        self._runs = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy writes into files of its own."""
        return {**self.__dict__, "_runs": {}}


class _Run:
    """One run of TensorBoard: a folder with files of events.

    first: where its first number will stand; what earlier files of the folder have from there on is dropped
    by those who read it.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self._events, self._summaries, writer = _written_by()
        self.writer: Any = writer(str(folder))
        if first > 1:
            session = self._events.SessionLog
            self._add(step=first, session_log=session(status=session.START))

    def write(self, place: int, numbers: Mapping[str, float]) -> None:
        summary = self._summaries.Summary
        for name, number in numbers.items():
            value = summary.Value(tag=name, simple_value=number)
            self._add(step=place, summary=summary(value=[value]))

    def _add(self, **content: object) -> None:
        self.writer.add_event(self._events.Event(wall_time=time.time(), **content))


def _written_by() -> tuple[Any, Any, Any]:
    """Return TensorBoard's modules of events and of summaries, and its writer of files.

    Raises OptionError where the package is not installed.
    """
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise OptionError(
            "a log for TensorBoard needs its package", mend="pip install 'graphcnn[tensorboard]'"
        ) from None
    return event_pb2, summary_pb2, EventFileWriter
