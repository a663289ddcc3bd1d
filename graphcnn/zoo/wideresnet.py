"""Wide residual networks."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.activations import relu
from graphcnn.dsl.layers import BatchNorm2d, Conv2d, Dense, Dropout, GlobalAvgPool2d
from graphcnn.dsl.network import Input, Network
from graphcnn.dsl.tensor import Tensor
from graphcnn.zoo.chain import scaled


@known_arguments
def wideresnet16(
    classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    width: float = 8.0,
    *,
    dropout: float = 0.0,
) -> Network:
    """Return WRN-16-k for CIFAR-10 (Zagoruyko and Komodakis, BMVC 2016, arXiv 1605.07146).

    Batch norm and relu stand before each convolution. 10,961,370 parameters for 10 classes and k = 8;
    11.0 M in the paper's Table 5. width: the paper's k, what the 16, 32 and 64 channels of the three groups
    are multiplied by. dropout: the rate between the convolutions of a block.
    """
    image = Input(input_shape, name="image")
    x = Conv2d(16, 3, padding=1, bias=False, name="conv1")(image)
    for group, filters in enumerate((16, 32, 64), 1):
        for number in range(2):
            stride = 2 if group > 1 and number == 0 else 1
            x = _block(x, f"block{group}.layer.{number}", scaled(filters, width), stride, dropout)
    x = relu(BatchNorm2d(name="bn1")(x))
    return Network(image, Dense(classes, name="fc")(GlobalAvgPool2d()(x)), name="wideresnet16")


def _block(x: Tensor, name: str, filters: int, stride: int, dropout: float) -> Tensor:
    before = relu(BatchNorm2d(name=f"{name}.bn1")(x))
    y = Conv2d(filters, 3, stride, padding=1, bias=False, name=f"{name}.conv1")(before)
    y = Dropout(dropout)(relu(BatchNorm2d(name=f"{name}.bn2")(y)))
    y = Conv2d(filters, 3, padding=1, bias=False, name=f"{name}.conv2")(y)
    if stride == 1 and x.type.static(3) == filters:
        return x + y
    return Conv2d(filters, 1, stride, bias=False, name=f"{name}.convShortcut")(before) + y
