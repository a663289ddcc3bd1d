"""What the forms of a graph write on it: names that are safe to look at, and which side a node is on."""

from __future__ import annotations

import unicodedata
from typing import Literal, TypeAlias

from graphcnn.ir import Graph, Input, Node, format_shape
from graphcnn.ops import UserFunction
from graphcnn.transform.differentiate import PATHS, START, ZERO

LONGEST_NAME = 40

Side: TypeAlias = Literal["forward", "gradient", "update"]
FILLS: dict[Side, str] = {"forward": "#dbeafe", "gradient": "#ffedd5", "update": "#dcfce7"}
STROKES: dict[Side, str] = {"forward": "#2f6feb", "gradient": "#cf5413", "update": "#1a8f45"}
GREY = "#717a84"
"""For lines and for text beside boxes: it can be read on white and on dark."""
SIDES: tuple[Side, ...] = ("forward", "gradient", "update")


def shown(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name for the eye: no control characters, cut to a length, right-to-left text isolated."""
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    if len(visible) > longest:
        visible = f"{visible[: longest - 1]}…"
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in visible):
        return f"\N{FIRST STRONG ISOLATE}{visible}\N{POP DIRECTIONAL ISOLATE}"
    return visible


def side(graph: Graph, node: Node) -> Side:
    """Return whether a node computes the network, a gradient, or what replaces a parameter or other state.

    An optimiser's nodes belong to a parameter, or have a rule but no place in the user's script.
    """
    origin = node.origin
    if isinstance(node.op, Input) and node.op.role in ("data", "parameter", "frozen"):
        return "forward"
    if origin.forward is None:
        return "update" if origin.rule and not origin.file else "forward"
    of_parameter = isinstance(graph.node(origin.forward).op, Input)
    return "update" if of_parameter and origin.rule not in (START, PATHS, ZERO) else "gradient"


def title(node: Node) -> str:
    """Return what a node is called: its op, the name of an input, or that of the user's own function."""
    if isinstance(node.op, UserFunction):
        return shown(node.op.function.name)
    return shown(node.op.label) if isinstance(node.op, Input) else node.op.name


def shapes(node: Node) -> str:
    return ", ".join(format_shape(type.shape) for type in node.types)
