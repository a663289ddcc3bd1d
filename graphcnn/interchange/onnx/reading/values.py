"""What the names in a file stand for: arrays that are known, and values of the network being made.

A file has images as [N, C, H, W], and a network as [N, H, W, C]. A value is therefore held in one or more
orders of its axes, and is transposed only where somebody asks for it in another one: operations that do not
mind take it as it is, and a Transpose of the file does nothing but rename axes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.tensor import Tensor, apply_op
from graphcnn.errors import InterchangeError
from graphcnn.ir import Dim, DType, format_shape

Order: TypeAlias = tuple[int, ...]
"""Axes of the file, in the order in which a tensor has them."""


Held: TypeAlias = "Known | Variable"


def as_in_file(rank: int) -> Order:
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Return the order [N, H, W, C] of a file's [N, C, H, W], of any number of places."""
    return (0, *range(2, rank), 1) if rank > 2 else as_in_file(rank)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """An array of the file, or one that follows from such alone. Sizes may count the batch, as "N" does.

    name: of the initializer that it is or comes from, where it is a weight, which the network trains.
    """

    array: Array
    name: str = ""

    @property
    def shape(self) -> tuple[Dim, ...]:
        return tuple(self.array.shape)

    @property
    def rank(self) -> int:
        return self.array.ndim


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """The operator that has made a value, its operands and attributes."""

    operator: str
    operands: tuple[Held | None, ...]
    attributes: dict[str, Any]


@dataclass(slots=True, eq=False)
class Variable:
    """A value of the network. shape: in the file's order of axes. made: None for an input."""

    shape: tuple[Dim, ...]
    dtype: DType
    tensors: dict[Order, Tensor] = field(default_factory=dict)
    made: Made | None = None

    def operands_of(self, operator: str) -> tuple[Held | None, ...]:
        """Return the operands of the operator that has made the value, if it is this one; else nothing."""
        return self.made.operands if self.made is not None and self.made.operator == operator else ()

    @classmethod
    def of(cls, tensor: Tensor, order: Order | None = None) -> Variable:
        """Return the value that a tensor with its axes in this order is; by default, in the file's."""
        chosen = as_in_file(tensor.type.rank) if order is None else order
        shape: list[Dim] = [1] * len(chosen)
        for size, axis in zip(tensor.type.shape, chosen, strict=True):
            shape[axis] = size
        return cls(tuple(shape), tensor.type.dtype, {chosen: tensor})

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def any_order(self) -> Order:
        """An order in which the value is there already; that of the network, if there is a choice."""
        last = channels_last(self.rank)
        return last if last in self.tensors else next(iter(self.tensors))

    @property
    def in_file(self) -> Tensor:
        return self.at(as_in_file(self.rank))

    @property
    def last(self) -> Tensor:
        """The value as [N, H, W, C]."""
        return self.at(channels_last(self.rank))

    def at(self, order: Order) -> Tensor:
        """Return the value with its axes in this order, which is made at most once."""
        if order not in self.tensors:
            have = self.any_order
            tensor, permutation = self.tensors[have], tuple(have.index(axis) for axis in order)
            shape = tuple(self.shape[axis] for axis in order)
            moves = [axis for axis in permutation if tensor.type.shape[axis] != 1] != [
                axis for axis in range(self.rank) if tensor.type.shape[axis] != 1
            ]
            self.tensors[order] = apply_op(
                ops.Transpose(permutation) if moves else ops.Reshape(shape), tensor
            )
        return self.tensors[order]

    def transposed(self, permutation: Order) -> Variable:
        """Return the value whose axis i is this one's axis permutation[i]: the same tensors."""
        tensors = {
            tuple(permutation.index(axis) for axis in order): tensor for order, tensor in self.tensors.items()
        }
        return Variable(tuple(self.shape[axis] for axis in permutation), self.dtype, tensors)


@dataclass(slots=True, eq=False)
class Merged(Variable):
    """A value with an axis that counts the batch and others together. apart: it, with these axes apart.

    groups: how many axes of that each axis of the file is. Its own shape has multiples of the batch in it.
    """

    apart: Variable = field(kw_only=True)
    groups: tuple[int, ...] = field(kw_only=True)

    def at(self, order: Order) -> Tensor:
        raise InterchangeError(
            f"it is of {format_shape(self.shape)}, which counts samples and others along one axis"
        )

    @property
    def any_order(self) -> Order:
        return as_in_file(self.rank)

    def transposed(self, permutation: Order) -> Variable:
        ends = [sum(self.groups[: axis + 1]) for axis in range(self.rank)]
        groups = [range(end - count, end) for end, count in zip(ends, self.groups, strict=True)]
        axes = tuple(axis for group in permutation for axis in groups[group])
        return Merged(
            tuple(self.shape[axis] for axis in permutation),
            self.dtype,
            apart=self.apart.transposed(axes),
            groups=tuple(self.groups[axis] for axis in permutation),
        )
