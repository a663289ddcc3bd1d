"""Muon: steps along the orthogonal matrix nearest to the momentum of each filter bank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.ir import Emitter, Graph, Value
from graphcnn.ops.attributes import is_int
from graphcnn.training.optimizers.adam import AdamW
from graphcnn.training.optimizers.nodes import averaged, emitter, moved, scaled, shrunk, squared
from graphcnn.training.options import (
    is_not_negative,
    is_positive,
    is_share,
    refuse,
    require_flag,
    require_number,
    require_rate,
)

COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Of the quintic a·X + b·(X Xᵀ)·X + c·(X Xᵀ)²·X, which takes singular values close to 1 fast."""

LEAST_NORM: Final = 1e-7


@known_arguments
@dataclass(frozen=True, slots=True)
class Muon:
    """Momentum that is orthogonalised by Newton-Schulz iterations: all directions of a filter move alike.

    Parameters with two and more axes are matrices, [taps · channels, filters]; those with fewer, biases and
    scales, go by `AdamW`, as the method's author does (Jordan et al., "Muon: An optimizer for hidden layers
    in neural networks", 2024, https://kellerjordan.github.io/posts/muon). Steps are larger by
    √max(1, filters / (taps · channels)), as there and by default in PyTorch.
    learning_rate: above 0. momentum: in [0, 1). nesterov: step along the gradient moved towards the momentum.
    weight_decay: of at least 0, apart from the gradient. iterations: of Newton-Schulz, at least 1.
    adam_learning_rate: above 0, of the others; a schedule that scales the learning rate scales it alike.
    """

    learning_rate: float = 0.02
    momentum: float = 0.95
    nesterov: bool = True
    weight_decay: float = 0.0
    iterations: int = 5
    adam_learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        require_rate(self, self.learning_rate)
        require_number("momentum", self.momentum, is_share, "of at least 0 and below 1")
        require_flag("nesterov", self.nesterov)
        require_number("weight_decay", self.weight_decay, is_not_negative, "of at least 0")
        if not is_int(self.iterations, 1):
            refuse(f"iterations={self.iterations!r:.60} is not an integer of at least 1", "iterations=5")
        require_number("adam_learning_rate", self.adam_learning_rate, is_positive, "above 0")

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> dict[str, float]:
        """Append the update of every parameter; the momentum, and Adam's averages, are state."""
        initial: dict[str, float] = {}
        others = {name: value for name, value in parameters.items() if value.type.rank < 2}
        if others:
            adam = AdamW(self.adam_learning_rate, 0.9, 0.95, 1e-10, self.weight_decay)
            emit = emitter(graph, next(iter(others.values())), "Muon")
            slower = scaled(emit, self.adam_learning_rate / self.learning_rate, rate)
            initial |= adam.append_updates(graph, others, gradients, slower)
        for name, parameter in parameters.items():
            if name in others:
                continue
            emit = emitter(graph, parameter, "Muon")
            gradient = gradients[name]
            initial[f"{name}.velocity"] = 0.0
            direction = averaged(emit, f"{name}.velocity", self.momentum, gradient)
            if self.nesterov:
                rest = scaled(emit, 1.0 - self.momentum, gradient)
                direction = emit(ops.Add(), scaled(emit, self.momentum, direction), rest)
            *before, filters = parameter.type.concrete(1)
            matrix = emit(ops.Reshape((math.prod(before), filters)), direction)
            step = scaled(
                emit, math.sqrt(max(1.0, filters / math.prod(before))), self._orthogonal(emit, matrix)
            )
            kept = shrunk(emit, rate, self.weight_decay, parameter)
            moved(emit, name, kept, rate, emit(ops.Reshape(parameter.type.shape), step))
        return initial

    def _orthogonal(self, emit: Emitter, matrix: Value) -> Value:
        """Append Newton-Schulz iterations; of both products of a matrix with itself, on the smaller one."""
        a, b, c = COEFFICIENTS
        rows, columns = matrix.type.concrete(1)
        is_tall = rows > columns
        x = emit(ops.Transpose((1, 0)), matrix) if is_tall else matrix
        norm = emit(ops.Sqrt(), emit(ops.Sum((0, 1)), squared(emit, x)))
        least = ops.constant(emit, LEAST_NORM, norm.type)
        x = emit(ops.Divide(), x, emit(ops.Maximum(), norm, least))
        for _ in range(self.iterations):
            gram = emit(ops.Matmul(), x, emit(ops.Transpose((1, 0)), x))
            square = emit(ops.Matmul(), gram, gram)
            factor = emit(ops.Add(), scaled(emit, b, gram), scaled(emit, c, square))
            x = emit(ops.Add(), scaled(emit, a, x), emit(ops.Matmul(), factor, x))
        return emit(ops.Transpose((1, 0)), x) if is_tall else x
