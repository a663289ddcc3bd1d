"""Tiles of depthwise correlations: what meets at the edges, and products in registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from graphcnn_native.codegen.function import Ssa
from graphcnn_native.kernels.correlation_writer import CorrelationWriter
from graphcnn_native.kernels.tile import ColumnGroup, add_product
from graphcnn_native.lowering.depthwise import MOST_TAPS
from graphcnn_native.tile_sizes import evenly


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of a row, `count` of them side by side from `first` on. taps: those that each place meets."""

    first: int
    count: int
    taps: tuple[range, ...]


def tiles(places: int, largest: int, taps: list[range]) -> list[Tiles]:
    """Cut a row into tiles; `taps`: of each of its places. Neighbours of one kind are together."""
    cut = [
        (start + number * size, size)
        for start, size, count in evenly(places, largest).parts()
        for number in range(count)
    ]
    kinds = groupby(cut, key=lambda tile: tuple(taps[tile[0] : tile[0] + tile[1]]))
    found = [(kind, list(alike)) for kind, alike in kinds]
    return [Tiles(alike[0][0], len(alike), kind) for kind, alike in found]


def taps_met(places: int, taps: int, pixels: int, before: int, steps: tuple[int, int]) -> list[range]:
    """Return the taps that fall on a row of `pixels`, for each place of a map.

    before: zeros in front of the row. steps: how many pixels lie from place to place, and from tap to tap.
    """
    found = []
    for place in range(places):
        first = place * steps[0] - before
        low = max(0, -(first // steps[1]))
        found.append(range(low, max(low, min(taps, -(-(pixels - first) // steps[1])))))
    return found


def add_taps(
    c: CorrelationWriter[Any],
    group: ColumnGroup,
    images: Ssa,
    filters: Ssa,
    taps: Sequence[range],
    steps: tuple[int, int, int],
    totals: Sequence[Ssa],
) -> list[Ssa]:
    """Add the products of a row of taps to the sums of a tile.

    images, filters: where the pixel and the tap of the first place are. taps: of each place. steps: how many
    pixels lie from place to place, and from tap to tap, and how many taps of the filter from one to the next.
    """
    f, count = c.f, len(taps[0])
    if count <= MOST_TAPS:
        return _add_few(c, group, images, filters, taps, steps, totals)
    for first, size, repeated in evenly(count, MOST_TAPS).parts():
        with f.loop(first, first + size * repeated, size, carried=totals, name="tap") as tap:
            here = f.element(images, c.item, f.multiply(tap.index, steps[1] * c.channels))
            there = f.element(filters, c.item, f.multiply(tap.index, steps[2] * c.filters))
            few = [range(size)] * len(taps)  # with so many taps, zeros at the sides are in memory
            tap.results = _add_few(c, group, here, there, few, steps, tap.values)
        totals = tap.results
    return list(totals)


def _add_few(
    c: CorrelationWriter[Any],
    group: ColumnGroup,
    images: Ssa,
    filters: Ssa,
    taps: Sequence[range],
    steps: tuple[int, int, int],
    totals: Sequence[Ssa],
) -> list[Ssa]:
    """Add products of taps that fit the registers; a pixel is loaded once for all of its."""
    f, sums, wide = c.f, list(totals), len(group.columns)
    met = {n for of_place in taps for n in of_place}
    loaded = {
        n: [c.load(f.element(filters, c.item, n * steps[2] * c.filters), column) for column in group.columns]
        for n in sorted(met)
    }
    under: dict[int, list[tuple[int, int]]] = {}
    for place, of_place in enumerate(taps):
        for n in of_place:
            under.setdefault(place * steps[0] + n * steps[1], []).append((place, n))
    for pixel, products in sorted(under.items()):
        address = f.element(images, c.item, pixel * c.channels)
        for number, column in enumerate(group.columns):
            x = c.load(address, column)
            for place, n in products:
                at = place * wide + number
                sums[at] = add_product(f, c.w.target, x, loaded[n][number], sums[at])
    return sums
