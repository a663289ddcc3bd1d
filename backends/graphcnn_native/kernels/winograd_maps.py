"""The linear maps of Winograd's minimal filtering along one dimension; those of two go along both.

Names are Lavin and Gray's: Bᵀ for pixels, G for filters, Aᵀ for results; the filter gradient has A for deltas
and Gᵀ for filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from graphcnn_native.codegen.function import Function, Ssa, constant
from graphcnn_native.kernels.tile import multiply_add
from graphcnn_native.lowering.winograd import SMALL, Form
from graphcnn_native.target import Target

Side: TypeAlias = Callable[[Sequence[Ssa]], list[Ssa]]
"""A map along one dimension."""


class Maps(Protocol):
    """The maps of one size of tiles."""

    def of_pixels(self, d: Sequence[Ssa]) -> list[Ssa]:
        """Bᵀ."""

    def of_filters(self, g: Sequence[Ssa]) -> list[Ssa]:
        """G."""

    def to_results(self, m: Sequence[Ssa]) -> list[Ssa]:
        """Aᵀ."""

    def of_deltas(self, y: Sequence[Ssa]) -> list[Ssa]:
        """A."""

    def to_filters(self, u: Sequence[Ssa]) -> list[Ssa]:
        """Gᵀ."""


class _Arithmetic:
    def __init__(self, f: Function, target: Target) -> None:
        self.f, self.target = f, target

    def plus(self, x: Ssa, y: Ssa) -> Ssa:
        return self.f.binary("fadd", x, y)

    def minus(self, x: Ssa, y: Ssa) -> Ssa:
        return self.f.binary("fsub", x, y)

    def times(self, number: float, x: Ssa) -> Ssa:
        return x if number == 1 else self.f.binary("fmul", x, constant(x.type, number))

    def sum_of(self, total: Ssa, *terms: tuple[float, Ssa]) -> Ssa:
        """Return total + Σ number · x."""
        for number, x in terms:
            if number == 1:
                total = self.plus(total, x)
            else:
                total = multiply_add(self.f, self.target, constant(x.type, number), x, total)
        return total


class MapsOnFour(_Arithmetic):
    """F(2, 3): the points 0, ±1 and ∞."""

    def of_pixels(self, d: Sequence[Ssa]) -> list[Ssa]:
        minus, plus = self.minus, self.plus
        return [minus(d[0], d[2]), plus(d[1], d[2]), minus(d[2], d[1]), minus(d[1], d[3])]

    def of_filters(self, g: Sequence[Ssa]) -> list[Ssa]:
        ends = self.plus(g[0], g[2])
        return [g[0], self.times(0.5, self.plus(ends, g[1])), self.times(0.5, self.minus(ends, g[1])), g[2]]

    def to_results(self, m: Sequence[Ssa]) -> list[Ssa]:
        return [self.plus(m[0], self.plus(m[1], m[2])), self.minus(self.minus(m[1], m[2]), m[3])]

    def of_deltas(self, y: Sequence[Ssa]) -> list[Ssa]:
        negative = self.f.emit(y[1].type, f"fneg {y[1]}")
        return [y[0], self.plus(y[0], y[1]), self.minus(y[0], y[1]), negative]

    def to_filters(self, u: Sequence[Ssa]) -> list[Ssa]:
        even, odd = self.times(0.5, self.plus(u[1], u[2])), self.times(0.5, self.minus(u[1], u[2]))
        return [self.plus(u[0], even), odd, self.plus(even, u[3])]


A, B = 0.625, 1.5
"""The points are 0, ±A, ±B and ∞; few others have so small errors, and squares that are exact."""
_AT_0, _AT_A, _AT_B = (A * B) ** 2, 2 * A**2 * (A**2 - B**2), 2 * B**2 * (B**2 - A**2)
"""Each point's product of its distances from the other finite ones, which G divides by."""


