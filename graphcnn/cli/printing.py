"""What commands print: whatever names and files say in it, the terminal is not told to do anything."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from graphcnn.errors import GraphcnnWarning
from graphcnn.rendering import as_text, console_of_output, print_visibly
from graphcnn.visible import visible, visible_lines
from graphcnn.warned import quiet_unless

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDEST_TABLE = 160


_IS_SPOKEN: Final[ContextVar[bool]] = ContextVar("output is printed", default=True)


@contextlib.contextmanager
def spoken(is_spoken: bool) -> Iterator[None]:
    """Print what is said within, or nothing of it, errors and warnings neither: of ranks, one speaks."""
    token = _IS_SPOKEN.set(is_spoken)
    try:
        with quiet_unless(is_spoken):
            yield
    finally:
        _IS_SPOKEN.reset(token)


def is_spoken() -> bool:
    """Return whether this process prints what is said."""
    return _IS_SPOKEN.get()


def say(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print text, or a path."""
    if not is_spoken():
        return
    shown = visible(str(text)) if isinstance(text, Path) else visible_lines(str(text))
    click.echo(shown, err=err, nl=nl)


@contextlib.contextmanager
def warnings_said() -> Iterator[None]:
    """Say the warnings of graphcnn itself as errors are said, without a line of the program that runs it."""
    python = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if issubclass(category, GraphcnnWarning):
            say(f"Warning: {message}", err=True)
        else:
            python(message, category, *place, **options)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def close_output() -> None:
    """Print nothing more, and do not try to at the end of the process: nobody reads it."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_table(table: RenderableType) -> None:
    """Print a table; where the output is no terminal, at its full width and without colours."""
    print_visibly(console_of_output(None if sys.stdout.isatty() else WIDEST_TABLE), table)


def table_text(table: RenderableType) -> str:
    """Return a table at its full width, as text without colours."""
    return as_text(table, WIDEST_TABLE) + "\n"
