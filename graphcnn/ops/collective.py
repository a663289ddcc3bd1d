"""Ops by which ranks that share the samples of a batch tell one another what they have computed.

A graph means the same with them and without: of the whole batch, all are the identity. They say where a
rank's own part of it is not enough, and what one rank alone computes. `graphcnn.distribute` puts them in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, Cost, Emitter, Gradients, Op, TensorType, Value, Values, format_shape
from graphcnn.ops.attributes import is_int


@dataclass(frozen=True, slots=True)
class Collective(Op):
    """What all share: they move what they have between ranks, or leave it there, and compute nothing else."""

    arity: ClassVar[int] = 1

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> Cost:
        """Return the bytes of one message with all of it; additions are those of the sum before."""
        return Cost(0, results[0].bytes(batch))

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (delta,)


@dataclass(frozen=True, slots=True)
class AllReduce(Collective):
    """The sum over the samples of all ranks, from that over a rank's own.

    The operand is a sum over the batch that nothing else reads: ranks add up what is neither divided by the
    number of samples nor rounded yet, shard by shard (docs/distributed.md), and the result is that sum.
    """

    name: ClassVar[str] = "all_reduce"
    equation: ClassVar[str] = "y = Σr x(r), over all ranks r"
    formula: ClassVar[str] = r"$y = \sum_{r} ($a)_{r}"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        if x.has_batch:
            raise ShapeError(
                f"{self.name} adds up sums over the batch, and {x} has one",
                mend="ops.AllGather(), for the samples of all ranks",
            )
        return operands


@dataclass(frozen=True, slots=True)
class AllGather(Collective):
    """The samples of all ranks, [N, ...], from a rank's own: for what reads several samples at once."""

    name: ClassVar[str] = "all_gather"
    equation: ClassVar[str] = "y(s) = x(s), of the rank r(s) that has sample s"
    formula: ClassVar[str] = r"$y_{s} = ($a_{s})_{r(s)}"

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        if x.shape[:1] != (BATCH,):
            raise ShapeError(f"{self.name} takes samples [N, ...], not {format_shape(x.shape)}")
        return operands


@dataclass(frozen=True, slots=True)
class OfOneRank(Collective):
    """What one rank alone computes, that of this number: others do not compute what nobody else reads."""

    rank: int

    def __post_init__(self) -> None:
        if not is_int(self.rank, 0):
            raise OptionError(f"{self.rank!r:.60} is not the number of a rank", mend="0, or any above it")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        (x,) = operands
        if x.has_batch:
            raise ShapeError(f"{self.name} takes what no rank has a part of, and not samples {x}")
        return operands


@dataclass(frozen=True, slots=True)
class BroadcastFrom(OfOneRank):
    """What one rank has computed, for all of them: the new value of a parameter."""

    name: ClassVar[str] = "broadcast_from"
    equation: ClassVar[str] = "y = x(r), of rank r, on all ranks"
    formula: ClassVar[str] = r"$y = ($a)_{r}"


@dataclass(frozen=True, slots=True)
class KeepOn(OfOneRank):
    """What one rank computes and keeps, and the others do not have: the new value of an optimiser's state."""

    name: ClassVar[str] = "keep_on"
    equation: ClassVar[str] = "y = x, on rank r alone"
    formula: ClassVar[str] = r"$y = ($a)_{r}"

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> Cost:
        """Return nothing: it stays where it is."""
        return Cost(0, 0)
