"""What a notebook displays for a graph and for a model."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from graphcnn.figures import is_in_notebook
from graphcnn.inspection.labels import GREY, shown
from graphcnn.inspection.svg import graph_svg
from graphcnn.inspection.tables import LEFT_ALIGNED, layer_cells
from graphcnn.ir import Graph

if TYPE_CHECKING:
    from graphcnn.training.model import Model

HIGHEST = 640
"""Pixels; a higher picture is scrolled."""


def graph_html(graph: Graph) -> str:
    """Return the picture of a graph under a line that says what it is; errors are those of `graph_svg`."""
    name = escape(shown(graph.name))
    return (
        f'<div><div style="color:{GREY}"><b>{name}</b>: {len(graph)} nodes</div>'
        f'<div style="max-height:{HIGHEST}px;overflow:auto">{graph_svg(graph)}</div></div>'
    )


def model_html(model: Model) -> str:
    """Return the table of a model's layers beside the picture of its gradient graph, or its forward graph."""
    graph = model.gradient_graph if model.loss is not None else model.forward_graph
    side_by_side = "display:flex;flex-wrap:wrap;gap:2em;align-items:flex-start"
    return f'<div style="{side_by_side}">{table_html(graph)}{graph_html(graph)}</div>'


def table_html(graph: Graph, batch: int = 1) -> str:
    """Return the table of a graph's layers; errors are those of `layer_cells`."""
    header, *rows, total = layer_cells(graph, batch)
    body = "".join(_row("td", row) for row in rows)
    head, foot = _row("th", header), _row("th", total)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody><tfoot>{foot}</tfoot></table>"


@dataclass(frozen=True, slots=True)
class Page:
    """A page that a notebook displays in a frame of its own, where it can reach nothing of the notebook."""

    html: str

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" '
            f'style="width:100%;height:{HIGHEST}px;box-sizing:border-box;border:1px solid {GREY}"></iframe>'
        )


def display_in_notebook(page: str) -> bool:
    """Display a page in the notebook that is running; return False where none is."""
    if not is_in_notebook():
        return False
    importlib.import_module("IPython.display").display(Page(page))
    return True


def _row(tag: str, cells: list[str]) -> str:
    texts = ("<br>".join(escape(line) for line in cell.split("\n")) for cell in cells)
    aligned = ("left" if number < LEFT_ALIGNED else "right" for number in range(len(cells)))
    style = "white-space:nowrap;padding:2px 8px;text-align"
    pairs = zip(aligned, texts, strict=True)
    row = "".join(f'<{tag} style="{style}:{align}">{text}</{tag}>' for align, text in pairs)
    return f"<tr>{row}</tr>"
