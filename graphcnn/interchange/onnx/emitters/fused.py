"""Sums that are a part of another operator in ONNX: the bias of a layer, and what batch norm is made of."""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.interchange.onnx.emitters import convolution, linear
from graphcnn.interchange.onnx.layouts import CHANNELS_FIRST, FILTERS_FIRST, Layout
from graphcnn.interchange.onnx.writer import Writer
from graphcnn.ir import Input, Node, Op, Value
from graphcnn.ops.attributes import NO_PADDING

LINEAR = (ops.Correlate2d, ops.Convolve2d, ops.Matmul)


def biased(write: Writer, node: Node, results: tuple[Value, ...]) -> bool:
    """Write a layer with its bias as one Conv or Gemm, where a sum is that; return whether it is."""
    product, bias = node.operands
    layer = write.node_of(product)
    vector = _per_channel(write, bias)
    if vector is None or not isinstance(layer.op, LINEAR) or not write.is_read_once(product):
        return False
    with write.on_behalf(layer):
        if isinstance(layer.op, ops.Matmul):
            return linear.with_bias(write, layer, results[0], vector)
        if layer.op.sum_over == "batch" or convolution.is_dense(write, layer):
            return False
        if not convolution.transposed(write, layer, results[0], NO_PADDING, write.tensor(vector)):
            tensor = convolution.forward(write, layer, write.tensor(vector))
            write.put(results[0], tensor, CHANNELS_FIRST)
    return True


def batch_norm(write: Writer, node: Node, results: tuple[Value, ...]) -> bool:
    """Write (x - mean) · scale / √(variance + ε) + shift as BatchNormalization, where a sum is that.

    Where parameters may be folded, the convolution before it takes the factors instead.
    Returns whether it was written.
    """
    scaled, shift = node.operands
    product = _inner(write, scaled, ops.Multiply)
    centred = None if product is None else _inner(write, product.operands[0], ops.Subtract)
    if product is None or centred is None:
        return False
    (x, mean), factor = centred.operands, product.operands[1]
    vectors = [_per_channel(write, each) for each in (mean, factor, shift)]
    parts = None if vectors[1] is None else _scale_and_variance(write, vectors[1])
    if vectors[0] is None or vectors[2] is None or parts is None or x.type.rank not in (2, 4):
        return False
    scale, variance, epsilon = parts
    statistics = (scale, vectors[2], vectors[0], variance)
    layout = CHANNELS_FIRST if x.type.rank == 4 else (0, 1)
    if write.fold and _folded(write, x, statistics, epsilon, results[0]):
        return True
    tensors = [write.tensor(x, layout), *map(write.tensor, statistics)]
    write.put(results[0], write("BatchNormalization", *tensors, epsilon=epsilon), layout)
    return True


def _per_channel(write: Writer, value: Value) -> Value | None:
    """Return the vector that a value repeats for each of its last axis."""
    node = write.node_of(value)
    if not isinstance(node.op, ops.Broadcast):
        return None
    (vector,) = node.operands
    return vector if vector.type.shape == value.type.shape[-1:] else None


def _inner(write: Writer, value: Value, kind: type[Op]) -> Node | None:
    """Return the node of a kind that computes a value for one reader alone."""
    node = write.node_of(value)
    return node if isinstance(node.op, kind) and write.is_read_once(value) else None


def _scale_and_variance(write: Writer, factor: Value) -> tuple[Value, Value, float] | None:
    """Return scale, variance and ε of a factor that is scale / √(variance + ε)."""
    quotient = write.node_of(factor)
    if not isinstance(quotient.op, ops.Divide):
        return None
    scale, root = quotient.operands[0], write.node_of(quotient.operands[1])
    total = write.node_of(root.operands[0]) if isinstance(root.op, ops.Sqrt) else root
    if not isinstance(root.op, ops.Sqrt) or not isinstance(total.op, ops.Add):
        return None
    variance, epsilon = total.operands[0], write.constant_of(total.operands[1])
    fits = scale.type == variance.type == factor.type
    return (scale, variance, epsilon) if epsilon is not None and fits else None


def _folded(write: Writer, x: Value, statistics: tuple[Value, ...], epsilon: float, result: Value) -> bool:
    """Write the convolution before batch norm with filters and a bias that do the work of both."""
    product, old = write.node_of(x), None
    if isinstance(product.op, ops.Add) and write.is_read_once(x):
        vector = _per_channel(write, product.operands[1])
        old = None if vector is None else _stored(write, vector)
        x, product = product.operands[0], write.node_of(product.operands[0])
        if old is None:
            return False
    is_layer = isinstance(product.op, ops.Correlate2d) and product.op.sum_over == "channels"
    if not is_layer or not write.is_read_once(x) or not convolution.is_single(x):
        return False
    filters = _stored(write, product.operands[1])
    known = [_stored(write, each) for each in statistics]
    if filters is None or any(each is None for each in known):
        return False
    scale, shift, mean, variance = (np.asarray(each, np.float64) for each in known)
    factor = scale / np.sqrt(variance + epsilon)
    bias = ((0 if old is None else np.asarray(old, np.float64)) - mean) * factor + shift
    layer = product.origin.layer or "conv"
    assert isinstance(product.op, ops.Correlate2d)
    tensor = convolution.conv(
        write,
        product.op,
        write.tensor(product.operands[0], CHANNELS_FIRST),
        write.constant(_turned(filters * factor, FILTERS_FIRST, filters.dtype), f"{layer}.filters.folded"),
        write.constant(bias.astype(filters.dtype), f"{layer}.bias.folded"),
    )
    write.put(result, tensor, CHANNELS_FIRST)
    return True


def _stored(write: Writer, value: Value) -> Array | None:
    op = write.node_of(value).op
    return write.stored.get(op.label) if isinstance(op, Input) else None


def _turned(array: Array, layout: Layout, dtype: np.dtype) -> Array:
    return np.ascontiguousarray(array.transpose(layout).astype(dtype))
