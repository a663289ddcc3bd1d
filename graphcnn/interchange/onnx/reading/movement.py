"""Operators that join, cut, pad and reorder: nothing is computed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.padding import padded
from graphcnn.interchange.onnx.reading.reshaping import reshape_to
from graphcnn.interchange.onnx.reading.shape import without_axes
from graphcnn.interchange.onnx.reading.step import Step, common_order, op, positive, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.taking import MOST_RUNS, few, rows_of, runs_of, taken
from graphcnn.interchange.onnx.reading.values import Held, Known, Variable
from graphcnn.ir import BATCH, Dim, Value, format_shape


@reads("Concat")
def concat(step: Step) -> Variable:
    values = [step.variable(position) for position in range(len(step.inputs))]
    axis = step.axis(values[0].rank)
    order = common_order(values)
    if len(values) == 1:
        return values[0]
    place = order.index(axis)
    joined = step.emit(
        "concatenate", lambda b, *v: b(ops.Concatenate(place), *v), *(each.at(order) for each in values)
    )
    return Variable.of(joined, order)


def _cropped(step: Step, x: Variable, axis: int, before: int, size: int) -> Variable:
    """Return `size` places along an axis, after those before."""
    order = x.any_order
    widths = [(0, 0)] * x.rank
    widths[order.index(axis)] = (before, int(x.shape[axis]) - before - size)
    if not any(widths[order.index(axis)]):
        return x
    return Variable.of(step.emit("crop", op(ops.Crop(tuple(widths))), x.at(order)), order)


@reads("Split")
def split(step: Step) -> tuple[Held | None, ...]:
    x = step.variable(0)
    axis = step.axis(x.rank)
    if x.shape[axis] == BATCH:
        raise in_the_way("it splits the batch")
    total, parts = int(x.shape[axis]), len(step.node.output)
    sizes = step.setting("split", 1)
    if sizes is None:
        each = -(-total // parts)
        sizes = [each] * (parts - 1) + [total - each * (parts - 1)]
    if sum(sizes) != total or min(sizes) < 1:
        raise in_the_way(f"its parts {sizes} do not make up the {total} places of its axis")
    begins = np.cumsum([0, *sizes[:-1]]).tolist()
    return tuple(_cropped(step, x, axis, begin, size) for begin, size in zip(begins, sizes, strict=True))


@reads("Slice")
def slice_(step: Step) -> Variable:
    x = step.variable(0)
    starts, ends = (step.setting(name, place) for name, place in (("starts", 1), ("ends", 2)))
    axes = step.setting("axes", 3) or list(range(len(starts)))
    steps = step.setting("steps", 4) or [1] * len(starts)
    order = x.any_order
    widths, strided = [(0, 0)] * x.rank, {}
    for start, end, axis, apart in zip(starts, ends, axes, steps, strict=True):
        along = positive(axis, x.rank)
        places = _places(x.shape[along], slice(start, end, apart))
        if places is None:
            continue
        if places.step == 1:
            widths[order.index(along)] = (places[0], int(x.shape[along]) - places[-1] - 1)
        else:
            strided[along] = (places[0], len(places), places.step)
    if any(map(any, widths)):
        x = Variable.of(step.emit("crop", op(ops.Crop(tuple(widths))), x.at(order)), order)
    for along, run in strided.items():
        x = taken(step, x, along, [run])
    return x


def _places(size: Dim, places: slice) -> range | None:
    """Return which places of an axis a slice takes; None for all of the batch."""
    if size == BATCH:
        if places.start in (0, None) and places.step == 1 and places.stop > 2**31 - 2:
            return None
        raise in_the_way("it slices the batch")
    if not places.step:
        raise in_the_way("it slices with a step of 0")
    stop = None if places.step < 0 and places.stop < -int(size) else places.stop
    found = range(*slice(places.start, stop, places.step).indices(int(size)))
    if not found:
        raise in_the_way("it slices nothing, and graphcnn has no empty tensors")
    return found if len(found) > 1 else range(found[0], found[0] + 1)


@reads("Gather")
def gather(step: Step) -> Variable:
    table, indices_of = step[0], step[1]
    if isinstance(table, Known) and isinstance(indices_of, Variable) and step.axis(table.rank) == 0:
        return rows_of(step, table, indices_of)
    x = step.variable(0)
    axis = step.axis(x.rank)
    indices = few(step.known(1, "indices"))
    if x.shape[axis] == BATCH:
        raise in_the_way("it takes samples of the batch")
    size = int(x.shape[axis])
    flat = [int(index) + size if index < 0 else int(index) for index in indices.reshape(-1)]
    if not flat or not all(0 <= index < size for index in flat):
        raise in_the_way(f"its indices are not places 0 to {size - 1}")
    found = taken(step, x, axis, runs_of(flat))
    if indices.ndim == 0:
        return without_axes(found, found.any_order, {axis})
    if indices.ndim == 1:
        return found
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return Variable.of(reshaped(found.in_file, shape))


@reads("GatherND")
def gather_nd(step: Step) -> Variable:
    """What known indices along the first axes pick: these axes as one, of which places are taken."""
    x, indices = step.variable(0), step.known(1, "indices")
    few(indices[..., :1] if indices.ndim else indices)
    along = step.setting("batch_dims", default=0)
    depth = along + indices.shape[-1] if indices.ndim else 0
    if not along < depth <= x.rank or along >= indices.ndim:
        raise in_the_way(f"its indices {list(indices.shape)} are none of {format_shape(x.shape)}")
    if BATCH in x.shape[:depth]:
        raise in_the_way("it takes samples of the batch")
    sizes = [int(size) for size in x.shape[:depth]]
    if list(indices.shape[:along]) != sizes[:along]:
        raise in_the_way(f"its indices are for {list(indices.shape[:along])} values, not {sizes[:along]}")
    if (indices < -np.array(sizes[along:])).any() or (indices >= sizes[along:]).any():
        raise in_the_way(f"its indices reach beyond the {sizes[along:]} places there are")
    each = np.indices(indices.shape[:-1])[:along]
    places = np.ravel_multi_index((*each, *np.moveaxis(indices % sizes[along:], -1, 0)), sizes)
    flat = reshape_to(x, (math.prod(sizes), *x.shape[depth:]))
    found = taken(step, flat, 0, runs_of(places.reshape(-1).tolist()))
    return reshape_to(found, (*indices.shape[:-1], *x.shape[depth:]))


@reads("Pad")
def pad(step: Step) -> Variable:
    """Widths below 0 crop."""
    x = step.variable(0)
    widths = step.setting("pads", 1)
    axes = step.setting("axes", 3) or list(range(x.rank))
    value = float(np.asarray(step.setting("value", 2, 0.0)).reshape(-1)[0])
    mode = str(step.setting("mode", default="constant"))
    ways = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "circular"}
    if mode not in ways or len(widths) != 2 * len(axes):
        raise in_the_way(f"its mode is {mode!r:.40}, its pads are {widths}")
    order = x.any_order
    pairs = [(0, 0)] * x.rank
    for axis, before, after in zip(axes, widths[: len(axes)], widths[len(axes) :], strict=True):
        pairs[order.index(positive(axis, x.rank))] = (before, after)
    crops = tuple((max(-before, 0), max(-after, 0)) for before, after in pairs)
    more = tuple((max(before, 0), max(after, 0)) for before, after in pairs)

    def apply(build: Builder, v: Value) -> Value:
        if any(map(any, crops)):
            v = build(ops.Crop(crops), v)
        if not any(map(any, more)):
            return v
        if mode == "constant":
            return build(ops.Pad(more, value), v)
        return padded(build, v, more, ways[mode])

    return Variable.of(step.emit("pad", apply, x.at(order)), order)


@reads("Tile")
def tile(step: Step) -> Variable:
    x = step.variable(0)
    repeats = step.known(1, "repeats").reshape(-1).tolist()
    if len(repeats) != x.rank:
        raise in_the_way(f"its repeats {repeats} are not one for each of {x.rank} axes")
    for axis, count in enumerate(repeats):
        if count == 1:
            continue
        if x.shape[axis] == BATCH or not 1 <= count <= MOST_RUNS:
            raise in_the_way(f"it repeats axis {axis} {count} times")
        x = taken(step, x, axis, [(0, int(x.shape[axis]), 1)] * count)
    return x


@reads("DepthToSpace", "SpaceToDepth")
def blocks(step: Step) -> Variable:
    """Channels as pixels and back: by blocks, DCR, or channel by channel, CRD."""
    x, size = step.variable(0), int(step.setting("blocksize"))
    if x.rank != 4 or size < 1:
        raise in_the_way(f"it is on a value of {x.rank} axes, with blocks of {size}")
    batch, channels, height, width = x.shape
    channels, height, width = int(channels), int(height), int(width)
    is_by_blocks = step.setting("mode", default="DCR") == "DCR"
    if step.node.op_type == "SpaceToDepth":
        if height % size or width % size:
            raise in_the_way(f"{height}x{width} pixels are no whole blocks of {size}")
        apart = (batch, height // size, size, width // size, size, channels)
        turned = (0, 1, 3, 2, 4, 5) if is_by_blocks else (0, 1, 3, 5, 2, 4)
        return _reordered(step, x, apart, turned, (batch, height // size, width // size, channels * size**2))
    if channels % size**2:
        raise in_the_way(f"{channels} channels are no multiple of {size}²")
    kept = channels // size**2
    apart = (batch, height, width, *((size, size, kept) if is_by_blocks else (kept, size, size)))
    turned = (0, 1, 3, 2, 4, 5) if is_by_blocks else (0, 1, 4, 2, 5, 3)
    return _reordered(step, x, apart, turned, (batch, height * size, width * size, kept))


def _reordered(step: Step, x: Variable, apart: Any, turned: tuple[int, ...], shape: Any) -> Variable:
    def apply(build: Builder, v: Value) -> Value:
        return build(ops.Reshape(shape), build(ops.Transpose(turned), build(ops.Reshape(apart), v)))

    return Variable.of(step.emit(step.node.op_type.lower(), apply, x.last), (0, 2, 3, 1))
