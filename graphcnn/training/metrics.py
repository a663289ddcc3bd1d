"""Metrics: numbers about a batch that the step computes beside the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from graphcnn import ops
from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Value


class Metric(Protocol):
    """What `gcn.compile` takes as a metric: a name, and nodes for its mean over the batch."""

    name: ClassVar[str]

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        """Append the metric's mean over the samples of the batch, a scalar."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of samples whose greatest output is at the label's place."""

    name: ClassVar[str] = "accuracy"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        if target.type.dtype != "int64" or output.type.rank != 2:
            raise OptionError(
                "accuracy needs outputs [N, classes] and labels [N]",
                facts=[f"outputs {output.type}, targets {target.type}"],
                mend="use it with loss=gcn.CrossEntropy(), or leave metrics out",
            )
        right = emit(ops.Equal(), emit(ops.ArgMax(1), output), target)
        return emit(ops.Mean((0,)), emit(ops.Cast(output.type.dtype), right))


METRICS: dict[str, Metric] = {"accuracy": Accuracy()}
"""The metrics by name."""


def resolve_metrics(metrics: tuple[str | Metric, ...]) -> tuple[Metric, ...]:
    """Return metrics for names and metrics. Raises OptionError for an unknown name."""
    unknown = [m for m in metrics if not (m in METRICS if isinstance(m, str) else hasattr(m, "append"))]
    if unknown:
        raise OptionError(
            f"unknown metric {unknown[0]!r}",
            facts=[f"known: {', '.join(METRICS)}"],
            mend='metrics=["accuracy"]',
        )
    return tuple(METRICS[m] if isinstance(m, str) else m for m in metrics)
