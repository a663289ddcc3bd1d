"""What comes before and after an optimiser: gradients are accumulated and clipped, weights averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.errors import OptionError, meant
from graphcnn.ir import Emitter, Graph, Origin, TensorType, Value
from graphcnn.ops.attributes import is_int
from graphcnn.training.freezing import matching, matching_all
from graphcnn.training.optimizers.nodes import emitter, scaled, squared, state
from graphcnn.training.optimizers.optimizer import Optimizer, append_updates, check_optimizer
from graphcnn.training.options import is_not_negative, is_positive, is_share, require_flag, require_number
from graphcnn.training.parts import title

Group: TypeAlias = tuple[str, tuple[tuple[str, float], ...]]
"""A pattern of names, and what is said of the parameters that it fits."""

GivenGroups: TypeAlias = Mapping[str, Mapping[str, object]]

AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Updates:
    """An optimiser with what `gcn.compile` was told beside it: an optimiser itself, in the place of that one.

    In a step, gradients are accumulated, clipped (by value, then each, then all together) and handed to the
    optimiser group by group; then come lookahead and the average. The arguments are those of `gcn.compile`.
    """

    optimizer: Optimizer
    clip_value: float | None = None
    clip_parameter_norm: float | None = None
    clip_norm: float | None = None
    groups: tuple[Group, ...] = ()
    no_decay: bool = False
    accumulate: int = 1
    lookahead: tuple[int, float] | None = None
    average: float | None = None

    def __post_init__(self) -> None:
        check_optimizer(self.optimizer)
        for name in ("clip_value", "clip_parameter_norm", "clip_norm"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name), is_positive, "above 0")
        require_flag("no_decay", self.no_decay)
        if not is_int(self.accumulate, 1):
            raise OptionError(
                f"accumulate={self.accumulate!r:.60} is no number of batches", mend="accumulate=4"
            )
        if self.lookahead is not None:
            ahead: Any = self.lookahead
            if not isinstance(ahead, tuple) or len(ahead) != 2 or not is_int(ahead[0], 1):
                raise OptionError(
                    f"lookahead={ahead!r:.60} is not (steps, share), such as (5, 0.5)",
                    mend="lookahead=(5, 0.5)",
                )
            require_number(
                "the share of lookahead", ahead[1], lambda share: 0 < share <= 1, "above 0, up to 1"
            )
        if self.average is not None:
            require_number("average", self.average, is_share, "of at least 0 and below 1")
        decays = self.no_decay or any("weight_decay" in dict(options) for _, options in self.groups)
        fields = {field.name for field in dataclasses.fields(cast(Any, self.optimizer))} if decays else set()
        if decays and "weight_decay" not in fields:
            raise OptionError(
                f"{title(self.optimizer)} has no weight_decay that groups or no_decay could change",
                mend="leave weight_decay and no_decay out, or take gcn.SGD or gcn.AdamW",
            )

    @property
    def learning_rate(self) -> float:
        return self.optimizer.learning_rate

    def append_updates(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value], rate: Value
    ) -> dict[str, float | Array]:
        """Append all of it, and the optimiser's own updates."""
        initial: dict[str, float | Array] = {}
        due: Value | None = None
        if self.accumulate > 1:
            due, gradients = self._accumulated(graph, parameters, gradients, initial)
        gradients = self._clipped(graph, parameters, gradients)
        before = set(graph.inputs)
        for (factor, decay), names in self._by_group(parameters).items():
            some = {name: parameters[name] for name in names}
            own = self.optimizer
            if decay is not None:
                own = dataclasses.replace(cast(Any, own), weight_decay=decay)
            own_rate = scaled(Emitter(graph, Origin(rule="group")), factor, rate) if factor != 1 else rate
            initial |= append_updates(own, graph, some, {name: gradients[name] for name in names}, own_rate)
        if self.lookahead is not None:
            self._look_ahead(graph, parameters, *self.lookahead, initial)
        if self.average is not None:
            self._append_average(graph, parameters, rate, self.average, initial)
        if due is not None:
            for label in [*parameters, *(label for label in graph.inputs if label not in before)]:
                old = graph.inputs[label]
                emit = emitter(graph, old, "accumulate")
                graph.redirect(label, emit(ops.Select(), due, graph.updates[label], old))
        return initial

    def _by_group(self, parameters: Mapping[str, Value]) -> dict[tuple[float, float | None], list[str]]:
        """Return names by the factor of their rate, and by a weight decay that is not the optimiser's."""

        def of(name: str) -> tuple[float, float | None]:
            is_flat = parameters[name].type.rank < 2
            said = {"weight_decay": 0.0} if self.no_decay and is_flat else {}
            for pattern, options in self.groups:
                if matching([name], pattern):
                    said |= dict(options)
            return said.get("learning_rate", 1.0), said.get("weight_decay")

        found: dict[tuple[float, float | None], list[str]] = {}
        for name in parameters:
            found.setdefault(of(name), []).append(name)
        return found

    def _accumulated(
        self,
        graph: Graph,
        parameters: Mapping[str, Value],
        gradients: Mapping[str, Value],
        initial: dict[str, float | Array],
    ) -> tuple[Value, dict[str, Value]]:
        """Append sums of gradients; return whether they are complete, and their means."""
        due, _ = _cycle(graph, "accumulate", self.accumulate, initial)
        means: dict[str, Value] = {}
        for name, gradient in gradients.items():
            emit = emitter(graph, parameters[name], "accumulate")
            label = f"{name}.accumulated"
            initial[label] = 0.0
            total = emit(ops.Add(), state(emit, label, gradient), gradient)
            zero = ops.constant(emit, 0.0, total.type)
            graph.update(label, emit(ops.Select(), due, zero, total))
            means[name] = scaled(emit, 1.0 / self.accumulate, total)
        return due, means

    def _clipped(
        self, graph: Graph, parameters: Mapping[str, Value], gradients: Mapping[str, Value]
    ) -> Mapping[str, Value]:
        if self.clip_value is not None:
            limit = float(self.clip_value)
            gradients = {
                name: emitter(graph, parameters[name], "clip_value")(ops.Clip(-limit, limit), gradient)
                for name, gradient in gradients.items()
            }
        if self.clip_parameter_norm is not None:
            gradients = {
                name: _shortened(
                    emit := emitter(graph, parameters[name], "clip_parameter_norm"),
                    gradient,
                    _share(emit, _square(emit, gradient), self.clip_parameter_norm),
                )
                for name, gradient in gradients.items()
            }
        if self.clip_norm is not None and gradients:
            shared = Emitter(graph, Origin(rule="clip_norm"))
            squares = [
                _square(emitter(graph, parameters[name], "clip_norm"), gradient)
                for name, gradient in gradients.items()
            ]
            total = squares[0]
            for square in squares[1:]:
                total = shared(ops.Add(), total, square)
            share = _share(shared, total, self.clip_norm)
            gradients = {
                name: _shortened(emitter(graph, parameters[name], "clip_norm"), gradient, share)
                for name, gradient in gradients.items()
            }
        return gradients

    @staticmethod
    def _look_ahead(
        graph: Graph,
        parameters: Mapping[str, Value],
        steps: int,
        share: float,
        initial: dict[str, float | Array],
    ) -> None:
        """Append slow weights, which move a share of the way that a cycle of steps has made."""
        due, is_first = _cycle(graph, "lookahead", steps, initial)
        for name, parameter in parameters.items():
            emit = emitter(graph, parameter, "lookahead")
            label = f"{name}.slow"
            initial[label] = 0.0
            slow = emit(ops.Select(), is_first, parameter, state(emit, label, parameter))
            graph.update(label, slow)
            fast = graph.updates[name]
            moved = emit(ops.Add(), slow, scaled(emit, share, emit(ops.Subtract(), fast, slow)))
            graph.redirect(name, emit(ops.Select(), due, moved, fast))

    @staticmethod
    def _append_average(
        graph: Graph,
        parameters: Mapping[str, Value],
        rate: Value,
        decay: float,
        initial: dict[str, float | Array],
    ) -> None:
        """Append a ← a + (1 - decay) · (w - a); the first step sets a to w."""
        shared = Emitter(graph, Origin(rule=AVERAGE))
        label = f"{AVERAGE}.started"
        initial[label] = 0.0
        one = ops.constant(shared, 1.0, rate.type)
        share = shared(ops.Subtract(), one, scaled(shared, decay, state(shared, label, rate)))
        graph.update(label, one)
        for name, parameter in parameters.items():
            emit = emitter(graph, parameter, AVERAGE)
            label = f"{name}.{AVERAGE}"
            initial[label] = 0.0
            old = state(emit, label, parameter)
            way = emit(ops.Subtract(), graph.updates[name], old)
            graph.update(label, emit(ops.Add(), old, emit(ops.Multiply(), share, way)))


