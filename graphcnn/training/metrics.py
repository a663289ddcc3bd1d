"""Metrics: numbers about a batch that the step computes beside the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from graphcnn import ops
from graphcnn.errors import OptionError, meant
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
    """The share of samples, or of their pixels, whose greatest output is at the label's place.

    ignore: a label that does not count; that of the loss, where it has one. Over several batches the shares
    are averaged by the number of samples.
    """

    ignore: int | None = None

    name: ClassVar[str] = "accuracy"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        if target.type.is_float or target.type.shape != output.type.shape[:-1] or output.type.rank < 2:
            raise OptionError(
                "accuracy needs outputs [N, classes] and labels [N], or those of pixels",
                facts=[f"outputs {output.type}, targets {target.type}"],
                mend="leave metrics out, and those that go with the loss are taken; "
                'metrics=["binary_accuracy"] where each output is a question of its own'
                if target.type == output.type
                else "use it with loss=gcn.CrossEntropy(), or leave metrics out",
            )
        right = emit(ops.Equal(), emit(ops.ArgMax(output.type.rank - 1), output), target)
        every = tuple(range(target.type.rank))
        if self.ignore is None:
            return emit(ops.Mean(every), emit(ops.Cast(output.type.dtype), right))
        ignored = emit(ops.Equal(), target, emit(ops.Constant(self.ignore, target.type.with_shape(()))))
        zero, one = (ops.constant(emit, number, output.type) for number in (0.0, 1.0))
        counted = emit(ops.Sum(every), emit(ops.Select(), ignored, zero, one))
        hits = emit(ops.Select(), ignored, zero, emit(ops.Cast(output.type.dtype), right))
        return emit(ops.Divide(), emit(ops.Sum(every), hits), emit(ops.Maximum(), counted, one))


@dataclass(frozen=True, slots=True)
class BinaryAccuracy:
    """The share of answers, yes or no, that are right: outputs above 0 say yes, and targets above 1/2.

    Outputs, which `BinaryCrossEntropy` or `Focal` are given, and targets have the same shape.
    """

    name: ClassVar[str] = "binary_accuracy"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        _require_shares(self.name, output, target)
        right = emit(ops.Equal(), _is_above(emit, output, 0.0), _is_above(emit, target, 0.5))
        return emit(ops.Mean(tuple(range(output.type.rank))), emit(ops.Cast(output.type.dtype), right))


@dataclass(frozen=True, slots=True)
class IntersectionOverUnion:
    """What predicted and true masks have in common, by what they cover together: Σ p·t / Σ max(p, t).

    It is 1 where neither covers anything, and the mean over the classes of each sample, and over samples.
    (The Jaccard index; "mean IoU" of segmentation.)
    Outputs are [N, ..., classes]. Targets are labels [N, ...], and the greatest output is the predicted one;
    those that are no class, as 255 often is, do not count, predicted or not. Or they are of the outputs'
    shape, from 0 to 1: classes are questions of their own then, to which outputs above 0 say yes.
    """

    name: ClassVar[str] = "iou"

    def append(self, emit: Emitter, output: Value, target: Value) -> Value:
        rank, dtype = output.type.rank, output.type.dtype
        if rank < 3:
            raise OptionError(
                "iou needs outputs [N, H, W, classes]",
                facts=[f"outputs {output.type}"],
                mend="leave metrics out, and those that go with the loss are taken",
            )
        if target.type.shape == output.type.shape[:-1] and not target.type.is_float:
            classes = output.type.static(rank - 1)
            true = emit(ops.OneHot(classes, dtype), target)
            counts = emit(ops.Sum((rank - 1,), keep=True), true)
            chosen = emit(ops.OneHot(classes, dtype), emit(ops.ArgMax(rank - 1), output))
            predicted = emit(ops.Multiply(), chosen, emit(ops.Broadcast(output.type.shape), counts))
        else:
            _require_shares(self.name, output, target)
            predicted, true = (
                emit(ops.Cast(dtype), _is_above(emit, value, least))
                for value, least in ((output, 0.0), (target, 0.5))
            )
        within = ops.Sum(tuple(range(1, rank - 1)))
        both = emit(within, emit(ops.Multiply(), predicted, true))  # [N, classes]
        either = emit(within, emit(ops.Maximum(), predicted, true))
        zero, one = (ops.constant(emit, number, either.type) for number in (0.0, 1.0))
        is_empty = emit(ops.Equal(), either, zero)
        share = emit(ops.Divide(), both, emit(ops.Select(), is_empty, one, either))
        return emit(ops.Mean((0, 1)), emit(ops.Select(), is_empty, one, share))


def _is_above(emit: Emitter, value: Value, least: float) -> Value:
    return emit(ops.Greater(), value, ops.constant(emit, least, value.type))


def _require_shares(name: str, output: Value, target: Value) -> None:
    if target.type != output.type:
        raise OptionError(
            f"{name} needs outputs and targets of one shape",
            facts=[f"outputs {output.type}, targets {target.type}"],
            mend="use it with loss=gcn.BinaryCrossEntropy(), or leave metrics out",
        )


def for_loss(metric: Metric, loss: object) -> Metric:
    """Return the metric as it goes with a loss: accuracy does not count what the loss ignores."""
    ignore = getattr(loss, "ignore", None)
    return Accuracy(ignore) if metric == Accuracy() and ignore is not None else metric


RESERVED: Final = ("loss", "epoch", "learning_rate", *TIMES)
"""What results and the history call something else."""

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (Accuracy(), BinaryAccuracy(), IntersectionOverUnion())
}
"""The metrics by name."""


def resolve_metrics(
    metrics: Sequence[str | Metric], fitting: Sequence[str] = ("accuracy",)
) -> tuple[Metric, ...]:
    """Return metrics for names and metrics.

    fitting: the names of those that go with the loss, for advice.
    Raises OptionError for an unknown name, for what is no metric, and for two of one name.
    """
    resolved: list[Metric] = []
    for given in metrics:
        metric = _known(given, fitting) if isinstance(given, str) else given
        _check(metric)
        if metric.name in RESERVED or metric.name in [other.name for other in resolved]:
            raise OptionError(
                f"the name {metric.name!r} of the metric {title(metric)} is taken",
                facts=definition(metric, "append"),
                mend="give each metric a name of its own",
            )
        resolved.append(metric)
    return tuple(resolved)


def _known(name: str, fitting: Sequence[str]) -> Metric:
    if name in METRICS:
        return METRICS[name]
    quoted = ", ".join(f'"{each}"' for each in fitting)
    mend = f"metrics=[{quoted}]" if fitting else "leave metrics out: the loss is recorded"
    raise OptionError(
        f"unknown metric {name!r}",
        facts=[f"known: {', '.join(METRICS)}"],
        mend=meant(name, fitting) or mend,
    )


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
