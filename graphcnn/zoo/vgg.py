"""VGG: 3x3 convolutions in a row (Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556)."""

from __future__ import annotations

from collections.abc import Sequence

from graphcnn.arguments import known_arguments
from graphcnn.dsl.layers import AdaptiveAvgPool2d, Conv2d, Dense, Dropout, Flatten, Layer, MaxPool2d, ReLU
from graphcnn.dsl.network import Input, Network
from graphcnn.zoo.chain import chain, scaled


@known_arguments
def vgg11(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    dropout: float = 0.5,
) -> Network:
    """Return VGG with 11 layers, configuration A of the paper's Table 1.

    132,863,336 parameters for 1,000 classes, as torchvision's `vgg11` (133 M in the paper), whose names the
    layers have. width: what the channels and units of every layer are multiplied by. dropout: the rate behind
    the first two dense layers.
    """
    return _vgg("vgg11", (1, 1, 2, 2, 2), classes, input_shape, width, dropout)


@known_arguments
def vgg16(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    dropout: float = 0.5,
) -> Network:
    """Return VGG with 16 layers, configuration D of the paper's Table 1.

    138,357,544 parameters for 1,000 classes, as torchvision's `vgg16` (138 M in the paper). The rest as in
    `vgg11`.
    """
    return _vgg("vgg16", (2, 2, 3, 3, 3), classes, input_shape, width, dropout)


def _vgg(
    name: str,
    depths: Sequence[int],
    classes: int,
    input_shape: tuple[int, int, int],
    width: float,
    dropout: float,
) -> Network:
    """depths: how many convolutions stand before each of the five pools."""
    image = Input(input_shape, name="image")
    features: list[Layer] = []
    for filters, depth in zip((64, 128, 256, 512, 512), depths, strict=True):
        for _ in range(depth):
            features += [Conv2d(scaled(filters, width), 3, padding=1), ReLU()]
        features.append(MaxPool2d(2))
    classifier = [
        Dense(scaled(4096, width)),
        ReLU(),
        Dropout(dropout),
        Dense(scaled(4096, width)),
        ReLU(),
        Dropout(dropout),
        Dense(classes),
    ]
    x = Flatten()(AdaptiveAvgPool2d(7, name="avgpool")(chain(image, "features", features)))
    return Network(image, chain(x, "classifier", classifier), name=name)
