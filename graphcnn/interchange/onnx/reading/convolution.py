"""Conv and ConvTranspose: layers, where their filters are weights, and ops where these are computed."""

from __future__ import annotations

from typing import Any

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, DepthwiseConv2d
from graphcnn.dsl.layers.base import Layer
from graphcnn.dsl.layers.convolution import transposed
from graphcnn.dsl.tensor import Tensor
from graphcnn.interchange.onnx.reading.step import Step, op, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Held, Known, Variable, channels_last
from graphcnn.interchange.onnx.reading.windows import Windows, require_places, windows_of
from graphcnn.ir import Value


@reads("Conv")
def conv(step: Step) -> Variable:
    x, filters, bias = step.variable(0), step[1], step.optional(2)
    places = require_places(x)
    _require_filters(filters, x)
    windows = windows_of(step, [int(size) for size in filters.shape[2:]], places)
    groups, channels = step.setting("group", default=1), int(x.shape[1])
    if int(filters.shape[1]) * groups != channels or int(filters.shape[0]) % groups:
        raise in_the_way(
            f"its filters {list(filters.shape)} in {groups} groups do not fit {channels} channels"
        )
    if isinstance(filters, Known):
        made = _layer(windows, int(filters.shape[0]), groups, channels, has_bias=isinstance(bias, Known))
        y = _with_weights(step, made, x, filters, bias, _filters_last(filters.array))
    else:
        kind = ops.Correlate2d(windows.strides, windows.pads, windows.dilations, groups)
        images, bank = _as_images(x), _as_images_filters(filters)
        y = _as_signals(step.emit("conv", op(kind), images, bank), x.rank)
    return _plus_bias(step, Variable.of(y, channels_last(x.rank)), bias, isinstance(filters, Known))


def _require_filters(filters: Held, x: Variable) -> None:
    if filters.rank != x.rank:
        raise in_the_way(f"its filters have {filters.rank} axes, and what it is on {x.rank}")


def _layer(windows: Windows, filters: int, groups: int, channels: int, *, has_bias: bool) -> Layer:
    if not windows.is_of_images:
        return Conv1d(
            filters,
            windows.size[0],
            windows.stride[0],
            windows.padding[0],
            windows.dilation[0],
            groups,
            has_bias,
        )
    if groups == channels > 1:
        return DepthwiseConv2d(
            windows.sizes, windows.strides, windows.pads, windows.dilations, filters // channels, has_bias
        )
    return Conv2d(filters, windows.sizes, windows.strides, windows.pads, windows.dilations, groups, has_bias)


def _filters_last(filters: Array) -> Array:
    """Return filters [D, C / groups, k1, k2] as [k1, k2, C / groups, D]."""
    return filters.transpose(*range(2, filters.ndim), 1, 0)


def _with_weights(
    step: Step, layer: Any, x: Variable, filters: Known, bias: Held | None, bank: Array
) -> Tensor:
    """Apply a layer that has these filters, and this bias if it is known, at first."""
    layer = step.shared(layer, [filters, bias], repr(layer))
    if not layer.first_values:
        layer.first_values = {"filters": bank}
        if isinstance(bias, Known):
            layer.first_values["bias"] = bias.array
    return step.apply(layer, x.last, weight=filters.name)


def _plus_bias(step: Step, y: Variable, bias: Held | None, is_layer: bool) -> Variable:
    """Add a bias that is no part of the layer."""
    if bias is None or (isinstance(bias, Known) and is_layer):
        return y
    column = (int(bias.shape[0]), *[1] * (y.rank - 2))
    if isinstance(bias, Known):
        spread: Held = Known(bias.array.reshape(column), bias.name)
    else:
        spread = Variable.of(reshaped(bias.in_file, column))
    return step.each("bias", op(ops.Add()), y, spread)


def _as_images(x: Variable) -> Tensor:
    """Return [N, H, W, C], of signals with one row."""
    batch, *places, channels = x.last.type.shape
    return reshaped(x.last, (batch, *[1] * (2 - len(places)), *places, channels))


def _as_images_filters(filters: Variable) -> Tensor:
    tensor = filters.at((*range(2, filters.rank), 1, 0))
    return reshaped(tensor, (*[1] * (4 - filters.rank), *tensor.type.shape))


