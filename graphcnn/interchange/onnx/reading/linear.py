"""Products of matrices: dense layers, where one of them is a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers import Dense
from graphcnn.dsl.matrices import product
from graphcnn.interchange.onnx.reading.step import Step, op, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Held, Known, Order, Variable, as_in_file
from graphcnn.ir import BATCH, Dim, Value


@reads("MatMul")
def matmul(step: Step) -> Variable:
    x, y = step[0], step[1]
    if isinstance(x, Variable) and x.rank in (2, 3) and _is_matrix(y):
        return _dense(step, x, y, y.array, None)
    if isinstance(x, Variable) and x.rank > 3 and y.rank == 2:
        order = _rows_of_samples(x)
        return Variable.of(step.emit("matmul", product, x.at(order), step.variable(1).in_file), order)
    left, right = step.variable(0), step.variable(1)
    return Variable.of(step.emit("matmul", product, left.in_file, right.in_file))


@reads("Gemm")
def gemm(step: Step) -> Variable:
    """alpha · A B + beta · C, where A and B may be transposed."""
    x, y, bias = step[0], step[1], step.optional(2)
    alpha, beta = (float(step.setting(name, default=1.0)) for name in ("alpha", "beta"))
    turned = [bool(step.setting(name, default=0)) for name in ("transA", "transB")]
    if isinstance(x, Variable) and not turned[0] and _is_matrix(y):
        weights = y.array.T if turned[1] else y.array
        weights = weights if alpha == 1 else (weights * alpha).astype(weights.dtype)
        units = weights.shape[1]
        if bias is None:
            return _dense(step, x, y, weights, None)
        if (
            isinstance(bias, Known)
            and bias.array.size in (1, units)
            and bias.array.shape[-1:] in ((), (1,), (units,))
        ):
            flat = np.broadcast_to(bias.array.reshape(-1), (units,))
            own = flat if beta == 1 else (flat * beta).astype(flat.dtype)
            return _dense(step, x, y, weights, Known(own, bias.name), bias)
    left, right = (
        value.transposed((1, 0)) if turn else value
        for value, turn in zip((step.variable(0), step.variable(1)), turned, strict=True)
    )
    if left.rank != 2 or right.rank != 2:
        raise in_the_way("it multiplies what are no matrices")

    def multiplied(build: Builder, a: Value, b: Value) -> Value:
        result = product(build, a, b)
        return (
            result if alpha == 1 else build(ops.Multiply(), result, ops.constant(build, alpha, result.type))
        )

    result = Variable.of(step.emit("matmul", multiplied, left.in_file, right.in_file))
    if bias is None:
        return result

    def plus(build: Builder, a: Value, b: Value) -> Value:
        scaled = b if beta == 1 else build(ops.Multiply(), b, ops.constant(build, beta, b.type))
        total: Value = build(ops.Add(), a, scaled)
        return total

    return step.each("bias", op(ops.Add()) if beta == 1 else plus, result, bias)


def _is_matrix(held: Held) -> TypeGuard[Known]:
    return isinstance(held, Known) and held.rank == 2 and held.array.dtype.kind == "f"


def _rows_of_samples(x: Variable) -> Order:
    """Return an order with the batch in front and the columns of rows last."""
    last, have = x.rank - 1, x.any_order
    batch = x.shape.index(BATCH) if BATCH in x.shape else 0
    if batch == last:
        return as_in_file(x.rank)
    if have[0] == batch and have[-1] == last:
        return have
    return (batch, *(axis for axis in range(last) if axis != batch), last)


def _dense(
    step: Step, x: Variable, source: Held, weights: Any, bias: Known | None, bias_source: Held | None = None
) -> Variable:
    """Apply a dense layer with these weights [C, units] at first."""
    assert isinstance(source, Known)
    if x.rank == 2 and x.shape[1] != weights.shape[0]:
        raise in_the_way(f"its weights {list(weights.shape)} do not fit {x.shape[1]} columns")
    dense = Dense(weights.shape[1], bias=bias is not None)
    made_with = tuple(sorted((key, str(value)) for key, value in step.attributes.items()))
    layer = step.shared(dense, [source, bias_source], made_with)
    if not layer.first_values:
        layer.first_values = {"weights": weights}
        if bias is not None:
            layer.first_values["bias"] = bias.array
    order = _rows_of_samples(x)
    first, *rows, columns = (x.shape[axis] for axis in order)
    tokens = x.at(order) if len(rows) < 2 else reshaped(x.at(order), (first, _count(rows), columns))
    made = step.apply(layer, tokens, weight=source.name)
    return Variable.of(reshaped(made, (first, *rows, weights.shape[1])), order)


def _count(sizes: Sequence[Dim]) -> int:
    return math.prod(int(size) for size in sizes)
