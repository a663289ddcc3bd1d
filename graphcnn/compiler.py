"""From a network to a model: trace it, build its graphs, draw its first parameters, choose its backend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike

import numpy as np

from graphcnn.backend import DEFAULT, Backend, check_options, load_backend
from graphcnn.dsl.initializers import initial_value
from graphcnn.dsl.layers import Layer
from graphcnn.dsl.network import Network, as_network
from graphcnn.errors import GraphcnnError, OptionError
from graphcnn.ir import DType, users_line
from graphcnn.scalar import ScalarFunction
from graphcnn.training.checkpoint import read_checkpoint
from graphcnn.training.graphs import build_graphs, check_names
from graphcnn.training.losses import CrossEntropy, Loss
from graphcnn.training.metrics import Metric, resolve_metrics
from graphcnn.training.model import Model
from graphcnn.training.optimizers import Optimizer


def compile(
    network: Network | Layer,
    *,
    input_shape: tuple[int, ...] | None = None,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    metrics: Sequence[str | Metric] | None = None,
    backend: str = DEFAULT,
    threads: int | None = None,
    winograd: bool | None = None,
    seed: int = 0,
    dtype: DType | None = None,
) -> Model:
    """Return a model of the network, ready to train and to predict.

    input_shape: the shape of one sample, (height, width, channels); needed for a `Sequential`.
    loss: without one the model can only predict. optimizer: without one it can also be evaluated.
    metrics: names or metrics; by default accuracy with `CrossEntropy`, none with other losses.
    backend: the name of an installed backend. threads: how many it may use, by default $GRAPHCNN_THREADS or
    else all processors; results do not depend on it. winograd: False has the native backend compute 3x3
    convolutions product by product as well, which takes about twice as long and rounds differently.
    seed: of first values, shuffling and dropout; the same seed gives the same bits. dtype: "float32"
    (default) or "float64" for the whole network.

    Raises ShapeError or OptionError, with the layer and its line, for a network that does not fit
    together, and BackendError for an unknown backend.
    """
    place = users_line()
    try:
        traced_network = as_network(network, input_shape)
        dtype = _precision(dtype)
        _check_seed(seed)
        _check_parts(loss, optimizer)
        chosen_backend, options = _backend(backend, threads=threads, winograd=winograd)
        inference = traced_network.trace(training=False, dtype=dtype)
        training = traced_network.trace(training=True, dtype=dtype)
        chosen = _metrics(metrics, loss)
        check_names(inference.graph, loss, chosen)
        graphs, initial = build_graphs(inference.graph, training.graph, loss, optimizer, chosen)
        state = {
            label: initial_value(initializer, training.graph.inputs[label].type, label, seed)
            for label, initializer in training.initializers.items()
        }
        for label, number in initial.items():
            assert graphs.step is not None
            type = graphs.step.inputs[label].type
            state[label] = np.full(type.concrete(1), number, type.dtype)
        return Model(
            graphs,
            state,
            backend=chosen_backend,
            options=options,
            loss=loss,
            optimizer=optimizer,
            metrics=chosen,
            seed=int(seed),
        )
    except GraphcnnError as error:
        raise error.located(file=place.file, line=place.line) from None


def load(
    path: str | PathLike[str],
    *,
    functions: Iterable[ScalarFunction] = (),
    backend: str = DEFAULT,
    threads: int | None = None,
    winograd: bool | None = None,
) -> Model:
    """Return the model that `Model.save` wrote, ready to predict and to train on. No code is executed.

    backend, threads, winograd: as `compile` takes them.

    functions: what `gcn.pointwise` made and the model uses; the file knows them by name alone.

    Raises FileError for a file that is damaged or was not saved by graphcnn, OptionError for a function that
    is missing, and BackendError for an unknown backend.
    """
    chosen_backend, options = _backend(backend, threads=threads, winograd=winograd)
    checkpoint = read_checkpoint(path, functions)
    model = Model(
        checkpoint.graphs,
        dict(checkpoint.state),
        backend=chosen_backend,
        options=options,
        loss=checkpoint.loss,
        optimizer=checkpoint.optimizer,
        metrics=checkpoint.metrics,
        seed=checkpoint.seed,
        epochs_done=checkpoint.epochs_done,
    )
    model.learning_rate = checkpoint.learning_rate
    model.history.epochs.extend(map(dict, checkpoint.history))
    model.resume.update(checkpoint.resume)
    return model


def _backend(name: str, **given: object) -> tuple[Backend, dict[str, object]]:
    """Return a backend and the options that were given. Raises OptionError for one that it does not take."""
    backend = load_backend(name)
    options = {option: value for option, value in given.items() if value is not None}
    check_options(backend, options)
    return backend, options


def _precision(dtype: object) -> DType | None:
    if dtype is None:
        return None
    try:
        name = np.dtype(dtype).name  # type: ignore[call-overload]
    except TypeError:
        name = ""
    if name not in ("float32", "float64"):
        raise OptionError(f"dtype={dtype!r} is neither 'float32' nor 'float64'", mend='dtype="float64"')
    return "float32" if name == "float32" else "float64"


def _check_seed(seed: object) -> None:
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise OptionError(
            f"seed={seed!r:.60} is not an integer from 0 to 2**64 - 1", mend="seed=0, or another whole number"
        )


def _check_parts(loss: object, optimizer: object) -> None:
    """Raise OptionError unless loss and optimiser are objects that can do their work."""
    for name, part, method, example in (
        ("loss", loss, "target_type", "gcn.CrossEntropy()"),
        ("optimizer", optimizer, "append_updates", "gcn.SGD(0.05)"),
    ):
        if part is None or (hasattr(part, method) and not isinstance(part, type)):
            continue
        if isinstance(part, type):
            example = f"gcn.{part.__name__}()"
        shown = f"the class {part.__name__}" if isinstance(part, type) else repr(part)
        raise OptionError(f"{name} is {shown}, not an object such as {example}", mend=f"{name}={example}")


def _metrics(metrics: Sequence[str | Metric] | None, loss: Loss | None) -> tuple[Metric, ...]:
    if isinstance(metrics, str):
        raise OptionError(f"metrics={metrics!r} is not a sequence", mend=f"metrics=[{metrics!r}]")
    if metrics is None:
        metrics = ("accuracy",) if isinstance(loss, CrossEntropy) else ()
    return resolve_metrics(tuple(metrics))
