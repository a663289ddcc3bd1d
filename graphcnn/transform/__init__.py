"""Graph in, graph out: the gradient, and simplification."""

from graphcnn.transform.differentiate import differentiate, gradient
from graphcnn.transform.simplify import Applied, Rule, prune, simplification_rules, simplify

__all__ = ["Applied", "Rule", "differentiate", "gradient", "prune", "simplification_rules", "simplify"]
