"""What rich draws, as plain text and as HTML: how reports print themselves wherever they are shown."""

from __future__ import annotations

import html
import io
from typing import TYPE_CHECKING

from graphcnn.visible import visible_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH = 110
"""Characters of a line, whatever the terminal has: a printed report is often kept."""


def as_text(renderable: RenderableType) -> str:
    """Return what rich draws as text, without blanks at the ends of lines."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=WIDTH)
    print_visibly(console, renderable)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def print_visibly(console: Console, renderable: RenderableType) -> None:
    """Print what rich draws, without what a name in it would tell the terminal to do."""
    from rich.segment import Segment, Segments

    drawn = console.render(renderable)
    safe = (each if each.control else Segment(visible_lines(each.text), each.style) for each in drawn)
    console.print(Segments(safe), soft_wrap=True, end="")


def as_html(text: str) -> str:
    """Return text as HTML that keeps its lines, for notebooks."""
    return f'<pre style="line-height: 1.2">{html.escape(text)}</pre>'
