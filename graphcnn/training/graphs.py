"""The graphs of a model: loss, gradients and the optimiser's updates, appended to the network's graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from graphcnn.arrays import Array
from graphcnn.errors import GraphcnnError, OptionError, ShapeError
from graphcnn.ir import BATCH, Emitter, Graph, Origin, Value, verify
from graphcnn.training.losses import Loss, target_type, total_loss
from graphcnn.training.metrics import Metric, append_metric
from graphcnn.training.optimizers import LEARNING_RATE, Optimizer, append_updates
from graphcnn.transform import Passes, differentiate, prune, simplify

TARGET = "target"
NO_PASSES = Passes()


@dataclass(frozen=True)
class Graphs:
    """The graphs of a model. Without a loss there is only the forward graph; without an optimiser no step."""

    forward: Graph
    training: Graph
    evaluation: Graph | None = None
    gradient: Graph | None = None
    step: Graph | None = None


def build_graphs(
    forward: Graph,
    training: Graph,
    loss: Loss | None,
    optimizer: Optimizer | None,
    metrics: Sequence[Metric],
    passes: Passes = NO_PASSES,
) -> tuple[Graphs, dict[str, Array]]:
    """Return all graphs of a model, and the first value of each state that the optimiser added.

    passes: of their stages, `gradient` and `step` run here.
    """
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
    whole, gradients = differentiate(with_loss, total, with_loss.inputs_with_role("parameter"))
    names = {label: f"gradient({label})" for label in gradients}
    for label, value in gradients.items():
        whole.output(names[label], value)
    _append_metrics(whole, scores, metrics)
    whole = passes.run("gradient", whole)
    gradient = prune(_with_outputs(whole, whole.name, ["loss", *names.values()]))
    if optimizer is None:
        return Graphs(forward, training, evaluation, gradient), {}
    step = _with_outputs(whole, f"{training.name} step", ["loss", *(metric.name for metric in metrics)])
    rate = step.input(LEARNING_RATE, total.type, role="setting")
    parameters = step.inputs_with_role("parameter")
    initial = append_updates(
        optimizer, step, parameters, {label: whole.outputs[name] for label, name in names.items()}, rate
    )
    step = passes.run("step", simplify(verify(step)))
    return Graphs(forward, training, evaluation, gradient, step), initial


def _with_outputs(graph: Graph, name: str, labels: Iterable[str]) -> Graph:
    """Return the graph with these of its outputs alone."""
    copy = graph.copy(name, outputs=False)
    for label in labels:
        copy.output(label, graph.outputs[label])
    return copy


def _with_loss(
    graph: Graph, name: str, loss: Loss, metrics: Sequence[Metric]
) -> tuple[Graph, Value, tuple[Value, Value]]:
    """Return the graph with a target input, the loss and metrics as outputs instead of `output`."""
    output = graph.outputs["output"]
    result = graph.copy(name, outputs=False)
    place = graph.node(output.key).origin
    emit = Emitter(result, Origin(place.file, place.line, "loss"))
    try:
        wanted = target_type(loss, output.type)
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
        graph.output(metric.name, append_metric(emit, metric, *scores))


def check_names(forward: Graph, loss: Loss | None, metrics: Sequence[Metric]) -> None:
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
