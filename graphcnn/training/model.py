"""The model: a compiled network with its parameters, ready to train, evaluate and predict."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from graphcnn.arguments import known_methods, translated_arguments
from graphcnn.arrays import Array
from graphcnn.backend import Backend, Executable, State, gathering
from graphcnn.data.dataset import Dataset
from graphcnn.data.fingerprint import Fingerprint
from graphcnn.data.prefetching import AHEAD
from graphcnn.displays import display
from graphcnn.errors import DataError, GraphcnnWarning, OptionError, SettingError, meant
from graphcnn.foreign_names import OF_MODELS, SETTABLE
from graphcnn.interchange.torchvision import is_of_torch, read_state_dict, write_state_dict
from graphcnn.interrupts import interrupts_put_off
from graphcnn.ir import Graph, TensorType, users_line
from graphcnn.sample_keys import SAMPLE_KEY, identities
from graphcnn.training.callbacks import Callback, check_callbacks
from graphcnn.training.checkpoint import Checkpoint
from graphcnn.training.compiling import compilations_shown, shown
from graphcnn.training.epoch_length import check_steps, check_validation, of_steps
from graphcnn.training.feed import BatchesOf, Feed, Source, of_validation, parts_to_test, parts_to_train
from graphcnn.training.feeding import check_batch_size, check_prefetch, fitting_inputs
from graphcnn.training.freezing import LayersWord, matching_all, require_trained
from graphcnn.training.graphs import Graphs
from graphcnn.training.history import TIMES, History
from graphcnn.training.loop import Loop
from graphcnn.training.metrics import Metric
from graphcnn.training.model_file import (
    ModelFile,
    read_weights_alone,
    write_model_file,
    write_weights_alone,
)
from graphcnn.training.named import Named
from graphcnn.training.objective import OUTPUT, Head, Losses, variant
from graphcnn.training.optimizers import AVERAGE, LEARNING_RATE, Optimizer, checked_rate, given_optimizer
from graphcnn.training.options import refuse
from graphcnn.training.other_arguments import FIT
from graphcnn.training.parameters import Parameters, Weights
from graphcnn.training.position import Training
from graphcnn.training.progress import Progress
from graphcnn.training.resuming import Begun, Plan, planned, saved_training
from graphcnn.training.saving import Saving
from graphcnn.training.totals import Totals
from graphcnn.training.views import View, Views, averaged
from graphcnn.transform import Passes
from graphcnn.visible import visible

if TYPE_CHECKING:
    from graphcnn.inspection.profile import Profile
    from graphcnn.inspection.recording import Recording
    from graphcnn.inspection.summary import Summary


UNTRAINED = ("forward", "evaluation", "weighted_evaluation")
"""The graphs that do not depend on what is frozen."""

WEIGHTED = ("evaluation", "gradient", "step")
GRAPHS = ("forward", "training", *WEIGHTED, *(f"weighted_{name}" for name in WEIGHTED))
"""What `Model.graph` returns; the weighted ones take a weight for each sample as well."""

ATTRIBUTES = ("seed", "epochs_done", "steps_done", "backend", "history")
"""What a model has beside its methods and properties."""

OF_EVERY_BATCH = ("executable", "graph", "step_on", "as_batch", "samples", "numbers")
"""The methods that `fit` and `evaluate` call for every batch."""


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
class Model:
    """A network, compiled. `gcn.compile` and `gcn.load` make it.

    parameters: name → array. learning_rate: may be set at any time. history: of all `fit` calls so far.
    epochs_done: how many epochs `fit` has trained. steps_done: of the epoch that is under way.
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
    ) -> None:
        self.seed = seed
        self.epochs_done = epochs_done
        self.steps_done = 0
        self.backend = backend
        self._options = dict(options or {})
        self._learning_rate = float(graphs.optimizer.learning_rate) if graphs.optimizer else 0.0
        self._scheduled_rate: float | None = None
        self.history = History()
        self._resume: dict[str, object] = {}
        self._begun: Begun | None = None
        self._graphs = graphs
        self._takes_keys = SAMPLE_KEY in graphs.network.inputs
        self._samples_trained = samples_trained  # by train_step, whose samples have no other index
        self._state = State(state)
        self._layers = LayersWord(frozen_by_layers)
        self._executables: dict[str, Executable] = {}
        self._steps_per_epoch: int | None = None
        self._statistics = {} if graphs.objective is None else graphs.objective.statistics
        self._outputs = {label: value.type for label, value in graphs.forward.outputs.items()}
        self._feed = Feed(
            {label: value.type for label, value in graphs.forward.inputs_with_role("data").items()},
            graphs.objective,
            gathering(backend, self._options),
        )

    @classmethod
    def of_file(
        cls, file: ModelFile, *, backend: Backend, options: Mapping[str, object], begun: Begun | None = None
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
        )
        model.learning_rate = file.learning_rate
        model.history.epochs.extend(map(dict, file.history))
        model._resume.update(file.resume)
        if begun is not None:
            model.steps_done = begun.training.steps_done
            model.scheduled_rate = begun.training.scheduled_rate
            model._begun = begun
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold all but what was compiled, which they compile again when they need it.

        Nor do they hold the network's layers, which are the original's.
        """
        return {**self.__dict__, "_executables": {}, "_layers": LayersWord(frozenset)}

    # What is trained

    @property
    def loss(self) -> Losses | None:
        """The loss, or for several outputs those that `gcn.compile` was given; None where there is none."""
        return None if self._graphs.objective is None else self._graphs.objective.loss

    @property
    def metrics(self) -> tuple[Metric, ...] | Mapping[str, tuple[Metric, ...]]:
        """The metrics, or for several outputs those of each, where they differ."""
        return () if self._graphs.objective is None else self._graphs.objective.metrics

    @property
    def heads(self) -> tuple[Head, ...]:
        """What is trained: outputs with their losses, metrics and targets."""
        return () if self._graphs.objective is None else self._graphs.objective.heads

    @property
    def optimizer(self) -> Optimizer | None:
        return given_optimizer(self._graphs.optimizer)

    @property
    def passes(self) -> Passes:
        return self._graphs.passes

    @property
    def frozen(self) -> frozenset[str]:
        """The names of parameters and statistics that training leaves alone."""
        return self._graphs.frozen

    def freeze(self, *patterns: str) -> None:
        """Let training leave parameters alone from now on: they get no gradient, as the graphs show.

        patterns: names of layers or parameters, such as "conv1", "conv*" or "block1.conv2.filters". Batch
        norm's statistics are frozen with it: it computes with them as in inference.
        Raises OptionError for a pattern that fits none.
        """
        if not patterns:
            refuse("freeze names no layer", 'model.freeze("conv*"), or "*" for all')
        self._freeze_only(self.frozen | matching_all(list(self._held()), patterns))

    def unfreeze(self, *patterns: str) -> None:
        """Train parameters again that were frozen; without patterns all of them."""
        again = matching_all(list(self._held()), patterns or ("*",))
        self._freeze_only(self.frozen - again)

    def _held(self) -> dict[str, TensorType]:
        """Return the types of the network's parameters and states by name."""
        held = self._graphs.network.inputs_with_role("parameter", "state")
        return {name: value.type for name, value in held.items()}

    def _freeze_only(self, frozen: frozenset[str]) -> None:
        graphs = self._graphs.frozen_but_for(frozen)
        kept = {name: self._state[name] for name in self._held()}
        added = {name: self._state.get(name, first) for name, first in graphs.first_values.items()}
        with interrupts_put_off():
            self._graphs, self._state = graphs, State({**kept, **added})
            self._executables = {name: made for name, made in self._executables.items() if name in UNTRAINED}

    # Graphs

    @property
    def forward_graph(self) -> Graph:
        """The network for inference: from its inputs to `output`."""
        return self._graphs.forward

    @property
    def gradient_graph(self) -> Graph:
        """The network, its loss and the gradient of every parameter, as the rules derive it."""
        return self.graph("gradient")

    @property
    def step_graph(self) -> Graph:
        """The whole training step, simplified: what the backend compiles."""
        return self.graph("step")

    @property
    def training_graph(self) -> Graph:
        """The network as it is in training, without its loss: Dropout and BatchNorm2d differ in it."""
        return self._graphs.training

    def graph(self, name: str) -> Graph:
        """Return one of the model's graphs: `forward`, `training`, `evaluation`, `gradient` or `step`.

        The last three with `weighted_` before them take a weight for each sample as well.
        Raises OptionError for a graph that the model does not have.
        """
        if name not in GRAPHS:
            refuse(f"a model has no graph {name!r:.60}", meant(name, GRAPHS, 'model.graph("gradient")'))
        graph: Graph | None = getattr(self._graphs, name)
        if graph is None:
            lacking = {"a loss": "loss=gcn.CrossEntropy()", "an optimizer": "optimizer=gcn.SGD(0.05)"}
            if self.loss is not None:
                lacking.pop("a loss")
            if not name.endswith("step"):
                lacking.pop("an optimizer")
            refuse(
                f"this model has no {name} graph: it was compiled without {' and '.join(lacking)}",
                f"gcn.compile(..., {', '.join(lacking.values())})",
            )
        return graph

    def _repr_svg_(self) -> str:
        """Return the gradient graph, or without a loss the forward graph, as a picture for notebooks."""
        svg: str = display("graph_svg")(self.gradient_graph if self.loss is not None else self.forward_graph)
        return svg

    def _repr_html_(self) -> str:
        """Return that picture beside the table of the layers, for notebooks."""
        html: str = display("model_html")(self)
        return html

    def executable(self, name: str) -> Executable:
        """Return `graph(name)`, compiled when first asked for."""
        executable = self._executables.get(name)
        if executable is None:
            graph = self.graph(name)
            if name.endswith("step"):
                self._require_trained(graph)
            executable = shown(graph.name, lambda: self.backend.compile(graph, **self._options))
            self._executables[name] = executable
        return executable

    def numba_function(self) -> Any:
        """Return the network as a function that your own `@numba.njit` code can call: `outputs = f(inputs)`.

        It takes the network's input, [n, ...], and returns its output, in contiguous arrays of the model's
        precision, for any n; several threads can call it at once. It computes with the parameters as they are
        at the time of the call, so do not train meanwhile. Model and code stay in memory from now on, for
        they may have become part of other code.

        Raises OptionError where the backend generates no code, or the network has several inputs.
        """
        executable = self.executable("forward")
        if not hasattr(executable, "numba_function"):
            raise OptionError(
                f"backend {self.backend.name!r} generates no code that Numba could call",
                mend='gcn.compile(network, backend="native")',
            )
        if len(self._feed.inputs) > 1 or len(self._outputs) > 1:
            raise OptionError(
                "a function for Numba takes one array and returns one, but this network has several",
                facts=[f"inputs: {', '.join(self._feed.inputs)}", f"outputs: {', '.join(self._outputs)}"],
                mend="join them before the network, and take them apart in it; concatenate its outputs",
            )
        return executable.numba_function(self._state)

    def summary(self, *, batch_size: int = 1) -> Summary:
        """Return the layers as a table that prints and displays itself: shapes, parameters, FLOPs and bytes.

        Of the gradient graph, or without a loss of the forward graph. batch_size: samples that FLOPs and
        bytes are given for. Raises OptionError unless it is an integer of at least 1.
        """
        table: Summary = display("model_summary")(self, batch_size=batch_size)
        return table

    def profile(self, x: object, y: object = None, *, repeats: int = 30, warmup: int = 3) -> Profile:
        """Return where the time of a training step on this batch goes, or without `y` that of an inference.

        x, y: one batch, as in `train_step`. repeats: how often it is measured; medians are given. warmup:
        calls before. The step is made on a copy of the state: the model stays as it is.

        Raises DataError for arrays that do not fit, and OptionError where the model has no training step.
        """
        measured: Profile = display("profile")(self, x, y, repeats=repeats, warmup=warmup)
        return measured

    def inspect(self, x: object, y: object = None) -> Recording:
        """Return every value and gradient that the model computes for this batch, and what is wrong in it.

        x, y: one batch, as in `train_step`; without `y` there is no loss and no gradient, and the network is
        as in inference. The reference backend computes it, and keeps all values in memory; the model stays
        as it is. Raises DataError for arrays that do not fit.
        """
        recorded: Recording = display("record")(self, x, y)
        return recorded

    def show(
        self,
        path: str | PathLike[str] | None = None,
        *,
        profile: Profile | None = None,
        recording: Recording | None = None,
        batch_size: int = 1,
        kernels: bool = True,
        title: str = "",
        open: bool = True,
    ) -> Path:
        """Write the model's graphs as one HTML page, open it in the browser, and return its path.

        The page shows the forward and gradient graphs side by side, as derived and simplified, and the
        kernels of the backend. It loads nothing, so it can be sent to others; it holds lines of your script.

        path: the file to write, atomically; by default one in a new folder for temporary files.
        profile: of the training step, for times. recording: of one batch, for the values that the page draws.
        batch_size: samples that FLOPs, bytes and memory are given for; with a profile, those that it took.
        kernels: whether to compile the step and show its kernels. title: of the page; by default the name of
        the network. open: whether to open the page; in a notebook it is displayed there instead.

        Raises OptionError for a path that cannot be one, and OSError where the file cannot be written.
        """
        written: Path = display("show_model")(
            self,
            path,
            profile=profile,
            recording=recording,
            batch_size=batch_size,
            kernels=kernels,
            title=title,
            open=open,
        )
        return written

    # State

    @property
    def begun(self) -> Training | None:
        """The call of `fit` that the next one goes on with: that of the checkpoint it comes from, if any."""
        return None if self._begun is None else self._begun.training

    @property
    def resume(self) -> dict[str, object]:
        """An older way for callbacks to keep what they need: `Callback.state` is the way now."""
        place = users_line()
        said = "model.resume goes: what a callback needs to go on, its methods state and set_state keep"
        warnings.warn_explicit(said, GraphcnnWarning, place.file or "graphcnn", place.line)
        return self._resume

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step. Raises OptionError where it is set to anything but a number.

        To set it ends what a schedule has set for the present epoch.
        """
        return self._learning_rate if self._scheduled_rate is None else self._scheduled_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        checked = checked_rate(rate)
        with interrupts_put_off():
            self._learning_rate, self._scheduled_rate = checked, None

    @property
    def scheduled_rate(self) -> float | None:
        """The learning rate for the present epoch that a schedule has set; None where the model's own holds.

        `fit` ends with None: the model's own rate is back, and it is the one that a file holds.
        """
        return self._scheduled_rate

    @scheduled_rate.setter
    def scheduled_rate(self, rate: float | None) -> None:
        self._scheduled_rate = None if rate is None else checked_rate(rate)

    @property
    def parameters(self) -> Parameters:
        """The trained parameters: name → array, readable and assignable."""
        types = {k: v.type for k, v in self._graphs.network.inputs_with_role("parameter").items()}
        return Parameters(self._state, types)

    @property
    def weights(self) -> Weights:
        """The parameters and the statistics that inference uses, such as batch norm's: name → array.

        Those of auxiliary heads, which training alone has, are among them.
        """
        parameters, inference = self.parameters.types, self._graphs.forward.inputs
        heads = {name.rpartition(".")[0] for name in parameters if name not in inference}
        statistics = {
            name: value.type
            for name, value in self._graphs.network.inputs_with_role("state").items()
            if name in inference or name.rpartition(".")[0] in heads
        }
        return Weights(self._state, {**parameters, **statistics})

    def averaged(self) -> Model:
        """Return a copy of the model whose parameters are the moving averages of this one's.

        It predicts, evaluates, saves and trains on as any other. Statistics, as batch norm's, are the latest;
        parameters that are not trained, and all before the first step, are as they are.
        Raises OptionError for a model that was compiled without `average=`.
        """
        started = self._state.get(f"{AVERAGE}.started")
        if started is None:
            raise OptionError(
                "this model keeps no average of its weights", mend="gcn.compile(..., average=0.999)"
            )
        model = copy.deepcopy(self)
        model._begun = None
        for name in self.parameters if started else ():
            if f"{name}.{AVERAGE}" in self._state:
                model.parameters[name] = self._state[f"{name}.{AVERAGE}"]
        return model

    def state(self) -> dict[str, Array]:
        """Return a copy of all that training changes: parameters, statistics, the optimiser's state."""
        return {name: array.copy() for name, array in self._state.items()}

    def set_state(self, state: Mapping[str, Array]) -> None:
        """Set what `state` returned."""
        if not isinstance(state, Mapping):
            refuse(
                f"the state is {type(state).__name__}, not a dictionary", "set what model.state() returned"
            )
        missing = [name for name in self._state if name not in state]
        if missing:
            raise DataError(f"the state lacks {', '.join(missing)}", mend="set what model.state() returned")
        for name, array in self._state.items():
            if state[name].shape != array.shape or state[name].dtype != array.dtype:
                raise DataError(
                    f"the state {name!r} is {state[name].dtype}{list(state[name].shape)}, "
                    f"but {array.dtype}{list(array.shape)} is needed",
                    mend="set what model.state() returned",
                )
        with interrupts_put_off():
            self._state.changed()
            for name, array in self._state.items():
                np.copyto(array, state[name])
            self._state.changed()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a safetensors file that `gcn.load` reads: graphs as text, state as tensors.

        The history is in it, but for times. The file is replaced atomically.
        Raises OSError where it cannot be written.
        """
        write_model_file(path, self.contents())

    def contents(self, training: Training | None = None) -> ModelFile:
        """Return what a file of the model holds; its arrays are the model's own.

        training: a call of `fit` that is under way.
        """
        return ModelFile(
            self._graphs,
            self._state,
            self.seed,
            self.epochs_done,
            self._learning_rate,
            tuple(self.history),
            self._resume,
            self._samples_trained,
            training,
        )

    def save_weights(self, path: str | PathLike[str], *, layout: str = "graphcnn") -> None:
        """Write `weights` alone to a safetensors file: parameters and statistics by name, and no graphs.

        layout: "torchvision" writes the state dict of a PyTorch module whose modules are named as the layers:
        `module.load_state_dict(safetensors.torch.load_file(path))`.
        The file is replaced atomically. Raises OSError where it cannot be written.
        """
        if is_of_torch(layout):
            write_state_dict(path, self._graphs.network, self.weights)
        else:
            write_weights_alone(path, self.weights)

    def load_weights(
        self,
        path: str | PathLike[str],
        *,
        layout: str = "graphcnn",
        only: str | Sequence[str] | None = None,
    ) -> None:
        """Set `weights` from a safetensors file that `save_weights` or `save` wrote, or another program.

        The file holds every parameter and statistic by name, with the network's shapes and precision. Its
        optimiser's state and history are left alone.
        layout: "torchvision" reads the state dict of a PyTorch module, `safetensors.torch.save_file(
        module.state_dict(), path)`, whose modules are named as the layers: filters [D, C, k1, k2], dense
        weights [units, C], running_mean and running_var, in any precision.
        only: names of layers or weights, or patterns such as "conv*", as `freeze` takes them: these alone are
        set, and the file may hold others. So trained layers get a new head.
        Raises FileError for a file that does not fit, with the names that do not, and then leaves the model
        as it is; OptionError for a pattern that fits no weight.
        """
        if isinstance(path, Mapping):
            refuse("load_weights takes the path of a file, not weights", "model.weights.update(weights)")
        wanted = self.weights.types
        if only is not None:
            names = matching_all(list(wanted), [only] if isinstance(only, str) else only)
            wanted = {name: type for name, type in wanted.items() if name in names}
        if is_of_torch(layout):
            read = read_state_dict(path, self._graphs.network, wanted, is_part=only is not None)
        else:
            read = read_weights_alone(path, wanted, is_part=only is not None)
        self.weights.update(read)

    # Training

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
        state.changed()
        try:
            return step.step(state, **inputs)
        finally:
            state.changed()

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

    def samples(self, batch: Mapping[str, Array]) -> int:
        """Return how many samples a batch holds."""
        return self._feed.samples(batch)

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
        bytes, which are divided by 255 batch by batch, and labels any integers: arrays are not copied. A
        Dataset is trained on its training part; its test part, where it has one, is evaluated after each
        epoch, unless there is something else to evaluate. Of several inputs or outputs, x and y are
        dictionaries by name. epochs: how often to go through them, once by default. They are numbered through
        all training: after `epochs_done` come the next, for schedules, shuffling, logs and callbacks alike.
        initial_epoch: the number of epochs to count as done instead; `epochs` is the number of the last one
        then. 0 begins anew. batch_size: samples per step, 32 by default (the last batch of an epoch may be
        smaller); unused for an iterable. validation_data: likewise arrays or batches, or the test part of a
        Dataset, evaluated after each epoch. validation_split: the share of the samples of arrays, such as
        0.1, that is evaluated so and not trained on; drawn by the model's seed, so the same in each call.
        validate_every: evaluates after so many steps of an epoch, too. steps_per_epoch: how many steps an
        epoch takes, whatever a pass through the data takes: each epoch goes on where the one before has left
        off. sample_weight: [n], what each sample's loss is multiplied by; a mean still divides by the number
        of samples. class_weight: the same by label, {1: 5.0}, where classes that it leaves out weigh 1; or
        "balanced": all count alike. shuffle: whether to shuffle arrays, as by default; the order follows from
        the model's seed and the epoch. prefetch: how many batches of an iterable a thread draws before they
        are needed; 0 where they depend on the model. checkpoint: where to save what is needed to go on after
        an interruption, see `Checkpoint`. progress: whether to show progress, of compiling too.

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
        size, shuffle, validation_split, validate_every, steps_per_epoch = plan.options.values()
        is_split = validation_split is not None
        if isinstance(x, Dataset) and validation_data is None and not is_split and len(x.test_images):
            validation_data = x
        x, y = parts_to_train(x, y)
        has_validation = validation_data is not None or is_split
        check_validation(validation_data, validation_split, validate_every)
        check_callbacks(callbacks, self._recorded(has_validation=has_validation))
        weights = {"sample_weight": sample_weight, "class_weight": class_weight}
        keys = self._key_seed
        seed = self.seed if shuffle else None
        validation: Source | None = None
        if steps_per_epoch is not None:
            check_steps("steps_per_epoch", steps_per_epoch)
            if isinstance(x, Iterator):  # which no thread draws more of than is needed
                x = islice(x, len(plan.numbers) * steps_per_epoch)
        if validation_split is None:
            ahead = check_prefetch(prefetch)
            source = self._feed.arrays(x, y, size=size, seed=seed, key_seed=keys, prefetch=ahead, **weights)
        else:
            source, validation = self._feed.split(
                x, y, validation_split, size=size, seed=seed, drawn_by=self.seed, key_seed=keys, **weights
            )
        if steps_per_epoch is not None:
            source = of_steps(source, steps_per_epoch, is_iterator=isinstance(x, Iterator))
        self._steps_per_epoch = source.steps
        if validation_data is not None:
            with of_validation():
                validation = self._feed.validation(validation_data, size)
        saving = self._saving(plan, checkpoint, source, validation, callbacks)
        bar = Progress(plan.numbers[-1], source.steps, shown=progress)
        with compilations_shown(progress):
            if plan.left:
                self.executable("step")
            if plan.left and validation is not None:
                self.executable("evaluation")
            if plan.begun is None:
                self.epochs_done, self.steps_done = plan.numbers.start - 1, 0
            self._begun = None
            return Loop(self, self._state, source, validation, callbacks, bar, saving, plan).run()

    def _saving(
        self,
        plan: Plan,
        checkpoint: Checkpoint | None,
        source: Source,
        validation: Source | None,
        callbacks: Sequence[Callback],
    ) -> Saving:
        """Return what saves the checkpoints of a call of `fit`, where any are saved."""
        data: dict[str, Fingerprint] = {}
        if checkpoint is not None or plan.begun is not None:
            data = source.fingerprints()
            for name, found in (validation.fingerprints() if validation else {}).items():
                data[f"validation {name}"] = found
        options = {name: value for name, value in self._options.items() if name != "threads"}
        chosen, training, latest = saved_training(plan, checkpoint, data, self.backend, options)
        return Saving(chosen, training, self, callbacks, is_repeatable=source.is_repeatable, latest=latest)

    @property
    def steps_per_epoch(self) -> int | None:
        """How many steps an epoch of `fit` has; None before it, and where batches do not tell."""
        return self._steps_per_epoch

    def _require_trained(self, step: Graph) -> None:
        """Raise OptionError for a step that trains nothing, or not what the layers say by now."""
        self._layers.require_heard(self.frozen)
        require_trained(step, self.frozen)

    def _recorded(self, *, has_validation: bool) -> list[str]:
        """Return the names of the numbers that `fit` records of each epoch."""
        results = [] if self._graphs.objective is None else self._graphs.objective.results
        validated = [f"val_{name}" for name in results] if has_validation else []
        return [*results, *validated, "learning_rate", *TIMES]

    def totals(self) -> Totals:
        """Return sums of losses and metrics over batches, as this model's losses add up, still empty."""
        summed = set() if self._graphs.objective is None else self._graphs.objective.summed
        return Totals(summed, self._statistics)

    # Use

    @overload
    def evaluate(
        self, x: object, y: object = None, *, batch_size: int = 256, sample_weight: object = None
    ) -> dict[str, float]: ...

    @overload
    def evaluate(
        self,
        x: object,
        y: object = None,
        *,
        batch_size: int = 256,
        sample_weight: object = None,
        report: bool,
        classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    ) -> Any: ...

    @translated_arguments(FIT)
    def evaluate(
        self,
        x: object,
        y: object = None,
        *,
        batch_size: int = 256,
        sample_weight: object = None,
        report: bool = False,
        classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    ) -> Any:
        """Return loss and metrics over a whole dataset, for example {"loss": 0.05, "accuracy": 0.98}.

        With report=True return a report instead, which prints itself: scores of each class, and which are
        taken for which, or errors of numbers, with the samples that are most wrong. Of several outputs it is
        a dictionary of reports.

        x, y: as in `fit`: arrays with a row per sample, or x alone, an iterable of batches or a Dataset, of
        which it is the test part. sample_weight: as in `fit`. classes: their names, for the report; by
        default a Dataset's. Of several outputs a dictionary of them by output.
        Raises DataError for data that does not fit.
        """
        self.executable("evaluation")
        size = check_batch_size(batch_size)
        if report and classes is None and isinstance(x, Dataset):
            names = x.classes
            classes = {head.output: names for head in self.heads if head.type.shape[1:][-1:] == (len(names),)}
        x, y = parts_to_test(x, y)
        source = self._feed.arrays(x, y, size=size, sample_weight=sample_weight)
        if report:
            return display("evaluation_report")(self, source, classes)
        return Named(self.evaluate_batches(source), "model.evaluate(x, y)")

    def evaluate_batches(self, source: Source) -> dict[str, float]:
        """Return loss and metrics over batches that are checked as far as they can be beforehand."""
        totals = self.totals()
        for batch in source.epoch(0, 0):
            evaluation = self.executable(variant("evaluation", batch))
            totals.add(evaluation.step(self._state, **batch), self.samples(batch))
        if not totals.samples:
            raise DataError(
                "the dataset is empty: there is nothing to evaluate",
                mend="pass a list, or another iterable that begins anew; a generator ends after one pass",
            )
        return totals.result()

    @translated_arguments(FIT)
    def predict(
        self, x: object, *, batch_size: int = 256, views: Views | Sequence[View] | None = None
    ) -> Any:
        """Return the network's outputs, a row per sample, for example logits [n, 10].

        Of a network with several outputs, a dictionary of arrays by name.
        x: the inputs, [n, ...]; of no samples, [0, ...] or an empty list, there are no outputs, [0, 10].
        views: return the mean of the outputs of several views of each image: `gcn.Views()` sees it mirrored,
        too. Functions of your own from images to images count alike.
        Raises DataError for arrays that do not fit.
        """
        executable, size = self.executable("forward"), check_batch_size(batch_size)
        if views is not None:
            found = averaged(self.predict, self._feed.inputs, self._outputs, x, views, size)
            return Named(found, "model.predict(x)") if isinstance(found, dict) else found
        types, form = self._feed.inputs, self._feed.form
        if form is not None and form.fits(x) and len(x) <= size:
            return self._predicted(executable.step(self._state, **{self._feed.only_input: x}))
        inputs = fitting_inputs(types, x, least=0)
        if not self.samples(inputs):
            none = {k: np.zeros((0, *v.concrete(1)[1:]), v.dtype) for k, v in self._outputs.items()}
            return self._predicted(none)
        batches = self._feed.in_batches(inputs, size).epoch(0, 0)
        parts = [executable.step(self._state, **batch) for batch in batches]
        if len(parts) == 1:
            return self._predicted(parts[0])
        return self._predicted(
            {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}
        )

    def _predicted(self, outputs: dict[str, Array]) -> Any:
        return outputs[OUTPUT] if OUTPUT in outputs else Named(outputs, "model.predict(x)")

    def __call__(self, x: object) -> Any:
        """Return `predict(x)`."""
        return self.predict(x)

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

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {type}" for name, type in self._feed.inputs.items())
        outputs = ", ".join(
            str(type) if name == OUTPUT else f"{name}: {type}" for name, type in self._outputs.items()
        )
        return visible(
            f"<Model {self.forward_graph.name}: {inputs} -> {outputs}, "
            f"{self.parameters.count:,} parameters, backend {self.backend.name}>"
        )
