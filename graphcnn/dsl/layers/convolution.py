"""Convolutional layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import He, Initializer
from graphcnn.dsl.layers.arguments import (
    PaddingSpec,
    Size,
    check_initializer,
    check_window,
    count,
    padding_of,
    pair,
    require_images,
    same_padding,
)
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.layers.dense import with_bias
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import TensorType, Value
from graphcnn.ops.attributes import Padding
from graphcnn.ops.convolution import require_groups


@dataclass(eq=False)
class Conv2d(OneValue):
    """Convolution of images [N, H, W, C] with `filters` filters; returns [N, H', W', filters] (Eq. 4, 7).

    filters: number of filters D. kernel: size k or (k1, k2). stride, dilation: an int or (vertical,
    horizontal). padding: see `PaddingSpec`. groups: channels and filters are split into this many groups
    that do not mix. bias: whether to add one number per filter. flip: True for true convolution with
    rotated filters (Eq. 2); False for cross-correlation (Eq. 7).
    Parameters: `filters` [k1, k2, C / groups, D], `bias` [D].
    """

    filters: int
    kernel: Size
    stride: Size = 1
    padding: PaddingSpec = 0
    dilation: Size = 1
    groups: int = 1
    bias: bool = True
    flip: bool = False
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "conv"

    def check(self) -> None:
        count("filters", self.filters)
        count("groups", self.groups)
        check_window(self.kernel, self.stride, self.dilation, self.padding)
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        (images,) = values
        require_images("Conv2d", images)
        kernel, stride, dilation = (
            pair("kernel", self.kernel),
            pair("stride", self.stride),
            pair("dilation", self.dilation),
        )
        padding = padding_of(self.padding) or same_padding(images.type, kernel, stride, dilation)
        channels = images.type.static(3)
        require_groups(self.groups, channels, self.filters)
        bank = images.type.with_shape((*kernel, channels // self.groups, self.filters))
        weights = build.parameter("filters", bank, self.initializer)
        kind = ops.Convolve2d if self.flip else ops.Correlate2d
        build = build.by("Eq. 2" if self.flip else "Eq. 7")
        maps = build(kind(stride, padding, dilation, self.groups), images, weights)
        return with_bias(build, maps) if self.bias else maps


@dataclass(eq=False)
class DepthwiseConv2d(OneValue):
    """Convolution of every channel on its own; returns [N, H', W', C · multiplier].

    multiplier: filters per channel. The rest as in `Conv2d`.
    Parameters: `filters` [k1, k2, 1, C · multiplier], `bias` [C · multiplier].
    """

    kernel: Size
    stride: Size = 1
    padding: PaddingSpec = 0
    dilation: Size = 1
    multiplier: int = 1
    bias: bool = True
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "depthwise"

    def check(self) -> None:
        count("multiplier", self.multiplier)
        check_window(self.kernel, self.stride, self.dilation, self.padding)
        check_initializer(self.initializer)

    def _convolution(self, filters: int, groups: int) -> Conv2d:
        return Conv2d(
            filters, self.kernel, self.stride, self.padding, self.dilation, groups, self.bias,
            initializer=self.initializer,
        )  # fmt: skip

    def build(self, build: Builder, *values: Value) -> Value:
        require_images("DepthwiseConv2d", values[0])
        channels = values[0].type.static(3)
        return self._convolution(channels * self.multiplier, channels).build(build, *values)


@dataclass(eq=False)
class ConvTranspose2d(OneValue):
    """Transposed convolution: the input gradient of a `Conv2d` as a layer (Eq. 21); upsamples by the stride.

    Returns [N, stride·(H-1) + k1 - top - bottom, stride·(W-1) + k2 - left - right, filters].
    padding: an int, a pair, ((top, bottom), (left, right)) or "valid"; it is cropped off the result.
    Parameters: `filters` [k1, k2, C, D], `bias` [D].
    """

    filters: int
    kernel: Size
    stride: Size = 1
    padding: PaddingSpec = 0
    bias: bool = True
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "conv_transpose"

    def check(self) -> None:
        count("filters", self.filters)
        pair("kernel", self.kernel)
        pair("stride", self.stride)
        if padding_of(self.padding) is None:
            raise OptionError(
                'padding="same" is not defined for ConvTranspose2d', mend="give the widths to crop"
            )
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        (images,) = values
        require_images("ConvTranspose2d", images)
        k1, k2 = pair("kernel", self.kernel)
        bank = images.type.with_shape((k1, k2, images.type.static(3), self.filters))
        rotated = build(ops.Rot180(), build.parameter("filters", bank, self.initializer))
        spread = build(ops.ZeroInsert(pair("stride", self.stride)), images)
        full = ops.Correlate2d(padding=((k1 - 1, k1 - 1), (k2 - 1, k2 - 1)))
        maps = build(full, spread, rotated)
        padding = padding_of(self.padding)
        if padding and any(map(any, padding)):
            self._require_room(maps.type, padding)
            maps = build(ops.Crop(((0, 0), *padding, (0, 0))), maps)
        return with_bias(build, maps) if self.bias else maps

    def _require_room(self, maps: TensorType, padding: Padding) -> None:
        for axis, side in ((0, "height"), (1, "width")):
            size, (before, after) = maps.static(1 + axis), padding[axis]
            if size - before - after < 1:
                raise ShapeError(
                    f"padding={self.padding!r} crops everything off the result {maps}",
                    facts=[f"{side}: {size} - {before} - {after} = {size - before - after}, below 1"],
                    mend="crop less: a smaller padding",
                )
