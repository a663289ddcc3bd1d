"""Arguments by keyword that a function does not have: what was meant, or what to write instead."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from graphcnn.errors import OptionError, meant
from graphcnn.ir import users_line
from graphcnn.visible import visible

P = ParamSpec("P")
R = TypeVar("R")


def known_arguments(elsewhere: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator: the function raises OptionError, at the user's line, for an unknown keyword.

    elsewhere: what to write instead of arguments that other frameworks have.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
        ]

        @functools.wraps(function)
        def checked(*arguments: P.args, **keywords: P.kwargs) -> R:
            for name in keywords:
                if name not in known:
                    raise _unknown(function.__name__, name, known, elsewhere)
            return function(*arguments, **keywords)

        return checked

    return decorate


def _unknown(function: str, name: str, known: list[str], elsewhere: Mapping[str, str]) -> OptionError:
    error = OptionError(
        f"{function} has no argument {visible(name)!r}",
        facts=[f"its arguments: {', '.join(known)}"],
        mend=elsewhere.get(name) or meant(name, known, "leave it out"),
    )
    place = users_line()
    error.located(file=place.file, line=place.line)
    return error
