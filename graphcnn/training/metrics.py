"""Metrics: numbers about a batch that the step computes beside the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from graphcnn import ops
from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Value
from graphcnn.training.history import TIMES
from graphcnn.training.parts import blaming, check_part, definition, title


class Metric(Protocol):
    """What `gcn.compile` takes as a metric: a name, and nodes for its mean over the batch.

    An object of your own with these attributes is one too. It is saved with a model as a loss is.
    """

    @property
    def name(self) -> str:
        """What results and the history call it."""

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        """Append the metric's mean over the samples of the batch, a scalar."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of samples, or of their pixels, whose greatest output is at the label's place."""

    name: ClassVar[str] = "accuracy"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        if target.type.is_float or target.type.shape != output.type.shape[:-1] or output.type.rank < 2:
            raise OptionError(
                "accuracy needs outputs [N, classes] and labels [N], or those of pixels",
                facts=[f"outputs {output.type}, targets {target.type}"],
                mend="use it with loss=gcn.CrossEntropy(), or leave metrics out",
            )
        right = emit(ops.Equal(), emit(ops.ArgMax(output.type.rank - 1), output), target)
        return emit(ops.Mean(tuple(range(target.type.rank))), emit(ops.Cast(output.type.dtype), right))


RESERVED: Final = ("loss", "epoch", "learning_rate", *TIMES)
"""What results and the history call something else."""

METRICS: dict[str, Metric] = {"accuracy": Accuracy()}
"""The metrics by name."""


def resolve_metrics(metrics: Sequence[str | Metric]) -> tuple[Metric, ...]:
    """Return metrics for names and metrics.

    Raises OptionError for an unknown name, for what is no metric, and for two of one name.
    """
    resolved: list[Metric] = []
    for given in metrics:
        metric = _known(given) if isinstance(given, str) else given
        _check(metric)
        if metric.name in RESERVED or metric.name in [other.name for other in resolved]:
            raise OptionError(
                f"the name {metric.name!r} of the metric {title(metric)} is taken",
                facts=definition(metric, "append"),
                mend="give each metric a name of its own",
            )
        resolved.append(metric)
    return tuple(resolved)


def _known(name: str) -> Metric:
    if name not in METRICS:
        raise OptionError(
            f"unknown metric {name!r}", facts=[f"known: {', '.join(METRICS)}"], mend='metrics=["accuracy"]'
        )
    return METRICS[name]


def _check(metric: object) -> None:
    append = "def append(self, emit, output, target): return emit(op, ...), a scalar"
    check_part("metric", metric, {"append": append}, '"accuracy"')
    name = getattr(metric, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise OptionError(
            f"{title(metric)}.name={name!r:.60} is not a word",
            facts=definition(metric, "append"),
            mend='name = "error_rate", in the class',
        )


def append_metric(emit: Emitter, metric: Metric, output: Value, target: Value) -> Value:
    """Append a metric. Raises OptionError for one of the user's own that is not a single number."""
    with blaming(metric, "append"):
        mean = metric.append(emit, output, target)
        if isinstance(mean, Value):
            mean = emit.graph.require(mean, f"the metric {title(metric)}")
    if not isinstance(mean, Value) or not mean.type.is_scalar or not mean.type.is_float:
        shown = str(mean.type) if isinstance(mean, Value) else f"{mean!r:.60}"
        raise OptionError(
            f"{title(metric)}.append returned {shown}, not a number: {output.type.dtype}[]",
            facts=definition(metric, "append"),
            mend="return emit(gcn.ops.Mean((0,)), each) for one number for each sample",
        )
    return mean
