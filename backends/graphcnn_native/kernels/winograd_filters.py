"""Filters that are mapped for Winograd's tiles, and where the taps of their parts are."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from graphcnn.ir import TensorType
from graphcnn.ops.attributes import Pair
from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.function import INDEX, Function, Index, Ssa, constant
from graphcnn_native.codegen.lanes import Column, load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.tile import column_groups
from graphcnn_native.kernels.winograd_maps import along_both, maps_of
from graphcnn_native.kernels.writer import Writer
from graphcnn_native.lowering.program import ALIGNMENT, Place
from graphcnn_native.lowering.winograd import LARGE_FILTERS, Form, WinogradFilters, taps_of


def winograd_filters(w: Writer) -> None:
    """Map filters [K, K', C, D] to [points, parts · C, D], in panels; its share is a range of channels."""
    assert w.kernel.root is not None
    node = w.graph.node(w.kernel.root)
    assert isinstance(node.op, WinogradFilters)
    f, (result,), (filters,) = w.f, w.graph.results(w.kernel.root), node.operands
    item, buffer, form = ITEMS[filters.type.dtype], w.buffer(filters), node.op.form
    lanes, exact = w.target.lanes(SIZES[item]), buffer.place is Place.CALLER
    depth, count = node.op.depth, result.type.static(2)
    maps = maps_of(form, f, w.target)
    fills_lines = count % lanes == 0 and w.target.vector_bytes == ALIGNMENT
    is_large = fills_lines and result.type.bytes(1) > LARGE_FILTERS
    alone: Ssa | None = None
    shared: Ssa | None = None
    if is_large and result.type.bytes(1) <= LARGEST_OF_ONE_THREAD:
        threads = w.slot(Slot.THREADS, INDEX)
        alone, shared = f.compare("eq", threads, f.index(1)), f.compare("ne", threads, f.index(1))

    def map_vector(part: Column, used: int, source: Ssa, taps: list[list[Tap]], target: Ssa) -> None:
        """source: a panel's first element in a row, at the first tap; target: it at the first point.

        used: how wide the panel is.
        """

        def tap(row: int, column: int) -> Ssa:
            offset, is_there = taps[row][column]
            offset = offset if is_there is None else f.select(is_there, f.index(offset), f.index(0))
            address = f.element(source, item, offset, part.offset)
            x = load_lanes(f, item, address, part.lanes, part.used, exact=exact)
            return x if is_there is None else f.select(is_there, x, constant(x.type, 0.0))

        for row, mapped in along_both(w.target, maps.of_filters, tap, form.taps, form.side):
            points = range(row * form.side, (row + 1) * form.side)
            places = [f.element(target, item, point * depth * used, part.offset) for point in points]
            if alone is not None or not is_large:
                with where(f, alone):
                    for x, address in zip(mapped, places, strict=True):
                        store_lanes(f, x, address, part.used, w.target)
            if is_large:
                with where(f, shared):
                    for x, address in zip(mapped, places, strict=True):
                        f.store_past_caches(x, address)

    groups = column_groups(count, node.op.panel // lanes, w.target, item)
    with f.loop(w.begin, w.end, name="channel") as channel:
        taps = taps_of_part(f, filters.type, form, node.op.step, channel.index)
        number = f.divide(channel.index, depth)
        within = f.subtract(channel.index, f.multiply(number, depth))
        panels = f.element(w.address(w.buffer(result)), item, f.multiply(number, form.points * depth * count))
        for group in groups:
            with f.each(group.offset, group.count, group.width, name="column") as first:
                source = f.element(w.address(buffer), item, first)
                panel = f.element(panels, item, f.multiply(first, form.points * depth))
                target = f.element(panel, item, f.multiply(within, group.used))
                for part in group.columns:
                    map_vector(part, group.used, source, taps, target)
    if is_large:
        f.publish()


LARGEST_OF_ONE_THREAD = 4 * 1024 * 1024
"""Bytes of mapped filters that one thread had better leave in its caches, as far as they go: what several
threads write is fetched by each from the others' caches, which takes longer than from memory."""
Tap: TypeAlias = tuple[Index, Ssa | None]
"""Where in filters a tap is, and whether it is one of theirs, unless that is sure."""


def taps_of_part(f: Function, filters: TensorType, form: Form, step: Pair, channel: Index) -> list[list[Tap]]:
    """Return the taps of a part of filters [K, K', C, D]; channel: of all parts, one after the other."""
    size, channels, count = taps_of(filters), filters.static(2), filters.static(3)
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
            places[-1].append((place, is_there))

    def of(row: Index, column: Index) -> Index:
        tap = f.add(f.multiply(row, size[1]), column)
        return f.multiply(f.add(f.multiply(tap, channels), channel), count)

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
