"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.ir import Emitter, Graph, Origin, TensorType, Value
from graphcnn.training.optimizers.nodes import averaged, decayed, emitter, scaled, shrunk, squared
from graphcnn.training.options import is_not_negative, is_positive, is_share, require_number, require_rate


@known_arguments
@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015): steps scaled by running averages of gradient and squared gradient.

    learning_rate: above 0. beta1, beta2: in [0, 1). epsilon: above 0.
    weight_decay: adds weight_decay · w to the gradient (`AdamW` decouples it).
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    decoupled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_rate(self, self.learning_rate)
        require_number("beta1", self.beta1, is_share, "of at least 0 and below 1")
        require_number("beta2", self.beta2, is_share, "of at least 0 and below 1")
        require_number("epsilon", self.epsilon, is_positive, "above 0")
        require_number("weight_decay", self.weight_decay, is_not_negative, "of at least 0")

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> dict[str, float]:
        """Append w ← w - rate · m̂ / (√v̂ + ε) for every parameter; the averages m and v are state."""
        initial: dict[str, float] = {}
        shared = Emitter(graph, Origin(rule=type(self).__name__))
        corrections = []
        for number, beta in enumerate((self.beta1, self.beta2), 1):
            label = f"adam.beta{number}_power"
            if label not in graph.inputs:  # another group of parameters may count the same steps
                initial[label] = 1.0
                power = graph.input(label, TensorType((), "float64"), role="state", origin=shared.origin)
                graph.update(label, scaled(shared, beta, power))
            power = graph.updates[label]
            one = ops.constant(shared, 1.0, power.type)
            corrections.append(shared(ops.Cast(rate.type.dtype), shared(ops.Subtract(), one, power)))
        step_size = shared(ops.Divide(), rate, corrections[0])
        for name, parameter in parameters.items():
            emit = emitter(graph, parameter, type(self).__name__)
            self._append_update(emit, name, parameter, gradients[name], (rate, step_size, corrections[1]))
            initial |= {f"{name}.mean": 0.0, f"{name}.square": 0.0}
        return initial

    def _append_update(
        self, emit: Emitter, name: str, parameter: Value, gradient: Value, rates: tuple[Value, Value, Value]
    ) -> None:
        rate, step_size, correction = rates
        if self.decoupled:
            rest = shrunk(emit, rate, self.weight_decay, parameter)
        else:
            rest = parameter
            gradient = decayed(emit, self.weight_decay, parameter, gradient)
        mean = averaged(emit, f"{name}.mean", self.beta1, gradient)
        square = averaged(emit, f"{name}.square", self.beta2, squared(emit, gradient))
        root = emit(ops.Sqrt(), emit(ops.Divide(), square, correction))
        divisor = emit(ops.Add(), root, ops.constant(emit, self.epsilon, root.type))
        step = emit(ops.Multiply(), step_size, emit(ops.Divide(), mean, divisor))
        emit.graph.update(name, emit(ops.Subtract(), rest, step))


@known_arguments
@dataclass(frozen=True, slots=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: w ← w - rate · weight_decay · w (Loshchilov, Hutter, ICLR 2019)."""

    weight_decay: float = 0.01

    decoupled: ClassVar[bool] = True
