"""The graphs of a model: loss, gradients and the optimiser's updates, appended to the network's graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

from graphcnn.arrays import Array
from graphcnn.errors import GraphcnnError, OptionError, ShapeError
from graphcnn.ir import BATCH, Emitter, Graph, Origin, TensorType, Value, verify
from graphcnn.phases import phase
from graphcnn.training.losses import Loss, target_type, total_loss
from graphcnn.training.metrics import Metric, append_metric
from graphcnn.training.optimizers import LEARNING_RATE, Optimizer, append_updates
from graphcnn.transform import Passes, differentiate, prune, simplify

TARGET = "target"
NO_PASSES = Passes()


@dataclass(frozen=True)
class Graphs:
    """The graphs of a model. Without a loss there is only the forward graph; without an optimiser no step.

    derived: network, loss, gradients and metrics, of which the step was made.
    """

    forward: Graph
    training: Graph
    evaluation: Graph | None = None
    derived: Graph | None = None
    step: Graph | None = None

    @cached_property
    def gradient(self) -> Graph | None:
        """Network, loss and gradients. Training itself has no need of it, so it is made when asked for."""
        if self.derived is None:
            return None
        names = (gradient_name(label) for label in self.derived.inputs_with_role("parameter"))
        return prune(_with_outputs(self.derived, self.derived.name, ["loss", *names]))


def gradient_name(label: str) -> str:
    """Return the name of the output that is the gradient of a parameter."""
    return f"gradient({label})"


class DeferredGraphs:
    """The graphs of a model from a file, as `Graphs`: what is derived is so when it is first asked for.

    Who loads a model to predict waits for no differentiation, and needs no memory for it.
    """

    def __init__(
        self,
        forward: Graph,
        training: Graph,
        loss: Loss | None,
        optimizer: Optimizer | None,
        metrics: Sequence[Metric],
    ) -> None:
        self.forward = forward
        self.training = training
        self._loss = loss
        self._optimizer = optimizer
        self._metrics = metrics
        self._evaluation: Graph | None = None
        self._derived: Graphs | None = None

    @property
    def evaluation(self) -> Graph | None:
        if self._evaluation is None and self._loss is not None:
            self._evaluation, *_ = _evaluation(self.forward, self._loss, self._metrics)
        return self._evaluation

    @property
    def gradient(self) -> Graph | None:
        return self._all().gradient

    @property
    def step(self) -> Graph | None:
        return self._all().step

    def _all(self) -> Graphs:
        if self._derived is None:
            parts = self.forward, self.training, self._loss, self._optimizer, self._metrics
            self._derived, _ = build_graphs(*parts)
        return self._derived


def deferred_graphs(
    forward: Graph,
    training: Graph,
    loss: Loss | None,
    optimizer: Optimizer | None,
    metrics: Sequence[Metric],
) -> tuple[DeferredGraphs, dict[str, TensorType]]:
    """Return the graphs of a model that will be derived, and the type of each state that the optimiser adds.

    Raises as `build_graphs` for an output without a batch axis, and for a loss that does not take it.
    """
    _check_output(forward, loss, optimizer)
    graphs = DeferredGraphs(forward, training, loss, optimizer, metrics)
    if loss is None:
        return graphs, {}
    output = forward.outputs["output"].type
    target_type(loss, output)
    if optimizer is None:
        return graphs, {}
    alone = Graph("the optimiser's state")
    rate = alone.input(LEARNING_RATE, output.with_shape(()), role="setting")
    parameters = {
        label: alone.input(label, value.type, role="parameter")
        for label, value in training.inputs_with_role("parameter").items()
    }
    added = append_updates(optimizer, alone, parameters, parameters, rate)
    return graphs, {label: alone.inputs[label].type for label in added}


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
    _check_output(forward, loss, optimizer)
    if loss is None:
        return Graphs(forward, training), {}
    evaluation, *_ = _evaluation(forward, loss, metrics)
    with_loss, total, scores = _with_loss(training, f"{training.name} gradient", loss, ())
    with phase("differentiate"):
        derived, gradients = differentiate(with_loss, total, with_loss.inputs_with_role("parameter"))
    for label, value in gradients.items():
        derived.output(gradient_name(label), value)
    _append_metrics(derived, scores, metrics)
    derived = passes.run("gradient", derived)
    if optimizer is None:
        return Graphs(forward, training, evaluation, derived), {}
    step = _with_outputs(derived, f"{training.name} step", ["loss", *(metric.name for metric in metrics)])
    rate = step.input(LEARNING_RATE, total.type, role="setting")
    parameters = step.inputs_with_role("parameter")
    gradients = {label: derived.outputs[gradient_name(label)] for label in parameters}
    initial = append_updates(optimizer, step, parameters, gradients, rate)
    with phase("simplify"):
        step = simplify(verify(step))
    step = passes.run("step", step)
    return Graphs(forward, training, evaluation, derived, step), initial


def _check_output(forward: Graph, loss: Loss | None, optimizer: Optimizer | None) -> None:
    output = forward.outputs["output"]
    if output.type.shape[:1] != (BATCH,):
        place = forward.node(output.key).origin
        raise ShapeError(
            f"the network's output {output.type} has no batch axis in front",
            facts=["a model returns one row per sample"],
            mend="sum and mean over axes 1 and up alone; for a loss, pass loss= to gcn.compile",
        ).located(layer=place.layer, file=place.file, line=place.line)
    if loss is None and optimizer is not None:
        raise OptionError("an optimizer needs a loss", mend="compile(..., loss=gcn.CrossEntropy())")


def _evaluation(
    forward: Graph, loss: Loss, metrics: Sequence[Metric]
) -> tuple[Graph, Value, tuple[Value, Value]]:
    return _with_loss(forward, f"{forward.name} evaluation", loss, metrics)


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
