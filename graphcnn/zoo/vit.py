"""Vision transformers (Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, arXiv 2010.11929)."""

from __future__ import annotations

import math

import numpy as np

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.dsl.activations import gelu, softmax
from graphcnn.dsl.initializers import LeCun
from graphcnn.dsl.layers import Conv2d, Dense, Dropout, LayerNorm
from graphcnn.dsl.network import Input, Network, Parameter
from graphcnn.dsl.shapes import concatenate, reshape, split, transpose
from graphcnn.dsl.tensor import Tensor, apply_op
from graphcnn.ir import BATCH, TensorType
from graphcnn.zoo.chain import scaled
from graphcnn.zoo.linear import Linear

PATCH, HEADS, DEPTH, EPSILON = 16, 3, 12, 1e-6


@known_arguments
def vit_tiny(
    classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    *,
    dropout: float = 0.0,
) -> Network:
    """Return the vision transformer ViT-Ti/16: 12 layers of 3 heads, 192 numbers for each patch of 16x16.

    The tiny one is of Touvron et al., "Training data-efficient image transformers" (ICML 2021), Table 1: 5 M
    parameters there, 5,717,416 for 1,000 classes as their published `deit_tiny_patch16_224`. Layers have the
    names of torchvision's `VisionTransformer(224, 16, 12, 3, 192, 768)`.
    width: what the numbers for a patch are multiplied by. dropout: the rate behind attention and
    dense layers.
    """
    image = Input(input_shape, name="image")
    size = HEADS * scaled(64, width)
    x = Conv2d(size, PATCH, PATCH, initializer=LeCun(), name="conv_proj")(image)
    patches = x.type.static(1) * x.type.static(2)
    x = reshape(x, (patches, size))
    token = apply_op(ops.Broadcast((BATCH, 1, size)), Parameter((1, 1, size), "class_token"))
    places = Parameter((1, patches + 1, size), "encoder.pos_embedding", initializer=_of_places)
    x = Dropout(dropout)(concatenate(token, x, axis=1) + places)
    for number in range(DEPTH):
        x = _layer(x, f"encoder.layers.encoder_layer_{number}", dropout)
    x = LayerNorm(EPSILON, name="encoder.ln")(x)[:, 0]
    return Network(image, Dense(classes, initializer=LeCun(), name="heads.head")(x), name="vit_tiny")


def _layer(x: Tensor, name: str, dropout: float) -> Tensor:
    y = _attention(LayerNorm(EPSILON, name=f"{name}.ln_1")(x), f"{name}.self_attention")
    x = x + Dropout(dropout)(y)
    y = LayerNorm(EPSILON, name=f"{name}.ln_2")(x)
    size = x.type.static(2)
    y = Dropout(dropout)(gelu(Linear(4 * size, name=f"{name}.mlp.0")(y)))
    return x + Dropout(dropout)(Linear(size, name=f"{name}.mlp.3")(y))


def _attention(x: Tensor, name: str) -> Tensor:
    """Return for every token a mean of what all others offer, weighed by how well they fit, in each head."""
    length, depth = x.type.static(1), x.type.static(2) // HEADS
    query, key, value = (
        transpose(reshape(part, (length, HEADS, depth)), (0, 2, 1, 3))  # [N, heads, tokens, depth]
        for part in split(Linear(3 * HEADS * depth, name=f"{name}.in_proj")(x), 3)
    )
    weights = softmax(query @ transpose(key) / math.sqrt(depth))  # [N, heads, tokens, tokens]
    heads = reshape(transpose(weights @ value, (0, 2, 1, 3)), (length, HEADS * depth))
    return Linear(HEADS * depth, name=f"{name}.out_proj")(heads)


def _of_places(generator: np.random.Generator, type: TensorType) -> Array:
    return generator.normal(0.0, 0.02, type.concrete(1))
