"""Operators that fold axes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.interchange.onnx.reading.shape import without_axes
from graphcnn.interchange.onnx.reading.step import Step, positive, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Variable
from graphcnn.ir import Value

Folding = Callable[[Any, Value, tuple[int, ...]], Value]


def _sum(build: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    return build(ops.Sum(axes, keep=True), x)


def _max(build: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    return build(ops.Max(axes, keep=True), x)


def _min(build: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    return build(ops.Negate(), _max(build, build(ops.Negate(), x), axes))


def _square(build: Builder, x: Value) -> Value:
    return build(ops.Multiply(), x, x)


def _log_sum_exp(build: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    """Append ln Σ e^(x - greatest) + greatest, which does not overflow."""
    greatest = _max(build, x, axes)
    apart = build(ops.Subtract(), x, build(ops.Broadcast(x.type.shape), greatest))
    total = build(ops.Log(), _sum(build, build(ops.Exp(), apart), axes))
    return build(ops.Add(), total, greatest)


MOST_FACTORS: Final = 256


def _product(build: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    """Append the product of all places along axes, the first half with the second."""
    for axis in axes:
        if x.type.static(axis) > MOST_FACTORS:
            raise in_the_way(f"it multiplies {x.type.static(axis)} numbers along an axis")
        while (size := x.type.static(axis)) > 1:
            half = size // 2
            first, second = (build(ops.Take(axis, ((begin, half, 1),)), x) for begin in (0, half))
            product = build(ops.Multiply(), first, second)
            if size % 2:
                rest = build(ops.Take(axis, ((size - 1, 1, 1),)), x)
                product = build(ops.Concatenate(axis), product, rest)
            x = product
    return x


_FOLDINGS: Final[dict[str, Folding]] = {
    "ReduceSum": _sum,
    "ReduceMean": lambda build, x, axes: build(ops.Mean(axes, keep=True), x),
    "ReduceMax": _max,
    "ReduceMin": _min,
    "ReduceProd": _product,
    "ReduceL1": lambda build, x, axes: _sum(build, build(ops.Abs(), x), axes),
    "ReduceL2": lambda build, x, axes: build(ops.Sqrt(), _sum(build, _square(build, x), axes)),
    "ReduceSumSquare": lambda build, x, axes: _sum(build, _square(build, x), axes),
    "ReduceLogSum": lambda build, x, axes: build(ops.Log(), _sum(build, x, axes)),
    "ReduceLogSumExp": _log_sum_exp,
}


@reads(*_FOLDINGS)
def reduction(step: Step) -> Variable:
    x = step.variable(0)
    axes = step.setting("axes", 1)
    if not axes:
        if step.setting("noop_with_empty_axes", default=0):
            return x
        axes = range(x.rank)
    folded = {positive(axis, x.rank) for axis in axes}
    keeps = bool(step.setting("keepdims", default=1))
    name, order = step.node.op_type, x.any_order
    places = tuple(sorted(order.index(axis) for axis in folded))
    if name in ("ReduceSum", "ReduceMean", "ReduceMax") and not keeps:
        kind = {"ReduceSum": ops.Sum, "ReduceMean": ops.Mean, "ReduceMax": ops.Max}[name]
        tensor = step.emit(kind.name, lambda build, v: build(kind(places), v), x.at(order))
        stay = [axis for axis in order if axis not in folded]
        return Variable.of(tensor, tuple(sorted(stay).index(axis) for axis in stay))
    rule = _FOLDINGS[name]
    result = Variable.of(step.emit(name.lower(), lambda build, v: rule(build, v, places), x.at(order)), order)
    return result if keeps else without_axes(result, order, folded)


@reads("ArgMax", "ArgMin")
def arg_max(step: Step) -> Variable:
    x = step.variable(0)
    axis, keeps = step.axis(x.rank), bool(step.setting("keepdims", default=1))
    is_last = bool(step.setting("select_last_index", default=0))
    order = x.any_order
    place, size = order.index(axis), x.shape[axis]

    def of(build: Builder, value: Value) -> Value:
        if step.node.op_type == "ArgMin":
            value = build(ops.Negate(), value)
        if not is_last:
            return build(ops.ArgMax(place), value)
        last = value.type.static(place) - 1
        index = build(ops.ArgMax(place), build(ops.Take(place, ((last, last + 1, -1),)), value))
        from_end = build(ops.Cast("float64"), index)
        mirrored = build(ops.Subtract(), ops.constant(build, float(last), from_end.type), from_end)
        return build(ops.Cast("int64"), mirrored)

    if not isinstance(size, int):
        raise in_the_way("it is along the batch")
    tensor = step.emit(step.node.op_type.lower(), of, x.at(order))
    stay = [each for each in order if each != axis]
    if not keeps:
        return Variable.of(tensor, tuple(sorted(stay).index(each) for each in stay))
    shape = tuple(1 if each == axis else x.shape[each] for each in order)
    return Variable.of(reshaped(tensor, shape), order)


@reads("CumSum")
def cumulative_sum(step: Step) -> Variable:
    """The product with a matrix of ones and zeros: a sum of all places before, along the last axis."""
    x = step.variable(0)
    axis = positive(int(step.known(1, "axis").reshape(-1)[0]), x.rank)
    size = x.shape[axis]
    if not isinstance(size, int) or x.dtype not in ("float32", "float64") or size > 2048:
        raise in_the_way(f"it is along {size} places of {x.dtype}")
    matrix = np.triu(np.ones((size, size)), int(bool(step.setting("exclusive", default=0))))
    if step.setting("reverse", default=0):
        matrix = matrix.T
    return along_axis(step, "cumsum", x, axis, matrix)


def along_axis(step: Step, label: str, x: Variable, axis: int, matrix: Any) -> Variable:
    """Return the product of the numbers along an axis with a constant matrix."""
    from graphcnn.dsl.matrices import product
    from graphcnn.interchange.onnx.reading.values import Known

    order = (*(each for each in range(x.rank) if each != axis), axis)
    constant = step.stored(Known(matrix.astype(x.dtype)), (0, 1))
    return Variable.of(step.emit(label, product, x.at(order), constant), order)
