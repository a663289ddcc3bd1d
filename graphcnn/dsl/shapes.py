"""Functions that move the elements of values, and compute nothing."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.dsl.axes import axes_of, require_tensors
from graphcnn.dsl.layers.dense import flat
from graphcnn.dsl.tensor import Tensor, apply_function, apply_op, at_users_line
from graphcnn.errors import OptionError
from graphcnn.ir import Dim


def concatenate(*tensors: Tensor, axis: int = -1) -> Tensor:
    """Return tensors joined along one axis (the channels by default)."""
    if not tensors:
        raise at_users_line(OptionError("concatenate takes at least one value", mend="gcn.concatenate(x, y)"))
    require_tensors("concatenate", *tensors)
    return apply_op(ops.Concatenate(axes_of("concatenate", tensors[0], axis)[0]), *tensors)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return each sample's elements in row-major order under another shape (without the batch axis)."""
    require_tensors("reshape", x)
    full: tuple[Dim, ...] = ("N", *shape) if x.type.has_batch else tuple(shape)
    return apply_op(ops.Reshape(full), x)


def flatten(x: Tensor) -> Tensor:
    """Return [N, H, W, C] as [N, H·W·C]."""
    return apply_function(flat, "flatten", x)


def transpose(x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """Return the value with its axes in another order: axis i of the result is axis `axes[i]` of x.

    Axis 0 is the batch, and all axes are given; by default, the last two are exchanged.
    """
    require_tensors("transpose", x)
    rank = x.type.rank
    if axes is None:
        if rank < 2:
            raise at_users_line(
                OptionError(f"{x.type} has no two axes to exchange", mend="gcn.transpose(x, axes)"),
                layer="transpose",
            )
        return apply_op(ops.Transpose.of_matrices(rank), x)
    given = tuple(axes) if isinstance(axes, tuple | list) else (axes,)
    if len(given) != rank or len(axes_of("transpose", x, given)) != rank:
        raise at_users_line(
            OptionError(
                f"axes={axes!r} is not an order of the {rank} axes of {x.type}",
                mend=f"give each of 0 to {rank - 1} once: gcn.transpose(x, {tuple(range(rank))})",
            ),
            layer="transpose",
        )
    return apply_op(ops.Transpose(tuple(axis % rank for axis in given)), x)
