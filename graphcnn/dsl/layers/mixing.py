"""Layers that mix each image of training with another of its batch, and its target with that one's.

The other image is the one that is as far from the end of the batch as this one is from its begin, so that
which two are mixed follows from the batch; how much of each follows from the sample's key, as all else does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.draws import constant, happens, per_image, uniform, whole
from graphcnn.dsl.layers.arguments import check_probability, is_between, number
from graphcnn.dsl.layers.augmentation import Augmentation
from graphcnn.ir import BATCH, TensorType, Value
from graphcnn.ops.vectors import along_last_axis

KNOTS = 64
"""Shares are drawn by lines between so many quantiles of their distribution."""


@dataclass(eq=False)
class Mixing(Augmentation):
    """Base of layers that mix images: the loss of a sample is that of its own target, times its share, and
    that of the other image's target, times the rest.

    alpha: shares are drawn from the distribution Beta(alpha, alpha): 1 draws them evenly, less draws more
    that are near 0 and 1. rate: the probability of being mixed at all.
    """

    alpha: float = 1.0
    rate: float = 1.0

    def check(self) -> None:
        number("alpha", self.alpha, is_between(self.alpha, 0.01, 100), "from 0.01 to 100")
        check_probability(self.rate)

    def augmented(self, build: Builder, x: Value) -> Value:
        share = beta(build, "share", self.alpha)
        if self.rate < 1:
            share = build(ops.Select(), happens(build, "mixed", self.rate), share, constant(build, 1.0))
        mixed, share = self.mixed(build, x, build(ops.Rot180((0,)), x), share)
        build.mix_targets(share)
        return mixed

    def mixed(self, build: Builder, x: Value, other: Value, share: Value) -> tuple[Value, Value]:
        """Append the mixed images, and the share that each image itself then has, [N].

        share: what has been drawn of it.
        """
        raise NotImplementedError


@dataclass(eq=False)
class Mixup(Mixing):
    """In training, adds up share · image and (1 - share) · another image of the batch, and so their losses.

    alpha: of the share's distribution Beta(alpha, alpha). rate: the probability that an image is mixed.
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412.
    """

    alpha: float = 0.2

    kind: ClassVar[str] = "mixup"

    def mixed(self, build: Builder, x: Value, other: Value, share: Value) -> tuple[Value, Value]:
        rest = build(ops.Subtract(), constant(build, 1.0), share)
        parts = [
            build(ops.Multiply(), per_image(build, each, x.type), images)
            for each, images in ((share, x), (rest, other))
        ]
        return build(ops.Add(), *parts), share


@dataclass(eq=False)
class CutMix(Mixing):
    """In training, puts a box of another image of the batch into each, and mixes the losses by their areas.

    The box has 1 - share of the area and the image's ratio of height to width, about a random pixel; what of
    it is outside of the image counts for nothing. alpha: of the share's distribution Beta(alpha, alpha).
    rate: the probability that an image is mixed. Yun et al., "CutMix", arXiv 1905.04899.
    """

    kind: ClassVar[str] = "cutmix"

    def mixed(self, build: Builder, x: Value, other: Value, share: Value) -> tuple[Value, Value]:
        rest = build(ops.Subtract(), constant(build, 1.0), share)
        side = build(ops.Sqrt(), build(ops.Maximum(), rest, constant(build, 0.0)))
        begins, sides = [], []
        for name, axis in (("rows", 1), ("columns", 2)):
            size = x.type.static(axis)
            length = build(ops.Multiply(), side, constant(build, size))
            half = _whole(build, build(ops.Multiply(), length, constant(build, 0.5)))
            middle = build(ops.Cast("float32"), whole(build, name, 0, size - 1))
            begins.append(build(ops.Cast("int32"), build(ops.Subtract(), middle, half)))
            sides.append(build(ops.Cast("int32"), length))
        ones = build(ops.Broadcast((*x.type.shape[:3], 1)), ops.constant(build, 1.0, x.type))
        kept = build(ops.EraseSamples(), ones, *begins, *sides)
        area = build(ops.Mean((1, 2, 3)), kept)
        mask = build(ops.Broadcast(x.type.shape), kept)
        is_kept = build(ops.Greater(), mask, ops.constant(build, 0.5, x.type))
        return build(ops.Select(), is_kept, x, other), area  # a layer's last node is its output


def _whole(build: Builder, numbers: Value) -> Value:
    """Append numbers of at least 0 rounded down."""
    return build(ops.Cast("float32"), build(ops.Cast("int32"), numbers))


def beta(build: Builder, label: str, alpha: float) -> Value:
    """Append a number of each sample from the distribution Beta(alpha, alpha), float32 [N]."""
    drawn = uniform(build, label)
    if alpha == 1:
        return drawn
    lines = TensorType((BATCH, KNOTS), "float32")
    steps = np.diff(beta_quantiles(alpha, KNOTS)).tolist()
    scaled = build(ops.Multiply(), drawn, constant(build, KNOTS))
    begins = along_last_axis(build, [float(knot) for knot in range(KNOTS)], lines)
    beyond = build(ops.Subtract(), per_image(build, scaled, lines), begins)
    shares = build(ops.Clip(0.0, 1.0), beyond)
    total = build(ops.Sum((1,)), build(ops.Multiply(), shares, along_last_axis(build, steps, lines)))
    return build(ops.Clip(0.0, 1.0), total)


def beta_quantiles(alpha: float, count: int) -> Array:
    """Return the quantiles 0, 1/count, ... 1 of the distribution Beta(alpha, alpha), [count + 1].

    With t = x^alpha, the density x^(alpha-1) (1-x)^(alpha-1) becomes (1 - t^(1/alpha))^(alpha-1) / alpha,
    which has no pole up to the middle; the other half is its mirror image.
    """
    t = np.linspace(0, 0.5**alpha, 20_001)
    density = (1 - t ** (1 / alpha)) ** (alpha - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    wanted = np.arange(count + 1) / count
    lower = np.interp(np.minimum(wanted, 1 - wanted), below / below[-1] / 2, t) ** (1 / alpha)
    quantiles: Array = np.where(wanted <= 0.5, lower, 1 - lower)
    return quantiles
