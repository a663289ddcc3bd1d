"""Rewrites that keep a graph's meaning and remove its detours: each a named rule that can be switched off."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from graphcnn.errors import OptionError
from graphcnn.ir import BATCH, Emitter, Graph, Input, Op, Value, verify
from graphcnn.ops import (
    Add,
    Broadcast,
    Constant,
    Convolve2d,
    Correlate2d,
    Count,
    Crop,
    Divide,
    Mean,
    Multiply,
    Negate,
    Pad,
    Power,
    Reshape,
    Rot180,
    Subtract,
    Sum,
    Transpose,
    ZeroInsert,
    constant,
)
from graphcnn.ops.convolution import FILTER_AXES, IMAGE_AXES

Operands = tuple[Value, ...]
Rewrite = Callable[["_Rewriter", Emitter, Op, Operands], Value | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rewrite by name. `rewrite` returns the value to use instead, or None where it does not apply."""

    name: str
    effect: str
    rewrite: Rewrite | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """One application of a rule: to which node of the graph that went in, and what stood there."""

    rule: str
    key: int
    before: str


def simplify(graph: Graph, *, without: Collection[str] = (), report: list[Applied] | None = None) -> Graph:
    """Return an equivalent graph with fewer or cheaper nodes.

    without: names of rules to leave out (`simplification_rules()` lists them).
    report: a list that receives an `Applied` for every rewrite.
    Inputs always stay, in their order. Raises OptionError for an unknown rule.
    """
    unknown = set(without) - {rule.name for rule in RULES}
    if unknown:
        raise OptionError(
            f"there is no simplification rule {', '.join(sorted(unknown))}",
            facts=[f"rules: {', '.join(rule.name for rule in RULES)}"],
        )
    active = [rule for rule in RULES if rule.name not in without]
    while True:
        applied: list[Applied] = []
        drop = any(rule.name == DEAD_NODES for rule in active)
        live = _live(graph) if drop else {key for key, _ in graph.items()}
        graph = _rewritten(graph, active, applied, live)
        if report is not None:
            report += applied
        if not applied:
            return verify(graph)


def prune(graph: Graph) -> Graph:
    """Return the graph without the nodes that no output or update needs, and otherwise as it is.

    The forward nodes that gradient nodes belong to stay, so that every gradient can still be explained.
    """
    return verify(_rewritten(graph, [], [], _live(graph, explained=True)))


def simplification_rules() -> tuple[Rule, ...]:
    """Return all rules that `simplify` knows, in the order in which they are tried."""
    return RULES


def _rewritten(graph: Graph, active: list[Rule], applied: list[Applied], live: set[int]) -> Graph:
    """Return the graph after one pass: dead nodes are left behind, the others rewritten in order."""
    rewriter = _Rewriter(graph, active, applied)
    for key, node in graph.items():
        if key in live:
            rewriter.visit(key)
        else:
            applied.append(Applied(DEAD_NODES, key, node.op.name))
    for label, value in graph.outputs.items():
        rewriter.result.output(label, rewriter.value(value))
    for label, value in graph.updates.items():
        rewriter.result.update(label, rewriter.value(value))
    return rewriter.result


def _live(graph: Graph, *, explained: bool = False) -> set[int]:
    """Return the keys that outputs, updates and inputs need; if asked, the gradients' forward nodes too."""
    live = {value.key for value in (*graph.roots(), *graph.inputs.values())}
    for key, node in sorted(graph.items(), reverse=True):
        if key not in live:
            continue
        live.update(operand.key for operand in node.operands)
        if explained and node.origin.forward is not None:
            live.add(node.origin.forward)
    return live


class _Rewriter:
    """Copies a graph node by node into a new one, applying the first rule that fits each."""

    def __init__(self, source: Graph, active: Iterable[Rule], applied: list[Applied]) -> None:
        self.source = source
        self.result = Graph(source.name)
        self._active = list(active)
        self._applied = applied
        self._share = any(rule.name == COMMON_SUBEXPRESSIONS for rule in self._active)
        self._known: dict[tuple[tuple[Op, str], Operands], Value] = {}
        self._values: dict[Value, Value] = {}
        self._absorbed: dict[int, int] = {}

    def value(self, old: Value) -> Value:
        return self._values[old]

    def definition(self, value: Value) -> tuple[Op, Operands]:
        """Return the op and operands behind a value of the new graph."""
        node = self.result.node(value.key)
        return node.op, node.operands

    def uses(self, value: Value) -> int:
        """Return how often the source uses what this value of the new graph stands for."""
        olds = [old for old, new in self._values.items() if new == value]
        return sum(len(self.source.users(old)) + self.source.roots().count(old) for old in olds)

    def visit(self, key: int) -> None:
        node = self.source.node(key)
        operands = tuple(self._values[operand] for operand in node.operands)
        emit = Emitter(self.result, node.origin.remapped(self._new_key))
        replacement = self._apply(key, emit, node.op, operands)
        if replacement is not None:
            self._values[self.source.results(key)[0]] = replacement
            self._note_absorbed(key, replacement)
            return
        name = _identity(node.op), operands
        shared = self._known.get(name) if self._share else None
        if shared is not None:
            self._applied.append(Applied(COMMON_SUBEXPRESSIONS, key, node.op.name))
            new = self.result.results(shared.key)
        else:
            new = emit.all(node.op, *operands)
            if not isinstance(node.op, Input):
                self._known[name] = new[0]
        self._values.update(zip(self.source.results(key), new, strict=True))

    def _apply(self, key: int, emit: Emitter, op: Op, operands: Operands) -> Value | None:
        for rule in self._active:
            if rule.rewrite is None:
                continue
            replacement = rule.rewrite(self, emit, op, operands)
            if replacement is not None:
                self._applied.append(Applied(rule.name, key, op.name))
                return replacement
        return None

    def _note_absorbed(self, key: int, replacement: Value) -> None:
        """Note the operands that have become part of a replacement: what they explained, it explains."""
        roots = self.source.roots()
        for operand in self.source.node(key).operands:
            used = self._values[operand] in (replacement, *self.result.node(replacement.key).operands)
            if not used and operand not in roots and self.source.users(operand) == [key]:
                self._absorbed[operand.key] = replacement.key

    def _new_key(self, old: int) -> int | None:
        if old in self._absorbed:
            return self._absorbed[old]
        value = self._values.get(self.source.results(old)[0])
        return None if value is None else value.key


