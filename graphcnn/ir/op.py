"""What every operation has to say about itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

from graphcnn.errors import DifferentiationError, GraphError
from graphcnn.ir.types import BATCH, TensorType
from graphcnn.origin import users_line

if TYPE_CHECKING:
    from graphcnn.ir.graph import Emitter, Node, Value

NO_RULE: Final = "has no gradient rule"

Values: TypeAlias = "tuple[Value, ...]"
Gradients: TypeAlias = "tuple[Value | None, ...]"


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of one node at one batch size.

    flops: floating-point operations; a multiply-add counts as two.
    bytes: memory that must move at least: every operand read once, every result written once.
    """

    flops: int
    bytes: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Op:
    """An operation: a frozen dataclass whose fields are its attributes.

    A subclass states its name in the text form, its equation, its shape rule (`result_types`), its
    gradient rule (`gradient`, which emits nodes and never computes) and its FLOPs. Kernels are the
    backends' affair.

    equation: for the eye, as text. formula: the same in LaTeX, where no attribute enters it (see `latex`).
    article: the equation of the article that the op is, such as `Eq. 1`.

    by_sample: the result for a sample depends on that sample alone wherever all that has a batch has it in
    front, so that some samples can be computed without the others. False, the default, is always safe.
    shape_operands: the places of operands of which nothing is read but the shape.
    """

    name: ClassVar[str]
    equation: ClassVar[str]
    arity: ClassVar[int]
    formula: ClassVar[str] = ""
    article: ClassVar[str] = ""
    by_sample: ClassVar[bool] = False
    shape_operands: ClassVar[tuple[int, ...]] = ()

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        """Return the types of the results. Raises ShapeError where the operands do not fit."""
        raise NotImplementedError

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        """Emit the gradient of the loss with respect to each operand (None where it is zero).

        delta: the gradient with respect to the first result; further results are indices and the like.
        """
        raise DifferentiationError(
            f"{self.name} {NO_RULE}",
            mend=f"def gradient(self, emit, operands, results, delta): ... in {type(self).__name__}, "
            "which returns a tuple with a value or None for each operand",
        )

    def is_by_sample(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> bool:
        """Return whether, on these types, the results have samples, and each depends on its own alone."""
        return self.by_sample and are_samples(operands, results)

    def sums_samples(self, operands: Sequence[TensorType]) -> bool:
        """Return whether, on these types, the results are a sum over the samples, or are made of one.

        Of the samples [N, ...] some can then be added up without the others.
        """
        return False

    def sum_type(self, results: Sequence[TensorType]) -> TensorType:
        """Return what a sum over samples is added up in before it is divided and rounded to these types."""
        return results[0]

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        """Return the floating-point operations at this batch size; 0 for ops that only move data."""
        return 0

    def latex(self, *operands: TensorType) -> str:
        """Return the equation in LaTeX, on operands of these types.

        $y stands for the first result, $a, $b, ... for the operands; indices follow at once: `$a_{i,j}`.
        Without a formula, it is the op's name as a function of its operands.
        """
        if self.formula:
            return self.formula
        name = self.name.replace("_", r"\_")
        return rf"$y = \text{{{name}}}({arguments_of(len(operands))})"

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        """Return the gradient of the operand at a position, in LaTeX; "" where its nodes say it themselves.

        $G stands for that gradient, $D for the delta of the result, the other letters as in `latex`.
        """
        return ""

    def generality(self) -> str:
        """Return what the attributes add to the article's equation; "" where that holds as written."""
        return ""

    def counted_as(self, node: Node, operands: Sequence[Node], forward: Node | None) -> Node | None:
        """Return a node that does the same work as `node`, on this op, and whose FLOPs are counted instead.

        operands: the nodes that the operands come from. forward: for a gradient node, its forward node.
        None, the default, is for ops whose own shapes tell what they do.
        """
        return None

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> Cost:
        """Return FLOPs and the least number of bytes to move at this batch size."""
        moved = sum(t.bytes(batch) for t in (*operands, *results))
        return Cost(self.flops(operands, results, batch), moved)


def are_samples(operands: Sequence[TensorType], results: Sequence[TensorType]) -> bool:
    """Return whether results have a batch, and all that has one has it in front."""
    batches = [type for type in (*operands, *results) if type.has_batch]
    return results[0].has_batch and all(type.shape[0] == BATCH for type in batches)


def require_op(op: object) -> Op:
    """Return an op. Raises GraphError, at the user's line, for a class of ops and for what is no op."""
    if isinstance(op, Op):
        return op
    place, problem, mend = users_line(), f"{op!r:.60} is no op", "give an op, such as ops.Tanh()"
    if isinstance(op, type) and issubclass(op, Op):
        package = "ops." if op.__module__.startswith("graphcnn.ops.") else ""
        made = fields(op) if is_dataclass(op) else ()
        needed = [each.name for each in made if each.default is each.default_factory is MISSING]
        problem = f"{op.__name__} is a class of ops, no op"
        mend = f"{package}{op.__name__}({', '.join(needed)})"
    raise GraphError(problem, mend=mend).located(file=place.file, line=place.line)


def arguments_of(count: int) -> str:
    """Return the placeholders of this many operands, as in `Op.latex`; of very many, the first ones."""
    shown = ", ".join(f"${letter}" for letter in OPERAND_LETTERS[:count])
    return shown if count <= len(OPERAND_LETTERS) else rf"{shown}, \ldots"


OPERAND_LETTERS: Final = "abcdefghijkl"
