"""Einsum: what it folds, repeats and multiplies, as sums, diagonals and products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.tensor import Tensor, apply_op
from graphcnn.interchange.onnx.reading.reshaping import reshape_to
from graphcnn.interchange.onnx.reading.step import Step, op
from graphcnn.interchange.onnx.reading.table import WholeNumbersError, in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Held, Variable
from graphcnn.ir import BATCH, Dim, Value
from graphcnn.ir.types import FLOATS


@dataclass(frozen=True, slots=True)
class _Lettered:
    """A value with a letter for each axis, in the file's order; none is there twice."""

    value: Variable
    letters: str

    def size(self, letter: str) -> Dim:
        return self.value.shape[self.letters.index(letter)]

    def ordered(self, letters: Sequence[str]) -> Tensor:
        """Return the tensor with its axes in the order of these letters."""
        return self.value.at(tuple(self.letters.index(letter) for letter in letters))


@reads("Einsum")
def einsum(step: Step) -> Variable:
    """Operands are combined from the left, two at a time; letters that nothing behind needs are summed up."""
    operands = [step[position] for position in range(len(step.inputs))]
    whole = [each for each in operands if isinstance(each, Variable) and each.dtype not in FLOATS]
    if whole:
        raise WholeNumbersError(whole)
    terms, result = _equation(str(step.setting("equation")), operands)
    combined = _alone(step, operands[0], terms[0], {*"".join(terms[1:]), *result})
    for number, (operand, term) in enumerate(zip(operands[1:], terms[1:], strict=True), 2):
        needed = {*"".join(terms[number:]), *result}
        other = _alone(step, operand, term, {*combined.letters, *needed})
        combined = _summed(step, combined, {*other.letters, *needed})
        combined = _product(step, combined, other, needed)
    return Variable.of(combined.ordered(result))


