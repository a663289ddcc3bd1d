"""Ops that fold axes away, the broadcast that spreads along them again, and where or among how many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, Dim, Emitter, Gradients, Op, TensorType, Value, Values, format_shape
from graphcnn.ops.attributes import check_axes, fits_float, is_int, require_axes, require_float
from graphcnn.ops.notation import at, folded, letters, number
from graphcnn.ops.shape import Cast, Reshape


@dataclass(frozen=True, slots=True)
class _Reduction(Op):
    """What the folding ops share. The axes vanish, or stay with size 1 where `keep` says so."""

    axes: tuple[int, ...]
    keep: bool = False

    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_axes("axes", self.axes)
        if not isinstance(self.keep, bool):
            raise OptionError(f"keep={self.keep!r} is neither True nor False")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        require_float(self.name, x)
        require_axes(self.axes, x)
        return (x.with_shape(_reduced(x, self.axes, self.keep)),)

    def sum_type(self, results: Sequence[TensorType]) -> TensorType:
        return results[0].with_dtype("float64")

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return operands[0].elements(batch)

    def _folded(self, x: TensorType) -> tuple[str, str]:
        """Return the left and the right side of the sum over the axes, in LaTeX."""
        index = letters(x)
        kept = [letter for axis, letter in enumerate(index) if axis not in self.axes]
        return at("$y", kept), f"{folded([index[axis] for axis in self.axes])} {at('$a', index)}"

    def _spread(self, emit: Emitter, delta: Value, target: TensorType) -> Value:
        """Emit the delta repeated along the axes that were folded away."""
        kept = _reduced(target, self.axes, keep=True)
        leading = self.axes == tuple(range(len(self.axes)))
        if delta.type.shape != kept and not leading:
            delta = emit(Reshape(kept), delta)
        return emit(Broadcast(target.shape), delta)


def _reduced(type: TensorType, axes: tuple[int, ...], keep: bool) -> tuple[Dim, ...]:
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(type.shape))
    return tuple(size for axis, size in enumerate(type.shape) if axis not in axes)


def _folds_samples(axes: tuple[int, ...], x: TensorType) -> bool:
    return 0 in axes and x.shape[0] == BATCH


def _count(axes: tuple[int, ...], x: TensorType) -> str:
    """Return the number of elements along axes, such as `N \\cdot 49`."""
    sizes = [x.shape[axis] for axis in axes]
    known = math.prod(size for size in sizes if isinstance(size, int))
    if BATCH not in sizes:
        return str(known)
    return rf"N \cdot {known}" if known > 1 else "N"


@dataclass(frozen=True, slots=True)
class Sum(_Reduction):
    """The sum over axes."""

    name: ClassVar[str] = "sum"
    equation: ClassVar[str] = "y = Σi x(i)"

    def sums_samples(self, operands: Sequence[TensorType]) -> bool:
        return _folds_samples(self.axes, operands[0])

    def latex(self, *operands: TensorType) -> str:
        return " = ".join(self._folded(operands[0]))

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (self._spread(emit, delta, operands[0].type),)


@dataclass(frozen=True, slots=True)
class Mean(_Reduction):
    """The mean over axes."""

    name: ClassVar[str] = "mean"
    equation: ClassVar[str] = "y = (1/n) Σi x(i)"

    def sums_samples(self, operands: Sequence[TensorType]) -> bool:
        return _folds_samples(self.axes, operands[0])

    def latex(self, *operands: TensorType) -> str:
        left, right = self._folded(operands[0])
        return rf"{left} = \frac{{1}}{{{_count(self.axes, operands[0])}}} {right}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return rf"$G = \frac{{$D}}{{{_count(self.axes, operands[0])}}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        from graphcnn.ops.arithmetic import Divide  # pointwise ops need Sum, so this one edge waits

        emit = emit.by("delta / n")
        count = emit(Count(self.axes), operands[0])
        return (self._spread(emit, emit(Divide(), delta, count), operands[0].type),)


@dataclass(frozen=True, slots=True)
class InverseDeviation(_Reduction):
    """By what centred numbers are multiplied so that their variance becomes 1; and their variance.

    The second result is the mean of the squares over the axes, v, and has no gradient. The first is
    1 / √(v + epsilon), and right where v is beyond the range of the element type as well: what is between
    the numbers and their inverse deviation is of float64. So is each step of the gradient in the range of
    the numbers and of their inverses.
    """

    epsilon: float = 0.0

    name: ClassVar[str] = "inverse_deviation"
    equation: ClassVar[str] = "y = 1 / √((1/n) Σi x(i)² + ε)"

    def __post_init__(self) -> None:
        _Reduction.__post_init__(self)
        is_number = isinstance(self.epsilon, int | float) and fits_float(self.epsilon)
        if not is_number or not 0 <= self.epsilon < math.inf:
            raise OptionError(f"epsilon={self.epsilon!r:.60} is not a finite number of at least 0")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (result,) = _Reduction.result_types(self, *operands)
        return result, result

    def sums_samples(self, operands: Sequence[TensorType]) -> bool:
        return _folds_samples(self.axes, operands[0])

    def of_variance(self, emit: Emitter, variance: Value) -> Value:
        """Append the first result where the second is known: 1 / √(variance + epsilon)."""
        from graphcnn.ops.arithmetic import Add, Divide  # pointwise ops need Sum
        from graphcnn.ops.elementary import Sqrt
        from graphcnn.ops.pointwise import constant

        safe = emit(Add(), variance, constant(emit, self.epsilon, variance.type))
        return emit(Divide(), constant(emit, 1.0, variance.type), emit(Sqrt(), safe))

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        return 2 * operands[0].elements(batch)

    def latex(self, *operands: TensorType) -> str:
        index = letters(operands[0])
        kept = [letter for axis, letter in enumerate(index) if axis not in self.axes]
        total = f"{folded([index[axis] for axis in self.axes])} ({at('$a', index)})^2"
        mean = rf"\frac{{1}}{{{_count(self.axes, operands[0])}}} {total}"
        return rf"{at('$y', kept)} = \left({mean} + {number(self.epsilon)}\right)^{{-1/2}}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        return rf"$G = -\frac{{$D\, ($y)^2}}{{{_count(self.axes, operands[0])}}}\, ($a\, $y)"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        from graphcnn.ops.arithmetic import Divide, Multiply, Negate  # pointwise ops need Sum, as above

        # y^3 would leave the range of numbers: x · y, delta · y and that times y stay within it.
        (x,), (inverse, _) = operands, results
        emit = emit.by("-delta y² / n · (x y)")
        each = emit(Multiply(), emit(Multiply(), delta, inverse), inverse)
        each = emit(Negate(), emit(Divide(), each, emit(Count(self.axes), x)))
        normal = emit(Multiply(), x, self._spread(emit, inverse, x.type))
        return (emit(Multiply(), self._spread(emit, each, x.type), normal),)


@dataclass(frozen=True, slots=True)
class Max(_Reduction):
    """The greatest element along axes; NaN where there is one. Equal ones share the gradient alike."""

    name: ClassVar[str] = "max"
    equation: ClassVar[str] = "y = maxi x(i)"

    def latex(self, *operands: TensorType) -> str:
        index = letters(operands[0])
        kept = [letter for axis, letter in enumerate(index) if axis not in self.axes]
        folded_away = ",".join(index[axis] for axis in self.axes)
        return rf"{at('$y', kept)} = \max_{{{folded_away}}} {at('$a', index)}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        index = letters(operands[0])
        kept = [letter for axis, letter in enumerate(index) if axis not in self.axes]
        winner = rf"[\,{at('$a', index)} = {at('$y', kept)}\,]"
        return rf"{at('$G', index)} = \frac{{{winner}\, {at('$D', kept)}}}{{\text{{number of winners}}}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        from graphcnn.ops.arithmetic import Divide, Multiply  # as above, these edges wait
        from graphcnn.ops.comparison import Equal

        (x,) = operands
        emit = emit.by("delta / winners, at the winners")
        is_winner = emit(Equal(), x, self._spread(emit, results[0], x.type))
        winners = emit(Cast(x.type.dtype), is_winner)
        share = emit(Divide(), delta, emit(Sum(self.axes, self.keep), winners))
        return (emit(Multiply(), winners, self._spread(emit, share, x.type)),)


@dataclass(frozen=True, slots=True)
class Broadcast(Op):
    """Repeat along new leading axes and along axes of size 1 (NumPy's rule)."""

    shape: tuple[Dim, ...]

    name: ClassVar[str] = "broadcast"
    equation: ClassVar[str] = "y(n, i, j, d) = b(d)"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        result = x.with_shape(self.shape)
        tail = self.shape[len(self.shape) - x.rank :]
        if x.rank > len(self.shape) or any(a not in (1, b) for a, b in zip(x.shape, tail, strict=True)):
            raise ShapeError(f"{x} cannot be broadcast to {format_shape(self.shape)}")
        return (result,)

    def latex(self, *operands: TensorType) -> str:
        index = letters(operands[0].with_shape(self.shape))
        first = len(index) - operands[0].rank
        sizes = enumerate(operands[0].shape, first)
        own = ["0" if size == 1 != self.shape[axis] else index[axis] for axis, size in sizes]
        return f"{at('$y', index)} = {at('$a', own)}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        x = operands[0]
        index = letters(x.with_shape(self.shape))
        first = len(index) - x.rank
        kept = [index[first + a] for a in range(x.rank) if x.shape[a] == self.shape[first + a]]
        summed = [letter for letter in index if letter not in kept]
        return f"{at('$G', kept)} = {folded(summed)} {at('$D', index)}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        x = operands[0].type
        new_axes = len(self.shape) - x.rank
        grown = [new_axes + a for a in range(x.rank) if x.shape[a] != self.shape[new_axes + a]]
        emit = emit.by("Σ delta")
        summed = emit(Sum((*range(new_axes), *grown)), delta)
        return (summed if summed.type == x else emit(Reshape(x.shape), summed),)


@dataclass(frozen=True, slots=True)
class Count(Op):
    """The number of elements along axes, as a scalar of the operand's type: the n of a mean."""

    axes: tuple[int, ...]

    name: ClassVar[str] = "count"
    equation: ClassVar[str] = "n = Πi size(i)"
    arity: ClassVar[int] = 1
    shape_operands: ClassVar[tuple[int, ...]] = (0,)

    def __post_init__(self) -> None:
        check_axes("axes", self.axes)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        require_axes(self.axes, operands[0])
        return (operands[0].with_shape(()),)

    def latex(self, *operands: TensorType) -> str:
        return f"$y = {_count(self.axes, operands[0])}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,)

    def of(self, type: TensorType, batch: int) -> int:
        """Return the count at this batch size."""
        return math.prod(type.concrete(batch)[axis] for axis in self.axes)


@dataclass(frozen=True, slots=True)
class ArgMax(Op):
    """The index of the greatest element along one axis; the first one of equals."""

    axis: int

    name: ClassVar[str] = "argmax"
    equation: ClassVar[str] = "y = argmaxi x(i)"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_int(self.axis, 0):
            raise OptionError(f"axis={self.axis!r} is not an integer of at least 0")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        require_axes((self.axis,), x)
        if x.shape[self.axis] == "N":
            raise ShapeError(
                f"argmax of {x} along the batch axis is not defined",
                mend=f"an axis of a sample: 1 to {x.rank - 1}, or -1 for the last one",
            )
        return (TensorType(_reduced(x, (self.axis,), keep=False), "int64"),)

    def latex(self, *operands: TensorType) -> str:
        index = letters(operands[0])
        kept = index[: self.axis] + index[self.axis + 1 :]
        return rf"{at('$y', kept)} = \text{{argmax}}_{{{index[self.axis]}}} \, {at('$a', index)}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (None,)
