"""Reshape: which shape it asks for, and in which order of the axes it is done.

A shape may count the batch and other axes along one, as 12 heads of each of N samples; the network then holds
the value with these axes apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphcnn.interchange.onnx.reading.multiples import of_batch, per_sample
from graphcnn.interchange.onnx.reading.step import reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way
from graphcnn.interchange.onnx.reading.values import Merged, Order, Variable
from graphcnn.ir import BATCH, Dim, format_shape


@dataclass(frozen=True, slots=True)
class Target:
    """A shape whose axes are those of the file, but for the batch, which has an axis of its own.

    groups: how many axes here each axis of the file is.
    """

    shape: tuple[Dim, ...]
    groups: tuple[int, ...]


def target_of(shape: tuple[Dim, ...], sizes: Sequence[Any], batch: int | None) -> Target:
    """Return what a value becomes of which a Reshape asks for these sizes; -1 is what the others leave.

    batch: what the file has for the batch, where it is a number: multiples of it may stand for the batch.
    Raises InterchangeError for sizes that do not fit.
    """
    if sizes.count(-1) > 1 or any(per_sample(size) is None and size < -1 for size in sizes):
        raise in_the_way(f"its shape is {format_shape(tuple(sizes))}")
    if 0 in sizes:
        raise in_the_way(f"its shape {format_shape(tuple(sizes))} is empty; axes have a size of at least 1")
    if BATCH not in shape:
        return _without_batch(shape, sizes)
    place = shape.index(BATCH)
    before, after = _count(shape[:place]), _count(shape[place + 1 :])
    along = _axis_of_batch(before, after, sizes, batch)
    if along is None:
        raise in_the_way(
            f"its shape {format_shape(tuple(sizes))} mixes the samples of a batch: "
            f"it reshapes {format_shape(shape)}"
        )
    others: list[Any] = [*sizes[:along], 1, *sizes[along + 1 :]]
    if -1 in others:
        count = per_sample(sizes[along]) or sizes[along] // (batch or 1)
        others[others.index(-1)] = before * after // (-math.prod(others) * count)
    front, back = before // math.prod(others[:along]), after // math.prod(others[along:])
    parts: tuple[Dim, ...] = (front, BATCH, back)
    axes = [size for size in parts if size != 1]
    groups = [1] * len(sizes)
    groups[along] = len(axes)
    return Target((*others[:along], *axes, *others[along + 1 :]), tuple(groups))


def _without_batch(shape: tuple[Dim, ...], sizes: Sequence[Any]) -> Target:
    total, found = _count(shape), list(sizes)
    if any(per_sample(size) is not None for size in sizes):
        raise in_the_way(f"{format_shape(shape)} has no shape {format_shape(tuple(sizes))}")
    if -1 in found:
        known = -math.prod(found)
        if not known or total % known:
            raise in_the_way(f"{format_shape(shape)} has no shape {format_shape(tuple(sizes))}")
        found[found.index(-1)] = total // known
    return Target(tuple(found), (1,) * len(found))


def _count(sizes: Sequence[Dim]) -> int:
    return math.prod(int(size) for size in sizes if size != BATCH)


def _axis_of_batch(before: int, after: int, sizes: Sequence[Any], batch: int | None) -> int | None:
    """Return along which axis of a shape the batch is counted; None where samples would be mixed.

    before, after: how many places are in front of the batch and behind it now.
    """

    def fits(axis: int, each: int | None) -> bool:
        """Whether the axes in front and behind are whole parts of those now, and leave `each`."""
        front, back = math.prod(map(abs, sizes[:axis])), math.prod(map(abs, sizes[axis + 1 :]))
        has_unknown = -1 in sizes and sizes[axis] != -1
        if not front or not back or (has_unknown and each is None):
            return False
        if has_unknown:
            unknown, rest = divmod(before * after, front * back * (each or 1))
            is_in_front = sizes.index(-1) < axis
            front, back = (front * unknown, back) if is_in_front else (front, back * unknown)
            if rest:
                return False
        (count_before, rest_before), (count_after, rest_after) = divmod(before, front), divmod(after, back)
        return not rest_before and not rest_after and each in (None, count_before * count_after)

    named = [axis for axis, size in enumerate(sizes) if per_sample(size) is not None]
    if named:
        return named[0] if len(named) == 1 and fits(named[0], per_sample(sizes[named[0]])) else None
    open_one = sizes.index(-1) if -1 in sizes else None
    if open_one is not None and fits(open_one, 1):
        return open_one
    multiples = [axis for axis, size in enumerate(sizes) if batch and size > 0 and size % batch == 0]
    fitting = [axis for axis in multiples if fits(axis, sizes[axis] // (batch or 1))]
    alone = [axis for axis in fitting if sizes[axis] == batch]
    if not alone and open_one is not None and fits(open_one, None):
        return open_one
    return min(alone or fitting, key=lambda axis: _unlikely(axis, sizes, before), default=None)


def _unlikely(axis: int, sizes: Sequence[int], before: int) -> tuple[bool, bool]:
    """Return what speaks against an axis, if several may count the batch: where that is 1, all may.

    Features are last, and others are counted within each sample.
    """
    return axis == len(sizes) - 1, before != math.prod(map(abs, sizes[:axis]))


def reshape_to(x: Variable, shape: tuple[Dim, ...]) -> Variable:
    """Return a value in another shape, with its axes in about the order in which they are.

    Axes that become others together are brought to where the last of them is, in the file's order; all others
    stay where they are.
    """
    order = x.any_order
    blocks = list(_blocks(x.shape, shape))
    places = {axis: place for place, axis in enumerate(order)}
    last = [max((places[axis] for axis in block.whole(x.shape)), default=-1) for block in blocks]
    for number, place in enumerate(last):
        if place < 0:  # of sizes 1 alone: after what is in front of it
            last[number] = last[number - 1] if number else -1
    ranked = [block for _, block in sorted(zip(last, blocks, strict=True), key=lambda pair: pair[0])]
    taken: Order = tuple(axis for block in ranked for axis in block.axes)
    made: Order = tuple(axis for block in ranked for axis in block.results)
    return Variable.of(reshaped(x.at(taken), tuple(shape[axis] for axis in made)), made)


@dataclass(frozen=True, slots=True)
class _Block:
    """Neighbouring axes that become others, which have as many places."""

    axes: range
    results: range

    def whole(self, shape: tuple[Dim, ...]) -> list[int]:
        """Return the axes that have more than one place."""
        return [axis for axis in self.axes if shape[axis] != 1]


def _blocks(shape: tuple[Dim, ...], target: tuple[Dim, ...]) -> Iterator[_Block]:
    """Yield the smallest blocks; those of size 1 are with what is in front of them."""
    ends, others = _products(shape), _products(target)
    common = sorted(set(ends) & set(others))
    start, begin = 0, 0
    for product in common[1:]:
        end = len(ends) - ends[::-1].index(product) - 1
        stop = len(others) - others[::-1].index(product) - 1
        yield _Block(range(start, end), range(begin, stop))
        start, begin = end, stop
    if start < len(shape) or begin < len(target):
        yield _Block(range(start, len(shape)), range(begin, len(target)))


_ANY_BATCH: Final = 2**61 - 1
"""A prime that no size has as a factor, for the batch."""


def _products(shape: tuple[Dim, ...]) -> list[int]:
    """Return how many places the first axes have: none of them, one, two."""
    products = [1]
    for size in shape:
        products.append(products[-1] * (_ANY_BATCH if size == BATCH else int(size)))
    return products


def shape_in_file(shape: tuple[Dim, ...], groups: Sequence[int]) -> tuple[Any, ...]:
    """Return the sizes of groups of axes."""
    sizes: list[Any] = []
    start = 0
    for count in groups:
        group = shape[start : start + count]
        number = _count(group)
        sizes.append(of_batch(number) if BATCH in group else number)
        start += count
    return tuple(sizes)


def merged(apart: Variable, groups: tuple[int, ...]) -> Variable:
    """Return a value whose axes are groups of those of another."""
    if all(count == 1 for count in groups):
        return apart
    return Merged(shape_in_file(apart.shape, groups), apart.dtype, apart=apart, groups=groups)
