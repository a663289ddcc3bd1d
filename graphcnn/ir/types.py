"""Tensor types: a shape with at most one symbolic size, the batch, and an element type."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from graphcnn.errors import ShapeError

Dim: TypeAlias = int | Literal["N"]
"""A size along one axis: a number, or the batch size, which is known only at run time."""

DType: TypeAlias = Literal["float32", "float64", "int64", "int32", "uint8", "bool"]

BATCH: Final = "N"
DTYPES: Final[tuple[str, ...]] = get_args(DType)
FLOATS: Final = ("float32", "float64")
ITEM_SIZES: Final = {"float32": 4, "float64": 8, "int64": 8, "int32": 4, "uint8": 1, "bool": 1}
MAX_RANK: Final = 8


@dataclass(frozen=True, slots=True)
class TensorType:
    """What is known of a tensor before it exists: its shape, for example `("N", 28, 28, 1)`, and dtype.

    Raises ShapeError for sizes below 1, for more than one batch axis and for unknown element types.
    """

    shape: tuple[Dim, ...]
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ShapeError(f"unknown element type {self.dtype!r}", facts=[f"known: {', '.join(DTYPES)}"])
        if not isinstance(self.shape, tuple):
            raise ShapeError(f"the shape {self.shape!r:.80} is not a tuple of sizes", mend='("N", 28, 28, 1)')
        if len(self.shape) > MAX_RANK:
            raise ShapeError(f"{len(self.shape)} axes are more than {MAX_RANK}: {format_shape(self.shape)}")
        for size in self.shape:
            if size != BATCH and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
                raise ShapeError(f"{size!r} in {format_shape(self.shape)} is not a size of at least 1")
        if self.shape.count(BATCH) > 1:
            raise ShapeError(f"{format_shape(self.shape)} has the batch axis N more than once")

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def has_batch(self) -> bool:
        return BATCH in self.shape

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def is_scalar(self) -> bool:
        return not self.shape

    def static(self, axis: int) -> int:
        """Return the size along an axis that is not the batch axis."""
        size = self.shape[axis]
        if size == BATCH:
            raise ShapeError(f"axis {axis} of {self} is the batch, whose size is known only at run time")
        return size

    def concrete(self, batch: int) -> tuple[int, ...]:
        """Return the shape with the batch size put in for N."""
        return concrete_shape(self.shape, batch)

    def elements(self, batch: int) -> int:
        """Return the number of elements at this batch size."""
        return math.prod(self.concrete(batch))

    def bytes(self, batch: int) -> int:
        """Return the size in memory at this batch size, in bytes."""
        return self.elements(batch) * ITEM_SIZES[self.dtype]

    def with_shape(self, shape: tuple[Dim, ...]) -> TensorType:
        return TensorType(shape, self.dtype)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(self.shape, dtype)

    def __str__(self) -> str:
        return f"{self.dtype}{format_shape(self.shape)}"


def concrete_shape(shape: tuple[Dim, ...], batch: int) -> tuple[int, ...]:
    """Return a shape with the batch size put in for N."""
    return tuple(batch if size == BATCH else size for size in shape)


def format_shape(shape: tuple[object, ...]) -> str:
    """Return a shape as it is printed everywhere: `[N, 28, 28, 1]`."""
    return f"[{', '.join(map(str, shape))}]"
