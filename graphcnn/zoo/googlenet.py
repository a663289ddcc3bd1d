"""GoogLeNet."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.activations import relu
from graphcnn.dsl.layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
)
from graphcnn.dsl.network import Input, Network
from graphcnn.dsl.shapes import concatenate
from graphcnn.dsl.tensor import Tensor
from graphcnn.zoo.chain import scaled

MODULES = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
"""Table 1 of the paper: filters of 1x1; of 3x3 and 5x5, each behind its reduction; and behind the pool."""


@known_arguments
def googlenet(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    auxiliary: bool = True,
    dropout: float = 0.2,
    auxiliary_dropout: float = 0.7,
) -> Network:
    """Return GoogLeNet (Szegedy et al., "Going deeper with convolutions", CVPR 2015, arXiv 1409.4842).

    13,004,888 parameters for 1,000 classes with the auxiliary heads, which only training has, and 6,624,904
    without them, as torchvision's `googlenet`, whose names the layers have. As there, each convolution has
    batch norm, and 3x3 convolutions stand where the paper has 5x5.
    width: what the channels of every layer are multiplied by. auxiliary: whether there are the heads `aux1`
    and `aux2`, whose losses weigh 0.3. dropout, auxiliary_dropout: the rates before the last layers.
    """
    image = Input(input_shape, name="image")
    x = _convolution(image, "conv1", scaled(64, width), 7, 2)
    x = MaxPool2d(3, 2, ceil_mode=True, name="maxpool1")(x)
    x = _convolution(x, "conv2", scaled(64, width), 1)
    x = _convolution(x, "conv3", scaled(192, width), 3)
    x = MaxPool2d(3, 2, ceil_mode=True, name="maxpool2")(x)
    heads: dict[str, Tensor] = {}
    for module in MODULES:
        x = _inception(x, module, width)
        if module == "3b":
            x = MaxPool2d(3, 2, ceil_mode=True, name="maxpool3")(x)
        elif module == "4e":
            x = MaxPool2d(2, 2, ceil_mode=True, name="maxpool4")(x)
        elif auxiliary and module in ("4a", "4d"):
            name = f"aux{len(heads) + 1}"
            heads[name] = _head(x, name, classes, width, auxiliary_dropout)
    y = Dense(classes, name="fc")(Dropout(dropout)(GlobalAvgPool2d(name="avgpool")(x)))
    return Network(image, y, auxiliary=heads, name="googlenet")


def _convolution(x: Tensor, name: str, filters: int, kernel: int, stride: int = 1) -> Tensor:
    y = Conv2d(filters, kernel, stride, padding=kernel // 2, bias=False, name=f"{name}.conv")(x)
    return relu(BatchNorm2d(epsilon=0.001, name=f"{name}.bn")(y))


def _inception(x: Tensor, module: str, width: float) -> Tensor:
    name, (single, (reduced, wide), (reduced_more, widest), pooled) = f"inception{module}", MODULES[module]
    second = _convolution(x, f"{name}.branch2.0", scaled(reduced, width), 1)
    third = _convolution(x, f"{name}.branch3.0", scaled(reduced_more, width), 1)
    fourth = MaxPool2d(3, 1, padding=1, name=f"{name}.branch4.0")(x)
    return concatenate(
        _convolution(x, f"{name}.branch1", scaled(single, width), 1),
        _convolution(second, f"{name}.branch2.1", scaled(wide, width), 3),
        _convolution(third, f"{name}.branch3.1", scaled(widest, width), 3),
        _convolution(fourth, f"{name}.branch4.1", scaled(pooled, width), 1),
    )


def _head(x: Tensor, name: str, classes: int, width: float, dropout: float) -> Tensor:
    x = _convolution(AdaptiveAvgPool2d(4)(x), f"{name}.conv", scaled(128, width), 1)
    x = relu(Dense(scaled(1024, width), name=f"{name}.fc1")(Flatten()(x)))
    return Dense(classes, name=f"{name}.fc2")(Dropout(dropout)(x))
