"""The filters of an input gradient, which are those of the layer, turned and with channels and filters
exchanged (Eq. 21)."""

from __future__ import annotations

from typing import Final

from graphcnn.ir import Value
from graphcnn.ops import Rot180, Transpose
from graphcnn.ops.convolution import FILTER_AXES
from graphcnn.rewrite import Match

TURNED: Final = Rot180(FILTER_AXES), Transpose((0, 1, 3, 2))
"""How filters become those of an input gradient: turned, and channels exchanged with filters."""


def unturned(match: Match, filters: Value) -> Value | None:
    """Return the filters of which these are the turned ones."""
    for op in reversed(TURNED):
        node = match.definition(filters)
        if node.op != op:
            return None
        (filters,) = node.operands
    return filters
