"""A whole model in one safetensors file: state as tensors, graphs as text, and where its training is."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import PurePath

import numpy as np

from graphcnn.arrays import Array
from graphcnn.data.dataset import check_resize
from graphcnn.errors import FileError, GraphcnnError, OptionError
from graphcnn.interchange.torchvision import PARTS
from graphcnn.interchange.weights import CHECKSUM, read_header, read_weights, require_tensors, write_weights
from graphcnn.ir import Graph, TensorType
from graphcnn.ir.parser import require_parsable
from graphcnn.ops import OPS, UserFunction, parse
from graphcnn.ops.attributes import is_int
from graphcnn.scalar import by_name
from graphcnn.training.class_names import checked_classes
from graphcnn.training.descriptions import (
    Objects,
    described,
    described_loss,
    described_metrics,
    own_classes,
    restored_loss,
    restored_metrics,
    restored_optimizer,
)
from graphcnn.training.freezing import layer_of
from graphcnn.training.graphs import Graphs, Precision, check_names, checked_precision, objective_of
from graphcnn.training.history import STEP, TIMES, History
from graphcnn.training.objective import OUTPUT
from graphcnn.training.optimizers import given_optimizer
from graphcnn.training.position import Training, restored_training, training_text
from graphcnn.transform import Passes

FORMAT = "graphcnn/1"
GRAPHS = ("forward_graph", "training_graph")
LONGEST_SETTING = 2**20
"""Characters of any field but the graphs: ten thousand epochs of a history, or weights of as many classes."""
WEIGHTS_FORMAT = "graphcnn weights/1"


@dataclass(frozen=True)
class ModelFile:
    """All that a model is made of, but the backend that runs it.

    history: the numbers of each epoch by name, of which a file holds all but the times.
    resume: the user's own, as JSON. samples_trained: by `train_step`, where the network draws random numbers
    of samples. training: what a call of `fit` that has begun needs in order to go on. classes: their names.
    resize: how images got their size.
    """

    graphs: Graphs
    state: Mapping[str, Array]
    seed: int
    epochs_done: int
    learning_rate: float
    history: History = field(default_factory=History)
    resume: Mapping[str, object] = field(default_factory=dict)
    samples_trained: int = 0
    training: Training | None = None
    classes: tuple[str, ...] = ()
    resize: str = "crop"


def described_graphs(graphs: Graphs) -> dict[str, str]:
    """Return what a file says of a model's graphs, and of what they are made of, by field.

    What is the user's own is there by its name alone: functions, and the classes of losses, optimisers and
    metrics, whose attributes are there as JSON. Raises OptionError for attributes that JSON does not give
    back, and for two functions of one name.
    """
    objective, optimizer, passes = graphs.objective, graphs.optimizer, graphs.passes
    heads = () if objective is None else objective.heads
    losses, metrics = [head.loss for head in heads], [each for head in heads for each in head.metrics]
    metadata = {
        "format": FORMAT,
        "forward_graph": _without_folders(graphs.inference),
        "training_graph": _without_folders(graphs.network),
        "metrics": json.dumps([] if objective is None else described_metrics(objective.metrics)),
    }
    if graphs.precision != "float32":
        metadata["precision"] = graphs.precision
    if graphs.frozen:
        metadata["frozen"] = json.dumps(sorted(graphs.frozen))
    own = {
        "functions": _function_names(graphs),
        "ops": _own_ops(graphs),
        "objects": own_classes(*losses, given_optimizer(optimizer), *metrics),
        "passes": [each.name for each in (*passes.gradient, *passes.step)],
    }
    metadata |= {field: json.dumps(names) for field, names in own.items() if names}
    if objective is not None:
        metadata["loss"] = json.dumps(described_loss(objective.loss))
        if objective.loss_weights:
            metadata["loss_weights"] = json.dumps(objective.loss_weights)
    if optimizer is not None:
        metadata["optimizer"] = json.dumps(described(optimizer))
    return metadata


def write_model_file(
    path: str | PathLike[str], file: ModelFile, graphs: Mapping[str, str] | None = None
) -> None:
    """Write a model atomically: state as tensors, graphs and settings as metadata.

    graphs: what `described_graphs` says of them, where that is known.
    Raises OptionError as that does, and for what is too long to be read again; OSError where the place cannot
    be written.
    """
    metadata = {
        **(described_graphs(file.graphs) if graphs is None else graphs),
        "seed": str(file.seed),
        "epochs_done": str(file.epochs_done),
        "learning_rate": repr(file.learning_rate),
        "history": _text_of_last(_numbers(epoch) for epoch in file.history),
    }
    tensors = file.state
    if any(file.history.validations):
        epochs = range(len(file.history) + 1)
        metadata["validations"] = _text_of_last(file.history.within(epoch) for epoch in epochs)
    if file.samples_trained:
        metadata["samples_trained"] = str(file.samples_trained)
    if file.classes:
        metadata["classes"] = json.dumps(file.classes)
    if file.resize != "crop":
        metadata["resize"] = file.resize
    if file.resume:
        metadata["resume"] = _resume_text(file.resume)
    if file.training is not None:
        metadata["training"], kept = training_text(file.training, file.state)
        tensors = {**tensors, **kept}
    for name, text in metadata.items():
        if name not in GRAPHS and len(text) > LONGEST_SETTING:
            raise OptionError(
                f"the model's {name} takes {len(text)} characters, which is too long for a file",
                facts=[f"at most {LONGEST_SETTING} are read again"],
                mend="keep large data in files of their own",
            )
    write_weights(path, tensors, metadata, has_checksum=file.training is not None)


def read_model_file(
    path: str | PathLike[str],
    objects: Iterable[object] = (),
    passes: Passes | None = None,
    precision: Precision | None = None,
) -> ModelFile:
    """Return the model that a file holds. No code of the file's is executed.

    objects: the user's own functions and classes that the model uses. passes: those that its gradient and
    step went through. precision: another one than the file's.
    Raises OptionError where one is missing, and FileError for a file that is damaged or was not saved by
    graphcnn.
    """
    given = Objects(objects)
    tensors, metadata = read_weights(path)
    if metadata.get("format") != FORMAT:
        raise FileError(
            f"{path} was not saved by this version of graphcnn",
            facts=[f"metadata 'format' is {metadata.get('format')!r:.100}, expected {FORMAT!r}"],
            mend="if it holds weights alone, compile the network and model.load_weights(path)",
        )
    with _named_as_damage(path):
        _require_short_settings(metadata)
        if "training" in metadata and CHECKSUM not in metadata:
            raise FileError("a checkpoint has a checksum, and this one has none")
    _require_objects(path, metadata, given)
    if passes is None:
        _require_no_passes(path, metadata)
    with _named_as_damage(path):
        _require_tensors_for_all(metadata, len(tensors))
        graphs, held = _parse_graphs(metadata, given)
    require_tensors(path, {name: tensors[name] for name in held if name in tensors}, held)
    with _named_as_damage(path):
        empty, added = _restored_model(metadata, given, *graphs)
        wanted = held | added
        training, kept = restored_training(metadata.get("training"), tensors, wanted)
    require_tensors(path, {name: tensor for name, tensor in tensors.items() if name not in kept}, wanted)
    if passes is not None or precision is not None:
        empty = dataclasses.replace(empty, graphs=empty.graphs.altered(passes=passes, precision=precision))
    if passes is not None and (passes.gradient or passes.step):
        _ = empty.graphs.step  # what a pass raises is raised here, and is no damage
    return dataclasses.replace(empty, state={name: tensors[name] for name in wanted}, training=training)


def read_epochs_done_and_training(path: str | PathLike[str]) -> tuple[int, Training | None]:
    """Return how far a file's training is. Raises FileError where it is damaged; tensors are not read."""
    header = read_header(path)
    with _named_as_damage(path):
        _require_short_settings(header.metadata)
        tensors = {entry.name: None for entry in header.entries}
        training, _ = restored_training(header.metadata.get("training"), tensors, {})
        return _whole_number(header.metadata, "epochs_done"), training


