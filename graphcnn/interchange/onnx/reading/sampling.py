"""Images read at places that are computed: GridSample, and AffineGrid, which makes such places.

The weight of each pixel for each place is the product of one along the rows and one along the columns, of
numbers that say where the place is; so that gradients reach images and places alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.matrices import product
from graphcnn.interchange.onnx.reading.arithmetic import floored, rounded
from graphcnn.interchange.onnx.reading.step import Step, reshaped
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Known, Variable, channels_last
from graphcnn.ir import BATCH, Value

MOST_WEIGHTS: Final = 2**24
"""Of pixels for places, of a sample."""
MOST_PLACES: Final = 2**18
"""Of a map, and pixels along an axis."""
_CUBIC: Final = -0.75
_MODES: Final = {"linear": "linear", "bilinear": "linear", "nearest": "nearest"}
_CUBICS: Final = {"cubic", "bicubic"}


@dataclass(frozen=True, slots=True)
class _Way:
    """How places are found and what is between pixels, by the names of the operator's attributes."""

    mode: str
    padding: str
    align_corners: bool


@reads("AffineGrid")
def affine_grid(step: Step) -> Variable:
    """The places of a map of each sample: its rows times where the pixels of the result are."""
    theta = step.variable(0)
    sizes = [int(size) for size in step.known(1, "size").reshape(-1)[2:]]
    corners = bool(step.setting("align_corners", default=0))
    if theta.rank != 3 or tuple(theta.shape[1:]) != (len(sizes), len(sizes) + 1) or min(sizes) < 1:
        raise in_the_way(f"its maps of {list(theta.shape)} do not fit a size of {sizes}")
    if math.prod(sizes) > MOST_PLACES:
        raise in_the_way(f"it makes {math.prod(sizes)} places")
    along = [_middles(size, corners) for size in sizes]
    grid = np.stack([*np.meshgrid(*along, indexing="ij")[::-1], np.ones(sizes)], -1).reshape(
        -1, len(sizes) + 1
    )
    places = step.stored(Known(grid.T.astype(theta.dtype)), (0, 1))  # [axes + 1, places]
    order = (0, 1, 2)
    made = step.emit("affine_grid", product, theta.at(order), places)  # [N, axes, places]
    turned = Variable.of(made, (0, 2, 1)).in_file
    return Variable.of(reshaped(turned, (theta.shape[0], *sizes, len(sizes))))


def _middles(size: int, align_corners: bool) -> np.ndarray:
    """Return where pixels are, from -1 to 1 across the image."""
    if align_corners:
        return np.linspace(-1, 1, size) if size > 1 else np.zeros(1)
    return (2 * np.arange(size) + 1) / size - 1


@reads("GridSample")
def grid_sample(step: Step) -> Variable:
    x, grid = step.variable(0), step.variable(1)
    mode = str(step.setting("mode", default="linear"))
    way = _Way(
        "cubic" if mode in _CUBICS else _MODES.get(mode, mode),
        str(step.setting("padding_mode", default="zeros")),
        bool(step.setting("align_corners", default=0)),
    )
    if x.rank != 4 or grid.rank != 4:
        raise in_the_way(f"it is on a value of {x.rank} axes; images have 4")
    if way.mode not in _WEIGHTS or way.padding not in ("zeros", "border", "reflection"):
        raise in_the_way(f"its mode is {way.mode!r:.40}, its padding_mode {way.padding!r:.40}")
    if way.mode == "cubic" and way.padding != "zeros":
        raise in_the_way(f"its mode is cubic, and padding_mode={way.padding!r} is for the places between two")
    batch, channels, height, width = x.shape
    if BATCH in (channels, height, width) or grid.shape[0] != batch or grid.shape[3] != 2:
        raise in_the_way(f"its places of {list(grid.shape)} do not fit images of {list(x.shape)}")
    rows, columns = int(grid.shape[1]), int(grid.shape[2])
    sides = int(height), int(width)
    if rows * columns * math.prod(sides) > MOST_WEIGHTS or max(sides) > MOST_PLACES:
        raise in_the_way(
            f"it reads {rows * columns} places of images of {height}x{width} pixels, "
            "a weight for each of which is too much"
        )

    pixels = [step.stored(Known(np.arange(int(size)).astype(grid.dtype)), (0,)) for size in (height, width)]

    def sampled(build: Builder, images: Value, places: Value, of_rows: Value, of_columns: Value) -> Value:
        flat = build(ops.Reshape((batch, rows * columns, 2)), places)
        return _read(
            build,
            images,
            _along(build, flat, 1, of_rows, way),
            _along(build, flat, 0, of_columns, way),
        )

    order = channels_last(4)
    made = step.emit("grid_sample", sampled, x.at(order), grid.in_file, *pixels)
    return Variable.of(reshaped(made, (batch, rows, columns, channels)), order)