def _identity(op: Op) -> tuple[Op, str]:
    """Return what tells ops apart: 0.0 and -0.0 are equal, but not the same constant."""
    return op, repr(op.value) if isinstance(op, Constant) else ""


# The rules

DEAD_NODES = "dead-nodes"
COMMON_SUBEXPRESSIONS = "common-subexpressions"


def _fold_constants(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    if isinstance(op, Count) and BATCH not in [operands[0].type.shape[axis] for axis in op.axes]:
        return constant(emit, op.of(operands[0].type, 1), operands[0].type)
    numbers = [_number(rewriter, operand) for operand in operands]
    if (
        isinstance(op, Multiply | Divide)
        and numbers[1] == 1.0
        and operands[0].type.shape == _shape(op, operands)
    ):
        return operands[0]
    if isinstance(op, Multiply) and numbers[0] == 1.0 and operands[1].type.shape == _shape(op, operands):
        return operands[1]
    if isinstance(op, Add) and numbers[0] == 0.0 and operands[1].type.shape == _shape(op, operands):
        return operands[1]
    if (
        isinstance(op, Add | Subtract)
        and numbers[1] == 0.0
        and operands[0].type.shape == _shape(op, operands)
    ):
        return operands[0]
    if isinstance(op, Power) and op.exponent == 1:
        return operands[0]
    return _folded(emit, op, operands, numbers)


def _folded(emit: Emitter, op: Op, operands: Operands, numbers: list[float | None]) -> Value | None:
    if not numbers or any(number is None for number in numbers):
        return None
    known = [number for number in numbers if number is not None]
    arithmetic: dict[type[Op], Callable[..., float]] = {
        Add: lambda x, y: x + y,
        Subtract: lambda x, y: x - y,
        Multiply: lambda x, y: x * y,
        Negate: lambda x: -x,
    }
    compute = arithmetic.get(type(op))
    if compute is None or math.isnan(folded := compute(*known)):
        return None
    number = constant(emit, folded, operands[0].type)
    (result,) = op.result_types(*(operand.type for operand in operands))
    return number if result.is_scalar else emit(Broadcast(result.shape), number)


def _number(rewriter: _Rewriter, value: Value) -> float | None:
    """Return the number that a value holds everywhere, if it is known."""
    op, operands = rewriter.definition(value)
    while isinstance(op, Broadcast):
        op, operands = rewriter.definition(operands[0])
    return op.value if isinstance(op, Constant) else None


def _shape(op: Op, operands: Operands) -> tuple[object, ...]:
    return op.result_types(*(operand.type for operand in operands))[0].shape


def _late_broadcast(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    if not isinstance(op, Multiply | Divide | Add | Subtract):
        return None
    scalars = [_broadcast_scalar(rewriter, operand) for operand in operands]
    for position, scalar in enumerate(scalars):
        other = operands[1 - position]
        if scalar is not None and not other.type.is_scalar and scalars[1 - position] is None:
            return emit(op, *((scalar, other) if position == 0 else (other, scalar)))
    return None


def _broadcast_scalar(rewriter: _Rewriter, value: Value) -> Value | None:
    """Return the scalar that a value repeats, looking through broadcasts and reshapes."""
    op, operands = rewriter.definition(value)
    while isinstance(op, Broadcast | Reshape):
        if isinstance(op, Broadcast) and operands[0].type.is_scalar:
            return operands[0]
        op, operands = rewriter.definition(operands[0])
    return None


def _rot180_pairs(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    if not isinstance(op, Rot180):
        return None
    inner, behind = rewriter.definition(operands[0])
    return behind[0] if inner == op else None


def _convolution_of_rotated(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    if not isinstance(op, Convolve2d):
        return None
    inner, behind = rewriter.definition(operands[1])
    axes = FILTER_AXES if op.sum_over == "channels" else IMAGE_AXES
    return emit(op.as_correlation(), operands[0], behind[0]) if inner == Rot180(axes) else None


def _rotated_operands(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    if (
        not isinstance(op, Correlate2d)
        or op.sum_over != "batch"
        or (op.stride, op.dilation) != ((1, 1), (1, 1))
    ):
        return None
    (left, images), (right, window) = (rewriter.definition(operand) for operand in operands)
    if left != Rot180(IMAGE_AXES) or right != Rot180(IMAGE_AXES):
        return None
    (top, bottom), (before, after) = op.padding
    mirrored = replace(op, padding=((bottom, top), (after, before)))
    return emit(Rot180(FILTER_AXES), emit(mirrored, images[0], window[0]))


def _transpose_pairs(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    if not isinstance(op, Transpose):
        return None
    if op.permutation == tuple(range(len(op.permutation))):
        return operands[0]
    inner, behind = rewriter.definition(operands[0])
    if not isinstance(inner, Transpose):
        return None
    return emit(Transpose(tuple(inner.permutation[axis] for axis in op.permutation)), behind[0])


def _reshape_chains(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    if not isinstance(op, Reshape | Broadcast):
        return None
    if op.shape == operands[0].type.shape:
        return operands[0]
    inner, behind = rewriter.definition(operands[0])
    if isinstance(op, Reshape) and isinstance(inner, Reshape):
        return emit(op, behind[0])
    return None


def _crop_of_correlation(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    """Computing less beats cutting off: a crop at stride 1 is a smaller padding."""
    if not isinstance(op, Crop):
        return None
    if not any(map(any, op.widths)):
        return operands[0]
    inner, behind = rewriter.definition(operands[0])
    if (
        not isinstance(inner, Correlate2d | Convolve2d)
        or inner.stride != (1, 1)
        or inner.sum_over != "channels"
    ):
        return None
    if op.widths[0] != (0, 0) or op.widths[3] != (0, 0):
        return None
    before = [[inner.padding[axis][side] - op.widths[1 + axis][side] for side in (0, 1)] for axis in (0, 1)]
    if any(width < 0 for pair in before for width in pair) or rewriter.uses(operands[0]) > 1:
        return None
    (top, bottom), (left, right) = before
    return emit(replace(inner, padding=((top, bottom), (left, right))), *behind)


def _pad_before_correlation(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    if not isinstance(op, Correlate2d | Convolve2d):
        return None
    inner, behind = rewriter.definition(operands[0])
    if not isinstance(inner, Pad) or inner.widths[0] != (0, 0) or inner.widths[3] != (0, 0):
        return None
    (top, bottom), (left, right) = op.padding
    (more_top, more_bottom), (more_left, more_right) = inner.widths[1:3]
    padding = ((top + more_top, bottom + more_bottom), (left + more_left, right + more_right))
    return emit(replace(op, padding=padding), behind[0], operands[1])


def _no_operation(rewriter: _Rewriter, emit: Emitter, op: Op, operands: Operands) -> Value | None:
    nothing = (
        (isinstance(op, Pad) and not any(map(any, op.widths)))
        or (isinstance(op, Sum | Mean) and not op.axes)
        or (isinstance(op, ZeroInsert) and op.factors == (1, 1))
    )
    if nothing:
        return operands[0]
    if isinstance(op, Negate):
        inner, behind = rewriter.definition(operands[0])
        return behind[0] if isinstance(inner, Negate) else None
    return None


RULES: tuple[Rule, ...] = (
    Rule(DEAD_NODES, "a node that no output or update needs is left out"),
    Rule(COMMON_SUBEXPRESSIONS, "the same op on the same operands is computed once"),
    Rule("constants", "x·1, x/1, x+0, x-0, x^1 → x; arithmetic on constants is done now", _fold_constants),
    Rule("late-broadcast", "x op broadcast(scalar) → x op scalar", _late_broadcast),
    Rule("rot180-pairs", "rot180(rot180(x)) → x", _rot180_pairs),
    Rule(
        "convolution-of-rotated",
        "convolve2d(x, rot180(k)) → correlate2d(x, k), Eq. 3",
        _convolution_of_rotated,
    ),
    Rule(
        "rotated-operands", "correlate2d(rot180(o), rot180(d)) → rot180(correlate2d(o, d))", _rotated_operands
    ),
    Rule("transpose-pairs", "a transpose of a transpose becomes one, or none", _transpose_pairs),
    Rule("reshape-chains", "a reshape of a reshape becomes one; to the same shape, none", _reshape_chains),
    Rule(
        "crop-of-correlation", "crop(correlate2d(x, k)) → correlate2d with less padding", _crop_of_correlation
    ),
    Rule(
        "pad-before-correlation",
        "correlate2d(pad(x), k) → correlate2d with more padding",
        _pad_before_correlation,
    ),
    Rule("no-operation", "an op that changes nothing is left out; -(-x) → x", _no_operation),
)
