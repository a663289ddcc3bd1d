"""Wrong gradient rules, made of right ones by one slip each: whether the checks of gradients catch them.

A rule emits nodes, so a slip is made where a node is emitted: its sign is lost, a factor is left out, its
operands change places, an attribute differs by a little. It is told by the way of calls from the rule to the
node, and is then in that rule whatever it is applied to. A mutant is caught if in some case of the matrix
(`gradient_cases`), or at some kink (`KINKS`), the gradient that it gives is found to be wrong: by central
differences or by numbers that are known, never by the right rule.

Source: DeMillo, Lipton and Sayward, "Hints on test data selection", 1978, on testing tests by mutation.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, Final, TypeAlias, get_type_hints

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.backend import reference
from graphcnn.errors import GraphcnnError
from graphcnn.ir import Emitter, Gradients, Op, TensorType, Value, Values
from graphcnn.testing.gradient_matrix import GradientCase, build_gradient_case, forward_graph, gradient_cases
from graphcnn.testing.gradients import check_gradients
from graphcnn.testing.kinks import KINKS, Kink
from graphcnn.transform import differentiate

COMMUTATIVE: Final = (
    *(ops.Add, ops.Multiply, ops.Maximum, ops.Minimum),
    *(ops.Equal, ops.LogicalAnd, ops.LogicalOr),
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One slip in one gradient rule.

    op: the name of the op that the rule is of. place: the functions and lines from the rule to where the node
    is emitted; empty for what the rule returns. emitted: the name of the node's op. number: which one it is
    of those emitted there. slip: what is wrong.
    """

    op: str
    place: tuple[tuple[str, int], ...]
    emitted: str
    number: int
    slip: str

    def __str__(self) -> str:
        place = " > ".join(f"{function}:{line}" for function, line in self.place)
        where = f"{self.emitted} #{self.number} in {place}" if place else f"what it returns #{self.number}"
        return f"{self.op}: {where}: {self.slip}"


class Verdict(Enum):
    """What became of a mutant. One that changes no number in any case is without effect."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    WITHOUT_EFFECT = "without effect"


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict on every mutant."""

    verdicts: dict[Mutant, Verdict]

    def of(self, verdict: Verdict) -> list[Mutant]:
        return [mutant for mutant, found in self.verdicts.items() if found is verdict]

    def __str__(self) -> str:
        caught, survived, idle = (self.of(verdict) for verdict in Verdict)
        rules = len({mutant.op for mutant in self.verdicts})
        text = (
            f"{len(caught)} of {len(caught) + len(survived)} wrong rules caught, of {rules} gradient rules; "
            f"{len(idle)} slips change nothing"
        )
        return "\n".join([text, *(f"  survived: {mutant}" for mutant in survived)])


Slip: TypeAlias = Callable[[Emitter, Op, Values], tuple[Value, ...]]
"""Emits something else in place of an op on operands."""


