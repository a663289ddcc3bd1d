"""The filters of an input gradient, which are those of the layer, turned and with channels and filters
exchanged (Eq. 21)."""

from __future__ import annotations

from typing import Final

from graphcnn.ir import TensorType, Value
from graphcnn.ops import Rot180, Transpose
from graphcnn.ops.convolution import FILTER_AXES
from graphcnn.rewrite import Match
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.target import Target

TURNED: Final = Rot180(FILTER_AXES), Transpose((0, 1, 3, 2))
"""How filters become those of an input gradient: turned, and channels exchanged with filters."""


def unturned(match: Match, filters: Value, target: Target) -> Value | None:
    """Return the filters of which these are the turned ones, if whoever copies them can turn them."""
    return turned_from(match, filters) if fills_vectors(filters.type, target) else None


def fills_vectors(filters: TensorType, target: Target) -> bool:
    """Whether channels and filters fill vectors, so that they change places square by square."""
    lanes = target.lanes(SIZES[ITEMS[filters.dtype]])
    return filters.static(2) % lanes == 0 and filters.static(3) % lanes == 0


def turned_from(match: Match, filters: Value) -> Value | None:
    """Return the filters of which these are the turned ones."""
    for op in reversed(TURNED):
        node = match.definition(filters)
        if node.op != op:
            return None
        (filters,) = node.operands
    return filters
