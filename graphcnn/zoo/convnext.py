"""ConvNeXt."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.activations import gelu
from graphcnn.dsl.initializers import Constant
from graphcnn.dsl.layers import Conv2d, Dense, DepthwiseConv2d, GlobalAvgPool2d, LayerNorm, StochasticDepth
from graphcnn.dsl.network import Input, Network, Parameter
from graphcnn.dsl.tensor import Tensor
from graphcnn.zoo.chain import scaled
from graphcnn.zoo.linear import Linear

STAGES = ((96, 3), (192, 3), (384, 9), (768, 3))
"""The channels of each stage, and its blocks."""

EPSILON = 1e-6


@known_arguments
def convnext_tiny(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    stochastic_depth: float = 0.1,
) -> Network:
    """Return ConvNeXt-T (Liu et al., "A ConvNet for the 2020s", CVPR 2022, arXiv 2201.03545).

    28,589,128 parameters for 1,000 classes, as torchvision's `convnext_tiny`, whose names the layers have.
    width: what the channels of every layer are multiplied by. stochastic_depth: how often the last block is
    left out; those before, less often.
    """
    image = Input(input_shape, name="image")
    x = Conv2d(scaled(STAGES[0][0], width), 4, 4, name="features.0.0")(image)
    x = LayerNorm(EPSILON, name="features.0.1")(x)
    done, last = 0, sum(depth for _, depth in STAGES) - 1
    for stage, (channels, depth) in enumerate(STAGES):
        if stage:
            x = LayerNorm(EPSILON, name=f"features.{2 * stage}.0")(x)
            x = Conv2d(scaled(channels, width), 2, 2, name=f"features.{2 * stage}.1")(x)
        for number in range(depth):
            x = _block(x, f"features.{2 * stage + 1}.{number}", stochastic_depth * done / last)
            done += 1
    x = LayerNorm(EPSILON, name="classifier.0")(GlobalAvgPool2d()(x))
    return Network(image, Dense(classes, name="classifier.2")(x), name="convnext_tiny")


def _block(x: Tensor, name: str, rate: float) -> Tensor:
    channels = x.type.static(3)
    y = DepthwiseConv2d(7, padding=3, name=f"{name}.block.0")(x)
    y = LayerNorm(EPSILON, name=f"{name}.block.2")(y)
    y = Linear(channels, name=f"{name}.block.5")(gelu(Linear(4 * channels, name=f"{name}.block.3")(y)))
    scale = Parameter((1, 1, channels), f"{name}.layer_scale", initializer=Constant(1e-6))
    return x + StochasticDepth(rate)(y * scale)
