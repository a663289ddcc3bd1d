"""The equation of every node in the article's notation: as LaTeX and as MathML.

An op states its own equation and those of its gradient (`Op.latex`, `Op.gradient_latex`); here the quantities
get their names, and the origin says which equation of the article holds.
"""

from __future__ import annotations

import re
import weakref
from dataclasses import dataclass
from xml.sax.saxutils import escape

from graphcnn.errors import GraphError
from graphcnn.inspection.quantities import Quantities, Symbol
from graphcnn.ir import OPERAND_LETTERS, Graph, Input, Node

_INDEX = r"(?:_\{((?:[^{}]|\{[^{}]*\})*)\})?"
_PLACEHOLDER = re.compile(r"\$([a-zDG])" + _INDEX)
_ARTICLE = re.compile(r"(Eq\. \d+)(?:,? (.*))?")
_TEXT = re.compile(r"\\text\{((?:[^{}\\]|\\[_&#$%{}]|\\text[a-z]+ )*)\}")
_ESCAPED = re.compile(r"\\(text[a-z]+ |.)")
_CHARACTERS = {
    "textbackslash ": "\\",
    "textasciitilde ": "~",
    "textasciicircum ": "^",
    "textless ": "<",
    "textgreater ": ">",
}
FLIPPED = "the forward pass is a true convolution: what is rotated and what is not change places"


@dataclass(frozen=True, slots=True)
class NodeEquation:
    """What a node computes.

    latex: in the article's notation, for math mode. mathml: the same as a `<math>` element.
    article: the article's equation, such as `Eq. 21`; "" where it has none.
    note: what the general rule adds to it, such as `stride 2x2`; "" where it holds as written.
    """

    latex: str
    mathml: str
    article: str
    note: str

    def _repr_latex_(self) -> str:
        """Return the equation as notebooks render it."""
        return rf"$\displaystyle {self.latex}$"


def node_equation(graph: Graph, key: int) -> NodeEquation:
    """Return the equation of a node. Raises GraphError where the graph has no node of this key.

    The node that completes a gradient shows the whole rule; the steps before it show what they do themselves.
    """
    if not isinstance(key, int) or not 0 <= key < len(graph):
        raise GraphError(f"graph {graph.name!r} has no node {key!r}", facts=[f"it has {len(graph)} nodes"])
    latex = node_latex(graph, key)
    article, note = article_and_note(graph, graph.node(key))
    return NodeEquation(latex, mathml(latex), article, note)


def node_latex(graph: Graph, key: int) -> str:
    """Return the equation of a node in LaTeX."""
    quantities = _quantities(graph)
    node = graph.node(key)
    result = graph.results(key)[0]
    target = quantities.targets.get(result)
    if target is not None:
        forward = graph.node(target[0])
        rule = forward.op.gradient_latex(target[1], *(operand.type for operand in forward.operands))
        if rule:
            symbols = _symbols(quantities, forward) | {
                "y": quantities.result(graph.results(target[0])[0]),
                "D": quantities.gradient(graph.results(target[0])[0]),
                "G": quantities.result(result),
            }
            return _filled(rule, symbols)
    symbols = _symbols(quantities, node) | {"y": quantities.result(result)}
    return _filled(node.op.latex(*(operand.type for operand in node.operands)), symbols)


def article_and_note(graph: Graph, node: Node) -> tuple[str, str]:
    """Return the article's equation that a node belongs to, and what the general rule adds to it."""
    origin = node.origin
    if isinstance(node.op, Input):
        return "", ""
    if origin.forward is None:
        return origin.rule or node.op.article, node.op.generality()
    match = _ARTICLE.fullmatch(origin.rule)
    if match is None:
        return "", ""
    notes = [FLIPPED] if (match[2] or "").startswith("flipped") else []
    notes.append(graph.node(origin.forward).op.generality())
    return match[1], "; ".join(filter(None, notes))


def mathml(latex: str) -> str:
    r"""Return LaTeX as a `<math>` element. Names in `\text{...}` are escaped, so that no markup is in it."""
    from latex2mathml.converter import convert

    names: list[str] = []

    def keep(match: re.Match[str]) -> str:
        names.append(_ESCAPED.sub(lambda m: _CHARACTERS.get(m[1], m[1]), match[1]))
        return rf"\text{{Name{len(names) - 1}Name}}"

    converted: str = convert(_TEXT.sub(keep, latex), display="block")
    shown = [escape(name).replace(" ", "\N{NO-BREAK SPACE}") for name in names]
    return re.sub(r"Name(\d+)Name", lambda match: shown[int(match[1])], converted)


def _symbols(quantities: Quantities, node: Node) -> dict[str, Symbol]:
    return {
        letter: quantities.operand(operand)
        for letter, operand in zip(OPERAND_LETTERS, node.operands, strict=False)
    }


def _filled(formula: str, symbols: dict[str, Symbol]) -> str:
    """Return a formula with the quantities in the place of $y, $a and the others."""

    def put(match: re.Match[str]) -> str:
        symbol = symbols[match[1]]
        return str(symbol) if match[2] is None else symbol.at(_filled(match[2], symbols))

    return _PLACEHOLDER.sub(put, formula)


_latest: tuple[weakref.ref[Graph], tuple[int, int, int], Quantities] | None = None


def _quantities(graph: Graph) -> Quantities:
    """Return the names of a graph's values; those of the graph that was asked for last are kept."""
    global _latest
    version = len(graph), len(graph.outputs), len(graph.updates)
    known = _latest
    if known is not None and known[0]() is graph and known[1] == version:
        return known[2]
    quantities = Quantities(graph)
    _latest = weakref.ref(graph), version, quantities
    return quantities
