"""Taking places along an axis, in any order and as often as one likes, and the sum that is its way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.attributes import is_int, require_axes, require_float
from graphcnn.ops.notation import at, letters, place

Run: TypeAlias = tuple[int, int, int]
"""(first, count, step): the places first, first + step, ... along an axis, so many of them."""


def _check(axis: object, runs: object) -> None:
    if not is_int(axis, 0):
        raise OptionError(f"axis={axis!r} is not an integer of at least 0")
    if not isinstance(runs, tuple) or not runs:
        raise OptionError(f"runs={runs!r} is not a tuple of runs (first, count, step)")
    for run in runs:
        is_run = isinstance(run, tuple) and len(run) == 3 and is_int(run[0], 0) and is_int(run[1], 1)
        if not is_run or not isinstance(run[2], int) or isinstance(run[2], bool):
            raise OptionError(f"{run!r} is not a run (first, count, step): integers, the count at least 1")


def _length(runs: Sequence[Run]) -> int:
    return sum(count for _, count, _ in runs)


def _require_places(name: str, type: TensorType, axis: int, size: int, runs: Sequence[Run]) -> None:
    for first, count, step in runs:
        ends = first, first + (count - 1) * step
        if min(ends) < 0 or max(ends) >= size:
            raise ShapeError(
                f"{name} along axis {axis} of {type} reaches from place {ends[0]} to {ends[1]}",
                facts=[f"the places are 0 to {size - 1}"],
            )


def _resized(type: TensorType, axis: int, size: int) -> TensorType:
    type.static(axis)  # the batch is neither taken apart nor put together
    return type.with_shape((*type.shape[:axis], size, *type.shape[axis + 1 :]))


def _place_latex(runs: Sequence[Run], letter: str) -> str:
    """Return the place that is taken for the index `letter`, in LaTeX."""
    begin, cases = 0, []
    for first, count, step in runs:
        shift = first - begin * step
        cases.append((place((step, letter) if step else (1, "0"), shift=shift), begin, begin + count))
        begin += count
    if len(cases) == 1:
        return cases[0][0]
    lines = [rf"{text} & {low} \le {letter} < {high}" for text, low, high in cases]
    return r"\begin{cases} " + r" \\ ".join(lines) + r" \end{cases}"


@dataclass(frozen=True, slots=True)
class Take(Op):
    """Take places along one axis, run by run: a slice with steps, a reversal, padding by reflection.

    runs: (first, count, step) each. The result is as long as all of them together.
    """

    axis: int
    runs: tuple[Run, ...]

    name: ClassVar[str] = "take"
    equation: ClassVar[str] = "y(i) = x(p(i)), where p goes through the runs first + step·k"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.axis, self.runs)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        require_axes((self.axis,), x)
        _require_places(self.name, x, self.axis, x.static(self.axis), self.runs)
        return (_resized(x, self.axis, _length(self.runs)),)

    def latex(self, *operands: TensorType) -> str:
        index = letters(operands[0])
        moved = [*index[: self.axis], "p", *index[self.axis + 1 :]]
        where = _place_latex(self.runs, index[self.axis])
        return rf"{at('$y', index)} = {at('$a', moved)}, \quad p = {where}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        index = letters(operands[0])
        letter = index[self.axis]
        moved = [*index[: self.axis], "q", *index[self.axis + 1 :]]
        return rf"{at('$G', index)} = \sum_{{q:\, p(q) = {letter}}} {at('$D', moved)}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(ScatterSum(self.axis, self.runs, operands[0].type.static(self.axis)), delta),)


@dataclass(frozen=True, slots=True)
class ScatterSum(Op):
    """Put what `Take` has taken back to its places, and add up what goes to the same one.

    size: of the axis that it was taken from. What nothing goes to is 0. Sums are of float64 until the end.
    """

    axis: int
    runs: tuple[Run, ...]
    size: int

    name: ClassVar[str] = "scatter_sum"
    equation: ClassVar[str] = "y(j) = Σi x(i) where p(i) = j; p goes through the runs first + step·k"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.axis, self.runs)
        if not is_int(self.size, 1):
            raise OptionError(f"size={self.size!r} is not an integer of at least 1")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        require_float(self.name, x)
        require_axes((self.axis,), x)
        if x.static(self.axis) != _length(self.runs):
            raise ShapeError(
                f"{self.name} of {x}: axis {self.axis} is {x.static(self.axis)} long, "
                f"and the runs are {_length(self.runs)}"
            )
        result = _resized(x, self.axis, self.size)
        _require_places(self.name, result, self.axis, self.size, self.runs)
        return (result,)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return operands[0].elements(batch)

    def latex(self, *operands: TensorType) -> str:
        index = letters(operands[0])
        letter = index[self.axis]
        moved = [*index[: self.axis], "p", *index[self.axis + 1 :]]
        where = _place_latex(self.runs, letter)
        return rf"{at('$y', moved)} = \sum_{{{letter}}} {at('$a', index)} \text{{ where }} p = {where}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Take(self.axis, self.runs), delta),)
