"""Values straight from the definitions, one Python loop per sum: slow, and independent of every backend."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from graphcnn.arrays import Array
from graphcnn.ops.attributes import Padding, Pair
from graphcnn.ops.convolution import Convolve2d, Correlate2d


def sliding_product(op: Correlate2d | Convolve2d, images: Array, window: Array) -> Array:
    """Return Eq. 4 as it stands, with stride, padding, dilation and groups.

    images: [N, H, W, C]. window: [k1, k2, C / groups, D], or [N, H', W', D] where the op sums over the
    batch. Taps outside the image count as zeros. Convolution meets the taps in reverse, Eq. 2. Arrays of
    fractions have fractions as their product.
    """
    n, height, width, channels = images.shape
    over_batch = op.sum_over == "batch"
    k1, k2 = window.shape[1:3] if over_batch else window.shape[:2]
    filters, per_group = window.shape[3], channels // op.groups
    rows, columns = (
        (size + sum(op.padding[a]) - op.dilation[a] * (k - 1) - 1) // op.stride[a] + 1
        for a, (size, k) in enumerate(((height, k1), (width, k2)))
    )
    pixel, weight = images.tolist(), window.tolist()
    shape = (rows, columns, per_group, filters) if over_batch else (n, rows, columns, filters)
    result = np.zeros(shape, images.dtype if images.dtype == object else np.float64)
    for i, j, d in itertools.product(range(rows), range(columns), range(filters)):
        first = d // (filters // op.groups) * per_group
        for s, m, q, c in itertools.product(range(n), range(k1), range(k2), range(per_group)):
            y = i * op.stride[0] + m * op.dilation[0] - op.padding[0][0]
            x = j * op.stride[1] + q * op.dilation[1] - op.padding[1][0]
            if not (0 <= y < height and 0 <= x < width):
                continue
            p, r = (k1 - 1 - m, k2 - 1 - q) if isinstance(op, Convolve2d) else (m, q)
            if over_batch:
                result[i, j, c, d] += pixel[s][y][x][first + c] * weight[s][p][r][d]
            else:
                result[s, i, j, d] += pixel[s][y][x][first + c] * weight[p][r][c][d]
    return result


def pools(images: Array, size: Pair, stride: Pair, padding: Padding) -> dict[str, Array]:
    """Return max, index of the winner, sum, average and L2 of every window of [N, H, W, C]."""
    n, height, width, channels = images.shape
    rows, columns = (
        (extent + sum(padding[a]) - size[a]) // stride[a] + 1 for a, extent in enumerate((height, width))
    )
    names = ("max", "index", "sum", "average", "l2")
    is_exact = images.dtype == object
    zero: Any = 0 if is_exact else 0.0
    result = {
        name: np.zeros((n, rows, columns, channels), object if is_exact else np.float64) for name in names
    }
    for at in itertools.product(range(n), range(rows), range(columns), range(channels)):
        s, i, j, c = at
        best, winner, total, squares = -math.inf, 0, zero, zero
        for m, q in itertools.product(range(size[0]), range(size[1])):
            y, x = i * stride[0] + m - padding[0][0], j * stride[1] + q - padding[1][0]
            if not (0 <= y < height and 0 <= x < width):
                continue
            pixel = images[s, y, x, c] if is_exact else float(images[s, y, x, c])
            if pixel > best:
                best, winner = pixel, m * size[1] + q
            total, squares = total + pixel, squares + pixel * pixel
        values = (best, winner, total, total / (size[0] * size[1]), math.sqrt(squares))
        for name, value in zip(names, values, strict=True):
            result[name][at] = value
    return result


def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    """Return -ln of the softmax of [N, K] at the labels [N]."""
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        greatest = max(row)
        losses.append(greatest + math.log(math.fsum(math.exp(x - greatest) for x in row)) - row[label])
    return np.array(losses)


def matmul(x: Array, w: Array) -> Array:
    """Return the product of [A, K] and [K, B]."""
    rows, columns = x.tolist(), w.T.tolist()
    return np.array([[math.fsum(a * b for a, b in zip(r, c, strict=True)) for c in columns] for r in rows])
