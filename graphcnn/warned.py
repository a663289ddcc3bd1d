"""Warnings of graphcnn: of what is allowed, but hardly meant, at a line of the user's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from graphcnn.errors import GraphcnnWarning, OptionError
from graphcnn.origin import Origin, users_line
from graphcnn.visible import visible_lines

_ARE_SAID: Final[ContextVar[bool]] = ContextVar("warnings are said", default=True)


def warn(said: str, place: Origin | None = None) -> None:
    """Warn at a place in the user's script, by default the line that calls graphcnn."""
    if not _ARE_SAID.get():
        return
    place = users_line() if place is None else place
    warnings.warn_explicit(visible_lines(said), GraphcnnWarning, place.file or "graphcnn", place.line or 1)


def advise(said: str, *, mend: str, layer: str = "", place: Origin) -> None:
    """Warn as errors speak, with layer, line, source and mend."""
    advice = OptionError(said, mend=mend)  # which is not raised
    advice.located(layer=layer, file=place.file, line=place.line)
    warn(str(advice), place)


@contextmanager
def quiet_unless(spoken: bool) -> Iterator[None]:
    """Say no warnings of graphcnn within unless `spoken`: of several ranks, one speaks for all."""
    token = _ARE_SAID.set(spoken and _ARE_SAID.get())
    try:
        yield
    finally:
        _ARE_SAID.reset(token)
