"""The graphs of a model: loss, gradients and the optimiser's updates, appended to the network's graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Final, Literal, TypeAlias

from graphcnn.arrays import Array
from graphcnn.cached import cached
from graphcnn.dsl.builder import TARGET_SHARE
from graphcnn.errors import GraphcnnError, OptionError, ShapeError
from graphcnn.ir import BATCH, Emitter, Graph, Origin, TensorType, Value, verify
from graphcnn.ops import Add, Multiply, constant
from graphcnn.phases import phase
from graphcnn.training.freezing import freeze
from graphcnn.training.losses import total_loss
from graphcnn.training.metrics import append_metric
from graphcnn.training.objective import (
    LOSS,
    SAMPLE_WEIGHT,
    GivenMetrics,
    Head,
    Losses,
    Objective,
    objective,
)
from graphcnn.training.optimizers import LEARNING_RATE, Optimizer, append_updates
from graphcnn.transform import Passes, bfloat16_products, differentiate, prune, simplify
from graphcnn.transform.bfloat16 import require_float32

NO_PASSES = Passes()

Precision: TypeAlias = Literal["float32", "bfloat16"]
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "bfloat16")


def checked_precision(given: object) -> Precision | None:
    """Return a precision of products, or None as it is. Raises OptionError for what is none."""
    for known in PRECISIONS:
        if isinstance(given, str) and given == known:
            return known
    if given is None:
        return None
    mend = 'dtype="float64"' if given == "float64" else 'precision="bfloat16"'
    raise OptionError(f"precision={given!r:.60} is neither {' nor '.join(map(repr, PRECISIONS))}", mend=mend)


def gradient_name(label: str) -> str:
    """Return the name of the output that is the gradient of a parameter."""
    return f"gradient({label})"


class Graphs:
    """The graphs of a model. What is derived is so when it is first asked for.

    Who loads a model to predict waits for no differentiation, and needs no memory for it. Without a loss
    there are only the network's own graphs, without an optimiser no step.

    inference: the network for inference, and network: for training, as its layers say.
    frozen: the names of parameters and states that training leaves alone.
    passes: of their stages, `gradient` and `step` run here.
    precision: of what products multiply, but for the optimiser's. In what is executed, `forward`,
    `evaluation` and `step`, roundings to it are nodes; `training` and `gradient` are without them.
    """

    def __init__(
        self,
        inference: Graph,
        network: Graph,
        objective: Objective | None = None,
        optimizer: Optimizer | None = None,
        passes: Passes = NO_PASSES,
        frozen: frozenset[str] = frozenset(),
        precision: Precision = "float32",
    ) -> None:
        if objective is None and optimizer is not None:
            raise OptionError("an optimizer needs a loss", mend="compile(..., loss=gcn.CrossEntropy())")
        if precision == "bfloat16":
            require_float32(inference)
            require_float32(network)
        self.inference = inference
        self.network = network
        self.objective = objective
        self.optimizer = optimizer
        self.passes = passes
        self.frozen = frozen
        self.precision = precision

    def altered(
        self,
        *,
        passes: Passes | None = None,
        frozen: frozenset[str] | None = None,
        precision: Precision | None = None,
    ) -> Graphs:
        """Return the same graphs with other passes, with other names frozen, in another precision."""
        return Graphs(
            self.inference,
            self.network,
            self.objective,
            self.optimizer,
            self.passes if passes is None else passes,
            self.frozen if frozen is None else frozen,
            self.precision if precision is None else precision,
        )

    @cached
    def forward(self) -> Graph:
        """The network for inference."""
        return self._rounded(self.inference)

    @cached
    def training(self) -> Graph:
        """The network for training, without its loss."""
        return freeze(self.network, self.frozen) if self.frozen else self.network

    @cached
    def evaluation(self) -> Graph | None:
        """The network for inference, its loss and metrics."""
        return self._evaluation(is_weighted=False)

    @cached
    def weighted_evaluation(self) -> Graph | None:
        """The same with an input `sample_weight`."""
        return self._evaluation(is_weighted=True)

    @cached
    def scores(self) -> Graph | None:
        """Loss and metrics of outputs that are given, as inputs of these names."""
        return self._evaluation(is_weighted=False, of_outputs=True)

    @cached
    def weighted_scores(self) -> Graph | None:
        """The same with an input `sample_weight`."""
        return self._evaluation(is_weighted=True, of_outputs=True)

    @cached
    def derived(self) -> Graph | None:
        """Network, loss, metrics and gradients, of which the step is made."""
        return self._derived(is_weighted=False)

    @cached
    def gradient(self) -> Graph | None:
        """Network, loss and gradients. Training itself has no need of it."""
        return _gradient(self.derived)

    @cached
    def weighted_gradient(self) -> Graph | None:
        """The same with an input `sample_weight`."""
        return _gradient(self._derived(is_weighted=True))

    @property
    def step(self) -> Graph | None:
        """The whole training step."""
        return None if self._step is None else self._step[0]

    @cached
    def weighted_step(self) -> Graph | None:
        """The step with an input `sample_weight`: what the loss of each sample is multiplied by."""
        made = self._made_step(self._derived(is_weighted=True))
        return None if made is None else made[0]

    @property
    def first_values(self) -> dict[str, Array]:
        """The first value of each state that the optimiser adds: read-only, and no larger than was given."""
        return {} if self._step is None else self._step[1]

    @property
    def added_states(self) -> dict[str, TensorType]:
        """The type of each state that the optimiser adds."""
        return {label: value.type for label, value in self.updates.inputs_with_role("state").items()}

    @cached
    def updates(self) -> Graph:
        """The optimiser's updates by themselves, for which nothing is differentiated.

        Parameters stand for their gradients.
        """
        alone = Graph("updates")
        if self.objective is None or self.optimizer is None:
            return alone
        total = self.objective.heads[0].type.with_shape(())
        rate = alone.input(LEARNING_RATE, total, role="setting")
        parameters = {
            label: alone.input(label, value.type, role="parameter")
            for label, value in self.network.inputs_with_role("parameter").items()
            if label not in self.frozen
        }
        append_updates(self.optimizer, alone, parameters, parameters, rate)
        return alone

    def _evaluation(self, *, is_weighted: bool, of_outputs: bool = False) -> Graph | None:
        if self.objective is None:
            return None
        name, network = "evaluation", self.inference
        if of_outputs:
            name, network = "scores", _outputs_alone(network)
        graph, _, heads = _with_loss(network, name, self.objective, is_weighted=is_weighted)
        _append_metrics(graph, heads)
        return self._rounded(verify(graph))

    def _rounded(self, graph: Graph) -> Graph:
        """Return a graph with roundings to the precision."""
        return bfloat16_products(graph) if self.precision == "bfloat16" else graph

    def _derived(self, *, is_weighted: bool) -> Graph | None:
        if self.objective is None:
            return None
        training, objective = self.training, self.objective
        share = None if TARGET_SHARE in self.inference.outputs else training.outputs.get(TARGET_SHARE)
        with_loss, total, heads = _with_loss(
            training, "gradient", objective, is_weighted=is_weighted, share=share
        )
        with phase("differentiate"):
            derived, gradients = differentiate(with_loss, total, with_loss.inputs_with_role("parameter"))
        for label, value in gradients.items():
            derived.output(gradient_name(label), value)
        _append_metrics(derived, heads)
        return self.passes.run("gradient", derived)

    @cached
    def _step(self) -> tuple[Graph, dict[str, Array]] | None:
        return self._made_step(self.derived)

    def _made_step(self, derived: Graph | None) -> tuple[Graph, dict[str, Array]] | None:
        if derived is None or self.optimizer is None or self.objective is None:
            return None
        if self.precision != "float32":
            with phase("simplify"):
                derived = self._rounded(simplify(derived))
        step = _with_outputs(derived, f"{self.training.name} step", self.objective.results)
        rate = step.input(LEARNING_RATE, derived.outputs[LOSS].type, role="setting")
        parameters = step.inputs_with_role("parameter")
        gradients = {label: derived.outputs[gradient_name(label)] for label in parameters}
        first_values = append_updates(self.optimizer, step, parameters, gradients, rate)
        with phase("simplify"):
            step = simplify(verify(step))
        return self.passes.run("step", step), first_values


def objective_of(
    forward: Graph,
    network: Graph,
    loss: Losses | None,
    loss_weights: Mapping[str, float] | None,
    metrics: GivenMetrics | None,
) -> Objective | None:
    """Return what is trained of a network, given its graphs for inference and for training."""
    outputs, trained = (
        {label: value.type for label, value in graph.outputs.items()} for graph in (forward, network)
    )
    auxiliary = {
        label: type for label, type in trained.items() if label not in outputs and label != TARGET_SHARE
    }
    makers = {label: _maker(output, network) for label, output in network.outputs.items()}
    _check_outputs(forward)
    try:
        return objective(loss, loss_weights, metrics, outputs, auxiliary, makers)
    except ShapeError as error:
        error.facts += (f"the output is made by {' and '.join(dict.fromkeys(makers.values()))}",)
        raise


def _maker(output: Value, graph: Graph) -> str:
    """Return which layer makes an output, and where it stands."""
    place = graph.node(output.key).origin
    return f"{place.layer or 'an input'}, {PurePath(place.file).name}:{place.line}"


def _check_outputs(forward: Graph) -> None:
    for label, output in forward.outputs.items():
        if output.type.shape[:1] != (BATCH,):
            place = forward.node(output.key).origin
            raise ShapeError(
                f"the network's output {output.type} has no batch axis in front",
                facts=["a model returns one row per sample", f"it is the output {label!r}"],
                mend="sum and mean over axes 1 and up alone; for a loss, pass loss= to gcn.compile",
            ).located(layer=place.layer, file=place.file, line=place.line)


def _outputs_alone(forward: Graph) -> Graph:
    """Return a graph whose inputs are the outputs of a network."""
    alone = Graph(forward.name)
    for label, output in forward.outputs.items():
        given = alone.input(given_output(label), output.type, origin=forward.node(output.key).origin)
        alone.output(label, given)
    return alone


def given_output(label: str) -> str:
    """Return the name of the input that holds an output whose loss is computed."""
    return f"given({label})"


def _with_outputs(graph: Graph, name: str, labels: Iterable[str]) -> Graph:
    """Return the graph with these of its outputs alone."""
    copy = graph.copy(name, outputs=False)
    for label in labels:
        copy.output(label, graph.outputs[label])
    return copy


def _gradient(derived: Graph | None) -> Graph | None:
    if derived is None:
        return None
    names = (gradient_name(label) for label in derived.inputs_with_role("parameter"))
    return prune(_with_outputs(derived, derived.name, [LOSS, *names]))


Scored = list[tuple[Head, Value, Value]]
"""Of each output that is trained, the values of output and targets."""


def _with_loss(
    graph: Graph, what: str, objective: Objective, *, is_weighted: bool, share: Value | None = None
) -> tuple[Graph, Value, Scored]:
    """Return the graph with targets, and with losses as outputs instead of the network's; and their sum.

    share: what each sample has of its own target, where samples are mixed.
    """
    result = graph.copy(f"{graph.name} {what}", outputs=False)
    heads = [head for head in objective.heads if head.output in graph.outputs]
    weights: Value | None = None
    scored: Scored = []
    losses: list[Value] = []
    each: dict[str, Value] = {}
    for head in heads:
        output = graph.outputs[head.output]
        place = graph.node(output.key).origin
        name = LOSS if len(heads) == 1 else head.loss_name
        emit = Emitter(result, Origin(place.file, place.line, name))
        try:
            target = result.inputs.get(head.target) or result.input(
                head.target, head.target_type, origin=emit.origin
            )
            if is_weighted and weights is None:
                weights = result.input(SAMPLE_WEIGHT, head.type.with_shape((BATCH,)), origin=emit.origin)
            total = total_loss(emit, head.loss, output, target, weights, share)
        except GraphcnnError as error:
            error.facts += (f"the output is made by {_maker(output, graph)}",)
            raise
        each[head.loss_name] = total
        emit = Emitter(result, Origin(place.file, place.line, LOSS))
        if head.weight != 1.0:
            total = emit(Multiply(), total, constant(emit, head.weight, total.type))
        if losses:
            total = emit(Add(), losses[-1], total)
        losses.append(total)
        scored.append((head, output, target))
    result.output(LOSS, losses[-1])
    for name, value in each.items() if len(heads) > 1 else ():
        result.output(name, value)
    return verify(result), losses[-1], scored


def _append_metrics(graph: Graph, scored: Scored) -> None:
    for head, output, target in scored:
        place = graph.node(output.key).origin
        for metric in head.metrics:
            name = head.result(metric)
            emit = Emitter(graph, Origin(place.file, place.line, name))
            graph.output(name, append_metric(emit, metric, output, target))


def check_names(forward: Graph, objective: Objective | None) -> None:
    """Raise OptionError for an input whose name the model's own inputs or outputs have."""
    if objective is None:
        return
    reserved = [*objective.targets, LEARNING_RATE, SAMPLE_WEIGHT, *objective.results]
    for label, value in forward.inputs.items():
        if label in reserved:
            place = forward.node(value.key).origin
            raise OptionError(
                f"the name {label!r} of an input or parameter is taken by the model itself",
                facts=[f"taken: {', '.join(sorted(reserved))}"],
                mend='give it another name, for example gcn.Input(shape, name="image")',
            ).located(layer=label, file=place.file, line=place.line)