def _equation(equation: str, operands: Sequence[Held]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result; those of `...` are letters of their own."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise in_the_way(f"its equation {equation!r:.80} is of {len(terms)} operands")
    free = [letter for letter in ascii_letters if letter not in equation]
    more = max(each.rank - len(term.replace("...", "")) for each, term in zip(operands, terms, strict=True))
    if len(free) < more:
        raise in_the_way(f"its equation {equation!r:.80} has too many letters")
    found = []
    for operand, term in zip(operands, terms, strict=True):
        count = operand.rank - len(term.replace("...", "")) if "..." in term else 0
        full = term.replace("...", "".join(free[more - count : more]))
        if len(full) != operand.rank or not set(full) <= set(ascii_letters):
            raise in_the_way(f"{term!r:.40} in its equation is not of {operand.rank} axes")
        found.append(full)
    broadcast = "".join(free[:more]) if "..." in left else ""
    once = sorted(letter for letter in set(left) & set(ascii_letters) if left.count(letter) == 1)
    result = result.replace("...", broadcast) if arrow else broadcast + "".join(once)
    if len(set(result)) != len(result) or not set(result) <= set("".join(found)):
        raise in_the_way(f"its equation {equation!r:.80} has no result")
    return found, result


def _alone(step: Step, operand: Held, letters: str, needed: set[str]) -> _Lettered:
    """Return an operand without diagonals, and without what no other needs."""
    value = step.as_variable(operand)
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            value, letters = _diagonal(step, value, letters, letter)
    return _summed(step, _Lettered(value, letters), needed)


def _diagonal(step: Step, x: Variable, letters: str, letter: str) -> tuple[Variable, str]:
    """Return the value where two axes are at the same place: every (size + 1)th of them as one."""
    first = letters.index(letter)
    second = letters.index(letter, first + 1)
    size = x.shape[first]
    if size != x.shape[second] or size == BATCH:
        raise in_the_way(f"{letter!r} in its equation is of {size} and {x.shape[second]} places")
    order = (*(axis for axis in range(x.rank) if axis not in (first, second)), first, second)
    rest = tuple(x.shape[axis] for axis in order[:-2])
    count = int(size)
    flat = apply_op(ops.Reshape((*rest, count * count)), x.at(order))
    diagonal = step.emit("diagonal", op(ops.Take(len(rest), ((0, count, count + 1),))), flat)
    return Variable.of(diagonal), "".join(letters[axis] for axis in order[:-2]) + letter


def _summed(step: Step, x: _Lettered, needed: set[str]) -> _Lettered:
    gone = [letter for letter in x.letters if letter not in needed]
    if not gone:
        return x
    kept = [letter for letter in x.letters if letter in needed]
    if any(x.size(letter) == BATCH for letter in gone):
        raise in_the_way("it sums up the samples of the batch")
    axes = tuple(range(len(kept), len(x.letters)))
    total = step.emit("sum", op(ops.Sum(axes)), x.ordered([*kept, *gone]))
    return _Lettered(Variable.of(total), "".join(kept))


def _product(step: Step, x: _Lettered, y: _Lettered, needed: set[str]) -> _Lettered:
    """Multiply two values: each with each along letters that are needed, by sums of products else."""
    shared = [letter for letter in x.letters if letter in y.letters]
    for letter in shared:
        if x.size(letter) != y.size(letter) and 1 not in (x.size(letter), y.size(letter)):
            raise in_the_way(f"{letter!r} in its equation is of {x.size(letter)} and {y.size(letter)} places")
    folded = [letter for letter in shared if letter not in needed]
    if any(x.size(letter) == BATCH for letter in folded):
        raise in_the_way("it sums up the samples of the batch")
    if any(x.size(letter) != y.size(letter) for letter in folded) or not folded:
        return _each_with_each(step, x, y, needed)
    front = [letter for letter in shared if letter in needed]
    rows, columns = (
        [letter for letter in each.letters if letter not in shared] for each in (x, y)
    )  # the batch cannot be one axis with others: it stays in front
    for own, one in ((rows, x), (columns, y)):
        for letter in [letter for letter in own if one.size(letter) == BATCH]:
            own.remove(letter)
            front.append(letter)
    left = _matrices(x, front, rows, folded)
    right = _matrices(y, front, folded, columns)
    made = step.emit("matmul", lambda build, a, b: build(ops.Matmul(), a, b), *_alike(step, left, right))
    letters = [*front, *rows, *columns]
    sizes = tuple(_size(x, y, letter) for letter in letters)
    flat = Variable.of(made)
    return _Lettered(reshape_to(flat, sizes), "".join(letters))


def _size(x: _Lettered, y: _Lettered, letter: str) -> Dim:
    sizes = [each.size(letter) for each in (x, y) if letter in each.letters]
    return next((size for size in sizes if size != 1), 1)


def _matrices(x: _Lettered, front: Sequence[str], rows: Sequence[str], columns: Sequence[str]) -> Tensor:
    """Return matrices of rows and columns for each place of the axes in front, some of which it lacks."""
    own = [letter for letter in front if letter in x.letters]
    tensor = x.ordered([*own, *rows, *columns])
    sizes: list[Dim] = [x.size(letter) if letter in own else 1 for letter in front]
    sizes += [math.prod(int(x.size(letter)) for letter in group) for group in (rows, columns)]
    return tensor if tensor.type.shape == tuple(sizes) else apply_op(ops.Reshape(tuple(sizes)), tensor)


def _alike(step: Step, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return matrices that are repeated along the axes in front of others."""
    front = tuple(
        next((size for size in sizes if size != 1), 1)
        for sizes in zip(*(tensor.type.shape[:-2] for tensor in tensors), strict=True)
    )

    def repeated(tensor: Tensor) -> Tensor:
        shape = (*front, *tensor.type.shape[-2:])
        return tensor if tensor.type.shape == shape else apply_op(ops.Broadcast(shape), tensor)

    return tuple(repeated(tensor) for tensor in tensors)


def _each_with_each(step: Step, x: _Lettered, y: _Lettered, needed: set[str]) -> _Lettered:
    letters = [*x.letters, *(letter for letter in y.letters if letter not in x.letters)]
    placed: list[Held] = []
    for one in (x, y):
        own = [letter for letter in letters if letter in one.letters]
        shape = tuple(one.size(letter) if letter in own else 1 for letter in letters)
        placed.append(reshape_to(Variable.of(one.ordered(own)), shape))

    def multiplied(build: Builder, a: Value, b: Value) -> Value:
        return build(ops.Multiply(), a, b)

    return _summed(step, _Lettered(step.each("multiply", multiplied, *placed), "".join(letters)), needed)
