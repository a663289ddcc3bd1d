"""Operators that give a value another shape or element type, and compute nothing."""

from __future__ import annotations

import math
import typing
from typing import Any

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.interchange.onnx.reading.step import Step, positive, require_dtype, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.tensors import dtype_of
from graphcnn.interchange.onnx.reading.values import Held, Known, Order, Variable
from graphcnn.ir import BATCH, Dim, DType, format_shape


@reads("Identity", "StopGradient")
def identity(step: Step) -> Held:
    return step[0]


@reads("Reshape")
def reshape(step: Step) -> Variable:
    x = step.variable(0)
    target = step.attributes.get("shape")
    sizes = step.known(1, "shape").reshape(-1).tolist() if target is None else list(target)
    shape = resolved(x, sizes, step.making.batch, zero_is_kept=not step.setting("allowzero", default=0))
    return Variable.of(reshaped(x.in_file, shape))


def resolved(
    x: Variable, sizes: list[Any], batch: int | None, *, zero_is_kept: bool = True
) -> tuple[Dim, ...]:
    """Return the shape that a Reshape asks for: 0 keeps a size, -1 stands for what the others leave.

    batch: what the file has for the batch, where it is a number: it may stand in the shape for "N".
    """
    shape: list[Any] = []
    for place, size in enumerate(sizes):
        if size == 0 and zero_is_kept and place < x.rank:
            size = x.shape[place]
        shape.append(size)
    if shape.count(-1) > 1 or any(size != BATCH and size < -1 for size in shape):
        raise in_the_way(f"its shape is {shape}")
    sample = math.prod(int(size) for size in x.shape if size != BATCH)
    has_batch = BATCH in x.shape
    known = math.prod(int(size) for size in shape if size not in (BATCH, -1))
    if has_batch and BATCH not in shape:
        shape = _with_batch(shape, sample, known, batch)
    elif -1 in shape:
        if not known or sample % known:
            raise in_the_way(f"{format_shape(x.shape)} has no shape {shape}")
        shape[shape.index(-1)] = sample // known
    return tuple(shape)


def _with_batch(shape: list[Any], sample: int, known: int, batch: int | None) -> list[Any]:
    """Return a shape whose size of the batch is not named."""
    if -1 in shape and known == sample:
        shape[shape.index(-1)] = BATCH
        return shape
    if batch is not None and shape and shape[0] == batch:
        rest = known // batch
        if -1 in shape and rest and sample % rest == 0:
            shape[shape.index(-1)] = sample // rest
            return [BATCH, *shape[1:]]
        if rest == sample:
            return [BATCH, *shape[1:]]
    raise in_the_way(
        f"its shape {shape} mixes the samples of a batch: a sample has {sample} numbers, the shape {known}"
    )


@reads("Flatten")
def flatten(step: Step) -> Variable:
    x = step.variable(0)
    axis = step.setting("axis", default=1)
    axis = axis + x.rank if axis < 0 else axis
    front, back = x.shape[:axis], x.shape[axis:]
    return Variable.of(reshaped(x.in_file, (_product(front), _product(back))))


def _product(sizes: tuple[Dim, ...]) -> Dim:
    known = math.prod(int(size) for size in sizes if size != BATCH)
    if BATCH not in sizes:
        return known
    if known != 1:
        raise in_the_way(f"it makes one axis of the batch and {known} others")
    return BATCH


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
