"""Functions that move the elements of values, and compute nothing."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.dsl.axes import axes_of, axis_of, require_tensors
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.dense import flat
from graphcnn.dsl.layers.shape import reshaped
from graphcnn.dsl.mismatch import brought_together, sizes_along, unequal_axes
from graphcnn.dsl.tensor import Tensor, apply_function, apply_op, at_users_line
from graphcnn.errors import GraphcnnError, OptionError, ShapeError
from graphcnn.ir import BATCH, Value, format_shape
from graphcnn.ops.attributes import is_int


@known_arguments
def concatenate(*tensors: Tensor, axis: int = -1) -> Tensor:
    """Return tensors joined along one axis (the channels by default)."""
    if not tensors:
        raise at_users_line(OptionError("concatenate takes at least one value", mend="gcn.concatenate(x, y)"))
    _require_values("concatenate", tensors)
    along = axes_of("concatenate", tensors[0], axis)[0]

    def joined(build: Builder, *values: Value) -> Value:
        _require_alike(build, along, values)
        return build(ops.Concatenate(along), *values)

    return apply_function(joined, "concatenate", *tensors)


def _require_values(name: str, given: tuple[object, ...]) -> None:
    """Raise OptionError, at the user's line, for a list of values, and for an axis that is not named."""
    *values, last = given
    if values and is_int(last, -9):
        values_are = "*values" if isinstance(values[0], list | tuple) else "x, y"
        raise at_users_line(
            OptionError(f"{name} is given {last}, not a value", mend=f"gcn.{name}({values_are}, axis={last})")
        )
    require_tensors(name, *given)


def _require_alike(build: Builder, along: int, values: tuple[Value, ...]) -> None:
    """Raise ShapeError for values that differ along other axes than this one."""
    wrong = [axis for axis in unequal_axes(values) if axis != along]
    if not wrong:  # where they have different numbers of axes, the op says so
        return
    first = values[0].type
    other = next(v.type for v in values if any(v.type.shape[axis] != first.shape[axis] for axis in wrong))
    mend = brought_together(first, other, is_broadcast=False, channels=False) if along == 3 else ""
    raise ShapeError(
        f"concatenate joins along axis {along}, and the values differ along others",
        facts=[*(sizes_along(build, axis - first.rank, values) for axis in wrong), _shapes(values)],
        mend=mend or "crop, pad or project them to shapes that differ in this axis alone",
    )


def _shapes(values: tuple[Value, ...]) -> str:
    return f"their shapes: {', '.join(format_shape(value.type.shape) for value in values)}"


@known_arguments
def stack(*tensors: Tensor, axis: int = -1) -> Tensor:
    """Return tensors of one shape side by side along a new axis, which is number `axis` of the result.

    Axis 0 is the batch; by default, the new axis is the last one.
    """
    if not tensors:
        raise at_users_line(OptionError("stack takes at least one value", mend="gcn.stack(x, y)"))
    _require_values("stack", tensors)
    type = tensors[0].type
    if not is_int(axis, -type.rank - 1) or axis > type.rank or axis % (type.rank + 1) < type.has_batch:
        raise at_users_line(
            OptionError(
                f"axis={axis!r} is no place for a new axis beside those of {type}",
                mend=f"new axes are {int(type.has_batch)} to {type.rank}, or -1 for the last one",
            ),
            layer="stack",
        )
    place = axis % (type.rank + 1)

    def side_by_side(build: Builder, *values: Value) -> Value:
        different = [value for value in values if value.type != values[0].type]
        if different:
            first, other = values[0].type, different[0].type
            raise ShapeError(
                f"stack takes values of one type, not {first} and {other}",
                facts=[sizes_along(build, axis - first.rank, values) for axis in unequal_axes(values)],
                mend=brought_together(first, other, is_broadcast=False, channels=True)
                or "gcn.concatenate joins along an axis that is there already",
            )
        shape = (*type.shape[:place], 1, *type.shape[place:])
        return build(ops.Concatenate(place), *(build(ops.Reshape(shape), value) for value in values))

    return apply_function(side_by_side, "stack", *tensors)


@known_arguments
def split(x: Tensor, parts: int | tuple[int, ...], axis: int = -1) -> tuple[Tensor, ...]:
    """Return the parts of a value along one axis (the channels by default).

    parts: how many, all alike, as in `numpy.split`; or the size of each, which add up to the axis.
    """
    along = axis_of("split", x, axis)
    if x.type.shape[along] == BATCH:
        raise at_users_line(
            OptionError(
                f"axis {along} of {x.type} is the batch, which is not split",
                mend="gcn.split(x, parts, axis=-1)",
            ),
            layer="split",
        )
    try:
        sizes = _sizes(x.type.static(along), parts)
    except GraphcnnError as error:
        raise at_users_line(error, layer="split") from None
    found, before = [], 0
    for size in sizes:
        widths = [(0, 0)] * x.type.rank
        widths[along] = (before, sum(sizes) - before - size)
        found.append(apply_op(ops.Crop(tuple(widths)), x))
        before += size
    return tuple(found)


def _sizes(size: int, parts: object) -> tuple[int, ...]:
    if is_int(parts, 1):
        assert isinstance(parts, int)
        if size % parts:
            raise OptionError(
                f"an axis of {size} has no {parts} equal parts",
                mend=f"say how long each is: parts={(size // 2, size - size // 2)}",
            )
        return (size // parts,) * parts
    if isinstance(parts, tuple | list) and parts and all(is_int(part, 1) for part in parts):
        if sum(parts) != size:
            raise OptionError(
                f"parts={parts!r:.60} add up to {sum(parts)}, and the axis is {size} long",
                mend=f"for example parts={(size - 1, 1)}",
            )
        return tuple(parts)
    raise OptionError(
        f"parts={parts!r:.60} is neither a number of parts nor a tuple of their sizes",
        mend=f"parts=2, or parts={(1, size - 1)}",
    )


@known_arguments
def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return each sample's elements in row-major order under another shape (without the batch axis).

    One size may be -1, for what the others leave.
    """
    require_tensors("reshape", x)
    return apply_function(lambda build, value: reshaped(build, value, shape), "reshape", x)


@known_arguments
def flatten(x: Tensor) -> Tensor:
    """Return [N, H, W, C] as [N, H·W·C]."""
    return apply_function(flat, "flatten", x)


@known_arguments
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
