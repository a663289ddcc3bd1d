"""Graph in, graph out: the gradient, and simplification."""

from graphcnn.rewrite import Applied, Match, Rule
from graphcnn.transform.differentiate import differentiate, gradient
from graphcnn.transform.simplify import prune, simplification_rules, simplify

__all__ = [
    "Applied",
    "Match",
    "Rule",
    "differentiate",
    "gradient",
    "prune",
    "simplification_rules",
    "simplify",
]
