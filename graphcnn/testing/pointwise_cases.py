"""The conformance cases of ops that work element by element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import Final

import numpy as np

from graphcnn import ops
from graphcnn.ir import DType, Op, TensorType
from graphcnn.scalar import ScalarFunction
from graphcnn.testing.case import FLOAT_TYPES, Case, Named, unary, whole

SMOOTH: Final[tuple[Op, ...]] = (
    *(ops.Negate(), ops.Exp(), ops.Sin(), ops.Cos(), ops.Tanh(), ops.Sigmoid()),
    *(ops.Softplus(), ops.Erf(), ops.Power(2.0), ops.Power(3), ops.Power(0.0)),
)
KINKED: Final[tuple[Op, ...]] = (
    *(ops.Abs(), ops.Sign(), ops.Relu(), ops.ReluMask(), ops.Elu(), ops.Elu(0.25)),
    *(ops.Clip(-0.5, 1.0), ops.Clip(-math.inf, 0.5, closed=False)),
    *(ops.ClipMask(-1.0, 1.0), ops.ClipMask(-1.0, 1.0, closed=False), ops.ClipMask(-0.5, math.inf)),
)
POSITIVE: Final[tuple[Op, ...]] = (
    *(ops.Log(), ops.Sqrt(), ops.Power(0.5), ops.Power(-1.0), ops.Power(1.75)),
)
BINARY: Final[tuple[Op, ...]] = (
    *(ops.Add(), ops.Subtract(), ops.Multiply(), ops.Divide(), ops.Maximum(), ops.Minimum()),
    *(ops.Greater(), ops.GreaterEqual(), ops.Equal()),
)
LOGIC: Final[tuple[Op, ...]] = (ops.LogicalAnd(), ops.LogicalOr())
ROUNDED: Final = (
    *((1.0, 1.0), (1 + 2**-9, 1.0), (1 + 2**-8, 1.0), (1 + 3 * 2**-8, 1 + 2**-6)),
    *(
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (255.5, 256.0),
        (2**-126, 2**-126),
        (1e-45, 0.0),
        (2**-134, 0.0),
        (3 * 2**-134, 2**-132),
        (0.0, 0.0),
    ),
    *((2**-126 - 2**-135, 2**-126), (1.5 * 2**-130, 1.5 * 2**-130), (255 * 2.0**120, 255 * 2.0**120)),
    *((255.49 * 2.0**120, 255 * 2.0**120), (255.5 * 2.0**120, math.inf), (3.4028234e38, math.inf)),
    (math.inf, math.inf),
)
"""Numbers, and the bfloat16 nearest to each: there are 8 bits of precision, and none below 2^-133."""
EDGES: Final = (0.0, -0.0, 1e-30, -1e-30, 1.0, -1.0, 30.0, -30.0, 90.0, -90.0)


def _cubed(x: float, y: float) -> float:
    return x * x * x * y


def _by_x(x: float, y: float) -> float:
    return 3 * x * x * y


def _by_y(x: float, y: float) -> float:
    return x * x * x


def _twice_by_x(x: float, y: float) -> float:
    return 6 * x * y


def _by_both(x: float, y: float) -> float:
    return 3 * x * x


def _line(x: float) -> float:
    return 1.5 * x - 0.5


def _slope_of_line(x: float) -> float:
    return 1.5


BY_BOTH: Final = ScalarFunction(_by_both, "by_both")
USERS_FUNCTIONS: Final[tuple[ops.UserFunction, ...]] = tuple(
    ops.UserFunction(function)
    for function in (
        ScalarFunction(
            _cubed,
            "cubed",
            (
                ScalarFunction(_by_x, "by_x", (ScalarFunction(_twice_by_x, "twice_by_x"), BY_BOTH)),
                ScalarFunction(_by_y, "by_y", (BY_BOTH, None)),
            ),
        ),
        ScalarFunction(_line, "line", (ScalarFunction(_slope_of_line, "slope_of_line", (None,)),)),
    )
)


def users_functions() -> Named:
    """Yield cases of functions of the user's own, of which no text of a graph tells what they do."""
    for dtype in FLOAT_TYPES:
        for op in USERS_FUNCTIONS:
            yield f"user_function: {op.function.name}, {dtype}", partial(_users_function, op, dtype)


