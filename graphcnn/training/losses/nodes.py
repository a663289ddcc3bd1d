"""Nodes that several losses are made of."""

from __future__ import annotations

from itertools import groupby

from graphcnn import ops
from graphcnn.ir import Emitter, TensorType, Value


def scaled(emit: Emitter, factor: float, value: Value) -> Value:
    """Append factor · value."""
    return emit(ops.Multiply(), ops.constant(emit, factor, value.type), value)


def along_last_axis(emit: Emitter, numbers: tuple[float, ...], like: TensorType) -> Value:
    """Append a tensor that holds these numbers along its last axis, and the same ones everywhere else."""
    runs = [(number, len(list(equal))) for number, equal in groupby(numbers)]
    parts = [emit(ops.Broadcast((count,)), ops.constant(emit, number, like)) for number, count in runs]
    vector = parts[0] if len(parts) == 1 else emit(ops.Concatenate(0), *parts)
    return emit(ops.Broadcast(like.shape), vector)


def averaged(emit: Emitter, each: Value, reduction: str) -> Value:
    """Append what a sample's own elements add up to, [N]: their mean, or for a sum their sum."""
    axes = tuple(range(1, each.type.rank))
    if not axes:
        return each
    return emit(ops.Mean(axes) if reduction == "mean" else ops.Sum(axes), each)
