"""What two graphs have in common, and what differs: before and after a transform, or two networks.

Nodes are matched by structure, never by their keys: first those that compute the same from the same inputs,
then, in the order of both graphs, those that are alike in op, attributes, types and origin.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from graphcnn.errors import GraphError
from graphcnn.inspection.labels import shown, side
from graphcnn.ir import Graph, Input, Node, Origin, format_call
from graphcnn.ops import Convolve2d, Correlate2d

UNCHANGED_AROUND = 2
"""So many unchanged nodes are printed before and after a change."""

LONGEST_CALL = 200
ORIGIN_COLUMN = 78


@dataclass(frozen=True, slots=True)
class GraphDifference:
    """Which nodes of two graphs belong together, by their keys (before, after).

    common: nodes that do the same to the same operands. changed: nodes that play the same part, but have
    other attributes, types or operands. removed: keys of nodes that are only before; added: only after.
    roots: lines about outputs and updates that differ. `str` is the difference as text.
    """

    before: Graph = field(repr=False)
    after: Graph = field(repr=False)
    common: tuple[tuple[int, int], ...]
    changed: tuple[tuple[int, int], ...]
    removed: tuple[int, ...]
    added: tuple[int, ...]
    roots: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        return bool(self.changed or self.removed or self.added or self.roots)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def difference(before: Graph, after: Graph) -> GraphDifference:
    """Return how two graphs differ. Names of the graphs, keys, and lines of scripts make no difference."""
    for graph in (before, after):
        if not isinstance(graph, Graph):
            raise GraphError(f"graphs are compared, not {type(graph).__name__}", mend="model.gradient_graph")
    matching = _Matching(before, after)
    return matching.result()


class _Matching:
    """Pairs of nodes, found in rounds from the strictest likeness to the loosest."""

    def __init__(self, before: Graph, after: Graph) -> None:
        self.before, self.after = before, after
        self.partner: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self._by_content()
        self._in_order(self._exact_part)
        self._in_order(self._part)
        self._in_order(self._loose_part)

    def result(self) -> GraphDifference:
        same = {(old, new) for old, new in self.partner.items() if self._is_same(old, new)}
        pairs = sorted(self.partner.items(), key=lambda pair: pair[1])
        return GraphDifference(
            self.before,
            self.after,
            tuple(pair for pair in pairs if pair in same),
            tuple(pair for pair in pairs if pair not in same),
            tuple(key for key, _ in self.before.items() if key not in self.partner),
            tuple(key for key, _ in self.after.items() if key not in self.taken),
            tuple(self._renamed_roots()),
        )

    def _pair(self, old: int, new: int) -> None:
        self.partner[old], self.taken[new] = new, old

    def _by_content(self) -> None:
        """Pair what computes the same from the same inputs; of several such nodes, those of one origin."""
        numbers: dict[Hashable, int] = {}
        olds = _contents(self.before, numbers)
        news: dict[int, list[int]] = defaultdict(list)
        for key, number in _contents(self.after, numbers).items():
            news[number].append(key)
        for old, number in olds.items():
            free = news.get(number, [])
            if free:
                place = _place(self.before.node(old).origin)
                alike = [new for new in free if _place(self.after.node(new).origin) == place]
                chosen = (alike or free)[0]
                free.remove(chosen)
                self._pair(old, chosen)

    def _in_order(self, part: Callable[[Graph, int], Hashable]) -> None:
        """Pair what is left and plays the same part, in the order of both graphs."""
        olds = [key for key, _ in self.before.items() if key not in self.partner]
        news = [key for key, _ in self.after.items() if key not in self.taken]
        parts = [part(self.before, key) for key in olds], [part(self.after, key) for key in news]
        matcher = SequenceMatcher(None, *parts, autojunk=False)
        for old, new, length in matcher.get_matching_blocks():
            for step in range(length):
                self._pair(olds[old + step], news[new + step])

    def _exact_part(self, graph: Graph, key: int) -> Hashable:
        node = graph.node(key)
        return repr(node.op), node.types, _place(node.origin), self._forward(graph, key)

    def _part(self, graph: Graph, key: int) -> Hashable:
        node = graph.node(key)
        return node.op.name, _label(node), _place(node.origin), self._forward(graph, key)

    def _loose_part(self, graph: Graph, key: int) -> Hashable:
        node = graph.node(key)
        return _kind(node), node.origin.layer, node.origin.rule.partition(",")[0], node.origin.forward is None

    def _forward(self, graph: Graph, key: int) -> int | None:
        """Return the forward node in terms of the graph before."""
        forward = graph.node(key).origin.forward
        return forward if forward is None or graph is self.before else self.taken.get(forward)

    def _is_same(self, old: int, new: int) -> bool:
        before, after = self.before.node(old), self.after.node(new)
        if repr(before.op) != repr(after.op) or before.types != after.types:
            return False
        operands = [(self.partner.get(operand.key), operand.index) for operand in before.operands]
        return operands == [(operand.key, operand.index) for operand in after.operands]

    def _renamed_roots(self) -> Iterator[str]:
        for kind in ("outputs", "updates"):
            olds, news = getattr(self.before, kind), getattr(self.after, kind)
            for label in [*olds, *(label for label in news if label not in olds)]:
                old, new = olds.get(label), news.get(label)
                if old is None or new is None:
                    yield f"{'-' if new is None else '+'} {kind[:-1]} {shown(label)}"
                elif (self.partner.get(old.key), old.index) != (new.key, new.index):
                    yield f"~ {kind[:-1]} {shown(label)} is another value"


def _contents(graph: Graph, numbers: dict[Hashable, int]) -> dict[int, int]:
    """Return a number for each node; nodes that compute the same from the same inputs have the same one.

    numbers: grows; it is shared between the graphs that are compared.
    """
    found: dict[int, int] = {}
    for key, node in graph.items():
        operands = tuple((found[operand.key], operand.index) for operand in node.operands)
        found[key] = numbers.setdefault((repr(node.op), node.types, operands), len(numbers))
    return found


def _place(origin: Origin) -> tuple[str, str]:
    return origin.layer, origin.rule


def _label(node: Node) -> str:
    return node.op.label if isinstance(node.op, Input) else ""


def _kind(node: Node) -> str:
    """Return what an op is roughly: the two contractions change into each other."""
    return "contraction" if isinstance(node.op, Correlate2d | Convolve2d) else node.op.name + _label(node)


# As text


def _lines(found: GraphDifference) -> Iterator[str]:
    counts = [
        f"{len(found.common)} the same",
        f"{len(found.changed)} changed",
        f"{len(found.removed)} removed",
        f"{len(found.added)} added",
    ]
    yield f"- {shown(found.before.name)}, {len(found.before)} nodes"
    yield f"+ {shown(found.after.name)}, {len(found.after)} nodes: {', '.join(counts)}"
    if not found:
        return
    yield "Keys are those before; a key with a prime is new. What is not shown is the same."
    heading = ""
    for entry in _near_changes(list(_entries(found))):
        if entry.heading != heading:
            heading = entry.heading
            yield f"\n{heading}"
        yield from entry.lines
    if found.roots:
        yield ""
        yield from found.roots


@dataclass(frozen=True, slots=True)
class _Entry:
    """One node, or a pair that changed, as lines under the heading of its layer."""

    heading: str
    lines: tuple[str, ...]
    is_change: bool


def _entries(found: GraphDifference) -> Iterator[_Entry]:
    """Yield all nodes in the order after, and before each what was removed there."""
    old_of = {new: old for old, new in (*found.common, *found.changed)}
    common = {new for _, new in found.common}
    removed = list(found.removed[::-1])

    def before(old: int) -> str:
        return _line("-", found.before, old, lambda key: f"%{key}")

    def after(sign: str, new: int) -> str:
        return _line(sign, found.after, new, lambda key: f"%{old_of[key]}" if key in old_of else f"%{key}'")

    for new, _ in found.after.items():
        old = old_of.get(new)
        while old is not None and removed and removed[-1] < old:
            key = removed.pop()
            yield _Entry(_heading(found.before, key), (before(key),), is_change=True)
        heading = _heading(found.after, new)
        if old is None:
            yield _Entry(heading, (after("+", new),), is_change=True)
        elif new in common:
            yield _Entry(heading, (after(" ", new),), is_change=False)
        else:
            yield _Entry(heading, (before(old), after("+", new)), is_change=True)
    for key in removed[::-1]:
        yield _Entry(_heading(found.before, key), (before(key),), is_change=True)


def _near_changes(entries: list[_Entry]) -> Iterator[_Entry]:
    changes = [number for number, entry in enumerate(entries) if entry.is_change]
    near = {n + step for n in changes for step in range(-UNCHANGED_AROUND, UNCHANGED_AROUND + 1)}
    return (entry for number, entry in enumerate(entries) if number in near)


def _heading(graph: Graph, key: int) -> str:
    node = graph.node(key)
    part = side(graph, node)
    layer = shown(node.origin.layer) or "no layer"
    return layer if part == "forward" else f"{layer}: {part}"


def _line(sign: str, graph: Graph, key: int, name: Callable[[int], str]) -> str:
    """Return a node in the text form, under the names that keys have here."""
    node = graph.node(key)
    call = re.sub(r"%(\d+)", lambda m: name(int(m[1])), format_call(graph, key), count=len(node.operands))
    types = ", ".join(map(str, node.types))
    line = f"{sign} {name(key)}: {types} = {shown(call, LONGEST_CALL)}"
    rule = shown(node.origin.rule)
    return f"{line:<{ORIGIN_COLUMN}} | {rule}" if rule else line
