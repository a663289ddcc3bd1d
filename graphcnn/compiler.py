"""From a network to a model: trace, add the loss, differentiate, add the optimiser's updates, simplify."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import PurePath
from typing import Any

import numpy as np

from graphcnn.backend import DEFAULT, load_backend
from graphcnn.dsl.initializers import initial_value
from graphcnn.dsl.layers import Layer
from graphcnn.dsl.network import Network, as_network
from graphcnn.errors import FileError, GraphcnnError, OptionError, ShapeError
from graphcnn.interchange.weights import read_weights, require_tensors, write_weights
from graphcnn.ir import BATCH, DType, Emitter, Graph, Origin, TensorType, Value, users_line, verify
from graphcnn.ops import parse
from graphcnn.training.losses import LOSSES, CrossEntropy, Loss, total_loss
from graphcnn.training.metrics import METRICS, Metric, resolve_metrics
from graphcnn.training.model import TARGET, Graphs, Model
from graphcnn.training.optimizers import LEARNING_RATE, OPTIMIZERS, Optimizer
from graphcnn.transform import differentiate, prune, simplify

FORMAT = "graphcnn/1"

Array = np.ndarray[Any, np.dtype[Any]]


def compile(
    network: Network | Layer,
    *,
    input_shape: tuple[int, ...] | None = None,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    metrics: Sequence[str | Metric] | None = None,
    backend: str = DEFAULT,
    seed: int = 0,
    dtype: DType | None = None,
) -> Model:
    """Return a model of the network, ready to train and to predict.

    input_shape: the shape of one sample, (height, width, channels); needed for a `Sequential`.
    loss: without one the model can only predict. optimizer: without one it can also be evaluated.
    metrics: names or metrics; by default accuracy with `CrossEntropy`, none with other losses.
    backend: the name of an installed backend. seed: of first values, shuffling and dropout; the same seed
    gives the same bits. dtype: "float32" (default) or "float64" for the whole network.

    Raises ShapeError or OptionError, with the layer and its line, for a network that does not fit
    together, and BackendError for an unknown backend.
    """
    place = users_line()
    try:
        traced_network = as_network(network, input_shape)
        dtype = _precision(dtype)
        _check_seed(seed)
        _check_parts(loss, optimizer)
        inference = traced_network.trace(training=False, dtype=dtype)
        training = traced_network.trace(training=True, dtype=dtype)
        chosen = _metrics(metrics, loss)
        _check_names(inference.graph, loss, chosen)
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
            backend=load_backend(backend),
            loss=loss,
            optimizer=optimizer,
            metrics=chosen,
            seed=int(seed),
            save=save,
        )
    except GraphcnnError as error:
        raise error.located(file=place.file, line=place.line) from None


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


def _check_names(forward: Graph, loss: Loss | None, metrics: Sequence[Metric]) -> None:
    """Raise OptionError for an input whose name the model's own inputs or outputs have."""
    reserved = {TARGET, LEARNING_RATE, "loss", *(metric.name for metric in metrics)} if loss else set()
    for label, value in forward.inputs.items():
        if label in reserved:
            place = forward.node(value.key).origin
            raise OptionError(
                f"the name {label!r} of an input or parameter is taken by the model itself",
                facts=[f"taken: {', '.join(sorted(reserved))}"],
                mend='give it another name, for example gcn.Input(shape, name="image")',
            ).located(layer=label, file=place.file, line=place.line)


def _metrics(metrics: Sequence[str | Metric] | None, loss: Loss | None) -> tuple[Metric, ...]:
    if isinstance(metrics, str):
        raise OptionError(f"metrics={metrics!r} is not a sequence", mend=f"metrics=[{metrics!r}]")
    if metrics is None:
        metrics = ("accuracy",) if isinstance(loss, CrossEntropy) else ()
    return resolve_metrics(tuple(metrics))


