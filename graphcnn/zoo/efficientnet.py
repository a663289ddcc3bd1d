"""EfficientNet."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.activations import sigmoid, silu
from graphcnn.dsl.layers import BatchNorm2d, Dense, Dropout, GlobalAvgPool2d, StochasticDepth
from graphcnn.dsl.network import Input, Network
from graphcnn.dsl.tensor import Tensor
from graphcnn.zoo.chain import divisible
from graphcnn.zoo.separable import convolution, depthwise, gated

STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Table 1 of the paper: expansion, kernel, stride of the first block, channels, blocks."""


@known_arguments
def efficientnet_b0(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    dropout: float = 0.2,
    stochastic_depth: float = 0.2,
) -> Network:
    """Return EfficientNet-B0 (Tan and Le, ICML 2019, arXiv 1905.11946).

    5,288,548 parameters for 1,000 classes, as torchvision's `efficientnet_b0`, whose names the layers have.
    width: the paper's width coefficient; channels are multiples of 8. dropout: the rate before the
    classifier. stochastic_depth: how often the branches at the end are left out; those before, less often.
    """
    image = Input(input_shape, name="image")
    x = convolution(image, "features.0", divisible(32, width), 3, 2, BatchNorm2d(), silu)
    done, blocks = 0, sum(stage[-1] for stage in STAGES)
    for place, (expansion, kernel, first_stride, channels, depth) in enumerate(STAGES, 1):
        for number in range(depth):
            stride, rate = first_stride if number == 0 else 1, stochastic_depth * done / blocks
            name, filters = f"features.{place}.{number}.block", divisible(channels, width)
            x = _block(x, name, expansion, kernel, stride, filters, rate)
            done += 1
    x = convolution(x, "features.8", 4 * x.type.static(3), 1, 1, BatchNorm2d(), silu)
    x = Dropout(dropout, name="classifier.0")(GlobalAvgPool2d()(x))
    return Network(image, Dense(classes, name="classifier.1")(x), name="efficientnet_b0")


def _block(
    x: Tensor, name: str, expansion: int, kernel: int, stride: int, filters: int, rate: float
) -> Tensor:
    y, parts, channels = x, 0, x.type.static(3)
    if expansion > 1:
        y = convolution(y, f"{name}.0", divisible(channels * expansion), 1, 1, BatchNorm2d(), silu)
        parts += 1
    y = depthwise(y, f"{name}.{parts}", kernel, stride, BatchNorm2d(), silu)
    y = gated(y, f"{name}.{parts + 1}", max(1, channels // 4), silu, sigmoid)
    y = convolution(y, f"{name}.{parts + 2}", filters, 1, 1, BatchNorm2d())
    return x + StochasticDepth(rate)(y) if stride == 1 and channels == filters else y
