"""The matrix product: what a dense layer computes, and what attention is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import ShapeError
from graphcnn.ir import BATCH, Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.ops.attributes import require_float
from graphcnn.ops.notation import at, letters
from graphcnn.ops.shape import Transpose


@dataclass(frozen=True, slots=True)
class Matmul(Op):
    """The product of matrices: [..., A, K] and [..., K, B], a pair for each place along the axes in front."""

    name: ClassVar[str] = "matmul"
    equation: ClassVar[str] = "y(n, d) = Σc x(n, c) w(c, d)"
    formula: ClassVar[str] = r"$y_{d} = \sum_{c} $a_{c}\, $b_{c,d}"
    arity: ClassVar[int] = 2
    by_sample: ClassVar[bool] = True

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        x, w = operands
        require_float(self.name, x, w)
        if min(x.rank, w.rank) < 2 or x.shape[:-2] != w.shape[:-2]:
            raise ShapeError(
                f"matmul takes [..., A, K] and [..., K, B] with the same axes in front, not {x} and {w}",
                mend="gcn.matmul(x, w) brings them to one shape",
            )
        if x.shape[-1] != w.shape[-2]:
            raise ShapeError(
                f"matmul of {x} and {w}: {x.shape[-1]} columns on the left, {w.shape[-2]} rows on the right",
                mend="make the inner sizes equal, or transpose one side",
            )
        return (x.with_shape((*x.shape[:-1], w.shape[-1])),)

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        x, w = (type.concrete(batch) for type in operands)
        return 2 * math.prod(x) * w[-1]

    def latex(self, *operands: TensorType) -> str:
        """Return the product for one row; where the batch is summed up, for all rows."""
        if operands[0].rank > 2:
            return self._latex_of_many(*operands)
        if operands[0].shape[1] == BATCH:
            return r"$y_{c,d} = \sum_{s=1}^{N} $a_{c,s}\, $b_{s,d}"
        return self.formula

    def _latex_of_many(self, *operands: TensorType) -> str:
        (result,) = self.result_types(*operands)
        *outer, row, column = letters(result)
        total = r"\sum_{c=1}^{N}" if operands[0].shape[-1] == BATCH else r"\sum_{c}"
        left, right = at("$a", [*outer, row, "c"]), at("$b", [*outer, "c", column])
        return rf"{at('$y', [*outer, row, column])} = {total} {left}\, {right}"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        x, w = operands
        if x.rank > 2:
            *outer, row, column = letters(self.result_types(x, w)[0])
            delta = at("$D", [*outer, row, column])
            if position == 0:
                wanted, other, index = [row, "c"], at("$b", [*outer, "c", column]), column
            else:
                wanted, other, index = ["c", column], at("$a", [*outer, row, "c"]), row
            return rf"{at('$G', [*outer, *wanted])} = \sum_{{{index}}} {delta}\, {other}"
        if position == 0:
            return r"$G_{c} = \sum_{d} $D_{d}\, $b_{c,d}"
        return r"$G_{c,d} = \sum_{s=1}^{N} $a_{s,c}\, $D_{s,d}"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        x, w = operands
        turn = Transpose.of_matrices(x.type.rank)
        return (
            emit.by("delta · wᵀ")(Matmul(), delta, emit.by("delta · wᵀ")(turn, w)),
            emit.by("oᵀ · delta")(Matmul(), emit.by("oᵀ · delta")(turn, x), delta),
        )
