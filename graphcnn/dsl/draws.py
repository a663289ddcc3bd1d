"""What each sample draws for itself, as nodes of a layer: numbers, truth values and whole numbers, [N]."""

from __future__ import annotations

from typing import Final

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.ir import BATCH, Dim, DType, TensorType, Value

OF_SAMPLES: Final[tuple[Dim, ...]] = (BATCH,)


def uniform(build: Builder, label: str, *, alternating: bool = False) -> Value:
    """Append a number of each sample in [0, 1), float32 [N]; label: what it is drawn for."""
    draw = ops.SampleUniform(OF_SAMPLES, build.stream(label), "float32", alternating=alternating)
    return build(draw, build.sample_keys())


def happens(build: Builder, label: str, rate: float, *, alternating: bool = False) -> Value:
    """Append whether something happens to each sample, with a probability, bool [N]."""
    return build(ops.Greater(), constant(build, rate), uniform(build, label, alternating=alternating))


def whole(build: Builder, label: str, low: int, high: int) -> Value:
    """Append a whole number of each sample from `low` to `high`, int32 [N]."""
    return build(ops.SampleIntegers(OF_SAMPLES, build.stream(label), low, high), build.sample_keys())


def uniform_between(build: Builder, label: str, low: float, high: float) -> Value:
    """Append a number of each sample between two, float32 [N]."""
    spread = build(ops.Multiply(), uniform(build, label), constant(build, high - low))
    return build(ops.Add(), spread, constant(build, low))


def per_image(build: Builder, numbers: Value, like: TensorType) -> Value:
    """Append a number of each sample [N] at every place of the images that it is a number of."""
    if numbers.type.dtype != like.dtype:
        numbers = build(ops.Cast(like.dtype), numbers)
    column = build(ops.Reshape((BATCH, *[1] * (like.rank - 1))), numbers)
    return build(ops.Broadcast(like.shape), column)


def constant(build: Builder, value: float, dtype: DType = "float32") -> Value:
    """Append a number; by default of the precision of what is drawn, whatever that of the network."""
    return ops.constant(build, value, TensorType((), dtype))
