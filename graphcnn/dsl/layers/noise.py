"""Layers that are random in training, and do nothing elsewhere: dropout and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.arguments import is_between, number, require_images
from graphcnn.dsl.layers.base import OneValue
from graphcnn.errors import ShapeError
from graphcnn.ir import BATCH, Dim, TensorType, Value


@dataclass(eq=False)
class _Dropping(OneValue):
    """In training, sets what it draws to 0 with probability `rate` and scales the rest by 1 / (1 - rate).

    What becomes of a sample follows from its key, the layer's name and which use of the layer it is.
    """

    rate: float

    kind: ClassVar[str] = "dropout"

    def check(self) -> None:
        allowed = self.rate == 0 or is_between(self.rate, 0, 1)
        number("rate", self.rate, allowed, "of at least 0 and below 1")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        drawn = x.type.with_shape(self.drawn(x))
        if not build.training or self.rate == 0:
            return x
        rate, scale, zero = (ops.constant(build, c, x.type) for c in (self.rate, 1 / (1 - self.rate), 0.0))
        numbers = _numbers(build, "dropped", drawn, ops.SampleUniform, ops.RandomUniform())
        dropped = build(ops.Greater(), rate, numbers)
        factor = build(ops.Select(), dropped, zero, scale)
        if factor.type != x.type:
            factor = build(ops.Broadcast(x.type.shape), factor)
        return build(ops.Multiply(), x, factor)

    def drawn(self, x: Value) -> tuple[Dim, ...]:
        """Return the shape of the numbers to draw, which are broadcast to that of x."""
        raise NotImplementedError


@dataclass(eq=False)
class Dropout(_Dropping):
    """In training, sets each element to 0 with probability `rate` and scales the rest by 1 / (1 - rate).

    What is dropped of a sample follows from the seed, the epoch and its index: batch size and order change
    nothing. What has no batch axis has the state `generator` [2], the seed and the number of draws so far.
    """

    def drawn(self, x: Value) -> tuple[Dim, ...]:
        return x.type.shape


@dataclass(eq=False)
class Dropout2d(_Dropping):
    """In training, sets whole feature maps of [N, H, W, C] to 0 with probability `rate`, as `Dropout` does.

    Neighbours in a map are alike, so that dropping single elements hides little (Tompson et al., arXiv
    1411.4280).
    """

    def drawn(self, x: Value) -> tuple[Dim, ...]:
        require_images("Dropout2d", x)
        return x.type.shape[0], 1, 1, x.type.shape[3]


@dataclass(eq=False)
class StochasticDepth(_Dropping):
    """In training, sets whole samples to 0 with probability `rate` and scales the rest by 1 / (1 - rate).

    It stands at the end of a residual branch, which is then left out: `x + StochasticDepth(0.1)(branch(x))`
    (Huang et al., arXiv 1603.09382).
    """

    kind: ClassVar[str] = "stochastic_depth"

    def drawn(self, x: Value) -> tuple[Dim, ...]:
        if not x.type.has_batch:
            raise ShapeError(
                f"StochasticDepth drops samples, but {x.type} has none",
                mend="apply it to a value with a batch axis",
            )
        return tuple(size if size == BATCH else 1 for size in x.type.shape)


@dataclass(eq=False)
class GaussianNoise(OneValue):
    """In training, adds normal numbers of mean 0 and this standard deviation to each element.

    Those of a sample follow from the seed, the epoch and its index: batch size and order change nothing. What
    has no batch axis has the state `generator` [2], the seed and the number of draws so far.
    """

    deviation: float

    kind: ClassVar[str] = "noise"

    def check(self) -> None:
        allowed = self.deviation == 0 or is_between(self.deviation, 0, math.inf)
        number("deviation", self.deviation, allowed, "of at least 0")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        if not build.training or self.deviation == 0:
            return x
        numbers = _numbers(build, "noise", x.type, ops.SampleNormal, ops.RandomNormal())
        noise = build(ops.Multiply(), numbers, ops.constant(build, self.deviation, x.type))
        return build(ops.Add(), x, noise)


def _numbers(
    build: Builder,
    label: str,
    type: TensorType,
    of_samples: type[ops.SampleUniform | ops.SampleNormal],
    of_steps: ops.RandomNumbers,
) -> Value:
    """Append random numbers: those of samples by their keys, and where there are none, new ones in each step.

    label: what they are for. A layer that is applied to several values draws for each of them.
    """
    if not type.has_batch:
        state = build.state("generator", ops.GENERATOR_STATE, random_seed)
        like = build(ops.Broadcast(type.shape), ops.constant(build, 0.0, type))
        numbers, following = build.all(of_steps, state, like)
        build.update(state, following)
        return numbers
    batch = type.shape.index(BATCH)
    axes = (batch, *(axis for axis in range(type.rank) if axis != batch))
    shape = tuple(type.shape[axis] for axis in axes)
    numbers = build(of_samples(shape, build.stream(label, of_use=True), type.dtype), build.sample_keys())
    if batch == 0:
        return numbers
    return build(ops.Transpose(tuple(axes.index(axis) for axis in range(type.rank))), numbers)


def random_seed(generator: np.random.Generator, type: TensorType) -> Array:
    """Return a first generator state: a seed of 63 random bits, and 0 draws."""
    return np.array([generator.integers(2**63), 0], np.int64)
