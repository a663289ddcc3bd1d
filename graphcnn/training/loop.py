"""The loop of `fit`: epochs of steps, what callbacks hear of them, and what is said when it goes wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from graphcnn.arrays import Array
from graphcnn.data.fingerprint import fingerprint
from graphcnn.displays import display
from graphcnn.errors import DataError, TrainingError
from graphcnn.interrupts import interrupts_put_off
from graphcnn.training.callbacks import Callback, StopTraining, hears
from graphcnn.training.feed import Batch, Drawn, Source, of_validation
from graphcnn.training.hints import Course, hint
from graphcnn.training.history import STEP, History
from graphcnn.training.own_rows import OwnRows
from graphcnn.training.position import hand_over
from graphcnn.training.progress import Progress
from graphcnn.training.ranks import Ranks
from graphcnn.training.saving import Saving
from graphcnn.training.stated import stated_of_epoch
from graphcnn.training.totals import Totals
from graphcnn.training.trail import Trail
from graphcnn.warned import warn

if TYPE_CHECKING:
    from graphcnn.training.model import Model
    from graphcnn.training.planning import Data, Plan


class Loop:
    """One call of `fit`, of which everything is checked.

    state: the model's own arrays, which each step changes. own: which rows of batches are read here, of
    several ranks.
    """

    def __init__(
        self,
        model: Model,
        state: dict[str, Array],
        data: Data,
        callbacks: Sequence[Callback],
        bar: Progress,
        saving: Saving,
        plan: Plan,
        ranks: Ranks,
        own: OwnRows | None,
    ) -> None:
        self._model = model
        self._state = state
        self._source = data.training
        self._validation = data.validation
        self._ranks = ranks
        self._tells_before_step = any(hears(callback, "on_step_begin") for callback in callbacks)
        self._tells_steps = any(hears(callback, "on_step_end") for callback in callbacks)
        self._callbacks = [each for each in callbacks if ranks.is_first or not each.only_writes]
        self._step_callbacks = [each for each in self._callbacks if hears(each, "on_step_end")]
        self._bar = bar
        self._saving = saving
        self._plan = plan
        self._own = own
        self._begun = None if plan.begun is None else plan.begun.training
        """Where the training that goes on was interrupted, until it goes on from there."""
        self._validate_every = plan.options["validate_every"]
        self._validating = 0.0
        self._has_warned = False
        self._may_hint = True
        self._course = Course()

    def run(self) -> History:
        """Train the epochs that are left; return the history of all."""
        model, begun = self._model, self._begun
        done = 0 if begun is None else model.epochs_done + 1 - begun.first
        history = model.history.latest(max(done, 0))
        try:
            try:
                with self._saving.listening():
                    self._train_and_save(history)
            finally:
                self._end()
                self._source.close()
        finally:
            self._end()  # again, should another interrupt have come while the first one ended training
            for callback in self._callbacks:
                callback.on_train_end(model)
        return history

    def _train_and_save(self, history: History) -> None:
        try:
            has_ended = self._train_epochs(history)
            self._saving.finish(has_ended=has_ended)
        except BaseException as error:
            self._bar.close()
            self._saving.fail(error)
            raise

    def _train_epochs(self, history: History) -> bool:
        """Train; return whether a callback has ended it."""
        try:
            self._begin()
            for epoch in self._plan.left:
                logs = self._epoch(epoch, history)
                self._bar.end(epoch, logs)
                self._hint()
                is_to_stop = self._is_to_stop(epoch, logs)
                self._saving.after_epoch()
                if is_to_stop:
                    return True
        except StopTraining:
            return True
        return False

    def _begin(self) -> None:
        """Tell callbacks that training begins; where it goes on, all is then as it was before."""
        model, begun = self._model, self._begun
        state = {} if begun is None else model.state()
        scheduled, model.scheduled_rate = model.scheduled_rate, None
        rate = model.learning_rate
        with self._ranks.stopping_together():
            for callback in self._callbacks:
                callback.on_train_begin(model)
        if begun is not None:
            model.set_state(state)
            model.learning_rate, model.scheduled_rate = rate, scheduled
            missing = hand_over(begun.callbacks, self._callbacks)
            if missing and self._ranks.is_first:
                warn(
                    f"the training that goes on had {' and '.join(missing)} among its callbacks, and has not "
                    "now. Mend: callbacks= as at first"
                )
        self._saving.begin()

    def _end(self) -> None:
        """Give the model its own rate back, and take the bar away."""
        with interrupts_put_off():
            self._model.scheduled_rate = None
            self._bar.close()

    def _hint(self) -> None:
        """Show what is probably wrong, once, where an epoch and all before it have learnt nothing."""
        if not self._may_hint or not self._bar.is_shown:
            return
        said = hint(self._model, self._course, self._source.inputs)
        self._bar.hint(said)
        self._may_hint = not said and self._course.is_falling

    def _is_to_stop(self, epoch: int, logs: dict[str, float]) -> bool:
        """Tell all callbacks of an epoch; return whether one of them ends training. Others hear of it too."""
        is_to_stop = False
        for callback in self._callbacks:
            try:
                callback.on_epoch_end(self._model, epoch, logs)
            except StopTraining:
                is_to_stop = True
        return bool(self._ranks.greatest(is_to_stop))

    def _epoch(self, epoch: int, history: History) -> dict[str, float]:
        """Train and evaluate one epoch, and enter it in both histories; return its numbers."""
        model = self._model
        totals = model.totals()
        if self._begun is not None and model.steps_done:
            totals.set_state(self._begun.totals)
            self._saving.begin_epoch(totals)
        else:
            model.steps_done = 0
            for each in (history, model.history):
                each.begin_epoch()
            self._saving.begin_epoch(totals)
            with self._ranks.stopping_together():
                for callback in self._callbacks:
                    callback.on_epoch_begin(model, epoch)
        self._warn_of_rate(epoch)
        self._ranks.require_agreement(lambda: stated_of_epoch(epoch, model.learning_rate))
        self._bar.begin(epoch)
        before, start, self._validating = totals.samples, time.perf_counter(), 0.0
        self._train(epoch, totals, history)
        seconds = self._ranks.number_of_first(time.perf_counter() - start - self._validating)
        rates = {
            "learning_rate": model.learning_rate,
            "seconds": seconds,
            "images_per_second": (totals.samples - before) / seconds,
        }
        self._saving.after_steps()
        results = totals.result()
        logs, rows = results | rates, model.history.epochs
        with interrupts_put_off():
            model.epochs_done, model.steps_done = epoch, 0
            history.epochs.append(logs)
            rows.append(logs)
        if self._validation is not None:
            with self._saving.evaluating():
                measured = self._measured(self._validation)
            logs = rows[-1] = history.epochs[-1] = results | measured | rates
        return logs

    def _train(self, epoch: int, totals: Totals, history: History) -> None:
        """Take the steps of an epoch that are not done, and add up their results."""
        begin = self._model.steps_done
        self._course = Course(self._course if self._course.latest else None)
        trail = Trail(self._state, self._ranks)
        measured = history.within(len(history))
        if self._validates_after(begin) and not any(row[STEP] == begin for row in measured):
            self._validate_within(epoch, begin, history)  # in which training was interrupted
        with closing(self._batches(epoch, begin)) as drawn:
            batches = self._ranks.alike(drawn, self._source, f"of epoch {epoch}", begin)
            self._take_steps(epoch, begin, batches, totals, trail, history)
        if not totals.samples:
            raise DataError(
                f"the batches of epoch {epoch} are empty",
                mend="pass a list, or another iterable that begins anew; a generator ends after one epoch",
            )

    def _take_steps(
        self,
        epoch: int,
        begin: int,
        batches: Iterator[Batch],
        totals: Totals,
        trail: Trail,
        history: History,
    ) -> None:
        model, before = self._model, totals.samples
        for step, batch in enumerate(batches, begin + 1):
            if self._tells_before_step:
                self._tell_before_step(epoch, step, batch)
            trail.add(model.learning_rate, None if self._source.is_repeatable else batch)
            results = model.step_on(batch)
            model.steps_done = step
            totals.add(results, model.samples(batch))
            loss = float(results["loss"])
            if not math.isfinite(loss):
                raise self._diverged(epoch, step, loss, trail, begin)
            self._course.add(loss)
            if self._tells_steps:
                self._tell_step(epoch, step, results)
            if self._validates_after(step):
                self._validate_within(epoch, step, history)
            self._saving.after_step(batch)
            self._bar.advance(step, totals.samples - before, totals.result)

    def _batches(self, epoch: int, begin: int) -> Drawn:
        """Return the batches of an epoch from one on; look whether they are those of before, if one can."""
        begun, self._begun = self._begun, None
        if begun is None or not begin or self._source.is_repeatable:
            return self._source.epoch(epoch - 1, begin)
        batches = self._source.epoch(epoch - 1, begin - 1)
        latest = next(batches, None)
        found = {} if latest is None else {name: fingerprint(array) for name, array in latest.items()}
        if found != begun.batch:
            warn(
                f"batch {begin} of epoch {epoch} is another one than before the interruption, so the bits "
                "will be others, too. Mend: let the iterable yield the same batches in every process"
            )
        return batches

    def _tell_before_step(self, epoch: int, step: int, batch: Mapping[str, Array]) -> None:
        with self._ranks.stopping_together():
            for callback in self._callbacks:
                callback.on_step_begin(self._model, epoch, step, batch)

    def _tell_step(self, epoch: int, step: int, results: Mapping[str, Array]) -> None:
        logs = self._model.numbers(results)
        with self._ranks.stopping_together():
            for callback in self._step_callbacks:
                callback.on_step_end(self._model, epoch, step, logs)

    def _measured(self, validation: Source) -> dict[str, float]:
        with of_validation():
            found = self._model.evaluate_batches(validation, between=self._saving.between_batches)
            return {f"val_{name}": value for name, value in found.items()}

    def _validates_after(self, step: int) -> bool:
        every = self._validate_every
        return every is not None and step > 0 and step % every == 0 and step != self._source.steps

    def _validate_within(self, epoch: int, step: int, history: History) -> None:
        """Evaluate in the middle of an epoch, which counts for no time of it, and tell callbacks."""
        assert self._validation is not None
        start = time.perf_counter()
        logs = self._measured(self._validation)
        known = {} if self._source.steps is None else {"steps": self._source.steps}
        for each in (history, self._model.history):
            each.add_validation({STEP: step, **known, **logs})
        self._bar.validated(epoch, step, logs)
        with self._ranks.stopping_together():
            for callback in self._callbacks:
                callback.on_validation_end(self._model, epoch, step, logs)
        self._validating += time.perf_counter() - start

    def _warn_of_rate(self, epoch: int) -> None:
        """Warn, once, of an epoch that trains nothing."""
        if self._model.learning_rate > 0 or self._has_warned:
            return
        self._has_warned = True
        scheduled = self._model.scheduled_rate is not None
        mend = (
            "a schedule over more epochs or with a rate above 0 at its end; "
            "or fit(..., initial_epoch=0), which begins it anew"
            if scheduled
            else "model.learning_rate = 0.05"
        )
        warn(f"the learning rate of epoch {epoch} is 0: its steps change no parameter. Mend: {mend}")

    def _diverged(self, epoch: int, step: int, loss: float, trail: Trail, begin: int) -> TrainingError:
        """Return the error for a loss that is no number; it names the node, the layer and the line.

        begin: how many steps of the epoch the trail leaves out.
        """
        model, batches = self._model, None
        if self._own is not None:
            self._own.see_all()
        if self._source.is_repeatable:
            batches = self._source.epoch(epoch - 1, begin)
        state = model.whole_state(trail.state)
        found = display("first_nonfinite_of_steps")(model, state, trail.steps(batches))
        problem, rate = f"the loss became {loss} in step {step} of epoch {epoch}", model.learning_rate
        if found is None:
            return TrainingError(
                problem,
                facts=[f"learning rate {rate:g}", "it does not happen again with the same batches"],
                mend="compile with a lower learning rate; look for NaN or huge values in the data",
            )
        before, node = found
        first = begin + trail.first + before
        begun = "" if first == step else f"in step {first} "
        error = TrainingError(
            problem, facts=[begun + node.problem, *node.facts, f"learning rate {rate:g}"], mend=node.mend
        )
        error.located(layer=node.layer, file=node.file, line=node.line)
        return error
