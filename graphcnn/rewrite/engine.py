"""Applies rules to a graph: copies it node by node, and makes each node by the first rule that fits.

Nodes are made in the order of the source, operands first. Whatever is made, a copy or what a rule emits,
rules are asked about first; so all that a rule sees below a node is rewritten already, and one round over
the graph reaches a state in which no rule applies. Two things are known only after a round: which nodes
nobody needs any more, and so how often a value is read. Where nodes are left over, a second round leaves
them out, and asks the rules again if one of them was told of more than one use.

Rules apply to needed nodes only: what nobody needs is left out, or copied as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from graphcnn.errors import GraphError, add_fact
from graphcnn.ir import Graph, Input, Node, Op, Origin, Rebuild, Value, Values, needed_nodes, use_counts
from graphcnn.rewrite.rule import (
    COMMON_SUBEXPRESSIONS,
    DEAD_NODES,
    UNEXPLAINED_NODES,
    Applied,
    Match,
    Rule,
)

DEEPEST_EMISSION = 50
"""So many emissions, one inside the other, are taken for rules that apply to their own results for ever."""
MOST_ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A graph that went through rules.

    applied: what was done, in order. sources: for each key of the graph, the key in the graph given of the
    node that it was copied from or that a rule replaced by it.
    """

    graph: Graph
    applied: tuple[Applied, ...]
    sources: Mapping[int, int]


def rewrite(graph: Graph, rules: Sequence[Rule], *, limit: int | None = None) -> Rewritten:
    """Return the graph after these rules have been applied, until none applies any more.

    rules: tried at each node in this order; the first that returns a replacement wins.
    limit: stop after so many applications, where leaving out dead nodes counts as one. To find out which
    application breaks a graph, bisect it.

    The result is a graph of its own, with the same inputs, outputs and updates, in the same order. Raises
    GraphError, which names the rule, for a replacement of another type and for rules that do not end.
    """
    left = sys.maxsize if limit is None else limit
    plan = _Plan(rules)
    applied: list[Applied] = []
    sources = {key: key for key, _ in graph.items()}
    absorbed: dict[int, int] = {}
    for _ in range(MOST_ROUNDS):
        round = _Round(graph, plan, sources, absorbed, left)
        round.run()
        applied += round.applied
        left -= round.count
        graph, sources, absorbed = round.rebuild.result, round.sources, round.absorbed
        if not round.count or left <= 0:
            break
        is_clean = not plan.drops or len(plan.needed(graph)) == len(graph)
        if is_clean and not round.is_hindered:
            break
        if not round.is_hindered:
            plan = plan.without_rules()
    else:
        latest = [note.rule for note in round.applied if note.rule != plan.dead_rule]
        raise _endless(latest, f"{MOST_ROUNDS} rounds over graph {graph.name!r}")
    return Rewritten(graph, tuple(applied), sources)


def _endless(rules: Sequence[str], evidence: str) -> GraphError:
    """Return the error for rules that go on and on, given the names of the latest ones that applied."""
    names = " and ".join(repr(rule) for rule in dict.fromkeys(rules))
    return GraphError(
        f"rewriting does not come to an end: its results are rewritten again by {names}",
        facts=[evidence],
        mend="let every replacement be simpler than what it replaces, for example have fewer nodes",
    )


