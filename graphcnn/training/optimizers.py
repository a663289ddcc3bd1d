"""Optimisers: each appends the nodes that replace parameters and its own state after a step.

The learning rate is an input of the graph, so that a schedule needs no compilation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Graph, Origin, TensorType, Value, users_line
from graphcnn.ops.attributes import fits_float
from graphcnn.training.parts import blaming, check_part, definition, title

LEARNING_RATE = "learning_rate"


class Optimizer(Protocol):
    """What `gcn.compile` takes as an optimiser: one of these, or an object of your own with these attributes.

    It is saved with a model as a loss is.
    """

    @property
    def learning_rate(self) -> float:
        """The learning rate to begin with."""

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> Mapping[str, float | Array]:
        """Append the update of every parameter, and return the first value of each state it added.

        graph: that of the step: `emit = gcn.Emitter(graph)` appends nodes; `graph.input(name, type,
        role="state")` adds a state, and `graph.update(name, value)` says what replaces a parameter or state.
        parameters, gradients: by name, and of equal types. rate: the learning rate, a scalar.
        A first value is a number, for every element, or an array.
        """


def check_optimizer(optimizer: object) -> None:
    """Raise OptionError unless this is an optimiser."""
    call = "append_updates(self, graph, parameters, gradients, rate)"
    check_part("optimizer", optimizer, {"append_updates": f"def {call}: ..."}, "gcn.SGD(0.05)")
    rate = getattr(optimizer, "learning_rate", None)
    is_number = isinstance(rate, int | float | np.number) and not isinstance(rate, bool)
    if not is_number or not 0 <= rate <= _GREATEST:  # type: ignore[operator]
        raise OptionError(
            f"{title(optimizer)}.learning_rate={rate!r:.60} is not a finite number of at least 0",
            facts=definition(optimizer, "append_updates"),
            mend="learning_rate: float = 0.01, in the class",
        )


def append_updates(
    optimizer: Optimizer,
    graph: Graph,
    parameters: Mapping[str, Value],
    gradients: Mapping[str, Value],
    rate: Value,
) -> dict[str, Array]:
    """Append an optimiser's updates to the graph of a step; return the first value of each state it added.

    Raises OptionError for an optimiser of the user's own that leaves out an update or a first value.
    """
    before = set(graph.inputs)
    with blaming(optimizer, "append_updates"):
        given = optimizer.append_updates(graph, parameters, gradients, rate)
    added = {label: value for label, value in graph.inputs.items() if label not in before}

    def fault(problem: str, mend: str) -> OptionError:
        return OptionError(
            f"{title(optimizer)}.append_updates {problem}",
            facts=definition(optimizer, "append_updates"),
            mend=mend,
        )

    if not isinstance(given, Mapping):
        raise fault(
            f"returned {given!r:.60}, not the first values of its states",
            "end it with `return {}`, or {name: 0.0} with the name of each state that it added",
        )
    for label in parameters:
        if label not in graph.updates:
            raise fault(
                f"has no update of the parameter {label!r}",
                "graph.update(name, value) for each of `parameters`; parameters[name] itself to keep one",
            )
    for label, value in added.items():
        if graph.role(label) != "state" or value.type.has_batch:
            raise fault(
                f"added the input {label!r} as {graph.role(label)} {value.type}",
                'graph.input(name, type, role="state"), of a type without the batch axis N',
            )
        if label not in given:
            raise fault(f"gives no first value of the state {label!r}", f"return {{{label!r}: 0.0}}")
    for label in given:
        if label not in added:
            raise fault(
                f"gives a first value of {label!r}, which is no state that it added",
                'graph.input(name, type, role="state") adds one',
            )
    return {label: _first_value(fault, label, value.type, given[label]) for label, value in added.items()}


def _first_value(
    fault: Callable[[str, str], OptionError], label: str, type: TensorType, given: object
) -> Array:
    """Return the first value of a state as an array of its own."""
    shape = type.concrete(1)
    try:
        array = np.asarray(given)
    except ValueError:
        array = np.empty(0)
    fits = array.shape in ((), shape) and array.dtype.kind in "biuf"
    if not fits or not np.can_cast(array.dtype, type.dtype, "same_kind"):
        found = f"{array.dtype}{list(array.shape)}" if isinstance(given, np.ndarray) else f"{given!r:.60}"
        raise fault(
            f"gives {found} as first value of the state {label!r}, which is {type}",
            "a number for every element, or an array of the state's shape",
        )
    return np.array(np.broadcast_to(array, shape), type.dtype)


def _require(name: str, value: object, allowed: Callable[[float], bool], range: str) -> None:
    """Raise OptionError, at the user's line, unless the value is a finite number that is allowed."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and abs(value) <= _GREATEST and allowed(value):  # type: ignore[arg-type]
        return
    place = users_line()
    error = OptionError(f"{name}={value!r} is not a number {range}", mend=f"give a {name} {range}")
    raise error.located(file=place.file, line=place.line)


_GREATEST = float(np.finfo(np.float64).max)


def _is_positive(value: float) -> bool:
    return value > 0


def _is_not_negative(value: float) -> bool:
    return value >= 0


def _is_share(value: float) -> bool:
    return 0 <= value < 1


def _emitter(graph: Graph, parameter: Value, rule: str) -> Emitter:
    """Return an emitter for the update of one parameter, which belongs to its layer."""
    place = graph.node(parameter.key).origin
    return Emitter(graph, Origin(place.file, place.line, place.layer, rule, forward=parameter.key))


def _scaled(emit: Emitter, factor: float, value: Value) -> Value:
    return emit(ops.Multiply(), ops.constant(emit, factor, value.type), value)


