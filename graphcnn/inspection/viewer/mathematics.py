"""Equations as plain data: MathML as nested lists that the page rebuilds element by element."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from graphcnn.inspection.equations import node_equation
from graphcnn.ir import Graph

MATHML = "{http://www.w3.org/1998/Math/MathML}"


def equation_data(graph: Graph, key: int) -> dict[str, Any]:
    """Return a node's equation: MathML as data, the article's number, and what the general rule adds."""
    equation = node_equation(graph, key)
    return {
        "math": mathml_data(equation.mathml),
        "latex": equation.latex,
        "article": equation.article,
        "note": equation.note,
    }


def mathml_data(text: str) -> list[Any]:
    """Return MathML as [tag, attributes, children], where a child is text or such a list."""
    return _element(ElementTree.fromstring(text))


def _element(element: ElementTree.Element) -> list[Any]:
    children: list[Any] = [element.text] if element.text and element.text.strip() else []
    for child in element:
        children.append(_element(child))
        if child.tail and child.tail.strip():
            children.append(child.tail)
    return [element.tag.removeprefix(MATHML), dict(element.attrib), children]
