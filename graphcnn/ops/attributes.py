"""Checks of op attributes. They hold for attributes from a user's call and from a file alike."""

from __future__ import annotations

import sys
from typing import TypeAlias

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import TensorType

Pair: TypeAlias = tuple[int, int]
"""(vertical, horizontal)"""

Padding: TypeAlias = tuple[Pair, Pair]
"""((top, bottom), (left, right))"""

NO_PADDING: Padding = ((0, 0), (0, 0))


def is_int(value: object, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def check_pair(name: str, value: object, minimum: int) -> None:
    """Raise OptionError unless value is a pair of ints of at least `minimum`."""
    if not (isinstance(value, tuple) and len(value) == 2 and all(is_int(item, minimum) for item in value)):
        raise OptionError(f"{name}={value!r} is not a pair of integers of at least {minimum}")


def check_padding(name: str, value: object) -> None:
    """Raise OptionError unless value is ((top, bottom), (left, right)) of ints of at least 0."""
    if not (isinstance(value, tuple) and len(value) == 2):
        raise OptionError(f"{name}={value!r} is not ((top, bottom), (left, right))")
    for item in value:
        check_pair(name, item, 0)


def check_widths(name: str, value: object) -> None:
    """Raise OptionError unless value is ((before, after), ...) of ints of at least 0, a pair per axis."""
    if not isinstance(value, tuple):
        raise OptionError(f"{name}={value!r} is not a tuple of pairs, one per axis")
    for item in value:
        check_pair(name, item, 0)


def check_axes(name: str, axes: object) -> None:
    """Raise OptionError unless axes is a tuple of distinct ints of at least 0, in ascending order."""
    if not (
        isinstance(axes, tuple) and all(is_int(axis, 0) for axis in axes) and sorted(set(axes)) == list(axes)
    ):
        raise OptionError(f"{name}={axes!r} is not an ascending tuple of distinct axes")


def require_axes(axes: tuple[int, ...], type: TensorType) -> None:
    """Raise ShapeError unless the tensor has all of these axes."""
    if axes and axes[-1] >= type.rank:
        raise ShapeError(
            f"axis {axes[-1]} does not exist in {type}",
            mend=f"its axes are 0 to {type.rank - 1}; axis 0 is the batch where the shape begins with N",
        )


def require_float(op: str, *types: TensorType) -> None:
    """Raise ShapeError unless all types are of one floating-point element type."""
    if not all(type.is_float for type in types) or len({type.dtype for type in types}) > 1:
        found = ", ".join(map(str, types))
        raise ShapeError(
            f"{op} takes tensors of one floating-point type, not {found}",
            mend='give all inputs one precision: gcn.Input(shape, dtype="float32"), or compile(dtype=...)',
        )


def require_rank(op: str, what: str, type: TensorType, rank: int, axes: str) -> None:
    """Raise ShapeError unless the tensor has this rank; `axes` names them, as in "N, H, W, C"."""
    if type.rank != rank:
        raise ShapeError(
            f"{op} needs {what} of shape [{axes}], but got {type}, which has {type.rank} axes",
            mend="reshape it: gcn.reshape(x, shape of one sample), or gcn.flatten(x) for [N, C]",
        )


def fits_float(number: float) -> bool:
    """Whether a number can be a floating-point number: infinities and NaN are, but not 10**400."""
    return not isinstance(number, int) or abs(number) <= sys.float_info.max
