"""What a rule is, and what it sees of the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, get_args

from graphcnn.arguments import known_arguments
from graphcnn.errors import OptionError
from graphcnn.ir import Input, Node, Op, Origin, Value, Values

Keeps: TypeAlias = Literal["exact", "finite"]
"""What a rule keeps. "exact": the same bits for all inputs, signed zeros, NaN and infinities included.
"finite": the same real number where all values are finite; rounding and the sign of zero may differ."""

Replacement: TypeAlias = Value | tuple[Value, ...] | None
"""What stands for a node from now on: a value for its result, or one for each where there are several; None
where the rule does not apply."""


class Maker(Protocol):
    """The graph that is being made, as the engine holds it."""

    def node(self, value: Value) -> Node: ...
    def results(self, value: Value) -> Values: ...
    def existing(self, op: Op, operands: Values) -> Values | None: ...
    def uses(self, value: Value) -> int: ...
    def make(self, op: Op, operands: Values, origin: Origin) -> Values: ...
    def make_as(self, value: Value, op: Op, operands: Values) -> Values: ...


class Match:
    """A node that a rule is asked about, in the graph that is being made.

    op, operands: the node. Its operands are rewritten already, and so is all that `emit` returns.
    """

    __slots__ = ("_maker", "_origin", "op", "operands")

    def __init__(self, maker: Maker, op: Op, operands: Values, origin: Origin) -> None:
        self.op = op
        self.operands = operands
        self._maker = maker
        self._origin = origin

    def definition(self, value: Value) -> Node:
        """Return the node that computes a value: its `op`, `operands` and `types`."""
        return self._maker.node(value)

    def results(self, value: Value) -> Values:
        """Return all results of the node that computes a value."""
        return self._maker.results(value)

    def existing(self, op: Op, *operands: Value) -> Value | None:
        """Return the first result of a node that is there already and does this; None where there is none."""
        results = self._maker.existing(op, operands)
        return None if results is None else results[0]

    def uses(self, value: Value) -> int:
        """Return how often nodes that are needed read a value, or name it as an output or update.

        It counts what the graph had before rewriting began; 0 is for what a rule has just emitted.
        """
        return self._maker.uses(value)

    def emit(self, op: Op, *operands: Value) -> Value:
        """Append a node on behalf of the one that is replaced, and return its first result.

        Rules apply to it at once, so the value may be made by another op.
        """
        return self.emit_all(op, *operands)[0]

    def emit_once(self, op: Op, *operands: Value) -> Value:
        """Return the first result of a node that does this already, or else of one that is appended."""
        return self.existing(op, *operands) or self.emit(op, *operands)

    def emit_as(self, value: Value, op: Op, *operands: Value) -> Value:
        """Append a node on behalf of the one that computes `value`, and return its first result.

        What becomes of an operand then still belongs to the layer, and the user's line, of that operand.
        """
        return self._maker.make_as(value, op, operands)[0]

    def emit_all(self, op: Op, *operands: Value) -> Values:
        """Append a node and return all of its results."""
        return self._maker.make(op, operands, self._origin)


@known_arguments
@dataclass(frozen=True, slots=True)
class Rule:
    """One identity by name, for example `rot180(rot180(x)) → x`.

    name: what it is called in reports, and in `without` of `simplify`.
    effect: the identity, for the eye.
    ops: the classes of ops that may stand at its root. Only nodes of exactly these classes are offered to it:
    a subclass is another op.
    rewrite: takes the match, its op and its operands; returns what stands for the node from now on, of the
    same type, or None where the rule does not apply. It emits nothing before it knows that.
    keeps: "exact" or "finite".
    group: another name, which several rules share.

    Rewriting must come to an end, so a replacement has to be simpler than what it replaces in some respect
    that no other rule spoils, such as fewer nodes.
    """

    name: str
    effect: str
    ops: tuple[type[Op], ...] | type[Op] = ()
    rewrite: Callable[..., Replacement] | None = None
    keeps: Keeps = "exact"
    group: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise OptionError(f"the name of a rule is a string, not {self.name!r:.60}")
        kinds = self.ops if isinstance(self.ops, tuple) else (self.ops,)
        if not all(isinstance(kind, type) and issubclass(kind, Op) for kind in kinds):
            raise OptionError(
                f"rule {self.name!r}: ops={self.ops!r:.80} are not classes of ops",
                mend='gcn.Rule("relu-of-relu", "relu(relu(x)) → relu(x)", graphcnn.ops.Relu, rewrite)',
            )
        if any(issubclass(kind, Input) for kind in kinds):
            raise OptionError(
                f"rule {self.name!r}: inputs stay as they are", mend="leave Input out of its ops"
            )
        object.__setattr__(self, "ops", kinds)
        if self.keeps not in get_args(Keeps):
            raise OptionError(f"rule {self.name!r}: keeps={self.keeps!r} is neither 'exact' nor 'finite'")
        if self.rewrite is not None and (not callable(self.rewrite) or not kinds):
            raise OptionError(
                f"rule {self.name!r} has no ops to apply to"
                if callable(self.rewrite)
                else f"rule {self.name!r}: rewrite={self.rewrite!r:.60} is not a function",
                mend="gcn.Rule(name, effect, ops, rewrite), with rewrite(match, op, operands)",
            )


@dataclass(frozen=True, slots=True)
class Applied:
    """One application of a rule: to which node of the graph that went in, and which op stood there."""

    rule: str
    key: int
    before: str


DEAD_NODES: Final = Rule("dead-nodes", "a node that no output or update needs is left out")
UNEXPLAINED_NODES: Final = Rule(
    "unexplained-nodes",
    "a node is left out that no output, no update and no forward node of a gradient needs",
)
COMMON_SUBEXPRESSIONS: Final = Rule(
    "common-subexpressions", "the same op on the same operands is computed once"
)
"""These three are the engine's own work: they look at no single node."""
