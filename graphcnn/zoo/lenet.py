"""LeNet-5 as its paper has it (LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86, 1998, Section II.B)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.dsl.activations import scaled_tanh
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import Constant, fans
from graphcnn.dsl.layers import Conv2d, Dense, Flatten
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.network import Input, Network
from graphcnn.dsl.shapes import concatenate
from graphcnn.dsl.tensor import Tensor
from graphcnn.ir import TensorType, Value
from graphcnn.zoo.chain import scaled

C3 = (
    ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    ((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    ((0, 1, 2, 3, 4, 5),),
)
"""Table I of the paper: the maps of S2 that each of the 16 maps of C3 sees; four grouped convolutions."""


@known_arguments
def lenet5_1998(
    classes: int = 10, input_shape: tuple[int, int, int] = (32, 32, 1), width: float = 1.0
) -> Network:
    """Return LeNet-5 with subsampling that is trained, scaled tanh, and the partial connections of C3.

    60,000 trained parameters for 10 classes, as in the paper: C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6
    10,164. Its output is the negative squared distance of F6 to a fixed vector of +1 and -1 for each class,
    so that `CrossEntropy` of it is the paper's criterion (Equation 9) without its rubbish class. The vectors
    are drawn, which the paper names as the other way; in its own, they are pictures of the characters.
    width: what the units of C5 and F6 are multiplied by.
    """
    image = Input(input_shape, name="image")
    x = scaled_tanh(Conv2d(6, 5, initializer=_uniform, name="c1")(image))
    x = scaled_tanh(Subsampling(name="s2")(x))
    x = scaled_tanh(_partially_connected(x))
    x = scaled_tanh(Subsampling(name="s4")(x))
    x = scaled_tanh(Conv2d(scaled(120, width), 5, initializer=_uniform, name="c5")(x))
    x = scaled_tanh(Dense(scaled(84, width), initializer=_uniform, name="f6")(Flatten()(x)))
    return Network(image, RadialBasis(classes, name="output")(x), name="lenet5_1998")


def _partially_connected(x: Tensor) -> Tensor:
    maps = []
    for number, rows in enumerate(C3, 1):
        seen = concatenate(*(x[..., map : map + 1] for row in rows for map in row))
        count = len(rows)
        maps.append(Conv2d(count, 5, groups=count, initializer=_uniform, name=f"c3.{number}")(seen))
    return concatenate(*maps)


def _uniform(generator: np.random.Generator, type: TensorType) -> Array:
    """Between -2.4 / fan-in and 2.4 / fan-in, as in the paper's Appendix A."""
    bound = 2.4 / fans(type)[0]
    return generator.uniform(-bound, bound, type.concrete(1))


@dataclass(eq=False)
class Subsampling(OneValue):
    """The sum of each window of 2x2, times a trained coefficient for its map, plus a trained bias.

    Parameters: `coefficient` [C], which begins with 1/4, and `bias` [C].
    """

    kind: ClassVar[str] = "subsampling"

    def build(self, build: Builder, *values: Value) -> Value:
        total = build(ops.SumPool2d((2, 2), (2, 2)), values[0])
        maps = total.type.with_shape(total.type.shape[3:])
        coefficient, bias = (
            build(ops.Broadcast(total.type.shape), build.parameter(label, maps, Constant(first)))
            for label, first in (("coefficient", 0.25), ("bias", 0.0))
        )
        return build(ops.Add(), build(ops.Multiply(), total, coefficient), bias)


@dataclass(eq=False)
class RadialBasis(OneValue):
    """Minus the squared distance of each row [N, C] to `units` vectors of +1 and -1, which are not trained.

    Parameter: `centres` [units, C], frozen.
    """

    units: int
    trainable: bool = field(default=False, kw_only=True, repr=False)

    kind: ClassVar[str] = "radial_basis"

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        batch, size = x.type.shape
        centres = build.parameter("centres", x.type.with_shape((self.units, size)), _signs)
        all_pairs = ops.Broadcast((batch, self.units, size))
        rows = build(all_pairs, build(ops.Reshape((batch, 1, size)), x))
        difference = build(ops.Subtract(), rows, build(all_pairs, centres))
        return build(ops.Negate(), build(ops.Sum((2,)), build(ops.Multiply(), difference, difference)))


def _signs(generator: np.random.Generator, type: TensorType) -> Array:
    return generator.choice([-1.0, 1.0], type.concrete(1))