class MapsOnSix(_Arithmetic):
    """F(4, 3), F(3, 4) and F(2, 5): the points 0, ±A, ±B and ∞.

    Taps and deltas are the coefficients of polynomials, which are evaluated there; results and the gradients
    of taps come back by the transpose. Pairs of opposite points share their even and odd parts.
    """

    def __init__(self, f: Function, target: Target, form: Form) -> None:
        super().__init__(f, target)
        self.form = form

    def of_pixels(self, d: Sequence[Ssa]) -> list[Ssa]:
        first = self.sum_of(d[4], (-(A**2 + B**2), d[2]), (_AT_0, d[0]))
        last = self.sum_of(d[5], (-(A**2 + B**2), d[3]), (_AT_0, d[1]))
        even, odd = self.sum_of(d[4], (-(B**2), d[2])), self.sum_of(d[3], (-(B**2), d[1]))
        at_a = self.sum_of(even, (A, odd)), self.sum_of(even, (-A, odd))
        even, odd = self.sum_of(d[4], (-(A**2), d[2])), self.sum_of(d[3], (-(A**2), d[1]))
        return [first, *at_a, self.sum_of(even, (B, odd)), self.sum_of(even, (-B, odd)), last]

    def of_filters(self, g: Sequence[Ssa]) -> list[Ssa]:
        return self._evaluate(g, 1 / _AT_0, 1 / _AT_A, 1 / _AT_B)

    def to_results(self, m: Sequence[Ssa]) -> list[Ssa]:
        return self._transposed(m, self.form.results, 1, 1, 1)

    def of_deltas(self, y: Sequence[Ssa]) -> list[Ssa]:
        return self._evaluate(y, 1, 1, 1)

    def to_filters(self, u: Sequence[Ssa]) -> list[Ssa]:
        return self._transposed(u, self.form.taps, 1 / _AT_0, 1 / _AT_A, 1 / _AT_B)

    def _evaluate(self, x: Sequence[Ssa], at_0: float, at_a: float, at_b: float) -> list[Ssa]:
        """Return Σ xₖ · pointᵏ, times the point's factor; at ∞ the last coefficient."""
        found = [self.times(at_0, x[0])]
        for point, factor in ((A, at_a), (B, at_b)):
            even = [(factor * point**k, x[k]) for k in range(2, len(x), 2)]
            odd = [(point ** (k - 1), x[k]) for k in range(3, len(x), 2)]
            evens, odds = self.sum_of(self.times(factor, x[0]), *even), self.sum_of(x[1], *odd)
            found += [self.sum_of(evens, (sign * factor * point, odds)) for sign in (1, -1)]
        return [*found, x[-1]]

    def _transposed(self, x: Sequence[Ssa], count: int, at_0: float, at_a: float, at_b: float) -> list[Ssa]:
        """Return Σ x · pointᵏ, times the point's factor, for each k below `count`; x at ∞ is of the last."""
        at_zero, plus_a, minus_a, plus_b, minus_b, at_infinity = x
        of_a = self.plus(plus_a, minus_a), self.minus(plus_a, minus_a)
        of_b = self.plus(plus_b, minus_b), self.minus(plus_b, minus_b)
        found = []
        for k in range(count):
            terms = [(at_a * A**k, of_a[k % 2]), (at_b * B**k, of_b[k % 2])]
            if k == 0:
                terms.insert(0, (at_0, at_zero))
            if k == count - 1:
                terms.insert(0, (1, at_infinity))
            (number, first), *others = terms
            found.append(self.sum_of(self.times(number, first), *others))
        return found


def maps_of(form: Form, f: Function, target: Target) -> Maps:
    """Return the maps of tiles of a form."""
    return MapsOnFour(f, target) if form == SMALL else MapsOnSix(f, target, form)


BESIDE = 8
"""Registers for what a map takes, yields and multiplies by, besides what lies between both dimensions."""
FEWEST_BETWEEN = 16
"""So many vectors at least are between them: what does not fit is little, and goes through memory."""


def along_both(
    target: Target, along: Side, square: Callable[[int, int], Ssa], size: int, count: int
) -> Iterator[tuple[int, list[Ssa]]]:
    """Yield rows of a square whose columns were mapped, and then its rows, and the number of each.

    square: returns the vector at (row, column), which it loads when it is asked for; size: its rows and
    columns; count: of the rows that `along` yields. As many rows at a time as the registers hold; columns are
    loaded anew for the next ones, which costs less than to store what lies between the dimensions.
    """
    for rows in _in_registers(count, max(FEWEST_BETWEEN, target.registers - BESIDE) // size):
        columns = [along([square(row, column) for row in range(size)]) for column in range(size)]
        for row in rows:
            yield row, along([column[row] for column in columns])


def _in_registers(count: int, most: int) -> list[list[int]]:
    """Return rows of results in groups of `most`, or two. Those that share work stay together.

    These are opposite points, or coefficients that are both even or odd.
    """
    if count <= most:
        return [[*range(count)]]
    if count == 6:
        return [[0, 5], [1, 2, 3, 4]] if most >= 4 else [[0, 5], [1, 2], [3, 4]]
    return [[*range(first, count, 2)] for first in (0, 1)]
