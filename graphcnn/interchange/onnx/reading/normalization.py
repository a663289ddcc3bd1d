"""Normalisation: layers, where scales and statistics are weights, and ops where these are computed."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers import (
    BatchNorm1d,
    BatchNorm2d,
    GroupNorm,
    InstanceNorm2d,
    LayerNorm,
    LocalResponseNorm,
)
from graphcnn.dsl.layers.base import Layer
from graphcnn.interchange.onnx.reading.step import Step, op, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Held, Known, Variable, as_in_file, channels_last
from graphcnn.ir import Value

_STATISTICS: Final = ("scale", "shift", "mean", "variance")


@reads("BatchNormalization")
def batch_norm(step: Step) -> tuple[Held | None, ...] | Variable:
    """The layer, with the batch's statistics in training; or with all four computed, those of inference."""
    x = step.variable(0)
    epsilon, kept = float(step.setting("epsilon", default=1e-5)), float(step.setting("momentum", default=0.9))
    given = [step[position] for position in (1, 2, 3, 4)]
    if step.setting("spatial", default=1) != 1:
        raise in_the_way("it has statistics of single pixels, spatial=0")
    if step.setting("training_mode", default=0) or sum(step.wanted) > 1:
        return _of_batch(step, x, given, epsilon, kept)
    if all(isinstance(each, Known) for each in given) and x.rank in (2, 3, 4):
        momentum = round(1 - kept, 6) if 0 <= kept < 1 else 0.1
        layer = (BatchNorm2d if x.rank == 4 else BatchNorm1d)(momentum, epsilon)
        layer.first_values = {
            name: each.array for name, each in zip(_STATISTICS, given, strict=True) if isinstance(each, Known)
        }
        return _applied(step, layer, x, given[0])
    columns = [_column(step, each, x) for each in given]

    def of(build: Builder, value: Value, scale: Value, shift: Value, mean: Value, variance: Value) -> Value:
        centred = build(ops.Subtract(), value, mean)
        safe = build(ops.Add(), variance, ops.constant(build, epsilon, value.type))
        factor = build(ops.Divide(), scale, build(ops.Sqrt(), safe))
        return build(ops.Add(), build(ops.Multiply(), centred, factor), shift)

    return step.each("batchnorm", of, x, *columns)


def _applied(step: Step, layer: Layer, x: Variable, scale: Held) -> Variable:
    order = channels_last(x.rank)
    name = scale.name if isinstance(scale, Known) else ""
    return Variable.of(step.apply(layer, x.at(order), weight=name), order)


def _column(step: Step, each: Held, x: Variable) -> Held:
    """Return one number for each channel, [C, 1, 1], to be broadcast."""
    shape = (int(x.shape[1]), *[1] * (x.rank - 2))
    if isinstance(each, Known):
        return Known(each.array.reshape(shape), each.name)
    return Variable.of(reshaped(each.in_file, shape))


def _of_batch(
    step: Step, x: Variable, given: list[Held], epsilon: float, kept: float
) -> tuple[Held | None, ...]:
    """Return the batch's own normalisation, and the running statistics after it."""
    if sum(step.wanted) > 3:
        raise in_the_way("it returns the statistics of training of before version 14")
    order = channels_last(x.rank)
    axes = tuple(range(x.rank - 1))
    count = len(order) - 1

    def normalised(build: Builder, value: Value, scale: Value, shift: Value) -> Value:
        mean = build(ops.Mean(axes), value)
        centred = build(ops.Subtract(), value, build(ops.Broadcast(value.type.shape), mean))
        inverse = build(ops.InverseDeviation(axes, epsilon=epsilon), centred)
        factor = build(ops.Broadcast(value.type.shape), build(ops.Multiply(), scale, inverse))
        scaled = build(ops.Multiply(), centred, factor)
        return build(ops.Add(), scaled, build(ops.Broadcast(value.type.shape), shift))

    def running(of_batch: Any) -> Any:
        def of(build: Builder, value: Value, old: Value) -> Value:
            new = of_batch(build, value)
            before = build(ops.Multiply(), old, ops.constant(build, kept, old.type))
            return build(
                ops.Add(), before, build(ops.Multiply(), new, ops.constant(build, 1 - kept, old.type))
            )

        return of

    def variance(build: Builder, value: Value) -> Value:
        mean = build(ops.Broadcast(value.type.shape), build(ops.Mean(axes), value))
        centred = build(ops.Subtract(), value, mean)
        return build(ops.Mean(axes), build(ops.Multiply(), centred, centred))

    assert count == len(axes)
    scale, shift, mean, deviation = (step.as_variable(each).in_file for each in given)
    y = Variable.of(step.emit("batchnorm", normalised, x.at(order), scale, shift), order)
    if sum(step.wanted) == 1:
        return (y,)
    means = step.emit("running_mean", running(op(ops.Mean(axes))), x.at(order), mean)
    variances = step.emit("running_variance", running(variance), x.at(order), deviation)
    return y, Variable.of(means), Variable.of(variances)


@reads("InstanceNormalization")
def instance_norm(step: Step) -> Variable:
    x = step.variable(0)
    epsilon = float(step.setting("epsilon", default=1e-5))
    scale, shift = step[1], step[2]
    if isinstance(scale, Known) and isinstance(shift, Known) and x.rank == 4:
        layer = InstanceNorm2d(epsilon, affine=True)
        layer.first_values = {"scale": scale.array, "shift": shift.array}
        return _applied(step, layer, x, scale)
    order = channels_last(x.rank)
    places = tuple(range(1, x.rank - 1))
    normal = Variable.of(
        step.emit("instancenorm", lambda b, v: normalized(b, v, places, epsilon), x.at(order)), order
    )
    scaled = step.each("scale", op(ops.Multiply()), normal, _column(step, scale, x))
    return step.each("shift", op(ops.Add()), scaled, _column(step, shift, x))


