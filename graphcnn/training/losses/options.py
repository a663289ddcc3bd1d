"""Arguments of losses: checked where they are given, at the user's line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import TensorType, users_line
from graphcnn.ops.attributes import fits_float


def require_number(name: str, value: object, allowed: Callable[[float], bool], range: str) -> None:
    """Raise OptionError unless the value is a finite number that is allowed; `range` says which are."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and fits_float(value)
    if not is_number or not np.isfinite(value) or not allowed(value):  # type: ignore[arg-type,call-overload]
        refuse(f"{name}={value!r:.60} is not a number {range}", f"give a {name} {range}")


def require_flag(name: str, value: object) -> None:
    """Raise OptionError unless the value is True or False."""
    if not isinstance(value, bool):
        refuse(f"{name}={value!r:.60} is neither True nor False", f"{name}=True")


def as_weights(name: str, given: object) -> tuple[float, ...]:
    """Return weights as a tuple of floats. Raises OptionError unless they are numbers of at least 0."""
    try:
        array = np.asarray(given)
    except ValueError:
        array = np.empty(0)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
        refuse(
            f"{name}={given!r:.60} is not a list of numbers", f"{name}=[1.0, 2.5, 1.0], one for each class"
        )
    if not np.isfinite(array).all() or array.min() < 0:
        refuse(f"{name}={given!r:.60} are not finite numbers of at least 0", f"{name}=[1.0, 2.5, 1.0]")
    return tuple(map(float, array))


def require_count(name: str, weights: tuple[float, ...], output: TensorType) -> None:
    """Raise OptionError unless there is a weight for each of the outputs along the last axis."""
    classes = output.static(output.rank - 1)
    if len(weights) != classes:
        raise OptionError(
            f"{name} has {len(weights)} numbers, but the network has {classes} outputs",
            facts=[f"the network's output is {output}"],
            mend=f"give {classes} numbers, one for each output in their order",
        )


def require_outputs(
    loss: str, output: TensorType, least: int, axes: str, last: str = "gcn.Flatten() and gcn.Dense(classes)"
) -> None:
    """Raise ShapeError unless the output has at least so many axes.

    axes: what they are. last: layers whose output has them.
    """
    if output.rank < least:
        raise ShapeError(
            f"{loss} takes outputs of shape {axes}, but the network's output is {output}",
            mend=f"end the network with {last}",
        )


def refuse(problem: str, mend: str) -> None:
    """Raise OptionError at the user's line."""
    place = users_line()
    error = OptionError(problem, mend=mend)
    error.located(file=place.file, line=place.line)
    raise error
