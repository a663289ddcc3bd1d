"""Operators that give a value another shape or element type, and compute nothing."""

from __future__ import annotations

import typing
from typing import Any

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.interchange.onnx.reading.reshaping import merged, reshape_to, shape_in_file, target_of
from graphcnn.interchange.onnx.reading.step import Step, positive, require_dtype, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.tensors import dtype_of
from graphcnn.interchange.onnx.reading.values import Held, Known, Merged, Order, Variable
from graphcnn.ir import BATCH, Dim, DType, format_shape


@reads("Identity", "StopGradient")
def identity(step: Step) -> Held:
    return step[0]


@reads("Reshape")
def reshape(step: Step) -> Variable:
    x = step.variable(0)
    target = step.attributes.get("shape")
    sizes = step.known(1, "shape").reshape(-1).tolist() if target is None else list(target)
    if not step.setting("allowzero", default=0):
        sizes = [x.shape[axis] if size == 0 and axis < x.rank else size for axis, size in enumerate(sizes)]
    source = x.apart if isinstance(x, Merged) else x
    wanted = target_of(source.shape, sizes, step.making.batch)
    return merged(reshape_to(source, wanted.shape), wanted.groups)


@reads("Flatten")
def flatten(step: Step) -> Variable:
    x = step.variable(0)
    axis = step.setting("axis", default=1)
    axis = axis + x.rank if axis < 0 else axis
    wanted = target_of(x.shape, shape_in_file(x.shape, (axis, x.rank - axis)), None)
    return merged(reshape_to(x, wanted.shape), wanted.groups)


@reads("Transpose")
def transpose(step: Step) -> Variable:
    x = step.variable(0)
    order = tuple(step.setting("perm", default=list(range(x.rank))[::-1]))
    if sorted(order) != list(range(x.rank)):
        raise in_the_way(f"its perm {list(order)} is no order of {x.rank} axes")
    return x.transposed(order)


@reads("Squeeze", "Unsqueeze")
def squeeze(step: Step) -> Variable:
    """Axes of size 1 go, or come, in whatever order the others are."""
    x = step.variable(0)
    axes = step.setting("axes", 1)
    order = x.any_order
    if step.node.op_type == "Unsqueeze":
        rank = x.rank + len(axes or [])
        new = {positive(axis, rank) for axis in axes or []}
        if len(new) != len(axes or []):
            raise in_the_way(f"its axes {axes} are not distinct")
        kept = [axis for axis in range(rank) if axis not in new]
        moved = (*sorted(new), *(kept[axis] for axis in order))
        if order == tuple(range(x.rank)):
            moved = tuple(range(rank))
        sizes = iter(x.shape)
        shape: list[Dim] = [1 if axis in new else next(sizes) for axis in range(rank)]
        tensor = reshaped(x.at(order), tuple(shape[axis] for axis in moved))
        return Variable.of(tensor, moved)
    gone = (
        {axis for axis, size in enumerate(x.shape) if size == 1}
        if axes is None
        else {positive(axis, x.rank) for axis in axes}
    )
    if any(x.shape[axis] not in (1, step.making.batch if step.making.batch == 1 else 1) for axis in gone):
        raise in_the_way(
            f"it leaves out axes {sorted(gone)} of {format_shape(x.shape)}, which have not the size 1"
        )
    return without_axes(x, order, gone)


def without_axes(x: Variable, order: Order, gone: set[int]) -> Variable:
    """Return a value without axes of size 1."""
    stay = [axis for axis in order if axis not in gone]
    tensor = reshaped(x.at(order), tuple(x.shape[axis] for axis in stay))
    ascending = sorted(stay)
    return Variable.of(tensor, tuple(ascending.index(axis) for axis in stay))


@reads("Cast", "CastLike")
def cast(step: Step) -> Variable:
    import onnx

    x = step.variable(0)
    if step.node.op_type == "Cast":
        number = step.setting("to")
        try:
            dtype = dtype_of(number)
        except (KeyError, TypeError, ValueError):
            raise in_the_way(f"it makes values of type {number}") from None
        if number == onnx.TensorProto.STRING:
            raise in_the_way("it makes text")
    else:
        like = step[1]
        dtype = like.array.dtype if isinstance(like, Known) else np.dtype(like.dtype)
    require_dtype(dtype)
    if dtype.name == x.dtype:
        return x
    order = x.any_order
    if dtype.name == "bool":
        return step.each("cast", _is_not_zero, x)
    return Variable.of(
        step.emit("cast", lambda build, v: build(ops.Cast(typing.cast(DType, dtype.name)), v), x.at(order)),
        order,
    )


def _is_not_zero(build: Builder, x: Any) -> Any:
    zero = ops.constant(build, 0.0, x.type)
    return build(ops.LogicalNot(), build(ops.Equal(), x, zero))


@reads("Expand")
def expand(step: Step) -> Variable:
    x = step.variable(0)
    target = step.known(1, "shape").reshape(-1).tolist()
    rank = max(x.rank, len(target))
    own = (*[1] * (rank - x.rank), *x.shape)
    wanted = [*[1] * (rank - len(target)), *target]
    shape: list[Dim] = []
    for mine, other in zip(own, wanted, strict=True):
        if mine == BATCH and other in (1, BATCH, step.making.batch):
            shape.append(BATCH)
        elif mine == 1 or other in (1, mine):
            shape.append(other if mine == 1 else mine)
        else:
            raise in_the_way(f"{format_shape(x.shape)} cannot be expanded to {target}")
    tensor = reshaped(x.in_file, own)
    if tensor.type.shape == tuple(shape):
        return Variable.of(tensor)
    return Variable.of(step.emit("expand", lambda build, v: build(ops.Broadcast(tuple(shape)), v), tensor))
