"""Ops by which ranks that share the samples of a batch tell one another what they have computed.

A graph means the same with them and without: of the whole batch, both are the identity. They say where a
rank's own part of it is not enough. `graphcnn.distribute` puts them in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import ShapeError
from graphcnn.ir import BATCH, Cost, Emitter, Gradients, Op, TensorType, Value, Values, format_shape


@dataclass(frozen=True, slots=True)
class Collective(Op):
    """What both share: they move what they have between ranks, and compute nothing else."""

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