def pointwise(dtype: DType) -> Named:
    for op in (*SMOOTH, *KINKED, *POSITIVE):
        for shape in ((15, 3, 1, 5), (33, 70), (1,), ()):
            name = f"{_label(op)}: {list(shape)}"
            yield name, partial(unary, op, dtype, shape, positive=op in POSITIVE)
    known = (ops.Negate(), ops.Tanh(), ops.Sigmoid(), ops.Softplus(), ops.Erf(), *KINKED)
    for op in known:
        yield f"{_label(op)}: edges", partial(_edges, op, dtype)
    yield "erf: values", partial(_error_function, dtype)
    for shape in ((33, 70), (1,), ()):
        yield f"round_bfloat16: {list(shape)}", partial(unary, ops.RoundBfloat16(), dtype, shape)
    yield "round_bfloat16: edges", partial(_rounded, dtype)
    yield "stop_gradient", partial(_stopped, dtype)
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((17, 4, 3, 2), (17, 4, 3, 2)), ((16, 33), ()), ((), (15, 7)), ((), ()), ((1, 1), (1, 1)),
    ]  # fmt: skip
    for op in BINARY:
        for left, right in shapes:
            yield f"{op.name}: {list(left)} and {list(right)}", partial(_binary, op, dtype, left, right)
        yield f"{op.name}: an operand with itself", partial(_with_itself, op, dtype)
    for left, right in shapes:
        for op in LOGIC:
            yield f"{op.name}: {list(left)} and {list(right)}", partial(_logic, op, dtype, left, right)
    for left, right in shapes:
        yield f"select: {list(left)} and {list(right)}", partial(_select, dtype, left, right)
    for value in (0.0, -0.0, 1.5, 1e-3):
        yield f"constant: {value}", partial(_constant, dtype, value)


def _label(op: Op) -> str:
    numbers = [getattr(op, field.name) for field in fields(op)]
    return " ".join([op.name, *map(str, numbers)])


def _edges(op: Op, dtype: DType, case: Case) -> None:
    case.apply(op, case.input(np.array(EDGES, dtype)))


def _error_function(dtype: DType, case: Case) -> None:
    """The series of Abramowitz and Stegun, 7.1.5, on both sides of 1, and 1 from 6 on."""
    numbers = [0.0, 1e-3, 0.5, 0.99, 1.0, 1.01, 1.5, 2.0, 3.0]
    case.apply(ops.Erf(), case.input(np.array([*numbers, *(-x for x in numbers), 6.0, 9.0], dtype)))
    exact = [float(x) for x in np.array(numbers, dtype)]
    values = [2 / math.sqrt(math.pi) * math.fsum(_terms(x)) for x in exact]
    case.expect(np.array([*values, *(-y for y in values), 1.0, 1.0]))


def _terms(x: float) -> list[float]:
    return [(-1) ** n * x ** (2 * n + 1) / (math.factorial(n) * (2 * n + 1)) for n in range(80)]


def _rounded(dtype: DType, case: Case) -> None:
    numbers = np.array([*ROUNDED, *((-x, -y) for x, y in ROUNDED)], dtype)
    case.apply(ops.RoundBfloat16(), case.input(numbers[:, 0].copy()))
    case.expect(numbers[:, 1].copy())


def _stopped(dtype: DType, case: Case) -> None:
    x = case.normal(dtype, 5, 3, batch=True)
    case.apply(ops.StopGradient(), x)
    case.apply(ops.StopGradient(), case.graph.add(ops.Greater(), x, case.graph.add(ops.Negate(), x)))
    case.apply(ops.Multiply(), case.graph.add(ops.StopGradient(), case.graph.add(ops.Tanh(), x)), x)


def _logic(op: Op, dtype: DType, left: Sequence[int], right: Sequence[int], case: Case) -> None:
    add = case.graph.add
    zero = add(ops.Constant(0.0, TensorType((), dtype)))
    x, y = (add(ops.Greater(), whole(case, dtype, shape), zero) for shape in (left, right))
    both = add(op, x, y)
    case.apply(ops.LogicalNot(), both)
    case.graph.output("both", both)


def _binary(op: Op, dtype: DType, left: Sequence[int], right: Sequence[int], case: Case) -> None:
    case.apply(op, whole(case, dtype, left), whole(case, dtype, right))


def _users_function(op: ops.UserFunction, dtype: DType, case: Case) -> None:
    operands = [case.normal(dtype, 17, 3, batch=True) for _ in op.function.arguments]
    case.apply(op, *operands)
    case.expect(np.asarray(op.function.python(*(case.array(x).astype(np.float64) for x in operands))))


def _with_itself(op: Op, dtype: DType, case: Case) -> None:
    x = whole(case, dtype, (3, 5))
    case.apply(op, x, x)


def _select(dtype: DType, left: Sequence[int], right: Sequence[int], case: Case) -> None:
    x, y = whole(case, dtype, left), whole(case, dtype, right)
    for condition in (case.graph.add(ops.Greater(), x, y), case.graph.add(ops.Greater(), y, x)):
        case.apply(ops.Select(), condition, x, y)


def _constant(dtype: DType, value: float, case: Case) -> None:
    case.apply(ops.Constant(value, TensorType((), dtype)))
    case.expect(np.array(value))