def build_graphs(
    forward: Graph, training: Graph, loss: Loss | None, optimizer: Optimizer | None, metrics: Sequence[Metric]
) -> tuple[Graphs, dict[str, float]]:
    """Return all graphs of a model, and the first value of each state that the optimiser added."""
    output = forward.outputs["output"]
    if output.type.shape[:1] != (BATCH,):
        place = forward.node(output.key).origin
        raise ShapeError(
            f"the network's output {output.type} has no batch axis in front",
            facts=["a model returns one row per sample"],
            mend="sum and mean over axes 1 and up alone; for a loss, pass loss= to gcn.compile",
        ).located(layer=place.layer, file=place.file, line=place.line)
    if loss is None:
        if optimizer is not None:
            raise OptionError("an optimizer needs a loss", mend="compile(..., loss=gcn.CrossEntropy())")
        return Graphs(forward, training), {}
    evaluation, *_ = _with_loss(forward, f"{forward.name} evaluation", loss, metrics)
    with_loss, total, scores = _with_loss(training, f"{training.name} gradient", loss, ())
    parameters = with_loss.inputs_with_role("parameter")
    differentiated, gradients = differentiate(with_loss, total, parameters)
    gradient = differentiated.copy()
    for label, value in gradients.items():
        gradient.output(f"gradient({label})", value)
    gradient = prune(gradient)
    if optimizer is None:
        return Graphs(forward, training, evaluation, gradient), {}
    step = differentiated.copy(f"{training.name} step")
    _append_metrics(step, scores, metrics)
    rate = step.input(LEARNING_RATE, total.type, role="setting")
    initial = optimizer.append_updates(step, parameters, gradients, rate)
    return Graphs(forward, training, evaluation, gradient, simplify(verify(step))), initial


def _with_loss(
    graph: Graph, name: str, loss: Loss, metrics: Sequence[Metric]
) -> tuple[Graph, Value, tuple[Value, Value]]:
    """Return the graph with a target input, the loss and metrics as outputs instead of `output`."""
    output = graph.outputs["output"]
    result = graph.copy(name, outputs=False)
    place = graph.node(output.key).origin
    emit = Emitter(result, Origin(place.file, place.line, "loss"))
    try:
        wanted = loss.target_type(output.type)
    except GraphcnnError as error:
        error.facts += (f"the output is made by {place.layer or 'an input'}, {_line(place)}",)
        raise
    target = result.input(TARGET, wanted, origin=emit.origin)
    total = total_loss(emit, loss, output, target)
    result.output("loss", total)
    _append_metrics(result, (output, target), metrics)
    return verify(result), total, (output, target)


def _line(place: Origin) -> str:
    return f"{PurePath(place.file).name}:{place.line}"


def _append_metrics(graph: Graph, scores: tuple[Value, Value], metrics: Sequence[Metric]) -> None:
    place = graph.node(scores[0].key).origin
    for metric in metrics:
        emit = Emitter(graph, Origin(place.file, place.line, metric.name))
        graph.output(metric.name, metric.append(emit, *scores))


# Files


def save(model: Model, path: str | PathLike[str]) -> None:
    """Write a model as a safetensors file: state as tensors, graphs and settings as metadata."""
    metadata = {
        "format": FORMAT,
        "forward_graph": _without_folders(str(model.forward_graph)),
        "training_graph": _without_folders(str(model.training_graph)),
        "seed": str(model.seed),
        "epochs_done": str(model.epochs_done),
        "learning_rate": repr(model.learning_rate),
        "metrics": json.dumps([_known_metric(metric) for metric in model.metrics]),
    }
    if model.loss is not None:
        metadata["loss"] = _described(model.loss, LOSSES)
    if model.optimizer is not None:
        metadata["optimizer"] = _described(model.optimizer, OPTIMIZERS)
    write_weights(path, model.state(), metadata)


