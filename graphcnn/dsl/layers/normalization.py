"""Layers that behave differently in training, and normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import Constant
from graphcnn.dsl.layers.arguments import is_between, number, require_images
from graphcnn.dsl.layers.base import OneValue
from graphcnn.errors import ShapeError
from graphcnn.ir import TensorType, Value


@dataclass(eq=False)
class Dropout(OneValue):
    """In training, sets each element to 0 with probability `rate` and scales the rest by 1 / (1 - rate).

    State: `generator` [2], the seed and the number of draws so far.
    """

    rate: float

    kind: ClassVar[str] = "dropout"

    def check(self) -> None:
        allowed = self.rate == 0 or is_between(self.rate, 0, 1)
        number("rate", self.rate, allowed, "of at least 0 and below 1")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        if not build.training or self.rate == 0:
            return x
        state = build.state("generator", ops.GENERATOR_STATE, random_seed)
        uniform, following = build.all(ops.RandomUniform(), state, x)
        build.update(state, following)
        rate, scale = (ops.constant(build, c, x.type) for c in (self.rate, 1 / (1 - self.rate)))
        dropped = build(ops.Greater(), rate, uniform)
        factor = build(ops.Select(), dropped, ops.constant(build, 0.0, x.type), scale)
        return build(ops.Multiply(), x, factor)


def random_seed(generator: np.random.Generator, type: TensorType) -> Array:
    """Return a first generator state: a seed of 63 random bits, and 0 draws."""
    return np.array([generator.integers(2**63), 0], np.int64)


@dataclass(eq=False)
class BatchNorm2d(OneValue):
    """Batch normalisation of each channel of [N, H, W, C] (Ioffe and Szegedy, ICML 2015).

    In training it uses the batch's mean and (biased) variance and keeps running averages:
    running ← (1 - momentum) · running + momentum · batch. Elsewhere it uses the running averages.
    Parameters: `scale` [C], `shift` [C]. State: `mean` [C], `variance` [C].
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    kind: ClassVar[str] = "batchnorm"

    def check(self) -> None:
        allowed = self.momentum == 1 or is_between(self.momentum, 0, 1)
        number("momentum", self.momentum, allowed, "above 0 and at most 1")
        number("epsilon", self.epsilon, is_between(self.epsilon, 0, math.inf), "above 0")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        require_images("BatchNorm2d", x)
        channels = x.type.with_shape(x.type.shape[3:])
        scale = build.parameter("scale", channels, Constant(1.0))
        shift = build.parameter("shift", channels, Constant(0.0))
        running = build.state("mean", channels), build.state("variance", channels, Constant(1.0))
        mean = build(ops.Mean((0, 1, 2)), x) if build.training else running[0]
        centred = build(ops.Subtract(), x, build(ops.Broadcast(x.type.shape), mean))
        if build.training:
            inverse, variance = build.all(ops.InverseDeviation((0, 1, 2), epsilon=self.epsilon), centred)
            for state, batch in zip(running, (mean, variance), strict=True):
                build.update(state, _moving_average(build, state, batch, self.momentum))
            factor = build(ops.Multiply(), scale, inverse)
        else:
            safe = build(ops.Add(), running[1], ops.constant(build, self.epsilon, scale.type))
            factor = build(ops.Divide(), scale, build(ops.Sqrt(), safe))
        scaled = build(ops.Multiply(), centred, build(ops.Broadcast(x.type.shape), factor))
        return build(ops.Add(), scaled, build(ops.Broadcast(x.type.shape), shift))


def _moving_average(build: Builder, old: Value, new: Value, momentum: float) -> Value:
    kept = build(ops.Multiply(), old, ops.constant(build, 1.0 - momentum, old.type))
    return build(ops.Add(), kept, build(ops.Multiply(), new, ops.constant(build, momentum, old.type)))


@dataclass(eq=False)
class LayerNorm(OneValue):
    """Normalisation of each sample over its last axis (Ba, Kiros and Hinton, arXiv 1607.06450).

    Parameters: `scale` and `shift`, of the size of the last axis.
    """

    epsilon: float = 1e-5

    kind: ClassVar[str] = "layernorm"

    def check(self) -> None:
        number("epsilon", self.epsilon, is_between(self.epsilon, 0, math.inf), "above 0")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        last = x.type.rank - 1
        if last < 1:
            raise ShapeError(
                f"LayerNorm takes a batch with at least one more axis, but its input is {x.type}",
                mend="put it behind a layer such as Conv2d or Dense",
            )
        size = x.type.with_shape(x.type.shape[last:])
        scale = build.parameter("scale", size, Constant(1.0))
        shift = build.parameter("shift", size, Constant(0.0))
        mean = build(ops.Mean((last,), keep=True), x)
        centred = build(ops.Subtract(), x, build(ops.Broadcast(x.type.shape), mean))
        inverse = build(ops.InverseDeviation((last,), keep=True, epsilon=self.epsilon), centred)
        normal = build(ops.Multiply(), centred, build(ops.Broadcast(x.type.shape), inverse))
        scaled = build(ops.Multiply(), normal, build(ops.Broadcast(x.type.shape), scale))
        return build(ops.Add(), scaled, build(ops.Broadcast(x.type.shape), shift))
