"""Functions that fold axes of a value away. Axis 0 is the batch; negative axes count from the back."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.dsl.axes import axes_of, axis_of
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.tensor import Tensor, apply_function, apply_op, at_users_line
from graphcnn.errors import OptionError
from graphcnn.ir import Value


@known_arguments
def sum(x: Tensor, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    """Return the sum over axes (over all of them by default, the batch included).

    keepdims: whether the axes stay, with size 1.
    """
    return apply_op(ops.Sum(axes_of("sum", x, axes), _keeps("sum", keepdims)), x)


@known_arguments
def mean(x: Tensor, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    """Return the mean over axes (over all of them by default, the batch included).

    keepdims: whether the axes stay, with size 1.
    """
    return apply_op(ops.Mean(axes_of("mean", x, axes), _keeps("mean", keepdims)), x)


@known_arguments
def max(x: Tensor, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    """Return the greatest element along axes (of all by default); equal ones share the gradient alike.

    keepdims: whether the axes stay, with size 1. NaN where an element is NaN.
    `gcn.maximum` compares two values.
    """
    return apply_op(ops.Max(axes_of("max", x, axes), _keeps("max", keepdims)), x)


@known_arguments
def min(x: Tensor, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    """Return the least element along axes (of all by default); equal ones share the gradient alike.

    keepdims: whether the axes stay, with size 1. NaN where an element is NaN.
    """
    op = ops.Max(axes_of("min", x, axes), _keeps("min", keepdims))

    def least(build: Builder, value: Value) -> Value:
        return build(ops.Negate(), build(op, build(ops.Negate(), value)))

    return apply_function(least, "min", x)


@known_arguments
def var(
    x: Tensor,
    axes: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
    correction: float = 0,
) -> Tensor:
    """Return the variance along axes (over all of them by default, the batch included).

    It is Σ(x - mean)² / (n - correction), where n is the number of elements along the axes. By default it is
    divided by n, as in NumPy and in batch normalisation; `correction=1`, PyTorch's default, is unbiased.
    keepdims: whether the axes stay, with size 1.
    """
    folded, keep = axes_of("var", x, axes), _keeps("var", keepdims)
    if isinstance(correction, bool) or not isinstance(correction, int | float):
        raise at_users_line(
            OptionError(f"correction={correction!r} is not a number", mend="correction=1"), layer="var"
        )

    def variance(build: Builder, value: Value) -> Value:
        mean = build(ops.Mean(folded, keep=True), value)
        deviation = build(ops.Subtract(), value, build(ops.Broadcast(value.type.shape), mean))
        square = build(ops.Multiply(), deviation, deviation)
        if not correction:
            return build(ops.Mean(folded, keep), square)
        count = build(ops.Count(folded), value)
        degrees = build(ops.Subtract(), count, ops.constant(build, correction, value.type))
        return build(ops.Divide(), build(ops.Sum(folded, keep), square), degrees)

    return apply_function(variance, "var", x)


@known_arguments
def argmax(x: Tensor, axis: int = -1, keepdims: bool = False) -> Tensor:
    """Return the index of the greatest element along one axis (the channels by default), of int64.

    Of equal ones it is the first, and the first NaN where there is one. It has no gradient.
    keepdims: whether the axis stays, with size 1.
    """
    along, keep = axis_of("argmax", x, axis), _keeps("argmax", keepdims)
    shape = (*x.type.shape[:along], 1, *x.type.shape[along + 1 :])

    def place(build: Builder, value: Value) -> Value:
        index = build(ops.ArgMax(along), value)
        return build(ops.Reshape(shape), index) if keep else index

    return apply_function(place, "argmax", x)


def _keeps(name: str, keepdims: object) -> bool:
    if not isinstance(keepdims, bool):
        raise at_users_line(
            OptionError(f"keepdims={keepdims!r} is neither True nor False", mend="keepdims=True"), layer=name
        )
    return keepdims
