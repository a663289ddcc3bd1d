"""Nodes that several losses are made of."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.ir import Emitter, Value


def scaled(emit: Emitter, factor: float, value: Value) -> Value:
    """Append factor · value."""
    return emit(ops.Multiply(), ops.constant(emit, factor, value.type), value)


def averaged(emit: Emitter, each: Value, reduction: str) -> Value:
    """Append what a sample's own elements add up to, [N]: their mean, or for a sum their sum."""
    axes = tuple(range(1, each.type.rank))
    if not axes:
        return each
    return emit(ops.Mean(axes) if reduction == "mean" else ops.Sum(axes), each)
