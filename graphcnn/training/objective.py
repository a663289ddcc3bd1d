"""What is trained: a loss for each output, what each weighs in their sum, and what is measured beside it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphcnn.errors import GraphcnnError, OptionError, meant
from graphcnn.ir import TensorType
from graphcnn.training.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    Hinge,
    Huber,
    Loss,
    SquaredError,
    check_loss,
    target_type,
)
from graphcnn.training.metrics import (
    METRICS,
    Metric,
    StatisticsMetric,
    for_loss,
    has_statistics,
    resolve_metrics,
)
from graphcnn.training.parts import title

OUTPUT = "output"
TARGET = "target"
SAMPLE_WEIGHT = "sample_weight"
LOSS = "loss"
AUXILIARY_WEIGHT = 0.3
"""What the loss of an auxiliary output weighs (Szegedy et al., "Going deeper with convolutions", 2015)."""


def variant(name: str, batch: Collection[str]) -> str:
    """Return the name of the graph that takes such a batch: one for weighted samples where it has weights."""
    return f"weighted_{name}" if SAMPLE_WEIGHT in batch else name


Losses = Loss | Mapping[str, Loss]
GivenMetrics = Sequence[str | Metric] | Mapping[str, Sequence[str | Metric]]


@dataclass(frozen=True, slots=True)
class Head:
    """One output that is trained.

    output: its name, and type: its type. weight: of its loss in the sum. target: the name of the input that
    holds its targets, of target_type. prefix: what its results are called with, "" where it is the only one.
    maker: the layer that makes the output, and where it stands.
    """

    output: str
    type: TensorType
    loss: Loss
    weight: float
    metrics: tuple[Metric, ...]
    target: str
    target_type: TensorType
    prefix: str
    maker: str = field(default="", compare=False)

    @property
    def has_labels(self) -> bool:
        """Whether targets are numbers of classes, of which each has a place along the output's last axis."""
        target, output = self.target_type, self.type
        return not target.is_float and output.rank >= 2 and target.shape == output.shape[:-1]

    @property
    def classes(self) -> int:
        """How many numbers the output has along its last axis."""
        return self.type.static(self.type.rank - 1)

    @property
    def target_range(self) -> tuple[float, float] | None:
        """The least and the greatest number that a target may be, where the loss says so."""
        return getattr(self.loss, "target_range", None)

    @property
    def loss_name(self) -> str:
        return f"{self.output}_{LOSS}"

    def result(self, metric: Metric) -> str:
        """Return what results call a metric of this output."""
        return f"{self.prefix}{metric.name}"


@dataclass(frozen=True)
class Objective:
    """All outputs that are trained, as `objective` makes it.

    loss, loss_weights, metrics: as they were given, but checked.
    """

    loss: Losses
    loss_weights: Mapping[str, float]
    metrics: tuple[Metric, ...] | Mapping[str, tuple[Metric, ...]]
    heads: tuple[Head, ...] = field(repr=False)

    @property
    def targets(self) -> dict[str, Head]:
        """For each input that holds targets, the first output that they are for."""
        found: dict[str, Head] = {}
        for head in self.heads:
            found.setdefault(head.target, head)
        return found

    @property
    def is_sum(self) -> bool:
        """Whether losses add up over samples; otherwise they are means."""
        return self.heads[0].loss.reduction == "sum"

    @property
    def summed(self) -> set[str]:
        """The names of results that add up over batches."""
        return {LOSS, *(head.loss_name for head in self.heads)} if self.is_sum else set()

    @property
    def statistics(self) -> dict[str, StatisticsMetric]:
        """The metrics that are numbers of statistics, by the names of their results."""
        return {
            head.result(metric): metric
            for head in self.heads
            for metric in head.metrics
            if has_statistics(metric)
        }

    @property
    def results(self) -> list[str]:
        """The names of all results of a step."""
        heads = self.heads
        losses = [head.loss_name for head in heads] if len(heads) > 1 else []
        return [LOSS, *losses, *(head.result(metric) for head in heads for metric in head.metrics)]


