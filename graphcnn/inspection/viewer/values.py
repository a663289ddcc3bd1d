"""Small excerpts of tensors for the page: what is turned by rot180, and what meets in a convolution.

An excerpt is `{"height", "width", "maps", "of"}`: the first few channels (of the first sample) as rows of
numbers, and of how many. Filters have a map per channel and filter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from graphcnn.arrays import Array
from graphcnn.ir import Graph, Input, Node
from graphcnn.ops import Convolve2d, Correlate2d, Rot180

Json: TypeAlias = dict[str, Any]

MOST_CHANNELS = 3
"""Channels and filters that an excerpt holds."""

MANY_NODES = 400
"""From here on, the maps of a node that is no convolution are a single channel, to keep the page small."""

LARGEST_MAP = 32
"""Rows and columns of a map that the page still draws cell by cell."""

SHOWN_PLACES = 16
"""Rows and columns of the result that are shown where the whole is larger than `LARGEST_MAP`."""


def node_values(
    graph: Graph, values: Mapping[int, Array], parameters: Mapping[str, Array]
) -> dict[str, Json]:
    """Return by node id what the page draws with real values.

    values: per key, of one batch, as they were recorded; may be empty. parameters: by name.
    """
    known = {
        key: parameters[node.op.label]
        for key, node in graph.items()
        if isinstance(node.op, Input) and node.op.label in parameters
    } | {key: np.asarray(value) for key, value in values.items()}
    result = {}
    channels = MOST_CHANNELS if len(graph) < MANY_NODES else 1
    for key, node in graph.items():
        data = _data(node, key, known, channels)
        if data:
            result[str(key)] = data
    return result


def _data(node: Node, key: int, known: Mapping[int, Array], channels: int) -> Json:
    operands = [known.get(operand.key) if operand.index == 0 else None for operand in node.operands]
    if isinstance(node.op, Rot180) and operands[0] is not None and operands[0].ndim == 4:
        excerpt = _filters if node.op.axes == (0, 1) else _images
        return {"rot180": excerpt(operands[0], *_sizes(operands[0], node.op.axes))}
    result = known.get(key)
    data: Json = {}
    if result is not None:
        data["summary"] = summary(result)
    if isinstance(node.op, Correlate2d | Convolve2d) and result is not None:
        images, window = operands
        if images is not None and window is not None:
            data |= _contraction(node.op, images, window, result)
    elif result is not None and result.ndim == 4 and node.types[0].has_batch:
        data["maps"] = _images(result, result.shape[1], result.shape[2], channels)
    return data


def summary(value: Array) -> Json:
    """Return least, mean and greatest value, the share of zeros, and how many are not finite."""
    numbers = np.asarray(value, np.float64).ravel()
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return {"not finite": int(numbers.size)}
    return {
        "least": _number(float(finite.min())),
        "mean": _number(float(finite.mean())),
        "greatest": _number(float(finite.max())),
        "zeros": _number(float((finite == 0).mean())),
        "not finite": int(numbers.size - finite.size),
    }


def _contraction(op: Correlate2d | Convolve2d, images: Array, window: Array, result: Array) -> Json:
    """Return images, window and result of a convolution, cut to what can be drawn; {} where nothing can."""
    if op.groups > 1:
        return {}
    if op.sum_over == "batch":
        if max(*images.shape[1:3], *window.shape[1:3]) > LARGEST_MAP:
            return {}
        return {
            "step": {
                "images": _images(images, *images.shape[1:3]),
                "window": _images(window, *window.shape[1:3]),
                "result": _filters(result, *result.shape[:2]),
                "summed": ["samples", int(images.shape[0])],
            }
        }
    rows, columns = result.shape[1:3]
    height, width = images.shape[1:3]
    if max(height, width, rows, columns) > LARGEST_MAP:
        rows, columns = min(rows, SHOWN_PLACES), min(columns, SHOWN_PLACES)
        height = min(height, _needed(op, window.shape[0], rows, 0))
        width = min(width, _needed(op, window.shape[1], columns, 1))
    if max(height, width) > 2 * LARGEST_MAP:
        return {}
    return {
        "step": {
            "images": _images(images, height, width),
            "window": _filters(window, *window.shape[:2]),
            "result": _images(result, rows, columns),
            "summed": ["channels", int(images.shape[3])],
        }
    }


def _needed(op: Correlate2d | Convolve2d, taps: int, places: int, axis: int) -> int:
    """Return how many rows of the images the first places of the result are computed from."""
    return (places - 1) * op.stride[axis] + op.dilation[axis] * (taps - 1) + 1 - op.padding[axis][0]


def _sizes(value: Array, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(value.shape[axis] for axis in axes)


def _images(value: Array, height: int, width: int, channels: int = MOST_CHANNELS) -> Json:
    """Return the first channels of the first sample of [N, H, W, C]."""
    height, width = min(height, 2 * LARGEST_MAP), min(width, 2 * LARGEST_MAP)
    shown = min(value.shape[3], channels)
    maps = [_numbers(value[0, :height, :width, channel]) for channel in range(shown)]
    return _excerpt(height, width, maps, [int(value.shape[3])], cut=value.shape[1:3] != (height, width))


def _filters(value: Array, height: int, width: int) -> Json:
    """Return the first channels and filters of [k1, k2, C, D]: maps[channel][filter]."""
    height, width = min(height, 2 * LARGEST_MAP), min(width, 2 * LARGEST_MAP)
    channels, filters = (min(size, MOST_CHANNELS) for size in value.shape[2:])
    maps = [
        [_numbers(value[:height, :width, channel, filter]) for filter in range(filters)]
        for channel in range(channels)
    ]
    return _excerpt(height, width, maps, [int(size) for size in value.shape[2:]])


def _excerpt(height: int, width: int, maps: list[Any], of: list[int], *, cut: bool = False) -> Json:
    return {"height": height, "width": width, "maps": maps, "of": of, "cut": bool(cut)}


def _numbers(map: Array) -> list[float | str]:
    return [_number(float(value)) for value in map.ravel()]


def _number(value: float) -> float | str:
    """Return a number with four digits; JSON has no NaN and no infinity, so those become text."""
    return float(f"{value:.4g}") if math.isfinite(value) else str(value)
