"""How `fit` saves checkpoints: a copy is taken between two steps, and written by another thread meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.data.fingerprint import Fingerprint, fingerprint
from graphcnn.errors import GraphcnnError, OptionError, RankError, TrainingError, add_fact
from graphcnn.interchange.files import locked, make_folder
from graphcnn.training.callbacks import Callback
from graphcnn.training.checkpoint import Checkpoint
from graphcnn.training.graphs import Graphs
from graphcnn.training.model_file import ModelFile, described_graphs, write_model_file
from graphcnn.training.position import Training, kept_by
from graphcnn.training.ranks import Ranks
from graphcnn.training.stopping import Stopping
from graphcnn.training.totals import Totals
from graphcnn.visible import visible, visible_lines
from graphcnn.warned import warn

if TYPE_CHECKING:
    from graphcnn.training.model import Model

LOCK: Final = ".lock"
"""The file in the folder that is locked by the process that saves there."""
SHARE: Final = 0.01
"""The part of the time that saving may take, where the time between two checkpoints is given."""

_MENDS: Final = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or ask for a larger quota",
    errno.EACCES: "let files be made there",
    errno.EPERM: "let files be made there",
    errno.EROFS: "mount it for writing",
    errno.ENOENT: "make the folder again",
    errno.EIO: "see whether the disk is broken, and save what is on it",
}


class Saving:
    """The checkpoints of one call of `fit`; without a `checkpoint` nothing is saved.

    training: what is the same in all of them. is_repeatable: whether batches can be had again. latest: the
    checkpoint in this folder that the model comes from, where training goes on. Of several ranks, the first
    alone writes, and says what there is to say; where a signal comes to any, all end after the same step.
    Where ranks have parts of the optimiser's state, the others give the first one theirs before it writes:
    between two steps, where all are, and not when an error has come to one of them.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        training: Training | None,
        model: Model,
        callbacks: Sequence[Callback],
        *,
        is_repeatable: bool,
        ranks: Ranks,
        latest: Path | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._training = training
        self._model = model
        self._callbacks = callbacks
        self._is_repeatable = is_repeatable
        self._ranks = ranks
        self._stopping = Stopping()
        self._latest = "" if latest is None else visible(str(latest))
        self._graphs: tuple[Graphs, dict[str, str]] | None = None
        self._number = 0
        self._has_begun = False
        self._totals: Totals | None = None
        self._batch: Mapping[str, Array] = {}
        self._held: ModelFile | None = None
        """The epoch's begin before its first step, and its last step before the epoch counts: what is to be
        saved if what is done in between fails."""
        self._has_all_steps = False
        self._is_between_steps = False
        self._is_evaluating = False
        self._is_new = False
        """Whether training has changed anything since the latest copy was taken."""
        self._steps = 0
        self._next = 0.0
        self._copy: dict[str, Array] = {}
        """The state of the latest checkpoint that was written meanwhile; nobody reads it any more then."""
        self._seconds_of_copy = 0.0
        self._writer: threading.Thread | None = None
        self._failure: tuple[str, Exception] | None = None
        """Where a checkpoint could not be saved, and why."""
        self._is_failing = False

    # What the loop tells

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Let signals end what is within after a whole step, and what is being written come to its end."""
        if self._checkpoint is None:
            yield
            return
        with self._alone_in(self._checkpoint) if self._ranks.is_first else contextlib.nullcontext():
            self._stopping.listen()
            try:
                yield
            finally:
                self._stopping.end()
                self._wait()

    @contextmanager
    def _alone_in(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Make the folder, and keep other processes from saving there."""
        make_folder(checkpoint.path)
        lock = locked(checkpoint.path / LOCK)
        if lock is None:
            raise OptionError(
                "another process is training, and saves its checkpoints in "
                f"{visible(str(checkpoint.folder))}",
                mend="let it end, or end it; or take another folder",
            )
        with lock:
            yield

    def begin(self) -> None:
        """Save the first checkpoint, before any step: raise what is in the way of saving."""
        if self._checkpoint is None:
            return
        if self._ranks.is_first:
            self._number = next(iter(self._checkpoint.files()), 0)
        if not self._latest:
            self._write(self._present)
            if self._failure is not None:
                raise self._failure[1]
        self._next = max(self._next, time.perf_counter() + self._checkpoint.seconds)
        self._has_begun = True

    def begin_epoch(self, totals: Totals) -> None:
        """Note the sums of the epoch that begins. What fails before its first step is done again."""
        if self._checkpoint is not None:
            self._totals = totals
            self._held, self._has_all_steps = self._present(), False

    def after_step(self, batch: Mapping[str, Array]) -> None:
        """Save where it is time to; raise what ends training where a signal has come."""
        if self._checkpoint is None:
            return
        self._held, self._batch, self._is_new = None, batch, True
        self._steps += 1
        self._go_on()

    def after_steps(self) -> None:
        """Note that all steps of an epoch are taken: what follows can be done again."""
        if self._checkpoint is not None:
            self._held, self._has_all_steps = self._present(), True

    def after_epoch(self) -> None:
        """As `after_step`, once an epoch counts, and all callbacks know of it."""
        if self._checkpoint is not None:
            self._held, self._has_all_steps, self._is_new = None, False, True
            self._go_on()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Let signals end what is within: an evaluation, which may take long.

        At once; of several ranks, `between_batches`.
        """
        if self._checkpoint is None:
            yield
        elif self._ranks.are_several:
            self._is_evaluating = True
            yield
            self._is_evaluating = False
        else:
            with self._stopping.at_once():
                yield

    def between_batches(self) -> None:
        """Raise what ends training where a signal has come to any of several ranks that evaluate."""
        if self._is_evaluating:
            self._obey()

    def finish(self, *, has_ended: bool) -> None:
        """Save the last checkpoint. has_ended: whether a callback has ended training."""
        if not self._has_begun:
            return
        self._wait()
        if self._is_to_write(self._is_new or has_ended):
            self._write(lambda: self._present(has_ended=has_ended))
        self._tell_failure()
        self._obey()  # all ranks, which meet here: none leaves while the first one writes

    def fail(self, error: BaseException) -> None:
        """Save what there is when an error or a signal ends training, and say how to go on.

        An error leaves the state as it was before its step; an interrupt that comes anywhere leaves it
        unknown whether the step is done, and then nothing is saved.
        """
        if not self._has_begun:
            return
        self._wait()
        self._failure = None
        is_known = self._is_between_steps or (
            not self._ranks.have_parts and (self._has_all_steps or isinstance(error, Exception))
        )
        is_wanted = is_known and not isinstance(error, TrainingError | RankError)
        if is_wanted and self._is_to_write(self._is_new):
            self._write(self._file_of_failure)
        if self._is_between_steps:
            self._ranks.meet()  # none leaves while the first one writes
        if self._ranks.is_first:
            self._say(error)

    def _file_of_failure(self) -> ModelFile:
        held = self._held
        if held is None or held.training is None:
            return self._present()
        is_first_step_taken = self._model.steps_done != held.training.steps_done
        return self._present() if is_first_step_taken and not self._has_all_steps else held

    # Saving

    def _go_on(self) -> None:
        if self._failure is not None:
            self._tell_failure()
        if self._obey(is_due=self._is_due()):
            self._save_behind()

    def _obey(self, *, is_due: bool = False) -> bool:
        """End training where a signal has come; return whether it is time for the first rank to save."""
        told = self._ranks.greatest(2 * self._stopping.number + is_due)
        if told > 1:
            self._stopping.number = told // 2
            self._is_between_steps = True
            raise self._stopping.error()
        return bool(told)

    def _is_to_write(self, is_new: bool) -> bool:
        """Whether to write a checkpoint: where all ranks have a part of it, the first one decides."""
        return bool(self._ranks.number_of_first(is_new)) if self._ranks.have_parts else is_new

    def _is_due(self) -> bool:
        assert self._checkpoint is not None
        if not self._ranks.is_first:
            return False
        if isinstance(self._checkpoint.every, int):
            is_due = self._steps >= self._checkpoint.every
        else:
            is_due = time.perf_counter() >= self._next
        return is_due and (self._writer is None or not self._writer.is_alive())

    def _save_behind(self) -> None:
        """Take a copy, and let another thread write it."""
        begin = time.perf_counter()
        if not self._ranks.is_first:
            self._write(self._present)
            return
        file = self._present()
        self._steps, self._is_new = 0, False
        try:
            self._copy_anew(file.state)
        except MemoryError:  # written at once, it needs no copy
            self._write(lambda: file)
            return
        file = self._model.whole(dataclasses.replace(file, state=dict(self._copy)))
        self._seconds_of_copy = time.perf_counter() - begin
        self._writer = threading.Thread(
            target=self._write_alone, args=(lambda: file,), name="graphcnn checkpoint"
        )
        try:
            self._writer.start()
        except RuntimeError:  # the system grants no thread
            self._writer = None
            self._write_alone(lambda: file)

    def _copy_anew(self, state: Mapping[str, Array]) -> None:
        """Copy the state, into the arrays of the copy before if possible: new memory takes longer."""
        self._copy = {name: array for name, array in self._copy.items() if name in state}
        for name, array in state.items():
            before = self._copy.get(name)
            if before is None or before.shape != array.shape or before.dtype != array.dtype:
                self._copy[name] = array.copy()
            else:
                np.copyto(before, array)

    def _wait(self) -> None:
        """Wait until nothing is being written any more."""
        if self._writer is not None and self._writer.ident is not None:
            self._writer.join()

    def _present(self, *, has_ended: bool = False) -> ModelFile:
        """Return what a checkpoint of now holds; its arrays are the model's own."""
        assert self._training is not None
        steps = self._model.steps_done
        training = dataclasses.replace(
            self._training,
            steps_done=steps,
            totals=self._totals_now() if steps else {},
            batch=self._prints_of_batch() if steps else {},
            scheduled_rate=self._model.scheduled_rate,
            has_ended=has_ended,
            callbacks=kept_by(self._callbacks),
        )
        return self._model.contents(training)

    def _totals_now(self) -> Mapping[str, object]:
        assert self._training is not None
        return self._training.totals if self._totals is None else self._totals.state()

    def _prints_of_batch(self) -> Mapping[str, Fingerprint]:
        assert self._training is not None
        if self._is_repeatable or not self._batch:
            return self._training.batch
        return {name: fingerprint(array) for name, array in self._batch.items()}

    def _write(self, made: Callable[[], ModelFile]) -> None:
        """Let the first rank write a checkpoint, once it has what others have of it."""
        whole = self._model.whole(made()) if self._ranks.have_parts else None
        if self._ranks.is_first:
            self._write_alone(made if whole is None else lambda: whole)

    def _write_alone(self, made: Callable[[], ModelFile]) -> None:
        """Write a checkpoint, and remove those that are too many; note what goes wrong."""
        assert self._checkpoint is not None
        begin, place = time.thread_time(), "of now"
        try:
            file = made()
            place = where(file)
            self._number += 1
            path = self._checkpoint.file(self._number)
            if self._graphs is None or self._graphs[0] is not file.graphs:
                self._graphs = file.graphs, described_graphs(file.graphs)
            write_model_file(path, file, self._graphs[1])
            self._latest = f"{visible(str(path))}, {place}"
            self._ranks.note("checkpoint", f"the latest checkpoint is {self._latest}")
            self._is_failing = False
            for old in list(self._checkpoint.files().values())[self._checkpoint.keep :]:
                with contextlib.suppress(OSError):
                    old.unlink()
        except Exception as error:
            self._failure, self._is_new = (place, error), True
        finally:
            seconds = self._seconds_of_copy + time.thread_time() - begin
            self._next = time.perf_counter() + max(self._checkpoint.seconds, seconds / SHARE)

    # What is said

    def _tell_failure(self) -> None:
        """Warn of a checkpoint that could not be written, the first time."""
        failure, self._failure = self._failure, None
        if failure is None or self._is_failing:
            return
        self._is_failing = True
        taken, error = failure
        said = GraphcnnError(
            f"the checkpoint {taken} could not be saved: {error}",
            facts=["training goes on, and saving is tried again", self._latest_said()],
            mend=self._mend(error),
        )
        warn(str(said))

    def _say(self, error: BaseException) -> None:
        """Say where training has ended and how to go on, on the stream of errors or as part of the error."""
        assert self._checkpoint is not None
        lines = [f"the latest checkpoint is {self._latest}" if self._latest else "there is no checkpoint"]
        if self._failure is not None:
            failure = self._failure[1]
            lines.insert(0, f"it could not be saved: {failure}; {self._mend(failure)}")
        if self._latest:
            lines.append(self._checkpoint.how_to_go_on())
        if self._latest and isinstance(error, TrainingError):
            lines.append("which comes to the same, unless something is changed, such as model.learning_rate")
        if not self._stopping.number:
            for line in lines:
                add_fact(error, line)  # type: ignore[arg-type]
            return
        said = "\n  ".join([f"Training ended by {self._stopping.name}:", *lines])
        if sys.stderr is not None:
            with contextlib.suppress(OSError):
                print(visible_lines(said), file=sys.stderr)

    def _latest_said(self) -> str:
        return f"the latest is {self._latest}" if self._latest else "there is none yet"

    def _mend(self, error: Exception) -> str:
        assert self._checkpoint is not None
        if isinstance(error, GraphcnnError) and error.mend:
            return error.mend
        mend = _MENDS.get(getattr(error, "errno", None) or 0, "")
        folder = visible(str(self._checkpoint.folder))
        return f"{mend}: {folder}" if mend else f"see what is wrong with {folder}"


def where(file: ModelFile) -> str:
    """Return after which step or epoch a checkpoint was taken."""
    assert file.training is not None
    if file.training.steps_done:
        return f"after step {file.training.steps_done} of epoch {file.epochs_done + 1}"
    return f"after epoch {file.epochs_done}" if file.epochs_done else "before the first step"
