"""The equations of a whole network as a LaTeX document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from graphcnn.inspection.checked import checked
from graphcnn.inspection.dot import cluster_title, clusters
from graphcnn.inspection.equations import article_and_note, node_latex
from graphcnn.inspection.labels import Side, shown
from graphcnn.ir import Graph, Input
from graphcnn.ops import Broadcast, Cast, Constant, Count
from graphcnn.ops.notation import as_text

PREAMBLE = r"""\documentclass{article}
\usepackage[margin=2.5cm]{geometry}
\usepackage{amsmath,amssymb}
\usepackage{iftex}
\ifPDFTeX\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\else\usepackage{fontspec}\fi
\allowdisplaybreaks
\begin{document}"""

HEADINGS: dict[Side, str] = {"forward": "Forward pass", "gradient": "Gradient", "update": "Update"}

ABOUT = r"""\noindent In the notation of ``Backpropagation In Convolutional Neural Networks'' (Jefkine, 2016):
$w$ are filters and weights, $b$ biases, $x$ what a layer computes from them, $o$ outputs of layers,
$\delta = \partial E / \partial x$. The place in a map is $i, j$, the tap of a filter $m, n$; $c$ and $d$
are channels, $s$ a sample of the batch; $\otimes$ is cross-correlation (Eq.~1), $\ast$ convolution (Eq.~2).
Units outside a map count as 0, and so do those that a stride skipped."""


WRITTEN_OUT = (Input, Constant, Broadcast, Cast, Count)
"""What stands in the equations that use it."""

_IN_LATEX = str.maketrans(
    {
        "…": r"\ldots ",
        "\N{REPLACEMENT CHARACTER}": "?",
        "\N{FIRST STRONG ISOLATE}": "",
        "\N{POP DIRECTIONAL ISOLATE}": "",
    }
)


def latex_document(graph: Graph) -> str:
    """Return the equations of the graph, forward and gradient, layer by layer, as a document to compile.

    Any LaTeX with amsmath compiles it; names in scripts beyond Latin need LuaLaTeX or XeLaTeX.
    Raises GraphError for a graph that is empty or broken.
    """
    return "\n".join(_lines(checked(graph))).translate(_IN_LATEX)


def _lines(graph: Graph) -> Iterator[str]:
    yield PREAMBLE
    yield rf"\section*{{{_text(graph.name)}}}"
    yield ABOUT
    heading = ""
    for (part, layer), keys in clusters(graph).items():
        told = [
            key
            for key in keys
            if not isinstance(graph.node(key).op, Input | Constant | Broadcast | Cast | Count)
        ]
        if not told:
            continue
        if HEADINGS[part] != heading:
            heading = HEADINGS[part]
            yield rf"\subsection*{{{heading}}}"
        if layer:
            origin = graph.node(told[0]).origin
            place = f" ({_text(PurePath(origin.file).name)}:{origin.line})" if origin.file else ""
            yield rf"\paragraph{{{_text(cluster_title(part, layer))}}}{place}"
        yield r"\begin{gather*}"
        yield "\\\\\n".join(f"  {node_latex(graph, key)}{_source(graph, key)}" for key in told)
        yield r"\end{gather*}"
    yield "\\end{document}\n"


def _source(graph: Graph, key: int) -> str:
    """Return the article's equation, to stand at the right."""
    article, note = article_and_note(graph, graph.node(key))
    if not article:
        return ""
    general = r"\text{, general}" if note else ""
    return rf" \tag*{{{article.replace(' ', '~')}{general}}}"


def _text(name: str) -> str:
    return as_text(shown(name))
