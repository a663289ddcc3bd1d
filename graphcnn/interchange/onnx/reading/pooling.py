"""Pools: over windows, and over whole maps."""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers import AvgPool1d, AvgPool2d, LPPool2d, MaxPool1d, MaxPool2d
from graphcnn.dsl.layers.base import Layer
from graphcnn.dsl.tensor import Tensor
from graphcnn.interchange.onnx.reading.step import Step, op, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Held, Known, Variable, channels_last
from graphcnn.interchange.onnx.reading.windows import Windows, require_places, windows_of
from graphcnn.ir import BATCH, Op, Value

MOST_TAPS: Final = 1024
"""Units of a window with gaps along one axis."""
MOST_PLACES: Final = 2**21
"""Maxima whose places are returned."""


@reads("MaxPool", "AveragePool", "LpPool")
def pool(step: Step) -> Variable | tuple[Held | None, ...]:
    x = step.variable(0)
    windows = windows_of(step, step.setting("kernel_shape", default=[]), require_places(x))
    if any(step.wanted[1:]):
        return _with_indices(step, windows, x)
    if set(windows.dilation) != {1}:
        return _dilated(step, windows, x)
    return Variable.of(_applied(step, windows, x), channels_last(x.rank))


def sum_pool(step: Step) -> Variable | None:
    """Return the sums of the windows of a node AveragePool; None where not all windows have as many units."""
    x = step.variable(0)
    windows = windows_of(step, step.setting("kernel_shape", default=[]), require_places(x))
    counts_all = step.setting("count_include_pad", default=0) or not any(map(any, windows.padding))
    if not counts_all or step.setting("ceil_mode", default=0) or set(windows.dilation) != {1}:
        return None
    kind = ops.SumPool2d(windows.sizes, windows.strides, windows.pads)
    sums = step.emit("pool", op(kind), _as_images(x))
    return Variable.of(_as_signals(windows, sums), channels_last(x.rank))


def _dilated(step: Step, windows: Windows, x: Variable) -> Variable:
    """Return pools of windows with gaps: each of their units is a strided slice of the images."""
    kind, p = step.node.op_type, step.setting("p", default=2)
    counts_padding = bool(step.setting("count_include_pad", default=0))
    ceil_mode = bool(step.setting("ceil_mode", default=0))

    def pooled(build: Builder, value: Value) -> Value:
        if kind == "MaxPool":
            return _over_taps(build, value, windows, ops.Maximum(), -math.inf, -math.inf, ceil_mode)
        if kind == "LpPool":
            powers = build(ops.Power(float(p)), build(ops.Abs(), value))
            total = _over_taps(build, powers, windows, ops.Add(), 0.0, 0.0, ceil_mode)
            return build(ops.Power(1.0 / p), total)
        total = _over_taps(build, value, windows, ops.Add(), 0.0, 0.0, ceil_mode)
        one = build(ops.Broadcast((1, *value.type.shape[1:])), ops.constant(build, 1.0, value.type))
        units = _over_taps(build, one, windows, ops.Add(), float(counts_padding), 0.0, ceil_mode)
        return build(ops.Divide(), total, build(ops.Broadcast(total.type.shape), units))

    y = step.emit("pool", pooled, _as_images(x))
    return Variable.of(_as_signals(windows, y), channels_last(x.rank))


def _with_indices(step: Step, windows: Windows, x: Variable) -> tuple[Held | None, ...]:
    """Return the maxima, and where each is among all numbers of the images in the file's order.

    Places are computed in float64, which holds whole numbers up to 2^53.
    """
    batch, channels, *places = x.shape
    is_plain = set(windows.dilation) == {1} and not step.setting("ceil_mode", default=0)
    if not is_plain or BATCH in x.shape or not windows.is_of_images:
        raise in_the_way("it returns the indices of its maxima")
    height, width = (int(size) for size in places)
    columns_first = bool(step.setting("storage_order", default=0))
    pooled = Variable.of(_applied(step, windows, x), channels_last(x.rank))
    kind = ops.MaxPool2d(windows.sizes, windows.strides, windows.pads)
    steps = (1, height) if columns_first else (width, 1)

    def indices(build: Builder, value: Value, *origins: Value) -> Value:
        unit = build(ops.Cast("float64"), build.all(kind, value)[1])
        wide = ops.constant(build, float(windows.sizes[1]), unit.type)
        row = build(ops.Cast("float64"), build(ops.Cast("int64"), build(ops.Divide(), unit, wide)))
        column = build(ops.Subtract(), unit, build(ops.Multiply(), row, wide))
        total = build(ops.Broadcast(unit.type.shape), origins[0])
        for place, apart in ((row, steps[0]), (column, steps[1])):
            weight = ops.constant(build, float(apart), unit.type)
            total = build(ops.Add(), total, build(ops.Multiply(), place, weight))
        return build(ops.Cast("int64"), total)

    rows, columns = (int(size) for size in pooled.shape[2:])
    if math.prod(int(size) for size in pooled.shape) > MOST_PLACES:
        raise in_the_way(f"it returns the indices of more than {MOST_PLACES} maxima")
    tops, lefts = (
        np.arange(count) * stride - before
        for count, stride, (before, _) in zip((rows, columns), windows.strides, windows.pads, strict=True)
    )
    maps = np.arange(int(batch) * int(channels)).reshape(int(batch), 1, 1, int(channels)) * height * width
    origin = tops[:, None, None] * steps[0] + lefts[None, :, None] * steps[1] + maps
    constant = step.stored(Known(origin.astype(np.float64)), (0, 1, 2, 3))
    found = step.emit("indices", indices, x.last, constant)
    return pooled, Variable.of(found, channels_last(4))


def _as_images(x: Variable) -> Tensor:
    batch, *places, channels = x.last.type.shape
    return reshaped(x.last, (batch, *[1] * (2 - len(places)), *places, channels))


def _as_signals(windows: Windows, y: Tensor) -> Tensor:
    batch, _, length, channels = y.type.shape
    return y if windows.is_of_images else reshaped(y, (batch, length, channels))


def _over_taps(
    build: Builder,
    x: Value,
    windows: Windows,
    kind: Op,
    around: float,
    beyond: float,
    ceil_mode: bool,
) -> Value:
    """Append an op over the units of each window.

    around: what padding is. beyond: what is behind it, where sizes are rounded up.
    """
    runs, more = [], [(0, 0)]
    for axis in (0, 1):
        size, stride, dilation = windows.sizes[axis], windows.strides[axis], windows.dilations[axis]
        before, after = windows.pads[axis]
        room = x.type.static(1 + axis) + before + after - (size - 1) * dilation - 1
        if room < 0 or size > MOST_TAPS:
            raise in_the_way(f"its windows of {size} units are larger than what they are on, or than is made")
        count, reaching = room // stride + 1, 0
        if ceil_mode and room % stride and count * stride < x.type.static(1 + axis) + before:
            reaching = count * stride - room
            count += 1
        more.append((0, reaching))
        runs.append([(tap * dilation, count, stride) for tap in range(size)])
    for widths, outside in (((0, 0), *windows.pads, (0, 0)), around), ((*more, (0, 0)), beyond):
        if any(map(any, widths)):
            x = build(ops.Pad(tuple(widths), outside), x)
    for axis in (0, 1):  # one after the other: as many nodes as a window has rows and columns, not units
        units = [build(ops.Take(1 + axis, (run,)), x) for run in runs[axis]]
        x = functools.reduce(lambda one, other: build(kind, one, other), units)
    return x


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
