"""Kernels that move the pixels of each sample by numbers of its own.

Where all that a kernel stores can be computed in memory order, they go through whole rows, whatever a pixel
holds: a vector begins at any channel of any pixel. Elsewhere they go through the channels of each pixel.
"""

from __future__ import annotations

import math

from graphcnn import ops
from graphcnn.ir import Value
from graphcnn_native.codegen.function import INDEX, Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import columns, load_chosen, load_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.movement import fetch
from graphcnn_native.kernels.nest import over_rest, over_run, over_vectors
from graphcnn_native.kernels.writer import Position, Writer

LONG_ROW = 32
"""A row of more vectors is turned in a loop."""
UNROLLED = 8
"""A row of at most so many vectors is written out without a loop."""


class _Moving:
    """What these kernels share: the samples that they move, and the result."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        self.w, self.f, self.op = w, w.f, node.op
        self.samples: Value = node.operands[0]
        self.moved_by = node.operands[1:]
        (self.result,) = w.graph.results(w.kernel.root)
        self.item = ITEMS[self.result.type.dtype]
        self.last = self.result.type.rank - 1
        self.sizes = tuple(map(int, self.result.type.shape[1:]))
        self.is_flat = w.is_flat_by_sample(*(value for value, _ in w.kernel.stores))
        if self.is_flat:
            w.spread_channels()

    def numbers(self, n: Index) -> list[Index]:
        """Return what moves a sample, as indices."""
        given = [fetch(self.w, operand, [n], Position(()), 0) for operand in self.moved_by]
        return [self.f.convert("sext", each, INDEX) for each in given]

    def load(self, position: Position) -> Ssa:
        """Load the samples at a position of their own."""
        return fetch(self.w, self.samples, [*position.indices], position, self.last)

    def store(self, position: Position, x: Ssa) -> None:
        self.w.store(position, {self.result: x})

    def filled(self, value: float, lanes: int) -> Ssa:
        return constant(vector(self.item, lanes), value)


# Flips


def flip_samples(w: Writer) -> None:
    """A sample is copied, or turned."""
    moving, f = _Moving(w), w.f
    with f.loop(w.begin, w.end, name="sample") as n:
        flag = fetch(w, moving.moved_by[0], [n.index], Position(()), 0)
        if moving.is_flat:
            with f.when(flag):
                _turn(moving, n.index)
            with f.when(f.binary("xor", flag, constant("i1", 1))):
                _copy(moving, n.index)
        else:
            _turn_by_pixel(moving, n.index, flag)


def _copy(moving: _Moving, n: Index) -> None:
    def at(position: Position) -> None:
        moving.store(position, moving.load(position))

    over_run(moving.w, 0, math.prod(moving.sizes), (n,), at, moving.item)


def _turn_by_pixel(moving: _Moving, n: Index, flag: Ssa) -> None:
    w, f, op, last = moving.w, moving.f, moving.op, moving.last
    assert isinstance(op, ops.FlipSamples)

    def at(position: Position) -> None:
        indices, along = list(position.indices), position.indices[op.axis]
        turned = f.index(f.subtract(moving.sizes[op.axis - 1] - 1, along))
        if op.axis < last or position.lanes == 1:
            indices[op.axis] = f.select(flag, turned, f.index(along))
            x = fetch(w, moving.samples, indices, position, last)
        else:
            rows = [[*indices[:-1], f.subtract(turned, lane)] for lane in range(position.used)]
            scalars = [fetch(w, moving.samples, row, Position(()), last) for row in rows]
            turned_lanes = f.assemble([*scalars, *[scalars[0]] * (position.lanes - position.used)])
            x = f.select(flag, turned_lanes, moving.load(position))
        moving.store(position, x)

    over_rest(w, moving.sizes, (n,), at, moving.item)


def _turn(moving: _Moving, n: Index) -> None:
    """Write a sample reversed along the axis: what lies behind that axis stays in order."""
    f, op, lanes = moving.f, moving.op, moving.w.target.lanes(SIZES[moving.item])
    assert isinstance(op, ops.FlipSamples)
    count, inner = moving.sizes[op.axis - 1], math.prod(moving.sizes[op.axis :])
    with f.loop(0, math.prod(moving.sizes[: op.axis - 1]), name="row") as row:
        begin = f.multiply(row.index, count * inner)
        if 2 * inner <= lanes:
            _turn_row(moving, n, begin, count, inner)
            return
        with f.loop(0, count, name="place") as place:
            source = f.add(begin, f.multiply(f.subtract(count - 1, place.index), inner))
            target = f.add(begin, f.multiply(place.index, inner))

            def run(start: Index, lanes: int, used: int) -> None:
                x = moving.load(Position((n, f.add(source, start)), lanes, used))
                moving.store(Position((n, f.add(target, start)), lanes, used), x)

            over_vectors(moving.w, 0, inner, moving.item, run, unrolled=UNROLLED)


def _turn_row(moving: _Moving, n: Index, begin: Index, count: int, inner: int) -> None:
    """Write `count` places of few numbers each in reverse: lanes change places in registers."""
    w, f = moving.w, moving.f
    lanes = w.target.lanes(SIZES[moving.item])
    group = math.lcm(lanes, inner)
    length, first = count * inner, 0
    if length > LONG_ROW * lanes:
        first = length // group * group
        with f.loop(0, first, group, name="group") as run:
            for start in range(0, group, lanes):
                x = _turned_lanes(moving, n, begin, count, inner, run.index, start, lanes, lanes)
                moving.store(Position((n, f.add(begin, run.index, start)), lanes, lanes), x)
    for column in columns(length - first, w.target, moving.item):
        start = first + column.offset
        x = _turned_lanes(moving, n, begin, count, inner, 0, start, column.lanes, column.used)
        moving.store(Position((n, f.add(begin, start)), column.lanes, column.used), x)


def _turned_lanes(
    moving: _Moving,
    n: Index,
    begin: Index,
    count: int,
    inner: int,
    before: Index,
    start: int,
    lanes: int,
    used: int,
) -> Ssa:
    """Return the lanes of a reversed row from `before + start` on, of which `before` is whole places."""
    w, f = moving.w, moving.f
    picked = [(count - 1 - place // inner) * inner + place % inner for place in range(start, start + used)]
    low, high = min(picked), max(picked)
    samples = w.address(w.buffer(moving.samples))
    row = f.element(samples, moving.item, w.offset(moving.samples.type, (n, f.subtract(begin, before))))

    def loaded(place: int, many: int) -> Ssa:
        return load_lanes(f, moving.item, f.element(row, moving.item, place), lanes, many, exact=True)

    if high - low < lanes:
        x = y = loaded(low, high - low + 1)
        chosen = [place - low for place in picked]
    elif high - low < 2 * lanes:
        second = high - lanes + 1
        x, y = loaded(low, lanes), loaded(second, lanes)
        chosen = [place - low if place - low < lanes else lanes + place - second for place in picked]
    else:
        scalars = [f.load(moving.item, f.element(row, moving.item, place)) for place in picked]
        return f.assemble([*scalars, *[scalars[0]] * (lanes - used)])
    if lanes == 1:
        return x
    return f.shuffled(x, y, [*chosen, *[0] * (lanes - used)])


# Windows


def crop_samples(w: Writer) -> None:
    op = _Moving(w).op
    assert isinstance(op, ops.CropSamples)
    _shift(w, 1, op.value)


def paste_samples(w: Writer) -> None:
    _shift(w, -1, 0.0)


def _shift(w: Writer, sign: int, value: float) -> None:
    """Write what lies from a sample's corner on, or from the opposite of it; the value beside the sample."""
    moving, f = _Moving(w), w.f
    with f.loop(w.begin, w.end, name="sample") as n:
        top, left = (f.multiply(each, sign) for each in moving.numbers(n.index))
        if moving.is_flat:
            _shift_rows(moving, n.index, top, left, value)
        else:
            _shift_by_pixel(moving, n.index, top, left, value)


