"""Sums that stay right however many numbers they are of: float32 in float64, and float64 in pairs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphcnn.arrays import Array

DEEP = 4096
"""Products of more terms than this are summed up in parts, and the parts in pairs."""


def summed(x: Array, axes: tuple[int, ...], *, keep: bool) -> Array:
    """Return the sum over axes, in float64 until the end."""
    if x.dtype != np.float64 or not axes:
        return np.asarray(x.sum(axes, np.float64, keepdims=keep))
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    # NumPy adds in pairs along the last axis of memory alone.
    rows = np.ascontiguousarray(x.transpose(*kept, *axes)).reshape(*(x.shape[axis] for axis in kept), -1)
    total = np.asarray(rows.sum(-1))
    return np.expand_dims(total, axes) if keep else total


def in_pairs(terms: Iterable[Array]) -> Array:
    """Return the sum of arrays: of neighbours first, then of neighbouring sums, and so on."""
    waiting: list[tuple[int, Array]] = []
    for term in terms:
        count, total = 1, np.array(term)
        while waiting and waiting[-1][0] == count:
            total = waiting.pop()[1] + total
            count *= 2
        waiting.append((count, total))
    total = waiting.pop()[1]
    while waiting:
        total = waiting.pop()[1] + total
    return np.asarray(total)


def product(x: Array, w: Array) -> Array:
    """Return x @ w; of a deep product, the sum of those of its parts."""
    depth = x.shape[-1]
    if depth <= DEEP:
        return np.asarray(x @ w)
    parts = (slice(begin, begin + DEEP) for begin in range(0, depth, DEEP))
    return in_pairs(x[..., part] @ w[..., part, :] for part in parts)
