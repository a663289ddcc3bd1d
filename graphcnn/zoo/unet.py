"""U-Net."""

from __future__ import annotations

from typing import Literal

from graphcnn.arguments import known_arguments
from graphcnn.dsl.activations import relu
from graphcnn.dsl.layers import Conv2d, ConvTranspose2d, Dropout, MaxPool2d
from graphcnn.dsl.network import Input, Network
from graphcnn.dsl.shapes import concatenate
from graphcnn.dsl.tensor import Tensor
from graphcnn.zoo.chain import scaled

LEVELS = 4


@known_arguments
def unet(
    classes: int = 2,
    input_shape: tuple[int, int, int] = (572, 572, 1),
    width: float = 1.0,
    *,
    padding: Literal["valid", "same"] = "valid",
    dropout: float = 0.5,
) -> Network:
    """Return U-Net, which says for every pixel what it belongs to (Ronneberger et al., MICCAI 2015).

    Output: [N, H', W', classes], one score for each class and pixel; 388x388 pixels of 572x572, as in the
    paper's Figure 1. padding="same" gives as many pixels as the image has, where its sides are multiples of
    16. 31,030,658 parameters for 2 classes: the paper has no number, and this is that of its Figure 1.
    width: what the channels of every layer are multiplied by. dropout: the rate at the end of the way down.
    """
    image = Input(input_shape, name="image")
    x, beside = image, []
    for level in range(LEVELS):
        x = _two(x, f"down{level + 1}", scaled(64 * 2**level, width), padding)
        beside.append(Dropout(dropout)(x) if level == LEVELS - 1 else x)
        x = MaxPool2d(2)(beside[-1])
    x = Dropout(dropout)(_two(x, "bottom", scaled(64 * 2**LEVELS, width), padding))
    for level in reversed(range(LEVELS)):
        filters, name = scaled(64 * 2**level, width), f"up{level + 1}"
        x = ConvTranspose2d(filters, 2, 2, name=f"{name}.up")(x)
        x = _two(concatenate(_middle(beside[level], x), x), name, filters, padding)
    return Network(image, Conv2d(classes, 1, name="head")(x), name="unet")


def _two(x: Tensor, name: str, filters: int, padding: Literal["valid", "same"]) -> Tensor:
    for number in (1, 2):
        x = relu(Conv2d(filters, 3, padding=padding, name=f"{name}.conv{number}")(x))
    return x


def _middle(x: Tensor, like: Tensor) -> Tensor:
    """Return the middle of maps, as large as other maps are."""
    height, width = like.type.static(1), like.type.static(2)
    top, left = (x.type.static(1) - height) // 2, (x.type.static(2) - width) // 2
    return x[:, top : top + height, left : left + width]
