"""The model: a compiled network with its parameters, ready to train, evaluate and predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import Backend, Executable
from graphcnn.data.batches import Batches
from graphcnn.displays import display
from graphcnn.errors import DataError, OptionError
from graphcnn.interrupts import interrupts_put_off
from graphcnn.ir import Graph
from graphcnn.training.arguments import known_arguments
from graphcnn.training.callbacks import Callback, check_callbacks
from graphcnn.training.checkpoint import (
    Checkpoint,
    read_weights_alone,
    write_checkpoint,
    write_weights_alone,
)
from graphcnn.training.compiling import compilations_shown, shown
from graphcnn.training.feeding import (
    as_inputs,
    check_batch_size,
)
from graphcnn.training.graphs import NO_PASSES, TARGET, DeferredGraphs, Graphs
from graphcnn.training.history import History
from graphcnn.training.loop import Loop, epoch_numbers
from graphcnn.training.losses import Loss
from graphcnn.training.metrics import Metric
from graphcnn.training.optimizers import LEARNING_RATE, Optimizer, checked_rate
from graphcnn.training.other_arguments import FIT
from graphcnn.training.other_names import ELSEWHERE, advice
from graphcnn.training.parameters import Parameters, Weights
from graphcnn.training.progress import Progress
from graphcnn.training.signature import BatchesOf, Signature
from graphcnn.training.totals import Totals
from graphcnn.transform import Passes
from graphcnn.visible import visible

if TYPE_CHECKING:
    from graphcnn.inspection.profile import Profile
    from graphcnn.inspection.recording import Recording
    from graphcnn.inspection.summary import Summary


class Model:
    """A network, compiled. `gcn.compile` and `gcn.load` make it.

    parameters: name → array. learning_rate: may be set at any time. history: of all `fit` calls so far.
    resume: what callbacks need in order to go on, a JSON object by name; it is in the model's file.
    passes: those that its graphs went through.
    """

    def __init__(
        self,
        graphs: Graphs | DeferredGraphs,
        state: dict[str, Array],
        *,
        backend: Backend,
        options: Mapping[str, object] | None = None,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        metrics: Sequence[Metric] = (),
        seed: int = 0,
        epochs_done: int = 0,
        passes: Passes = NO_PASSES,
    ) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = tuple(metrics)
        self.seed = seed
        self.epochs_done = epochs_done
        self.passes = passes
        self.backend = backend
        self._options = dict(options or {})
        self._learning_rate = float(optimizer.learning_rate) if optimizer else 0.0
        self._scheduled_rate: float | None = None
        self.history = History()
        self.resume: dict[str, object] = {}
        self._graphs = graphs
        self._state = state
        self._executables: dict[str, Executable] = {}
        output = graphs.forward.outputs["output"].type
        self._signature = Signature(
            {label: value.type for label, value in graphs.forward.inputs_with_role("data").items()},
            output,
            loss.target_type(output) if loss else None,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold all but what was compiled, which they compile again when they need it."""
        return {**self.__dict__, "_executables": {}}

    # Graphs

    @property
    def forward_graph(self) -> Graph:
        """The network for inference: from its inputs to `output`."""
        return self._graphs.forward

    @property
    def gradient_graph(self) -> Graph:
        """The network, its loss and the gradient of every parameter, as the rules derive it."""
        return self._required("gradient", "a loss")

    @property
    def step_graph(self) -> Graph:
        """The whole training step, simplified: what the backend compiles."""
        return self._required("step", "a loss and an optimizer")

    @property
    def training_graph(self) -> Graph:
        """The network as it is in training, without its loss: Dropout and BatchNorm2d differ in it."""
        return self._graphs.training

    def _required(self, name: str, what: str) -> Graph:
        graph: Graph | None = getattr(self._graphs, name)
        if graph is None:
            raise OptionError(
                f"this model has no {name} graph: it was compiled without {what}",
                mend="gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.05))",
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
        """Return the `forward`, `evaluation`, `gradient` or `step` graph, compiled when first asked for."""
        executable = self._executables.get(name)
        if executable is None:
            what = "a loss and an optimizer" if name == "step" else "a loss"
            graph = self._required(name, what)
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
        if len(self._signature.inputs) > 1:
            raise OptionError(
                "a function for Numba takes one array, but this network has several inputs",
                facts=[f"its inputs: {', '.join(self._signature.inputs)}"],
                mend="join them before the network, and take them apart in it",
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
        types = {k: v.type for k, v in self._graphs.training.inputs_with_role("parameter").items()}
        return Parameters(self._state, types)

    @property
    def weights(self) -> Weights:
        """The parameters and the statistics that inference uses, such as batch norm's: name → array."""
        statistics = {k: v.type for k, v in self._graphs.forward.inputs_with_role("state").items()}
        return Weights(self._state, {**self.parameters.types, **statistics})

    def state(self) -> dict[str, Array]:
        """Return a copy of all that training changes: parameters, statistics, the optimiser's state."""
        return {name: array.copy() for name, array in self._state.items()}

    def set_state(self, state: Mapping[str, Array]) -> None:
        """Set what `state` returned."""
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
            for name, array in self._state.items():
                np.copyto(array, state[name])

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a safetensors file that `gcn.load` reads: graphs as text, state as tensors.

        The history is in it, but for times. The file is replaced atomically.
        Raises OSError where it cannot be written.
        """
        write_checkpoint(
            path,
            Checkpoint(
                self._graphs,
                self._state,
                self.loss,
                self.optimizer,
                self.metrics,
                self.seed,
                self.epochs_done,
                self._learning_rate,
                tuple(self.history),
                self.resume,
                self.passes,
            ),
        )

    def save_weights(self, path: str | PathLike[str]) -> None:
        """Write `weights` alone to a safetensors file: parameters and statistics by name, and no graphs.

        The file is replaced atomically. Raises OSError where it cannot be written.
        """
        write_weights_alone(path, self.weights)

    def load_weights(self, path: str | PathLike[str]) -> None:
        """Set `weights` from a safetensors file that `save_weights` or `save` wrote, or another program.

        The file holds every parameter and statistic by name, with the network's shapes and precision. Its
        optimiser's state and history are left alone.
        Raises FileError for a file that does not fit, and then leaves the model as it is.
        """
        self.weights.update(read_weights_alone(path, self.weights.types))

    # Training

    def train_step(self, x: object, y: object) -> dict[str, float]:
        """Take one step on a batch; return its loss and metrics as they were before the step.

        x: the inputs, [n, ...] (a dict or list of them where the network has several). y: labels [n] or
        targets. Raises DataError for arrays that do not fit.
        """
        step = self.executable("step")
        inputs: dict[str, Any]
        if self._signature.takes(x, y):
            inputs = {self._signature.only_input: x, TARGET: y, LEARNING_RATE: self.learning_rate}
        else:
            inputs = {**self.as_batch(x, y), LEARNING_RATE: self.learning_rate}
        results = step.step(self._state, **inputs)
        return {name: float(value) for name, value in results.items()}

    def as_batch(self, x: object, y: object = None) -> dict[str, Array]:
        """Return a batch as inputs of the model's graphs by name, with the targets where there are any.

        x, y: as in `train_step`. Raises DataError for arrays that do not fit, and OptionError for targets
        of a model that was compiled without a loss.
        """
        inputs = as_inputs(self._signature.inputs, x)
        if y is None:
            return inputs
        self._required("evaluation", "a loss")
        return {**inputs, TARGET: self._signature.as_targets(inputs, y)}

    def samples(self, inputs: Mapping[str, Array]) -> int:
        """Return how many samples a batch of inputs holds."""
        return self._signature.samples(inputs)

    @known_arguments(FIT)
    def fit(
        self,
        x: object,
        y: object = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        initial_epoch: int | None = None,
        validation_data: tuple[object, object] | BatchesOf | None = None,
        shuffle: bool = True,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> History:
        """Train, and return the history of this call, a row per epoch.

        x, y: arrays with a row per sample; or x alone, an iterable of batches `(images, labels)` that can
        be gone through once per epoch. epochs: how often to go through them. Epochs are numbered through all
        training: after `epochs_done` come the next, for schedules, shuffling, logs and callbacks alike.
        initial_epoch: the number of epochs to count as done instead; `epochs` is the number of the last one
        then. 0 begins anew. batch_size: samples per step
        (the last batch of an epoch may be smaller); unused for an iterable. validation_data: likewise
        arrays or batches, evaluated after each epoch. shuffle: whether to shuffle arrays; the order follows
        from the model's seed and the epoch. progress: whether to show progress, of compiling too.

        Raises DataError for data that does not fit, before training where it is an array, and
        TrainingError when the loss is no longer finite.
        """
        self._required("step", "a loss and an optimizer")
        check_callbacks(callbacks)
        numbers = epoch_numbers(epochs, initial_epoch, self.epochs_done)
        source = self._signature.source(x, y, check_batch_size(batch_size), self.seed if shuffle else None)
        validation = self._signature.validation(validation_data, batch_size)
        bar = Progress(numbers[-1], len(source) if isinstance(source, Batches) else None, shown=progress)
        with compilations_shown(progress):
            self.executable("step")
            if validation is not None:
                self.executable("evaluation")
            self.epochs_done = numbers.start - 1
            return Loop(self, self._state, source, validation, callbacks, bar).run(numbers)

    def batches(self, source: Batches | BatchesOf, epoch: int) -> Iterator[tuple[dict[str, Array], Array]]:
        """Yield checked inputs and targets of each batch."""
        return self._signature.batches(source, epoch)

    def totals(self) -> Totals:
        """Return sums of losses and metrics over batches, as this model's loss adds up, still empty."""
        is_sum = self.loss is not None and self.loss.reduction == "sum"
        return Totals({"loss"} if is_sum else set())

    # Use

    @known_arguments(FIT)
    def evaluate(self, x: object, y: object = None, *, batch_size: int = 256) -> dict[str, float]:
        """Return loss and metrics over a whole dataset, for example {"loss": 0.05, "accuracy": 0.98}.

        x, y: arrays with a row per sample, or x alone, an iterable of batches.
        Raises DataError for data that does not fit.
        """
        self.executable("evaluation")
        return self.evaluate_batches(self._signature.source(x, y, check_batch_size(batch_size), None))

    def evaluate_batches(self, source: Batches | BatchesOf) -> dict[str, float]:
        """Return loss and metrics over batches that are checked as far as they can be beforehand."""
        executable = self.executable("evaluation")
        totals = self.totals()
        for inputs, targets in self.batches(source, 0):
            results = executable.step(self._state, **inputs, **{TARGET: targets})
            totals.add(results, self.samples(inputs))
        if not totals.samples:
            raise DataError(
                "the dataset is empty: there is nothing to evaluate",
                mend="pass a list, or another iterable that begins anew; a generator ends after one pass",
            )
        return totals.result()

    @known_arguments(FIT)
    def predict(self, x: object, *, batch_size: int = 256) -> Array:
        """Return the network's outputs, a row per sample, for example logits [n, 10].

        x: the inputs, [n, ...]; of no samples, [0, ...] or an empty list, there are no outputs, [0, 10].
        Raises DataError for arrays that do not fit.
        """
        executable, size = self.executable("forward"), check_batch_size(batch_size)
        signature = self._signature
        form = signature.form
        if form is not None and form.fits(x) and len(x) <= size:
            return executable.step(self._state, **{signature.only_input: x})["output"]
        inputs = as_inputs(signature.inputs, x, least=0)
        shared = {name: array for name, array in inputs.items() if not signature.inputs[name].has_batch}
        batched = {name: array for name, array in inputs.items() if name not in shared}
        if not self.samples(inputs):
            return np.zeros((0, *signature.output.shape[1:]), signature.output.dtype)
        outputs = [
            executable.step(self._state, **shared, **dict(zip(batched, batch, strict=True)))["output"]
            for batch in Batches(*batched.values(), size=size).epoch(0)
        ]
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def __call__(self, x: object) -> Array:
        """Return `predict(x)`."""
        return self.predict(x)

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __setattr__(self, name: str, value: object) -> None:
            """Raise AttributeError for a name of another framework, which would be set and never read."""
            if name in ELSEWHERE and not hasattr(type(self), name):
                raise AttributeError(f"a Model has no attribute {name!r}: {ELSEWHERE[name]}")
            super().__setattr__(name, value)

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError, with what a name of another framework is called here."""
            said = f"a Model has no attribute {visible(name)!r}"
            found = "" if name.startswith("_") else advice(name, filter(str.isidentifier, dir(type(self))))
            raise AttributeError(f"{said}: {found}" if found else said)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {type}" for name, type in self._signature.inputs.items())
        return visible(
            f"<Model {self.forward_graph.name}: {inputs} -> {self._signature.output}, "
            f"{self.parameters.count:,} parameters, backend {self.backend.name}>"
        )
