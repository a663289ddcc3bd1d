"""Graph in, graph out: the gradient, simplification, and passes of the user's own."""

from graphcnn.rewrite import Applied, Match, Rule
from graphcnn.transform.bfloat16 import bfloat16_products
from graphcnn.transform.differentiate import differentiate, gradient
from graphcnn.transform.distribute import (
    computing_ranks,
    distribute,
    has_collectives,
    kept_elsewhere,
    owners_of,
    require_distributed,
    whole_inputs,
    without_collectives,
)
from graphcnn.transform.passes import Pass, Passes
from graphcnn.transform.simplify import prune, simplification_rules, simplify
from graphcnn.transform.traffic import sent_bytes

__all__ = [
    "Applied",
    "Match",
    "Pass",
    "Passes",
    "Rule",
    "bfloat16_products",
    "computing_ranks",
    "differentiate",
    "distribute",
    "gradient",
    "has_collectives",
    "kept_elsewhere",
    "owners_of",
    "prune",
    "require_distributed",
    "sent_bytes",
    "simplification_rules",
    "simplify",
    "whole_inputs",
    "without_collectives",
]
