"""Layers that change the images of training at random, each sample by numbers of its own.

The numbers follow from the model's seed, the epoch, the sample's index and the layer's name alone: batch
size, order, threads, backend and resuming change nothing. In inference these layers do nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.draws import OF_SAMPLES, constant, happens, uniform, uniform_between, whole
from graphcnn.dsl.layers.arguments import (
    Size,
    check_probability,
    check_range,
    padding_of,
    pair,
    require_images,
    truth,
)
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.padding import PadMode, check_mode, number_of, padded
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, TensorType, Value
from graphcnn.ops.attributes import Padding, Pair

FlipMode: TypeAlias = Literal["horizontal", "vertical", "horizontal_and_vertical"]


@dataclass(eq=False)
class Augmentation(OneValue):
    """Base of layers that change images [N, H, W, C] in training."""

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        require_images(type(self).__name__, x)
        if x.type.shape[0] != BATCH:
            raise ShapeError(
                f"{type(self).__name__} changes each sample by itself, but {x.type} has none",
                mend="apply it to images with a batch axis in front: gcn.Input((28, 28, 1))",
            )
        return self.augmented(build, x) if build.training else self.plain(build, x)

    def augmented(self, build: Builder, x: Value) -> Value:
        """Append what becomes of images in training."""
        raise NotImplementedError

    def plain(self, build: Builder, x: Value) -> Value:
        """Append what becomes of images in inference: nothing, unless they would be of another size."""
        return x


@dataclass(eq=False)
class RandomFlip(Augmentation):
    """In training, mirrors each image with probability `rate`.

    mode: "horizontal" exchanges left and right, "vertical" top and bottom; "horizontal_and_vertical" does
    each of them with that probability.
    alternating: mirrors a random half of the images in the first epoch, and from then on in every other epoch
    those that it did not mirror in the one before, so that two epochs show each image both ways (Keller
    Jordan, arXiv 2404.00498). It takes the rate 0.5.
    """

    mode: FlipMode = "horizontal"
    rate: float = 0.5
    alternating: bool = False

    kind: ClassVar[str] = "flip"

    def check(self) -> None:
        if self.mode not in get_args(FlipMode):
            raise OptionError(
                f"mode={self.mode!r:.60} is no way to mirror images",
                facts=[f"there are {', '.join(map(repr, get_args(FlipMode)))}"],
                mend='mode="horizontal", which exchanges left and right',
            )
        check_probability(self.rate)
        truth("alternating", self.alternating)
        if self.alternating and self.rate != 0.5:
            raise OptionError(
                f"rate={self.rate!r} does not alternate: each image is mirrored in every other epoch",
                mend="leave out rate, or alternating",
            )

    def augmented(self, build: Builder, x: Value) -> Value:
        for axis, name in ((1, "vertical"), (2, "horizontal")):
            if name in self.mode.split("_and_") and self.rate > 0:
                flags = happens(build, name, self.rate, alternating=self.alternating)
                x = build(ops.FlipSamples(axis), x, flags)
        return x


@dataclass(eq=False)
class RandomCrop(Augmentation):
    """In training, takes a window of each image at a random place; in inference the one in the middle.

    size: of the window, one integer or (height, width); by default the size of the images.
    padding: added to the images before, one width for all sides, (vertical, horizontal), or ((top, bottom),
    (left, right)): `RandomCrop(padding=4)` shifts images by up to 4 pixels each way. There is none in
    inference. padding_mode: "constant" puts `value` there; "reflect", "edge" and "circular" are those of
    `gcn.pad`.
    """

    size: Size | None = None
    padding: int | tuple[int, int] | tuple[Pair, Pair] = 0
    padding_mode: PadMode = "constant"
    value: float = 0.0

    kind: ClassVar[str] = "crop"

    def check(self) -> None:
        if self.size is not None:
            pair("size", self.size)
        self._widths()
        check_mode(self.padding_mode)
        number_of(self.value, self.padding_mode)

    def augmented(self, build: Builder, x: Value) -> Value:
        size, widths = self._window(x.type), self._widths()
        if self.padding_mode != "constant":
            x, widths = padded(build, x, widths, self.padding_mode), ((0, 0), (0, 0))
        places = [
            whole(build, name, -widths[axis][0], x.type.static(1 + axis) + widths[axis][1] - size[axis])
            for axis, name in enumerate(("rows", "columns"))
        ]
        return build(ops.CropSamples(size, float(self.value)), x, *places)

    def plain(self, build: Builder, x: Value) -> Value:
        size, images = self._window(x.type), (x.type.static(1), x.type.static(2))
        if size == images:
            return x
        beside = [images[axis] - size[axis] for axis in (0, 1)]
        rows, columns = ((each // 2, each - each // 2) for each in beside)
        return build(ops.Crop(((0, 0), rows, columns, (0, 0))), x)

    def _widths(self) -> Padding:
        widths = None if isinstance(self.padding, str) else padding_of(self.padding)
        if widths is None:
            raise OptionError(
                f"padding={self.padding!r:.60} is no number of pixels", mend="padding=4, on all sides"
            )
        return widths

    def _window(self, images: TensorType) -> Pair:
        found = images.static(1), images.static(2)
        size = found if self.size is None else pair("size", self.size)
        if size[0] > found[0] or size[1] > found[1]:
            raise ShapeError(
                f"RandomCrop takes windows of {size[0]}x{size[1]} pixels out of {images}",
                mend=f"size={found} or less; padding= moves windows beyond the images",
            )
        return size


@dataclass(eq=False)
class Cutout(Augmentation):
    """In training, puts `value` into a box of each image, about a random pixel, with probability `rate`.

    size: of the box, one integer or (height, width); what of it is outside of the image counts for nothing
    (DeVries and Taylor, arXiv 1708.04552). 0 is the mean of images behind `Normalize`.
    """

    size: Size
    rate: float = 1.0
    value: float = 0.0

    kind: ClassVar[str] = "cutout"

    def check(self) -> None:
        pair("size", self.size)
        check_probability(self.rate)
        number_of(self.value, "constant")

    def augmented(self, build: Builder, x: Value) -> Value:
        size = pair("size", self.size)
        begins = [
            whole(build, name, -(size[axis] // 2), x.type.static(1 + axis) - 1 - size[axis] // 2)
            for axis, name in enumerate(("rows", "columns"))
        ]
        height, width = (build(ops.Broadcast(OF_SAMPLES), constant(build, each, "int32")) for each in size)
        if self.rate < 1:
            flags = happens(build, "cut", self.rate)
            height = build(ops.Select(), flags, height, constant(build, 0, "int32"))
        return build(ops.EraseSamples(float(self.value)), x, *begins, height, width)


@dataclass(eq=False)
class RandomErasing(Augmentation):
    """In training, puts `value` into a box of random size within each image, with probability `rate`.

    scale: (least, most) of the image's area. ratio: (least, most) of height to width. Both are drawn evenly
    (Zhong et al., arXiv 1708.04896); a side that would be longer than the image is as long as it.
    """

    rate: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float = 0.0

    kind: ClassVar[str] = "erasing"

    def check(self) -> None:
        check_probability(self.rate)
        check_range("scale", self.scale, 1.0)
        check_range("ratio", self.ratio)
        number_of(self.value, "constant")

    def augmented(self, build: Builder, x: Value) -> Value:
        sizes = x.type.static(1), x.type.static(2)
        area = build(
            ops.Multiply(), constant(build, sizes[0] * sizes[1]), uniform_between(build, "scale", *self.scale)
        )
        ratio = uniform_between(build, "ratio", *self.ratio)
        sides = [
            self._side(build, build(op, area, ratio), size)
            for op, size in zip((ops.Multiply(), ops.Divide()), sizes, strict=True)
        ]
        begins = [
            self._begin(build, name, side, size)
            for name, side, size in zip(("rows", "columns"), sides, sizes, strict=True)
        ]
        height, width = (build(ops.Cast("int32"), side) for side in sides)
        if self.rate < 1:
            flags = happens(build, "erased", self.rate)
            height = build(ops.Select(), flags, height, constant(build, 0, "int32"))
        return build(ops.EraseSamples(float(self.value)), x, *begins, height, width)

    @staticmethod
    def _side(build: Builder, square: Value, size: int) -> Value:
        """Append the side of a square, a whole number of at least 1 and at most `size`, in float32."""
        near = build(ops.Add(), build(ops.Sqrt(), square), constant(build, 0.5))
        near = build(ops.Clip(1.0, float(size)), near)
        return build(ops.Cast("float32"), build(ops.Cast("int32"), near))

    @staticmethod
    def _begin(build: Builder, name: str, side: Value, size: int) -> Value:
        """Append where a side begins: at any place at which it is within `size`."""
        places = build(ops.Subtract(), constant(build, size + 1), side)
        return build(ops.Cast("int32"), build(ops.Multiply(), uniform(build, name), places))
