"""How large register tiles are: the arithmetic of what a processor's registers hold, and what a step costs.

A tile is rows times columns of sums that stay in registers while a product is summed up. Each step of the sum
loads a vector per column and one number per row, copies the number to all lanes, and adds their products to
rows x columns sums. What a tile reads per multiplication falls with its size; what it may hold is what the
processor has registers for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from graphcnn_native.target import Target

T = TypeVar("T")
Case = TypeVar("Case")
LARGEST, MOST_WIDE = 16, 6
"""Rows, and vectors in each, of the largest tiles."""
LATENCY = 6
"""So many independent sums, at least, keep the multipliers busy."""

LARGEST_ROW = 40
"""Multiplications of a depthwise tile with a row of taps: they are written out, and again at the edges."""


@dataclass(frozen=True, slots=True)
class Split:
    """How a length is cut: `many` parts of `size`, then `fewer` parts of `size - 1`."""

    size: int
    many: int
    fewer: int

    def parts(self) -> list[tuple[int, int, int]]:
        """Return (first element, size, how many) of both kinds of parts."""
        found = [(0, self.size, self.many)] if self.many else []
        if self.fewer:
            found.append((self.size * self.many, self.size - 1, self.fewer))
        return found


def evenly(length: int, largest: int) -> Split:
    """Cut a length into as few parts as possible, of sizes that differ by one at most."""
    parts = -(-length // largest)
    size = -(-length // parts)
    fewer = parts * size - length
    return Split(size, parts - fewer, fewer)


@functools.cache
def largest_rows(target: Target, wide: int) -> int:
    """Return how many rows fit into the registers beside `wide` columns, and factors or products.

    Where one is in memory, it needs a register; others have several on their way, NEON two to a load.
    """
    beside = 1 if _takes_memory(target) else 4 if target.broadcasts else 3
    return max(1, (target.registers - beside - wide) // wide)


@functools.cache
def taps_at_once(target: Target, rows: int, taps: int, wide: int, most: int = 6) -> tuple[int, int, int]:
    """Return of how many rows of taps, taps of each and vectors the registers hold sums, and factors.

    rows, taps, wide: how many there are. Rather more taps than vectors: one factor serves all taps.
    """
    room = target.registers - (1 if _takes_memory(target) else 5)
    along = evenly(taps, room - 1).size
    at_once = evenly(rows, max(1, (room - 1) // along)).size
    return at_once, along, max(1, min(wide, most, room // (at_once * along + 1)))


@functools.cache
def pixels_at_once(target: Target, places: int, taps: int, wide: int) -> tuple[int, int]:
    """Return how many places and vectors the registers hold sums of, beside a row of taps and a pixel.

    places, taps, wide: how many there are. Of vectors a few, so that tiles walk along memory, if that leaves
    enough places to load pixels for.
    """
    room = target.registers - (1 if _takes_memory(target) else 5)
    found = 1
    for vectors in range(min(wide, 3), 0, -1):
        found = min((room - 1) // vectors - taps, LARGEST_ROW // (taps * vectors))
        if found >= min(places, 4):
            return evenly(places, found).size, vectors
    return evenly(places, max(1, found)).size, 1


def _takes_memory(target: Target) -> bool:
    """Whether a multiply-add takes one of its factors from memory."""
    return target.fused and (target.masks or not target.broadcasts)


def tile_cost(rows: int, wide: int) -> float:
    """Return the cycles of one step of a tile, in multiplications.

    Vectors cost more to load than numbers: they come from the filters, which the first cache may not hold.
    """
    return max(rows * wide, rows + wide, LATENCY) + 0.3 * wide + 0.05 * rows


def vectors_of_row(target: Target, count: int, item: int) -> tuple[int, bool]:
    """Return how many vectors hold a row of so many elements of `item` bytes, and whether the last is half
    of one."""
    vectors = -(-count // target.lanes(item))
    return vectors, target.lanes_of_row(count, item) < vectors * target.lanes(item)


@functools.cache
def best_tile(
    target: Target, rows: int, wide: int, most: int = MOST_WIDE, *, has_half: bool = False
) -> tuple[int, int]:
    """Return the rows and columns of the tile that covers rows x wide vectors in the fewest cycles.

    has_half: whether the last of the vectors is half of one.
    """

    def cost(tile: tuple[int, int]) -> float:
        across, along = evenly(rows, tile[0]), evenly(wide, tile[1])
        return sum(tile_cost(r, c) * n * m for _, r, n in across.parts() for _, c, m in along.parts())

    candidates = [
        (min(rows, _most_rows(target, columns, has_half)), columns)
        for columns in range(1, min(wide, most) + 1)
    ]
    return min(candidates, key=cost)


def _most_rows(target: Target, wide: int, has_half: bool) -> int:
    """Return the rows that fit beside so many columns; a half beside a single whole one takes registers for
    factors (`kernels/tile.py`)."""
    rows = largest_rows(target, wide)
    return min(rows, target.registers // 2 - 4) if has_half and wide == 2 else rows


def tiles(target: Target, wide: int, *, has_half: bool = False) -> list[tuple[int, int]]:
    """Return the rows and columns of all tiles that the registers hold, of up to so many vectors."""
    return [
        (rows, columns)
        for columns in range(1, min(wide, MOST_WIDE) + 1)
        for rows in range(min(LARGEST, _most_rows(target, columns, has_half)), 0, -1)
    ]


def cost_of_rows(rows: int, wide: int, most: int) -> float:
    """Return what a step takes in all tiles of so many rows side by side, of `most` vectors at most."""
    return sum(tile_cost(rows, size) * count for _, size, count in evenly(wide, most).parts())


def best_in_all(choices: Sequence[T], time: Callable[[T, Case], float], cases: Sequence[Case]) -> T:
    """Return the choice that in none of these cases takes far longer than the best one there."""
    best = {case: min(time(choice, case) for choice in choices) for case in cases}
    return min(choices, key=lambda choice: max(time(choice, case) / best[case] for case in cases))


@functools.cache
def tile_of_run(
    target: Target, places: int, samples: int, wide: int, *, has_half: bool = False
) -> tuple[int, int]:
    """Return the tile that suits a run of the places of one sample, and one of so many samples.

    Two threads share the former in whole tiles. What these leave of a run goes row by row.
    """

    def cost(tile: tuple[int, int], length: int) -> float:
        rows, most = tile
        whole, rest = divmod(length, rows)
        return whole * cost_of_rows(rows, wide, most) + rest * cost_of_rows(1, wide, most)

    def time(tile: tuple[int, int], samples: int) -> float:
        if samples > 1:
            return cost(tile, samples * places)
        half = min(places, -(-places // (2 * tile[0])) * tile[0])
        return max(cost(tile, half), cost(tile, places - half))

    return best_in_all(tiles(target, wide, has_half=has_half), time, (1, samples))
