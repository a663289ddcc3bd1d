"""Cases of ops that take places along an axis and put them back, or pad with numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from graphcnn import ops
from graphcnn.ir import DType, Emitter
from graphcnn.ops.attributes import Pair
from graphcnn.ops.taking import Run
from graphcnn.testing.case import Case, Named

Runs: TypeAlias = tuple[Run, ...]

RUNS: tuple[tuple[str, int, Runs], ...] = (
    *(("in order", axis, ((0, 4 if axis == 3 else 2, 1),)) for axis in (1, 2, 3)),
    *(("reversed", axis, ((3 if axis == 3 else 1, 2, -1),)) for axis in (1, 2, 3)),
    ("every other row", 1, ((0, 3, 2),)),
    ("every other channel", 3, ((1, 2, 2),)),
    ("every third row from behind", 1, ((5, 2, -3),)),
    ("reflected rows", 1, ((2, 2, -1), (0, 6, 1), (4, 3, -1))),
    ("reflected channels", 3, ((2, 2, -1), (0, 4, 1), (2, 2, -1))),
    ("rows of the edge", 1, ((0, 3, 0), (0, 6, 1), (5, 1, 0))),
    ("channels of the edge", 3, ((0, 2, 0), (0, 4, 1), (3, 19, 0))),
    ("rows around", 1, ((4, 2, 1), (0, 6, 1), (0, 4, 1))),
    ("one column", 2, ((1, 1, 1),)),
)
"""Runs of places by name: along rows, columns and channels, of at least 6, 2 and 4."""


WIDTHS = (((0, 0), (1, 2), (0, 1), (0, 0)), ((0, 0), (0, 0), (2, 0), (1, 0)), ((0, 0),) * 4)


def places(dtype: DType) -> Named:
    for name, axis, runs in RUNS:
        for shape in ((15, 6, 4, 7), (3, 33, 2, 4)):
            yield f"take: {name} of axis {axis}, of {list(shape)}", partial(_taken, dtype, shape, axis, runs)
    yield "take: of a parameter", partial(_taken_of_parameter, dtype)
    for before, after in ((1, 1), (1, 4), (4, 1), (3, 6), (4, 7), (7, 4), (33, 5), (2, 34)):
        for aligned in (False, True):
            for axis in (1, 2, 3):
                name = f"interpolate: {before} to {after} of axis {axis}{', aligned' if aligned else ''}"
                yield name, partial(_interpolated, dtype, before, after, axis, aligned)
    yield "interpolate: of a parameter", partial(_interpolated_parameter, dtype)
    for widths in WIDTHS:
        yield f"pad: {widths} with a number", partial(_padded, dtype, widths)
    yield "pad: with a number, before a correlation", partial(_pad_before_correlation, dtype)


def _taken(dtype: DType, shape: Sequence[int], axis: int, runs: Runs, case: Case) -> None:
    """What is taken, what was taken put back, and the gradient of the square."""
    emit, op = Emitter(case.graph), ops.Take(axis, runs)
    x = case.normal(dtype, *shape, batch=True)
    case.apply(op, x)
    places = [first + step * k for first, count, step in runs for k in range(count)]
    taken = case.array(x).take(places, axis)
    d = case.input(case.random.standard_normal(taken.shape).astype(dtype), batch=True)
    case.apply(ops.ScatterSum(axis, runs, shape[axis]), d)
    back = np.zeros(shape)
    for number, place in enumerate(places):
        np.moveaxis(back, axis, 0)[place] += np.moveaxis(case.array(d), axis, 0)[number]
    following = emit(ops.Multiply(), emit(op, emit(ops.Multiply(), x, x)), d)
    case.graph.output("following", following)
    case.expect(taken, back, taken.astype(np.float64) ** 2 * case.array(d))


def _taken_of_parameter(dtype: DType, case: Case) -> None:
    """Along the first axis, which threads share."""
    runs = ((2, 2, -1), (0, 5, 1), (4, 3, 0), (0, 2, 3))
    x, d = case.normal(dtype, 5, 7), case.normal(dtype, 12, 7)
    vector = case.normal(dtype, 5)
    case.apply(ops.Take(0, runs), x)
    case.apply(ops.ScatterSum(0, runs, 5), d)
    case.apply(ops.ScatterSum(0, runs, 5), case.apply(ops.Take(0, runs), vector)[0])


def _interpolated(dtype: DType, before: int, after: int, axis: int, aligned: bool, case: Case) -> None:
    """Places between others, and the way back, from the weights of a matrix."""
    shape = [15, 3, 2, 7]
    coarse, fine = ([*shape[:axis], size, *shape[axis + 1 :]] for size in (before, after))
    x, d = (case.normal(dtype, *sizes, batch=True) for sizes in (coarse, fine))
    case.apply(ops.Interpolate(axis, after, aligned), x)
    case.apply(ops.InterpolateTransposed(axis, before, aligned), d)
    if aligned:
        places = np.linspace(0, before - 1, after)
    else:
        places = ((np.arange(after) + 0.5) * before / after - 0.5).clip(0, before - 1)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(before)))
    case.expect(
        *(
            np.moveaxis(np.moveaxis(case.array(value), axis, -1) @ matrix, -1, axis)
            for value, matrix in ((x, weights.T), (d, weights))
        )
    )


def _interpolated_parameter(dtype: DType, case: Case) -> None:
    """Along the first axis, which threads share, and of a vector."""
    for shape in ((5, 7), (5,)):
        x = case.normal(dtype, *shape)
        case.apply(ops.InterpolateTransposed(0, 5), case.apply(ops.Interpolate(0, 13), x)[0])


def _padded(dtype: DType, widths: tuple[Pair, ...], case: Case) -> None:
    x = case.normal(dtype, 3, 4, 5, 2, batch=True)
    case.apply(ops.Pad(widths, -2.5), x)
    case.apply(ops.Pad(widths, float("-inf")), x)
    case.expect(*(np.pad(case.array(x), widths, constant_values=number) for number in (-2.5, float("-inf"))))


def _pad_before_correlation(dtype: DType, case: Case) -> None:
    """Zeros beside images need not be written or multiplied; other numbers have to be."""
    emit = Emitter(case.graph)
    w, sides = case.normal(dtype, 3, 3, 6, 12), ((0, 0), (0, 0), (3, 3), (0, 0))
    for number, widths in ((0.0, sides), (1.5, sides), (-2.0, ((0, 0), (1, 1), (1, 1), (0, 0)))):
        x = case.normal(dtype, 33, 6, 6, 6, batch=True)
        y = emit(ops.Correlate2d(), emit(ops.Pad(widths, number), x), w)
        case.graph.output(f"padded with {number}", emit(ops.Tanh(), y))