def _read(build: Builder, images: Value, of_rows: Value, of_columns: Value) -> Value:
    """Append [N, places, C]: images [N, H, W, C], weighed by [N, places, H] and [N, places, W]."""
    batch, height, width, channels = images.type.shape
    places = of_rows.type.shape[1]
    shape = (batch, places, height, width)
    wide = build(ops.Broadcast(shape), build(ops.Reshape((batch, places, height, 1)), of_rows))
    high = build(ops.Broadcast(shape), build(ops.Reshape((batch, places, 1, width)), of_columns))
    count = int(height) * int(width)
    weights = build(ops.Reshape((batch, places, count)), build(ops.Multiply(), wide, high))
    made: Value = build(ops.Matmul(), weights, build(ops.Reshape((batch, count, channels)), images))
    return made


def _along(build: Builder, places: Value, axis: int, pixels: Value, way: _Way) -> Value:
    """Append the weight of each pixel along an axis for each place. places: [N, places, 2], from -1 to 1."""
    size = pixels.type.static(0)
    one = build(ops.Take(2, ((axis, 1, 1),)), places)
    scaled = _times(build, one, (size - 1) / 2 if way.align_corners else size / 2)
    place = build(ops.Add(), scaled, ops.constant(build, (size - 1) / 2, one.type))
    if way.mode == "nearest":
        place = rounded(build, place)
    place = _PADDINGS[way.padding](build, place, size, way.align_corners)
    if way.mode == "nearest":
        place = rounded(build, place)
    shape = (*place.type.shape[:2], size)
    apart = build(ops.Subtract(), build(ops.Broadcast(shape), place), build(ops.Broadcast(shape), pixels))
    return _WEIGHTS[way.mode](build, build(ops.Abs(), apart))


def _times(build: Builder, x: Value, factor: float) -> Value:
    made: Value = build(ops.Multiply(), x, ops.constant(build, factor, x.type))
    return made


def _within(build: Builder, place: Value, size: int, align_corners: bool) -> Value:
    made: Value = build(ops.Clip(0.0, float(size - 1)), place)
    return made


def _reflected(build: Builder, place: Value, size: int, align_corners: bool) -> Value:
    """Append where a place is after it has been thrown back at both ends: the middles of pixels, or edges."""
    low, high = (0.0, float(size - 1)) if align_corners else (-0.5, size - 0.5)
    span = high - low
    if not span:
        return _within(build, place, size, align_corners)
    ahead = build(ops.Subtract(), place, ops.constant(build, low, place.type))
    turns = floored(build, _times(build, ahead, 1 / (2 * span)))
    rest = build(ops.Subtract(), ahead, _times(build, turns, 2 * span))  # from 0 to 2 span
    back = build(ops.Subtract(), ops.constant(build, 2 * span, place.type), rest)
    thrown = build(ops.Add(), build(ops.Minimum(), rest, back), ops.constant(build, low, place.type))
    return _within(build, thrown, size, align_corners)


_PADDINGS: Final[dict[str, Callable[[Builder, Value, int, bool], Value]]] = {
    "zeros": lambda build, place, size, align_corners: place,
    "border": _within,
    "reflection": _reflected,
}


def _tent(build: Builder, distance: Value) -> Value:
    made: Value = build(ops.Relu(), build(ops.Subtract(), ops.constant(build, 1.0, distance.type), distance))
    return made


def _same(build: Builder, distance: Value) -> Value:
    zero, one, half = (ops.constant(build, number, distance.type) for number in (0.0, 1.0, 0.5))
    made: Value = build(ops.Select(), build(ops.Greater(), half, distance), one, zero)
    return made


def _cubic(build: Builder, distance: Value) -> Value:
    """Append Keys' piecewise polynomial of third degree."""
    a = _CUBIC
    near = _polynomial(build, distance, (a + 2, -(a + 3), 0.0, 1.0))
    far = _polynomial(build, distance, (a, -5 * a, 8 * a, -4 * a))
    zero, one, two = (ops.constant(build, number, distance.type) for number in (0.0, 1.0, 2.0))
    outer = build(ops.Select(), build(ops.Greater(), two, distance), far, zero)
    made: Value = build(ops.Select(), build(ops.Greater(), one, distance), near, outer)
    return made


def _polynomial(build: Builder, x: Value, factors: tuple[float, ...]) -> Value:
    result = ops.constant(build, factors[0], x.type)
    for factor in factors[1:]:
        scaled = build(ops.Multiply(), result, x)
        result = build(ops.Add(), scaled, ops.constant(build, factor, x.type))
    return result


_WEIGHTS: Final[dict[str, Callable[[Builder, Value], Value]]] = {
    "linear": _tent,
    "nearest": _same,
    "cubic": _cubic,
}
