"""Resize and Upsample: each axis on its own, by a matrix whose rows say what a place is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers import Upsample2d
from graphcnn.dsl.layers.resampling import interpolated
from graphcnn.interchange.onnx.reading.reduction import along_axis
from graphcnn.interchange.onnx.reading.step import Step, positive
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.taking import runs_of, taken
from graphcnn.interchange.onnx.reading.values import Known, Variable, channels_last
from graphcnn.ir import BATCH, Value

LARGEST = 2**22
"""Numbers of a matrix along one axis."""
LONGEST = 2**16
"""Places along an axis of what is resized."""
MOST_OUTSIDE: Final = 2**22
"""Places of which it is known whether they are beside the image."""


@dataclass(frozen=True, slots=True)
class Way:
    """How places are found and what is between them, by the names of the operator's attributes.

    region: the part of an axis that is resized, from 0 to 1, for tf_crop_and_resize. beyond: what is outside.
    """

    mode: str
    coordinates: str
    nearest: str
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    region: tuple[float, float] = (0.0, 1.0)
    beyond: float = 0.0

    def matrix(self, size: int, result: int, scale: float) -> Array:
        """Return [result, size]: what each place of the result is made of."""
        place = self._places(size, result, scale)
        first = np.floor(place)
        ratio = (place - first)[:, None]
        shrink = min(scale, 1.0) if self.antialias else 1.0
        reach = 1 if self.mode == "linear" else 2
        start = math.floor(-reach / shrink) + 1
        offsets = np.arange(start, 2 * reach + start - 2 * (start + reach - 1))
        weights = self._kernel(np.abs((offsets - ratio) * shrink))
        taps = first[:, None].astype(np.int64) + offsets
        if self.exclude_outside:
            weights = np.where((taps >= 0) & (taps < size), weights, 0)
        if self.exclude_outside or self.antialias:
            weights = weights / weights.sum(1, keepdims=True)
        matrix = np.zeros((result, size))
        np.add.at(matrix, (np.arange(result)[:, None], np.clip(taps, 0, size - 1)), weights)
        return matrix

    def nearest_places(self, size: int, result: int, scale: float) -> list[int]:
        """Return the place that each place of the result repeats."""
        place = self._places(size, result, scale)
        rounded = {
            "round_prefer_floor": np.ceil(place - 0.5),
            "round_prefer_ceil": np.floor(place + 0.5),
            "floor": np.floor(place),
            "ceil": np.ceil(place),
        }.get(self.nearest)
        if rounded is None:
            raise in_the_way(f"its nearest_mode is {self.nearest!r:.40}")
        found: list[int] = np.clip(rounded, 0, size - 1).astype(np.int64).tolist()
        return found

    def _kernel(self, distance: Array) -> Array:
        if self.mode == "linear":
            return np.asarray(np.clip(1 - distance, 0, 1))
        a = self.cubic
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        kernel: Array = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        return kernel

    def _places(self, size: int, result: int, scale: float) -> Array:
        """Return where each place of the result is among those of what is resized."""
        index = np.arange(result, dtype=np.float64)
        middle = (index + 0.5) / scale - 0.5
        if self.coordinates == "half_pixel":
            return middle
        if self.coordinates == "pytorch_half_pixel":
            return middle if result > 1 else np.zeros(1)
        if self.coordinates == "half_pixel_symmetric":
            return size / 2 * (1 - result / (scale * size)) + middle
        if self.coordinates == "align_corners":
            ends = scale * size - 1  # not result - 1, where the scale does not make a whole size
            return index * (size - 1) / ends if result > 1 else np.zeros(1)
        if self.coordinates == "asymmetric":
            return index / scale
        if self.coordinates == "tf_half_pixel_for_nn":
            return (index + 0.5) / scale
        if self.is_of_regions:
            start, end = self.region
            apart = (end - start) * (size - 1) / (result - 1) if result > 1 else 0.0
            return (
                start * (size - 1) + index * apart if result > 1 else (start + end) / 2 * (size - 1) + index
            )
        raise in_the_way(f"its coordinate_transformation_mode is {self.coordinates!r:.40}")

    @property
    def is_of_regions(self) -> bool:
        return self.coordinates == "tf_crop_and_resize"

    def outside(self, size: int, result: int, scale: float) -> Array:
        """Return which places of the result are beside what is resized."""
        place = self._places(size, result, scale)
        return (place < 0) | (place > size - 1)


@reads("Upsample")
def upsample(step: Step) -> Variable:
    scales = step.setting("scales", 1)
    way = Way(step.setting("mode", default="nearest"), "asymmetric", "floor")
    return _resized(step, step.variable(0), _of_scales(step.variable(0), scales), way)


@reads("Resize")
def resize(step: Step) -> Variable:
    x = step.variable(0)
    old = step.version < 11
    way = Way(
        step.setting("mode", default="nearest"),
        step.setting("coordinate_transformation_mode", default="asymmetric" if old else "half_pixel"),
        step.setting("nearest_mode", default="floor" if old else "round_prefer_floor"),
        float(step.setting("cubic_coeff_a", default=-0.75)),
        bool(step.setting("exclude_outside", default=0)),
        bool(step.setting("antialias", default=0)),
        beyond=float(step.setting("extrapolation_value", default=0.0)),
    )
    axes = [positive(axis, x.rank) for axis in step.setting("axes", default=list(range(x.rank)))]
    scales = step.setting("scales", 1 if old else 2)
    changed = _of_scales(x, scales, axes) if scales else _of_sizes(step, x, axes)
    if way.is_of_regions:
        return _cropped(step, x, axes, changed, way)
    return _resized(step, x, changed, way)


def _cropped(
    step: Step, x: Variable, axes: list[int], changed: dict[int, tuple[int, float]], way: Way
) -> Variable:
    """Return regions that are resized, with the extrapolation value where they reach beyond the image."""
    borders = step.setting("roi", 1)
    if not isinstance(borders, list) or len(borders) != 2 * len(axes):
        raise in_the_way(f"its regions {borders} are not a start and an end for each of its axes")
    regions = {axis: (borders[place], borders[place + len(axes)]) for place, axis in enumerate(axes)}
    outside = Known(np.zeros((1,) * x.rank, bool))
    for axis, region in regions.items():
        if axis not in changed and region == (0.0, 1.0):
            continue
        if x.shape[axis] == BATCH:
            raise in_the_way("it resizes the batch")
        size = int(x.shape[axis])
        result, scale = changed.get(axis, (size, 1.0))
        own = replace(way, region=region)
        _require_bounded(x, axis, result, scale, way)
        if outside.array.size * result > MOST_OUTSIDE:
            raise in_the_way(f"it makes {outside.array.size * result} places of regions")
        beside = own.outside(size, result, scale)
        outside = Known(outside.array | beside.reshape([-1 if each == axis else 1 for each in range(x.rank)]))
        x = _resized(step, x, {axis: (result, scale)}, own)
    if not outside.array.any():
        return x

    def chosen(build: Builder, value: Value, is_outside: Value) -> Value:
        return build(ops.Select(), is_outside, ops.constant(build, way.beyond, value.type), value)

    return step.each("outside", chosen, x, outside)


def _of_scales(
    x: Variable, scales: list[float], axes: list[int] | None = None
) -> dict[int, tuple[int, float]]:
    """Return the new size and the scale of each axis that changes."""
    chosen = list(range(x.rank)) if axes is None else axes
    if not isinstance(scales, list) or len(scales) != len(chosen) or min(scales) <= 0:
        raise in_the_way(f"its scales {scales} are not one for each of its axes")
    found = {}
    for axis, scale in zip(chosen, scales, strict=True):
        if scale == 1:
            continue
        if x.shape[axis] == BATCH:
            raise in_the_way("it resizes the batch")
        found[axis] = (math.floor(int(x.shape[axis]) * scale), float(scale))
    return found


def _of_sizes(step: Step, x: Variable, axes: list[int]) -> dict[int, tuple[int, float]]:
    sizes = step.known(3, "sizes").reshape(-1).tolist()
    if len(sizes) != len(axes):
        raise in_the_way(f"its sizes {sizes} are not one for each of its axes")
    changed = {a: size for a, size in zip(axes, sizes, strict=True) if size != x.shape[a]}
    changed = {
        a: size for a, size in changed.items() if not (x.shape[a] == BATCH and size == step.making.batch)
    }
    if any(x.shape[axis] == BATCH or size == BATCH for axis, size in changed.items()):
        raise in_the_way("it resizes the batch")
    policy = step.setting("keep_aspect_ratio_policy", default="stretch")
    scales = {
        axis: size / int(x.shape[axis]) for axis, size in zip(axes, sizes, strict=True) if axis in changed
    }
    if policy == "stretch" or not scales:
        return {axis: (int(changed[axis]), scale) for axis, scale in scales.items()}
    every = [size / int(x.shape[axis]) for axis, size in zip(axes, sizes, strict=True)]
    scale = min(every) if policy == "not_larger" else max(every)
    return {axis: (math.floor(int(x.shape[axis]) * scale + 0.5), scale) for axis in axes}


def _require_bounded(x: Variable, axis: int, size: int, scale: float, way: Way) -> None:
    """Raise InterchangeError where an axis becomes too long, or the matrix along it too large."""
    numbers = size * int(x.shape[axis]) if way.mode != "nearest" else 0
    if not 1 <= size <= LONGEST or not math.isfinite(scale) or numbers > LARGEST:
        raise in_the_way(f"it resizes {x.shape[axis]} places to {size}")


def _resized(step: Step, x: Variable, changed: dict[int, tuple[int, float]], way: Way) -> Variable:
    for axis, (size, scale) in changed.items():
        _require_bounded(x, axis, size, scale, way)
    if not way.is_of_regions and (layer := _upsampling(x, changed, way)) is not None:
        return Variable.of(step.apply(layer, x.last), channels_last(4))
    if x.rank == 4 and set(changed) <= {2, 3} and (corners := _on_lines(x, changed, way)) is not None:
        height, width = (changed.get(axis, (int(x.shape[axis]), 1.0))[0] for axis in (2, 3))

        def between(build: Builder, value: Any) -> Any:
            return interpolated(build, value, (height, width), bool(corners))

        return Variable.of(step.emit("resize", between, x.last), channels_last(4))
    for axis, (size, scale) in changed.items():
        x = _along(step, x, axis, size, scale, way)
    return x


def _upsampling(x: Variable, changed: dict[int, tuple[int, float]], way: Way) -> Upsample2d | None:
    """Return the layer that repeats pixels, where that is what the operator does."""
    if way.mode != "nearest" or x.rank != 4 or not changed or not set(changed) <= {2, 3}:
        return None
    factors = [round(changed[axis][1]) if axis in changed else 1 for axis in (2, 3)]
    for axis, factor in zip((2, 3), factors, strict=True):
        size = int(x.shape[axis])
        if axis in changed and (
            factor < 1
            or changed[axis][0] != size * factor
            or not np.array_equal(
                way.nearest_places(size, size * factor, changed[axis][1]), np.arange(size).repeat(factor)
            )
        ):
            return None
    return Upsample2d((factors[0], factors[1]))


def _on_lines(x: Variable, changed: dict[int, tuple[int, float]], way: Way) -> bool | None:
    """Return whether corners are aligned, where the op Interpolate does the same; None where it does not."""
    if (
        way.mode != "linear"
        or way.exclude_outside
        or (way.antialias and any(s < 1 for _, s in changed.values()))
    ):
        return None
    exact = all(
        abs(size - int(x.shape[axis]) * scale) < 1e-6 * size for axis, (size, scale) in changed.items()
    )
    if exact and way.coordinates == "align_corners":
        return True
    single = any(size == 1 for size, _ in changed.values())
    if exact and (
        way.coordinates == "half_pixel" or (way.coordinates == "pytorch_half_pixel" and not single)
    ):
        return False
    return None


def _along(step: Step, x: Variable, axis: int, size: int, scale: float, way: Way) -> Variable:
    if way.mode not in ("nearest", "linear", "cubic"):
        raise in_the_way(f"its mode is {way.mode!r:.40}")
    if way.mode == "nearest":
        return taken(step, x, axis, runs_of(way.nearest_places(int(x.shape[axis]), size, scale)))
    matrix = way.matrix(int(x.shape[axis]), size, scale)
    if x.dtype not in ("float32", "float64"):
        raise in_the_way(f"it computes with {x.dtype}")
    return along_axis(step, "resize", x, axis, matrix.T)
