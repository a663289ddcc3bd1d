"""Register tiles: code that sums up products in all places of one. Their sizes are `tile_sizes.py`'s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from graphcnn_native.codegen.function import Function, Index, Ssa, constant, lanes_of, vector
from graphcnn_native.codegen.lanes import Column, columns, load_lanes
from graphcnn_native.elements import SIZES
from graphcnn_native.target import Target
from graphcnn_native.tile_sizes import evenly

INDEPENDENT = 8
"""So many sums that do not wait for each other keep all multipliers of a processor busy."""
LARGEST_BODY = 24
"""Multiplications in the body of an innermost loop: enough to hide the loop, few enough to compile fast."""

LARGEST_SCALE = 8
"""By so much x86-64 multiplies an index as it computes an address."""
PAIR = vector("float", 2)
"""Too small for a vector register by itself, as LLVM sees it; as a number of 8 bytes it is not."""


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """Columns that a tile holds together: vectors from `offset` on, repeated `count` times side by side."""

    columns: tuple[Column, ...]
    offset: int
    count: int

    @property
    def width(self) -> int:
        return sum(column.lanes for column in self.columns)

    @property
    def used(self) -> int:
        """How many elements of a row the tile holds."""
        return sum(column.used for column in self.columns)


def column_groups(size: int, wide: int, target: Target, item: str) -> list[ColumnGroup]:
    """Cut a row into groups of at most `wide` vectors; what is left of a vector joins the last group."""
    cut = columns(size, target, item)
    lanes = target.lanes(SIZES[item])
    groups: list[ColumnGroup] = []
    split = evenly(len(cut), wide)
    first = 0
    for _, length, count in split.parts():
        if not count:
            continue
        group = cut[first : first + length]
        has_rest = cut[first + length * count - 1].used < lanes
        whole = count - 1 if has_rest else count
        if whole:
            at_zero = tuple(Column(c.offset - group[0].offset, lanes, lanes) for c in group)
            groups.append(ColumnGroup(at_zero, group[0].offset, whole))
        if has_rest:
            last = cut[first + length * whole : first + length * count]
            start = last[0].offset
            groups.append(
                ColumnGroup(tuple(Column(c.offset - start, c.lanes, c.used) for c in last), start, 1)
            )
        first += length * count
    return groups


@contextmanager
def over_columns(
    f: Function, group: ColumnGroup, before: int, units: tuple[Index, Index] | None
) -> Iterator[Index]:
    """A loop over the first columns of a group's tiles: of all, or of those that are among `units`.

    before: how many tiles there are in the groups before it, which units count as well.
    """
    if units is None:
        with f.each(group.offset, group.count, group.width, name="column") as column:
            yield column
        return
    first, last = (f.greatest(before, f.least(before + group.count, unit)) for unit in units)
    with f.loop(first, last, name="unit") as unit:
        yield f.add(group.offset, f.multiply(f.subtract(unit.index, before), group.width))


def unrolling(length: int, products: int) -> int:
    """Return how many steps of a sum over `length` to write out: a divisor, within the largest body."""
    most = max(1, LARGEST_BODY // products)
    return next(n for n in range(min(most, length), 0, -1) if length % n == 0)


def zeros(item: str, rows: int, group: Sequence[Column]) -> list[Ssa]:
    return [constant(vector(item, column.lanes), 0.0) for _ in range(rows) for column in group]


def sets_of_sums(products: int) -> int:
    """Return how many sets of sums a tile of so few places needs, so that multiplications need not wait."""
    return -(-INDEPENDENT // products)


def joined(f: Function, totals: Sequence[Ssa], products: int) -> list[Ssa]:
    """Return the sums of all sets."""
    found = list(totals[:products])
    for place, total in enumerate(totals[products:]):
        found[place % products] = f.binary("fadd", found[place % products], total)
    return found


@dataclass(frozen=True, slots=True)
class Factors:
    """Where a tile finds its factors: on the right a vector per column, on the left a number per row.

    Or, on the left, a vector per row (vectors).

    left, right: addresses at the first step. offsets: of the rows, from `left`. left_step, right_step: how
    far they move from step to step. exact: whether nothing behind the right factors may be read.
    """

    left: Ssa
    offsets: Sequence[Index]
    left_step: Index
    right: Ssa
    right_step: Index
    exact: bool = False
    vectors: bool = False


def multiply_add(f: Function, target: Target, x: Ssa, y: Ssa, total: Ssa) -> Ssa:
    """Return x · y + total: rounded once where the processor can."""
    return f.intrinsic("fma" if target.fused else "fmuladd", x, y, total)


def holds_copies(target: Target) -> bool:
    """Whether LLVM keeps copies of what it could load again, though registers are few."""
    return target.fused and not target.broadcasts


def add_product(f: Function, target: Target, x: Ssa, y: Ssa, total: Ssa) -> Ssa:
    """Return x · y + total in the register of the total, where there are no registers to spare."""
    added = multiply_add(f, target, x, y, total)
    return _left_in_place(f, added, x) if holds_copies(target) else added


def accumulate(
    f: Function,
    target: Target,
    item: str,
    factors: Factors,
    group: Sequence[Column],
    steps: Index,
    totals: list[Ssa],
) -> list[Ssa]:
    """Sum up `steps` products in every place of the tile, on top of `totals`.

    These may be several sets of sums, which take turns; `joined` adds them up.
    """
    products = max(1, len(factors.offsets) * len(group))
    if isinstance(steps, int):
        turns = unrolling(steps, products)
        if turns == steps:
            return _turns(f, target, item, factors, group, 0, turns, totals)
        with f.loop(0, steps, turns, carried=totals, name="element") as run:
            run.results = _turns(f, target, item, factors, group, run.index, turns, run.values)
        return run.results
    turns = max(1, min(4, LARGEST_BODY // products))
    whole = f.multiply(f.divide(steps, turns), turns)
    with f.loop(0, whole, turns, carried=totals, name="element") as run:
        run.results = _turns(f, target, item, factors, group, run.index, turns, run.values)
    with f.loop(whole, steps, carried=run.results, name="rest") as rest:
        rest.results = _turns(f, target, item, factors, group, rest.index, 1, rest.values)
    return rest.results


def _multiply_add_half(f: Function, target: Target, x: Ssa, y: Ssa, total: Ssa) -> Ssa:
    """Return x · y + total for half a vector of 64 bytes, where x is a whole one of the same number.

    Half of x is there, in its register. LLVM would make it anew; or, where nobody reads x afterwards, have
    the total take its register, and move all totals round. Code without instructions keeps it from both. On a
    processor whose registers are narrower, x is in several, and half of it is some of them.
    """
    if "avx512f" not in target.has:
        return multiply_add(f, target, f.part(x, 0, lanes_of(y.type)), y, total)
    held = f.emit(x.type, f'call {x.type} asm "", "=v,0"({x})')
    added = multiply_add(f, target, f.part(held, 0, lanes_of(y.type)), y, total)
    return _left_in_place(f, added, held)


def _left_in_place(f: Function, total: Ssa, factor: Ssa) -> Ssa:
    """Return a sum that a factor was just added to, in the register that it was in before.

    Where nobody reads the factor afterwards, LLVM may have the sum take the factor's register, and move all
    sums round at the end of the loop, through a register that there is not. Code without instructions, which
    reads the factor once more, keeps it from that.
    """
    if total.type != PAIR:
        return f.emit(total.type, f'call {total.type} asm "", "=v,0,v"({total}, {factor})')
    left = _left_in_place(f, *(f.emit("double", f"bitcast {x} to double") for x in (total, factor)))
    return f.emit(PAIR, f"bitcast {left} to {PAIR}")


def _turns(
    f: Function,
    target: Target,
    item: str,
    factors: Factors,
    group: Sequence[Column],
    first: Index,
    turns: int,
    totals: Sequence[Ssa],
) -> list[Ssa]:
    left = f.element(factors.left, item, f.multiply(first, factors.left_step))
    right = f.element(factors.right, item, f.multiply(first, factors.right_step))
    sums, products = list(totals), len(factors.offsets) * len(group)
    at_once = products + (len(factors.offsets) + len(group)) * turns
    if at_once > target.registers and _shares_register(factors.left_step, factors.right_step, SIZES[item]):
        left = f.opaque(left)
    for turn in range(turns):
        if holds_copies(target):
            left, right = f.opaque(left), f.opaque(right)
        here, there = f.multiply(factors.left_step, turn), f.multiply(factors.right_step, turn)
        rights = [
            load_lanes(f, item, f.element(right, item, there, c.offset), c.lanes, c.used, exact=factors.exact)
            for c in group
        ]
        for row, offset in enumerate(factors.offsets):
            for number, column in enumerate(group):
                place = (turn * products + row * len(group) + number) % len(sums)
                if number == 0:
                    address = f.element(left, item, offset, here)
                    factor = f.load(vector(item, column.lanes if factors.vectors else 1), address)
                    x = factor if factors.vectors else f.splat(factor, column.lanes)
                if lanes_of(x.type) > column.lanes:
                    sums[place] = _multiply_add_half(f, target, x, rights[number], sums[place])
                    continue
                sums[place] = add_product(f, target, x, rights[number], sums[place])
    return sums


def _shares_register(left: Index, right: Index, size: int) -> bool:
    """Whether LLVM makes the right index of the left one by a shift in its register; size: of an element.

    All factors on the left then have to be loaded before the first one on the right.
    """
    if not isinstance(left, int) or not isinstance(right, int):
        return False
    times, rest = divmod(right, left)
    scale = left * size & -(left * size)
    return rest == 0 and times.bit_count() == 1 and scale < left * size and scale <= LARGEST_SCALE
