"""What networks of depthwise convolutions share: convolution, batch norm, activation; gates of channels."""

from __future__ import annotations

from collections.abc import Callable

from graphcnn.dsl.layers import BatchNorm2d, Conv2d, DepthwiseConv2d
from graphcnn.dsl.reductions import mean
from graphcnn.dsl.tensor import Tensor


def convolution(
    x: Tensor,
    name: str,
    filters: int,
    kernel: int,
    stride: int,
    norm: BatchNorm2d,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return a convolution of x that keeps its size, `name.0`, with batch norm, `name.1`, and activation."""
    norm.name = f"{name}.1"
    y = norm(Conv2d(filters, kernel, stride, padding=kernel // 2, bias=False, name=f"{name}.0")(x))
    return y if activation is None else activation(y)


def depthwise(
    x: Tensor,
    name: str,
    kernel: int,
    stride: int,
    norm: BatchNorm2d,
    activation: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the same of a convolution of every channel on its own."""
    norm.name = f"{name}.1"
    maps = DepthwiseConv2d(kernel, stride, padding=kernel // 2, bias=False, name=f"{name}.0")(x)
    return activation(norm(maps))


def gated(
    x: Tensor,
    name: str,
    squeezed: int,
    activation: Callable[[Tensor], Tensor],
    gate: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return maps times a factor for each, which follows from the means of all (Hu et al., CVPR 2018)."""
    means = mean(x, (1, 2), keepdims=True)  # [N, 1, 1, C]
    hidden = activation(Conv2d(squeezed, 1, name=f"{name}.fc1")(means))
    return x * gate(Conv2d(x.type.static(3), 1, name=f"{name}.fc2")(hidden))
