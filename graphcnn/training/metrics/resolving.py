"""Metrics by name: which there are, and what a user's list of them stands for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Final

from graphcnn.calls import misfit
from graphcnn.errors import OptionError, meant
from graphcnn.training.history import TIMES
from graphcnn.training.metrics.classes import F1, MeanIntersectionOverUnion, Precision, Recall
from graphcnn.training.metrics.distances import (
    DeterminationCoefficient,
    MeanAbsoluteError,
    MeanSquaredError,
    RootMeanSquaredError,
)
from graphcnn.training.metrics.metric import Metric
from graphcnn.training.metrics.shares import Accuracy, BinaryAccuracy, IntersectionOverUnion, TopAccuracy
from graphcnn.training.parts import check_part, definition, title


def for_loss(metric: Metric, loss: object) -> Metric:
    """Return the metric as it goes with a loss: it does not count what the loss ignores."""
    ignore = getattr(loss, "ignore", None)
    if ignore is None or named_metric(metric.name) != metric or not hasattr(metric, "ignore"):
        return metric
    of_ours: Any = metric
    ignoring: Metric = dataclasses.replace(of_ours, ignore=ignore)
    return ignoring


RESERVED: Final = ("loss", "epoch", "learning_rate", *TIMES)
"""What results and the history call something else."""

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(Accuracy(), BinaryAccuracy(), IntersectionOverUnion(), MeanIntersectionOverUnion()),
        *(Precision(), Recall(), F1()),
        *(MeanAbsoluteError(), MeanSquaredError(), RootMeanSquaredError(), DeterminationCoefficient()),
    )
}
"""The metrics by name, but for those of the `k` greatest outputs: "top5_accuracy"."""

_TOP = re.compile(r"top([1-9][0-9]{0,8})_accuracy")


def named_metric(name: str) -> Metric | None:
    """Return the metric of a name; None where there is none."""
    top = _TOP.fullmatch(name)
    return TopAccuracy(int(top[1])) if top else METRICS.get(name)


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
    known = named_metric(name)
    if known is not None:
        return known
    nearest = [each for each in fitting if each.startswith(name)] or fitting
    mend = f'metrics=["{nearest[0]}"]' if fitting else "leave metrics out: the loss is recorded"
    raise OptionError(
        f"unknown metric {name!r}",
        facts=[f"known: {', '.join(METRICS)}, top5_accuracy"],
        mend=meant(name, fitting) or mend,
    )


def _check(metric: object) -> None:
    append = "def append(self, emit, output, target): return emit(op, ...), a scalar"
    check_part("metric", metric, {"append": append}, '"accuracy"')
    for method, taken in (("result", ("statistics",)), ("merge", ("one", "other"))):
        wrong = misfit(getattr(metric, method), *taken) if callable(getattr(metric, method, None)) else ""
        if wrong:
            raise OptionError(
                f"{title(metric)}.{method} {wrong}",
                facts=definition(metric, method),
                mend=f"def {method}(self, {', '.join(taken)}): ...",
            )
    if hasattr(metric, "merge") and not callable(getattr(metric, "result", None)):
        raise OptionError(
            f"{title(metric)} has merge, but no result",
            facts=definition(metric, "merge"),
            mend="def result(self, statistics): return float(...)",
        )
    name = getattr(metric, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise OptionError(
            f"{title(metric)}.name={name!r:.60} is not a word",
            facts=definition(metric, "append"),
            mend='name = "error_rate", in the class',
        )
