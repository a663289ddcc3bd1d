"""Ops that move or repeat elements: most are Slice, Pad or Gather along axes of the layout at hand."""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.interchange.onnx.emitters.convolution import FARTHEST, is_single, transposed
from graphcnn.interchange.onnx.layouts import CHANNELS_FIRST, Layout, keeps_order, of_transposed, plain
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import Dim, Node, Value
from graphcnn.ops.interpolation import Grid
from graphcnn.ops.taking import Run


def zero_insert(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write a row of zeros at the end, and then rows and columns of the images or of those zeros."""
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.ZeroInsert)
    tensor = write.tensor(x, CHANNELS_FIRST)
    widths = write.integers(0, 0, 0, 0, 0, 0, 1, 1)
    tensor = write("Pad", tensor, widths, write.number(0, x.type))
    for axis in (0, 1):
        size, factor = x.type.static(1 + axis), op.factors[axis]
        places = np.full((size - 1) * factor + 1, size, np.int64)
        places[::factor] = np.arange(size)
        tensor = write("Gather", tensor, write.constant(places), axis=2 + axis)
    write.put(results[0], tensor, CHANNELS_FIRST)


def subsample(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.Subsample)
    layout = write.layout(x)
    axes = [layout.index(axis) for axis in (1, 2)]
    sizes = [x.type.static(axis) for axis in (1, 2)]
    tensor = sliced(write, write.tensor(x, layout), axes, [0, 0], sizes, list(op.factors))
    write.put(results[0], tensor, layout)


def sliced(
    write: Writer, tensor: str, axes: list[int], starts: list[int], ends: list[int], steps: list[int]
) -> str:
    """Write a slice along some axes."""
    return write("Slice", tensor, *(write.integers(*each) for each in (starts, ends, axes, steps)))


def pad(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.Pad)
    layout = write.layout(x)
    before, after = ([op.widths[axis][side] for axis in layout] for side in (0, 1))
    tensor = write.tensor(x, layout)
    if any((*before, *after)):
        tensor = write("Pad", tensor, write.integers(*before, *after), write.number(op.value, x.type))
    write.put(results[0], tensor, layout)


def crop(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write a slice; what is cropped off an input gradient is not computed at all."""
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.Crop)
    is_of_pixels = x.type.rank == 4 and not any((*op.widths[0], *op.widths[3])) and write.is_read_once(x)
    if is_of_pixels and transposed(write, write.node_of(x), results[0], (op.widths[1], op.widths[2])):
        return
    layout = write.layout(x)
    cut = [axis for axis, widths in enumerate(op.widths) if any(widths)]
    tensor = write.tensor(x, layout)
    if cut:
        ends = [x.type.static(axis) - op.widths[axis][1] for axis in cut]
        starts = [op.widths[axis][0] for axis in cut]
        tensor = sliced(write, tensor, [layout.index(axis) for axis in cut], starts, ends, [1] * len(cut))
    write.put(results[0], tensor, layout)


# Along one axis


def take(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.Take)
    layout = write.layout(x)
    tensor, axis = write.tensor(x, layout), layout.index(op.axis)
    first, count, step = op.runs[0]
    if len(op.runs) == 1 and step:
        end = first + count * step
        tensor = sliced(write, tensor, [axis], [first], [end if end >= 0 else FARTHEST], [step])
    else:
        tensor = write("Gather", tensor, write.constant(_places(op.runs)), axis=axis)
    write.put(results[0], tensor, layout)


def scatter_sum(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.ScatterSum)
    layout = (op.axis, *(axis for axis in range(x.type.rank) if axis != op.axis))
    sizes: tuple[Dim, ...] = (op.size, *(x.type.shape[axis] for axis in layout[1:]))
    zeros = write.zeros(sizes, x.type.dtype)
    places = write.constant(_places(op.runs)[:, None])
    total = write("ScatterND", zeros, places, write.tensor(x, layout), reduction="add")
    write.put(results[0], total, layout)


def _places(runs: tuple[Run, ...]) -> Array:
    return np.concatenate([first + step * np.arange(count, dtype=np.int64) for first, count, step in runs])


def interpolate(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write a Resize of rows or of columns of images in float32, and else a product with a matrix."""
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.Interpolate)
    if is_single(x) and x.type.rank == 4 and op.axis in (1, 2) and write.opset >= 18:
        mode = "align_corners" if op.align_corners else "half_pixel"
        sizes, axes = write.integers(op.size), [op.axis + 1]
        tensor = write.tensor(x, CHANNELS_FIRST)
        resized = write(
            "Resize", tensor, "", "", sizes, mode="linear", coordinate_transformation_mode=mode, axes=axes
        )
        write.put(results[0], resized, CHANNELS_FIRST)
    else:
        matrix = shares(op.grid(x.type)).T
        along_axis(write, x, results[0], op.axis, matrix)


def interpolate_transposed(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.InterpolateTransposed)
    along_axis(write, x, results[0], op.axis, shares(op.grid(x.type)))


def shares(grid: Grid) -> Array:
    """Return [fine, coarse]: the share that each coarse place has in each fine one."""
    matrix = np.zeros((grid.fine, grid.coarse))
    for fine, number in enumerate(grid.numerators()):
        below, rest = divmod(number, grid.denominator)
        t = rest / grid.denominator
        matrix[fine, below] += 1 - t
        matrix[fine, min(below + 1, grid.coarse - 1)] += t
    return matrix


def along_axis(write: Writer, x: Value, result: Value, axis: int, matrix: Array) -> None:
    """Write the product of a matrix [size, size'] with one axis of a value, which it stands last for."""
    layout = (*(each for each in range(x.type.rank) if each != axis), axis)
    product = write("MatMul", write.tensor(x, layout), write.constant(matrix.astype(x.type.dtype)))
    write.put(result, product, layout)


# Whole tensors


def transpose(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write nothing: the tensors that hold the operand hold the result, in other layouts."""
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.Transpose)
    if not write.layouts(x):
        write.tensor(x)
    for layout in write.layouts(x):
        write.put(results[0], write.tensor(x, layout), of_transposed(layout, op.permutation))


def reshape(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write a reshape; to an image of one pixel, channels first at once."""
    (x,), op = node.operands, node.op
    assert isinstance(op, ops.Reshape)
    layout: Layout = plain(len(op.shape))
    if len(op.shape) == 4 and keeps_order(op.shape, CHANNELS_FIRST):
        layout = CHANNELS_FIRST
    write.put(results[0], write.reshaped(write.in_order(x), [op.shape[axis] for axis in layout]), layout)


def broadcast(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    """Write nothing: who reads it repeats it, or has it written out (`Writer.tensor`)."""
    if node.operands[0].type.shape == results[0].type.shape:
        write.put(results[0], write.tensor(node.operands[0]))


def concatenate(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    op = node.op
    assert isinstance(op, ops.Concatenate)
    layout = write.layout(*node.operands)
    tensors = [write.tensor(each, layout) for each in node.operands]
    write.put(results[0], write("Concat", *tensors, axis=layout.index(op.axis)), layout)


EMITTERS = {
    ops.ZeroInsert: zero_insert,
    ops.Subsample: subsample,
    ops.Pad: pad,
    ops.Crop: crop,
    ops.Take: take,
    ops.ScatterSum: scatter_sum,
    ops.Interpolate: interpolate,
    ops.InterpolateTransposed: interpolate_transposed,
    ops.Transpose: transpose,
    ops.Reshape: reshape,
    ops.Broadcast: broadcast,
    ops.Concatenate: concatenate,
}
