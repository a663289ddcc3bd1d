"""What functions ask of their arguments: values of a network, and axes that these have."""

from __future__ import annotations

from graphcnn.dsl.tensor import Tensor, at_users_line
from graphcnn.errors import OptionError


def axes_of(name: str, x: Tensor, axes: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the axes in ascending order, counted from the front; None stands for all of them."""
    require_tensors(name, x)
    rank = len(x.shape)
    if axes is None:
        return tuple(range(rank))
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    wrong = [axis for axis in given if not isinstance(axis, int) or not -rank <= axis < rank]
    if wrong or len({axis % rank for axis in given}) < len(given):
        raise at_users_line(
            OptionError(
                f"axes={axes!r} are not distinct axes of {x.type}",
                mend=f"axes are {-rank} to {rank - 1}; 0 is the batch" if rank else "a scalar has no axes",
            ),
            layer=name,
        )
    return tuple(sorted(axis % rank for axis in given))


def axis_of(name: str, x: Tensor, axis: int) -> int:
    """Return one axis, counted from the front."""
    require_tensors(name, x)
    rank = len(x.shape)
    if not isinstance(axis, int) or isinstance(axis, bool) or not -rank <= axis < rank:
        raise at_users_line(
            OptionError(
                f"axis={axis!r} is not an axis of {x.type}",
                mend=f"axes are {-rank} to {rank - 1}; 0 is the batch" if rank else "a scalar has no axes",
            ),
            layer=name,
        )
    return axis % rank


def require_tensors(name: str, *tensors: object) -> None:
    """Raise OptionError, at the user's line, for what is no value of a network."""
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise at_users_line(
                OptionError(
                    f"{name} takes values of a network, not {type(tensor).__name__}",
                    mend=f"gcn.{name}(*values)"
                    if isinstance(tensor, list | tuple)
                    else f"gcn.{name}(x), where x = gcn.Input(shape) or the result of a layer",
                )
            )
