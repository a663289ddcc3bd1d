"""Ops that move the pixels of each sample by numbers of its own: pixels are gathered from [N, H·W, C]."""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.interchange.onnx.emitters.convolution import FARTHEST
from graphcnn.interchange.onnx.emitters.shape import sliced
from graphcnn.interchange.onnx.layouts import plain
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import BATCH, Dim, Node, TensorType, Value


def flip_samples(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (x, flags), op = node.operands, node.op
    assert isinstance(op, ops.FlipSamples)
    layout = write.layout(x)
    tensor, axis = write.tensor(x, layout), layout.index(op.axis)
    flipped = sliced(write, tensor, [axis], [-1], [FARTHEST], [-1])
    sizes: tuple[Dim, ...] = tuple(BATCH if each == 0 else 1 for each in layout)
    chosen = write.reshaped(write.tensor(flags), sizes)
    write.put(results[0], write("Where", chosen, flipped, tensor), layout)


def crop_samples(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    op = node.op
    assert isinstance(op, ops.CropSamples)
    _shift(write, node, results[0], op.size, op.value, 1)


def paste_samples(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    op = node.op
    assert isinstance(op, ops.PasteSamples)
    _shift(write, node, results[0], op.size, 0.0, -1)


def _shift(write: Writer, node: Node, result: Value, size: tuple[int, int], value: float, sign: int) -> None:
    """Write what lies from each sample's row and column on, and the value beside the images."""
    images, *begins = node.operands
    places = []
    for axis in (0, 1):
        begin = column_of(write, begins[axis], sign)
        places.append(write("Add", begin, write.constant(np.arange(size[axis])[None])))
    rows = write.unsqueezed(places[0], 2)  # [N, H', 1]
    columns = write.unsqueezed(places[1], 1)  # [N, 1, W']
    found, inside = gathered_pixels(write, images, rows, columns, size)
    write.put(result, write("Where", inside, found, write.number(value, images.type)))


def column_of(write: Writer, numbers: Value, sign: int = 1) -> str:
    """Return a whole number of each sample as int64 [N, 1], or the negative one."""
    wide = write.cast(write.tensor(numbers), "int64")
    return write.unsqueezed(write("Neg", wide) if sign < 0 else wide, 1)


def gathered_pixels(
    write: Writer, images: Value, rows: str, columns: str, size: tuple[int, int]
) -> tuple[str, str]:
    """Return pixels [N, H', W', C] at rows and columns of each sample, and where these are in the images.

    rows, columns: [N, H', W'], or what is repeated to that; size: (H', W'). Beside the images, the pixel is
    any one.
    """
    height, width, channels = (images.type.static(axis) for axis in (1, 2, 3))
    inside = write("And", within(write, rows, height), within(write, columns, width))
    place = write("Add", write("Mul", rows, write.constant(np.array(width))), columns)
    place = write("Where", inside, place, write.constant(np.array(0)))
    flat = write.reshaped(place, (BATCH, size[0] * size[1], 1))
    pixels = write.reshaped(write.tensor(images), (BATCH, height * width, channels))
    found = write("GatherND", pixels, flat, batch_dims=1)
    return write.reshaped(found, (BATCH, *size, channels)), write.unsqueezed(inside, 3)


def within(write: Writer, places: str, size: int) -> str:
    """Return whether places are those of an axis: from 0 to size - 1."""
    first, end = (write.constant(np.array(each)) for each in (0, size))
    return write("And", write("GreaterOrEqual", places, first), write("Less", places, end))


def erase_samples(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    (images, *box), op = node.operands, node.op
    assert isinstance(op, ops.EraseSamples)
    within_box = []
    for axis in (0, 1):
        numbers = write.constant(np.arange(images.type.static(1 + axis))[None])
        distance = write("Sub", numbers, column_of(write, box[axis]))
        near = write("GreaterOrEqual", distance, write.constant(np.array(0)))
        within_box.append(write("And", near, write("Less", distance, column_of(write, box[2 + axis]))))
    layout = write.layout(images)
    if [axis for axis in layout if axis != 3] != [0, 1, 2]:
        layout = plain(4)
    rows, columns = (
        _along(write, each, axis, images.type, layout) for axis, each in enumerate(within_box, 1)
    )
    value = write.number(op.value, images.type)
    erased = write("Where", write("And", rows, columns), value, write.tensor(images, layout))
    write.put(results[0], erased, layout)


def _along(write: Writer, tensor: str, axis: int, images: TensorType, layout: tuple[int, ...]) -> str:
    """Return [N, size] as it is repeated over images in a layout."""
    return write.reshaped(tensor, [images.shape[each] if each in (0, axis) else 1 for each in layout])


EMITTERS = {
    ops.FlipSamples: flip_samples,
    ops.CropSamples: crop_samples,
    ops.PasteSamples: paste_samples,
    ops.EraseSamples: erase_samples,
}
