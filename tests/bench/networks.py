"""Networks of the benchmarks as plain data, which every framework builds in its own way.

A network is (input shape [H, W, C], layers). A layer is a tuple: ("conv", filters, kernel, stride, padding,
bias, groups), ("relu" | "relu6" | "tanh" | "silu" | "gelu" | "batchnorm" | "globalavg" | "flatten",),
("maxpool" | "avgpool", size, stride), ("dense", units) or ("residual", layers, layers of the shortcut,
whether a relu follows the sum). The last layer gives 10 logits.
"""

from __future__ import annotations

import random
from typing import Any, TypeAlias

Layers: TypeAlias = list[tuple[Any, ...]]
Described: TypeAlias = tuple[tuple[int, int, int], Layers]

RANDOM = "random:"


def described(name: str) -> Described:
    """Return the network of a name: one of `NETWORKS`, or `random:SEED`."""
    if name.startswith(RANDOM):
        return random_network(int(name.removeprefix(RANDOM)))
    return NETWORKS[name]


def conv(
    filters: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True, groups: int = 1
) -> tuple[Any, ...]:
    return "conv", filters, kernel, stride, padding, bias, groups


def normalised(filters: int, kernel: int, stride: int = 1, groups: int = 1) -> Layers:
    """Return a convolution without a bias, and batch norm; sizes stay, or are divided by the stride."""
    return [conv(filters, kernel, stride, kernel // 2, False, groups), ("batchnorm",)]


def lenet5() -> Layers:
    first: Layers = [
        conv(6, 5, 1, 2),
        ("relu",),
        ("maxpool", 2, 2),
        conv(16, 5),
        ("relu",),
        ("maxpool", 2, 2),
    ]
    return [*first, ("flatten",), ("dense", 120), ("relu",), ("dense", 84), ("relu",), ("dense", 10)]


def mnist_cnn() -> Layers:
    layers: Layers = [conv(32, 3), ("relu",), conv(64, 3), ("relu",), ("maxpool", 2, 2)]
    return [*layers, ("flatten",), ("dense", 128), ("relu",), ("dense", 10)]


def vgg_small() -> Layers:
    layers: Layers = []
    for filters in (32, 64, 128):
        layers += [conv(filters, 3, 1, 1), ("relu",), conv(filters, 3, 1, 1), ("relu",), ("maxpool", 2, 2)]
    return [*layers, ("flatten",), ("dense", 128), ("relu",), ("dense", 10)]


def residual_network(stages: list[tuple[int, int]], blocks: int, stem: int) -> Layers:
    """Return a network of residual blocks (He et al. 2015); stages: filters and first stride."""
    layers: Layers = [*normalised(stem, 3), ("relu",)]
    channels = stem
    for filters, first in stages:
        for stride in (first, *[1] * (blocks - 1)):
            main = [*normalised(filters, 3, stride), ("relu",), *normalised(filters, 3)]
            shortcut = [] if stride == 1 and channels == filters else normalised(filters, 1, stride)
            layers.append(("residual", main, shortcut, True))
            channels = filters
    return [*layers, ("globalavg",), ("dense", 10)]


def mobilenetv2() -> Layers:
    """Sandler et al. 2018, for images of 32x32: the stem and the second group have no stride."""
    layers: Layers = [*normalised(32, 3), ("relu6",)]
    channels = 32
    groups = [
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]
    for expansion, filters, repeats, first in groups:
        for stride in (first, *[1] * (repeats - 1)):
            hidden = channels * expansion
            main: Layers = [] if expansion == 1 else [*normalised(hidden, 1), ("relu6",)]
            main += [*normalised(hidden, 3, stride, hidden), ("relu6",), *normalised(filters, 1)]
            layers += [("residual", main, [], False)] if stride == 1 and channels == filters else main
            channels = filters
    return [*layers, *normalised(1280, 1), ("relu6",), ("globalavg",), ("dense", 10)]


def cifar94() -> Layers:
    """The network of a 94 % record on CIFAR-10 (Jordan 2024), its whitening layer as a plain one."""
    layers: Layers = [conv(24, 2), ("gelu",)]
    for filters in (64, 256, 256):
        layers += [conv(filters, 3, 1, 1, False), ("maxpool", 2, 2), ("batchnorm",), ("gelu",)]
        layers += [*normalised(filters, 3), ("gelu",)]
    return [*layers, ("maxpool", 3, 3), ("flatten",), ("dense", 10)]


NETWORKS: dict[str, Described] = {
    "digits": (
        (8, 8, 1),
        [conv(8, 3), ("relu",), ("maxpool", 2, 2), ("flatten",), ("dense", 32), ("relu",), ("dense", 10)],
    ),
    "lenet5": ((28, 28, 1), lenet5()),
    "mnist_cnn": ((28, 28, 1), mnist_cnn()),
    "vgg_small": ((32, 32, 3), vgg_small()),
    "resnet20": ((32, 32, 3), residual_network([(16, 1), (32, 2), (64, 2)], 3, 16)),
    "resnet18": ((32, 32, 3), residual_network([(64, 1), (128, 2), (256, 2), (512, 2)], 2, 64)),
    "mobilenetv2": ((32, 32, 3), mobilenetv2()),
    "cifar94": ((32, 32, 3), cifar94()),
}


def random_network(seed: int) -> Described:
    """Return a network of 2 to 5 convolutions, or of as many as its images are large enough for."""
    draw = random.Random(seed)
    side, channels = draw.randint(16, 48), draw.randint(1, 16)
    shape, layers = (side, side, channels), Layers()
    has_norm, filters = draw.random() < 0.5, draw.choice([8, 13, 16, 24, 32, 37, 64])
    for _ in range(draw.randint(2, 5)):
        kernel, stride = draw.choice([1, 3, 3, 3, 5, 7]), draw.choice([1, 1, 2])
        if side < 2 * kernel:
            kernel, stride = 1, 1
        layers += (
            normalised(filters, kernel, stride) if has_norm else [conv(filters, kernel, stride, kernel // 2)]
        )
        layers.append(("relu",))
        side = (side - 1) // stride + 1
        if draw.random() < 0.3:
            branch = [*normalised(filters, 3)] if has_norm else [conv(filters, 3, 1, 1)]
            layers.append(("residual", branch, [], True))
        if side >= 8 and draw.random() < 0.3:
            layers.append((draw.choice(["maxpool", "avgpool"]), 2, 2))
            side //= 2
        filters = draw.choice([filters, filters, 2 * filters]) if filters < 100 else filters
    if draw.random() < 0.5:
        return shape, [*layers, ("globalavg",), ("dense", 10)]
    if side > 8:
        layers.append(("maxpool", 2, 2))
    return shape, [*layers, ("flatten",), ("dense", draw.choice([32, 64, 128])), ("relu",), ("dense", 10)]
