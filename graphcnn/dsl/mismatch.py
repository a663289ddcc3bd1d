"""Values whose shapes do not fit: which axes differ, what made them, and what brings them together."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.ir import Emitter, TensorType, Value


def sizes_along(emit: Emitter, axis: int, values: Sequence[Value]) -> str:
    """Return what different sizes values have along an axis: `axis 1: 30 (Upsample2d, line 9) and 31 (...)`.

    axis: counted from the end, below 0. Values without the axis are left out.
    """
    rank = max(value.type.rank for value in values)
    made: dict[object, str] = {}
    for value in values:
        if value.type.rank >= -axis and value.type.shape[axis] not in made:
            made[value.type.shape[axis]] = _maker(emit, value)
    return f"axis {rank + axis}: " + " and ".join(f"{size}{maker}" for size, maker in made.items())


def _maker(emit: Emitter, value: Value) -> str:
    """Return which layer made a value, and where: ` (conv1, line 5)`."""
    origin = emit.graph.node(value.key).origin
    said = [origin.layer, f"line {origin.line}" if origin.line else ""]
    return f" ({', '.join(filter(None, said))})" if any(said) else ""


def unequal_axes(values: Sequence[Value]) -> list[int]:
    """Return the axes along which values differ; none for values with different numbers of axes."""
    shapes = [value.type.shape for value in values]
    if len(set(map(len, shapes))) > 1:
        return []
    return [axis for axis, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1]


def brought_together(first: TensorType, second: TensorType, *, is_broadcast: bool, channels: bool) -> str:
    """Return what makes images of one shape of two: x is the smaller, y the larger; "" for other values.

    is_broadcast: whether an axis of size 1 fits any. channels: whether these are to be as many, too.
    """
    if first.rank != 4 or second.rank != 4 or not first.has_batch or not second.has_batch:
        return ""
    small, large = sorted((first, second), key=lambda type: type.static(1) * type.static(2))
    pairs = zip(small.shape, large.shape, strict=True)
    is_other = [a != b and not (is_broadcast and 1 in (a, b)) for a, b in pairs]
    said = []
    if is_other[1] or is_other[2]:
        stride = -(-large.static(1) // small.static(1))
        size = -(-large.static(1) // stride), -(-large.static(2) // stride)
        if is_broadcast and stride > 1 and size == small.shape[1:3]:
            return f"with y the larger, gcn.Conv2d({small.shape[3]}, 1, stride={stride})(y)"
        same = 'padding="same" keeps the size; or ' * is_broadcast
        said.append(f"{same}with x the smaller and y the larger, {_of_one_size(small, large)}")
    if channels and is_other[3]:
        what = f"a 1x1 Conv2d gives y, with {large.shape[3]} channels, as many as x"
        said.append(f"{what}: gcn.Conv2d({small.shape[3]}, 1)(y)")
    return "; ".join(said)


def _of_one_size(small: TensorType, large: TensorType) -> str:
    """Return what brings images to one size, of which the first have fewer pixels."""
    (height, width), (rows, columns) = ((type.static(1), type.static(2)) for type in (small, large))
    resized = f"gcn.resize2d(x, ({rows}, {columns}))"
    if height > rows or width > columns:
        return resized
    above, left = (rows - height) // 2, (columns - width) // 2
    sides = (above, rows - height - above), (left, columns - width - left)
    cropped = f"y[:, {above}:{above + height}, {left}:{left + width}]"
    return f"{resized}, gcn.pad(x, {sides}) or {cropped}"
