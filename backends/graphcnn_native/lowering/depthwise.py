"""Depthwise correlations: which they are, and which of them read images without zeros beside them."""

from __future__ import annotations

from graphcnn.ir import TensorType

MOST_TAPS = 7
"""Taps of a row of a filter that are written out, and held in registers together."""


def is_depthwise(groups: int, images: TensorType, filters: TensorType) -> bool:
    """Return whether each filter meets one channel, and each channel one filter."""
    return 1 < groups == filters.static(3) == images.static(3)


def reads_edges(groups: int, images: TensorType, filters: TensorType) -> bool:
    """Return whether a correlation needs no zeros in memory at the sides of its images.

    Code for places at the edges is written out, tap by tap.
    """
    return is_depthwise(groups, images, filters) and filters.static(1) <= MOST_TAPS
