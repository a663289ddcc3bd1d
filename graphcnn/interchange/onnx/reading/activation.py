"""Activations, and what is random in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from graphcnn import ops
from graphcnn.dsl import layers
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.activation import SELU_ALPHA, SELU_SCALE, with_slope_below
from graphcnn.dsl.layers.base import Layer
from graphcnn.interchange.onnx.reading.step import Step, positive, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Held, Known, Variable, channels_last
from graphcnn.ir import BATCH, Value


def _alpha(step: Step, default: float) -> float:
    return float(step.setting("alpha", default=default))


_LAYERS: Final[dict[str, Callable[[Step], Layer]]] = {
    "Relu": lambda step: layers.ReLU(),
    "Sigmoid": lambda step: layers.Sigmoid(),
    "Tanh": lambda step: layers.Tanh(),
    "Softsign": lambda step: layers.Softsign(),
    "Softplus": lambda step: layers.Softplus(),
    "HardSwish": lambda step: layers.Hardswish(),
    "Mish": lambda step: layers.Mish(),
    "LeakyRelu": lambda step: layers.LeakyReLU(_alpha(step, 0.01)),
    "Elu": lambda step: layers.ELU(_alpha(step, 1.0)),
    "Celu": lambda step: layers.CELU(_alpha(step, 1.0)),
    "Gelu": lambda step: layers.GELU("tanh" if step.setting("approximate") == "tanh" else "none"),
}


@reads(*_LAYERS)
def activation(step: Step) -> Variable:
    return step.map(_LAYERS[step.node.op_type](step), step.variable(0))


@reads("Selu")
def selu(step: Step) -> Variable:
    alpha, gamma = _alpha(step, SELU_ALPHA), float(step.setting("gamma", default=SELU_SCALE))
    if abs(alpha - SELU_ALPHA) < 1e-6 and abs(gamma - SELU_SCALE) < 1e-6:
        return step.map(layers.SELU(), step.variable(0))

    def of(build: Builder, x: Value) -> Value:
        result: Value = build(ops.Multiply(), build(ops.Elu(alpha), x), ops.constant(build, gamma, x.type))
        return result

    return step.each("selu", of, step[0])


@reads("HardSigmoid")
def hard_sigmoid(step: Step) -> Variable:
    alpha, beta = _alpha(step, 0.2), float(step.setting("beta", default=0.5))
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return step.map(layers.Hardsigmoid(), step.variable(0))

    def of(build: Builder, x: Value) -> Value:
        scaled = build(ops.Multiply(), x, ops.constant(build, alpha, x.type))
        result: Value = build(ops.Clip(0.0, 1.0), build(ops.Add(), scaled, ops.constant(build, beta, x.type)))
        return result

    return step.each("hardsigmoid", of, step[0])


@reads("ThresholdedRelu")
def thresholded_relu(step: Step) -> Variable:
    alpha = _alpha(step, 1.0)

    def of(build: Builder, x: Value) -> Value:
        above = build(ops.Greater(), x, ops.constant(build, alpha, x.type))
        result: Value = build(ops.Select(), above, x, ops.constant(build, 0.0, x.type))
        return result

    return step.each("thresholded_relu", of, step[0])


@reads("Swish")
def swish(step: Step) -> Variable:
    alpha = _alpha(step, 1.0)
    if alpha == 1:
        return step.map(layers.SiLU(), step.variable(0))

    def of(build: Builder, x: Value) -> Value:
        gate = build(ops.Sigmoid(), build(ops.Multiply(), x, ops.constant(build, alpha, x.type)))
        result: Value = build(ops.Multiply(), x, gate)
        return result

    return step.each("swish", of, step[0])


@reads("Shrink")
def shrink(step: Step) -> Variable:
    lambd, bias = (
        float(step.setting(name, default=value)) for name, value in (("lambd", 0.5), ("bias", 0.0))
    )

    def of(build: Builder, x: Value) -> Value:
        zero, edge, shift = (ops.constant(build, value, x.type) for value in (0.0, lambd, bias))
        above = build(ops.Select(), build(ops.Greater(), x, edge), build(ops.Subtract(), x, shift), zero)
        is_below = build(ops.Greater(), build(ops.Negate(), x), edge)
        result: Value = build(ops.Select(), is_below, build(ops.Add(), x, shift), above)
        return result

    return step.each("shrink", of, step[0])


@reads("PRelu")
def prelu(step: Step) -> Variable:
    """A slope for all, or one for each channel, is the layer; others are broadcast."""
    x, slope = step.variable(0), step[1]
    channels = x.shape[1] if x.rank > 1 else 0
    if step.version < 7 and slope.rank == 1 and isinstance(slope, Known):
        slope = Known(slope.array.reshape(-1, *[1] * (x.rank - 2)), slope.name)
    if isinstance(slope, Known) and slope.name and slope.array.dtype.kind == "f":
        is_of_channels = (
            slope.array.size == channels and slope.rank == x.rank - 1 and slope.shape[0] == channels
        )
        if is_of_channels or slope.array.size == 1:
            layer = layers.PReLU(per_channel=is_of_channels)
            layer.first_values = {"slope": slope.array.reshape((-1,) if is_of_channels else ())}
            order = channels_last(x.rank)
            return Variable.of(step.apply(layer, x.at(order), weight=slope.name), order)
    return step.each("prelu", with_slope_below, x, slope)


@reads("Clip")
def clip(step: Step) -> Variable:
    """Bounds are attributes up to version 6, and operands since; they may be computed."""
    bounds: list[Held | None] = [step.optional(1), step.optional(2)]
    for position, name in enumerate(("min", "max")):
        if name in step.attributes:
            bounds[position] = Known(np.asarray(step.attributes[name]))
    if all(bound is None or (isinstance(bound, Known) and bound.array.size == 1) for bound in bounds):
        low, high = (
            default if bound is None else float(bound.array.reshape(-1)[0])  # type: ignore[union-attr]
            for bound, default in zip(bounds, (-np.inf, np.inf), strict=True)
        )
        x = step.variable(0)
        if low > high:
            low = high
        if (low, high) == (0.0, 6.0):
            return step.map(layers.ReLU6(), x)
        return step.each("clip", lambda build, value: build(ops.Clip(low, high), value), x)
    least, most = bounds
    given = [bound for bound in bounds if bound is not None]

    def of(build: Builder, value: Value, *found: Value) -> Value:
        remaining = iter(found)
        if least is not None:
            value = build(ops.Maximum(), value, next(remaining))
        if most is not None:
            value = build(ops.Minimum(), value, next(remaining))
        return value

    return step.each("clip", of, step[0], *given)


@reads("Softmax", "LogSoftmax", "Hardmax")
def softmax(step: Step) -> Variable:
    """Before version 13 it is over all axes from the given one on."""
    x = step.variable(0)
    axis = step.axis(x.rank, default=-1 if step.version >= 13 else 1)
    if step.version < 13 and axis != x.rank - 1:
        if BATCH in x.shape[axis:]:
            raise in_the_way("it is over the batch")
        inner = int(np.prod([int(size) for size in x.shape[axis:]]))
        flat = Variable.of(reshaped(x.in_file, (*x.shape[:axis], inner)))
        return Variable.of(reshaped(_along(step, flat, axis).in_file, x.shape))
    return _along(step, x, axis)


def _along(step: Step, x: Variable, axis: int) -> Variable:
    order = x.any_order
    along = positive(order.index(axis), x.rank)
    if step.node.op_type == "Hardmax":
        order = (*(each for each in range(x.rank) if each != axis), axis)

        def greatest(build: Builder, value: Value) -> Value:
            index = build(ops.ArgMax(x.rank - 1), value)
            result: Value = build(ops.OneHot(value.type.static(x.rank - 1), value.type.dtype), index)
            return result

        return Variable.of(step.emit("hardmax", greatest, x.at(order)), order)
    kind = layers.Softmax if step.node.op_type == "Softmax" else layers.LogSoftmax
    return Variable.of(step.apply(kind(along), x.at(order)), order)


@reads("Dropout")
def dropout(step: Step) -> tuple[Held | None, ...]:
    """The layer, which does nothing but in training. Its mask is that of inference, in which all stays."""
    x = step.variable(0)
    ratio = step.setting("ratio", 1, 0.5)
    is_training = step.setting("training_mode", 2, False)
    if is_training and ratio and not step.making.batch and BATCH not in x.shape:
        raise in_the_way("it drops at random, and a network does so in training alone")
    rate = float(ratio if not isinstance(ratio, list) else ratio[0])
    if not 0 <= rate < 1:
        raise in_the_way(f"its ratio {rate} is not below 1")
    result = step.map(layers.Dropout(rate), x) if rate else x
    if not any(step.wanted[1:]):
        return (result,)
    if BATCH in x.shape:
        raise in_the_way("it returns its mask")
    return result, Known(np.broadcast_to(np.True_, [int(size) for size in x.shape]))