def _cycle(graph: Graph, name: str, steps: int, initial: dict[str, float | Array]) -> tuple[Value, Value]:
    """Append a count of steps; return whether this one is the last, and the first, of a cycle."""
    emit = Emitter(graph, Origin(rule=name))
    label = f"{name}.step"
    initial[label] = 0.0
    scalar = TensorType((), "float64")
    count = graph.input(label, scalar, role="state", origin=emit.origin)
    zero = ops.constant(emit, 0.0, scalar)
    new = emit(ops.Add(), count, ops.constant(emit, 1.0, scalar))
    is_last = emit(ops.Equal(), new, ops.constant(emit, float(steps), scalar))
    graph.update(label, emit(ops.Select(), is_last, zero, new))
    return is_last, emit(ops.Equal(), count, zero)


def _square(emit: Emitter, gradient: Value) -> Value:
    """Append the squared norm in float64, in which the squares of float32 are no overflow."""
    wide = emit(ops.Cast("float64"), gradient)
    axes = tuple(range(gradient.type.rank))
    return emit(ops.Sum(axes), squared(emit, wide)) if axes else squared(emit, wide)


def _share(emit: Emitter, square: Value, limit: float) -> Value:
    """Append min(1, limit / (norm + 1e-6)), as PyTorch's `clip_grad_norm_`."""
    norm = emit(ops.Add(), emit(ops.Sqrt(), square), ops.constant(emit, 1e-6, square.type))
    greatest = ops.constant(emit, float(limit), square.type)
    return emit(ops.Divide(), greatest, emit(ops.Maximum(), norm, greatest))


