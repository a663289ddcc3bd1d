"""Ops that move or repeat elements and compute nothing: each is linear, so its gradient moves them back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import (
    BATCH,
    Dim,
    DType,
    Emitter,
    Gradients,
    Node,
    Op,
    TensorType,
    Value,
    Values,
    arguments_of,
    format_shape,
)
from graphcnn.ops.attributes import Pair, check_pair, check_widths, fits_float, is_int, require_rank
from graphcnn.ops.notation import at, letters, number, place


@dataclass(frozen=True, slots=True)
class ZeroInsert(Op):
    """Insert factor - 1 zeros between neighbours along H and W of [N, H, W, C]: what undoes a stride."""

    factors: Pair

    name: ClassVar[str] = "zero_insert"
    equation: ClassVar[str] = "y(s·i, s·j) = x(i, j), and 0 elsewhere"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_pair("factors", self.factors, 1)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (images,) = operands
        require_rank(self.name, "images", images, 4, "N, H, W, C")
        height, width = ((images.static(1 + a) - 1) * self.factors[a] + 1 for a in (0, 1))
        return (images.with_shape((images.shape[0], height, width, images.shape[3])),)

    def latex(self, *operands: TensorType) -> str:
        rows, columns = (place((factor, letter)) for factor, letter in zip(self.factors, "ij", strict=True))
        return rf"$y_{{{rows},{columns}}} = $a_{{i,j}}, \quad 0 \text{{ elsewhere}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Subsample(self.factors), delta),)


def before_zeros(node: Node) -> TensorType | None:
    """Return the type of what a node has inserted zeros into; None where it has inserted none."""
    if not isinstance(node.op, ZeroInsert) or node.op.factors == (1, 1):
        return None
    return node.operands[0].type


@dataclass(frozen=True, slots=True)
class Subsample(Op):
    """Keep every factor-th row and column of [N, H, W, C], the first one included."""

    factors: Pair

    name: ClassVar[str] = "subsample"
    equation: ClassVar[str] = "y(i, j) = x(s·i, s·j)"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_pair("factors", self.factors, 1)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (images,) = operands
        require_rank(self.name, "images", images, 4, "N, H, W, C")
        height, width = ((images.static(1 + a) - 1) // self.factors[a] + 1 for a in (0, 1))
        return (images.with_shape((images.shape[0], height, width, images.shape[3])),)

    def latex(self, *operands: TensorType) -> str:
        rows, columns = (place((factor, letter)) for factor, letter in zip(self.factors, "ij", strict=True))
        return f"$y_{{i,j}} = $a_{{{rows},{columns}}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        inserted = emit(ZeroInsert(self.factors), delta)
        skipped = [operands[0].type.static(1 + a) - inserted.type.static(1 + a) for a in (0, 1)]
        if not any(skipped):
            return (inserted,)
        return (emit(Pad(((0, 0), (0, skipped[0]), (0, skipped[1]), (0, 0))), inserted),)


def _resized(type: TensorType, widths: tuple[Pair, ...], sign: int) -> TensorType:
    if len(widths) != type.rank:
        raise ShapeError(f"{len(widths)} pairs of widths were given for the {type.rank} axes of {type}")
    shape: list[Dim] = []
    for size, (before, after) in zip(type.shape, widths, strict=True):
        if isinstance(size, int):
            shape.append(size + sign * (before + after))
        elif before or after:
            raise ShapeError(f"the batch axis of {type} cannot be padded or cropped")
        else:
            shape.append(size)
    if any(isinstance(size, int) and size < 1 for size in shape):
        raise ShapeError(f"cropping {type} by {widths} leaves nothing")
    return type.with_shape(tuple(shape))


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """Put a number, 0 by default, around a tensor: (before, after) for each axis."""

    widths: tuple[Pair, ...]
    value: float = 0.0

    name: ClassVar[str] = "pad"
    equation: ClassVar[str] = "y(i + before) = x(i), and 0 elsewhere"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_widths("widths", self.widths)
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not is_number or not fits_float(self.value) or math.isnan(self.value):
            raise OptionError(f"value={self.value!r:.60} is not a number to pad with")
        object.__setattr__(self, "value", float(self.value) + 0.0)  # -0.0 would be printed as the default

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        if self.value and not x.is_float:
            raise ShapeError(f"{x} can be padded with 0 only", mend="cast it to float32 before")
        return (_resized(x, self.widths, +1),)

    def latex(self, *operands: TensorType) -> str:
        index = letters(operands[0])
        moved = [place((1, k), shift=-before) for k, (before, _) in zip(index, self.widths, strict=True)]
        return rf"{at('$y', index)} = {at('$a', moved)}, \quad {number(self.value)} \text{{ outside}}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Crop(self.widths), delta),)


@dataclass(frozen=True, slots=True)
class Crop(Op):
    """Cut (before, after) elements off each axis."""

    widths: tuple[Pair, ...]

    name: ClassVar[str] = "crop"
    equation: ClassVar[str] = "y(i) = x(i + before)"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_widths("widths", self.widths)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (_resized(operands[0], self.widths, -1),)

    def latex(self, *operands: TensorType) -> str:
        index = letters(operands[0])
        moved = [place((1, k), shift=before) for k, (before, _) in zip(index, self.widths, strict=True)]
        return f"{at('$y', index)} = {at('$a', moved)}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Pad(self.widths), delta),)


@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """Reorder the axes: axis i of the result is axis permutation[i] of the operand."""

    permutation: tuple[int, ...]

    name: ClassVar[str] = "transpose"
    equation: ClassVar[str] = "y(i, j) = x(j, i)"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        order = self.permutation
        is_order = isinstance(order, tuple) and all(is_int(axis, 0) for axis in order)
        if not is_order or sorted(order) != list(range(len(order))):
            raise OptionError(f"permutation={self.permutation!r} is not an order of the axes 0, 1, ...")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        if x.rank != len(self.permutation):
            raise ShapeError(f"a permutation of {len(self.permutation)} axes does not fit {x}")
        return (x.with_shape(tuple(x.shape[axis] for axis in self.permutation)),)

    @staticmethod
    def of_matrices(rank: int) -> Transpose:
        """Return what exchanges the last two of so many axes."""
        return Transpose((*range(rank - 2), rank - 1, rank - 2))

    @property
    def turns_matrices(self) -> bool:
        """Whether it exchanges the last two axes, and leaves the others."""
        rank = len(self.permutation)
        return rank > 1 and self == Transpose.of_matrices(rank)

    def inverse(self) -> Transpose:
        return Transpose(tuple(self.permutation.index(axis) for axis in range(len(self.permutation))))

    def latex(self, *operands: TensorType) -> str:
        if self.turns_matrices:
            return r"$y = ($a)^{\mathsf{T}}"
        index = letters(operands[0])
        return f"{at('$y', [index[axis] for axis in self.permutation])} = {at('$a', index)}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(self.inverse(), delta),)


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """The same elements in row-major order under another shape. The batch stays whole."""

    shape: tuple[Dim, ...]

    name: ClassVar[str] = "reshape"
    equation: ClassVar[str] = "the same elements in row-major order"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        result = x.with_shape(self.shape)
        known = [math.prod(size for size in shape if size != BATCH) for shape in (x.shape, self.shape)]
        if known[0] != known[1] or x.has_batch != result.has_batch:
            raise ShapeError(
                f"{x} cannot be reshaped to {format_shape(self.shape)}",
                facts=[f"{known[0]} elements (a sample) before, {known[1]} after"],
                mend="keep the number of elements of a sample, and the batch axis in front",
            )
        return (result,)

    def latex(self, *operands: TensorType) -> str:
        sizes = r" \times ".join(map(str, self.shape)) or "1"
        return rf"$y = \text{{reshape}}_{{{sizes}}}($a)"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(Reshape(operands[0].type.shape), delta),)


@dataclass(frozen=True, slots=True)
class Concatenate(Op):
    """Join tensors along one axis, on which alone they may differ."""

    axis: int

    name: ClassVar[str] = "concatenate"
    equation: ClassVar[str] = "y = [x1, x2, ...]"
    arity: ClassVar[int] = -1
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_int(self.axis, 0):
            raise OptionError(f"axis={self.axis!r} is not an integer of at least 0")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        if not operands or self.axis >= operands[0].rank:
            raise ShapeError(f"there is no axis {self.axis} to join {', '.join(map(str, operands))} along")
        first = operands[0]
        rest = [t.shape[: self.axis] + t.shape[self.axis + 1 :] for t in operands]
        if any(r != rest[0] for r in rest) or any(t.dtype != first.dtype for t in operands):
            raise ShapeError(
                f"{', '.join(map(str, operands))} differ in more than axis {self.axis}",
                mend="crop, pad or project them to shapes that differ in this axis alone",
            )
        total = sum(t.static(self.axis) for t in operands)
        return (first.with_shape((*first.shape[: self.axis], total, *first.shape[self.axis + 1 :])),)

    def latex(self, *operands: TensorType) -> str:
        return f"$y = [{arguments_of(len(operands))}]"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        gradients = []
        before, total = 0, delta.type.static(self.axis)
        for operand in operands:
            size = operand.type.static(self.axis)
            widths = [(0, 0)] * delta.type.rank
            widths[self.axis] = (before, total - before - size)
            gradients.append(emit(Crop(tuple(widths)), delta))
            before += size
        return tuple(gradients)


@dataclass(frozen=True, slots=True)
class Cast(Op):
    """The same values in another element type."""

    dtype: DType

    name: ClassVar[str] = "cast"
    equation: ClassVar[str] = "y = x"
    formula: ClassVar[str] = r"$y = $a"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (operands[0].with_dtype(self.dtype),)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        dtype = operands[0].type.dtype
        return (emit(Cast(dtype), delta) if operands[0].type.is_float else None,)
