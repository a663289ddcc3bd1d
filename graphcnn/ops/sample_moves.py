"""Ops that move the pixels of each sample by numbers of its own: flips, crops at any place, boxes erased.

What they move by are integers and truth values, which have no gradient; images have one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.attributes import (
    Pair,
    check_pair,
    fits_float,
    is_int,
    require_axes,
    require_float,
    require_rank,
)
from graphcnn.ops.notation import at, letters, number


@dataclass(frozen=True, slots=True)
class FlipSamples(Op):
    """Samples [N, ...], those of them reversed along an axis whose flag [N] holds."""

    axis: int

    name: ClassVar[str] = "flip_samples"
    equation: ClassVar[str] = "y(s, i) = x(s, size - 1 - i) if flag(s) else x(s, i)"
    arity: ClassVar[int] = 2
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_int(self.axis, 1):
            raise OptionError(f"axis={self.axis!r} is not an integer of at least 1: axis 0 counts samples")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        samples, flags = operands
        require_float(self.name, samples)
        require_axes((self.axis,), samples)
        _require_of_samples(self.name, samples, flags, TensorType((BATCH,), "bool"))
        return (samples,)

    def latex(self, *operands: TensorType) -> str:
        index = letters(operands[0])
        letter = index[self.axis]
        turned = [
            *index[: self.axis],
            rf"{operands[0].static(self.axis) - 1}-{letter}",
            *index[self.axis + 1 :],
        ]
        return (
            rf"{at('$y', index)} = \begin{{cases}} {at('$a', turned)} & \text{{where }} $b_s \\ "
            rf"{at('$a', index)} & \text{{elsewhere}} \end{{cases}}"
        )

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return emit(FlipSamples(self.axis), delta, operands[1]), None


WHOLE = TensorType((BATCH,), "int32")
"""A whole number of each sample: a row, a column, a height or a width."""


@dataclass(frozen=True, slots=True)
class CropSamples(Op):
    """Windows of images [N, H, W, C] that begin at a row and a column of each sample's own, int32 [N].

    size: (height, width) of the windows. Beside the image, where a window may reach, stands `value`.
    """

    size: Pair
    value: float = 0.0

    name: ClassVar[str] = "crop_samples"
    equation: ClassVar[str] = "y(s, i, j) = x(s, i + row(s), j + column(s)), and the value beside the image"
    arity: ClassVar[int] = 3
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_pair("size", self.size, 1)
        _check_value(self.value)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (_moved(self.name, self.size, *operands),)

    def latex(self, *operands: TensorType) -> str:
        return (
            rf"$y_{{s,i,j}} = $a_{{s,i+$b_s,j+$c_s}}, \quad {number(self.value)} \text{{ beside the image}}"
        )

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        images, *places = operands
        size = images.type.static(1), images.type.static(2)
        return emit(PasteSamples(size), delta, *places), None, None


@dataclass(frozen=True, slots=True)
class PasteSamples(Op):
    """Zeros [N, H, W, C] with each sample's window put at its row and column: the way back of `CropSamples`.

    size: (height, width) of the result. What lies outside of it is lost.
    """

    size: Pair

    name: ClassVar[str] = "paste_samples"
    equation: ClassVar[str] = "y(s, i, j) = x(s, i - row(s), j - column(s)), and 0 beside the window"
    formula: ClassVar[str] = r"$y_{s,i,j} = $a_{s,i-$b_s,j-$c_s}, \quad 0 \text{ beside the window}"
    arity: ClassVar[int] = 3
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_pair("size", self.size, 1)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (_moved(self.name, self.size, *operands),)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        windows, *places = operands
        size = windows.type.static(1), windows.type.static(2)
        return emit(CropSamples(size), delta, *places), None, None


@dataclass(frozen=True, slots=True)
class EraseSamples(Op):
    """Images [N, H, W, C] with `value` in a box of each sample: row, column, height and width, int32 [N].

    What lies outside of the image counts for nothing, and nor does a box whose height or width is below 1.
    """

    value: float = 0.0

    name: ClassVar[str] = "erase_samples"
    equation: ClassVar[str] = "y(s, i, j) = value within the box of s, x(s, i, j) elsewhere"
    arity: ClassVar[int] = 5
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_value(self.value)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (_images(self.name, *operands),)

    def latex(self, *operands: TensorType) -> str:
        return (
            rf"$y_{{s,i,j}} = \begin{{cases}} {number(self.value)} & 0 \le i - $b_s < $d_s, \; "
            r"0 \le j - $c_s < $e_s \\ $a_{s,i,j} & \text{elsewhere} \end{cases}"
        )

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return emit(EraseSamples(), delta, *operands[1:]), None, None, None, None


def _check_value(value: object) -> None:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or value != value
        or not fits_float(value)
    ):
        raise OptionError(f"value={value!r} is not a number")


def _images(name: str, images: TensorType, *numbers: TensorType) -> TensorType:
    """Return the type of images. Raises ShapeError unless what moves them is a whole number each."""
    require_float(name, images)
    require_rank(name, "images", images, 4, "N, H, W, C")
    for each in numbers:
        _require_of_samples(name, images, each, WHOLE)
    return images


def _moved(name: str, size: Pair, *operands: TensorType) -> TensorType:
    images = _images(name, *operands)
    return images.with_shape((BATCH, *size, images.shape[3]))


def _require_of_samples(name: str, samples: TensorType, given: TensorType, wanted: TensorType) -> None:
    """Raise ShapeError unless the samples have the batch in front, and what moves them is of this type."""
    if samples.shape[:1] != (BATCH,) or given != wanted:
        raise ShapeError(f"{name} takes samples [N, ...] and {wanted}, not {samples} and {given}")
