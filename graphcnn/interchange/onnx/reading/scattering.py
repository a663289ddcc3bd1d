"""Operators that write numbers to known places of a value."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.interchange.onnx.reading.reshaping import reshape_to
from graphcnn.interchange.onnx.reading.step import Step, op
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.taking import few, runs_of, taken
from graphcnn.interchange.onnx.reading.values import Known, Variable
from graphcnn.ir import BATCH, Value, format_shape
from graphcnn.ir.types import FLOATS

MOST_ROUNDS: Final = 64
"""Numbers that come to one place one after the other."""
_WAYS: Final = ("none", "add", "mul", "max", "min")


@reads("ScatterND")
def scatter_nd(step: Step) -> Variable:
    x, indices, updates = step.variable(0), step.known(1, "indices"), step.variable(2)
    depth = indices.shape[-1] if indices.ndim else 0
    few(indices[..., :1] if indices.ndim else indices)
    if not 1 <= depth <= x.rank:
        raise in_the_way(f"its indices {list(indices.shape)} are none of {format_shape(x.shape)}")
    places = _flat(x, depth, np.moveaxis(indices, -1, 0))
    return _written(step, x, depth, places, updates)


@reads("ScatterElements", "Scatter")
def scatter_elements(step: Step) -> Variable:
    x, indices, updates = step.variable(0), few(step.known(1, "indices")), step.variable(2)
    axis = step.axis(x.rank)
    grid = np.indices(indices.shape)
    if indices.ndim != x.rank:
        raise in_the_way(f"its indices {list(indices.shape)} are none of {format_shape(x.shape)}")
    grid[axis] = indices
    return _written(step, x, x.rank, _flat(x, x.rank, grid), updates)


def _flat(x: Variable, depth: int, indices: Array) -> list[int]:
    """Return places along the first axes as those of one axis. indices: of each axis."""
    if BATCH in x.shape[:depth]:
        raise in_the_way("it writes to samples of the batch")
    sizes = [int(size) for size in x.shape[:depth]]
    column = np.array(sizes).reshape(-1, *[1] * (indices.ndim - 1))
    if (indices < -column).any() or (indices >= column).any():
        raise in_the_way(f"its indices reach beyond the {sizes} places there are")
    found: list[int] = np.ravel_multi_index(tuple(indices % column), sizes).reshape(-1).tolist()
    return found


def _written(step: Step, x: Variable, depth: int, places: list[int], updates: Variable) -> Variable:
    way = str(step.setting("reduction", default="none"))
    if x.dtype not in FLOATS or way not in _WAYS:
        raise in_the_way(f"it writes to places of {x.dtype}, by {way!r:.40}")
    count, rest = math.prod(int(size) for size in x.shape[:depth]), x.shape[depth:]
    flat, rows = reshape_to(x, (count, *rest)), reshape_to(updates, (len(places), *rest))
    for number in _rounds(places, way):
        flat = _one_round(step, flat, rows, [(places[each], each) for each in number], way)
    return reshape_to(flat, x.shape)


def _rounds(places: list[int], way: str) -> list[list[int]]:
    """Return which numbers are written in each round, in which none comes to the same place as another."""
    if way == "none":
        return [sorted(dict(zip(places, range(len(places)), strict=True)).values())]  # the last stays
    if way == "add":
        return [list(range(len(places)))]
    rounds: list[list[int]] = []
    seen: dict[int, int] = {}
    for number, place in enumerate(places):
        turn = seen[place] = seen.get(place, -1) + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(number)
    if len(rounds) > MOST_ROUNDS:
        raise in_the_way(f"{len(rounds)} numbers come to one place")
    return rounds


def _one_round(step: Step, x: Variable, rows: Variable, written: list[tuple[int, int]], way: str) -> Variable:
    ordered = sorted(written)
    chosen = taken(step, rows, 0, runs_of([number for _, number in ordered]))
    order = chosen.any_order
    places = [place for place, _ in ordered]
    put = op(ops.ScatterSum(order.index(0), tuple(runs_of(places)), int(x.shape[0])))
    placed = Variable.of(step.emit("scatter", put, chosen.at(order)), order)
    if way == "add":
        return step.each("add", op(ops.Add()), x, placed)
    mask = np.zeros((int(x.shape[0]), *[1] * (x.rank - 1)), bool)
    mask[places] = True

    def combined(build: Builder, old: Value, new: Value, is_written: Value) -> Value:
        kinds = {"mul": ops.Multiply(), "max": ops.Maximum()}
        if way == "min":
            least = build(ops.Maximum(), build(ops.Negate(), old), build(ops.Negate(), new))
            made = build(ops.Negate(), least)
        else:
            made = new if way == "none" else build(kinds[way], old, new)
        return build(ops.Select(), is_written, made, old)

    return step.each("write", combined, x, placed, Known(mask))
