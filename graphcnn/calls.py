"""Whether functions of the user's own can be called as they will be."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import PurePath
from typing import Any


def misfit(function: Callable[..., Any], *arguments: str) -> str:
    """Return why a function cannot be called with these arguments, by position; "" where it can.

    arguments: their names. Where Python does not know what a function takes, nothing is wrong.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*arguments)
    except TypeError as error:
        return f"takes {signature}, but is called with ({', '.join(arguments)}): {error}"
    return ""


def described(function: object) -> str:
    """Return a function's name, and where it is written: `shrink (ops.py:12)`."""
    name = getattr(function, "__name__", None) or type(function).__name__
    code = getattr(function, "__code__", None)
    return f"{name} ({PurePath(code.co_filename).name}:{code.co_firstlineno})" if code else f"{name}"
