"""Known networks, each a function that returns it afresh: `gcn.zoo.lenet5()`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphcnn.dsl.network import Sequential
from graphcnn.zoo.networks import digits, lecun1989, lenet5, mnist_cnn, vgg_small


@dataclass(frozen=True, slots=True)
class Entry:
    """A network of the zoo and the shape of one sample (height, width, channels)."""

    make: Callable[[], Sequential]
    input_shape: tuple[int, int, int]


ZOO: dict[str, Entry] = {
    "digits": Entry(digits, (8, 8, 1)),
    "lecun1989": Entry(lecun1989, (16, 16, 1)),
    "lenet5": Entry(lenet5, (28, 28, 1)),
    "mnist_cnn": Entry(mnist_cnn, (28, 28, 1)),
    "vgg_small": Entry(vgg_small, (32, 32, 3)),
}

__all__ = ["ZOO", "Entry", "digits", "lecun1989", "lenet5", "mnist_cnn", "vgg_small"]
