"""Kernels that read images between their pixels, at places that each sample's own map says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from graphcnn.ops.sample_warp import UNITS, WEIGHT_BITS
from graphcnn_native.codegen.function import INDEX, Index, Ssa, constant
from graphcnn_native.codegen.lanes import load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.movement import fetch
from graphcnn_native.kernels.nest import over_rest, over_run
from graphcnn_native.kernels.writer import Position, Writer

Sides: TypeAlias = tuple[tuple[Ssa, Ssa], tuple[Ssa, Ssa]]
"""The two pixels that a place lies between along one axis, and the share of each."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A pixel of the result, and where it lies among those of the images."""

    n: Index
    i: Index
    j: Index
    rows: Sides
    columns: Sides

    def taps(self) -> Iterator[tuple[Ssa, Ssa, Ssa, Ssa]]:
        """Yield row and column of the four pixels around, with both shares."""
        for row, row_share in self.rows:
            for column, column_share in self.columns:
                yield row, column, row_share, column_share


def warp_samples(w: Writer) -> None:
    """Each pixel reads its four neighbours."""
    assert w.kernel.root is not None
    f, images = w.f, w.graph.node(w.kernel.root).operands[0]
    (value,) = w.graph.results(w.kernel.root)
    item = ITEMS[value.type.dtype]
    channels = value.type.static(3)

    def pixel(place: _Place) -> None:
        def at(position: Position) -> None:
            def read(row: Ssa, column: Ssa) -> Ssa:
                inside = _inside(w, row, column)
                safe = [f.select(inside, each, f.index(0)) for each in (row, column)]
                x = fetch(w, images, [place.n, *safe, position.indices[3]], position, 3)
                return f.select(inside, x, constant(x.type, 0.0))

            def mixed(sides: list[tuple[Ssa, Ssa]]) -> Ssa:
                products = [f.binary("fmul", f.splat(share, position.lanes), x) for share, x in sides]
                return f.binary("fadd", *products)

            rows = [
                (row_share, mixed([(share, read(row, column)) for column, share in place.columns]))
                for row, row_share in place.rows
            ]
            w.store(position, {value: mixed(rows)})

        over_run(w, 0, channels, (place.n, place.i, place.j), at, item)

    with f.loop(w.begin, w.end, name="sample") as n:
        _over_pixels(w, n.index, item, pixel)


def warp_samples_transposed(w: Writer) -> None:
    """Each pixel adds to its four neighbours; a sample is added up in memory of its own, and then stored."""
    assert w.kernel.root is not None
    f, deltas = w.f, w.graph.node(w.kernel.root).operands[0]
    (value,) = w.graph.results(w.kernel.root)
    item, sizes = ITEMS[value.type.dtype], tuple(map(int, value.type.shape[1:]))

    def sums(row: Index, column: Index, channel: Index) -> Ssa:
        pixel = f.add(f.multiply(row, sizes[1]), column)
        return f.element(w.workspace, "double", f.add(f.multiply(pixel, sizes[2]), channel))

    def pixel(place: _Place) -> None:
        for row, column, *shares in place.taps():
            share = f.binary("fmul", *(f.convert("fpext", each, "double") for each in shares))

            def add(position: Position, row: Ssa = row, column: Ssa = column, share: Ssa = share) -> None:
                x = f.convert("fpext", fetch(w, deltas, [*position.indices], position, 3), "double")
                address = sums(row, column, position.indices[3])
                known = load_lanes(f, "double", address, position.lanes, position.used, exact=True)
                more = f.binary("fmul", f.splat(share, position.lanes), x)
                store_lanes(f, f.binary("fadd", known, more), address, position.used, w.target)

            with f.when(_inside(w, row, column)):
                over_run(w, 0, sizes[2], (place.n, place.i, place.j), add, item)

    def store(position: Position) -> None:
        address = sums(*position.indices[1:])
        total = load_lanes(f, "double", address, position.lanes, position.used, exact=True)
        w.store(position, {value: f.convert("fptrunc", total, item)})

    with f.loop(w.begin, w.end, name="sample") as n:
        f.clear(w.workspace, sizes[0] * sizes[1] * sizes[2] * SIZES["double"])
        _over_pixels(w, n.index, item, pixel)
        over_rest(w, sizes, (n.index,), store, item)


def _over_pixels(w: Writer, n: Index, item: str, pixel: Callable[[_Place], None]) -> None:
    """Run `pixel` for every pixel of a sample's result."""
    assert w.kernel.root is not None
    f = w.f
    numbers = [fetch(w, each, [n], Position(()), 0) for each in w.graph.node(w.kernel.root).operands[1:]]
    axes = numbers[:3], numbers[3:]
    height, width = (w.graph.results(w.kernel.root)[0].type.static(axis) for axis in (1, 2))
    with f.loop(0, height, name="row") as i:
        begins = [_plus(w, f.binary("mul", by_row, i.index), shift) for by_row, _, shift in axes]
        with f.loop(0, width, name="column") as j:
            rows, columns = (
                _sides(w, _plus(w, f.binary("mul", by_column, j.index), begin), item)
                for (_, by_column, _), begin in zip(axes, begins, strict=True)
            )
            pixel(_Place(n, i.index, j.index, rows, columns))


def _plus(w: Writer, x: Ssa, y: Ssa) -> Ssa:
    """Add places of a map, which may be any: beyond 64 bits they begin anew, as they do elsewhere."""
    return w.f.binary("add", x, y)


def _sides(w: Writer, place: Ssa, item: str) -> Sides:
    f = w.f
    bits = f.binary("lshr", place, constant(INDEX, UNITS - WEIGHT_BITS))
    weight = f.convert("sitofp", f.binary("and", bits, constant(INDEX, 2**WEIGHT_BITS - 1)), item)
    t = f.binary("fmul", weight, constant(item, 2.0**-WEIGHT_BITS))
    below = f.binary("ashr", place, constant(INDEX, UNITS))
    above = f.binary("add", below, constant(INDEX, 1))
    return (below, f.binary("fsub", constant(item, 1.0), t)), (above, t)


def _inside(w: Writer, row: Ssa, column: Ssa) -> Ssa:
    """Return whether there is a pixel in this row and column."""
    assert w.kernel.root is not None
    f, type = w.f, w.graph.results(w.kernel.root)[0].type
    checks = (
        f.compare("ult", each, f.index(type.static(axis))) for axis, each in enumerate((row, column), 1)
    )
    return f.binary("and", *checks)
