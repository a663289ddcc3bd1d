"""Linear interpolation along one axis, as bilinear upsampling is made of, and its transpose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.attributes import is_int, require_axes, require_float
from graphcnn.ops.notation import at, letters, place


@dataclass(frozen=True, slots=True)
class Grid:
    """Where `fine` places lie among `coarse` ones, in exact fractions of the distance between neighbours.

    Place i of the fine grid lies at (slope · i + shift) / denominator among the coarse places, and at the
    first or last of these where that is beyond them. With aligned corners the ends of both grids meet;
    without, a place is the middle of a pixel, and the ends of the pixels meet.
    """

    coarse: int
    fine: int
    align_corners: bool

    @property
    def slope(self) -> int:
        return self.coarse - 1 if self.align_corners else 2 * self.coarse

    @property
    def shift(self) -> int:
        return 0 if self.align_corners else self.coarse - self.fine

    @property
    def denominator(self) -> int:
        return max(1, self.fine - 1) if self.align_corners else 2 * self.fine

    @property
    def last(self) -> int:
        """The numerator of the last coarse place."""
        return (self.coarse - 1) * self.denominator

    def latex(self, letter: str) -> str:
        """Return where the place of an index lies, in LaTeX and lowest terms; inside of both ends."""
        common = math.gcd(self.slope, self.shift, self.denominator)
        slope, shift, below = (number // common for number in (self.slope, self.shift, self.denominator))
        number = place((slope, letter if slope else "0"), shift=shift)
        return number if below == 1 else rf"\frac{{{number}}}{{{below}}}"

    def numerators(self) -> list[int]:
        """Return where each fine place lies, times the denominator."""
        return [min(max(0, self.slope * i + self.shift), self.last) for i in range(self.fine)]


@dataclass(frozen=True, slots=True)
class _Along(Op):
    """What interpolation and its transpose share."""

    axis: int
    size: int
    align_corners: bool = False

    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_int(self.axis, 0):
            raise OptionError(f"axis={self.axis!r} is not an integer of at least 0")
        if not is_int(self.size, 1):
            raise OptionError(f"size={self.size!r} is not an integer of at least 1")
        if not isinstance(self.align_corners, bool):
            raise OptionError(f"align_corners={self.align_corners!r} is neither True nor False")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        require_float(self.name, x)
        require_axes((self.axis,), x)
        x.static(self.axis)  # there is nothing between two samples
        return (x.with_shape((*x.shape[: self.axis], self.size, *x.shape[self.axis + 1 :])),)


@dataclass(frozen=True, slots=True)
class Interpolate(_Along):
    """Lines between neighbours along one axis, read at `size` places that are evenly apart."""

    name: ClassVar[str] = "interpolate"
    equation: ClassVar[str] = "y(i) = (1 - t) x(p) + t x(p + 1), where p + t is the place of i"

    def grid(self, x: TensorType) -> Grid:
        """Return where the places of the result lie among those of the operand."""
        return Grid(x.static(self.axis), self.size, self.align_corners)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 3 * results[0].elements(batch)

    def latex(self, *operands: TensorType) -> str:
        index, grid = letters(operands[0]), self.grid(operands[0])
        below, above = (
            at("$a", [*index[: self.axis], neighbour, *index[self.axis + 1 :]]) for neighbour in ("p", "p+1")
        )
        where = rf"p + t = {grid.latex(index[self.axis])}"
        return rf"{at('$y', index)} = (1 - t)\, {below} + t\, {above}, \quad {where}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        size = operands[0].type.static(self.axis)
        return (emit(InterpolateTransposed(self.axis, size, self.align_corners), delta),)


@dataclass(frozen=True, slots=True)
class InterpolateTransposed(_Along):
    """The transpose of `Interpolate` from `size` places: each sums up what was made of it."""

    name: ClassVar[str] = "interpolate_transposed"
    equation: ClassVar[str] = "y(j) = Σi max(0, 1 - |place of i - j|) x(i)"

    def grid(self, x: TensorType) -> Grid:
        """Return where the places of the operand lie among those of the result."""
        return Grid(self.size, x.static(self.axis), self.align_corners)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 4 * operands[0].elements(batch)

    def latex(self, *operands: TensorType) -> str:
        index, grid = letters(operands[0]), self.grid(operands[0])
        letter = index[self.axis]
        moved = [*index[: self.axis], "p", *index[self.axis + 1 :]]
        weight = rf"\max\left(0, 1 - \left|{grid.latex(letter)} - p\right|\right)"
        return rf"{at('$y', moved)} = \sum_{{{letter}}} {weight}\, {at('$a', index)}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        size = operands[0].type.static(self.axis)
        return (emit(Interpolate(self.axis, size, self.align_corners), delta),)