def objective(
    loss: Losses | None,
    loss_weights: Mapping[str, float] | None,
    metrics: GivenMetrics | None,
    outputs: Mapping[str, TensorType],
    auxiliary: Mapping[str, TensorType],
    makers: Mapping[str, str],
) -> Objective | None:
    """Return what is trained of a network's outputs; None without a loss.

    loss: one for every output, or by output. loss_weights: by output; 1 where nothing is said, and of
    auxiliary outputs 0.3. metrics: for every output, or by output; by default accuracy, where outputs [N, k]
    have a loss of classes or of answers yes and no.
    outputs: by name; auxiliary: those that only training has, whose targets are those of the first output.
    makers: by output the layer that makes it, and where it stands.
    Raises OptionError for names that no output has, and what the losses raise for outputs that do not fit.
    """
    if loss is None:
        _refuse_without_loss(loss_weights, metrics)
        return None
    every = {**outputs, **auxiliary}
    losses = _losses(loss, outputs, auxiliary)
    weights = _weights(loss_weights, losses)
    chosen = _metrics(metrics, losses, outputs)
    is_single = len(outputs) == 1
    heads: list[Head] = []
    for name, each in losses.items():
        try:
            wanted = target_type(each, every[name])
        except GraphcnnError as error:
            if len(losses) > 1:
                error.facts += (f"it is the loss of the output {name!r}",)
            raise
        label = TARGET if is_single else f"{TARGET}.{name}"
        default = AUXILIARY_WEIGHT if name in auxiliary else 1.0
        heads.append(
            Head(
                name,
                every[name],
                each,
                weights.get(name, default),
                tuple(for_loss(metric, each) for metric in chosen.get(name, ())),
                label,
                wanted,
                "" if is_single else f"{name}_",
                makers[name],
            )
        )
    _require_one_target(heads)
    _require_one_reduction(heads)
    is_by_output = isinstance(metrics, Mapping) or (metrics is None and not is_single)
    given = chosen if is_by_output else next(iter(chosen.values()), ())
    made = Objective(loss, weights, given, tuple(heads))
    _require_names_of_their_own(made.results)
    return made


def _refuse_without_loss(loss_weights: object, metrics: object) -> None:
    if loss_weights:
        raise OptionError("loss_weights need a loss", mend="compile(..., loss=gcn.CrossEntropy())")
    if metrics is not None:
        resolve_metrics(tuple(metrics) if isinstance(metrics, list | tuple) else ())


def _losses(
    loss: Losses, outputs: Mapping[str, TensorType], auxiliary: Mapping[str, TensorType]
) -> dict[str, Loss]:
    """Return the loss of each output that has one, in the order of the outputs."""
    if isinstance(loss, list | tuple):
        by_name = ", ".join(
            f"{name!r}: gcn.{title(each)}(...)" for name, each in zip(outputs, loss, strict=False)
        )
        raise OptionError(
            f"loss is a {type(loss).__name__} of {len(loss)}, which does not say what each is for",
            facts=[f"outputs: {', '.join(outputs)}"],
            mend=f"a dictionary by output: loss={{{by_name}}}",
        )
    if not isinstance(loss, Mapping):
        check_loss(loss)
        return dict.fromkeys([*outputs, *auxiliary], loss)
    if not loss:
        raise OptionError(
            "loss={} names no output", mend=f"loss={{{next(iter(outputs))!r}: gcn.CrossEntropy()}}"
        )
    _require_known("loss", loss, [*outputs, *auxiliary])
    for name, each in loss.items():
        check_loss(each, f"loss[{name!r}]")
    main = {name: loss[name] for name in outputs if name in loss}
    first = next(iter(main.values()), None)
    others = {name: loss.get(name) or first for name in auxiliary}
    return main | {name: each for name, each in others.items() if each is not None}


def _weights(given: Mapping[str, float] | None, losses: Mapping[str, Loss]) -> dict[str, float]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise OptionError(f"loss_weights={given!r:.60} is no dictionary", mend="loss_weights={output: 0.5}")
    _require_known("loss_weights", given, list(losses))
    for name, weight in given.items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not 0 <= weight < math.inf:
            raise OptionError(
                f"loss_weights[{name!r}]={weight!r:.60} is not a finite number of at least 0",
                mend="for example 0.5",
            )
    return {name: float(weight) for name, weight in given.items()}


