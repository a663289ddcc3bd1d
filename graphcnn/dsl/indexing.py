"""What `x[...]` means: NumPy's basic indexing, for the axes of a sample."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from types import EllipsisType
from typing import SupportsIndex, TypeAlias

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.errors import OptionError
from graphcnn.ir import BATCH, Dim, TensorType, Value

Item: TypeAlias = SupportsIndex | slice | EllipsisType | None
Index: TypeAlias = Item | tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class _Selection:
    """What stays of an axis: `count` places, from the first one on; with `drops`, the axis goes."""

    first: int
    count: int
    step: int = 1
    drops: bool = False


def indexed(build: Builder, value: Value, index: Index) -> Value:
    """Append x[index]: slices, also with steps and backwards, places, `...` and None, which adds an axis.

    The batch is taken whole, by `:`. Raises OptionError for places that do not exist, and for arrays.
    """
    items = _items(value.type, index)
    selected: list[_Selection | None] = []
    shape: list[Dim] = []
    for item in items:
        if item is None:
            shape.append(1)
            continue
        axis = len(selected)
        found = _selection(value.type, axis, item)
        selected.append(found)
        if found is None:
            shape.append(value.type.shape[axis])
        elif not found.drops:
            shape.append(found.count)
    result = _cropped(build, value, selected)
    for axis, selection in enumerate(selected):
        if selection is not None and selection.step != 1:
            run = (selection.first, selection.count, selection.step)
            result = build(ops.Take(axis, (run,)), result)
    return result if result.type.shape == tuple(shape) else build(ops.Reshape(tuple(shape)), result)


def _items(type: TensorType, index: Index) -> list[SupportsIndex | slice | None]:
    """Return an item for each axis, and None for each new one."""
    given = list(index) if isinstance(index, tuple) else [index]
    dots = [place for place, item in enumerate(given) if item is Ellipsis]
    named = sum(item is not None and item is not Ellipsis for item in given)
    if named > type.rank or len(dots) > 1:
        raise OptionError(
            f"x[{_shown(given)}] does not fit {type}",
            facts=[f"{named} axes are indexed, of {type.rank}" if len(dots) < 2 else "`...` stands twice"],
            mend=f"x[{', '.join([':'] * type.rank)}] is all of it" if type.rank else "a scalar has no axes",
        )
    rest = [slice(None)] * (type.rank - named)
    place = dots[0] if dots else len(given)
    return [*given[:place], *rest, *given[place + 1 :]]  # type: ignore[list-item]


def _shown(items: list[Item]) -> str:
    return ", ".join("..." if item is Ellipsis else f"{item!r:.40}" for item in items)


def _selection(type: TensorType, axis: int, item: SupportsIndex | slice) -> _Selection | None:
    """Return what an item selects of an axis; None where that is all of it."""
    size = type.shape[axis]
    if size == BATCH:
        if isinstance(item, slice) and item == slice(None):
            return None
        raise OptionError(
            f"axis {axis} of {type} is the batch, and is taken whole",
            mend=f"x[{', '.join([*[':'] * (axis + 1), '0'])}] is a place along the next axis; cut the batch "
            "where the images are: images[:8]",
        )
    assert isinstance(size, int)
    if isinstance(item, slice):
        return _of_slice(type, axis, size, item)
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise OptionError(
            f"{item!r:.60} cannot index axis {axis} of {type}",
            mend="give a slice such as 1:-1 or ::2, or a place such as 3; gcn.where picks by a condition",
        )
    place = operator.index(item)
    if not -size <= place < size:
        raise OptionError(
            f"place {place} is beyond axis {axis} of {type}", mend=f"places are {-size} to {size - 1}"
        )
    return _Selection(place % size, 1, drops=True)


def _of_slice(type: TensorType, axis: int, size: int, item: slice) -> _Selection | None:
    try:
        places = range(*item.indices(size))
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"{item!r:.60}: {error}", mend="bounds and steps are integers, as in x[:, 1:-1]"
        ) from None
    if not places:
        raise OptionError(
            f"the slice {_colons(item)} of axis {axis} of {type} is empty",
            mend=f"the places are 0 to {size - 1}",
        )
    if len(places) == size and places[0] == 0:
        return None
    step = places.step if len(places) > 1 else 1
    return _Selection(places[0], len(places), step)


def _colons(item: slice) -> str:
    parts = [item.start, item.stop, *([] if item.step is None else [item.step])]
    return ":".join("" if part is None else str(part) for part in parts)


def _cropped(build: Builder, value: Value, selected: list[_Selection | None]) -> Value:
    """Append the crop that all selections of neighbouring places are together."""
    widths = [(0, 0)] * value.type.rank
    for axis, selection in enumerate(selected):
        if selection is not None and selection.step == 1:
            behind = value.type.static(axis) - selection.first - selection.count
            widths[axis] = (selection.first, behind)
    return build(ops.Crop(tuple(widths)), value) if any(map(any, widths)) else value
