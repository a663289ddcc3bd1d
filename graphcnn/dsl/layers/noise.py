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
    """In training, sets what it draws to 0 with probability `rate` and scales the rest by 1 / (1 - rate)."""

    rate: float

    kind: ClassVar[str] = "dropout"

    def check(self) -> None:
        allowed = self.rate == 0 or is_between(self.rate, 0, 1)
        number("rate", self.rate, allowed, "of at least 0 and below 1")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        shape = self.drawn(x)
        if not build.training or self.rate == 0:
            return x
        rate, scale, zero = (ops.constant(build, c, x.type) for c in (self.rate, 1 / (1 - self.rate), 0.0))
        like = x if shape == x.type.shape else build(ops.Broadcast(shape), zero)
        dropped = build(ops.Greater(), rate, _drawn(build, ops.RandomUniform(), like))
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

    State: `generator` [2], the seed and the number of draws so far.
    """

    def drawn(self, x: Value) -> tuple[Dim, ...]:
        return x.type.shape


@dataclass(eq=False)
class Dropout2d(_Dropping):
    """In training, sets whole feature maps of [N, H, W, C] to 0 with probability `rate`, as `Dropout` does.

    Neighbours in a map are alike, so that dropping single elements hides little (Tompson et al., arXiv
    1411.4280). State: `generator` [2], the seed and the number of draws so far.
    """

    def drawn(self, x: Value) -> tuple[Dim, ...]:
        require_images("Dropout2d", x)
        return x.type.shape[0], 1, 1, x.type.shape[3]


@dataclass(eq=False)
class StochasticDepth(_Dropping):
    """In training, sets whole samples to 0 with probability `rate` and scales the rest by 1 / (1 - rate).

    It stands at the end of a residual branch, which is then left out: `x + StochasticDepth(0.1)(branch(x))`
    (Huang et al., arXiv 1603.09382). State: `generator` [2], the seed and the number of draws so far.
    """

    kind: ClassVar[str] = "stochastic_depth"

    def drawn(self, x: Value) -> tuple[Dim, ...]:
        if not x.type.has_batch:
            raise ShapeError(
                f"StochasticDepth drops samples, but {x.type} has none",
                mend="apply it to a value with a batch axis in front",
            )
        return x.type.shape[0], *[1] * (x.type.rank - 1)


@dataclass(eq=False)
class GaussianNoise(OneValue):
    """In training, adds normal numbers of mean 0 and this standard deviation to each element.

    Those of a sample follow from its key, as augmentation does: batch size and order change nothing. What has
    no batch axis in front has the state `generator` [2], the seed and the number of draws so far.
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
        if x.type.shape[:1] == (BATCH,):
            draw = ops.SampleNormal(x.type.shape, build.stream("noise"), x.type.dtype)
            numbers = build(draw, build.sample_keys())
        else:
            numbers = _drawn(build, ops.RandomNormal(), x)
        noise = build(ops.Multiply(), numbers, ops.constant(build, self.deviation, x.type))
        return build(ops.Add(), x, noise)


def _drawn(build: Builder, op: ops.RandomNumbers, like: Value) -> Value:
    """Append random numbers for the shape of `like`, new ones in each step."""
    state = build.state("generator", ops.GENERATOR_STATE, random_seed)
    numbers, following = build.all(op, state, like)
    build.update(state, following)
    return numbers


def random_seed(generator: np.random.Generator, type: TensorType) -> Array:
    """Return a first generator state: a seed of 63 random bits, and 0 draws."""
    return np.array([generator.integers(2**63), 0], np.int64)