def _shortened(emit: Emitter, gradient: Value, share: Value) -> Value:
    return emit(ops.Multiply(), emit(ops.Cast(gradient.type.dtype), share), gradient)


def with_updates(optimizer: Optimizer | None, **options: Any) -> Optimizer | None:
    """Return the optimiser with what `gcn.compile` was told beside it; as it is where that is nothing.

    Raises OptionError for options without an optimiser, and for values that are not allowed.
    """
    nothing = {field.name: field.default for field in dataclasses.fields(Updates)}
    given = [name for name, value in options.items() if value != nothing[name]]
    if given and optimizer is None:
        raise OptionError(f"{given[0]} needs an optimizer", mend="compile(..., optimizer=gcn.SGD(0.05))")
    return Updates(optimizer, **options) if given and optimizer is not None else optimizer


def given_optimizer(optimizer: Optimizer | None) -> Optimizer | None:
    """Return the optimiser that the user gave, without what was said beside it."""
    return optimizer.optimizer if isinstance(optimizer, Updates) else optimizer


def checked_groups(given: GivenGroups | None, names: Sequence[str]) -> tuple[tuple[Group, ...], set[str]]:
    """Return groups of parameters, and the names of those that are frozen.

    given: pattern of names or layers → {"learning_rate": factor, "weight_decay": number, "frozen": True}.
    Raises OptionError for other keys and values, and for a pattern that fits no parameter.
    """
    if given is None:
        return (), set()
    if not isinstance(given, Mapping) or not all(isinstance(each, Mapping) for each in given.values()):
        raise OptionError(
            f"groups={given!r:.60} is no dictionary by pattern",
            mend='groups={"conv*": {"learning_rate": 0.1}}',
        )
    groups: list[Group] = []
    frozen: set[str] = set()
    for pattern, options in given.items():
        fits = matching_all(names, [pattern])
        numbers = dict(options)
        is_frozen = numbers.pop("frozen", False)
        require_flag(f"groups[{pattern!r}]['frozen']", is_frozen)
        frozen |= fits if is_frozen else set()
        for key, number in numbers.items():
            known = ("learning_rate", "weight_decay")
            if key not in known:
                raise OptionError(
                    f"groups[{pattern!r}] says {key!r:.60}",
                    facts=["a group says learning_rate (a factor), weight_decay or frozen"],
                    mend=meant(str(key), (*known, "frozen"), "leave it out"),
                )
            require_number(f"groups[{pattern!r}][{key!r}]", number, is_not_negative, "of at least 0")
        if numbers:
            groups.append((pattern, tuple((key, float(cast(float, n))) for key, n in numbers.items())))
    return tuple(groups), frozen
