"""The one rewrite engine: rules as data, and what applies them to a graph.

It is no optimiser that searches: each node is made once, by the first rule that fits, and a rule sees only
what its replacement is made of. What it protects: a graph that went through it computes the same.
"""

from graphcnn.rewrite.engine import Rewritten, rewrite
from graphcnn.rewrite.rule import (
    COMMON_SUBEXPRESSIONS,
    DEAD_NODES,
    UNEXPLAINED_NODES,
    Applied,
    Keeps,
    Match,
    Replacement,
    Rule,
)

__all__ = [
    "COMMON_SUBEXPRESSIONS",
    "DEAD_NODES",
    "UNEXPLAINED_NODES",
    "Applied",
    "Keeps",
    "Match",
    "Replacement",
    "Rewritten",
    "Rule",
    "rewrite",
]