def write_weights_alone(path: str | PathLike[str], weights: Mapping[str, Array]) -> None:
    """Write weights by name, and nothing else of a model. Raises OSError where they cannot be written."""
    write_weights(path, weights, {"format": WEIGHTS_FORMAT})


def read_weights_alone(
    path: str | PathLike[str], wanted: Mapping[str, TensorType], *, is_part: bool = False
) -> dict[str, Array]:
    """Return the wanted tensors of a file of weights, or of a whole model, which holds others as well.

    is_part: whether they are a part of a network's, so that others of the file do not matter.
    Raises FileError for a damaged file, and for one that does not hold them all and, but for a whole model's,
    no others.
    """
    tensors, metadata = read_weights(path)
    if is_part or metadata.get("format") == FORMAT:
        tensors = {name: tensor for name, tensor in tensors.items() if name in wanted}
    require_tensors(path, tensors, wanted, _mend_of_weights(tensors, wanted))
    return tensors


def _mend_of_weights(tensors: Mapping[str, Array], wanted: Mapping[str, TensorType]) -> str:
    """Return what sets the layers that a file and a network both have, where they do not fit as a whole."""
    both: dict[str, bool] = {}
    for name, type in wanted.items():
        layer, found = layer_of(name), tensors.get(name)
        fits = found is not None and (found.shape, found.dtype.name) == (type.concrete(1), type.dtype)
        both[layer] = fits and both.get(layer, True)
    fitting = [layer for layer, fits in both.items() if fits]
    others = [layer for layer, fits in both.items() if not fits]
    endings = {name.rpartition(".")[2] for name in tensors if name not in wanted}
    if endings & set(PARTS.values()) - {"bias"}:
        return 'model.load_weights(path, layout="torchvision"), for a state dict of PyTorch'
    if fitting:
        some = f"only={fitting}" if len(fitting) < len(others) else f"skip={others}" if others else 'only="*"'
        return f"set the layers that both have: model.load_weights(path, {some})"
    floats = [name for name, type in wanted.items() if name in tensors and type.is_float]
    precisions = {tensors[name].dtype.name for name in floats}
    if len(precisions) == 1 and not precisions & {type.dtype for type in wanted.values()}:
        return f"gcn.compile(..., dtype={precisions.pop()!r}), the precision of the file"
    return "load them into the network that saved them"