def _decayed(emit: Emitter, weight_decay: float, parameter: Value, gradient: Value) -> Value:
    """Append the gradient of the loss plus an L2 penalty of ½ weight_decay · w²."""
    return emit(ops.Add(), gradient, _scaled(emit, weight_decay, parameter)) if weight_decay else gradient


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
        _require("learning_rate", self.learning_rate, _is_positive, "above 0")
        _require("momentum", self.momentum, _is_share, "of at least 0 and below 1")
        _require("weight_decay", self.weight_decay, _is_not_negative, "of at least 0")
        if not isinstance(self.nesterov, bool):
            raise OptionError(f"nesterov={self.nesterov!r} is neither True nor False", mend="nesterov=True")
        if self.nesterov:
            _require("momentum", self.momentum, _is_positive, "above 0, which nesterov=True needs")

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> dict[str, float]:
        """Append w ← w - rate · v for every parameter; the velocity v is state."""
        initial: dict[str, float] = {}
        for name, parameter in parameters.items():
            emit = _emitter(graph, parameter, "SGD")
            direction = _decayed(emit, self.weight_decay, parameter, gradients[name])
            if self.momentum:
                label = f"{name}.velocity"
                initial[label] = 0.0
                velocity = graph.input(label, parameter.type, role="state", origin=emit.origin)
                gradient = direction
                direction = emit(ops.Add(), _scaled(emit, self.momentum, velocity), gradient)
                graph.update(label, direction)
                if self.nesterov:
                    direction = emit(ops.Add(), gradient, _scaled(emit, self.momentum, direction))
            graph.update(name, emit(ops.Subtract(), parameter, emit(ops.Multiply(), rate, direction)))
        return initial


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
        _require("learning_rate", self.learning_rate, _is_positive, "above 0")
        _require("beta1", self.beta1, _is_share, "of at least 0 and below 1")
        _require("beta2", self.beta2, _is_share, "of at least 0 and below 1")
        _require("epsilon", self.epsilon, _is_positive, "above 0")
        _require("weight_decay", self.weight_decay, _is_not_negative, "of at least 0")

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> dict[str, float]:
        """Append w ← w - rate · m̂ / (√v̂ + ε) for every parameter; the averages m and v are state."""
        initial: dict[str, float] = {}
        shared = Emitter(graph, Origin(rule=type(self).__name__))
        corrections = []
        for number, beta in enumerate((self.beta1, self.beta2), 1):
            label = f"adam.beta{number}_power"
            initial[label] = 1.0
            power = graph.input(label, TensorType((), "float64"), role="state", origin=shared.origin)
            power = _scaled(shared, beta, power)
            graph.update(label, power)
            one = ops.constant(shared, 1.0, power.type)
            corrections.append(shared(ops.Cast(rate.type.dtype), shared(ops.Subtract(), one, power)))
        step_size = shared(ops.Divide(), rate, corrections[0])
        for name, parameter in parameters.items():
            emit = _emitter(graph, parameter, type(self).__name__)
            self._append_update(emit, name, parameter, gradients[name], (rate, step_size, corrections[1]))
            initial |= {f"{name}.mean": 0.0, f"{name}.square": 0.0}
        return initial

    def _append_update(
        self, emit: Emitter, name: str, parameter: Value, gradient: Value, rates: tuple[Value, Value, Value]
    ) -> None:
        rate, step_size, correction = rates
        if self.decoupled and self.weight_decay:
            shrink = emit(ops.Multiply(), rate, _scaled(emit, self.weight_decay, parameter))
            decayed = emit(ops.Subtract(), parameter, shrink)
        else:
            decayed = parameter
            gradient = _decayed(emit, self.weight_decay, parameter, gradient)
        mean = self._average(emit, f"{name}.mean", self.beta1, gradient)
        square = self._average(emit, f"{name}.square", self.beta2, emit(ops.Multiply(), gradient, gradient))
        root = emit(ops.Sqrt(), emit(ops.Divide(), square, correction))
        divisor = emit(ops.Add(), root, ops.constant(emit, self.epsilon, root.type))
        step = emit(ops.Multiply(), step_size, emit(ops.Divide(), mean, divisor))
        emit.graph.update(name, emit(ops.Subtract(), decayed, step))

    @staticmethod
    def _average(emit: Emitter, label: str, beta: float, new: Value) -> Value:
        """Append beta · old + (1 - beta) · new as the update of the state `label`."""
        old = emit.graph.input(label, new.type, role="state", origin=emit.origin)
        average = emit(ops.Add(), _scaled(emit, beta, old), _scaled(emit, 1.0 - beta, new))
        emit.graph.update(label, average)
        return average


@dataclass(frozen=True, slots=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: w ← w - rate · weight_decay · w (Loshchilov, Hutter, ICLR 2019)."""

    weight_decay: float = 0.01

    decoupled: ClassVar[bool] = True


OPTIMIZERS: dict[str, type[SGD] | type[Adam] | type[AdamW]] = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}
"""The optimisers that a weights file can name."""


def checked_rate(rate: object) -> float:
    """Return a learning rate as a float. Raises OptionError unless it is a finite number of at least 0."""
    is_number = isinstance(rate, int | float | np.floating) and not isinstance(rate, bool)
    if not is_number or not fits_float(rate) or not 0 <= rate < math.inf:  # type: ignore[operator,arg-type]
        raise OptionError(
            f"learning_rate={rate!r:.60} is not a finite number of at least 0", mend="for example 0.05"
        )
    return float(rate)  # type: ignore[arg-type]
