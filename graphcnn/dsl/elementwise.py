"""Functions of values of a network that work element by element; shapes are broadcast together."""

from __future__ import annotations

import math

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.tensor import (
    Tensor,
    apply_elementwise,
    apply_function,
    apply_op,
    as_float,
    at_users_line,
    broadcast_together,
)
from graphcnn.errors import OptionError
from graphcnn.ir import Value


@known_arguments
def exp(x: Tensor) -> Tensor:
    """Return e^x of each element."""
    return apply_op(ops.Exp(), x)


@known_arguments
def log(x: Tensor) -> Tensor:
    """Return the natural logarithm of each element."""
    return apply_op(ops.Log(), x)


@known_arguments
def sqrt(x: Tensor) -> Tensor:
    """Return the square root of each element."""
    return apply_op(ops.Sqrt(), x)


@known_arguments
def sin(x: Tensor) -> Tensor:
    """Return the sine of each element, an angle in radians."""
    return apply_op(ops.Sin(), x)


@known_arguments
def cos(x: Tensor) -> Tensor:
    """Return the cosine of each element, an angle in radians."""
    return apply_op(ops.Cos(), x)


@known_arguments
def erf(x: Tensor) -> Tensor:
    """Return the error function of each element, 2/√π ∫ e^-t² dt from 0 to x."""
    return apply_op(ops.Erf(), x)


@known_arguments
def abs(x: Tensor) -> Tensor:
    """Return the absolute value of each element; its slope at 0 is 0."""
    return apply_op(ops.Abs(), x)


@known_arguments
def sign(x: Tensor) -> Tensor:
    """Return 1 for each element above 0, -1 below, and 0 at 0; its slope is 0."""
    return apply_op(ops.Sign(), x)


@known_arguments
def maximum(x: Tensor | float, y: Tensor | float) -> Tensor:
    """Return the greater of two values; where they are equal, each has half of the gradient."""
    return apply_elementwise(ops.Maximum(), x, y)


@known_arguments
def minimum(x: Tensor | float, y: Tensor | float) -> Tensor:
    """Return the lesser of two values; where they are equal, each has half of the gradient."""
    return apply_elementwise(ops.Minimum(), x, y)


@known_arguments
def clip(x: Tensor, low: Tensor | float | None = None, high: Tensor | float | None = None) -> Tensor:
    """Return each element, but at least `low` and at most `high`; None stands for no bound.

    The gradient goes to x where it is within the bounds, or on one of them, and to a bound elsewhere. Where
    `low` is above `high`, the result is `high`.
    """
    if low is None and high is None:
        raise at_users_line(
            OptionError("clip needs a bound", mend="gcn.clip(x, 0, 1), or high=1 alone"), layer="clip"
        )
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return _clip_by_values(x, low, high)

    def clipped(build: Builder, value: Value) -> Value:
        least = -math.inf if low is None else as_float(low)
        most = math.inf if high is None else as_float(high)
        return build(ops.Clip(least, most), value)

    return apply_function(clipped, "clip", x)


def _clip_by_values(x: Tensor, low: Tensor | float | None, high: Tensor | float | None) -> Tensor:
    def clipped(build: Builder, value: Value, *bounds: Value) -> Value:
        value, *rest = broadcast_together(build, "clip", value, *bounds)
        remaining = iter(rest)
        if low is not None:
            bound = next(remaining)
            value = build(ops.Select(), build(ops.Greater(), bound, value), bound, value)
        if high is not None:
            bound = next(remaining)
            value = build(ops.Select(), build(ops.Greater(), value, bound), bound, value)
        return value

    return apply_function(clipped, "clip", x, *(bound for bound in (low, high) if bound is not None))


@known_arguments
def where(condition: Tensor, x: Tensor | float, y: Tensor | float) -> Tensor:
    """Return x where a condition such as `x > 0` holds, and y elsewhere.

    Numbers beside a condition alone have the type of what it compares. What is not chosen has a gradient of
    0 times its slope: if that is infinite, NaN, so clip x before rather than after.
    """
    return apply_function(
        lambda build, *values: build(ops.Select(), *broadcast_together(build, "where", *values)),
        "where",
        condition,
        x,
        y,
    )


@known_arguments
def equal(x: Tensor | float, y: Tensor | float) -> Tensor:
    """Return whether two values are equal: x == y, which asks for each element. Use `~` for the contrary."""
    return apply_elementwise(ops.Equal(), x, y)


@known_arguments
def stop_gradient(x: Tensor) -> Tensor:
    """Return x, as a constant: no gradient goes through it."""
    return apply_op(ops.StopGradient(), x)
