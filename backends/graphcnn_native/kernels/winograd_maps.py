"""The linear maps of Winograd's minimal filtering along one dimension; those of two go along both.

Names are Lavin and Gray's: Bᵀ for pixels, G for filters, Aᵀ for results; the filter gradient has A for deltas
and Gᵀ for filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from graphcnn_native.codegen.function import Function, Ssa, constant
from graphcnn_native.kernels.tile import multiply_add
from graphcnn_native.lowering.winograd import side
from graphcnn_native.target import Target

Side: TypeAlias = Callable[[Sequence[Ssa]], list[Ssa]]
"""A map along one dimension."""


class Maps(Protocol):
    """The maps of one size of tiles."""

    def of_pixels(self, d: Sequence[Ssa]) -> list[Ssa]:
        """Bᵀ."""

    def of_filters(self, g: Sequence[Ssa]) -> list[Ssa]:
        """G: three taps."""

    def to_results(self, m: Sequence[Ssa]) -> list[Ssa]:
        """Aᵀ."""

    def of_deltas(self, y: Sequence[Ssa]) -> list[Ssa]:
        """A."""

    def to_filters(self, u: Sequence[Ssa]) -> list[Ssa]:
        """Gᵀ: the gradient of three taps."""


class _Arithmetic:
    def __init__(self, f: Function, target: Target) -> None:
        self.f, self.target = f, target

    def plus(self, x: Ssa, y: Ssa) -> Ssa:
        return self.f.binary("fadd", x, y)

    def minus(self, x: Ssa, y: Ssa) -> Ssa:
        return self.f.binary("fsub", x, y)

    def times(self, number: float, x: Ssa) -> Ssa:
        return self.f.binary("fmul", x, constant(x.type, number))

    def sum_of(self, total: Ssa, *terms: tuple[float, Ssa]) -> Ssa:
        """Return total + Σ number · x."""
        for number, x in terms:
            total = multiply_add(self.f, self.target, constant(x.type, number), x, total)
        return total


class MapsToTwo(_Arithmetic):
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
"""The points of F(4, 3) are 0, ±A, ±B and ∞; few others have so small errors, and squares that are exact."""
_AT_0, _AT_A, _AT_B = (A * B) ** 2, 2 * A**2 * (A**2 - B**2), 2 * B**2 * (B**2 - A**2)
"""Each point's product of its distances from the other finite ones, which G divides by."""


class MapsToFour(_Arithmetic):
    """F(4, 3): the points 0, ±A, ±B and ∞. Pairs of opposite points share their even and odd parts."""

    def of_pixels(self, d: Sequence[Ssa]) -> list[Ssa]:
        first = self.sum_of(d[4], (-(A**2 + B**2), d[2]), (_AT_0, d[0]))
        last = self.sum_of(d[5], (-(A**2 + B**2), d[3]), (_AT_0, d[1]))
        even, odd = self.sum_of(d[4], (-(B**2), d[2])), self.sum_of(d[3], (-(B**2), d[1]))
        at_a = self.sum_of(even, (A, odd)), self.sum_of(even, (-A, odd))
        even, odd = self.sum_of(d[4], (-(A**2), d[2])), self.sum_of(d[3], (-(A**2), d[1]))
        return [first, *at_a, self.sum_of(even, (B, odd)), self.sum_of(even, (-B, odd)), last]

    def of_filters(self, g: Sequence[Ssa]) -> list[Ssa]:
        mapped = [self.times(1 / _AT_0, g[0])]
        for point, divisor in ((A, _AT_A), (B, _AT_B)):
            even = self.sum_of(self.times(1 / divisor, g[0]), (point**2 / divisor, g[2]))
            mapped += [self.sum_of(even, (sign * point / divisor, g[1])) for sign in (1, -1)]
        return [*mapped, g[2]]

    def to_results(self, m: Sequence[Ssa]) -> list[Ssa]:
        plus, minus = self.plus, self.minus
        even_a, odd_a = plus(m[1], m[2]), minus(m[1], m[2])
        even_b, odd_b = plus(m[3], m[4]), minus(m[3], m[4])
        return [
            plus(m[0], plus(even_a, even_b)),
            self.sum_of(self.times(A, odd_a), (B, odd_b)),
            self.sum_of(self.times(A**2, even_a), (B**2, even_b)),
            self.sum_of(m[5], (A**3, odd_a), (B**3, odd_b)),
        ]

    def of_deltas(self, y: Sequence[Ssa]) -> list[Ssa]:
        mapped = [y[0]]
        for point in (A, B):
            even = self.sum_of(y[0], (point**2, y[2]))
            odd = self.sum_of(y[1], (point**2, y[3]))
            mapped += [self.sum_of(even, (point, odd)), self.sum_of(even, (-point, odd))]
        return [*mapped, y[3]]

    def to_filters(self, u: Sequence[Ssa]) -> list[Ssa]:
        even_a, odd_a = self.plus(u[1], u[2]), self.minus(u[1], u[2])
        even_b, odd_b = self.plus(u[3], u[4]), self.minus(u[3], u[4])
        return [
            self.sum_of(self.times(1 / _AT_0, u[0]), (1 / _AT_A, even_a), (1 / _AT_B, even_b)),
            self.sum_of(self.times(A / _AT_A, odd_a), (B / _AT_B, odd_b)),
            self.sum_of(u[5], (A**2 / _AT_A, even_a), (B**2 / _AT_B, even_b)),
        ]


def maps_to(results: int, f: Function, target: Target) -> Maps:
    """Return the maps of tiles that yield so many rows and columns of results."""
    return MapsToTwo(f, target) if results == 2 else MapsToFour(f, target)


MOST_IN_REGISTERS = 16
"""Vectors between the two dimensions; more of them go through memory, in good order."""


class BothDimensions:
    """Maps along both dimensions. What lies between them goes through memory where registers do not hold it.

    It is made at the function's begin. lanes: of the widest vectors.
    """

    def __init__(self, f: Function, item: str, lanes: int, results: int) -> None:
        self._f, self._item, self._lanes = f, item, lanes
        size = side(results) ** 2
        self._between = f.allocate(item, size * lanes) if size > MOST_IN_REGISTERS else None

    def map(self, along: Side, square: Callable[[int, int], Ssa], size: int) -> Iterator[list[Ssa]]:
        """Yield the rows of a square whose columns were mapped, and then its rows.

        square: returns the vector at (row, column), which it loads when it is asked for.
        """
        columns = (along([square(row, column) for row in range(size)]) for column in range(size))
        if self._between is None:
            for row in zip(*columns, strict=True):
                yield along(row)
            return
        kept = [self._keep(number, column, size) for number, column in enumerate(columns)]
        for places in zip(*kept, strict=True):
            yield along([self._f.load(type, address) for type, address in places])

    def _keep(self, column: int, values: Sequence[Ssa], size: int) -> list[tuple[str, Ssa]]:
        """Store a column; return for each of its rows the type and the address."""
        assert self._between is not None
        kept = []
        for row, x in enumerate(values):
            address = self._f.element(self._between, self._item, (row * size + column) * self._lanes)
            self._f.store(x, address)
            kept.append((x.type, address))
        return kept
