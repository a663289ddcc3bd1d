"""Layers that pool windows of feature maps, and the way back to where the maxima were."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.arguments import (
    PaddingSpec,
    Size,
    count,
    is_between,
    number,
    padding_of,
    pair,
    require_images,
    same_padding,
    truth,
)
from graphcnn.dsl.layers.base import OneValue
from graphcnn.errors import ShapeError
from graphcnn.ir import TensorType, Value
from graphcnn.ops.attributes import NO_PADDING, Padding, Pair


@dataclass(frozen=True, slots=True)
class _Windows:
    """The windows of one pool over maps of one type.

    padding: as the layer has it. reaching: that, and what a last window reaches beyond the far end.
    """

    size: Pair
    stride: Pair
    padding: Padding
    reaching: Padding


@dataclass(eq=False)
class _Pool2d(OneValue):
    """Pooling windows of `size`, `stride` apart (the size itself by default).

    ceil_mode: whether a last window that begins within the map, or in the padding before it, may reach beyond
    the far end: sizes are rounded up.
    """

    size: Size
    stride: Size | None = None
    padding: PaddingSpec = 0
    ceil_mode: bool = False

    kind: ClassVar[str] = "pool"

    def check(self) -> None:
        _check(self)

    def build(self, build: Builder, *values: Value) -> Value:
        return self.pooled(build, values[0], _windows(self, values[0]))

    def pooled(self, build: Builder, images: Value, windows: _Windows) -> Value:
        raise NotImplementedError


def _check(pool: _Pool2d | LPPool2d) -> None:
    pair("size", pool.size)
    if pool.stride is not None:
        pair("stride", pool.stride)
    padding_of(pool.padding)
    truth("ceil_mode", pool.ceil_mode)


def _windows(pool: _Pool2d | LPPool2d, images: Value) -> _Windows:
    require_images(type(pool).__name__, images)
    size = pair("size", pool.size)
    stride = size if pool.stride is None else pair("stride", pool.stride)
    padding = padding_of(pool.padding) or same_padding(images.type, size, stride, (1, 1))
    reaching = _reaching(images.type, size, stride, padding) if pool.ceil_mode else padding
    return _Windows(size, stride, padding, reaching)


def _reaching(images: TensorType, size: Pair, stride: Pair, padding: Padding) -> Padding:
    """Return the padding, with what a last window that begins before the far end reaches beyond it."""
    sides = []
    for axis in (0, 1):
        extent, (before, after) = images.static(1 + axis), padding[axis]
        room = extent + before + after - size[axis]
        steps = math.ceil(room / stride[axis])
        if steps * stride[axis] >= extent + before:
            steps -= 1
        sides.append((before, after + max(steps * stride[axis] - room, 0)))
    return sides[0], sides[1]


@dataclass(eq=False)
class MaxPool2d(_Pool2d):
    """The greatest element of each window, [N, H, W, C] → [N, H', W', C]; the first of equals wins.

    `size`, `stride` (the size by default) and `padding` are an int or (vertical, horizontal). ceil_mode: True
    lets a last window that begins within the map reach beyond its far end.
    """

    def pooled(self, build: Builder, images: Value, windows: _Windows) -> Value:
        return build(ops.MaxPool2d(windows.size, windows.stride, windows.reaching), images)


@dataclass(eq=False)
class AvgPool2d(_Pool2d):
    """The mean of each window, [N, H, W, C] → [N, H', W', C]. Sizes as in `MaxPool2d`.

    count_include_pad: whether padding counts as zeros; False takes the mean of the map's own elements. What a
    window of `ceil_mode` covers beyond the padding never counts. divisor_override: divides the sums instead.
    """

    count_include_pad: bool = True
    divisor_override: int | None = None

    def check(self) -> None:
        _Pool2d.check(self)
        truth("count_include_pad", self.count_include_pad)
        if self.divisor_override is not None:
            count("divisor_override", self.divisor_override)

    def pooled(self, build: Builder, images: Value, windows: _Windows) -> Value:
        size, stride, reaching = windows.size, windows.stride, windows.reaching
        if self.divisor_override is not None:
            total = build(ops.SumPool2d(size, stride, reaching), images)
            return build(ops.Divide(), total, ops.constant(build, self.divisor_override, total.type))
        counted = windows.padding if self.count_include_pad else NO_PADDING
        if reaching == counted:
            return build(ops.AveragePool2d(size, stride, reaching), images)
        total = build(ops.SumPool2d(size, stride, reaching), images)
        units = _units(build, images.type, ops.SumPool2d(size, stride, reaching), counted)
        return build(ops.Divide(), total, build(ops.Broadcast(total.type.shape), units))


def _units(build: Builder, images: TensorType, pool: ops.SumPool2d, counted: Padding) -> Value:
    """Append how many units each window has in the maps and the padding that counts, [1, H', W', 1]."""
    height, width = (images.static(1 + axis) + sum(counted[axis]) for axis in (0, 1))
    beyond = tuple(
        tuple(wide - own for wide, own in zip(pool.padding[axis], counted[axis], strict=True))
        for axis in (0, 1)
    )
    ones = build(ops.Broadcast((1, height, width, 1)), ops.constant(build, 1.0, images))
    return build(ops.SumPool2d(pool.size, pool.stride, beyond), ones)  # type: ignore[arg-type]


@dataclass(eq=False)
class L2Pool2d(_Pool2d):
    """The Euclidean norm of each window, [N, H, W, C] → [N, H', W', C]. Sizes as in `MaxPool2d`."""

    def pooled(self, build: Builder, images: Value, windows: _Windows) -> Value:
        return build(ops.L2Pool2d(windows.size, windows.stride, windows.reaching), images)


@dataclass(eq=False)
class LPPool2d(OneValue):
    """The p-norm of each window, (Σ |x|^p)^(1/p), [N, H, W, C] → [N, H', W', C]. Sizes as in `MaxPool2d`.

    p: at least 1; the greater, the more the norm is like the maximum, and 2 is `L2Pool2d` (Sermanet, Chintala
    and LeCun, arXiv 1204.3968). Where the norm is 0, its gradient is 0.
    """

    p: float
    size: Size
    stride: Size | None = None
    padding: PaddingSpec = 0
    ceil_mode: bool = False

    kind: ClassVar[str] = "pool"

    def check(self) -> None:
        number("p", self.p, self.p == 1 or is_between(self.p, 1, math.inf), "of at least 1")
        _check(self)

    def build(self, build: Builder, *values: Value) -> Value:
        (images,) = values
        windows = _windows(self, images)
        size, stride, reaching = windows.size, windows.stride, windows.reaching
        if self.p == 2:
            return build(ops.L2Pool2d(size, stride, reaching), images)
        sizes = build(ops.Abs(), images)
        if self.p == 1:
            return build(ops.SumPool2d(size, stride, reaching), sizes)
        total = build(ops.SumPool2d(size, stride, reaching), build(ops.Power(float(self.p)), sizes))
        zero, one = (ops.constant(build, value, total.type) for value in (0.0, 1.0))
        is_positive = build(ops.Greater(), total, zero)
        root = build(ops.Power(1.0 / self.p), build(ops.Select(), is_positive, total, one))
        return build(ops.Select(), is_positive, root, zero)


@dataclass(eq=False)
class MaxUnpool2d(_Pool2d):
    """Puts numbers back to where the maxima were: `MaxUnpool2d(2)(y, images)`, of the shape of `images`.

    y has the shape of `MaxPool2d(...)(images)` with the same arguments. Each of its elements goes to the
    winning unit of its window, and there is 0 elsewhere (Zeiler and Fergus, arXiv 1311.2901; SegNet, arXiv
    1511.00561). A unit that wins several windows gets the sum. The winners have no gradient.
    """

    kind: ClassVar[str] = "unpool"
    operands: ClassVar[int | None] = 2

    def build(self, build: Builder, *values: Value) -> Value:
        y, images = values
        windows = _windows(self, images)
        maximum = ops.MaxPool2d(windows.size, windows.stride, windows.reaching)
        pooled, winners = build.all(maximum, images)
        if y.type != pooled.type:
            raise ShapeError(
                f"what is put back has the type {y.type}, but the pooled images are {pooled.type}",
                facts=[f"images {images.type}"],
                mend="give the value that was pooled, and the size, stride and padding of its pool",
            )
        route = ops.RouteToWinner2d(maximum.size, maximum.stride, maximum.padding, images.type.shape)
        return build(route, y, winners)
