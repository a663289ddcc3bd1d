"""MobileNets: convolutions of every channel on its own, and 1x1 convolutions between the channels."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.activations import hardsigmoid, hardswish, relu, relu6
from graphcnn.dsl.layers import BatchNorm2d, Conv2d, Dense, Dropout, GlobalAvgPool2d
from graphcnn.dsl.network import Input, Network
from graphcnn.dsl.tensor import Tensor
from graphcnn.zoo.chain import divisible, scaled
from graphcnn.zoo.separable import convolution, depthwise, gated

V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    *((512, 1),) * 5,
    (1024, 2), (1024, 1),
)  # fmt: skip
"""Table 1 of the paper: the filters of each block, and its stride."""

V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2 of the paper: expansion, channels, blocks, and the stride of the first."""

V3_SMALL = (
    (3, 16, 16, True, relu, 2),
    (3, 72, 24, False, relu, 2),
    (3, 88, 24, False, relu, 1),
    (5, 96, 40, True, hardswish, 2),
    (5, 240, 40, True, hardswish, 1),
    (5, 240, 40, True, hardswish, 1),
    (5, 120, 48, True, hardswish, 1),
    (5, 144, 48, True, hardswish, 1),
    (5, 288, 96, True, hardswish, 2),
    (5, 576, 96, True, hardswish, 1),
    (5, 576, 96, True, hardswish, 1),
)
"""Table 2 of the paper: kernel, expanded channels, channels, whether they are gated, activation, stride."""


@known_arguments
def mobilenetv1(
    classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3), width: float = 1.0
) -> Network:
    """Return MobileNet (Howard et al., arXiv 1704.04861).

    4,231,976 parameters for 1,000 classes, as Keras' `MobileNet` trains (4.2 M in the paper's Table 8).
    width: the paper's width multiplier.
    """
    image = Input(input_shape, name="image")
    x = convolution(image, "features.0", scaled(32, width), 3, 2, BatchNorm2d(), relu)
    for place, (filters, stride) in enumerate(V1, 1):
        x = depthwise(x, f"features.{place}.0", 3, stride, BatchNorm2d(), relu)
        x = convolution(x, f"features.{place}.1", scaled(filters, width), 1, 1, BatchNorm2d(), relu)
    return Network(image, Dense(classes, name="classifier")(GlobalAvgPool2d()(x)), name="mobilenetv1")


@known_arguments
def mobilenetv2(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    dropout: float = 0.2,
) -> Network:
    """Return MobileNetV2, whose blocks expand, filter and project (Sandler et al., CVPR 2018).

    3,504,872 parameters for 1,000 classes, as torchvision's `mobilenet_v2`, whose names the layers have.
    width: the paper's width multiplier; channels are multiples of 8, and those of the last convolution do not
    shrink. dropout: the rate before the classifier.
    """
    image = Input(input_shape, name="image")
    x = convolution(image, "features.0", divisible(32, width), 3, 2, BatchNorm2d(), relu6)
    place = 1
    for expansion, channels, depth, first_stride in V2:
        for number in range(depth):
            stride = first_stride if number == 0 else 1
            x = _inverted(x, f"features.{place}.conv", expansion, divisible(channels, width), stride)
            place += 1
    x = convolution(x, f"features.{place}", divisible(1280, max(1.0, width)), 1, 1, BatchNorm2d(), relu6)
    x = Dropout(dropout, name="classifier.0")(GlobalAvgPool2d()(x))
    return Network(image, Dense(classes, name="classifier.1")(x), name="mobilenetv2")


def _inverted(x: Tensor, name: str, expansion: int, filters: int, stride: int) -> Tensor:
    y, place, channels = x, 0, x.type.static(3)
    if expansion > 1:
        y = convolution(y, f"{name}.{place}", expansion * channels, 1, 1, BatchNorm2d(), relu6)
        place += 1
    y = depthwise(y, f"{name}.{place}", 3, stride, BatchNorm2d(), relu6)
    y = Conv2d(filters, 1, bias=False, name=f"{name}.{place + 1}")(y)
    y = BatchNorm2d(name=f"{name}.{place + 2}")(y)
    return x + y if stride == 1 and channels == filters else y


@known_arguments
def mobilenetv3_small(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    dropout: float = 0.2,
) -> Network:
    """Return MobileNetV3-Small, with gates of channels and hard swish (Howard et al., ICCV 2019).

    2,542,856 parameters for 1,000 classes, as torchvision's `mobilenet_v3_small`, whose names the layers
    have. width: the paper's width multiplier; channels are multiples of 8. dropout: the rate before the last
    layer.
    """
    image = Input(input_shape, name="image")
    x = convolution(image, "features.0", divisible(16, width), 3, 2, _norm_of_v3(), hardswish)
    for place, (kernel, expanded, channels, is_gated, activation, stride) in enumerate(V3_SMALL, 1):
        name, filters, parts = f"features.{place}.block", divisible(channels, width), 0
        y, inner = x, divisible(expanded, width)
        if inner != x.type.static(3):
            y = convolution(y, f"{name}.0", inner, 1, 1, _norm_of_v3(), activation)
            parts += 1
        y = depthwise(y, f"{name}.{parts}", kernel, stride, _norm_of_v3(), activation)
        if is_gated:
            parts += 1
            y = gated(y, f"{name}.{parts}", divisible(inner // 4), relu, hardsigmoid)
        y = convolution(y, f"{name}.{parts + 1}", filters, 1, 1, _norm_of_v3())
        x = x + y if stride == 1 and x.type.static(3) == filters else y
    x = convolution(x, "features.12", 6 * x.type.static(3), 1, 1, _norm_of_v3(), hardswish)
    x = hardswish(Dense(divisible(1024, width), name="classifier.0")(GlobalAvgPool2d()(x)))
    x = Dropout(dropout, name="classifier.2")(x)
    return Network(image, Dense(classes, name="classifier.3")(x), name="mobilenetv3_small")


def _norm_of_v3() -> BatchNorm2d:
    return BatchNorm2d(momentum=0.01, epsilon=0.001)
