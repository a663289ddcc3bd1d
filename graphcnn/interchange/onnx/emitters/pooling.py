"""Pooling. What a max pool notes is where the winner of each window lies among the pixels of its channel.

The graph notes which unit of its window has won. `_places` and `_units` turn one into the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.interchange.onnx.emitters.convolution import is_single, pads
from graphcnn.interchange.onnx.emitters.windows import window_sums
from graphcnn.interchange.onnx.layouts import CHANNELS_FIRST
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import Node, TensorType, Value


def max_pool(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.MaxPool2d)
    tensor = write.tensor(x, CHANNELS_FIRST)
    if not write.graph.users(results[1]) and results[1] not in write.graph.roots():
        write.put(results[0], write("MaxPool", tensor, **_windows(op)), CHANNELS_FIRST)
        return
    winner, place = write.all("MaxPool", tensor, outputs=2, **_windows(op))
    write.put(results[0], winner, CHANNELS_FIRST)
    pixels = write.constant(np.array(x.type.static(1) * x.type.static(2)))
    place = write("Mod", place, pixels)  # counted in each channel, and not through the whole batch
    write.note(results[1], place)
    write.put(results[1], _units(write, op, x.type, place), CHANNELS_FIRST)


def _windows(op: Any) -> dict[str, list[int]]:
    """Return the attributes that all of ONNX's pools have."""
    return {"kernel_shape": list(op.size), "strides": list(op.stride), "pads": pads(op.padding)}


def _units(write: Writer, op: Any, images: TensorType, place: str) -> str:
    """Return the numbers of units in their windows, [N, C, H', W'], for places among the pixels."""
    rows, columns = _begins(op, images)
    width = write.constant(np.array(images.static(2)))
    row = write("Sub", write("Div", place, width), write.constant(rows))
    column = write("Sub", write("Mod", place, width), write.constant(columns))
    unit = write("Add", write("Mul", row, write.constant(np.array(op.size[1]))), column)
    return write.cast(unit, op.index_dtype)


def _places(write: Writer, op: Any, images: TensorType, index: Value) -> str:
    """Return the places among the pixels of a channel, [N, C, H', W'], for numbers of units."""
    noted = write.noted(index)
    if noted:
        return noted
    rows, columns = _begins(op, images)
    unit = write.cast(write.tensor(index, CHANNELS_FIRST), "int64")
    across = write.constant(np.array(op.size[1]))
    row = write("Add", write("Div", unit, across), write.constant(rows))
    column = write("Add", write("Mod", unit, across), write.constant(columns))
    return write("Add", write("Mul", row, write.constant(np.array(images.static(2)))), column)


def _begins(op: Any, images: TensorType) -> tuple[Array, Array]:
    """Return where windows begin among the pixels: rows [H', 1] and columns [1, W']."""
    pooled = op.pooled(images)
    rows, columns = (
        np.arange(pooled.static(1 + axis)) * op.stride[axis] - op.padding[axis][0] for axis in (0, 1)
    )
    return rows[:, None], columns[None]


def route_to_winner(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write the deltas added into a plane of zeros, each at its winner's place."""
    (delta, index), op, images = node.operands, node.op, results[0].type
    height, width, channels = (images.static(axis) for axis in (1, 2, 3))
    (samples,) = images.shape[:1]
    flat = (samples, channels, delta.type.static(1) * delta.type.static(2))
    places = write.reshaped(_places(write, op, images, index), flat)
    deltas = write.reshaped(write.tensor(delta, CHANNELS_FIRST), flat)
    zeros = write.zeros((samples, channels, height * width), images.dtype)
    total = write("ScatterElements", zeros, places, deltas, axis=2, reduction="add")
    write.put(results[0], write.reshaped(total, (samples, channels, height, width)), CHANNELS_FIRST)


def gather_winner(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x, index), op = node.operands, node.op
    height, width, channels = (x.type.static(axis) for axis in (1, 2, 3))
    pooled = results[0].type
    (samples,) = pooled.shape[:1]
    flat = (samples, channels, pooled.static(1) * pooled.static(2))
    places = write.reshaped(_places(write, op, x.type, index), flat)
    pixels = write.reshaped(write.tensor(x, CHANNELS_FIRST), (samples, channels, height * width))
    chosen = write("GatherElements", pixels, places, axis=2)
    tensor = write.reshaped(chosen, (samples, channels, pooled.static(1), pooled.static(2)))
    write.put(results[0], tensor, CHANNELS_FIRST)


# Sums of windows


def average_pool(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    _average(write, node, results[0], is_sum=False)


def sum_pool(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    _average(write, node, results[0], is_sum=True)


def _average(write: Writer, node: Node, result: Value, *, is_sum: bool) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.AveragePool2d | ops.SumPool2d)
    tensor, units = write.tensor(x, CHANNELS_FIRST), op.size[0] * op.size[1]
    if is_single(x):
        found = write("AveragePool", tensor, count_include_pad=1, **_windows(op))
        factor = float(units) if is_sum else 1.0
    else:
        found = _sums(write, op, x.type, tensor)
        factor = 1.0 if is_sum else 1.0 / units
    if factor != 1.0:
        found = write("Mul", found, write.number(factor, x.type))
    write.put(result, found, CHANNELS_FIRST)


def _sums(write: Writer, op: Any, images: TensorType, tensor: str) -> str:
    """Write sums of windows [N, C, H', W'] as products with two sparse matrices."""
    rows, columns = _matrices(op, images)
    return _product(write, rows, tensor, columns.T, images.dtype)


def _product(write: Writer, rows: Array, tensor: str, columns: Array, dtype: str) -> str:
    """Write the product of a matrix, the images of each channel, and another matrix."""
    left, right = (write.constant(np.array(each, dtype, order="C")) for each in (rows, columns))
    return write("MatMul", left, write("MatMul", tensor, right))


def _matrices(op: Any, images: TensorType) -> list[Array]:
    """Return [H', H] and [W', W]: 1 where a row or column belongs to a window."""
    pooled = op.pooled(images)
    return [
        window_sums(
            images.static(1 + axis),
            pooled.static(1 + axis),
            op.stride[axis],
            op.size[axis],
            op.padding[axis][0],
        )
        for axis in (0, 1)
    ]


def spread_to_block(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write the transpose of sums of windows: products with the two matrices the other way."""
    (delta,), images = node.operands, results[0].type
    rows, columns = _matrices(node.op, images)
    tensor = write.tensor(delta, CHANNELS_FIRST)
    write.put(results[0], _product(write, rows.T, tensor, columns, images.dtype), CHANNELS_FIRST)


def l2_pool(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.L2Pool2d)
    tensor = write.tensor(x, CHANNELS_FIRST)
    if is_single(x):
        found = write("LpPool", tensor, p=2, **_windows(op))
    else:
        found = write("Sqrt", _sums(write, op, x.type, write("Mul", tensor, tensor)))
    write.put(results[0], found, CHANNELS_FIRST)


EMITTERS = {
    ops.MaxPool2d: max_pool,
    ops.RouteToWinner2d: route_to_winner,
    ops.GatherWinner2d: gather_winner,
    ops.SumPool2d: sum_pool,
    ops.AveragePool2d: average_pool,
    ops.SpreadToBlock2d: spread_to_block,
    ops.L2Pool2d: l2_pool,
}