class _Rule:
    """The gradient rule of an op under test: notes where it emits nodes, and makes one slip."""

    def __init__(self, op: type[Op], mutant: Mutant | None = None) -> None:
        self.op, self.mutant = op, mutant
        self.right = op.gradient
        self.found: dict[Mutant, None] = {}
        self.counts: dict[tuple[Any, ...], int] = {}
        self.known: list[Value] = []

    def gradient(self, op: Op, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        self.counts.clear()
        self.known = [*operands, *results, delta]
        gradients = self.right(
            op, _SlippingEmitter(emit.graph, emit.origin, rule=self), operands, results, delta
        )
        for slip, wrong in _wrong_results(emit, operands, gradients, delta):
            mutant = Mutant(op.name, (), "", 0, slip)
            self.found[mutant] = None
            if mutant == self.mutant:
                gradients = wrong()
        return gradients

    def emit(self, emit: Emitter, op: Op, operands: Values) -> tuple[Value, ...]:
        place = _place()
        number = self.counts[place, op.name] = self.counts.get((place, op.name), -1) + 1
        for slip, wrong in _slips(op, operands, self.known):
            mutant = Mutant(self.op.name, place, op.name, number, slip)
            self.found[mutant] = None
            if mutant == self.mutant:
                return wrong(Emitter(emit.graph, emit.origin), op, operands)
        return Emitter(emit.graph, emit.origin).all(op, *operands)


@dataclass(frozen=True)
class _SlippingEmitter(Emitter):
    """Emits what a rule wants, but for one slip."""

    rule: _Rule = field(kw_only=True)

    def __call__(self, op: Op, *operands: Value) -> Value:
        return self.rule.emit(self, op, operands)[0]

    def all(self, op: Op, *operands: Value) -> tuple[Value, ...]:
        return self.rule.emit(self, op, operands)


def _place() -> tuple[tuple[str, int], ...]:
    """Return the functions and lines from the gradient rule to the call of the emitter."""
    frame = sys._getframe(3)
    found: list[tuple[str, int]] = []
    while frame is not None and PurePath(frame.f_code.co_filename).name != PurePath(__file__).name:
        found.append((frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(reversed(found))


# Slips


def _slips(op: Op, operands: Values, known: Sequence[Value]) -> Iterator[tuple[str, Slip]]:
    """Yield what can go wrong where an op is emitted, as far as types still fit."""
    types = op.result_types(*(operand.type for operand in operands))
    if len(types) == 1 and types[0].is_float:
        yield "sign", lambda emit, op, operands: (emit(ops.Negate(), emit(op, *operands)),)
    for position, operand in enumerate(operands):
        if len(types) == 1 and operand.type == types[0]:
            yield f"operand {position} in its place", _operand(position)
    for first, second in itertools.combinations(range(len(operands)), 2):
        if operands[first] != operands[second] and not isinstance(op, COMMUTATIVE):
            order = list(range(len(operands)))
            order[first], order[second] = second, first
            if _fits(op, [operands[index] for index in order], types):
                yield f"operands {first} and {second} exchanged", _ordered(order)
    for slip, other in _other_ops(op, operands, types):
        yield slip, _other(other)
    for position, value in itertools.product(range(len(operands)), range(len(known))):
        if known[value] != operands[position] and known[value].type == operands[position].type:
            yield f"value {value} of the rule as operand {position}", _value(position, known[value])


def _operand(position: int) -> Slip:
    return lambda emit, op, operands: (operands[position],)


def _ordered(order: Sequence[int]) -> Slip:
    return lambda emit, op, operands: emit.all(op, *(operands[index] for index in order))


def _other(other: Op) -> Slip:
    return lambda emit, op, operands: emit.all(other, *operands)


def _value(position: int, value: Value) -> Slip:
    return lambda emit, op, operands: emit.all(op, *operands[:position], value, *operands[position + 1 :])


def _fits(op: Op, operands: Sequence[Value], types: tuple[TensorType, ...]) -> bool:
    try:
        return op.result_types(*(operand.type for operand in operands)) == types
    except GraphcnnError:
        return False


def _other_ops(op: Op, operands: Values, types: tuple[TensorType, ...]) -> Iterator[tuple[str, Op]]:
    """Yield other ops on the same operands: of other attributes, and the next one of the same attributes."""
    for slip, other in _other_attributes(op):
        if _fits(other, operands, types):
            yield slip, other
    names = [field.name for field in fields(op)]
    every = list(ops.OPS.values())
    place = every.index(type(op))
    for kind in (*every[place + 1 :], *every[:place]):
        if kind.arity == op.arity and [field.name for field in fields(kind)] == names and types[0].is_float:
            other = kind(**{name: getattr(op, name) for name in names})
            if _fits(other, operands, types):
                yield f"{kind.name} in its place", other
                return


def _other_attributes(op: Op) -> Iterator[tuple[str, Op]]:
    """Yield an op with one attribute changed a little, or with two attributes of one type exchanged."""
    values = {field.name: getattr(op, field.name) for field in fields(op)}
    hints = get_type_hints(type(op))
    changes: list[tuple[str, dict[str, Any]]] = [
        (f"{name} {change}", {name: other})
        for name, value in values.items()
        for change, other in _other_values(value)
    ]
    for first, second in itertools.combinations(values, 2):
        if hints[first] == hints[second]:
            exchanged = {first: values[second], second: values[first]}
            changes.append((f"{first} and {second} exchanged", exchanged))
    for slip, change in changes:
        try:
            other = replace(op, **change)
        except GraphcnnError:
            continue
        if other != op:
            yield slip, other


def _other_values(value: object) -> Iterator[tuple[str, object]]:
    """Yield values near one: numbers a little off, tuples in another order or with one item a little off."""
    if isinstance(value, bool):
        yield "turned round", not value
    elif isinstance(value, int):
        yield from (("one more", value + 1), ("one less", value - 1))
    elif isinstance(value, float):
        yield "doubled", 2 * value if value else 1.0
    elif isinstance(value, tuple):
        yield "in reverse", value[::-1]
        for place, item in enumerate(value):
            for change, other in _other_values(item):
                yield f"[{place}] {change}", (*value[:place], other, *value[place + 1 :])
        if len(value) == 2 and all(type(item) is int for item in value):
            yield "shifted by one", (value[0] + 1, value[1] - 1)
            yield "shifted back by one", (value[0] - 1, value[1] + 1)


def _wrong_results(
    emit: Emitter, operands: Values, gradients: Gradients, delta: Value
) -> Iterator[tuple[str, Callable[[], Gradients]]]:
    """Yield what can go wrong with what a rule returns: a gradient left out, in a wrong place, or made up."""
    for position, (operand, gradient) in enumerate(zip(operands, gradients, strict=True)):
        if not operand.type.is_float:
            continue
        if gradient is not None:
            yield f"no gradient of operand {position}", _with(gradients, {position: None})
            continue

        def made_up(position: int = position, type: TensorType = operand.type) -> Gradients:
            one = ops.constant(emit, 1.0, type)
            ones = one if type.is_scalar else emit(ops.Broadcast(type.shape), one)
            return _with(gradients, {position: ones})()

        yield f"a gradient of ones for operand {position}", made_up
    for first, second in itertools.combinations(range(len(gradients)), 2):
        one, other = gradients[first], gradients[second]
        if one is not None and other is not None and one.type == other.type and one != other:
            wrong = {first: other, second: one}
            yield f"gradients of operands {first} and {second} exchanged", _with(gradients, wrong)


def _with(gradients: Gradients, changed: Mapping[int, Value | None]) -> Callable[[], Gradients]:
    return lambda: tuple(changed.get(place, gradient) for place, gradient in enumerate(gradients))


# Verdicts


@contextmanager
def _in_place(rule: _Rule) -> Iterator[_Rule]:
    """Let a rule under test stand for the right one."""
    own = "gradient" in vars(rule.op)

    def gradient(op: Op, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return rule.gradient(op, emit, operands, results, delta)

    setattr(rule.op, "gradient", gradient)  # noqa: B010
    try:
        yield rule
    finally:
        if own:
            setattr(rule.op, "gradient", rule.right)  # noqa: B010
        else:
            delattr(rule.op, "gradient")


def _cases_of(op: type[Op]) -> tuple[str, ...]:
    """Return the cases in whose forward graphs an op is, the smallest ones first; those of float64 alone."""
    return tuple(name for _, name, kinds in _sizes() if op in kinds)


@cache
def _sizes() -> list[tuple[tuple[int, int], str, frozenset[type[Op]]]]:
    """Return every case of float64 with its size and the ops in it, by size."""
    found = []
    for name in gradient_cases():
        if name.endswith("float64"):
            graph = forward_graph(name)
            elements = sum(value.type.elements(16) for value in graph.inputs.values())
            kinds = frozenset(type(node.op) for _, node in graph.items())
            found.append(((len(graph), elements), name, kinds))
    return sorted(found, key=lambda entry: entry[:2])


@cache
def _case(name: str) -> GradientCase:
    return build_gradient_case(name).in_float64()


def _gradients(case: GradientCase) -> dict[str, Array]:
    graph, found = differentiate(
        case.graph, case.scalar, {label: case.graph.inputs[label] for label in case.wrt}
    )
    for label, value in found.items():
        graph.output(label, value)
    with np.errstate(all="ignore"):
        return reference().compile(graph)(**case.arrays)


@cache
def _right_gradients(name: str) -> dict[str, Array]:
    return _gradients(_case(name))


def mutants_of(op: type[Op], *, cases: int | None = None) -> dict[Mutant, tuple[str, ...]]:
    """Return the mutants of an op's gradient rule, and in which cases each has a place, small ones first.

    cases: how many of the smallest cases to look at; all by default.
    """
    found: dict[Mutant, list[str]] = {}
    for name in _cases_of(op)[:cases]:
        case = _case(name)
        with _in_place(_Rule(op)) as rule:
            differentiate(case.graph, case.scalar, {label: case.graph.inputs[label] for label in case.wrt})
        for mutant in rule.found:
            found.setdefault(mutant, []).append(name)
    for kink in KINKS:
        if type(kink.op) is op:
            with _in_place(_Rule(op)) as rule:
                kink.gradients()
            for mutant in rule.found:
                found.setdefault(mutant, [])
    return {mutant: tuple(names) for mutant, names in found.items()}


def judge(op: type[Op], mutant: Mutant, names: Iterable[str]) -> Verdict:
    """Return what the checks make of a mutant, in these cases and at the kinks of its op."""
    has_effect = False
    for name in names:
        case, right = _case(name), _right_gradients(name)
        with _in_place(_Rule(op, mutant)):
            try:
                wrong = _gradients(case)
            except GraphcnnError:
                return Verdict.CAUGHT
            if all(_same(wrong[label], array) for label, array in right.items()):
                continue
            has_effect = True
            try:
                with np.errstate(all="ignore"):
                    check_gradients(case.graph, case.scalar, case.wrt, case.arrays, order=1)
            except AssertionError:
                return Verdict.CAUGHT
    for kink in KINKS:
        if type(kink.op) is op and _is_caught_at(kink, _Rule(op, mutant)):
            return Verdict.CAUGHT
    return Verdict.SURVIVED if has_effect else Verdict.WITHOUT_EFFECT


def _same(found: Array, right: Array) -> bool:
    return bool(np.allclose(found, right, rtol=1e-9, atol=1e-11))


def _is_caught_at(kink: Kink, rule: _Rule) -> bool:
    with _in_place(rule), np.errstate(all="ignore"):
        try:
            kink.check()
        except (AssertionError, GraphcnnError):
            return True
    return False


def mutation_score(
    kinds: Iterable[type[Op]] | None = None, *, cases: int | None = None, most: int | None = None
) -> Score:
    """Seed slips in the gradient rules of ops, of all by default, and return what the checks make of them.

    cases: as in `mutants_of`. most: how many mutants of each rule to judge, spread over all of its mutants.
    """
    verdicts: dict[Mutant, Verdict] = {}
    for op in tuple(ops.OPS.values()) if kinds is None else kinds:
        mutants = mutants_of(op, cases=cases)
        step = 1 if most is None else -(-len(mutants) // most) or 1
        for mutant, names in itertools.islice(mutants.items(), 0, None, step):
            verdicts[mutant] = judge(op, mutant, names)
    return Score(verdicts)
