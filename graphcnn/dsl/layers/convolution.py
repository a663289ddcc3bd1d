"""Convolutional layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, TypeAlias

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import He, Initializer
from graphcnn.dsl.layers.arguments import (
    PaddingSpec,
    Size,
    check_bias,
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
from graphcnn.dsl.other_orders import TRANSPOSED_KERNELS, channels_in_front
from graphcnn.dsl.padding import padded
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import TensorType, Value
from graphcnn.ops.attributes import NO_PADDING, Padding
from graphcnn.ops.convolution import require_groups

PaddingMode: TypeAlias = Literal["zeros", "reflect", "edge", "replicate", "circular"]
"""What is beside the images: zeros, what a mirror shows, the last place again (two names), the other end."""

PADDING_MODES: Final = {
    "zeros": "constant",
    "reflect": "reflect",
    "edge": "edge",
    "replicate": "edge",
    "circular": "circular",
}


@dataclass(eq=False)
class Conv2d(OneValue):
    """Convolution of images [N, H, W, C] with `filters` filters; returns [N, H', W', filters] (Eq. 4, 7).

    filters: number of filters D. kernel: size k or (k1, k2). stride, dilation: an int or (vertical,
    horizontal). padding: see `PaddingSpec`. groups: channels and filters are split into this many groups
    that do not mix. bias: whether to add one number per filter. flip: True for true convolution with
    rotated filters (Eq. 2); False for cross-correlation (Eq. 7). padding_mode: see `PaddingMode`.
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
    padding_mode: PaddingMode = field(default="zeros", kw_only=True)
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "conv"

    def check(self) -> None:
        count("filters", self.filters)
        check_bias(self.bias, "channels")
        count("groups", self.groups)
        check_window(self.kernel, self.stride, self.dilation, self.padding)
        check_padding_mode(self.padding_mode)
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        (images,) = values
        require_images("Conv2d", images)
        channels = images.type.static(3)
        require_groups(self.groups, channels, self.filters)
        kernel = pair("kernel", self.kernel)
        bank = images.type.with_shape((*kernel, channels // self.groups, self.filters))
        with channels_in_front(self, channels):
            maps = convolved(build, images, build.parameter("filters", bank, self.initializer), self)
        return with_bias(build.by(self.equation), maps) if self.bias else maps

    @property
    def equation(self) -> str:
        """The article's equation of what the layer computes."""
        return "Eq. 2" if self.flip else "Eq. 7"


def check_padding_mode(mode: object) -> None:
    if mode in PADDING_MODES:
        return
    raise OptionError(
        f"padding_mode={mode!r:.60} is no way of padding",
        facts=[f"there are {', '.join(map(repr, PADDING_MODES))}"],
        mend=f"padding_mode={'zeros' if mode == 'constant' else 'reflect'!r}",
    )


def convolved(build: Builder, images: Value, filters: Value, layer: Conv2d) -> Value:
    """Append the convolution of images with filters, as the layer says."""
    stride, dilation = pair("stride", layer.stride), pair("dilation", layer.dilation)
    window = filters.type.static(0), filters.type.static(1)
    padding = padding_of(layer.padding) or same_padding(images.type, window, stride, dilation)
    mode = PADDING_MODES[layer.padding_mode]
    if mode != "constant" and padding != NO_PADDING:
        images, padding = padded(build, images, padding, mode), NO_PADDING
    kind = ops.Convolve2d if layer.flip else ops.Correlate2d
    return build.by(layer.equation)(kind(stride, padding, dilation, layer.groups), images, filters)


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
    padding_mode: PaddingMode = field(default="zeros", kw_only=True)
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "depthwise"

    def check(self) -> None:
        count("multiplier", self.multiplier)
        check_bias(self.bias, "channels")
        check_window(self.kernel, self.stride, self.dilation, self.padding)
        check_padding_mode(self.padding_mode)
        check_initializer(self.initializer)

    def _convolution(self, filters: int, groups: int) -> Conv2d:
        return Conv2d(
            filters, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation,
            groups=groups, bias=self.bias, padding_mode=self.padding_mode, initializer=self.initializer,
        )  # fmt: skip

    def build(self, build: Builder, *values: Value) -> Value:
        require_images("DepthwiseConv2d", values[0])
        channels = values[0].type.static(3)
        return self._convolution(channels * self.multiplier, channels).build(build, *values)


@dataclass(eq=False)
class ConvTranspose2d(OneValue):
    """Transposed convolution: the input gradient of a `Conv2d` as a layer (Eq. 21); upsamples by the stride.

    Returns [N, stride·(H-1) + r1 - top - bottom + output_padding, ..., filters], where a kernel of k1 rows
    reaches over r1 = dilation·(k1-1) + 1.
    padding: an int, a pair, ((top, bottom), (left, right)) or "valid"; it is cropped off the result.
    output_padding: rows and columns more at the far end, of the sizes that the stride cannot tell apart:
    fewer than the stride or the dilation. groups: as in `Conv2d`.
    Parameters: `filters` [k1, k2, C / groups, D], `bias` [D].
    """

    filters: int
    kernel: Size
    stride: Size = 1
    padding: PaddingSpec = 0
    bias: bool = True
    output_padding: Size = 0
    dilation: Size = 1
    groups: int = 1
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "conv_transpose"

    def check(self) -> None:
        count("filters", self.filters)
        check_bias(self.bias, "channels")
        count("groups", self.groups)
        check_window(self.kernel, self.stride, self.dilation, self.padding)
        require_cropping(self.padding)
        more = pair("output_padding", self.output_padding, 0)
        strides, dilations = pair("stride", self.stride), pair("dilation", self.dilation)
        most = tuple(max(stride, dilation) - 1 for stride, dilation in zip(strides, dilations, strict=True))
        if more[0] > most[0] or more[1] > most[1]:
            raise too_much_output_padding(self.output_padding, most)
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        (images,) = values
        require_images("ConvTranspose2d", images)
        channels = images.type.static(3)
        require_groups(self.groups, channels, self.filters)
        kernel = pair("kernel", self.kernel)
        bank = images.type.with_shape((*kernel, channels // self.groups, self.filters))
        with channels_in_front(self, channels, TRANSPOSED_KERNELS):
            maps = transposed(build, images, build.parameter("filters", bank, self.initializer), self)
        return with_bias(build, maps) if self.bias else maps


def require_cropping(padding: PaddingSpec) -> None:
    """Raise OptionError for a padding that does not say what to crop off."""
    if padding_of(padding) is None:
        raise OptionError(
            'padding="same" is not defined for a transposed convolution', mend="give the widths to crop"
        )


def too_much_output_padding(given: object, most: object) -> OptionError:
    return OptionError(
        f"output_padding={given!r} is not below the stride or the dilation",
        mend=f"at most output_padding={most!r}",
    )


def transposed(build: Builder, images: Value, filters: Value, layer: ConvTranspose2d) -> Value:
    """Append the transposed convolution of images with filters, as the layer says."""
    dilation, more = pair("dilation", layer.dilation), pair("output_padding", layer.output_padding, 0)
    reach = [dilation[axis] * (filters.type.static(axis) - 1) for axis in (0, 1)]
    rotated = build(ops.Rot180(), filters)
    spread = build(ops.ZeroInsert(pair("stride", layer.stride)), images)
    around = (reach[0], reach[0] + more[0]), (reach[1], reach[1] + more[1])
    maps = build(ops.Correlate2d(padding=around, dilation=dilation, groups=layer.groups), spread, rotated)
    padding = padding_of(layer.padding)
    if not padding or padding == NO_PADDING:
        return maps
    _require_room(layer, maps.type, padding)
    return build(ops.Crop(((0, 0), *padding, (0, 0))), maps)


def _require_room(layer: ConvTranspose2d, maps: TensorType, padding: Padding) -> None:
    for axis, side in ((0, "height"), (1, "width")):
        size, (before, after) = maps.static(1 + axis), padding[axis]
        if size - before - after < 1:
            raise ShapeError(
                f"padding={layer.padding!r} crops everything off the result {maps}",
                facts=[f"{side}: {size} - {before} - {after} = {size - before - after}, below 1"],
                mend="crop less: a smaller padding",
            )
