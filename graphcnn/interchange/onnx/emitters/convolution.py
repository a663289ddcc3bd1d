"""Correlation and convolution: Conv for the forward pass and filter gradients, ConvTranspose for inputs'.

Runtimes have no Conv in float64: there, windows are gathered and multiplied, as the NumPy backend does it.
"""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.interchange.onnx.emitters.windows import gathered
from graphcnn.interchange.onnx.layouts import (
    CHANNELS_FIRST,
    CHANNELS_OUTSIDE,
    CHANNELS_THEN_FILTERS,
    FILTERS_FIRST,
    Layout,
    before_transposed,
)
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import BATCH, Dim, Node, Value
from graphcnn.ops.attributes import Padding
from graphcnn.ops.convolution import FILTER_AXES, IMAGE_AXES

Sliding = ops.Correlate2d | ops.Convolve2d

FARTHEST = -(2**63)
"""Where a slice ends that goes backwards through the whole axis."""


def correlate(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    op = node.op
    assert isinstance(op, Sliding)
    if op.sum_over == "batch":
        _filter_gradient(write, op, node, results[0])
    elif is_dense(write, node):
        images, window = node.operands
        (weights,) = write.node_of(window).operands
        write.put(results[0], write("MatMul", write.tensor(images), write.tensor(weights)))
    elif not transposed(write, node, results[0]):
        tensor = forward(write, node)
        write.put(results[0], tensor, CHANNELS_FIRST)


def is_dense(write: Writer, node: Node) -> bool:
    """Return whether a correlation is a dense layer at each pixel: its 1x1 filters are a matrix, reshaped."""
    op, window = node.op, write.node_of(node.operands[1])
    if not isinstance(window.op, ops.Reshape) or not isinstance(op, Sliding):
        return False
    is_single_pixel = window.op.shape[:2] == (1, 1) and op == type(op)()
    return is_single_pixel and window.operands[0].type.shape == window.op.shape[2:]


def forward(write: Writer, node: Node, *bias: str) -> str:
    """Write the forward pass, with a bias where there is one; return its images [N, D, H', W']."""
    op, (images, window) = node.op, node.operands
    assert isinstance(op, Sliding)
    x = write.tensor(images, CHANNELS_FIRST)
    if isinstance(op, ops.Convolve2d):
        filters = rotated(write, window, FILTER_AXES, FILTERS_FIRST)
    else:
        filters = write.tensor(window, FILTERS_FIRST)
    return (
        conv(write, op, x, filters, *bias) if is_single(images) else _products(write, node, x, filters, *bias)
    )


def conv(write: Writer, op: Sliding, x: str, filters: str, *bias: str, groups: int | None = None) -> str:
    """Write a Conv with the attributes of an op."""
    return write(
        "Conv",
        *(x, filters, *bias),
        strides=list(op.stride),
        pads=pads(op.padding),
        dilations=list(op.dilation),
        group=op.groups if groups is None else groups,
    )


def is_single(value: Value) -> bool:
    return value.type.dtype == "float32"


def pads(padding: Padding) -> list[int]:
    """Return padding as ONNX has it: what comes before each axis, then what comes after."""
    (top, bottom), (left, right) = padding
    return [top, left, bottom, right]


# Rotations


def rotated(write: Writer, value: Value, axes: tuple[int, ...], layout: Layout) -> str:
    """Return a value rotated along two axes, in a layout; one that is a rotation itself is turned back."""
    op = write.node_of(value).op
    if isinstance(op, ops.Rot180) and op.axes == axes:
        return write.tensor(write.node_of(value).operands[0], layout)
    return _reversed(write, write.tensor(value, layout), [layout.index(axis) for axis in axes])


def _reversed(write: Writer, tensor: str, axes: list[int]) -> str:
    count = len(axes)
    if not count:
        return tensor
    starts, ends, steps = [-1] * count, [FARTHEST] * count, [-1] * count
    return write("Slice", tensor, *(write.integers(*each) for each in (starts, ends, axes, steps)))


def rot180(write: Writer, node: Node, results: tuple[Value, ...]) -> None:
    op, (x,) = node.op, node.operands
    assert isinstance(op, ops.Rot180)
    layout = write.layout(x)
    places = [layout.index(axis) for axis in op.axes]
    write.put(results[0], _reversed(write, write.tensor(x, layout), places), layout)


# The filter gradient


def _filter_gradient(write: Writer, op: Sliding, node: Node, result: Value) -> None:
    """Write Eq. 13-14: a Conv whose channels are the samples; with groups, of each channel of a group."""
    images, window = node.operands
    flips = isinstance(op, ops.Convolve2d)
    if not is_single(images):
        x = write.tensor(images, CHANNELS_FIRST)
        delta = _delta(write, window, CHANNELS_FIRST, flips=flips)
        write.put(result, _products_over_batch(write, node, result, x, delta), FILTERS_FIRST)
        return
    delta = _delta(write, window, CHANNELS_OUTSIDE, flips=flips)
    if op.groups == 1:
        x = write.tensor(images, CHANNELS_OUTSIDE)
    else:
        height, width, channels = (images.type.static(axis) for axis in (1, 2, 3))
        sizes: tuple[Dim, ...] = (BATCH, op.groups, channels // op.groups, height, width)
        split = write.reshaped(write.tensor(images, CHANNELS_FIRST), sizes)
        turned = write("Transpose", split, perm=[2, 1, 0, 3, 4])
        x = write("Reshape", turned, write.integers(channels // op.groups, -1, height, width))
    write.put(result, conv(write, op, x, delta), CHANNELS_THEN_FILTERS)


def _delta(write: Writer, window: Value, layout: Layout, *, flips: bool) -> str:
    return rotated(write, window, IMAGE_AXES, layout) if flips else write.tensor(window, layout)


# The input gradient, and transposed convolutions


def transposed(
    write: Writer, node: Node, result: Value, cropping: Padding = ((0, 0), (0, 0)), *bias: str
) -> bool:
    """Write Eq. 20-21 as ConvTranspose where a node is it: rotated filters, and perhaps zeros inserted.

    cropping: what is cut off the result. Returns whether it was written.
    """
    op = node.op
    if not isinstance(op, ops.Correlate2d) or op.sum_over != "channels" or op.stride != (1, 1):
        return False
    images, window = node.operands
    filters = _filters_of(write, window, op.groups)
    if filters is None or not is_single(images):
        return False
    spread, stride, delta = write.node_of(images), (1, 1), images
    if isinstance(spread.op, ops.ZeroInsert):
        stride, delta = spread.op.factors, spread.operands[0]
    before, after, more = [], [], []
    for axis in (0, 1):
        reach = op.dilation[axis] * (window.type.static(axis) - 1)
        before.append(reach - op.padding[axis][0] + cropping[axis][0])
        rest = reach - op.padding[axis][1] + cropping[axis][1]
        after.append(max(0, rest))
        more.append(max(0, -rest))
    if min(before) < 0 or any(more[axis] >= max(stride[axis], op.dilation[axis]) for axis in (0, 1)):
        return False
    tensor = write(
        "ConvTranspose",
        *(write.tensor(delta, CHANNELS_FIRST), write.tensor(*filters), *bias),
        strides=list(stride),
        pads=[*before, *after],
        output_padding=more,
        dilations=list(op.dilation),
        group=op.groups,
    )
    write.put(result, tensor, CHANNELS_FIRST)
    return True


def _filters_of(write: Writer, window: Value, groups: int) -> tuple[Value, Layout] | None:
    """Return the filters of a window that is rotated, and the layout in which ConvTranspose takes them.

    That is [channels in, channels out / groups, k1, k2].
    """
    node, layout = write.node_of(window), CHANNELS_THEN_FILTERS
    if groups == 1 and isinstance(node.op, ops.Transpose) and node.op.permutation[:2] == (0, 1):
        layout = before_transposed(layout, node.op.permutation)
        node = write.node_of(node.operands[0])
    elif groups > 1:
        inner = _before_swap(write, node)
        if inner is None:
            return None
        node, layout = inner, FILTERS_FIRST
    if not isinstance(node.op, ops.Rot180) or node.op.axes != FILTER_AXES:
        return None
    (filters,) = node.operands
    return filters, layout


def _before_swap(write: Writer, node: Node) -> Node | None:
    """Return the node whose channels are exchanged group by group, as the input gradient does it."""
    for kind in (ops.Reshape, ops.Transpose, ops.Reshape):
        if not isinstance(node.op, kind):
            return None
        if isinstance(node.op, ops.Transpose) and node.op.permutation != (0, 1, 4, 3, 2):
            return None
        node = write.node_of(node.operands[0])
    return node


# In float64


def _products(write: Writer, node: Node, x: str, filters: str, *bias: str) -> str:
    """Write the forward pass as products of gathered windows: [N, C, H', k1, W', k2] with filters."""
    op, (images, window) = node.op, node.operands
    assert isinstance(op, Sliding)
    taps = window.type.static(0), window.type.static(1)
    places = op.output_size(images.type, taps)
    rows, columns = (_index(places[a], op.stride[a], taps[a], op.dilation[a]) for a in (0, 1))
    windows = gathered(write, x, op.padding, images.type.dtype, rows, columns)
    if op.groups == 1:
        result = write("Einsum", windows, filters, equation="nchkwl,dckl->ndhw")
    else:
        channels, count = window.type.static(2), window.type.static(3)
        split = (op.groups, channels, places[0], taps[0], places[1], taps[1])
        parts = write.reshaped(windows, (BATCH, *split))
        grouped = write("Reshape", filters, write.integers(op.groups, count // op.groups, channels, *taps))
        product = write("Einsum", parts, grouped, equation="ngchkwl,gdckl->ngdhw")
        result = write.reshaped(product, (images.type.shape[0], count, *places))
    if not bias:
        return result
    column = write("Reshape", bias[0], write.integers(-1, 1, 1))
    return write("Add", result, column)


def _products_over_batch(write: Writer, node: Node, result: Value, x: str, delta: str) -> str:
    """Write the filter gradient as products of gathered windows: [N, C, R1, H', R2, W'] with deltas."""
    op, (images, window) = node.op, node.operands
    assert isinstance(op, Sliding)
    taps, places = result.type.shape[:2], (window.type.static(1), window.type.static(2))
    rows, columns = (_index(result.type.static(a), op.stride[a], places[a], op.dilation[a]) for a in (0, 1))
    windows = gathered(write, x, op.padding, images.type.dtype, rows, columns)
    if op.groups == 1:
        return write("Einsum", windows, delta, equation="ncrhsw,ndhw->dcrs")
    channels, count = result.type.static(2), result.type.static(3)
    split = (op.groups, channels, taps[0], places[0], taps[1], places[1])
    parts = write.reshaped(windows, (BATCH, *split))
    grouped = write.reshaped(delta, (BATCH, op.groups, count // op.groups, *places))
    product = write("Einsum", parts, grouped, equation="ngcrhsw,ngdhw->gdcrs")
    return write.reshaped(product, (count, channels, *taps))


def _index(places: int, step: int, taps: int, spacing: int) -> Array:
    """Return [places, taps]: where each tap of each window lies along an axis."""
    index: Array = step * np.arange(places)[:, None] + spacing * np.arange(taps)
    return index


EMITTERS = {ops.Correlate2d: correlate, ops.Convolve2d: correlate, ops.Rot180: rot180}