def _as_signals(y: Tensor, rank: int) -> Tensor:
    batch, _, length, channels = y.type.shape
    return y if rank == 4 else reshaped(y, (batch, length, channels))


@reads("ConvTranspose")
def conv_transpose(step: Step) -> Variable:
    x, filters, bias = step.variable(0), step[1], step.optional(2)
    places = require_places(x)
    _require_filters(filters, x)
    groups, channels = step.setting("group", default=1), int(x.shape[1])
    if int(filters.shape[0]) != channels or channels % groups:
        raise in_the_way(
            f"its filters {list(filters.shape)} in {groups} groups do not fit {channels} channels"
        )
    windows, more = _cropping(step, [int(size) for size in filters.shape[2:]], places)
    count = int(filters.shape[1]) * groups
    has_bias = isinstance(filters, Known) and isinstance(bias, Known)
    on_images = ConvTranspose2d(
        count, windows.sizes, windows.strides, windows.pads, has_bias,
        (more[0], more[1]) if windows.is_of_images else (0, more[0]), windows.dilations, groups,
    )  # fmt: skip
    if isinstance(filters, Known):
        layer: Layer = on_images
        if not windows.is_of_images:
            layer = ConvTranspose1d(
                count, windows.size[0], windows.stride[0], windows.padding[0], has_bias, more[0],
                windows.dilation[0], groups,
            )  # fmt: skip
        y = _with_weights(step, layer, x, filters, bias, _transposed_filters_last(filters.array, groups))
    else:

        def apply(build: Builder, images: Value, bank: Value) -> Value:
            return transposed(build, images, _grouped(build, bank, groups), on_images)

        bank = filters.at((*range(2, filters.rank), 0, 1))
        bank = reshaped(bank, (*[1] * (4 - filters.rank), *bank.type.shape))
        y = _as_signals(step.emit("conv_transpose", apply, _as_images(x), bank), x.rank)
    return _plus_bias(step, Variable.of(y, channels_last(x.rank)), bias, isinstance(filters, Known))


def _transposed_filters_last(filters: Array, groups: int) -> Array:
    """Return filters [C, D / groups, k1, k2] as [k1, k2, C / groups, D]."""
    channels, outer, *kernel = filters.shape
    apart = filters.reshape(groups, channels // groups, outer, *kernel)
    places = tuple(range(3, apart.ndim))
    return apart.transpose(*places, 1, 0, 2).reshape(*kernel, channels // groups, groups * outer)


def _grouped(build: Builder, filters: Value, groups: int) -> Value:
    """Append filters [k1, k2, C, D / groups] as [k1, k2, C / groups, D]."""
    if groups == 1:
        return filters
    rows, columns, channels, outer = filters.type.concrete(1)
    inner = channels // groups
    apart = build(ops.Reshape((rows, columns, groups, inner, outer)), filters)
    turned = build(ops.Transpose((0, 1, 3, 2, 4)), apart)
    result: Value = build(ops.Reshape((rows, columns, inner, groups * outer)), turned)
    return result


def _cropping(step: Step, size: list[int], places: tuple[int, ...]) -> tuple[Windows, tuple[int, ...]]:
    """Return the windows of a transposed convolution, whose padding is cropped, and its output_padding."""
    rank = len(places)
    wanted = step.setting("output_shape")
    how = step.setting("auto_pad", default="NOTSET")
    windows = windows_of(step, size, places)
    more = list(step.setting("output_padding") or [0] * rank)
    if wanted is None and how not in ("SAME_UPPER", "SAME_LOWER"):
        return windows, tuple(more)
    sizes = [place * stride for place, stride in zip(places, windows.stride, strict=True)]
    if wanted is not None:
        sizes = list(wanted[-rank:])
    padding = []
    for axis in range(rank):
        reach = (size[axis] - 1) * windows.dilation[axis] + 1
        total = windows.stride[axis] * (places[axis] - 1) + more[axis] + reach - sizes[axis]
        if total < 0:
            more[axis], total = more[axis] - total, 0
        half = total // 2
        padding.append((half, total - half) if how == "SAME_UPPER" else (total - half, half))
    return Windows(windows.size, windows.stride, windows.dilation, tuple(padding)), tuple(more)
