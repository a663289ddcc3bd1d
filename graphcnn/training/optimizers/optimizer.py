"""What an optimiser is, and what it must have done to the graph of a training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.ir import Graph, TensorType, Value
from graphcnn.ops.attributes import fits_float
from graphcnn.training.options import SCHEDULED, is_schedule, refuse
from graphcnn.training.parts import blaming, check_part, definition, title

LEARNING_RATE = "learning_rate"
_GREATEST: Final = float(np.finfo(np.float64).max)


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
        if label not in graph.updates:
            raise fault(
                f"never replaces the state {label!r}, which would stay as it is",
                f"graph.update({label!r}, value), with what the state is after the step",
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
    """Return the first value of a state, read-only: a number takes no more room than one."""
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
    return np.broadcast_to(array.astype(type.dtype), shape)


def checked_rate(rate: object) -> float:
    """Return a learning rate as a float. Raises OptionError unless it is a finite number of at least 0."""
    is_number = isinstance(rate, int | float | np.floating) and not isinstance(rate, bool)
    if not is_number or not fits_float(rate) or not 0 <= rate < math.inf:  # type: ignore[operator,arg-type]
        mend = SCHEDULED if is_schedule(rate) else "for example 0.05"
        refuse(f"learning_rate={rate!r:.60} is not a finite number of at least 0", mend)
    return float(rate)  # type: ignore[arg-type]
