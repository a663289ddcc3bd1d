"""What is shown while a backend compiles: on a terminal, once it lasts, how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

from graphcnn.late_bar import LateBar, is_watched
from graphcnn.phases import heard
from graphcnn.visible import visible

T = TypeVar("T")

_ARE_SHOWN: Final[ContextVar[bool]] = ContextVar("compilations are shown", default=True)


@contextmanager
def compilations_shown(shown: bool) -> Iterator[None]:
    """Show compilations within, or show none of them."""
    token = _ARE_SHOWN.set(shown and _ARE_SHOWN.get())
    try:
        yield
    finally:
        _ARE_SHOWN.reset(token)


def shown(name: str, work: Callable[[], T]) -> T:
    """Return what `work()` compiles; show how far it is, if it lasts and the errors' stream is a terminal."""
    if not _ARE_SHOWN.get() or not is_watched():
        return work()
    bar = CompilationBar(name)
    try:
        try:
            bar.show_later()
            with heard(bar.report):
                return work()
        finally:
            bar.close()
    finally:
        bar.close()  # again, should another interrupt have come while the first one ended the work


class CompilationBar(LateBar):
    """The bar of the compilation of what has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"compiling {visible(name)}", "functions")
