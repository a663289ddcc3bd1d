"""Network in network."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.layers import Conv2d, Dropout, GlobalAvgPool2d, Layer, MaxPool2d, ReLU
from graphcnn.dsl.network import Input, Network
from graphcnn.zoo.chain import chain, scaled


@known_arguments
def nin(
    classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    width: float = 1.0,
    *,
    dropout: float = 0.5,
) -> Network:
    """Return network in network for CIFAR-10 (Lin, Chen and Yan, ICLR 2014, arXiv 1312.4400).

    Three convolutions that are each followed by two of 1x1, and the mean of a feature map for each class.
    966,986 parameters for 10 classes, as the authors' published network for CIFAR-10 (0.97 M).
    width: what the channels of every layer but the last are multiplied by. dropout: the rate behind pools.
    """
    image = Input(input_shape, name="image")
    layers: list[Layer] = []
    for kernel, filters in ((5, (192, 160, 96)), (5, (192, 192, 192)), (3, (192, 192))):
        for size, count in zip((kernel, 1, 1), filters, strict=False):
            layers += [Conv2d(scaled(count, width), size, padding="same"), ReLU()]
        if kernel == 5:
            layers += [MaxPool2d(3, 2, padding="same"), Dropout(dropout)]
    layers += [Conv2d(classes, 1), ReLU(), GlobalAvgPool2d()]
    return Network(image, chain(image, "features", layers), name="nin")