def _metrics(
    given: GivenMetrics | None, losses: Mapping[str, Loss], outputs: Mapping[str, TensorType]
) -> dict[str, tuple[Metric, ...]]:
    """Return the metrics of each output; auxiliary ones have none."""
    trained = [name for name in outputs if name in losses]
    fitting = {name: _fitting(losses[name], outputs[name]) for name in trained}
    of_all = [metric for metric in METRICS if all(metric in each for each in fitting.values())]
    if isinstance(given, str):
        metrics = [metric.name for metric in resolve_metrics([given], of_all)]
        raise OptionError(f"metrics={given!r} is not a sequence", mend=f"metrics={metrics}")
    if isinstance(given, Mapping):
        _require_known("metrics", given, trained)
        for name, each in given.items():
            if isinstance(each, str):
                raise OptionError(
                    f"metrics[{name!r}]={each!r} is not a sequence", mend=f"metrics={{{name!r}: [{each!r}]}}"
                )
        return {
            name: resolve_metrics(_as_sequence(given[name]), fitting[name])
            for name in trained
            if name in given
        }
    if given is not None:
        return dict.fromkeys(trained, resolve_metrics(_as_sequence(given), of_all))
    return {name: resolve_metrics(_usual(losses[name], outputs[name])) for name in trained}


def _as_sequence(metrics: object) -> tuple[str | Metric, ...]:
    if isinstance(metrics, Iterable):
        return tuple(metrics)
    raise OptionError(
        f"metrics is {type(metrics).__name__}, not a sequence", mend='metrics=["accuracy"], in a list'
    )


def _fitting(loss: Loss, output: TensorType) -> list[str]:
    """Return the names of the metrics that go with a loss and an output."""
    if isinstance(loss, CrossEntropy | Hinge) and not getattr(loss, "soft_targets", False):
        found = ["accuracy"]
    elif isinstance(loss, BinaryCrossEntropy | Focal | Dice):
        found = ["binary_accuracy"]
    elif isinstance(loss, SquaredError | AbsoluteError | Huber):
        return ["mae", "rmse", "r2", "mse"]
    else:
        return []
    return [*found, *(["iou", "mean_iou"] if output.rank > 2 else []), "f1", "precision", "recall"]


def _usual(loss: Loss, output: TensorType) -> tuple[str, ...]:
    """Return the metrics of an output for which none are asked for."""
    if output.rank != 2:
        return ()
    if isinstance(loss, CrossEntropy) and not loss.soft_targets:
        return ("accuracy",)
    return ("binary_accuracy",) if isinstance(loss, BinaryCrossEntropy | Focal) else ()


def _require_known(what: str, given: Iterable[str], outputs: Sequence[str]) -> None:
    for name in given:
        if name not in outputs:
            raise OptionError(
                f"{what} names {name!r:.60}, which is no output with a loss",
                facts=[f"there are: {', '.join(outputs)}"],
                mend=meant(str(name), outputs, "give one of these names"),
            )


def _require_one_target(heads: Sequence[Head]) -> None:
    """Raise OptionError where outputs that share their targets want different ones."""
    for head in heads:
        first = next(other for other in heads if other.target == head.target)
        if head.target_type != first.target_type:
            raise OptionError(
                f"the outputs {first.output!r} and {head.output!r} have the same targets, "
                f"but one takes {first.target_type}, the other {head.target_type}",
                mend="give them losses of one kind, or make both outputs of the network: "
                f"gcn.Network(x, {{{first.output!r}: y, {head.output!r}: z}})",
            )


def _require_one_reduction(heads: Sequence[Head]) -> None:
    found = {head.loss.reduction: head.output for head in heads}
    if len(found) > 1:
        raise OptionError(
            "losses that are means and losses that are sums cannot be added up",
            facts=[f"{output!r}: {reduction}" for reduction, output in found.items()],
            mend='give all losses reduction="mean"; loss_weights say what each weighs',
        )


def _require_names_of_their_own(results: Sequence[str]) -> None:
    twice = next((name for name in results if results.count(name) > 1), None)
    if twice is not None:
        raise OptionError(f"two results have the name {twice!r}", mend="give the outputs other names")
