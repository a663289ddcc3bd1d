"""Densely connected networks."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.activations import relu
from graphcnn.dsl.layers import AvgPool2d, BatchNorm2d, Conv2d, Dense, GlobalAvgPool2d, MaxPool2d
from graphcnn.dsl.network import Input, Network
from graphcnn.dsl.shapes import concatenate
from graphcnn.dsl.tensor import Tensor
from graphcnn.zoo.chain import scaled

BOTTLENECK = 4
"""The 1x1 convolution before each 3x3 has so many times its filters (DenseNet-B)."""


@known_arguments
def densenet121(
    classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3), width: float = 1.0
) -> Network:
    """Return DenseNet-121 (Huang, Liu, van der Maaten and Weinberger, CVPR 2017, arXiv 1608.06993).

    Each layer of a block sees the maps of all layers before it and adds 32 of its own. 7,978,856 parameters
    for 1,000 classes, as torchvision's `densenet121`, whose names the layers have.
    width: what the growth rate and the channels of the first layer are multiplied by.
    """
    image = Input(input_shape, name="image")
    growth = scaled(32, width)
    x = Conv2d(scaled(64, width), 7, 2, padding=3, bias=False, name="features.conv0")(image)
    x = relu(BatchNorm2d(name="features.norm0")(x))
    x = MaxPool2d(3, 2, padding=1, name="features.pool0")(x)
    for block, depth in enumerate((6, 12, 24, 16), 1):
        for number in range(1, depth + 1):
            x = _dense_layer(x, f"features.denseblock{block}.denselayer{number}", growth)
        if block < 4:
            x = _transition(x, f"features.transition{block}")
    x = relu(BatchNorm2d(name="features.norm5")(x))
    return Network(image, Dense(classes, name="classifier")(GlobalAvgPool2d()(x)), name="densenet121")


def _dense_layer(x: Tensor, name: str, growth: int) -> Tensor:
    y = relu(BatchNorm2d(name=f"{name}.norm1")(x))
    y = Conv2d(BOTTLENECK * growth, 1, bias=False, name=f"{name}.conv1")(y)
    y = relu(BatchNorm2d(name=f"{name}.norm2")(y))
    return concatenate(x, Conv2d(growth, 3, padding=1, bias=False, name=f"{name}.conv2")(y))


def _transition(x: Tensor, name: str) -> Tensor:
    """Return half of the channels, at half of the size."""
    y = relu(BatchNorm2d(name=f"{name}.norm")(x))
    y = Conv2d(max(1, x.type.static(3) // 2), 1, bias=False, name=f"{name}.conv")(y)
    return AvgPool2d(2, name=f"{name}.pool")(y)
