"""Rules about numbers: neutral elements, known constants, and scalars that need not be repeated.

`x + 0.0 → x` is not among them, because -0.0 + 0.0 is 0.0; `x + -0.0 → x` holds for every x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphcnn.ir import BATCH, Op, Value, Values
from graphcnn.ops import (
    Add,
    Broadcast,
    Constant,
    Count,
    Divide,
    Exp,
    Log,
    Multiply,
    Negate,
    Power,
    Reshape,
    Subtract,
)
from graphcnn.ops.pointwise import INTEGER_LIMITS
from graphcnn.rewrite import Match, Rule

LARGEST_EXACT: Final = 2**53
"""Up to here every integer is a Python float."""


FARTHEST_LOOK: Final = 16
"""Through so many broadcasts and reshapes a rule looks: a long chain is not walked from each node of it."""


def known_number(match: Match, value: Value) -> float | None:
    """Return the number that a value holds everywhere, if it is a constant."""
    node = match.definition(value)
    for _ in range(FARTHEST_LOOK):
        if not isinstance(node.op, Broadcast):
            break
        node = match.definition(node.operands[0])
    return node.op.value if isinstance(node.op, Constant) else None


def _is(number: float | None, wanted: float) -> bool:
    """Whether a number is this one, the sign of zero included."""
    return number == wanted and math.copysign(1.0, number) == math.copysign(1.0, wanted)


def _the_other(match: Match, op: Op, operands: Values, position: int, neutral: float) -> Value | None:
    """Return the other operand where the one at `position` is neutral and repeats nothing."""
    other = operands[1 - position]
    if not _is(known_number(match, operands[position]), neutral):
        return None
    (result,) = op.result_types(*(operand.type for operand in operands))
    return other if other.type == result else None


def _multiply_by_one(match: Match, op: Multiply, operands: Values) -> Value | None:
    return _the_other(match, op, operands, 1, 1.0) or _the_other(match, op, operands, 0, 1.0)


def _divide_by_one(match: Match, op: Divide, operands: Values) -> Value | None:
    return _the_other(match, op, operands, 1, 1.0)


def _add_minus_zero(match: Match, op: Add, operands: Values) -> Value | None:
    return _the_other(match, op, operands, 1, -0.0) or _the_other(match, op, operands, 0, -0.0)


def _subtract_zero(match: Match, op: Subtract, operands: Values) -> Value | None:
    return _the_other(match, op, operands, 1, 0.0)


def _power_of_one(match: Match, op: Power, operands: Values) -> Value | None:
    return operands[0] if op.exponent == 1 else None


def _negate_twice(match: Match, op: Negate, operands: Values) -> Value | None:
    inner = match.definition(operands[0])
    return inner.operands[0] if isinstance(inner.op, Negate) else None


def _log_of_exp(match: Match, op: Log, operands: Values) -> Value | None:
    inner = match.definition(operands[0])
    return inner.operands[0] if isinstance(inner.op, Exp) else None


def _over_and_times_exp(match: Match, op: Multiply, operands: Values) -> Value | None:
    """The gradient of a logarithm, and then that of the exponential in it. An exponential is not 0."""
    for quotient, factor in (operands, operands[::-1]):
        node = match.definition(quotient)
        if not isinstance(node.op, Divide) or node.operands[1] != factor:
            continue
        if isinstance(match.definition(factor).op, Exp):
            (kept, _), shape = node.operands, quotient.type.shape
            return kept if kept.type.shape == shape else match.emit(Broadcast(shape), kept)
    return None


def _fixed_count(match: Match, op: Count, operands: Values) -> Value | None:
    """A count that its element type cannot hold wraps around, as the backends compute it."""
    type = operands[0].type
    if BATCH in (type.shape[axis] for axis in op.axes):
        return None
    count = op.of(type, 1)
    least, greatest = INTEGER_LIMITS.get(type.dtype, (0, LARGEST_EXACT))
    return match.emit(Constant(float(count), type.with_shape(()))) if least <= count <= greatest else None


_ARITHMETIC: Final[dict[type[Op], Callable[..., Any]]] = {
    Add: np.add,
    Subtract: np.subtract,
    Multiply: np.multiply,
    Negate: np.negative,
}


def _fold_constants(match: Match, op: Op, operands: Values) -> Value | None:
    """Compute in the graph's own precision, as a backend would."""
    numbers = [known_number(match, operand) for operand in operands]
    if any(number is None for number in numbers):
        return None
    with np.errstate(all="ignore"):
        folded = _ARITHMETIC[type(op)](*(np.asarray(number, operands[0].type.dtype) for number in numbers))
    if np.isnan(folded):
        return None
    (result,) = op.result_types(*(operand.type for operand in operands))
    shortest = float(str(folded))  # the number with fewest digits that is this one in this precision
    number = match.emit(Constant(shortest, result.with_shape(())))
    return number if result.is_scalar else match.emit(Broadcast(result.shape), number)


def _late_broadcast(match: Match, op: Op, operands: Values) -> Value | None:
    scalars = [_repeated_scalar(match, operand) for operand in operands]
    for position, scalar in enumerate(scalars):
        other = operands[1 - position]
        if scalar is not None and not other.type.is_scalar and scalars[1 - position] is None:
            return match.emit(op, *((scalar, other) if position == 0 else (other, scalar)))
    return None


def _repeated_scalar(match: Match, value: Value) -> Value | None:
    """Return the scalar that a value repeats, looking through broadcasts and reshapes."""
    node = match.definition(value)
    for _ in range(FARTHEST_LOOK):
        if isinstance(node.op, Broadcast) and node.operands[0].type.is_scalar:
            return node.operands[0]
        if not isinstance(node.op, Broadcast | Reshape):
            return None
        node = match.definition(node.operands[0])
    return None


RULES: Final = (
    Rule("fixed-count", "count(x) → n, where it is no multiple of N", Count, _fixed_count, group="constants"),
    Rule("multiply-by-one", "x·1, 1·x → x", Multiply, _multiply_by_one, group="constants"),
    Rule("divide-by-one", "x/1 → x", Divide, _divide_by_one, group="constants"),
    Rule("add-minus-zero", "x + -0.0, -0.0 + x → x", Add, _add_minus_zero, group="constants"),
    Rule("subtract-zero", "x - 0.0 → x", Subtract, _subtract_zero, group="constants"),
    Rule("power-of-one", "x^1 → x", Power, _power_of_one, group="constants"),
    Rule(
        "fold-constants",
        "+, - and · of constants are computed now, in their own precision",
        tuple(_ARITHMETIC),
        _fold_constants,
        group="constants",
    ),
    Rule("negate-twice", "-(-x) → x", Negate, _negate_twice, group="no-operation"),
    Rule(
        "log-of-exp",
        "log(exp(x)) → x, as in the log of a softmax: an exponential that underflows has no log",
        Log,
        _log_of_exp,
        keeps="finite",
        group="exponentials",
    ),
    Rule(
        "over-and-times-exp",
        "x/e · e, e · x/e → x, where e is an exponential",
        Multiply,
        _over_and_times_exp,
        keeps="finite",
        group="exponentials",
    ),
    Rule(
        "late-broadcast",
        "x op broadcast(scalar) → x op scalar",
        (Multiply, Divide, Add, Subtract),
        _late_broadcast,
    ),
)