@contextlib.contextmanager
def _named_as_damage(path: str | PathLike[str]) -> Iterator[None]:
    """Raise what goes wrong with a file's metadata as FileError, which names the file and the reason."""
    try:
        yield
    except (GraphcnnError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise FileError(
            f"the metadata of {path} is damaged",
            facts=_reasons(error),
            mend="load an older file, or train again",
        ) from None


def _require_short_settings(metadata: Mapping[str, str]) -> None:
    """Raise FileError for a field whose JSON would take far more memory than the file has bytes."""
    for name, text in metadata.items():
        if name not in GRAPHS and len(text) > LONGEST_SETTING:
            raise FileError(
                f"{name!r:.40} has {len(text)} characters, and at most {LONGEST_SETTING} are read"
            )


def _require_tensors_for_all(metadata: Mapping[str, str], count: int) -> None:
    """Raise FileError where a graph has more parameters and states than the file tensors, before it is read.

    The text of a graph has quotation marks in no other place unescaped: this counts inputs and nothing else.
    """
    for name in GRAPHS:
        inputs = sum(metadata[name].count(f'role="{role}"') for role in ("parameter", "state"))
        if inputs > count:
            raise FileError(f"{name} has {inputs} parameters and states, but the file {count} tensors")


def _restored_model(
    metadata: Mapping[str, str], objects: Objects, forward: Graph, training: Graph
) -> tuple[ModelFile, dict[str, TensorType]]:
    """Return the model without its state, and the tensors that the optimiser's state needs."""
    loss = restored_loss(metadata.get("loss"), objects.classes)
    optimizer = restored_optimizer(metadata.get("optimizer"), objects.classes)
    metrics = restored_metrics(metadata["metrics"], objects.classes)
    weights = _restored_loss_weights(metadata.get("loss_weights"))
    objective = objective_of(forward, training, loss, weights, metrics)
    check_names(forward, objective)
    frozen = _restored_frozen(metadata.get("frozen", "[]"), training)
    precision = _restored_precision(metadata.get("precision", "float32"))
    graphs = Graphs(forward, training, objective, optimizer, frozen=frozen, precision=precision)
    restored = ModelFile(
        graphs,
        {},
        seed=_whole_number(metadata, "seed"),
        epochs_done=_whole_number(metadata, "epochs_done"),
        learning_rate=_rate(metadata),
        history=_restored_history(metadata.get("history", "[]"), metadata.get("validations", "[]")),
        resume=_restored_resume(metadata.get("resume", "{}")),
        samples_trained=_whole_number({"samples_trained": "0", **metadata}, "samples_trained"),
        classes=_restored_classes(metadata.get("classes", "[]"), forward),
        resize=_restored_resize(metadata.get("resize", "crop")),
    )
    return restored, graphs.added_states


def _parse_graphs(
    metadata: Mapping[str, str], objects: Objects
) -> tuple[tuple[Graph, Graph], dict[str, TensorType]]:
    functions = objects.functions.values()
    forward, training = (parse(metadata[name], functions=functions) for name in GRAPHS)
    outputs, all_outputs = list(forward.outputs), list(training.outputs)
    has_others = len(outputs) == 1 and outputs != [OUTPUT]
    if not outputs or has_others or all_outputs[: len(outputs)] != outputs or forward.updates:
        raise FileError("a graph has other outputs or updates than a network's")
    if forward.inputs_with_role("sample"):
        raise FileError("the graph for inference draws random numbers of samples")
    held = {label: value.type for label, value in training.inputs_with_role("parameter", "state").items()}
    own = {label: value.type for label, value in forward.inputs_with_role("parameter", "state").items()}
    if not own.items() <= held.items() or _fed(forward) != _fed(training):
        raise FileError("the two graphs are not of one network: their inputs differ")
    return (forward, training), held


def _restored_loss_weights(text: str | None) -> dict[str, float] | None:
    weights = None if text is None else json.loads(text)
    if weights is not None and not isinstance(weights, dict):
        raise FileError(f"loss_weights {text!r:.40} is no object")
    return weights


def _restored_frozen(text: str, training: Graph) -> frozenset[str]:
    names = json.loads(text)
    known = training.inputs_with_role("parameter", "state")
    if not isinstance(names, list) or not all(isinstance(name, str) and name in known for name in names):
        raise FileError(f"frozen {text[:40]!r} is not a list of parameters")
    return frozenset(names)


def _restored_precision(text: str) -> Precision:
    found = checked_precision(text)
    assert found is not None
    return found


def _restored_classes(text: str, forward: Graph) -> tuple[str, ...]:
    return checked_classes(json.loads(text), [value.type.shape for value in forward.outputs.values()])


def _restored_resize(text: str) -> str:
    check_resize(text)
    return text


def _function_names(graphs: Graphs) -> list[str]:
    """Return the names of the user's own functions in a model."""
    nodes = [node for graph in (graphs.inference, graphs.network) for _, node in graph.items()]
    used = dict.fromkeys(node.op.function for node in nodes if isinstance(node.op, UserFunction))
    by_name(used)
    return [function.name for function in used]


def _own_ops(graphs: Graphs) -> list[str]:
    """Return the names of the ops in a model that are not graphcnn's."""
    used = {type(node.op) for graph in (graphs.inference, graphs.network) for _, node in graph.items()}
    return sorted(op.name for op in used if op.__module__.partition(".")[0] != "graphcnn")


def _require_objects(path: str | PathLike[str], metadata: Mapping[str, str], given: Objects) -> None:
    """Raise OptionError unless all is there that the model uses of its writer's own."""
    ops = ", ".join(name for name in _names(metadata, "ops") if name not in OPS)
    if ops:
        raise OptionError(
            f"the model in {path} has ops of its writer's own: {ops:.200}",
            facts=["a file holds their names, and no code"],
            mend="import the module that passes their classes to gcn.register_op, and load again",
        )
    lacking = {
        kind: [name for name in _names(metadata, field) if name not in known]
        for kind, field, known in (
            ("functions", "functions", given.functions),
            ("classes", "objects", given.classes),
        )
    }
    missing = ", ".join(name for names in lacking.values() for name in names)
    if missing:
        kinds = " and ".join(kind for kind, names in lacking.items() if names)
        raise OptionError(
            f"the model in {path} uses {kinds} of its writer's own: {missing:.200}",
            facts=["a file holds their names, and no code"],
            mend=f"import them, and gcn.load(path, objects=[{missing:.200}])",
        )


def _require_no_passes(path: str | PathLike[str], metadata: Mapping[str, str]) -> None:
    """Raise OptionError where the model's gradient or step went through passes."""
    names = ", ".join(_names(metadata, "passes"))
    if names:
        raise OptionError(
            f"the training of the model in {path} goes through passes of its writer's own: {names:.200}",
            facts=["a file holds their names, and no code"],
            mend='gcn.load(path, passes={"gradient": [...], "step": [...]}) as it was compiled, '
            "or passes={} to do without them",
        )


def _names(metadata: Mapping[str, str], field: str) -> list[str]:
    """Return the names that a field lists; what is no name is left out."""
    try:
        names = json.loads(metadata.get(field, "[]"))
    except (ValueError, RecursionError):
        return []
    given = names if isinstance(names, list) else []
    return [name for name in given if isinstance(name, str) and name.isprintable()]


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


def _resume_text(resume: Mapping[str, object]) -> str:
    try:
        return json.dumps(resume)
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(
            f"model.resume holds what a file cannot: {error}",
            mend="put numbers, text, and lists and dicts of them there",
        ) from None


def _text_of_last(items: Iterable[object]) -> str:
    """Return what there is of each epoch as JSON; of more than a file has room for, the last."""
    rows: list[str] = []
    room = LONGEST_SETTING
    for item in reversed(list(items)):
        row = json.dumps(item)
        room -= len(row) + len(", ")
        if room < 0:
            break
        rows.append(row)
    return f"[{', '.join(reversed(rows))}]"


def _numbers(epoch: Mapping[str, object]) -> dict[str, float]:
    """Return the numbers of an epoch, but its times: the same training makes the same file."""
    return {
        name: float(value)
        for name, value in epoch.items()
        if isinstance(value, int | float | np.number) and name not in TIMES
    }


def _restored_history(text: str, validations: str) -> History:
    """Return the history. The last of the validations are those of an epoch that has not ended."""
    epochs, within = json.loads(text), json.loads(validations)
    if not _are_rows(epochs):
        raise FileError("history is not a list of epochs")
    if not isinstance(within, list) or not all(map(_are_rows, within)):
        raise FileError("validations are not lists of those within each epoch")
    within = within[-len(epochs) - 1 :]
    missing = len(epochs) + 1 - len(within) if within else 0
    history = History(epochs, [*([] for _ in range(missing)), *within])
    while history.validations and not history.validations[-1]:
        del history.validations[-1]
    for row in [*epochs, *itertools.chain(*within)]:
        for name, value in row.items():
            if not isinstance(value, float) and name not in (STEP, "steps"):
                raise FileError(f"history has {value!r:.40} as {name!r:.40}, which is no number")
    for row in itertools.chain(*within):
        if not is_int(row.get(STEP), 1) or not is_int(row.get("steps", 1), 1):
            raise FileError("a validation within an epoch does not say after which step it was")
    return history


def _are_rows(given: object) -> bool:
    return isinstance(given, list) and all(isinstance(row, dict) for row in given)


def _restored_resume(text: str) -> dict[str, object]:
    resume = json.loads(text)
    if not isinstance(resume, dict):
        raise FileError(f"resume {text[:40]!r} is no object")
    return resume


def _without_folders(graph: Graph) -> str:
    """Return a graph's text with the base names of source files alone: folders are the user's own affair."""
    copy = require_parsable(graph).copy(
        origin=lambda origin: dataclasses.replace(origin, file=PurePath(origin.file).name)
    )
    return str(copy)
