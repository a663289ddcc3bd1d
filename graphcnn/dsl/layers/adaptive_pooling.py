"""Pools whose windows are parts of a map, so that the result has the size that is given; and whole maps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.arguments import Size, pair, require_images
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.layers.dense import flat
from graphcnn.ir import Value
from graphcnn.ops.taking import Run


@dataclass(eq=False)
class GlobalAvgPool2d(OneValue):
    """The mean of each whole feature map, [N, H, W, C] → [N, C]."""

    kind: ClassVar[str] = "global_pool"

    def build(self, build: Builder, *values: Value) -> Value:
        require_images("GlobalAvgPool2d", values[0])
        return build(ops.Mean((1, 2)), values[0])


@dataclass(eq=False)
class GlobalMaxPool2d(OneValue):
    """The greatest element of each whole feature map, [N, H, W, C] → [N, C]; the first of equals wins."""

    kind: ClassVar[str] = "global_pool"

    def build(self, build: Builder, *values: Value) -> Value:
        require_images("GlobalMaxPool2d", values[0])
        whole = values[0].type.static(1), values[0].type.static(2)
        return flat(build, build(ops.MaxPool2d(whole, whole), values[0]))


@dataclass(frozen=True, slots=True)
class _Parts:
    """The windows that divide one axis: window i of n spans the places floor(i·size/n) to ceil((i+1)·size/n).

    spans: (first, past the last) place of each.
    """

    spans: tuple[tuple[int, int], ...]

    @staticmethod
    def of(size: int, parts: int) -> _Parts:
        return _Parts(tuple((i * size // parts, -(-(i + 1) * size // parts)) for i in range(parts)))

    @property
    def longest(self) -> int:
        return max(last - first for first, last in self.spans)

    @property
    def is_even(self) -> bool:
        """Whether all windows are of one size."""
        return all(last - first == self.longest for first, last in self.spans)

    @property
    def stride(self) -> int | None:
        """How far apart the windows are, if all are of one size and equally far apart."""
        firsts = [first for first, _ in self.spans]
        steps = {after - before for before, after in itertools.pairwise(firsts)} or {self.longest}
        return steps.pop() if self.is_even and len(steps) == 1 and 0 not in steps else None

    def runs(self, filler: int | None) -> tuple[Run, ...]:
        """Return the places of all windows, one window after the other.

        filler: the place that makes short windows as long as the others; None for their own last ones.
        """
        found: list[Run] = []
        for first, last in self.spans:
            found.append((first, last - first, 1))
            if last - first < self.longest:
                found.append((last - 1 if filler is None else filler, self.longest - (last - first), 0))
        return tuple(found)


@dataclass(eq=False)
class _AdaptivePool2d(OneValue):
    """Pools to `size` places, an int or (rows, columns)."""

    size: Size

    kind: ClassVar[str] = "pool"

    def check(self) -> None:
        pair("size", self.size)

    def build(self, build: Builder, *values: Value) -> Value:
        (images,) = values
        require_images(type(self).__name__, images)
        rows, columns = pair("size", self.size)
        height, width = images.type.static(1), images.type.static(2)
        return self.pooled(build, images, (_Parts.of(height, rows), _Parts.of(width, columns)))

    def pooled(self, build: Builder, images: Value, parts: tuple[_Parts, _Parts]) -> Value:
        raise NotImplementedError


def _windows(parts: tuple[_Parts, _Parts]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size and stride of the windows, which lie one after the other where they are taken."""
    rows, columns = parts
    size = rows.longest, columns.longest
    return size, (rows.stride or size[0], columns.stride or size[1])


@dataclass(eq=False)
class AdaptiveMaxPool2d(_AdaptivePool2d):
    """The maximum of each of `size` parts of a map, [N, H, W, C] → [N, rows, columns, C].

    size: an int or (rows, columns). Part i of n along an axis of H places spans those from floor(i·H/n) to
    ceil((i+1)·H/n), so that parts overlap where n does not divide H. The first of equals wins.
    """

    def pooled(self, build: Builder, images: Value, parts: tuple[_Parts, _Parts]) -> Value:
        for axis, part in enumerate(parts, 1):
            if part.stride is None:
                images = build(ops.Take(axis, part.runs(filler=None)), images)
        return build(ops.MaxPool2d(*_windows(parts)), images)


@dataclass(eq=False)
class AdaptiveAvgPool2d(_AdaptivePool2d):
    """The mean of each of `size` parts of a map, [N, H, W, C] → [N, rows, columns, C].

    size: an int or (rows, columns). Parts are as in `AdaptiveMaxPool2d`.
    """

    def pooled(self, build: Builder, images: Value, parts: tuple[_Parts, _Parts]) -> Value:
        windows = _windows(parts)
        taken = _taken(build, images, parts)
        if all(part.is_even for part in parts):
            return build(ops.AveragePool2d(*windows), taken)
        total = build(ops.SumPool2d(*windows), taken)
        one = ops.constant(build, 1.0, images.type)
        ones = build(ops.Broadcast((1, *images.type.shape[1:3], 1)), one)
        units = build(ops.SumPool2d(*windows), _taken(build, ones, parts))
        return build(ops.Divide(), total, build(ops.Broadcast(total.type.shape), units))


def _taken(build: Builder, images: Value, parts: tuple[_Parts, _Parts]) -> Value:
    """Append the windows that no stride leads to, one after the other, short ones filled up by a zero."""
    for axis, part in enumerate(parts, 1):
        if part.stride is not None:
            continue
        end = images.type.static(axis)
        if not part.is_even:
            widths = [(0, 0)] * 4
            widths[axis] = (0, 1)
            images = build(ops.Pad(tuple(widths)), images)
        images = build(ops.Take(axis, part.runs(filler=end)), images)
    return images
