"""The model: a compiled network with its parameters, ready to train, evaluate and predict."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from graphcnn.arguments import known_methods, translated_arguments
from graphcnn.arrays import Array
from graphcnn.backend import Backend, Executable
from graphcnn.data.dataset import Dataset
from graphcnn.data.prefetching import AHEAD
from graphcnn.distributed.agreement import Stated
from graphcnn.errors import DataError, OptionError, SettingError, meant
from graphcnn.foreign_names import OF_MODELS, SETTABLE
from graphcnn.ir import users_line
from graphcnn.sample_keys import SAMPLE_KEY, identities
from graphcnn.training.callbacks import Callback, check_callbacks, hears
from graphcnn.training.checkpoint import Checkpoint
from graphcnn.training.class_names import classes_to_train
from graphcnn.training.compiling import compilations_shown
from graphcnn.training.feed import BatchesOf, Source, parts_to_train
from graphcnn.training.feeding import check_batch_size
from graphcnn.training.graphs import Graphs
from graphcnn.training.history import TIMES, History
from graphcnn.training.loop import Loop
from graphcnn.training.model_file import ModelFile, write_model_file
from graphcnn.training.model_graphs import OF_EVERY_BATCH
from graphcnn.training.model_use import ModelUse
from graphcnn.training.named import Named
from graphcnn.training.objective import variant
from graphcnn.training.optimizers import AVERAGE, LEARNING_RATE
from graphcnn.training.other_arguments import FIT
from graphcnn.training.planning import Begun, planned, planned_data, saved_training
from graphcnn.training.position import Training, with_states
from graphcnn.training.progress import Progress
from graphcnn.training.ranks import Ranks
from graphcnn.training.saving import Saving
from graphcnn.training.stated import stated_of_call, stated_of_position
from graphcnn.visible import visible
from graphcnn.warned import quiet_unless, warn

ATTRIBUTES = ("seed", "epochs_done", "steps_done", "backend", "history")
"""What a model has beside its methods and properties."""


def _not_settable(name: str) -> SettingError:
    """Return the error for a property of a model that is set."""
    place = users_line()
    error = SettingError(
        f"model.{name} cannot be set", mend=SETTABLE.get(name, "gcn.compile makes another model")
    )
    error.located(file=place.file, line=place.line)
    return error


@translated_arguments(
    {"": "gcn.compile(network) makes a model of gcn.Network(x, y) or gcn.Sequential(*layers)"}
)
@known_methods(besides=OF_EVERY_BATCH)
class Model(ModelUse):
    """A network, compiled. `gcn.compile` and `gcn.load` make it.

    parameters: name → array. learning_rate: may be set at any time. history: of all `fit` calls so far.
    epochs_done: how many epochs `fit` has trained. steps_done: of the epoch that is under way.
    classes: the names of the classes that the network tells apart. resize: how its images got their size.
    """

    def __init__(
        self,
        graphs: Graphs,
        state: dict[str, Array],
        *,
        backend: Backend,
        options: Mapping[str, object] | None = None,
        seed: int = 0,
        epochs_done: int = 0,
        samples_trained: int = 0,
        frozen_by_layers: Callable[[], frozenset[str]] = frozenset,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(graphs, state, backend, options or {}, frozen_by_layers, ranks or Ranks(None))
        self.seed = seed
        self.epochs_done = epochs_done
        self.steps_done = 0
        self.history = History()
        self._resume: dict[str, object] = {}
        self._begun: Begun | None = None
        self._takes_keys = SAMPLE_KEY in graphs.network.inputs
        self._samples_trained = samples_trained  # by train_step, whose samples have no other index
        self._steps_per_epoch: int | None = None

    @classmethod
    def of_file(
        cls,
        file: ModelFile,
        *,
        backend: Backend,
        options: Mapping[str, object],
        begun: Begun | None = None,
        ranks: Ranks | None = None,
    ) -> Model:
        """Return the model that a file holds. begun: a call of `fit` that it goes on with."""
        model = cls(
            file.graphs,
            dict(file.state),
            backend=backend,
            options=options,
            seed=file.seed,
            epochs_done=file.epochs_done,
            samples_trained=file.samples_trained,
            ranks=ranks,
        )
        model.learning_rate = file.learning_rate
        model.classes = file.classes
        model.resize = file.resize
        model.history = file.history
        model._resume.update(file.resume)
        if begun is not None:
            model.steps_done = begun.training.steps_done
            model.scheduled_rate = begun.training.scheduled_rate
            own = with_states(begun.training, file.state, model._shards.own)
            model._begun = dataclasses.replace(begun, training=own)
        return model

    @property
    def begun(self) -> Training | None:
        """The call of `fit` that the next one goes on with: that of the checkpoint it comes from, if any."""
        return None if self._begun is None else self._begun.training

    @property
    def resume(self) -> dict[str, object]:
        """An older way for callbacks to keep what they need: `Callback.state` is the way now."""
        warn("model.resume goes: what a callback needs to go on, its methods state and set_state keep")
        return self._resume

    def averaged(self) -> Model:
        """Return a copy of the model whose parameters are the moving averages of this one's.

        It predicts, evaluates, saves and trains on as any other. Statistics, as batch norm's, are the latest;
        parameters that are not trained, and all before the first step, are as they are. To be called by all
        ranks where the optimiser's state is cut over them.
        Raises OptionError for a model that was compiled without `average=`.
        """
        started = self._state.get(f"{AVERAGE}.started")
        if started is None:
            raise OptionError(
                "this model keeps no average of its weights", mend="gcn.compile(..., average=0.999)"
            )
        model = copy.deepcopy(self)
        model._begun = None
        state = self.whole_state(self._state) if started else {}
        for name in self.parameters:
            if f"{name}.{AVERAGE}" in state:
                model.parameters[name] = state[f"{name}.{AVERAGE}"]
        return model

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a safetensors file that `gcn.load` reads: graphs as text, state as tensors.

        The history is in it, but for times. The file is replaced atomically. To be called by all ranks where
        the optimiser's state is cut over them; the first one writes it.
        Raises OSError where it cannot be written.
        """
        file = self.whole(self.contents())
        if self._ranks.is_first or not self._ranks.have_parts:
            write_model_file(path, file)

    def contents(self, training: Training | None = None) -> ModelFile:
        """Return what a file of the model holds, as far as this rank has it; its arrays are the model's own.

        training: a call of `fit` that is under way.
        """
        return ModelFile(
            self._graphs,
            self._state,
            self.seed,
            self.epochs_done,
            self._learning_rate,
            self.history.latest(len(self.history)),
            self._resume,
            self._samples_trained,
            training,
            self.classes,
            self.resize,
        )

    def whole(self, file: ModelFile) -> ModelFile:
        """Return on the first rank what a file of the model holds, from what each rank has; all call this."""
        shards = self._shards
        if not shards.owners:
            return file
        whole = shards.on_first(file.state)
        state = {name: whole[name] for name in (*self._held(), *self._graphs.added_states) if name in whole}
        training = None if file.training is None else with_states(file.training, file.state, shards.on_first)
        return dataclasses.replace(file, state=state, training=training)

    def train_step(self, x: object, y: object, sample_weight: object = None) -> dict[str, float]:
        """Take one step on a batch; return its loss and metrics as they were before the step.

        x: the inputs, [n, ...] (a dict or list of them where the network has several). y: labels [n] or
        targets; for several outputs a dict of them. sample_weight: [n], what each sample's loss is multiplied
        by. Raises DataError for arrays that do not fit.
        """
        inputs: dict[str, Any]
        feed = self._feed
        if sample_weight is None and feed.takes(x, y):
            inputs = {feed.only_input: x, feed.only_target: y, LEARNING_RATE: self.learning_rate}
            if self._takes_keys:
                inputs[SAMPLE_KEY] = self._next_keys(feed.samples(inputs))
            results = self._stepped(self.executable("step"), inputs)
        else:
            self.executable("step")
            if y is None:
                raise DataError("labels are missing", mend="model.train_step(images, labels)")
            inputs = self.as_batch(x, y, sample_weight)
            results = self.step_on(inputs)
        if self._takes_keys:
            self._samples_trained += feed.samples(inputs)
        return Named(self.numbers(results), "model.train_step(x, y)")

    def numbers(self, results: Mapping[str, Array]) -> dict[str, float]:
        """Return what `step_on` returned as numbers: loss and metrics of its batch."""
        if not self._statistics:
            return {name: float(value) for name, value in results.items()}
        totals = self.totals()
        totals.add(results, 1)
        return totals.result()

    def source(self, x: object, y: object = None, *, batch_size: int = 32) -> Source:
        """Return the batches of `fit`, epoch by epoch. Raises DataError for data that does not fit."""
        size = check_batch_size(batch_size)
        x, y = parts_to_train(x, y)
        return self._feed.arrays(x, y, size=size, seed=self.seed, key_seed=self._key_seed)

    @property
    def _key_seed(self) -> int | None:
        """The seed of the keys of samples; None where training takes none."""
        return self.seed if self._takes_keys else None

    def step_on(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Take one step on a batch that `as_batch` made; return its results as arrays."""
        step = self.executable(variant("step", batch))
        return self._stepped(step, {**batch, LEARNING_RATE: self.learning_rate})

    def _stepped(self, step: Executable, inputs: Mapping[str, Any]) -> dict[str, Array]:
        state = self._state
        self._agree()
        state.changed()
        try:
            return step.step(state, **inputs)
        finally:
            state.changed()

    def _stated(self) -> dict[str, Stated]:
        position = {
            "the seed": self.seed,
            "the learning rate": self.learning_rate,
            "the number of epochs done": self.epochs_done,
            "the number of steps done": self.steps_done,
            "the number of samples trained": self._samples_trained,
        }
        return {**super()._stated(), **stated_of_position(position)}

    def as_batch(self, x: object, y: object = None, sample_weight: object = None) -> dict[str, Array]:
        """Return a batch as inputs of the model's graphs by name, with the targets where there are any.

        x, y, sample_weight: as in `train_step`. Raises DataError for arrays that do not fit, and OptionError
        for targets of a model that was compiled without a loss.
        """
        if y is not None:
            self.graph("evaluation")
        batch = self._feed.batch(x, y, sample_weight)
        if y is not None and self._takes_keys:
            batch[SAMPLE_KEY] = self._next_keys(self.samples(batch))
        return batch

    def _next_keys(self, samples: int) -> Array:
        """Return the keys of samples that are no dataset's: each has the number of those before it."""
        first = self._samples_trained
        return identities(self.seed, np.arange(first, first + samples))

    @translated_arguments(FIT)
    def fit(
        self,
        x: object,
        y: object = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        initial_epoch: int | None = None,
        validation_data: tuple[object, ...] | BatchesOf | Dataset | None = None,
        validation_split: float | None = None,
        validate_every: int | None = None,
        steps_per_epoch: int | None = None,
        sample_weight: object = None,
        class_weight: Mapping[int, float] | Sequence[float] | str | None = None,
        shuffle: bool | None = None,
        prefetch: int = AHEAD,
        callbacks: Sequence[Callback] = (),
        checkpoint: Checkpoint | None = None,
        progress: bool = True,
    ) -> History:
        """Train, and return the history of this call, a row per epoch.

        x, y: arrays with a row per sample; or x alone, a Dataset, or an iterable of batches `(images,
        labels)` or `(images, labels, sample_weight)` that can be gone through once per epoch. Images may be
        bytes, which are divided by 255 batch by batch, and labels any integers: arrays are not copied, but
        read some batches ahead. A Dataset is trained on its training part; its test part, where it has one,
        is evaluated after each epoch, unless there is something else to evaluate; the model gets the names of
        its classes. Of several inputs or outputs, x and y are dictionaries by name. epochs: how often to go
        through them, once by default. They are numbered through all training: after `epochs_done` come the
        next, for schedules, shuffling, logs and callbacks alike. initial_epoch: the number of epochs to count
        as done instead; `epochs` is the number of the last one then. 0 begins anew. batch_size: samples per
        step, 32 by default (the last batch of an epoch may be smaller); unused for an iterable.
        validation_data: likewise arrays or batches, or the test part of a Dataset, evaluated after each
        epoch. validation_split: the share of the samples of arrays, such as 0.1, that is evaluated so and not
        trained on; drawn by the model's seed, so the same in each call. validate_every: evaluates after so
        many steps of an epoch, too, for callbacks and `history.validations`. steps_per_epoch: how many steps
        an epoch takes, whatever a pass through the data takes: each epoch goes on where the one before has
        left off. sample_weight: [n], what each sample's loss is multiplied by; a mean still divides by the
        number of samples. class_weight: the same by label, {1: 5.0}, where classes that it leaves out weigh
        1; or "balanced": all count alike. shuffle: whether to shuffle arrays, as by default; the order
        follows from the model's seed and the epoch. prefetch: how many batches of an iterable a thread draws
        before they are needed; 0 where they depend on the model. checkpoint: where to save what is needed to
        go on after an interruption, see `Checkpoint`. progress: whether to show progress, of compiling too.

        A model that `gcn.resume` has returned goes on with the call of `fit` that was interrupted, with the
        same bits: with the same data and callbacks, and, unless other epochs are given, to the same last
        epoch. Other arguments can be left out, checkpoint too; the history is that of the whole call.

        Raises DataError for data that does not fit, before training where it is an array, and
        TrainingError when the loss is no longer finite.
        """
        self._require_trained(self.graph("step"))
        given = {
            "batch_size": None if batch_size is None else check_batch_size(batch_size),
            "shuffle": None if shuffle is None else bool(shuffle),
            "validation_split": validation_split,
            "validate_every": validate_every,
            "steps_per_epoch": steps_per_epoch,
        }
        plan = planned(self._begun, epochs, initial_epoch, self.epochs_done, given)
        own = self._own_rows("step"), self._own_rows("evaluation")
        data = planned_data(
            self._feed,
            plan,
            x,
            y,
            validation_data,
            seed=self.seed,
            key_seed=self._key_seed,
            prefetch=prefetch,
            weights={"sample_weight": sample_weight, "class_weight": class_weight},
            own=own,
        )
        check_callbacks(callbacks, self._recorded(has_validation=data.validation is not None))
        self._steps_per_epoch = data.training.steps
        if own[0] is not None and any(hears(callback, "on_step_begin") for callback in callbacks):
            own[0].see_all()  # as callbacks do that are told of batches
        outputs = [type.shape for type in self._outputs.values()]
        ranks = self._ranks
        with quiet_unless(ranks.is_first), compilations_shown(progress and ranks.is_first):
            self.classes = classes_to_train(x, outputs) or self.classes
            self.resize = x.resize if isinstance(x, Dataset) else self.resize
            is_saved = checkpoint is not None or plan.begun is not None
            numbers = f"{plan.numbers[0]} to {plan.numbers[-1]}"
            call = {"epochs": numbers, **plan.options, "whether checkpoints are saved": is_saved}
            ranks.require_agreement(
                lambda: {**self._stated(), **stated_of_call(call, callbacks, data.fingerprints())}
            )
            self._has_agreed = True
            chosen, training, latest = saved_training(
                plan, checkpoint, data, self.backend, self._options, is_writer=ranks.is_first
            )
            repeats = data.training.is_repeatable
            saving = Saving(
                chosen, training, self, callbacks, is_repeatable=repeats, ranks=ranks, latest=latest
            )
            bar = Progress(plan.numbers[-1], data.training.steps, shown=progress and ranks.is_first)
            if plan.left:
                self.executable(variant("step", data.training.names))
            if plan.left and data.validation is not None:
                self.executable(variant("evaluation", data.validation.names))
            if plan.begun is None:
                self.epochs_done, self.steps_done = plan.numbers.start - 1, 0
            self._begun = None
            return Loop(self, self._state, data, callbacks, bar, saving, plan, ranks, own[0]).run()

    @property
    def steps_per_epoch(self) -> int | None:
        """How many steps an epoch of `fit` has; None before it, and where batches do not tell."""
        return self._steps_per_epoch

    def _recorded(self, *, has_validation: bool) -> list[str]:
        """Return the names of the numbers that `fit` records of each epoch."""
        results = [] if self._graphs.objective is None else self._graphs.objective.results
        validated = [f"val_{name}" for name in results] if has_validation else []
        return [*results, *validated, "learning_rate", *TIMES]

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __setattr__(self, name: str, value: object) -> None:
            """Raise AttributeError for a name that the model does not have, which would never be read."""
            if not name.startswith("_") and name not in ATTRIBUTES:
                known = getattr(type(self), name, None)
                if known is None:
                    getattr(self, name)
                if isinstance(known, property) and known.fset is None:
                    raise _not_settable(name)
            super().__setattr__(name, value)

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError, with what a name of another framework is called here."""
            said = f"a Model has no attribute {visible(name)!r}"
            known = (*filter(str.isidentifier, dir(type(self))), *ATTRIBUTES)
            found = "" if name.startswith("_") else OF_MODELS.get(name) or meant(name, known)
            raise AttributeError(f"{said}: {found}" if found else said)
