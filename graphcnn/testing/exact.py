"""Values of a graph in exact rational numbers: what its ops mean, with no rounding at all.

Every op that is rational has a line in `MEANINGS`, on arrays of `fractions.Fraction`. Roots, exponentials
and the like have none. It is slow, and independent of every backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final, TypeAlias

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.errors import GraphError
from graphcnn.ir import BATCH, Graph, Input, Op, batch_inputs, concrete_shape
from graphcnn.ops.interpolation import Grid
from graphcnn.testing import naive

Meaning: TypeAlias = Callable[[Any, list[Array], int], Array | tuple[Array, ...]]
"""An op, its operands and the batch size to its results: arrays of dtype object."""


def is_rational(graph: Graph, meanings: Mapping[type[Op], Meaning] | None = None) -> bool:
    """Return whether every op of a graph has a meaning in rational numbers."""
    known = {**MEANINGS, **(meanings or {})}
    return all(isinstance(node.op, Input) or type(node.op) in known for _, node in graph.items())


def evaluate_exactly(
    graph: Graph, inputs: Mapping[str, Array], meanings: Mapping[type[Op], Meaning] | None = None
) -> dict[str, Array]:
    """Return outputs and updates by name, as arrays of fractions, integers and booleans.

    inputs: by name, arrays of dtype object that hold the same. meanings: of further ops.
    Raises GraphError for an op that has no rational meaning.
    """
    known = {**MEANINGS, **(meanings or {})}
    batched = batch_inputs(graph)
    batch = 1
    if batched:
        batch = inputs[batched[0]].shape[graph.inputs[batched[0]].type.shape.index(BATCH)]
    values: dict[int, tuple[Array, ...]] = {}
    for key, node in graph.items():
        if isinstance(node.op, Input):
            values[key] = (np.asarray(inputs[node.op.label], object),)
            continue
        meaning = known.get(type(node.op))
        if meaning is None:
            raise GraphError(f"{node.op.name} is not rational: it has no exact value")
        results = meaning(node.op, [values[v.key][v.index] for v in node.operands], batch)
        values[key] = results if isinstance(results, tuple) else (results,)
    roots = {**graph.outputs, **{f"update of {k}": v for k, v in graph.updates.items()}}
    return {label: values[value.key][value.index] for label, value in roots.items()}


def _each(function: Callable[..., Any], operands: int) -> Meaning:
    apply = np.frompyfunc(function, operands, 1)
    return lambda op, arrays, batch: np.asarray(apply(*arrays), object)


def _constant(op: ops.Constant, arrays: list[Array], batch: int) -> Array:
    """A constant is a number of its own precision."""
    return np.asarray(Fraction(np.asarray(op.value, op.type.dtype).item()), object)


def _nearest_bfloat16(x: Fraction) -> Fraction:
    """Return the nearest multiple, an even one in doubt, of what bfloat16 numbers of its size lie apart."""
    size, exponent = abs(x), abs(x.numerator).bit_length() - x.denominator.bit_length()
    if size < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (max(exponent, -126) - 7)
    return round(x / step) * step


def _power(op: ops.Power, arrays: list[Array], batch: int) -> Array:
    if op.exponent % 1:
        raise GraphError(f"power({op.exponent}) is not rational: it has no exact value")
    return np.asarray(arrays[0] ** int(op.exponent), object)


def _sum(op: ops.Sum | ops.Mean, arrays: list[Array], batch: int) -> Array:
    (x,) = arrays
    total = np.asarray(x.sum(axis=op.axes, keepdims=op.keep), object)
    count = math.prod(x.shape[axis] for axis in op.axes)
    return np.asarray(total / Fraction(count), object) if isinstance(op, ops.Mean) else total


def _count(op: ops.Count, arrays: list[Array], batch: int) -> Array:
    return np.asarray(Fraction(math.prod(arrays[0].shape[axis] for axis in op.axes)), object)


def _zero_insert(op: ops.ZeroInsert, arrays: list[Array], batch: int) -> Array:
    (x,) = arrays
    n, height, width, channels = x.shape
    rows, columns = op.factors
    result = np.full((n, (height - 1) * rows + 1, (width - 1) * columns + 1, channels), Fraction(0), object)
    result[:, ::rows, ::columns] = x
    return result


def _pad(op: ops.Pad, arrays: list[Array], batch: int) -> Array:
    (x,) = arrays
    sides = list(zip(x.shape, op.widths, strict=True))
    result = np.full([size + sum(pair) for size, pair in sides], Fraction(op.value), object)
    result[tuple(slice(before, before + size) for size, (before, _) in sides)] = x
    return result


def _places(runs: tuple[tuple[int, int, int], ...]) -> list[int]:
    return [first + step * k for first, count, step in runs for k in range(count)]


def _scatter_sum(op: ops.ScatterSum, arrays: list[Array], batch: int) -> Array:
    terms = np.moveaxis(arrays[0], op.axis, 0)
    result = np.full((op.size, *terms.shape[1:]), Fraction(0), object)
    for place, term in zip(_places(op.runs), terms, strict=True):
        result[place] = result[place] + term
    return np.moveaxis(result, 0, op.axis)


def _weights(grid: Grid) -> Array:
    """Return how much each fine place, a row, has of each coarse one."""
    places = [Fraction(number, grid.denominator) for number in grid.numerators()]
    return np.array(
        [[max(Fraction(0), 1 - abs(place - j)) for j in range(grid.coarse)] for place in places], object
    )


def _interpolate(op: ops.Interpolate, arrays: list[Array], batch: int) -> Array:
    weights = _weights(Grid(arrays[0].shape[op.axis], op.size, op.align_corners))
    return np.moveaxis(np.tensordot(weights, arrays[0], (1, op.axis)), 0, op.axis)


def _interpolate_transposed(op: ops.InterpolateTransposed, arrays: list[Array], batch: int) -> Array:
    weights = _weights(Grid(op.size, arrays[0].shape[op.axis], op.align_corners))
    return np.moveaxis(np.tensordot(weights, arrays[0], (0, op.axis)), 0, op.axis)


def _crop(op: ops.Crop, arrays: list[Array], batch: int) -> Array:
    (x,) = arrays
    return x[tuple(slice(a, size - b) for size, (a, b) in zip(x.shape, op.widths, strict=True))]


def _max_pool(op: ops.MaxPool2d, arrays: list[Array], batch: int) -> tuple[Array, ...]:
    found = naive.pools(arrays[0], op.size, op.stride, op.padding)
    return found["max"], found["index"]


def _route(op: ops.RouteToWinner2d, arrays: list[Array], batch: int) -> Array:
    delta, index = arrays
    result = np.full(concrete_shape(op.shape, batch), Fraction(0), object)
    for (n, i, j, c), place in np.ndenumerate(index):
        y = i * op.stride[0] + place // op.size[1] - op.padding[0][0]
        x = j * op.stride[1] + place % op.size[1] - op.padding[1][0]
        result[n, y, x, c] += delta[n, i, j, c]
    return result


def _squared_error(op: ops.SquaredError, arrays: list[Array], batch: int) -> Array:
    squares = (arrays[1] - arrays[0]) ** 2
    return np.asarray(squares.reshape(batch, -1).sum(1) / Fraction(2), object)


def _reversed(op: ops.Rot180, arrays: list[Array], batch: int) -> Array:
    return np.flip(arrays[0], op.axes)


MEANINGS: Final[dict[type[Op], Meaning]] = {
    ops.Constant: _constant,
    ops.Add: _each(lambda x, y: x + y, 2),
    ops.Subtract: _each(lambda x, y: x - y, 2),
    ops.Multiply: _each(lambda x, y: x * y, 2),
    ops.Divide: _each(lambda x, y: x / y, 2),
    ops.Maximum: _each(max, 2),
    ops.Minimum: _each(min, 2),
    ops.Negate: _each(lambda x: -x, 1),
    ops.Abs: _each(abs, 1),
    ops.Sign: _each(lambda x: Fraction((x > 0) - (x < 0)), 1),
    ops.Power: _power,
    ops.Relu: _each(lambda x: max(x, Fraction(0)), 1),
    ops.ReluMask: _each(lambda x: Fraction(x > 0), 1),
    ops.RoundBfloat16: _each(_nearest_bfloat16, 1),
    ops.StopGradient: _each(lambda x: x, 1),
    ops.AllReduce: _each(lambda x: x, 1),
    ops.AllGather: _each(lambda x: x, 1),
    ops.BroadcastFrom: _each(lambda x: x, 1),
    ops.KeepOn: _each(lambda x: x, 1),
    ops.Greater: _each(lambda x, y: x > y, 2),
    ops.GreaterEqual: _each(lambda x, y: x >= y, 2),
    ops.Equal: _each(lambda x, y: x == y, 2),
    ops.LogicalAnd: _each(lambda x, y: x and y, 2),
    ops.LogicalOr: _each(lambda x, y: x or y, 2),
    ops.LogicalNot: _each(lambda x: not x, 1),
    ops.Select: _each(lambda condition, x, y: x if condition else y, 3),
    ops.Correlate2d: lambda op, arrays, batch: naive.sliding_product(op, *arrays),
    ops.Convolve2d: lambda op, arrays, batch: naive.sliding_product(op, *arrays),
    ops.Rot180: _reversed,
    ops.ZeroInsert: _zero_insert,
    ops.Subsample: lambda op, arrays, batch: arrays[0][:, :: op.factors[0], :: op.factors[1]],
    ops.Pad: _pad,
    ops.Crop: _crop,
    ops.Take: lambda op, arrays, batch: arrays[0].take(_places(op.runs), op.axis),
    ops.ScatterSum: _scatter_sum,
    ops.Interpolate: _interpolate,
    ops.InterpolateTransposed: _interpolate_transposed,
    ops.Transpose: lambda op, arrays, batch: arrays[0].transpose(op.permutation),
    ops.Reshape: lambda op, arrays, batch: arrays[0].reshape(concrete_shape(op.shape, batch)),
    ops.Broadcast: lambda op, arrays, batch: np.broadcast_to(arrays[0], concrete_shape(op.shape, batch)),
    ops.Concatenate: lambda op, arrays, batch: np.concatenate(arrays, op.axis),
    ops.Matmul: lambda op, arrays, batch: np.asarray(arrays[0] @ arrays[1], object),
    ops.Sum: _sum,
    ops.Mean: _sum,
    ops.Max: lambda op, arrays, batch: np.asarray(arrays[0].max(op.axes, keepdims=op.keep), object),
    ops.Count: _count,
    ops.MaxPool2d: _max_pool,
    ops.RouteToWinner2d: _route,
    ops.SquaredError: _squared_error,
}
