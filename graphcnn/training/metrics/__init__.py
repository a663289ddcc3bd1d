"""Metrics: numbers about a batch that the step computes beside the loss."""

from graphcnn.training.metrics.metric import Metric, StatisticsMetric, append_metric, has_statistics
from graphcnn.training.metrics.resolving import METRICS, for_loss, named_metric, resolve_metrics

__all__ = [
    "METRICS",
    "Metric",
    "StatisticsMetric",
    "append_metric",
    "for_loss",
    "has_statistics",
    "named_metric",
    "resolve_metrics",
]
