"""Filters that are mapped for Winograd's tiles, and where the taps of their parts are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import TypeAlias

from graphcnn.ir import TensorType
from graphcnn.ops.attributes import Pair
from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.function import INDEX, Function, Index, Ssa, constant, vector
from graphcnn_native.codegen.lanes import Column, load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.tile import ColumnGroup, column_groups
from graphcnn_native.kernels.winograd_maps import along_both, maps_of
from graphcnn_native.kernels.writer import Writer
from graphcnn_native.lowering.program import ALIGNMENT, Place
from graphcnn_native.lowering.winograd import LARGE_FILTERS, Form, WinogradFilters, taps_of


def winograd_filters(w: Writer) -> None:
    """Map filters to [points, parts · C, D], in panels; the kernel's share is a range of channels."""
    assert w.kernel.root is not None
    op = w.graph.node(w.kernel.root).op
    assert isinstance(op, WinogradFilters)
    (_TurnedFilters if op.is_turned else _Filters)(w).write()


class _Filters:
    at_once = 1
    """Channels that are mapped together."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        node, (result,) = w.graph.node(w.kernel.root), w.graph.results(w.kernel.root)
        assert isinstance(node.op, WinogradFilters)
        self.w, self.f, self.op = w, w.f, node.op
        self.form, self.depth = node.op.form, node.op.depth
        (filters,) = node.operands
        self.filters, self.item = filters.type, ITEMS[filters.type.dtype]
        self.lanes, self.count = w.target.lanes(SIZES[self.item]), result.type.static(2)
        self.exact = w.buffer(filters).place is Place.CALLER
        self.source, self.target = w.address(w.buffer(filters)), w.address(w.buffer(result))
        self.maps = maps_of(self.form, self.f, w.target)
        self.groups = column_groups(self.count, node.op.panel // self.lanes, w.target, self.item)
        fills_lines = self.count % self.lanes == 0 and w.target.vector_bytes == ALIGNMENT
        self.is_large = fills_lines and result.type.bytes(1) > LARGE_FILTERS
        self.alone: Ssa | None = None
        self.shared: Ssa | None = None
        if self.is_large and result.type.bytes(1) <= LARGEST_OF_ONE_THREAD:
            threads, one = w.slot(Slot.THREADS, INDEX), w.f.index(1)
            self.alone, self.shared = w.f.compare("eq", threads, one), w.f.compare("ne", threads, one)

    def write(self) -> None:
        with self.f.loop(self.w.begin, self.w.end, self.at_once, name="channel") as channel:
            self._channels(channel.index)
        if self.is_large:
            self.f.publish()

    def _channels(self, channel: Index) -> None:
        """Map `at_once` channels."""
        f = self.f
        taps = taps_of_part(f, self.filters, self.form, self.op.step, channel)
        for group, first, panel in self._panels(channel):
            for part in group.columns:
                source = f.element(self.source, self.item, first, part.offset)
                self._map(part, group.used, partial(self._loaded, source, taps, part), panel)

    def _loaded(self, source: Ssa, taps: list[list[Tap]], part: Column, row: int, column: int) -> Ssa:
        """Return a vector of the taps at (row, column). source: the vector at the first one."""
        tap = taps[row][column]
        address = self._address(source, tap)
        return self._or_zeros(
            load_lanes(self.f, self.item, address, part.lanes, part.used, exact=self.exact), tap
        )

    def _address(self, source: Ssa, tap: Tap) -> Ssa:
        """Return where a tap is, or the first one in the place of what is none."""
        f, (offset, is_there) = self.f, tap
        known = offset if is_there is None else f.select(is_there, f.index(offset), f.index(0))
        return f.element(source, self.item, known)

    def _or_zeros(self, x: Ssa, tap: Tap) -> Ssa:
        """Return a tap that was loaded, or zeros where there is none."""
        return x if tap[1] is None else self.f.select(tap[1], x, constant(x.type, 0.0))

    def _panels(self, channel: Index) -> Iterator[tuple[ColumnGroup, Index, Ssa]]:
        """Yield the panels' first columns, and where the channel's first element is in each, in a loop."""
        f, points = self.f, self.form.points
        number = f.divide(channel, self.depth)
        within = f.subtract(channel, f.multiply(number, self.depth))
        panels = f.element(self.target, self.item, f.multiply(number, points * self.depth * self.count))
        for group in self.groups:
            with f.each(group.offset, group.count, group.width, name="column") as first:
                panel = f.element(panels, self.item, f.multiply(first, points * self.depth))
                yield group, first, f.element(panel, self.item, f.multiply(within, group.used))

    def _map(self, part: Column, used: int, tap: Callable[[int, int], Ssa], target: Ssa) -> None:
        """Map a vector of a panel that is `used` wide.

        tap: returns the vector at (row, column); target: the channel's first element at the first point.
        """
        f, item, form = self.f, self.item, self.form
        for row, mapped in along_both(self.w.target, self.maps.of_filters, tap, form.taps, form.side):
            points = range(row * form.side, (row + 1) * form.side)
            places = [f.element(target, item, point * self.depth * used, part.offset) for point in points]
            if self.alone is not None or not self.is_large:
                with where(f, self.alone):
                    for x, address in zip(mapped, places, strict=True):
                        store_lanes(f, x, address, part.used, self.w.target)
            if self.is_large:
                with where(f, self.shared):
                    for x, address in zip(mapped, places, strict=True):
                        f.store_past_caches(x, address)


class _TurnedFilters(_Filters):
    """Of an input gradient: channels and filters, which fill vectors, change places square by square."""

    def __init__(self, w: Writer) -> None:
        super().__init__(w)
        self.at_once = self.lanes
        self.square = w.f.allocate(self.item, self.form.taps**2 * self.lanes**2)
        """[taps, lanes of channels, lanes of filters]: the taps of a square, turned."""

    def _channels(self, channel: Index) -> None:
        f, lanes = self.f, self.lanes
        for group, first, panel in self._panels(channel):
            with f.each(0, len(group.columns), 1, name="vector") as number:
                offset = f.multiply(number, lanes)
                self._turn(channel, f.add(first, offset))
                with f.loop(0, lanes, name="channel") as within:
                    source = f.element(self.square, self.item, f.multiply(within.index, lanes))
                    target = f.element(panel, self.item, f.multiply(within.index, group.used), offset)
                    self._map(Column(0, lanes, lanes), group.used, partial(self._turned, source), target)

    def _turned(self, source: Ssa, row: int, column: int) -> Ssa:
        """Return a vector of turned taps. source: the vector at the first one."""
        number = row * self.form.taps + column
        return self.f.load(
            vector(self.item, self.lanes), self.f.element(source, self.item, number * self.lanes**2)
        )

    def _turn(self, channel: Index, column: Index) -> None:
        """Put the taps of a square of channels and filters into `square`."""
        f, lanes, item = self.f, self.lanes, self.item
        source = f.element(self.source, item, f.multiply(column, self.filters.static(3)))
        taps = taps_of_part(f, self.filters, self.form, self.op.step, channel, is_turned=True)
        for number, tap in enumerate(chain(*taps)):
            first = self._address(source, tap)
            rows = [
                f.load(vector(item, lanes), f.element(first, item, row * self.filters.static(3)))
                for row in range(lanes)
            ]
            for row, x in enumerate(f.turned(rows)):
                here = f.element(self.square, item, number * lanes**2 + row * lanes)
                f.store(self._or_zeros(x, tap), here)


LARGEST_OF_ONE_THREAD = 4 * 1024 * 1024
"""Bytes of mapped filters that one thread had better leave in its caches, as far as they go: what several
threads write is fetched by each from the others' caches, which takes longer than from memory."""
Tap: TypeAlias = tuple[Index, Ssa | None]
"""Where in filters a tap is, and whether it is one of theirs, unless that is sure."""


