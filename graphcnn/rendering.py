"""What rich draws, as plain text and as HTML: how reports print themselves wherever they are shown."""

from __future__ import annotations

import errno
import html
import io
import os
import sys
from typing import TYPE_CHECKING

from graphcnn.visible import visible_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH = 110
"""Characters of a line, whatever the terminal has: a printed report is often kept."""


def as_text(renderable: RenderableType, width: int = WIDTH) -> str:
    """Return what rich draws as text, without colours, and without blanks at the ends of lines."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(file=buffer, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    print_visibly(console, renderable)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()).strip("\n")


def console_of_output(width: int | None = None, *, stderr: bool = False) -> Console:
    """Return rich's console for the standard output: it has colours and bars where that is a terminal.

    stderr: for the stream of errors instead.

    Notebooks set FORCE_COLOR, and logs are kept: what is no terminal gets plain text. It raises
    BrokenPipeError when nobody reads the output any more, where rich would end the process without a word.
    """
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    stream = sys.stderr if stderr else sys.stdout
    is_terminal = stream is not None and stream.isatty()
    return Output(
        stderr=stderr,
        width=width,
        color_system="auto" if is_terminal else None,
        force_terminal=is_terminal,
        force_jupyter=False,
    )


def print_visibly(console: Console, renderable: RenderableType) -> None:
    """Print what rich draws, without what a name in it would tell the terminal to do."""
    from rich.segment import Segment, Segments

    drawn = console.render(renderable)
    safe = (each if each.control else Segment(visible_lines(each.text), each.style) for each in drawn)
    console.print(Segments(safe), soft_wrap=True, end="")


def as_html(text: str) -> str:
    """Return text as HTML that keeps its lines, for notebooks."""
    return f'<pre style="line-height: 1.2; font-family: monospace">{html.escape(text)}</pre>'
