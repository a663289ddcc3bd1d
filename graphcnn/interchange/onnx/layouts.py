"""In which order the axes of a tensor of a file stand, compared with those of the graph's value.

A layout is a permutation: axis i of the file's tensor is axis `layout[i]` of the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

from graphcnn.ir import Dim

Layout: TypeAlias = tuple[int, ...]
Images: TypeAlias = Literal["NCHW", "NHWC"]
IMAGES: Final[tuple[Images, ...]] = get_args(Images)

CHANNELS_FIRST: Final[Layout] = (0, 3, 1, 2)
"""Images [N, H, W, C] as [N, C, H, W]."""
CHANNELS_OUTSIDE: Final[Layout] = (3, 0, 1, 2)
"""Images [N, H, W, C] as [C, N, H, W]: the samples are the channels of what sums over the batch."""
FILTERS_FIRST: Final[Layout] = (3, 2, 0, 1)
"""Filters [k1, k2, C / groups, D] as [D, C / groups, k1, k2]."""
CHANNELS_THEN_FILTERS: Final[Layout] = (2, 3, 0, 1)
"""Filters [k1, k2, C, D] as [C, D, k1, k2]."""


def plain(rank: int) -> Layout:
    """Return the order that the graph itself has."""
    return tuple(range(rank))


def turned(shape: Sequence[Dim], layout: Layout) -> tuple[Dim, ...]:
    """Return a value's shape in a layout."""
    return tuple(shape[axis] for axis in layout)


def between(have: Layout, wanted: Layout) -> list[int]:
    """Return the permutation that brings a tensor from one layout to another."""
    return [have.index(axis) for axis in wanted]


def of_transposed(layout: Layout, permutation: Sequence[int]) -> Layout:
    """Return the layout of what a transposition makes of a value, in the tensor that holds the value."""
    return tuple(permutation.index(axis) for axis in layout)


def before_transposed(layout: Layout, permutation: Sequence[int]) -> Layout:
    """Return the layout of a value in which its transposed one has the given layout."""
    return tuple(permutation[axis] for axis in layout)


def without(layout: Layout, axes: Sequence[int]) -> Layout:
    """Return the layout of what is left of a value when axes of it are folded away."""
    kept = [axis for axis in layout if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def keeps_order(shape: Sequence[Dim], layout: Layout) -> bool:
    """Return whether the elements stand in the graph's order: whether axes of size 1 alone have moved."""
    moved = [axis for axis in layout if shape[axis] != 1]
    return moved == sorted(moved)
