"""Pooling layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.arguments import PaddingSpec, Size, padding_of, pair, require_images, same_padding
from graphcnn.dsl.layers.base import OneValue
from graphcnn.ir import Value


@dataclass(eq=False)
class _Pool2d(OneValue):
    """Pooling windows of `size`, `stride` apart (the size itself by default)."""

    size: Size
    stride: Size | None = None
    padding: PaddingSpec = 0

    kind: ClassVar[str] = "pool"
    op: ClassVar[type[ops.MaxPool2d] | type[ops.AveragePool2d] | type[ops.L2Pool2d]]

    def check(self) -> None:
        pair("size", self.size)
        if self.stride is not None:
            pair("stride", self.stride)
        padding_of(self.padding)

    def build(self, build: Builder, *values: Value) -> Value:
        require_images(type(self).__name__, values[0])
        size = pair("size", self.size)
        stride = size if self.stride is None else pair("stride", self.stride)
        padding = padding_of(self.padding) or same_padding(values[0].type, size, stride, (1, 1))
        return build(self.op(size, stride, padding), values[0])


@dataclass(eq=False)
class MaxPool2d(_Pool2d):
    """The greatest element of each window, [N, H, W, C] → [N, H', W', C]; the first of equals wins."""

    op = ops.MaxPool2d


@dataclass(eq=False)
class AvgPool2d(_Pool2d):
    """The mean of each window, [N, H, W, C] → [N, H', W', C]; padding counts as zeros."""

    op = ops.AveragePool2d


@dataclass(eq=False)
class L2Pool2d(_Pool2d):
    """The Euclidean norm of each window, [N, H, W, C] → [N, H', W', C]."""

    op = ops.L2Pool2d


@dataclass(eq=False)
class GlobalAvgPool2d(OneValue):
    """The mean of each whole feature map, [N, H, W, C] → [N, C]."""

    kind: ClassVar[str] = "global_pool"

    def build(self, build: Builder, *values: Value) -> Value:
        require_images("GlobalAvgPool2d", values[0])
        return build(ops.Mean((1, 2)), values[0])