class _Plan:
    """The rules by the op at their root, and the engine's own work."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._dead = next((rule for rule in rules if rule in (DEAD_NODES, UNEXPLAINED_NODES)), None)
        self.drops = self._dead is not None
        self.dead_rule = "" if self._dead is None else self._dead.name
        self.shares = COMMON_SUBEXPRESSIONS in rules
        self.by_op: dict[type[Op], list[Rule]] = {}
        for rule in rules:
            if rule.rewrite is not None:
                assert isinstance(rule.ops, tuple)
                for kind in rule.ops:
                    self.by_op.setdefault(kind, []).append(rule)

    def without_rules(self) -> _Plan:
        """Return a plan that only leaves out dead nodes."""
        return _Plan([] if self._dead is None else [self._dead])

    def needed(self, graph: Graph) -> set[int]:
        return needed_nodes(graph, explained=self._dead == UNEXPLAINED_NODES)


class _Round:
    """One walk over a graph. It is the `Maker` behind the matches of the rules.

    absorbed: for nodes of the result that have become part of another, its key: what they explained, it
    explains. `before` is the same for the source, from the round before.
    is_hindered: whether a rule was told of more than one use of a value.
    """

    def __init__(
        self, source: Graph, plan: _Plan, sources: Mapping[int, int], before: Mapping[int, int], left: int
    ) -> None:
        self.rebuild = Rebuild(source)
        self.applied: list[Applied] = []
        self.count = 0
        self.sources: dict[int, int] = {}
        self.absorbed: dict[int, int] = {}
        self.is_hindered = False
        self._plan = plan
        self._old_sources = sources
        self._old_absorbed = before
        self._left = left
        self._known: dict[Hashable, Values] = {}
        self._uses: dict[tuple[int, int], int] = {}
        self._key = 0
        self._under_way: list[str] = []

    def run(self) -> None:
        source, rebuild = self.rebuild.source, self.rebuild
        needed = self._plan.needed(source)
        drops = self._plan.drops and len(needed) < len(source)
        old_uses = use_counts(source, needed if drops else range(len(source)))
        self.count += drops
        for key, node in source.items():
            self._key = self._old_sources[key]
            if key in needed:
                origin = node.origin.remapped(self._new_key)
                rebuild.replace(key, self.make(node.op, rebuild.operands(key), origin, node))
            elif drops:
                self.applied.append(Applied(self._plan.dead_rule, self._key, node.op.name))
                continue
            else:
                rebuild.copy(key, node.origin.remapped(self._new_key))
                self._note_source()
            for index, new in enumerate(rebuild.results(key)):
                uses = self._uses.get((new.key, new.index), 0)
                self._uses[new.key, new.index] = uses + old_uses[key, index]
        rebuild.name_roots()

    # The maker behind a match

    def node(self, value: Value) -> Node:
        return self.rebuild.result.node(value.key)

    def results(self, value: Value) -> Values:
        return self.rebuild.result.results(value.key)

    def existing(self, op: Op, operands: Values) -> Values | None:
        return self._known.get(_content(op, operands))

    def uses(self, value: Value) -> int:
        count = self._uses.get((value.key, value.index), 0)
        self.is_hindered |= count > 1
        return count

    def make(self, op: Op, operands: Values, origin: Origin, like: Node | None = None) -> Values:
        """Return the results of a node: by the first rule that fits, of an equal node, or of a new one.

        like: the node of the source that is copied.
        """
        for rule in self._plan.by_op.get(type(op), ()):
            if self.count + len(self._under_way) >= self._left:
                break
            place = len(self.applied)
            found = self._replacement(rule, Match(self, op, operands, origin))
            if found is not None:
                self._note(rule.name, op, place)
                self._note_absorbed(operands, found[0])
                return found
        content = _content(op, operands)
        known = self._known.get(content)
        if known is not None and self._plan.shares and self.count + len(self._under_way) < self._left:
            self._note(COMMON_SUBEXPRESSIONS.name, op, len(self.applied))
            return known
        graph = self.rebuild.result
        if like is None and isinstance(op, Input):
            raise GraphError(
                f"a rule emitted the input {op.label!r}: what a graph takes stays as it is",
                mend="give the graph this input before it is rewritten",
            )
        results = (
            graph.add_all(op, *operands, origin=origin)
            if like is None
            else graph.add_like(like, operands, origin)
        )
        if not isinstance(op, Input):
            self._known.setdefault(content, results)
        self._note_source()
        return results

    def make_as(self, value: Value, op: Op, operands: Values) -> Values:
        """Return the results of a node that is made of what the node of a value was made of."""
        own, self._key = self._key, self.sources[value.key]
        try:
            return self.make(op, operands, self.node(value).origin)
        finally:
            self._key = own

    def _replacement(self, rule: Rule, match: Match) -> Values | None:
        """Return what a rule replaces a node by, if it does. Raises GraphError where that does not fit."""
        assert rule.rewrite is not None
        if len(self._under_way) >= DEEPEST_EMISSION:
            raise _endless(self._under_way, f"{DEEPEST_EMISSION} emissions, one inside the other")
        self._under_way.append(rule.name)
        nodes = len(self.rebuild.result)
        try:
            found = rule.rewrite(match, match.op, match.operands)
        except Exception as error:
            add_fact(error, f"while rule {rule.name!r} rewrote a {match.op.name}")
            raise
        finally:
            self._under_way.pop()
        if found is None and len(self.rebuild.result) > nodes:
            raise GraphError(
                f"rule {rule.name!r} emitted nodes for a {match.op.name} and then did not apply",
                mend="decide first: return None before match.emit is called",
            )
        if found is None:
            return None
        values = found if isinstance(found, tuple) else (found,)
        wanted = match.op.result_types(*(operand.type for operand in match.operands))
        values = tuple(
            self.rebuild.result.require(value, f"replacement by {rule.name!r}") for value in values
        )
        types = tuple(value.type for value in values)
        if types != wanted:
            raise GraphError(
                f"rule {rule.name!r} replaced a {match.op.name} of type {', '.join(map(str, wanted))} "
                f"by {', '.join(map(str, types))}",
                mend="return a value of the same type for each result, or None where the rule does not apply",
            )
        return values

    # Notes

    def _note(self, rule: str, op: Op, place: int) -> None:
        """Note an application, before those of what the rule has emitted."""
        self.applied.insert(place, Applied(rule, self._key, op.name))
        self.count += 1

    def _note_source(self) -> None:
        self.sources[len(self.rebuild.result) - 1] = self._key

    def _note_absorbed(self, operands: Values, replacement: Value) -> None:
        """Note the operands that nobody else reads and that the replacement does without."""
        read = (replacement, *self.node(replacement).operands)
        for operand in operands:
            alone = self._uses.get((operand.key, operand.index), 0) <= operands.count(operand)
            if alone and operand not in read:
                self.absorbed[operand.key] = replacement.key

    def _new_key(self, old: int) -> int | None:
        """Return the key of what stands for a forward node, or of what it has become part of."""
        place: int | None = old
        for _ in range(len(self._old_absorbed) + 1):
            key = None if place is None else self.rebuild.new_key(place)
            if key is not None or place is None:
                return key
            place = self._old_absorbed.get(place)
        return None


def _content(op: Op, operands: Values) -> Hashable:
    """Return what tells nodes apart. Ops are equal where 0.0 and -0.0 differ, but do not print alike."""
    read = tuple((operand.key, operand.index) for operand in operands)
    try:
        hash(op)
    except TypeError:  # an op of the user's own, with an array or a list among its attributes
        return id(op), read
    return op, repr(op), read
