"""Pools: over windows, and over whole maps."""

from __future__ import annotations

import math
from typing import Any

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers import AvgPool1d, AvgPool2d, LPPool2d, MaxPool1d, MaxPool2d
from graphcnn.dsl.layers.base import Layer
from graphcnn.dsl.tensor import Tensor
from graphcnn.interchange.onnx.reading.step import Step, op, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Variable, channels_last
from graphcnn.interchange.onnx.reading.windows import Windows, require_places, windows_of
from graphcnn.ir import Op, Value


@reads("MaxPool", "AveragePool", "LpPool")
def pool(step: Step) -> Variable:
    x = step.variable(0)
    windows = windows_of(step, step.setting("kernel_shape", default=[]), require_places(x))
    if len(step.node.output) > 1 and step.node.output[1]:
        raise in_the_way("it returns the indices of its maxima")
    if set(windows.dilation) != {1}:
        return _dilated(step, windows, x)
    return Variable.of(_applied(step, windows, x), channels_last(x.rank))


def _dilated(step: Step, windows: Windows, x: Variable) -> Variable:
    """Return pools of windows with gaps: each of their units is a strided slice of the images."""
    kind = step.node.op_type
    if kind == "LpPool" or (step.setting("ceil_mode", default=0) and kind != "MaxPool"):
        raise in_the_way(f"its windows have dilations {list(windows.dilation)}")
    counts_padding = bool(step.setting("count_include_pad", default=0))
    ceil_mode = bool(step.setting("ceil_mode", default=0))

    def pooled(build: Builder, value: Value) -> Value:
        if kind == "MaxPool":
            return _over_taps(build, value, windows, ops.Maximum(), -math.inf, ceil_mode)
        total = _over_taps(build, value, windows, ops.Add(), 0.0, ceil_mode)
        units = ops.constant(build, float(math.prod(windows.size)), total.type)
        if not counts_padding and any(map(any, windows.padding)):
            ones = ops.constant(build, 1.0, value.type)
            ones = build(ops.Broadcast((1, *value.type.shape[1:])), ones)
            units = build(
                ops.Broadcast(total.type.shape), _over_taps(build, ones, windows, ops.Add(), 0.0, ceil_mode)
            )
        return build(ops.Divide(), total, units)

    y = step.emit("pool", pooled, _as_images(x))
    return Variable.of(_as_signals(windows, y), channels_last(x.rank))


def _as_images(x: Variable) -> Tensor:
    batch, *places, channels = x.last.type.shape
    return reshaped(x.last, (batch, *[1] * (2 - len(places)), *places, channels))


def _as_signals(windows: Windows, y: Tensor) -> Tensor:
    batch, _, length, channels = y.type.shape
    return y if windows.is_of_images else reshaped(y, (batch, length, channels))


def _over_taps(
    build: Builder, x: Value, windows: Windows, kind: Op, outside: float, ceil_mode: bool
) -> Value:
    """Append an op over the units of each window; what is outside of the images has one value."""
    runs = []
    widths = [(0, 0), *windows.pads, (0, 0)]
    for axis in (0, 1):
        size, stride, dilation = windows.sizes[axis], windows.strides[axis], windows.dilations[axis]
        before, after = windows.pads[axis]
        room = x.type.static(1 + axis) + before + after - (size - 1) * dilation - 1
        if room < 0:
            raise in_the_way("its windows are larger than what they are on")
        count = room // stride + 1
        if ceil_mode and room % stride and count * stride < x.type.static(1 + axis) + before:
            widths[1 + axis] = (before, after + count * stride - room)
            count += 1
        runs.append([(tap * dilation, count, stride) for tap in range(size)])
    if any(map(any, widths)):
        x = build(ops.Pad(tuple(widths), outside), x)
    result: Value | None = None
    for rows in runs[0]:
        lines = build(ops.Take(1, (rows,)), x)
        for columns in runs[1]:
            unit = build(ops.Take(2, (columns,)), lines)
            result = unit if result is None else build(kind, result, unit)
    assert result is not None
    return result


def _applied(step: Step, windows: Windows, x: Variable) -> Any:
    ceil_mode = bool(step.setting("ceil_mode", default=0))
    kind = step.node.op_type
    if kind == "LpPool":
        layer = LPPool2d(
            step.setting("p", default=2), windows.sizes, windows.strides, windows.pads, ceil_mode
        )
        return _as_signals(windows, step.apply(layer, _as_images(x)))
    counts = (bool(step.setting("count_include_pad", default=0)),) if kind == "AveragePool" else ()
    made: Layer
    if windows.is_of_images:
        of_images = MaxPool2d if kind == "MaxPool" else AvgPool2d
        made = of_images(windows.sizes, windows.strides, windows.pads, ceil_mode, *counts)
    else:
        of_signals = MaxPool1d if kind == "MaxPool" else AvgPool1d
        made = of_signals(windows.size[0], windows.stride[0], windows.padding[0], ceil_mode, *counts)
    return step.apply(made, x.last)


@reads("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(step: Step) -> Variable:
    """The axes stay, with size 1: what comes next takes them away."""
    x = step.variable(0)
    order = channels_last(x.rank)
    axes = tuple(range(1, x.rank - 1))
    kind, p = step.node.op_type, step.setting("p", default=2)

    def norm(build: Builder, value: Value) -> Value:
        powers = build(ops.Power(float(p)), build(ops.Abs(), value))
        result: Value = build(ops.Power(1.0 / p), build(ops.Sum(axes, keep=True), powers))
        return result

    rules = {
        "GlobalAveragePool": op(ops.Mean(axes, keep=True)),
        "GlobalMaxPool": op(ops.Max(axes, keep=True)),
    }
    return Variable.of(step.emit("global_pool", rules.get(kind, norm), x.at(order)), order)
