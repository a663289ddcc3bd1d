"""Operators that pick elements by indices and masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final, cast

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.matrices import product
from graphcnn.interchange.onnx.reading.step import Step, op, positive, reshaped
from graphcnn.interchange.onnx.reading.table import WholeNumbersError, in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Held, Known, Variable
from graphcnn.ir import BATCH, DType, Value
from graphcnn.ir.types import FLOATS
from graphcnn.ops.taking import Run

MOST_PLACES: Final = 2**22
"""Of a mask."""
MOST_CLASSES: Final = 4096
"""What a comparison of each index with each place is worth."""
MOST_FOUND: Final = 64
"""Greatest numbers, each of which all others are gone through for."""
MOST_RUNS: Final = 2**16
"""Runs of places that are taken along an axis."""


def taken(step: Step, x: Variable, axis: int, runs: Sequence[Run]) -> Variable:
    """Return places along an axis, run by run."""
    order = x.any_order
    take = op(ops.Take(order.index(axis), tuple(runs)))
    return Variable.of(step.emit("take", take, x.at(order)), order)


def few(places: Array) -> Array:
    """Return places that are few enough to be gone through. Raises InterchangeError for others."""
    if places.size > MOST_RUNS:
        raise in_the_way(f"it takes {places.size} places one by one")
    return places


def runs_of(places: Sequence[int]) -> list[Run]:
    """Return places as runs (first, count, step), as few as going through them once finds."""
    runs: list[Run] = []
    start = 0
    if len(places) > MOST_RUNS:
        raise in_the_way(f"it takes {len(places)} places one by one")
    while start < len(places):
        end = start + 1
        if end < len(places):
            apart = places[end] - places[start]
            while end < len(places) and places[end] - places[end - 1] == apart:
                end += 1
            runs.append((places[start], end - start, apart))
        else:
            runs.append((places[start], 1, 1))
        start = end
    return runs


@reads("Trilu")
def triangle(step: Step) -> Variable:
    x = step.variable(0)
    shift = int(step.known(1, "k").reshape(-1)[0]) if step.optional(1) is not None else 0
    rows, columns = x.shape[-2:]
    if BATCH in (rows, columns) or int(rows) * int(columns) > MOST_PLACES:
        raise in_the_way(f"its matrices have {rows} rows and {columns} columns")
    ones = np.ones((int(rows), int(columns)), bool)
    mask = np.triu(ones, shift) if step.setting("upper", default=1) else np.tril(ones, shift)

    def chosen(build: Builder, value: Value, where: Value) -> Value:
        zero = build(ops.Constant(False if value.type.dtype == "bool" else 0, value.type.with_shape(())))
        return build(ops.Select(), where, value, zero)

    return step.each("trilu", chosen, x, Known(mask))


@reads("OneHot")
def one_hot(step: Step) -> Variable:
    """A new axis, along which the place of each index has one value, and the others another."""
    indices = step.variable(0)
    depth = int(step.known(1, "depth").reshape(-1)[0])
    off, on = step.known(2, "values").reshape(-1)
    axis = positive(step.setting("axis", default=-1), indices.rank + 1)
    if not 1 <= depth <= MOST_CLASSES:
        raise in_the_way(f"its depth is {depth}")
    places = _places(step, indices, depth)
    rows = (*range(axis), *range(axis + 1, indices.rank + 1), axis)

    def chosen(build: Builder, value: Value) -> Value:
        dtype = "float32" if on.dtype.kind != "f" else on.dtype.name
        hot = build(ops.OneHot(depth, cast(DType, dtype)), value)
        is_on = build(ops.Greater(), hot, ops.constant(build, 0.0, hot.type))
        numbers = [
            build(ops.Constant(each.item(), hot.type.with_dtype(on.dtype.name).with_shape(())))
            for each in (on, off)
        ]
        return build(ops.Select(), is_on, *(build(ops.Broadcast(hot.type.shape), each) for each in numbers))

    return Variable.of(step.emit("one_hot", chosen, places.in_file), rows)


def _places(step: Step, indices: Variable, size: int) -> Variable:
    """Return indices as int64, those below 0 counted from the end."""

    def counted(build: Builder, value: Value) -> Value:
        number = build(ops.Cast("float64"), value)
        zero, length = (ops.constant(build, each, number.type) for each in (0.0, float(size)))
        below = build(ops.Greater(), zero, number)
        number = build(ops.Select(), below, build(ops.Add(), number, length), number)
        return build(ops.Cast("int64"), number)

    order = indices.any_order
    return Variable.of(step.emit("places", counted, indices.at(order)), order)


def rows_of(step: Step, table: Known, indices: Variable) -> Variable:
    """Return rows of a known table: the product of ones at the indices with it, so that it can be trained."""
    if table.rank != 2 or table.array.dtype.kind != "f" or len(table.array) > MOST_CLASSES:
        raise in_the_way(f"its indices are computed, and what they are of is {list(table.shape)}")
    count = len(table.array)
    places = _places(step, indices, count)
    weights = step.stored(table, (0, 1))

    def picked(build: Builder, where: Value, rows: Value) -> Value:
        hot = build(ops.OneHot(count, rows.type.dtype), where)
        return product(build, hot, rows)

    return Variable.of(step.emit("embedding", picked, places.in_file, weights))


@reads("GatherElements")
def gather_elements(step: Step) -> Variable:
    """The sum along the axis of what is at the index, and 0 elsewhere."""
    x, indices = step.variable(0), step.variable(1)
    axis = step.axis(x.rank)
    others = [each for each in range(x.rank) if each != axis]
    size, count = x.shape[axis], indices.shape[axis] if indices.rank == x.rank else BATCH
    if (
        not isinstance(size, int)
        or not isinstance(count, int)
        or size > MOST_CLASSES
        or any(x.shape[each] != indices.shape[each] for each in others)
        or x.dtype not in ("float32", "float64")
    ):
        raise in_the_way("it takes elements one by one, and of other shapes than along one axis")
    order = (*others, axis)
    places = _places(step, indices, size).at(order)
    front = tuple(x.shape[each] for each in others)

    def picked(build: Builder, value: Value, where: Value) -> Value:
        hot = build(ops.OneHot(size, x.dtype), where)  # [..., count, size]
        is_there = build(ops.Greater(), hot, ops.constant(build, 0.0, hot.type))
        wide = build(ops.Broadcast(hot.type.shape), value)
        kept = build(ops.Select(), is_there, wide, ops.constant(build, 0.0, wide.type))
        return build(ops.Sum((len(front) + 1,)), kept)

    tensor = step.emit("gather", picked, reshaped(x.at(order), (*front, 1, size)), places)
    return Variable.of(tensor, order)


@reads("TopK")
def top_k(step: Step) -> tuple[Held | None, ...]:
    """The greatest numbers along an axis and their places: found one by one, each time among those left.

    Of equal ones, the first comes first. Numbers of minus infinity are found last, at any place.
    """
    x = step.variable(0)
    count = step.setting("k", 1)
    count = int(count[0] if isinstance(count, list) else count)
    axis = step.axis(x.rank, default=-1)
    size = x.shape[axis]
    if x.dtype not in FLOATS:
        raise WholeNumbersError([x])
    if not isinstance(size, int) or not 1 <= count <= min(size, MOST_FOUND) or size > MOST_PLACES:
        raise in_the_way(f"it finds {count} of {size} places one by one, of at most {MOST_FOUND}")
    is_least = not step.setting("largest", default=1)
    order = (*(each for each in range(x.rank) if each != axis), axis)
    last = x.rank - 1

    def found(build: Builder, value: Value, *, places: bool) -> Value:
        left = build(ops.Negate(), value) if is_least else value
        lowest = ops.constant(build, -np.inf, value.type)
        zero = ops.constant(build, 0.0, value.type)
        made = []
        for number in range(count):
            index = build(ops.ArgMax(last), left)
            hot = build(ops.Greater(), build(ops.OneHot(size, value.type.dtype), index), zero)
            best = index if places else build(ops.Sum((last,)), build(ops.Select(), hot, value, zero))
            made.append(build(ops.Reshape((*best.type.shape, 1)), best))
            left = build(ops.Select(), hot, lowest, left) if number < count - 1 else left
        return build(ops.Concatenate(last), *made) if count > 1 else made[0]

    results: list[Held | None] = []
    for is_wanted, places in zip((*step.wanted, False)[:2], (False, True), strict=True):
        emitted = partial(found, places=places)
        label = "top_places" if places else "top"
        results.append(Variable.of(step.emit(label, emitted, x.at(order)), order) if is_wanted else None)
    return tuple(results)


@reads("Compress")
def compress(step: Step) -> Variable:
    """The places along an axis for which a known condition holds; without an axis, of all numbers."""
    x, condition = step.variable(0), few(step.known(1, "condition")).reshape(-1)
    if "axis" not in step.attributes:
        if BATCH in x.shape:
            raise in_the_way("it takes numbers of the whole batch")
        x = Variable.of(reshaped(x.in_file, (math.prod(int(size) for size in x.shape),)))
    axis = step.axis(x.rank)
    size = x.shape[axis]
    places = np.flatnonzero(condition).tolist()
    if not isinstance(size, int) or not places or len(condition) > size:
        raise in_the_way(f"it takes {len(places)} of {size} places")
    return taken(step, x, axis, runs_of(places))
