"""Displays of graphs and models. The room that draws them lies above theirs, and loads when one is asked for.

`graphcnn` itself, which lies above all rooms, says where each is: see `graphcnn/__init__.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

_PLACES: Final[dict[str, str]] = {}


def register_display(name: str, module: str) -> None:
    """Say which module holds the function of this name that draws or explains."""
    _PLACES[name] = module


def display(name: str) -> Callable[..., Any]:
    """Return a function that was registered; its module is loaded now."""
    function: Callable[..., Any] = getattr(importlib.import_module(_PLACES[name]), name)
    return function
