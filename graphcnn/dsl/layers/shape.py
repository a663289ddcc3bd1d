"""Layers that move elements: another shape of each sample, and more at the sides of images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.arguments import PaddingSpec, padding_of, require_images
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.padding import PadMode, check_mode, number_of, padded
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, TensorType, Value, format_shape
from graphcnn.ops.attributes import Padding, is_int


@dataclass(eq=False)
class Reshape(OneValue):
    """Each sample's elements in row-major order under another shape, without the batch axis.

    shape: one size may be -1, for what the others leave.
    """

    shape: tuple[int, ...]

    kind: ClassVar[str] = "reshape"

    def check(self) -> None:
        check_shape(self.shape)

    def build(self, build: Builder, *values: Value) -> Value:
        return reshaped(build, values[0], self.shape)


@dataclass(eq=False)
class Pad2d(OneValue):
    """Images with more at their sides, [N, H, W, C] → [N, H + top + bottom, W + left + right, C].

    padding: an int, (vertical, horizontal) or ((top, bottom), (left, right)).
    mode: "constant" puts a number there, `value`; "reflect" goes back from the last pixel without repeating
    it, "edge" repeats it, "circular" goes on at the other side.
    """

    padding: PaddingSpec
    mode: PadMode = "constant"
    value: float = 0.0

    kind: ClassVar[str] = "pad"

    def check(self) -> None:
        self._widths()
        check_mode(self.mode)
        number_of(self.value, self.mode)

    def _widths(self) -> Padding:
        widths = padding_of(self.padding)
        if widths is None:
            raise OptionError(
                f"padding={self.padding!r} depends on a kernel, and Pad2d has none", mend="padding=1"
            )
        return widths

    def build(self, build: Builder, *values: Value) -> Value:
        require_images("Pad2d", values[0])
        return padded(build, values[0], self._widths(), self.mode, self.value)


def check_shape(shape: object) -> None:
    """Raise OptionError for what is no shape of a sample."""
    sizes = [size for size in shape if size != -1] if isinstance(shape, tuple) else []
    if not isinstance(shape, tuple) or len(shape) - len(sizes) > 1 or not all(is_int(s, 1) for s in sizes):
        raise OptionError(
            f"shape={shape!r:.80} is not a tuple of sizes, one of which may be -1",
            mend="shape=(7, 7, 64): of one sample, without the batch",
        )


def reshaped(build: Builder, value: Value, shape: tuple[int, ...]) -> Value:
    """Append a value under another shape of each sample."""
    check_shape(shape)
    sizes = _filled(value.type, shape) if -1 in shape else shape
    return build(ops.Reshape((BATCH, *sizes) if value.type.has_batch else sizes), value)


def _filled(type: TensorType, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape with the size that is left put in for -1."""
    elements = math.prod(size for size in type.shape if size != BATCH)
    known = math.prod(size for size in shape if size != -1)
    if elements % known:
        raise ShapeError(
            f"{type} cannot be reshaped to {format_shape(shape)}",
            facts=[f"{elements} elements (a sample), which is no multiple of {known}"],
            mend="choose sizes whose product divides the number of elements of a sample",
        )
    return tuple(elements // known if size == -1 else size for size in shape)
