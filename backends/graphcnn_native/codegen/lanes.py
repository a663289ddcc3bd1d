"""Loads and stores of a few lanes: rows whose length is no multiple of a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from graphcnn_native.codegen.function import Function, Ssa, constant, item_of, lanes_of, suffix_of, vector
from graphcnn_native.elements import SIZES
from graphcnn_native.target import Target


@dataclass(frozen=True, slots=True)
class Column:
    """A vector of a row: its first element, its lanes, and how many of them belong to the row."""

    offset: int
    lanes: int
    used: int


class Columns(Sequence[Column]):
    """A row cut into vectors. Like a range, it takes no memory by its length, which may be any.

    lanes: of a vector. narrowest: lanes of one beside it that is of use in part only. whole: how many vectors
    the row fills; at most one more is of use in part only.
    """

    def __init__(self, size: int, lanes: int, narrowest: int) -> None:
        self.lanes, self.whole, self._rest, self._narrowest = lanes, size // lanes, size % lanes, narrowest

    @property
    def has_half(self) -> bool:
        """Whether the last vector is half as wide as the others."""
        return self.whole > 0 and 0 < self._rest <= self._narrowest < self.lanes

    def __len__(self) -> int:
        return self.whole + (1 if self._rest else 0)

    @overload
    def __getitem__(self, place: int) -> Column: ...
    @overload
    def __getitem__(self, place: slice) -> list[Column]: ...
    def __getitem__(self, place: int | slice) -> Column | list[Column]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        if number < self.whole:
            return Column(number * self.lanes, self.lanes, self.lanes)
        width = next(n for n in (1, 2, 4, 8, 16) if n >= self._rest)
        width = max(width, self._narrowest) if self.whole else width
        return Column(number * self.lanes, width, self._rest)


def columns(size: int, target: Target, item: str) -> Columns:
    """Cut a row of `size` elements into vectors; the last may be of use in part only.

    A row that is shorter than a vector takes the narrowest one that holds it. Beside whole ones, a vector of
    64 bytes may be a half, which is half the work for a processor that computes it in halves.
    """
    return Columns(size, target.lanes(SIZES[item]), target.least_lanes(SIZES[item]))


def _parts(used: int, lanes: int) -> list[tuple[int, int]]:
    """Return the first lanes of a vector as parts whose sizes are powers of two: (first, size)."""
    found, first, width = [], 0, lanes
    while first < used:
        while width > used - first:
            width //= 2
        found.append((first, width))
        first += width
    return found


def across(f: Function, x: Ssa, instruction: str) -> Ssa:
    """Combine all lanes of a vector into one, by halves."""
    while (lanes := lanes_of(x.type)) > 1:
        x = f.binary(instruction, f.part(x, 0, lanes // 2), f.part(x, lanes // 2, lanes // 2))
    return x


def load_lanes(f: Function, item: str, address: Ssa, lanes: int, used: int, *, exact: bool) -> Ssa:
    """Load `used` elements as a vector of `lanes`; unless `exact`, what lies behind them may be read."""
    if used == lanes or not exact:
        return f.load(vector(item, lanes), address)
    whole: Ssa | None = None
    for first, width in _parts(used, lanes):
        part = f.load(vector(item, width), f.element(address, item, first))
        whole = _placed(f, part, first, whole, lanes)
    assert whole is not None
    return whole


def load_filled(
    f: Function, item: str, address: Ssa, lanes: int, used: int, filling: float, *, exact: bool
) -> Ssa:
    """Load `used` elements as a vector of `lanes`, with `filling` in those beyond."""
    loaded = load_lanes(f, item, address, lanes, used, exact=exact)
    if used == lanes:
        return loaded
    return f.select(_first(lanes, used), loaded, constant(loaded.type, filling))


def _first(lanes: int, used: int) -> Ssa:
    """Return the mask of the first lanes of a vector."""
    mask = ", ".join(f"i1 {int(lane < used)}" for lane in range(lanes))
    return Ssa(vector("i1", lanes), f"<{mask}>")


def load_first(f: Function, item: str, address: Ssa, lanes: int, used: int) -> Ssa:
    """Load `used` elements as a vector of `lanes`, and nothing beyond, by a target that has masks."""
    type = vector(item, lanes)
    if used == lanes:
        return f.load(type, address)
    return load_chosen(f, item, address, _first(lanes, used), constant(type, 0.0))


def load_chosen(f: Function, item: str, address: Ssa, chosen: Ssa, others: Ssa) -> Ssa:
    """Load the lanes that are chosen, and nothing else, by a target that has masks; `others` stand beside."""
    type = others.type
    if lanes_of(type) == 1:
        with f.when(chosen) as branch:
            branch.results, branch.otherwise = [f.load(item, address)], [others]
        return branch.results[0]
    name = f"llvm.masked.load.{suffix_of(type)}.p0"
    f.declare(type, name, ["ptr", "i32", chosen.type, type])
    return f.emit(type, f"call {type} @{name}({address}, i32 {SIZES[item]}, {chosen}, {others})")


def first_lanes(f: Function, chosen: Ssa, used: int) -> Ssa:
    """Return a vector of conditions that hold in the first lanes only."""
    lanes = lanes_of(chosen.type)
    return chosen if used == lanes else f.binary("and", chosen, _first(lanes, used))


def moved_together(f: Function, x: Ssa, chosen: Ssa) -> Ssa:
    """Return the lanes of a vector of 64 bytes that are chosen, side by side, and zeros behind them.

    In registers: to store them like this takes some processors a hundred times as long.
    """
    name = f"llvm.x86.avx512.mask.compress.{suffix_of(x.type)}"
    return f.call(x.type, name, x, constant(x.type, 0), chosen)


def _placed(f: Function, part: Ssa, first: int, whole: Ssa | None, lanes: int) -> Ssa:
    """Put a part into the lanes of a vector from `first` on."""
    item, width = item_of(part.type), lanes_of(part.type)
    type = vector(item, lanes)
    if width == lanes:
        return part
    if width == 1:
        into = whole or Ssa(type, "poison")
        return f.emit(type, f"insertelement {into}, {part}, i64 {first}")
    picked = [lane - first if first <= lane < first + width else -1 for lane in range(lanes)]
    spread = f.emit(type, f"shufflevector {part}, {part.type} poison, {_mask(picked)}")
    if whole is None:
        return spread
    joined = [lane if lane < first else lanes + lane for lane in range(lanes)]
    return f.emit(type, f"shufflevector {whole}, {spread}, {_mask(joined)}")


def _mask(picked: list[int]) -> str:
    numbers = ", ".join("i32 poison" if lane < 0 else f"i32 {lane}" for lane in picked)
    return f"<{len(picked)} x i32> <{numbers}>"


def store_lanes(f: Function, value: Ssa, address: Ssa, used: int, target: Target) -> None:
    """Store the first `used` lanes of a vector, and nothing beyond."""
    item, lanes = item_of(value.type), lanes_of(value.type)
    if used == lanes:
        f.store(value, address)
        return
    if target.masks and item in ("float", "double"):
        mask = _first(lanes, used)
        name = f"llvm.masked.store.{suffix_of(value.type)}.p0"
        f.declare("void", name, [value.type, "ptr", "i32", mask.type])
        f.do(f"call void @{name}({value}, {address}, i32 {SIZES[item]}, {mask})")
        return
    for first, width in _parts(used, lanes):
        f.store(f.part(value, first, width), f.element(address, item, first))