def _shift_by_pixel(moving: _Moving, n: Index, top: Index, left: Index, value: float) -> None:
    w, f = moving.w, moving.f
    height, width = moving.samples.type.static(1), moving.samples.type.static(2)

    def at(position: Position) -> None:
        _, i, j, c = position.indices
        row, column = f.index(f.add(i, top)), f.index(f.add(j, left))
        rows, columns = (
            f.compare("ult", each, f.index(size)) for each, size in ((row, height), (column, width))
        )
        inside = f.binary("and", rows, columns)
        safe = [f.select(inside, each, f.index(0)) for each in (row, column)]
        x = fetch(w, moving.samples, [n, *safe, c], position, 3)
        moving.store(position, f.select(inside, x, moving.filled(value, position.lanes)))

    over_rest(w, moving.sizes, (n,), at, moving.item)


def _shift_rows(moving: _Moving, n: Index, top: Index, left: Index, value: float) -> None:
    w, f = moving.w, moving.f
    height, width, channels = (moving.samples.type.static(axis) for axis in (1, 2, 3))
    length, source_length = moving.sizes[1] * channels, width * channels
    before = f.multiply(left, channels)
    begin = f.least(f.greatest(f.multiply(before, -1), 0), length)
    end = f.greatest(f.least(f.subtract(source_length, before), length), begin)
    samples = w.address(w.buffer(moving.samples))
    with f.loop(0, moving.sizes[0], name="row") as row:
        there, here = f.index(f.add(row.index, top)), f.multiply(row.index, length)
        source = f.element(
            samples,
            moving.item,
            w.offset(moving.samples.type, (n, f.add(f.multiply(there, source_length), before))),
        )

        def fill(start: Index, lanes: int, used: int) -> None:
            moving.store(Position((n, f.add(here, start)), lanes, used), moving.filled(value, lanes))

        def masked(start: Index, lanes: int, used: int) -> None:
            chosen = _between(moving, start, lanes, begin, end)
            address = f.element(source, moving.item, start)
            x = load_chosen(f, moving.item, address, chosen, moving.filled(value, lanes))
            moving.store(Position((n, f.add(here, start)), lanes, used), x)

        def beside(position: Position) -> None:
            (start,) = position.indices
            fill(start, position.lanes, position.used)

        def within(position: Position) -> None:
            (start,) = position.indices
            x = f.load(vector(moving.item, position.lanes), f.element(source, moving.item, start))
            moving.store(Position((n, f.add(here, start)), position.lanes, position.used), x)

        inside = f.compare("ult", there, f.index(height))
        with f.when(f.binary("xor", inside, constant("i1", 1))):
            over_vectors(w, 0, length, moving.item, fill, unrolled=UNROLLED)
        with f.when(inside):
            if w.target.masks:
                over_vectors(w, 0, length, moving.item, masked, unrolled=UNROLLED)
            else:
                over_run(w, f.index(0), begin, (), beside, moving.item)
                over_run(w, begin, end, (), within, moving.item)
                over_run(w, end, f.index(length), (), beside, moving.item)


