"""Loops over the elements of a tensor, a vector at a time, and the kernels that are nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphcnn_native.codegen.function import Index
from graphcnn_native.codegen.lanes import columns
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.writer import Position, Writer

Body = Callable[[Position], None]
WORTH_CUTTING = 4096
"""Elements of a sample that threads may share."""
UNROLLED = 4
"""Rows of at most so many vectors are written out without a loop."""


def is_flat(w: Writer) -> bool:
    """Whether all that a kernel stores can be computed element by element in memory order."""
    return w.is_flat(*(value for value, _ in w.kernel.stores))


def pointwise(w: Writer) -> None:
    """Write a kernel that stores pointwise values."""
    values = [value for value, _ in w.kernel.stores]
    item = ITEMS[values[0].type.dtype]
    item = "float" if item == "i8" else item
    if not w.kernel.shape:
        w.store(Position(()))
    elif is_flat(w):
        over_elements(w, w.store, item)
    elif w.is_by_sample and len(w.kernel.shape) > 1:
        over_samples(w, w.store, item)
    else:
        over_axes(w, w.sizes(values[0].type), w.store, item)


def over_samples(w: Writer, body: Body, item: str) -> None:
    """Run `body` for all positions of the kernel's samples, of more axes than one: in memory order, if that
    is the order in which all that it stores can be computed."""
    if not w.is_flat_by_sample(*(value for value, _ in w.kernel.stores)):
        over_axes(w, w.sizes(w.kernel.stores[0][0].type), body, item)
        return
    w.spread_channels()
    over_elements(w, body, item)


def over_elements(w: Writer, body: Body, item: str) -> None:
    """Run `body` for the kernel's share of the elements in memory order."""
    shape = w.kernel.shape
    if not w.is_by_sample or len(shape) == 1:
        over_run(w, w.begin, w.end, (), body, item)
        return
    per_sample, lanes = math.prod(int(size) for size in shape[1:]), w.target.lanes(SIZES[item])
    begin, end = (
        w.cut(0, per_sample, lanes)
        if per_sample % lanes == 0 and per_sample >= WORTH_CUTTING
        else (0, per_sample)
    )
    with w.f.loop(w.begin, w.end, name="sample") as sample:
        if isinstance(end, int):
            over_run(w, 0, per_sample, (sample.index,), body, item)
            return
        with w.f.loop(begin, end, lanes, name="element") as run:
            body(Position((sample.index, run.index), lanes, lanes))


def over_axes(w: Writer, sizes: Sequence[Index], body: Body, item: str) -> None:
    """Run `body` for all positions of a tensor of these sizes; the first axis is the kernel's share of it."""
    if len(sizes) == 1:
        over_run(w, w.begin, w.end, (), body, item)
        return
    with w.f.loop(w.begin, w.end, name="first") as first:
        over_rest(w, sizes[1:], (first.index,), body, item)


def over_rest(w: Writer, sizes: Sequence[Index], outer: tuple[Index, ...], body: Body, item: str) -> None:
    """Run `body` for all positions along further axes."""
    if len(sizes) == 1:
        w.enter(outer)
        over_run(w, 0, sizes[0], outer, body, item)
        return
    with w.f.loop(0, sizes[0], name="axis") as axis:
        over_rest(w, sizes[1:], (*outer, axis.index), body, item)


def share_within(w: Writer, begin: Index, end: Index) -> tuple[Index, Index]:
    """Return where the kernel's share of the first axis meets a range of it: of no length, never of less."""
    first = w.f.greatest(w.begin, begin)
    return first, w.f.greatest(first, w.f.least(w.end, end))


def over_run(w: Writer, begin: Index, end: Index, outer: tuple[Index, ...], body: Body, item: str) -> None:
    """Run `body` along the last axis, from `begin` to an `end` that is not before it: for whole vectors, and
    then for what is left."""
    f, lanes = w.f, w.target.lanes(SIZES[item])
    if isinstance(begin, int) and isinstance(end, int):

        def vector_of(offset: Index, lanes: int, used: int) -> None:
            body(Position((*outer, offset), lanes, used))

        over_vectors(w, begin, end, item, vector_of, unrolled=UNROLLED)
        return
    length = f.subtract(end, begin)
    whole_end = f.add(begin, f.multiply(f.divide(length, lanes), lanes))
    with f.loop(begin, whole_end, lanes, name="element") as run:
        body(Position((*outer, run.index), lanes, lanes))
    with f.loop(whole_end, end, name="element") as run:
        body(Position((*outer, run.index)))


def over_vectors(
    w: Writer, begin: int, end: int, item: str, body: Callable[[Index, int, int], None], *, unrolled: int
) -> None:
    """Run `body(offset, lanes, used)` for the vectors of a row; more than `unrolled` whole ones in a loop."""
    f, lanes = w.f, w.target.lanes(SIZES[item])
    cut, first = columns(end - begin, w.target, item), 0
    if cut.whole > unrolled:
        with f.loop(begin, begin + cut.whole * lanes, lanes, name="element") as run:
            body(run.index, lanes, lanes)
        first = cut.whole
    for column in cut[first:]:
        body(begin + column.offset, column.lanes, column.used)
