"""Rewrites that keep a graph's meaning and remove its detours: each a named rule that can be switched off."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from graphcnn.arguments import known_arguments
from graphcnn.errors import OptionError
from graphcnn.ir import Graph, verify
from graphcnn.rewrite import (
    COMMON_SUBEXPRESSIONS,
    DEAD_NODES,
    UNEXPLAINED_NODES,
    Applied,
    Rule,
    rewrite,
)
from graphcnn.transform.rules import arithmetic, convolution, movement

RULES: Final[tuple[Rule, ...]] = (
    DEAD_NODES,
    COMMON_SUBEXPRESSIONS,
    *arithmetic.RULES,
    *movement.RULES,
    *convolution.RULES,
)
"""All of them make a graph smaller: the nodes of an output's expression, written out in full without sharing,
become fewer with each application, or, for the first two, they stay and the graph has fewer nodes. So every
simplification ends."""


@known_arguments
def simplify(
    graph: Graph,
    *,
    without: Collection[str] = (),
    rules: Sequence[Rule] = (),
    report: list[Applied] | None = None,
) -> Graph:
    """Return an equivalent graph with fewer or cheaper nodes.

    without: names of rules, or of groups of rules, to leave out (`simplification_rules()` lists them).
    rules: rules of your own, which are tried before the others.
    report: a list that receives an `Applied` for every rewrite.
    Inputs always stay, in their order. The graph returned has values of its own.
    Raises OptionError for an unknown rule, and GraphError for a rule of your own that does not fit.
    """
    own = _own_rules(rules)
    names = {name for rule in (*RULES, *own) for name in (rule.name, rule.group) if name}
    if isinstance(without, str):
        raise OptionError(f"without={without!r} is not a collection of names", mend=f"without=[{without!r}]")
    unknown = set(without) - names
    if unknown:
        raise OptionError(
            f"there is no simplification rule {', '.join(sorted(map(str, unknown)))}",
            facts=[f"rules: {', '.join(rule.name for rule in (*RULES, *own))}"],
        )
    active = [rule for rule in (*own, *RULES) if not {rule.name, rule.group} & set(without)]
    result = rewrite(graph, active)
    if report is not None:
        report += result.applied
    return verify(result.graph)


def _own_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return the user's rules. Raises OptionError for what is none, and for a name that is taken."""
    given = (rules,) if isinstance(rules, Rule) else tuple(rules)
    taken = {name for rule in RULES for name in (rule.name, rule.group)}
    for rule in given:
        if not isinstance(rule, Rule) or rule.rewrite is None:
            what = (
                f"rule {rule.name!r} has no rewrite"
                if isinstance(rule, Rule)
                else f"{rule!r:.80} is not a rule"
            )
            raise OptionError(what, mend="gcn.Rule(name, effect, ops, rewrite)")
        if rule.name in taken:
            raise OptionError(
                f"there is a rule {rule.name!r} already", mend="give each rule a name of its own"
            )
        taken.add(rule.name)
    return given


def prune(graph: Graph) -> Graph:
    """Return the graph without the nodes that no output or update needs, and otherwise as it is.

    The forward nodes that gradient nodes belong to stay, so that every gradient can still be explained.
    """
    return verify(rewrite(graph, (UNEXPLAINED_NODES,)).graph)


@known_arguments
def simplification_rules() -> tuple[Rule, ...]:
    """Return all rules that `simplify` knows, in the order in which they are tried."""
    return RULES