def load(path: str | PathLike[str], *, backend: str = DEFAULT) -> Model:
    """Return the model that `Model.save` wrote, ready to predict and to train on. No code is executed.

    Raises FileError for a file that is damaged or was not saved by graphcnn, and BackendError for an
    unknown backend.
    """
    tensors, metadata = read_weights(path)
    if metadata.get("format") != FORMAT:
        raise FileError(
            f"{path} was not saved by this version of graphcnn",
            facts=[f"metadata 'format' is {metadata.get('format')!r}, expected {FORMAT!r}"],
            mend="for weights alone, assign them: model.parameters[name] = array",
        )
    try:
        graphs, wanted = _parse_graphs(metadata)
        loss = _restored(metadata.get("loss"), LOSSES)
        optimizer = _restored(metadata.get("optimizer"), OPTIMIZERS)
        metrics = _restored_metrics(metadata["metrics"])
        _check_names(graphs[0], loss, metrics)
        built, initial = build_graphs(graphs[0], graphs[1], loss, optimizer, metrics)
        seed = _whole_number(metadata, "seed")
        epochs_done = _whole_number(metadata, "epochs_done")
        learning_rate = _rate(metadata)
    except (GraphcnnError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise FileError(
            f"the metadata of {path} is damaged",
            facts=_reasons(error),
            mend="load an older file, or train again",
        ) from None
    if built.step is not None:
        wanted |= {label: built.step.inputs[label].type for label in initial}
    require_tensors(path, tensors, wanted)
    model = Model(
        built,
        {name: np.array(tensors[name]) for name in wanted},
        backend=load_backend(backend),
        loss=loss,
        optimizer=optimizer,
        metrics=metrics,
        seed=seed,
        epochs_done=epochs_done,
        save=save,
    )
    model.learning_rate = learning_rate
    return model


def _parse_graphs(metadata: Mapping[str, str]) -> tuple[tuple[Graph, Graph], dict[str, TensorType]]:
    forward, training = verify(parse(metadata["forward_graph"])), verify(parse(metadata["training_graph"]))
    if list(forward.outputs) != ["output"] or list(training.outputs) != ["output"] or forward.updates:
        raise FileError("a graph has other outputs or updates than a network's")
    held = {label: value.type for label, value in training.inputs_with_role("parameter", "state").items()}
    own = {label: value.type for label, value in forward.inputs_with_role("parameter", "state").items()}
    if not own.items() <= held.items() or _fed(forward) != _fed(training):
        raise FileError("the two graphs are not of one network: their inputs differ")
    return (forward, training), held


def _fed(graph: Graph) -> dict[str, TensorType]:
    """Return the inputs that are no state, by name."""
    if graph.inputs_with_role("setting"):
        raise FileError("a network's graph has a setting among its inputs")
    return {label: value.type for label, value in graph.inputs_with_role("data").items()}


def _reasons(error: Exception) -> list[str]:
    """Return what is wrong, without the line of the user's that loads the file."""
    if isinstance(error, KeyError):
        return [f"there is no {error}"]
    if isinstance(error, GraphcnnError):
        return [error.problem[:300], *(fact[:300] for fact in error.facts)]
    return [str(error)[:300] or repr(error)]


def _whole_number(metadata: Mapping[str, str], name: str) -> int:
    text = metadata[name]
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) >= 2**64:
        raise FileError(f"{name} {text[:40]!r} is not an integer from 0 to 2**64 - 1")
    return int(text)


def _rate(metadata: Mapping[str, str]) -> float:
    rate = float(metadata["learning_rate"])
    if not 0 <= rate < float("inf"):
        raise FileError(f"learning_rate {rate} is not a finite number of at least 0")
    return rate


def _restored_metrics(text: str) -> tuple[Metric, ...]:
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FileError(f"metrics {text[:40]!r} is not a list of names")
    return resolve_metrics(tuple(names))


def _described(part: object, known: Mapping[str, type]) -> str:
    """Return a loss or optimiser as JSON: the name of its class and its options."""
    name = type(part).__name__
    if known.get(name) is not type(part):
        raise _not_saved(name)
    return json.dumps({"name": name, "options": dataclasses.asdict(part)})  # type: ignore[call-overload]


def _known_metric(metric: Metric) -> str:
    if METRICS.get(metric.name) != metric:
        raise _not_saved(type(metric).__name__)
    return metric.name


def _not_saved(name: str) -> OptionError:
    return OptionError(
        f"a model with the user's own {name} cannot be saved whole: a file holds no code",
        mend="save dict(model.parameters) with safetensors.numpy.save_file, and rebuild in a script",
    )


def _restored(text: str | None, known: Mapping[str, type]) -> Any:
    if text is None:
        return None
    description = json.loads(text)
    if not isinstance(description, dict) or description.keys() != {"name", "options"}:
        raise FileError(f"{text[:60]!r} does not describe a loss or optimiser")
    if description["name"] not in known:
        raise FileError(f"there is no loss or optimiser {description['name']!r}")
    return known[description["name"]](**description["options"])


def _without_folders(text: str) -> str:
    """Return a graph's text with the base names of source files alone: folders are the user's own affair."""
    graph = parse(text)
    result = Graph(graph.name)
    for key in range(len(graph)):
        node = graph.node(key)
        origin = dataclasses.replace(node.origin, file=PurePath(node.origin.file).name)
        result.add_all(node.op, *node.operands, origin=origin)
    for label, value in graph.outputs.items():
        result.output(label, value)
    for label, value in graph.updates.items():
        result.update(label, value)
    return str(result)
