"""Layers on signals [N, L, C]: those on images, whose nodes see a signal as an image of one row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import He, Initializer
from graphcnn.dsl.layers.adaptive_pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, GlobalMaxPool2d
from graphcnn.dsl.layers.arguments import (
    PaddingSpec,
    check_bias,
    check_initializer,
    count,
    require_signals,
    truth,
)
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.layers.convolution import (
    Conv2d,
    ConvTranspose2d,
    PaddingMode,
    check_padding_mode,
    convolved,
    require_cropping,
    too_much_output_padding,
    transposed,
)
from graphcnn.dsl.layers.dense import with_bias
from graphcnn.dsl.layers.pooling import AvgPool2d, MaxPool2d
from graphcnn.dsl.other_orders import TRANSPOSED_KERNELS, channels_in_front
from graphcnn.errors import OptionError
from graphcnn.ir import Value
from graphcnn.ops.attributes import Pair, is_int
from graphcnn.ops.convolution import require_groups

SignalPadding: TypeAlias = int | tuple[int, int] | Literal["same", "valid"]
"""One width for both ends, (before, after), "same" or "valid"."""


def _sides(padding: SignalPadding) -> PaddingSpec:
    """Return the padding of images of one row, which has nothing above and below."""
    if padding == "same" or padding == "valid":
        return padding
    ends = (padding, padding) if isinstance(padding, int) else padding
    if not isinstance(ends, tuple) or len(ends) != 2 or not all(is_int(width, 0) for width in ends):
        raise OptionError(
            f"padding={padding!r:.60} is no padding of a signal",
            facts=['allowed: an int, (before, after), "same" or "valid"; widths are at least 0'],
            mend='padding="same" keeps the length at stride 1; padding=1 adds one place at both ends',
        )
    return (0, 0), ends


def _as_images(layer: OneValue, build: Builder, signals: Value) -> Value:
    """Append [N, L, C] → [N, 1, L, C]."""
    require_signals(type(layer).__name__, signals)
    batch, length, channels = signals.type.shape
    return build(ops.Reshape((batch, 1, length, channels)), signals)


def _as_signals(build: Builder, images: Value) -> Value:
    """Append [N, 1, L, C] → [N, L, C]."""
    batch, _, length, channels = images.type.shape
    return build(ops.Reshape((batch, length, channels)), images)


@dataclass(eq=False)
class Conv1d(OneValue):
    """Convolution of signals [N, L, C] with `filters` filters; returns [N, L', filters].

    kernel, stride, dilation: ints. padding: see `SignalPadding`. The rest as in `Conv2d`.
    Parameters: `filters` [k, C / groups, D], `bias` [D].
    """

    filters: int
    kernel: int
    stride: int = 1
    padding: SignalPadding = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    flip: bool = False
    padding_mode: PaddingMode = field(default="zeros", kw_only=True)
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "conv"

    def check(self) -> None:
        for name in ("filters", "kernel", "stride", "dilation", "groups"):
            count(name, getattr(self, name))
        check_bias(self.bias, "channels")
        _sides(self.padding)
        check_padding_mode(self.padding_mode)
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        images = _as_images(self, build, values[0])
        filters = _filters(self, build, images)
        on_images = Conv2d(
            self.filters, (1, self.kernel), (1, self.stride), _sides(self.padding), (1, self.dilation),
            self.groups, flip=self.flip, padding_mode=self.padding_mode,
        )  # fmt: skip
        with channels_in_front(self, images.type.static(3)):
            signals = _as_signals(build, convolved(build, images, filters, on_images))
        return with_bias(build.by(on_images.equation), signals) if self.bias else signals


@dataclass(eq=False)
class ConvTranspose1d(OneValue):
    """Transposed convolution of signals [N, L, C]; returns [N, L', filters], as `ConvTranspose2d` does.

    kernel, stride, output_padding, dilation: ints. padding: an int or (before, after) is cropped off.
    Parameters: `filters` [k, C / groups, D], `bias` [D].
    """

    filters: int
    kernel: int
    stride: int = 1
    padding: SignalPadding = 0
    bias: bool = True
    output_padding: int = 0
    dilation: int = 1
    groups: int = 1
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "conv_transpose"

    def check(self) -> None:
        for name in ("filters", "kernel", "stride", "dilation", "groups"):
            count(name, getattr(self, name))
        check_bias(self.bias, "channels")
        require_cropping(_sides(self.padding))
        if not is_int(self.output_padding, 0):
            raise OptionError(
                f"output_padding={self.output_padding!r:.60} is not an integer of at least 0",
                mend="output_padding=1, for example",
            )
        most = max(self.stride, self.dilation) - 1
        if self.output_padding > most:
            raise too_much_output_padding(self.output_padding, most)
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        images = _as_images(self, build, values[0])
        filters = _filters(self, build, images)
        on_images = ConvTranspose2d(
            self.filters, (1, self.kernel), (1, self.stride), _sides(self.padding),
            output_padding=(0, self.output_padding), dilation=(1, self.dilation), groups=self.groups,
        )  # fmt: skip
        with channels_in_front(self, images.type.static(3), TRANSPOSED_KERNELS):
            signals = _as_signals(build, transposed(build, images, filters, on_images))
        return with_bias(build, signals) if self.bias else signals


def _filters(layer: Conv1d | ConvTranspose1d, build: Builder, images: Value) -> Value:
    """Append the layer's filters [k, C / groups, D] as [1, k, C / groups, D]."""
    channels = images.type.static(3)
    require_groups(layer.groups, channels, layer.filters)
    shape = layer.kernel, channels // layer.groups, layer.filters
    filters = build.parameter("filters", images.type.with_shape(shape), layer.initializer)
    return build(ops.Reshape((1, *shape)), filters)


class _OnImages(OneValue):
    """A layer on signals that does what one on images does to images of one row."""

    kind: ClassVar[str] = "pool"

    def build(self, build: Builder, *values: Value) -> Value:
        images = _as_images(self, build, values[0])
        return _as_signals(build, self.on_images().build(build, images))

    def on_images(self) -> OneValue:
        """Return the layer on images."""
        raise NotImplementedError


@dataclass(eq=False)
class _Pool1d(_OnImages):
    """Pools windows of `size` places, `stride` apart (the size by default)."""

    size: int
    stride: int | None = None
    padding: SignalPadding = 0
    ceil_mode: bool = False

    def check(self) -> None:
        count("size", self.size)
        if self.stride is not None:
            count("stride", self.stride)
        _sides(self.padding)
        truth("ceil_mode", self.ceil_mode)

    @property
    def _windows(self) -> tuple[Pair, Pair, PaddingSpec, bool]:
        size, stride = (1, self.size), (1, self.stride or self.size)
        return size, stride, _sides(self.padding), self.ceil_mode


@dataclass(eq=False)
class MaxPool1d(_Pool1d):
    """The greatest element of each window, [N, L, C] → [N, L', C]; the first of equals wins.

    size, stride (the size by default): ints. padding: see `SignalPadding`. ceil_mode: as in `MaxPool2d`.
    """

    def on_images(self) -> OneValue:
        return MaxPool2d(*self._windows)


@dataclass(eq=False)
class AvgPool1d(_Pool1d):
    """The mean of each window, [N, L, C] → [N, L', C]. Sizes as in `MaxPool1d`, counts as in `AvgPool2d`."""

    count_include_pad: bool = True

    def check(self) -> None:
        _Pool1d.check(self)
        truth("count_include_pad", self.count_include_pad)

    def on_images(self) -> OneValue:
        return AvgPool2d(*self._windows, self.count_include_pad)


@dataclass(eq=False)
class GlobalAvgPool1d(OneValue):
    """The mean of each whole channel, [N, L, C] → [N, C]."""

    kind: ClassVar[str] = "global_pool"

    def build(self, build: Builder, *values: Value) -> Value:
        require_signals("GlobalAvgPool1d", values[0])
        return build(ops.Mean((1,)), values[0])


@dataclass(eq=False)
class GlobalMaxPool1d(OneValue):
    """The greatest element of each whole channel, [N, L, C] → [N, C]; the first of equals wins."""

    kind: ClassVar[str] = "global_pool"

    def build(self, build: Builder, *values: Value) -> Value:
        return GlobalMaxPool2d().build(build, _as_images(self, build, values[0]))


@dataclass(eq=False)
class _AdaptivePool1d(_OnImages):
    """Pools to `size` places."""

    size: int

    def check(self) -> None:
        count("size", self.size)


@dataclass(eq=False)
class AdaptiveAvgPool1d(_AdaptivePool1d):
    """The mean of each of `size` parts of a signal, [N, L, C] → [N, size, C]; see `AdaptiveAvgPool2d`."""

    def on_images(self) -> OneValue:
        return AdaptiveAvgPool2d((1, self.size))


@dataclass(eq=False)
class AdaptiveMaxPool1d(_AdaptivePool1d):
    """The maximum of each of `size` parts of a signal, [N, L, C] → [N, size, C]; see `AdaptiveMaxPool2d`."""

    def on_images(self) -> OneValue:
        return AdaptiveMaxPool2d((1, self.size))
