"""A dense layer for the last axis, whatever stands in front of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import Initializer, LeCun
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.layers.dense import with_bias
from graphcnn.dsl.matrices import product
from graphcnn.ir import Value


@dataclass(eq=False)
class Linear(OneValue):
    """A linear map of the last axis and a bias: [N, ..., C] → [N, ..., units], for tokens or pixels.

    Parameters: `weights` [C, units], `bias` [units].
    """

    units: int
    initializer: Initializer = field(default_factory=LeCun, kw_only=True)

    kind: ClassVar[str] = "linear"

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        type = x.type.with_shape((x.type.shape[-1], self.units))
        return with_bias(build, product(build, x, build.parameter("weights", type, self.initializer)))