def _between(moving: _Moving, start: Index, lanes: int, begin: Index, end: Index) -> Ssa:
    """Return which of the places from `start` on lie from `begin` to below `end`, in a row."""
    f = moving.f

    def narrow(x: Index) -> Ssa:
        return f.splat(f.emit("i32", f"trunc {f.index(x)} to i32"), lanes)

    steps = Ssa(vector("i32", lanes), f"<{', '.join(f'i32 {n}' for n in range(lanes))}>")
    places = f.binary("add", narrow(start), steps if lanes > 1 else constant("i32", 0))
    above, below = f.compare("sge", places, narrow(begin)), f.compare("slt", places, narrow(end))
    return f.binary("and", above, below)


# Boxes


def erase_samples(w: Writer) -> None:
    """Each number is loaded, and may then be another."""
    moving, f = _Moving(w), w.f
    op = moving.op
    assert isinstance(op, ops.EraseSamples)
    with f.loop(w.begin, w.end, name="sample") as n:
        top, left, height, width = moving.numbers(n.index)
        begins, ends = [top, left], [f.add(top, height), f.add(left, width)]
        if moving.is_flat:
            _erase_rows(moving, n.index, begins, ends, op.value)
        else:
            _erase_by_pixel(moving, n.index, begins, ends, op.value)


def _erase_rows(moving: _Moving, n: Index, begins: list[Index], ends: list[Index], value: float) -> None:
    w, f = moving.w, moving.f
    channels = moving.sizes[2]
    length = moving.sizes[1] * channels
    begin, end = (f.least(f.greatest(f.multiply(sides[1], channels), 0), length) for sides in (begins, ends))
    with f.loop(0, moving.sizes[0], name="row") as row:
        here = f.multiply(row.index, length)
        inside = f.binary(
            "and",
            f.compare("sge", row.index, f.index(begins[0])),
            f.compare("slt", row.index, f.index(ends[0])),
        )
        reached = f.select(inside, f.index(end), f.index(0))

        def run(start: Index, lanes: int, used: int) -> None:
            place = Position((n, f.add(here, start)), lanes, used)
            chosen = _between(moving, start, lanes, begin, reached)
            moving.store(place, f.select(chosen, moving.filled(value, lanes), moving.load(place)))

        over_vectors(w, 0, length, moving.item, run, unrolled=UNROLLED)


def _erase_by_pixel(moving: _Moving, n: Index, begins: list[Index], ends: list[Index], value: float) -> None:
    f = moving.f

    def at(position: Position) -> None:
        checks = [
            f.compare(predicate, f.index(position.indices[1 + axis]), f.index(side[axis]))
            for axis in (0, 1)
            for predicate, side in (("sge", begins), ("slt", ends))
        ]
        inside = checks[0]
        for check in checks[1:]:
            inside = f.binary("and", inside, check)
        moving.store(position, f.select(inside, moving.filled(value, position.lanes), moving.load(position)))

    over_rest(moving.w, moving.sizes, (n,), at, moving.item)
