"""Normalisation: of channels over a batch, and of each sample on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphcnn import ops
from graphcnn.arguments import call
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import Constant
from graphcnn.dsl.layers.arguments import count, is_between, number, require_images, truth
from graphcnn.dsl.layers.base import OneValue
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import Value
from graphcnn.ops.attributes import is_int
from graphcnn.warned import advise

_MOMENTUM: Final = (
    "running ← (1 - momentum) · running + momentum · batch, as in PyTorch; Keras has it reversed"
)
_KERAS: Final = 0.9
"""What Keras calls momentum is at least so large, most often, and 1 minus it is what is meant here."""


@dataclass(eq=False)
class _BatchNorm(OneValue):
    """Batch normalisation of each channel, the last axis (Ioffe and Szegedy, ICML 2015)."""

    momentum: float = 0.1
    epsilon: float = 1e-5

    kind: ClassVar[str] = "batchnorm"

    def check(self) -> None:
        name = f"gcn.{type(self).__name__}"
        if is_int(self.momentum, 1):
            others = {} if self.epsilon == _BatchNorm.epsilon else {"epsilon": self.epsilon}
            raise OptionError(
                f"momentum={self.momentum} is not a number above 0 and at most 1"
                if self.momentum > 1
                else "momentum=1 keeps nothing of the running averages",
                facts=[_MOMENTUM],
                mend=f"{call(name, (), others)}, since the number of channels is not given: it is the input's"
                + ("; or momentum=1.0, where it is meant" if self.momentum == 1 else ""),
            )
        allowed = self.momentum == 1 or is_between(self.momentum, 0, 1)
        number("momentum", self.momentum, allowed, "above 0 and at most 1")
        _check_epsilon(self.epsilon)
        if _KERAS <= self.momentum < 1:
            share = round(1 - self.momentum, 6)
            advise(
                f"momentum={self.momentum} keeps a share of {share:g} of the running averages at each step: "
                f"{_MOMENTUM}",
                mend=f"momentum={share:g}",
                layer=self.title,
                place=self.origin,
            )

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        self.require(x)
        *others, channel = range(x.type.rank)
        axes = tuple(others)
        channels = x.type.with_shape(x.type.shape[channel:])
        scale = build.parameter("scale", channels, Constant(1.0))
        shift = build.parameter("shift", channels, Constant(0.0))
        running = build.state("mean", channels), build.state("variance", channels, Constant(1.0))
        mean = build(ops.Mean(axes), x) if build.training else running[0]
        centred = build(ops.Subtract(), x, build(ops.Broadcast(x.type.shape), mean))
        if build.training:
            inverse, variance = build.all(ops.InverseDeviation(axes, epsilon=self.epsilon), centred)
            for state, batch in zip(running, (mean, variance), strict=True):
                build.update(state, _moving_average(build, state, batch, self.momentum))
            factor = build(ops.Multiply(), scale, inverse)
        else:
            safe = build(ops.Add(), running[1], ops.constant(build, self.epsilon, scale.type))
            factor = build(ops.Divide(), scale, build(ops.Sqrt(), safe))
        scaled = build(ops.Multiply(), centred, build(ops.Broadcast(x.type.shape), factor))
        return build(ops.Add(), scaled, build(ops.Broadcast(x.type.shape), shift))

    def require(self, x: Value) -> None:
        """Raise ShapeError unless the layer takes values of this type."""
        raise NotImplementedError


@dataclass(eq=False)
class BatchNorm2d(_BatchNorm):
    """Batch normalisation of each channel of [N, H, W, C] (Ioffe and Szegedy, ICML 2015).

    In training it uses the batch's mean and (biased) variance and keeps running averages:
    running ← (1 - momentum) · running + momentum · batch. Elsewhere it uses the running averages.
    Parameters: `scale` [C], `shift` [C]. State: `mean` [C], `variance` [C].
    """

    def require(self, x: Value) -> None:
        require_images("BatchNorm2d", x)


@dataclass(eq=False)
class BatchNorm1d(_BatchNorm):
    """Batch normalisation of each unit of [N, C], or each channel of [N, L, C], as in `BatchNorm2d`."""

    def require(self, x: Value) -> None:
        if x.type.rank not in (2, 3):
            raise ShapeError(
                f"BatchNorm1d takes rows [N, C] or signals [N, L, C], but its input is {x.type}",
                mend="gcn.BatchNorm2d() for images [N, H, W, C]" if x.type.rank == 4 else "reshape it first",
            )


def _moving_average(build: Builder, old: Value, new: Value, momentum: float) -> Value:
    kept = build(ops.Multiply(), old, ops.constant(build, 1.0 - momentum, old.type))
    return build(ops.Add(), kept, build(ops.Multiply(), new, ops.constant(build, momentum, old.type)))


@dataclass(eq=False)
class LayerNorm(OneValue):
    """Normalisation of each sample over its last axis (Ba, Kiros and Hinton, arXiv 1607.06450).

    axes: over how many of the last axes; 3 are all of an image [N, H, W, C].
    Parameters: `scale` and `shift`, of the shape of these axes.
    """

    epsilon: float = 1e-5
    axes: int = 1

    kind: ClassVar[str] = "layernorm"

    def check(self) -> None:
        _check_epsilon(self.epsilon)
        count("axes", self.axes)

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        first = x.type.rank - self.axes
        _require_axes("LayerNorm", x, self.axes)
        size = x.type.with_shape(x.type.shape[first:])
        scale = build.parameter("scale", size, Constant(1.0))
        shift = build.parameter("shift", size, Constant(0.0))
        normal = _normalized(build, x, tuple(range(first, x.type.rank)), self.epsilon)
        return _affine(build, normal, scale, shift)


@dataclass(eq=False)
class GroupNorm(OneValue):
    """Normalisation of each sample over the places and channels of a group (Wu and He, arXiv 1803.08494).

    groups: into how many groups the channels, the last axis, are split; as many as channels, each is
    normalised on its own. Takes [N, H, W, C], signals [N, L, C] and rows [N, C].
    Parameters: `scale` [C], `shift` [C].
    """

    groups: int
    epsilon: float = 1e-5

    kind: ClassVar[str] = "groupnorm"

    def check(self) -> None:
        count("groups", self.groups)
        _check_epsilon(self.epsilon)

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        _require_axes("GroupNorm", x, 1)
        batch, *places, channels = x.type.shape
        if int(channels) % self.groups:
            raise ShapeError(
                f"groups={self.groups} does not divide the {channels} channels of {x.type}",
                facts=[f"{channels} % {self.groups} = {int(channels) % self.groups}"],
                mend=f"take a number of groups that divides {channels}",
            )
        scale = build.parameter("scale", x.type.with_shape((channels,)), Constant(1.0))
        shift = build.parameter("shift", x.type.with_shape((channels,)), Constant(0.0))
        grouped = (batch, math.prod(map(int, places)), self.groups, int(channels) // self.groups)
        normal = _normalized(build, build(ops.Reshape(grouped), x), (1, 3), self.epsilon)
        return _affine(build, build(ops.Reshape(x.type.shape), normal), scale, shift)


@dataclass(eq=False)
class InstanceNorm2d(OneValue):
    """Normalisation of each feature map of each sample, [N, H, W, C] (Ulyanov et al., arXiv 1607.08022).

    affine: whether it has parameters `scale` [C] and `shift` [C].
    """

    epsilon: float = 1e-5
    affine: bool = False

    kind: ClassVar[str] = "instancenorm"

    def check(self) -> None:
        _check_epsilon(self.epsilon)
        truth("affine", self.affine)

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        require_images("InstanceNorm2d", x)
        normal = _normalized(build, x, (1, 2), self.epsilon)
        if not self.affine:
            return normal
        channels = x.type.with_shape(x.type.shape[3:])
        scale = build.parameter("scale", channels, Constant(1.0))
        return _affine(build, normal, scale, build.parameter("shift", channels, Constant(0.0)))


@dataclass(eq=False)
class RMSNorm(OneValue):
    """x / √(mean of x² + epsilon) along the last axis, scaled (Zhang and Sennrich, arXiv 1910.07467).

    epsilon: by default, the spacing of numbers at 1 in the precision of x.
    Parameters: `scale`, of the size of the last axis.
    """

    epsilon: float | None = None

    kind: ClassVar[str] = "rmsnorm"

    def check(self) -> None:
        if self.epsilon is not None:
            _check_epsilon(self.epsilon)

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        _require_axes("RMSNorm", x, 1)
        last = x.type.rank - 1
        scale = build.parameter("scale", x.type.with_shape(x.type.shape[last:]), Constant(1.0))
        epsilon = float(np.finfo(x.type.dtype).eps) if self.epsilon is None else self.epsilon
        inverse = build(ops.InverseDeviation((last,), keep=True, epsilon=epsilon), x)
        normal = build(ops.Multiply(), x, build(ops.Broadcast(x.type.shape), inverse))
        return build(ops.Multiply(), normal, build(ops.Broadcast(x.type.shape), scale))


@dataclass(eq=False)
class LocalResponseNorm(OneValue):
    """x / (k + alpha · mean of x² over `size` channels around)^beta (Krizhevsky et al., NIPS 2012, 3.3).

    The channels are the last axis, and those beyond its ends count as zeros. As in PyTorch, it is the mean
    that alpha multiplies; the paper's alpha multiplies the sum.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    kind: ClassVar[str] = "response_norm"

    def check(self) -> None:
        count("size", self.size)
        for name in ("alpha", "beta", "k"):
            value = getattr(self, name)
            number(name, value, is_between(value, -math.inf, math.inf), "that is finite")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        _require_axes("LocalResponseNorm", x, 1)
        batch, *places, channels = x.type.shape
        sizes = (batch, math.prod(map(int, places)), channels, 1)
        squares = build(ops.Reshape(sizes), build(ops.Multiply(), x, x))
        around = (0, 0), (self.size // 2, (self.size - 1) // 2)
        mean = build(ops.AveragePool2d((1, self.size), (1, 1), around), squares)
        weighted = build(ops.Multiply(), mean, ops.constant(build, self.alpha, x.type))
        response = build(ops.Add(), weighted, ops.constant(build, self.k, x.type))
        factor = build(ops.Reshape(x.type.shape), build(ops.Power(-float(self.beta)), response))
        return build(ops.Multiply(), x, factor)


def _normalized(build: Builder, x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    """Append (x - mean) / √(variance + epsilon) over axes."""
    mean = build(ops.Mean(axes, keep=True), x)
    centred = build(ops.Subtract(), x, build(ops.Broadcast(x.type.shape), mean))
    inverse = build(ops.InverseDeviation(axes, keep=True, epsilon=epsilon), centred)
    return build(ops.Multiply(), centred, build(ops.Broadcast(x.type.shape), inverse))


def _affine(build: Builder, x: Value, scale: Value, shift: Value) -> Value:
    scaled = build(ops.Multiply(), x, build(ops.Broadcast(x.type.shape), scale))
    return build(ops.Add(), scaled, build(ops.Broadcast(x.type.shape), shift))


def _require_axes(layer: str, x: Value, axes: int) -> None:
    """Raise ShapeError unless a sample has so many axes."""
    if x.type.rank > axes:
        return
    at_least = "at least one more axis" if axes == 1 else f"at least {axes} more axes"
    raise ShapeError(
        f"{layer} takes a batch with {at_least}, but its input is {x.type}",
        mend="put it behind a layer such as Conv2d or Dense",
    )


def _check_epsilon(epsilon: object) -> None:
    """Raise OptionError unless it is small; a large one is the number of channels, first in PyTorch."""
    if isinstance(epsilon, tuple | list) or is_int(epsilon, 2):
        raise OptionError(
            f"epsilon={epsilon!r:.60} is not a small number above 0",
            mend="epsilon=1e-5, by name; the number of channels is not given: it is the input's",
        )
    number("epsilon", epsilon, is_between(epsilon, 0, math.inf), "above 0")
