"""Layers that turn, scale and shift the images of training, and that change their light and colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.draws import constant, per_image, uniform_between
from graphcnn.dsl.layers.arguments import check_range, number
from graphcnn.dsl.layers.augmentation import Augmentation
from graphcnn.errors import OptionError
from graphcnn.ir import Value
from graphcnn.ops.sample_warp import UNITS
from graphcnn.ops.vectors import along_last_axis

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue count in grey (ITU-R BT.601)."""


@dataclass(eq=False)
class RandomAffine(Augmentation):
    """In training, turns, scales and shifts each image about its middle.

    degrees: images are turned by up to so many, either way. translate: shifted by up to this share of their
    height and width; one number, or (vertical, horizontal). scale: enlarged by a factor from (least, most).
    All are drawn evenly. Pixels are read by bilinear interpolation, those beside the image are 0: the mean of
    images behind `Normalize`.
    """

    degrees: float = 0.0
    translate: float | tuple[float, float] = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    kind: ClassVar[str] = "affine"

    def check(self) -> None:
        number("degrees", self.degrees, _is_within(self.degrees, 360), "from 0 to 360")
        shares = self._shares()
        if len(shares) != 2 or not all(_is_within(share, 1) for share in shares):
            raise OptionError(
                f"translate={self.translate!r:.60} is no share of the image's size, from 0 to 1",
                mend="translate=0.1, or translate=(0.1, 0.2): vertical, horizontal",
            )
        check_range("scale", self.scale)

    def _shares(self) -> Sequence[float]:
        given = self.translate
        return given if isinstance(given, tuple) else (given, given)

    def augmented(self, build: Builder, x: Value) -> Value:
        """Append the map back about the middle (m, n), in float64 and then in whole units.

        row - m = (cos (i - m - t) - sin (j - n - u)) / scale,
        column - n = (sin (i - m - t) + cos (j - n - u)) / scale.
        """
        wide = build(ops.Cast("float64"), uniform_between(build, "angle", -self.degrees, self.degrees))
        angle = build(ops.Multiply(), wide, constant(build, math.pi / 180, "float64"))
        scale = build(ops.Cast("float64"), uniform_between(build, "scale", *self.scale))
        cosine, sine = (build(ops.Divide(), build(op, angle), scale) for op in (ops.Cos(), ops.Sin()))
        middles = [(x.type.static(axis) - 1) / 2 for axis in (1, 2)]
        moved = [
            self._moved(build, name, share * x.type.static(axis), middle)
            for name, share, axis, middle in zip(
                ("rows", "columns"), self._shares(), (1, 2), middles, strict=True
            )
        ]
        against = build(ops.Negate(), sine)
        maps = ((cosine, against), (sine, cosine))
        units: list[Value] = []
        for middle, factors in zip(middles, maps, strict=True):
            there = [build(ops.Multiply(), *pair) for pair in zip(factors, moved, strict=True)]
            shift = build(ops.Subtract(), constant(build, middle, "float64"), build(ops.Add(), *there))
            units += [_in_units(build, each) for each in (*factors, shift)]
        return build(ops.WarpSamples(), x, *units)

    @staticmethod
    def _moved(build: Builder, name: str, most: float, middle: float) -> Value:
        """Append where the middle of the image comes to be along an axis, in pixels."""
        shift = build(ops.Cast("float64"), uniform_between(build, name, -most, most))
        return build(ops.Add(), shift, constant(build, middle, "float64"))


def _in_units(build: Builder, pixels: Value) -> Value:
    scaled = build(ops.Multiply(), pixels, constant(build, 2.0**UNITS, "float64"))
    return build(ops.Cast("int64"), scaled)


@dataclass(eq=False)
class ColorJitter(Augmentation):
    """In training, changes brightness, contrast and saturation of each image, of numbers from 0 to 1.

    brightness, contrast, saturation: the distance from black, from the mean of the image's grey, and from the
    grey of each pixel is multiplied by a factor from 1 - b to 1 + b, drawn evenly, but of at least 0. They
    follow each other in this order, and results beyond 0 and 1 become these. So the layer stands in front
    of `Normalize`. Of images with another number of channels than 3, grey is the mean of the channels.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    kind: ClassVar[str] = "jitter"

    def check(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            given = getattr(self, name)
            number(name, given, _is_within(given, math.inf), "of at least 0")

    def augmented(self, build: Builder, x: Value) -> Value:
        if self.brightness:
            x = self._scaled(build, "brightness", x, None)
        if self.contrast:
            mean = build(ops.Mean((1, 2, 3), keep=True), _grey(build, x))
            x = self._scaled(build, "contrast", x, mean)
        if self.saturation and x.type.static(3) > 1:
            x = self._scaled(build, "saturation", x, _grey(build, x))
        return x

    def _scaled(self, build: Builder, name: str, x: Value, centre: Value | None) -> Value:
        """Append images whose distance from a centre is multiplied by each sample's factor."""
        width = getattr(self, name)
        drawn = uniform_between(build, name, max(0.0, 1 - width), 1 + width)
        factor = per_image(build, drawn, x.type)
        if centre is None:
            return build(ops.Clip(0.0, 1.0), build(ops.Multiply(), x, factor))
        middle = build(ops.Broadcast(x.type.shape), centre)
        distance = build(ops.Multiply(), build(ops.Subtract(), x, middle), factor)
        return build(ops.Clip(0.0, 1.0), build(ops.Add(), middle, distance))


def _grey(build: Builder, x: Value) -> Value:
    """Append the grey of each pixel, [N, H, W, 1]."""
    if x.type.static(3) != len(LUMA):
        return build(ops.Mean((3,), keep=True), x)
    weighed = build(ops.Multiply(), x, along_last_axis(build, LUMA, x.type))
    return build(ops.Sum((3,), keep=True), weighed)


def _is_within(value: object, most: float) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= most
        and value < math.inf
    )
