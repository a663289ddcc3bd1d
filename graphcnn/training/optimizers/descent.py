"""Gradient descent, and the methods that need one running average or sum for each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.ir import Emitter, Graph, Value
from graphcnn.training.optimizers.nodes import (
    averaged,
    decayed,
    emitter,
    moved,
    scaled,
    shrunk,
    squared,
    state,
)
from graphcnn.training.options import (
    is_not_negative,
    is_positive,
    is_share,
    require_flag,
    require_number,
    require_rate,
)


@known_arguments
@dataclass(frozen=True, slots=True)
class SGD:
    """Gradient descent: w ← w - rate · v, where v ← momentum · v + gradient (v is the gradient without).

    learning_rate: above 0. momentum: in [0, 1). nesterov: step along gradient + momentum · v instead.
    weight_decay: adds weight_decay · w to the gradient.
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_rate(self, self.learning_rate)
        require_number("momentum", self.momentum, is_share, "of at least 0 and below 1")
        require_number("weight_decay", self.weight_decay, is_not_negative, "of at least 0")
        require_flag("nesterov", self.nesterov)
        if self.nesterov:
            require_number("momentum", self.momentum, is_positive, "above 0, which nesterov=True needs")

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> dict[str, float]:
        """Append w ← w - rate · v for every parameter; the velocity v is state."""
        initial: dict[str, float] = {}
        for name, parameter in parameters.items():
            emit = emitter(graph, parameter, "SGD")
            direction = decayed(emit, self.weight_decay, parameter, gradients[name])
            if self.momentum:
                label = f"{name}.velocity"
                initial[label] = 0.0
                velocity = state(emit, label, parameter)
                gradient = direction
                direction = emit(ops.Add(), scaled(emit, self.momentum, velocity), gradient)
                graph.update(label, direction)
                if self.nesterov:
                    direction = emit(ops.Add(), gradient, scaled(emit, self.momentum, direction))
            moved(emit, name, parameter, rate, direction)
        return initial


@known_arguments
@dataclass(frozen=True, slots=True)
class RMSprop:
    """Gradients divided by the root of a running average of their squares: w ← w - rate · g / (√s + ε).

    (Tieleman and Hinton, Coursera lecture 6.5, 2012; with `centered` Graves, arXiv:1308.0850; as PyTorch's.)
    learning_rate: above 0. alpha: in [0, 1), the share of the old average of squares. epsilon: above 0.
    momentum: in [0, 1), of what is stepped along. centered: divide by the root of the variance, s less the
    square of the gradient's own average, instead. weight_decay: adds weight_decay · w to the gradient.
    """

    learning_rate: float = 0.01
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_rate(self, self.learning_rate)
        require_number("alpha", self.alpha, is_share, "of at least 0 and below 1")
        require_number("epsilon", self.epsilon, is_positive, "above 0")
        require_number("momentum", self.momentum, is_share, "of at least 0 and below 1")
        require_flag("centered", self.centered)
        require_number("weight_decay", self.weight_decay, is_not_negative, "of at least 0")

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> dict[str, float]:
        """Append the update of every parameter; averages and the velocity are state."""
        initial: dict[str, float] = {}
        for name, parameter in parameters.items():
            emit = emitter(graph, parameter, "RMSprop")
            gradient = decayed(emit, self.weight_decay, parameter, gradients[name])
            initial[f"{name}.square"] = 0.0
            square = averaged(emit, f"{name}.square", self.alpha, squared(emit, gradient))
            if self.centered:
                initial[f"{name}.mean"] = 0.0
                mean = averaged(emit, f"{name}.mean", self.alpha, gradient)
                variance = emit(ops.Subtract(), square, squared(emit, mean))
                zero = ops.constant(emit, 0.0, variance.type)  # rounding alone makes a variance negative
                square = emit(ops.Maximum(), variance, zero)
            root = emit(ops.Sqrt(), square)
            divisor = emit(ops.Add(), root, ops.constant(emit, self.epsilon, root.type))
            direction = emit(ops.Divide(), gradient, divisor)
            if self.momentum:
                label = f"{name}.velocity"
                initial[label] = 0.0
                old = scaled(emit, self.momentum, state(emit, label, parameter))
                direction = emit(ops.Add(), old, direction)
                graph.update(label, direction)
            moved(emit, name, parameter, rate, direction)
        return initial


@known_arguments
@dataclass(frozen=True, slots=True)
class Adagrad:
    """Gradients divided by the root of the sum of all their squares: w ← w - rate · g / (√s + ε).

    (Duchi, Hazan and Singer, JMLR 12, 2011; as PyTorch's.)
    learning_rate: above 0. initial: of at least 0, what the sum begins with. epsilon: above 0.
    weight_decay: adds weight_decay · w to the gradient.
    """

    learning_rate: float = 0.01
    initial: float = 0.0
    epsilon: float = 1e-10
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_rate(self, self.learning_rate)
        require_number("initial", self.initial, is_not_negative, "of at least 0")
        require_number("epsilon", self.epsilon, is_positive, "above 0")
        require_number("weight_decay", self.weight_decay, is_not_negative, "of at least 0")

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> dict[str, float]:
        """Append the update of every parameter; the sum of squares is state."""
        initial: dict[str, float] = {}
        for name, parameter in parameters.items():
            emit = emitter(graph, parameter, "Adagrad")
            gradient = decayed(emit, self.weight_decay, parameter, gradients[name])
            label = f"{name}.square_sum"
            initial[label] = float(self.initial)
            total = emit(ops.Add(), state(emit, label, parameter), squared(emit, gradient))
            graph.update(label, total)
            root = emit(ops.Sqrt(), total)
            divisor = emit(ops.Add(), root, ops.constant(emit, self.epsilon, root.type))
            moved(emit, name, parameter, rate, emit(ops.Divide(), gradient, divisor))
        return initial


@known_arguments
@dataclass(frozen=True, slots=True)
class Lion:
    """Steps of one size for every weight, along the sign of a running average of gradients.

    w ← w - rate · (sign(β1 · m + (1 - β1) · g) + weight_decay · w), then m ← β2 · m + (1 - β2) · g.
    (Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, program 1. A good rate is a
    third to a tenth of AdamW's, with a weight decay so much larger.)
    learning_rate: above 0. beta1, beta2: in [0, 1). weight_decay: of at least 0, apart from the gradient.
    """

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_rate(self, self.learning_rate)
        require_number("beta1", self.beta1, is_share, "of at least 0 and below 1")
        require_number("beta2", self.beta2, is_share, "of at least 0 and below 1")
        require_number("weight_decay", self.weight_decay, is_not_negative, "of at least 0")

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> dict[str, float]:
        """Append the update of every parameter; the average m is state."""
        initial: dict[str, float] = {}
        for name, parameter in parameters.items():
            emit = emitter(graph, parameter, "Lion")
            gradient = gradients[name]
            initial[f"{name}.mean"] = 0.0
            mean = state(emit, f"{name}.mean", parameter)
            between = self._between(emit, self.beta1, mean, gradient)
            graph.update(f"{name}.mean", self._between(emit, self.beta2, mean, gradient))
            rest = shrunk(emit, rate, self.weight_decay, parameter)
            moved(emit, name, rest, rate, emit(ops.Sign(), between))
        return initial

    @staticmethod
    def _between(emit: Emitter, share: float, mean: Value, gradient: Value) -> Value:
        return emit(ops.Add(), scaled(emit, share, mean), scaled(emit, 1.0 - share, gradient))
