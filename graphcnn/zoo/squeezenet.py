"""SqueezeNet."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.activations import relu
from graphcnn.dsl.layers import Conv2d, Dropout, GlobalAvgPool2d, MaxPool2d
from graphcnn.dsl.network import Input, Network
from graphcnn.dsl.shapes import concatenate
from graphcnn.dsl.tensor import Tensor
from graphcnn.zoo.chain import scaled

FIRES: dict[int, tuple[int, int]] = {
    3: (16, 64), 4: (16, 64), 5: (32, 128),
    7: (32, 128), 8: (48, 192), 9: (48, 192), 10: (64, 256),
    12: (64, 256),
}  # fmt: skip
"""The channels that a module squeezes to, and those of each of its expansions, by torchvision's numbers."""


@known_arguments
def squeezenet(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    dropout: float = 0.5,
) -> Network:
    """Return SqueezeNet 1.0 (Iandola et al., arXiv 1602.07360).

    Fire modules: a 1x1 convolution to few channels, and from there 1x1 and 3x3 ones side by side. 1,248,424
    parameters for 1,000 classes, as torchvision's `squeezenet1_0`, whose names the layers have.
    width: what the channels of every layer are multiplied by. dropout: the rate before the classifier.
    """
    image = Input(input_shape, name="image")
    x = relu(Conv2d(scaled(96, width), 7, 2, name="features.0")(image))
    for place in range(2, 13):  # 1 is the relu
        if place in FIRES:
            squeezed, expanded = FIRES[place]
            x = _fire(x, f"features.{place}", scaled(squeezed, width), scaled(expanded, width))
        else:
            x = MaxPool2d(3, 2, ceil_mode=True, name=f"features.{place}")(x)
    x = relu(Conv2d(classes, 1, name="classifier.1")(Dropout(dropout, name="classifier.0")(x)))
    return Network(image, GlobalAvgPool2d(name="classifier.3")(x), name="squeezenet")


def _fire(x: Tensor, name: str, squeezed: int, expanded: int) -> Tensor:
    x = relu(Conv2d(squeezed, 1, name=f"{name}.squeeze")(x))
    narrow = relu(Conv2d(expanded, 1, name=f"{name}.expand1x1")(x))
    wide = relu(Conv2d(expanded, 3, padding=1, name=f"{name}.expand3x3")(x))
    return concatenate(narrow, wide)
