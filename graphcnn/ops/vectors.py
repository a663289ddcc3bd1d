"""Known numbers as a tensor: a constant for each run of equal ones, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from graphcnn.ir import Emitter, TensorType, Value
from graphcnn.ops.pointwise import constant
from graphcnn.ops.reduction import Broadcast
from graphcnn.ops.shape import Concatenate


def along_last_axis(emit: Emitter, numbers: Sequence[float], like: TensorType) -> Value:
    """Append a tensor that holds these numbers along its last axis, and the same ones everywhere else."""
    runs = [(number, len(list(equal))) for number, equal in groupby(numbers)]
    parts = [emit(Broadcast((count,)), constant(emit, number, like)) for number, count in runs]
    vector = parts[0] if len(parts) == 1 else emit(Concatenate(0), *parts)
    return emit(Broadcast(like.shape), vector)