def normalized(build: Builder, x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    """Append (x - mean) / √(variance + epsilon) over axes."""
    mean = build(ops.Broadcast(x.type.shape), build(ops.Mean(axes, keep=True), x))
    centred = build(ops.Subtract(), x, mean)
    inverse = build(ops.InverseDeviation(axes, keep=True, epsilon=epsilon), centred)
    return build(ops.Multiply(), centred, build(ops.Broadcast(x.type.shape), inverse))


@reads("LayerNormalization")
def layer_norm(step: Step) -> Variable | tuple[Held | None, ...]:
    x = step.variable(0)
    axis = step.axis(x.rank, default=-1)
    epsilon = float(step.setting("epsilon", default=1e-5))
    scale, shift = step[1], step.optional(2)
    if isinstance(scale, Known) and isinstance(shift, Known) and axis > 0 and sum(step.wanted) == 1:
        size = tuple(int(each) for each in x.shape[axis:])
        layer = LayerNorm(epsilon, axes=x.rank - axis)
        layer.first_values = {
            "scale": np.broadcast_to(scale.array, size), "shift": np.broadcast_to(shift.array, size)
        }  # fmt: skip
        order = x.any_order if x.any_order[axis:] == tuple(range(axis, x.rank)) else as_in_file(x.rank)
        return Variable.of(step.apply(layer, x.at(order), weight=scale.name), order)
    axes = tuple(range(axis, x.rank))
    normal = Variable.of(step.emit("layernorm", lambda b, v: normalized(b, v, axes, epsilon), x.in_file))
    scaled = step.each("scale", op(ops.Multiply()), normal, scale)
    y = scaled if shift is None else step.each("shift", op(ops.Add()), scaled, shift)
    if sum(step.wanted) == 1:
        return y

    def inverse(build: Builder, value: Value) -> Value:
        mean = build(ops.Broadcast(value.type.shape), build(ops.Mean(axes, keep=True), value))
        centred = build(ops.Subtract(), value, mean)
        return build(ops.InverseDeviation(axes, keep=True, epsilon=epsilon), centred)

    mean = step.emit("mean", op(ops.Mean(axes, keep=True)), x.in_file)
    return y, Variable.of(mean), Variable.of(step.emit("inverse_deviation", inverse, x.in_file))


@reads("GroupNormalization")
def group_norm(step: Step) -> Variable:
    """Scales are one for each channel since version 21, and one for each group before."""
    x = step.variable(0)
    groups, epsilon = int(step.setting("num_groups")), float(step.setting("epsilon", default=1e-5))
    channels = int(x.shape[1])
    scale, shift = step[1], step[2]
    if isinstance(scale, Known) and isinstance(shift, Known):
        layer = GroupNorm(groups, epsilon)
        arrays = [each.array.repeat(channels // each.array.size) for each in (scale, shift)]
        layer.first_values = dict(zip(("scale", "shift"), arrays, strict=True))
        return _applied(step, layer, x, scale)
    batch, _, *places = x.shape
    rows = (batch, groups, channels // groups * int(np.prod([int(size) for size in places])))
    apart = reshaped(x.in_file, rows)
    normal = reshaped(step.emit("groupnorm", lambda b, v: normalized(b, v, (2,), epsilon), apart), x.shape)
    columns = []
    for each in (step.as_variable(scale), step.as_variable(shift)):
        count = int(each.shape[0])
        wide = reshaped(each.in_file, (count, 1))
        repeats = (count, channels // count)
        spread = step.emit("repeat", lambda b, v, shape=repeats: b(ops.Broadcast(shape), v), wide)
        columns.append(Variable.of(reshaped(spread, (channels, *[1] * len(places)))))
    scaled = step.each("scale", op(ops.Multiply()), Variable.of(normal), columns[0])
    return step.each("shift", op(ops.Add()), scaled, columns[1])


@reads("LRN")
def local_response_norm(step: Step) -> Variable:
    x = step.variable(0)
    size = int(step.setting("size"))
    if size % 2 == 0:
        raise in_the_way(f"its size {size} is even, and ONNX counts the channel more on the other side")
    alpha, beta, bias = (
        float(step.setting(name, default=value))
        for name, value in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    order = channels_last(x.rank)
    return Variable.of(step.apply(LocalResponseNorm(size, alpha, beta, bias), x.at(order)), order)


@reads("LpNormalization")
def lp_normalization(step: Step) -> Variable:
    x = step.variable(0)
    order, p = x.any_order, int(step.setting("p", default=2))
    axes = (order.index(step.axis(x.rank, default=-1)),)

    def of(build: Builder, value: Value) -> Value:
        powers = build(ops.Abs(), value) if p == 1 else build(ops.Multiply(), value, value)
        total = build(ops.Sum(axes, keep=True), powers)
        norm = total if p == 1 else build(ops.Sqrt(), total)
        one, zero = (ops.constant(build, number, value.type) for number in (1.0, 0.0))
        safe = build(ops.Select(), build(ops.Greater(), norm, zero), norm, one)
        return build(ops.Divide(), value, build(ops.Broadcast(value.type.shape), safe))

    return Variable.of(step.emit("lp_normalization", of, x.at(order)), order)
