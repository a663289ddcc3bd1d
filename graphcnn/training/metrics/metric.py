"""What a metric is, and how it is appended to a graph."""

from __future__ import annotations

from typing import Protocol, TypeGuard

from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.ir import BATCH, Emitter, Value
from graphcnn.training.parts import blaming, definition, title


class Metric(Protocol):
    """What `gcn.compile` takes as a metric: a name, and nodes for its mean over the batch.

    An object of your own with these attributes is one too. It is saved with a model as a loss is.

    A metric whose number over several batches is not the mean of theirs has two methods more:
    `result(statistics)` returns the number, as a float, and `merge(one, other)` the statistics of two batches
    together. `append` returns the statistics of a batch then, an array without a batch axis; without `merge`
    they are added up.
    """

    @property
    def name(self) -> str:
        """What results and the history call it."""

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        """Append the metric's mean over the samples of the batch, a scalar."""


class StatisticsMetric(Metric, Protocol):
    """A metric that is a number of statistics, which are gathered over batches."""

    def result(self, statistics: Array) -> float:
        """Return the number. statistics: float64, as `append` has shaped them."""


def has_statistics(metric: Metric) -> TypeGuard[StatisticsMetric]:
    """Return whether what a metric appends are statistics, and not its mean."""
    return callable(getattr(metric, "result", None))


def append_metric(emit: Emitter, metric: Metric, output: Value, target: Value) -> Value:
    """Append a metric. Raises OptionError for one of the user's own that is not what it has to be."""
    with blaming(metric, "append"):
        value = metric.append(emit, output, target)
        if isinstance(value, Value):
            value = emit.graph.require(value, f"the metric {title(metric)}")
    shown = str(value.type) if isinstance(value, Value) else f"{value!r:.60}"
    if has_statistics(metric):
        if isinstance(value, Value) and value.type.is_float and BATCH not in value.type.shape:
            return value
        raise OptionError(
            f"{title(metric)}.append returned {shown}, not statistics of a batch: {output.type.dtype}[...]",
            facts=definition(metric, "append"),
            mend="return emit(gcn.ops.Sum((0,)), each), without the axis of the batch",
        )
    if not isinstance(value, Value) or not value.type.is_scalar or not value.type.is_float:
        raise OptionError(
            f"{title(metric)}.append returned {shown}, not a number: {output.type.dtype}[]",
            facts=definition(metric, "append"),
            mend="return emit(gcn.ops.Mean((0,)), each) for one number for each sample",
        )
    return value