def taps_of_part(
    f: Function, filters: TensorType, form: Form, step: Pair, channel: Index, *, is_turned: bool = False
) -> list[list[Tap]]:
    """Return the taps of a part of filters [K, K', C, D]; channel: of all parts, one after the other.

    is_turned: whether they are those of an input gradient, whose channels are the filters given.
    """
    size, across, count = taps_of(filters), filters.static(2), filters.static(3)
    channels = count if is_turned else across
    parts = form.parts_of(size, step)
    part = f.divide(channel, channels) if parts != (1, 1) else 0
    channel = f.subtract(channel, f.multiply(part, channels))
    down = f.divide(part, parts[1])
    places: list[list[Tap]] = []
    for axis, along in enumerate((down, f.subtract(part, f.multiply(down, parts[1])))):
        first = offset_of_part(f, form, along, step[axis])
        furthest = form.offset_of(parts[axis] - 1, step[axis])
        places.append([])
        for tap in range(form.taps):
            place = f.add(first, tap * step[axis])
            is_sure = furthest + tap * step[axis] < size[axis]
            is_there = None if is_sure else f.compare("ult", f.index(place), f.index(size[axis]))
            places[-1].append((f.subtract(size[axis] - 1, place) if is_turned else place, is_there))

    def of(row: Index, column: Index) -> Index:
        tap = f.multiply(f.add(f.multiply(row, size[1]), column), across)
        return f.add(f.multiply(tap, count), channel if is_turned else f.multiply(channel, count))

    return [
        [(of(row, column), both(f, in_row, in_column)) for column, in_column in places[1]]
        for row, in_row in places[0]
    ]


def offset_of_part(f: Function, form: Form, part: Index, step: int) -> Index:
    """Return `Form.offset_of` a part that is known when the program runs."""
    return f.add(part, f.multiply(f.divide(part, step), (form.taps - 1) * step))


def both(f: Function, x: Ssa | None, y: Ssa | None) -> Ssa | None:
    """Return whether both conditions hold; None stands for one that surely does."""
    return f.binary("and", x, y) if x is not None and y is not None else x or y


def where(f: Function, condition: Ssa | None) -> AbstractContextManager[object]:
    """A block that runs where the condition holds."""
    return nullcontext() if condition is None else f.when(condition)
