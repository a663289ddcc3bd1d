"""The small networks of the zoo: by default with 10 outputs; the last layer is linear."""

from __future__ import annotations

from graphcnn.arguments import known_arguments
from graphcnn.dsl.initializers import LeCun
from graphcnn.dsl.layers import Conv2d, Dense, Flatten, Layer, MaxPool2d, ReLU, Tanh
from graphcnn.dsl.network import Sequential


@known_arguments
def digits(classes: int = 10) -> Sequential:
    """Return a small network for the bundled 8x8 digits; 810 parameters."""
    return Sequential(
        Conv2d(8, 3),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Dense(classes),
    )


@known_arguments
def lenet5(classes: int = 10) -> Sequential:
    """Return LeNet-5 (LeCun et al., "Gradient-based learning", 1998) for 28x28 images, as it is used today.

    ReLU and max-pooling stand where the paper has scaled tanh and trained average pooling.
    """
    return Sequential(
        Conv2d(6, 5, padding="same"),
        ReLU(),
        MaxPool2d(2),
        Conv2d(16, 5),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Dense(120),
        ReLU(),
        Dense(84),
        ReLU(),
        Dense(classes),
    )


@known_arguments
def lecun1989(classes: int = 10) -> Sequential:
    """Return the network of LeCun et al., "Backpropagation applied to handwritten zip code ...", 1989.

    16x16 images; two layers of 12 maps with 5x5 kernels and stride 2, 30 hidden units, tanh throughout.
    Two things differ: the second layer sees all 12 maps rather than 8 of them, and biases are shared
    within a map. For images of 28x28, crop or scale them to 16x16.
    """
    initializer = LeCun("uniform")
    return Sequential(
        Conv2d(12, 5, stride=2, padding=((2, 2), (2, 2)), initializer=initializer),
        Tanh(),
        Conv2d(12, 5, stride=2, padding=((2, 2), (2, 2)), initializer=initializer),
        Tanh(),
        Flatten(),
        Dense(30, initializer=initializer),
        Tanh(),
        Dense(classes, initializer=initializer),
    )


@known_arguments
def mnist_cnn(classes: int = 10) -> Sequential:
    """Return the usual tutorial network for 28x28 images: two convolutions, a pool, two dense layers."""
    return Sequential(
        Conv2d(32, 3),
        ReLU(),
        Conv2d(64, 3),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Dense(128),
        ReLU(),
        Dense(classes),
    )


@known_arguments
def vgg_small(classes: int = 10) -> Sequential:
    """Return a small VGG (Simonyan and Zisserman, ICLR 2015) for 32x32 colour images: 32, 64, 128 filters."""
    layers: list[Layer] = []
    for filters in (32, 64, 128):
        layers += [
            Conv2d(filters, 3, padding=1),
            ReLU(),
            Conv2d(filters, 3, padding=1),
            ReLU(),
            MaxPool2d(2),
        ]
    return Sequential(*layers, Flatten(), Dense(128), ReLU(), Dense(classes))
