"""Residual networks (He, Zhang, Ren and Sun, "Deep residual learning", CVPR 2016, arXiv 1512.03385)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from graphcnn.arguments import known_arguments
from graphcnn.dsl.activations import relu
from graphcnn.dsl.layers import BatchNorm2d, Conv2d, Dense, GlobalAvgPool2d, MaxPool2d
from graphcnn.dsl.network import Input, Network
from graphcnn.dsl.padding import pad
from graphcnn.dsl.tensor import Tensor
from graphcnn.zoo.chain import scaled

Block: TypeAlias = Callable[[Tensor, str, int, int, int], Tensor]
"""Takes a value, the block's name, the filters of its 3x3 convolutions and of its output, and its stride."""


@known_arguments
def resnet18(
    classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3), width: float = 1.0
) -> Network:
    """Return the residual network with 18 layers.

    11,689,512 parameters for 1,000 classes, as torchvision's `resnet18`, whose names the layers have.
    width: what the channels of every layer are multiplied by.
    """
    return _for_imagenet("resnet18", _basic, (2, 2, 2, 2), 1, classes, input_shape, width)


@known_arguments
def resnet34(
    classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3), width: float = 1.0
) -> Network:
    """Return the residual network with 34 layers: 21,797,672 parameters, as torchvision's; see `resnet18`."""
    return _for_imagenet("resnet34", _basic, (3, 4, 6, 3), 1, classes, input_shape, width)


@known_arguments
def resnet50(
    classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3), width: float = 1.0
) -> Network:
    """Return the residual network with 50 layers: 25,557,032 parameters, as torchvision's; see `resnet18`.

    As there, a block's stride is that of its 3x3 convolution; in the paper, its first 1x1 has it.
    """
    return _for_imagenet("resnet50", _bottleneck, (3, 4, 6, 3), 4, classes, input_shape, width)


@known_arguments
def resnet20(
    classes: int = 10, input_shape: tuple[int, int, int] = (32, 32, 3), width: float = 1.0
) -> Network:
    """Return the residual network with 20 layers for CIFAR-10 (Section 4.2 of the paper).

    269,722 parameters for 10 classes; 0.27 M in the paper's Table 6. Ways around a block have none: where it
    halves the image and doubles the channels, every second pixel is taken, and zeros are the new channels
    (option A). width: what the channels of every layer are multiplied by.
    """
    image = Input(input_shape, name="image")
    x = _first(image, scaled(16, width), kernel=3, stride=1)
    for stage, filters in enumerate((16, 32, 64), 1):
        for number in range(3):
            stride = 2 if stage > 1 and number == 0 else 1
            x = _plain(x, f"layer{stage}.{number}", scaled(filters, width), stride)
    return _classified("resnet20", image, x, classes)


def _for_imagenet(
    name: str,
    block: Block,
    depths: Sequence[int],
    expansion: int,
    classes: int,
    input_shape: tuple[int, int, int],
    width: float,
) -> Network:
    image = Input(input_shape, name="image")
    x = _first(image, scaled(64, width), kernel=7, stride=2)
    x = MaxPool2d(3, 2, padding=1, name="maxpool")(x)
    for stage, depth in enumerate(depths, 1):
        filters = scaled(64 * 2 ** (stage - 1), width)
        for number in range(depth):
            stride = 2 if stage > 1 and number == 0 else 1
            x = block(x, f"layer{stage}.{number}", filters, filters * expansion, stride)
    return _classified(name, image, x, classes)


def _first(image: Tensor, filters: int, *, kernel: int, stride: int) -> Tensor:
    x = Conv2d(filters, kernel, stride, padding=kernel // 2, bias=False, name="conv1")(image)
    return relu(BatchNorm2d(name="bn1")(x))


def _classified(name: str, image: Tensor, x: Tensor, classes: int) -> Network:
    return Network(image, Dense(classes, name="fc")(GlobalAvgPool2d(name="avgpool")(x)), name=name)


def _basic(x: Tensor, name: str, filters: int, out: int, stride: int) -> Tensor:
    return relu(_two(x, name, filters, stride) + _projected(x, name, out, stride))


def _bottleneck(x: Tensor, name: str, filters: int, out: int, stride: int) -> Tensor:
    y = Conv2d(filters, 1, bias=False, name=f"{name}.conv1")(x)
    y = relu(BatchNorm2d(name=f"{name}.bn1")(y))
    y = Conv2d(filters, 3, stride, padding=1, bias=False, name=f"{name}.conv2")(y)
    y = relu(BatchNorm2d(name=f"{name}.bn2")(y))
    y = Conv2d(out, 1, bias=False, name=f"{name}.conv3")(y)
    return relu(BatchNorm2d(name=f"{name}.bn3")(y) + _projected(x, name, out, stride))


def _plain(x: Tensor, name: str, filters: int, stride: int) -> Tensor:
    return relu(_two(x, name, filters, stride) + _padded(x, filters, stride))


def _two(x: Tensor, name: str, filters: int, stride: int) -> Tensor:
    y = Conv2d(filters, 3, stride, padding=1, bias=False, name=f"{name}.conv1")(x)
    y = relu(BatchNorm2d(name=f"{name}.bn1")(y))
    y = Conv2d(filters, 3, padding=1, bias=False, name=f"{name}.conv2")(y)
    return BatchNorm2d(name=f"{name}.bn2")(y)


def _projected(x: Tensor, name: str, out: int, stride: int) -> Tensor:
    """Return the way around a block: x itself, or where shapes differ a 1x1 convolution (option B)."""
    if stride == 1 and x.type.static(3) == out:
        return x
    x = Conv2d(out, 1, stride, bias=False, name=f"{name}.downsample.0")(x)
    return BatchNorm2d(name=f"{name}.downsample.1")(x)


def _padded(x: Tensor, out: int, stride: int) -> Tensor:
    """Return the way around a block: every pixel `stride` apart, between channels of zeros (option A)."""
    if stride > 1:
        x = x[:, ::stride, ::stride]
    more = out - x.type.static(3)
    return pad(x, ((0, 0), (0, 0), (more // 2, more - more // 2))) if more else x
