"""Cases of products of many matrices side by side, and of attention, which is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.ir import DType, Emitter, Value
from graphcnn.testing.case import Case, Named
from graphcnn.transform import differentiate


def matrices(dtype: DType) -> Named:
    for front in ((15,), (2, 3), (17, 2)):
        for n, k, d in ((1, 1, 1), (7, 5, 3), (16, 33, 17), (9, 70, 64)):
            for batch in (0, None):
                kind = "batch" if batch == 0 else "static"
                name = f"matmul: {list(front)} {n} by {k} by {d}, {kind}"
                yield name, partial(_matmul_of_many, dtype, (*front, n, k), (*front, k, d), batch)
    for batch, name in ((1, "in the second place"), (2, "of rows"), (3, "summed up"), (4, "of columns")):
        yield f"matmul: a batch {name}", partial(_matmul_of_many, dtype, (3, 5, 9, 6), (3, 5, 6, 7), batch)
    for deep in (600, 1100):
        shapes = ((3, 5, deep), (3, deep, 4))
        yield f"matmul: of many, {deep} deep", partial(_matmul_of_many, dtype, *shapes, 0)
    yield "matmul: attention", partial(_attention, dtype)


def _matmul_of_many(
    dtype: DType, left: Sequence[int], right: Sequence[int], batch: int | None, case: Case
) -> None:
    """Products of matrices side by side, plain and transposed; the batch is any of their axes, or none.

    batch: counted along the axes in front, then rows, the sum's terms, columns.
    """
    x, y = (case.random.standard_normal(shape).astype(dtype) for shape in (left, right))
    axes: dict[int, tuple[int | None, int | None]] = {2: (2, None), 3: (3, 2), 4: (None, 3)}
    places = (None, None) if batch is None else axes.get(batch, (batch, batch))
    a, b = (_with_batch_at(case, *each) for each in zip((x, y), places, strict=True))
    case.apply(ops.Matmul(), a, b)
    turn = ops.Transpose.of_matrices(len(left))
    case.apply(ops.Matmul(), case.graph.add(turn, b), case.graph.add(turn, a))
    expected = x.astype(np.float64) @ y.astype(np.float64)
    case.expect(expected, np.swapaxes(expected, -1, -2))


def _with_batch_at(case: Case, array: Array, axis: int | None) -> Value:
    """Append an input whose batch is in front, moved to an axis; None: without one."""
    if axis is None:
        return case.input(array)
    value = case.input(np.ascontiguousarray(np.moveaxis(array, axis, 0)), batch=True)
    order = [*range(1, axis + 1), 0, *range(axis + 1, array.ndim)]
    return case.graph.add(ops.Transpose(tuple(order)), value) if axis else value


def _attention(dtype: DType, case: Case) -> None:
    """Two heads on seven tokens of every sample, and its gradients."""
    emit = Emitter(case.graph)
    q, k, v = (case.normal(dtype, 17, 2, 7, 5, batch=True) for _ in range(3))
    scores = emit(ops.Matmul(), q, emit(ops.Transpose((0, 1, 3, 2)), k))
    mixed = emit(ops.Matmul(), emit(ops.Exp(), emit(ops.LogSoftmax(), scores)), v)
    case.graph.output("mixed", mixed)
    case.graph.output("loss", emit(ops.Sum((0, 1, 2, 3)), emit(ops.Multiply(), mixed, mixed)))
    case.graph, gradients = differentiate(
        case.graph, case.graph.outputs["loss"], dict(zip(("q", "k", "v"), (q, k, v), strict=True))
    )
    for label, gradient in gradients.items():
        case.graph.output(f"gradient of {label}", gradient)
