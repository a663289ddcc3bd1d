"""The matrix product: what a dense layer computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import ShapeError
from graphcnn.ir import BATCH, Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.attributes import require_float, require_rank
from graphcnn.ops.shape import Transpose


@dataclass(frozen=True, slots=True)
class Matmul(Op):
    """The product of two matrices, [A, K] and [K, B]."""

    name: ClassVar[str] = "matmul"
    equation: ClassVar[str] = "y(n, d) = Σc x(n, c) w(c, d)"
    formula: ClassVar[str] = r"$y_{d} = \sum_{c} $a_{c}\, $b_{c,d}"
    arity: ClassVar[int] = 2

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        x, w = operands
        require_rank(self.name, "a left operand", x, 2, "A, K")
        require_rank(self.name, "a right operand", w, 2, "K, B")
        require_float(self.name, x, w)
        if x.shape[1] != w.shape[0]:
            raise ShapeError(
                f"matmul of {x} and {w}: {x.shape[1]} columns on the left, {w.shape[0]} rows on the right",
                mend="make the inner sizes equal, or transpose one side",
            )
        return (x.with_shape((x.shape[0], w.shape[1])),)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        x, w = (type.concrete(batch) for type in operands)
        return 2 * x[0] * x[1] * w[1]

    def latex(self, *operands: TensorType) -> str:
        """Return the product for one row; where the batch is summed up, for all rows."""
        if operands[0].shape[1] == BATCH:
            return r"$y_{c,d} = \sum_{s=1}^{N} $a_{c,s}\, $b_{s,d}"
        return self.formula

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        if position == 0:
            return r"$G_{c} = \sum_{d} $D_{d}\, $b_{c,d}"
        return r"$G_{c,d} = \sum_{s=1}^{N} $a_{s,c}\, $D_{s,d}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        x, w = operands
        return (
            emit.by("delta · wᵀ")(Matmul(), delta, emit.by("delta · wᵀ")(Transpose((1, 0)), w)),
            emit.by("oᵀ · delta")(Matmul(), emit.by("oᵀ · delta")(Transpose((1, 0)), x), delta),
        )
