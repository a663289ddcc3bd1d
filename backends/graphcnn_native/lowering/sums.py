"""Means, deviations and sums over a batch in fewer passes over its numbers: rules of `canonical.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphcnn.ir import BATCH, Node, Op, Value, Values
from graphcnn.ops import (
    Add,
    Broadcast,
    Cast,
    Constant,
    Divide,
    InverseDeviation,
    Mean,
    Multiply,
    Negate,
    Power,
    Relu,
    Sqrt,
    Subtract,
    Sum,
)
from graphcnn.rewrite import Match


def wide_mean(match: Match, op: Mean, operands: Values) -> Value | None:
    """A mean over the images of a batch is rounded once for all who read it, but for `_mean_of_squares`."""
    (x,) = operands
    if x.type.dtype != "float32" or x.type.rank < 3 or x.type.shape[0] != BATCH or 0 not in op.axes:
        return None
    return match.emit(Cast("float32"), match.emit(op, match.emit(Cast("float64"), x)))


def _mean_of_squares(match: Match, op: InverseDeviation, x: Value) -> Value:
    """Return the mean of the squares of x in float64, which holds the square of any float32.

    What is centred by its own mean need not be there: E (x - E x)² = E x² - (E x)². In float64 enough of the
    difference is left, for float32 tells no numbers apart that lie closer together.
    """
    mean, square = Mean(op.axes, op.keep), Power(2.0)
    centred = match.definition(x)
    if isinstance(centred.op, Subtract):
        numbers, subtracted = centred.operands
        known = _known_wide_mean(match, mean, numbers)
        if known is not None and _is_spread(match, subtracted, match.existing(Cast("float32"), known)):
            squares = match.emit(mean, match.emit(square, *match.definition(known).operands))
            return match.emit(Relu(), match.emit(Subtract(), squares, match.emit(square, known)))
    return match.emit(mean, match.emit(square, match.emit(Cast("float64"), x)))


def _known_wide_mean(match: Match, mean: Mean, numbers: Value) -> Value | None:
    """Return the mean of numbers in float64 that `wide_mean` has made, if it has."""
    wide = match.existing(Cast("float64"), numbers)
    return None if wide is None else match.existing(mean, wide)


def _is_spread(match: Match, value: Value, source: Value | None) -> bool:
    node = match.definition(value)
    return isinstance(node.op, Broadcast) and node.operands == (source,)


def inverse_deviation(match: Match, op: InverseDeviation, operands: Values) -> Values:
    (x,) = operands
    variance = _mean_of_squares(match, op, x)
    epsilon, one = (match.emit(Constant(c, variance.type.with_shape(()))) for c in (float(op.epsilon), 1.0))
    root = match.emit(Sqrt(), match.emit(Add(), variance, epsilon))
    inverse = match.emit(Divide(), one, root)
    return match.emit(Cast(x.type.dtype), inverse), match.emit(Cast(x.type.dtype), variance)


def multiple_of_sum(match: Match, op: Sum, operands: Values) -> Value | None:
    """Emit a sum as a multiple of one that is there, if it is: no pass over all the summands is needed."""
    found = _multiple(match, op, operands[0])
    if found is None or found.total is None:
        return None
    value = found.total
    for scaling, factor in found.factors:
        value = match.emit(scaling, value, factor)
    return match.emit(Negate(), value) if found.is_negative else value


DEEPEST = 8
"""So many ops, one inside the other, are looked through for a sum that is there."""


@dataclass(frozen=True)
class _Multiple:
    """A sum that is there, or None for zero, and what it is multiplied or divided by."""

    total: Value | None
    is_negative: bool = False
    factors: tuple[tuple[Op, Value], ...] = ()


def _multiple(match: Match, op: Sum, summands: Value, depth: int = 0) -> _Multiple | None:
    """Return what the sum of an expression is a multiple of; None where no such sum is there."""
    total = match.existing(op, summands)
    if total is not None or _is_centred(match, op, summands):
        return _Multiple(total)
    node = match.definition(summands)
    if depth == DEEPEST or not isinstance(node.op, Negate | Add | Subtract | Multiply | Divide):
        return None
    parts = [
        _multiple(match, op, operand, depth + 1) if operand.type == summands.type else None
        for operand in node.operands
    ]
    if isinstance(node.op, Multiply | Divide):
        return _scaled(match, op, node, parts)
    if isinstance(node.op, Negate):
        return _negated(parts[0])
    left, right = parts
    if left is None or right is None:
        return None
    if right.total is None:
        return left
    if left.total is None:
        return _negated(right) if isinstance(node.op, Subtract) else right
    return None  # the difference of two sums can be far less exact than the sum of differences


def _negated(multiple: _Multiple | None) -> _Multiple | None:
    return multiple and replace(multiple, is_negative=not multiple.is_negative)


def _scaled(match: Match, op: Sum, node: Node, parts: Sequence[_Multiple | None]) -> _Multiple | None:
    """Return the multiple of a product with what is the same for all summands of a sum."""
    (total,) = op.result_types(node.types[0])
    for multiple, operand in zip(parts, node.operands[::-1], strict=True):
        spread = match.definition(operand)
        factor = spread.operands[0] if isinstance(spread.op, Broadcast) else operand
        if multiple is not None and (factor.type == total or factor.type.is_scalar):
            return replace(multiple, factors=(*multiple.factors, (node.op, factor)))
        if isinstance(node.op, Divide):
            return None
    return None


def _is_centred(match: Match, op: Sum, value: Value) -> bool:
    """Return whether these are numbers less their own mean, so that they sum up to zero."""
    node = match.definition(value)
    if not isinstance(node.op, Subtract):
        return False
    numbers, subtracted = node.operands
    mean = Mean(op.axes, op.keep)
    known, wide = match.existing(mean, numbers), _known_wide_mean(match, mean, numbers)
    if known is None and wide is not None:
        known = match.existing(Cast("float32"), wide)
    return known is not None and _is_spread(match, subtracted, known)
