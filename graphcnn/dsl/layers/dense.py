"""Fully connected layers, and the way to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import Constant, He, Initializer
from graphcnn.dsl.layers.arguments import check_bias, check_initializer, count
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.matrices import product
from graphcnn.errors import ShapeError
from graphcnn.ir import BATCH, Value


def with_bias(build: Builder, value: Value) -> Value:
    """Append the sum of a value and the layer's bias, one number per channel or unit."""
    bias = build.parameter("bias", value.type.with_shape(value.type.shape[-1:]), Constant(0.0))
    return build(ops.Add(), value, build(ops.Broadcast(value.type.shape), bias))


@dataclass(eq=False)
class Flatten(OneValue):
    """All axes but the batch as one: [N, H, W, C] → [N, H·W·C]."""

    kind: ClassVar[str] = "flatten"

    def build(self, build: Builder, *values: Value) -> Value:
        return flat(build, values[0])


def flat(build: Builder, value: Value) -> Value:
    """Append [N, H, W, C] → [N, H·W·C]."""
    if value.type.shape[:1] != (BATCH,):
        raise ShapeError(
            f"flatten keeps the batch axis, but {value.type} has none in front",
            mend="gcn.reshape(x, shape) for a tensor that is shared by all samples",
        )
    return build(ops.Reshape((BATCH, math.prod(map(int, value.type.shape[1:])))), value)


@dataclass(eq=False)
class Dense(OneValue):
    """A fully connected layer, [N, C] → [N, units]; of each token or time step, [N, T, C] → [N, T, units].

    Parameters: `weights` [C, units], `bias` [units].
    """

    units: int
    bias: bool = True
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "dense"

    def check(self) -> None:
        count("units", self.units)
        check_bias(self.bias, "inputs")
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        if x.type.rank not in (2, 3):
            raise ShapeError(
                f"Dense takes rows [N, C] or tokens [N, T, C], but its input is {x.type}",
                facts=[f"{x.type} has {x.type.rank} axes, rows have 2 and tokens 3"],
                mend="put gcn.Flatten() or gcn.GlobalAvgPool2d() before it",
            )
        shape = (x.type.static(x.type.rank - 1), self.units)
        weights = build.parameter("weights", x.type.with_shape(shape), self.initializer)
        y = product(build, x, weights)
        return with_bias(build, y) if self.bias else y
