"""Calls whose arguments do not fit: what was meant, or what to write instead, at the user's line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from graphcnn.errors import ArgumentError, GraphcnnError, meant
from graphcnn.foreign_arguments import foreign, without_channels, written
from graphcnn.origin import is_internal, users_line
from graphcnn.settings import answer_for_settings
from graphcnn.surplus import by_name
from graphcnn.visible import visible

OUTPUTS: Final = ("filters", "units")
"""What layers are given first, where other frameworks begin with the number of channels that come in."""

C = TypeVar("C", bound=Callable[..., Any])
T = TypeVar("T", bound=type)


def known_arguments(called: C) -> C:
    """Let a function, or the constructor of a class, raise ArgumentError for arguments that it does not take.

    The error names the argument and the user's line, and says what was meant: a name alike, or what another
    framework's name is called here. Other errors of graphcnn, which have no place yet, get that line too.
    Objects of a frozen class say how other settings are had.
    """
    return _checked(called, {})


def translated_arguments(elsewhere: Mapping[str, str]) -> Callable[[C], C]:
    """Return `known_arguments`, with what to write instead of arguments of this function elsewhere.

    Under "", what to write instead of the whole call, where it is not for users.
    """

    def decorate(called: C) -> C:
        return _checked(called, elsewhere)

    return decorate


def known_methods(*, besides: Collection[str] = ()) -> Callable[[T], T]:
    """Return a decorator: all public methods of a class raise ArgumentError as `known_arguments` says.

    besides: methods to leave as they are: called so often that a tenth of a microsecond counts.
    """

    def decorate(cls: T) -> T:
        for name, method in list(vars(cls).items()):
            is_public = inspect.isfunction(method) and not name.startswith("_") and name not in besides
            if is_public and not hasattr(method, "__wrapped__"):
                setattr(cls, name, known_arguments(method))
        return cls

    return decorate


def _checked(called: C, elsewhere: Mapping[str, str]) -> C:
    is_class = isinstance(called, type)
    function: Any = called.__init__ if is_class else called
    has_self = "self" in inspect.signature(function).parameters

    @functools.wraps(function)
    def checked(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except GraphcnnError as error:
            place = users_line()
            error.located(file=place.file, line=place.line)
            raise
        except TypeError as error:
            is_objects = is_class or function.__name__ == "__call__"
            title = type(arguments[0]).__name__ if is_objects else function.__name__
            wrong = misfit(error, title, function, arguments[has_self:], keywords, elsewhere)
            if wrong is None:
                raise
            raise wrong from None

    if not isinstance(called, type):
        return cast(C, checked)
    setattr(called, "__init__", checked)  # noqa: B010 - type checkers take it for a method of one class
    answer_for_settings(called)
    return called


def misfit(
    error: TypeError,
    title: str,
    function: Callable[..., Any],
    arguments: Sequence[object],
    keywords: Mapping[str, object],
    elsewhere: Mapping[str, str] | None = None,
) -> ArgumentError | None:
    """Return what is wrong with a call that raised this error; None where its arguments are not to blame.

    title: what the user called. function: what took the arguments; where it has a `self`, that is not among
    them. The error is that of the call alone where no line of the function ran: its traceback ends at once.
    """
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        return None
    signature = without_self(inspect.signature(function))
    try:
        signature.bind(*arguments, **keywords)
    except TypeError:
        home = "gcn." if is_internal(function.__module__) else ""
        wrong = _wrong(home + title, signature, arguments, keywords, elsewhere or {})
        wrong.mend = (elsewhere or {}).get("") or wrong.mend
        place = users_line()
        wrong.located(file=place.file, line=place.line)
        return wrong
    return None


def without_self(signature: inspect.Signature) -> inspect.Signature:
    """Return a method's signature as callers see it."""
    return signature.replace(
        parameters=[each for each in signature.parameters.values() if each.name != "self"]
    )


def _wrong(
    path: str,
    signature: inspect.Signature,
    arguments: Sequence[object],
    keywords: Mapping[str, object],
    elsewhere: Mapping[str, str],
) -> ArgumentError:
    parameters = signature.parameters.values()
    title = path.removeprefix("gcn.")
    known = [each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    facts = [f"its arguments: {', '.join(known)}"] if known else ["it takes no arguments"]
    unknown = [name for name in keywords if name not in known]
    others = without_channels(title, arguments, keywords, known)
    if others is not None:
        return ArgumentError(
            f"{title} is given a number of channels",
            facts=facts,
            mend=f"it is the input's, and not given: {call(path, (), others)}",
        )
    if unknown:
        mends = {
            name: elsewhere.get(name)
            or foreign(title, name, keywords[name], known)
            or meant(name, known, "leave it out")
            for name in unknown
        }
        by_place = known[: len(arguments)]
        is_other = bool(known) and known[0] in (*OUTPUTS, "learning_rate")
        if is_other and any(mend.partition("=")[0] in by_place for mend in mends.values()):
            codes = [written("", each) for each in arguments[1:]]
            codes += [f"{name}={written(name, keywords[name])}" for name in keywords if name in known]
            what = "what it trains" if known[0] == "learning_rate" else "the number of channels that come in"
            return ArgumentError(
                f"{title} has no argument {' or '.join(repr(visible(name)) for name in unknown)}",
                facts=facts,
                mend=f"{what} is not given: {path}({', '.join([*codes, *mends.values()])})",
            )
        return ArgumentError(
            f"{title} has no argument {' or '.join(repr(visible(name)) for name in unknown)}",
            facts=facts,
            mend=mends[unknown[0]]
            if len(mends) == 1
            else "; ".join(f"for {visible(name)}: {mend}" for name, mend in mends.items()),
        )
    by_position = [
        each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    twice = [each.name for each in by_position[: len(arguments)] if each.name in keywords]
    has_any_number = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    if twice:
        mend = f"give {twice[0]} once"
        if len(arguments) > 1 and by_position[0].name in OUTPUTS:
            mend = (
                f"channels that come in are the input's, and not given: {call(path, arguments[1:], keywords)}"
            )
        return ArgumentError(f"{title} is given {twice[0]!r} by position and by name", facts=facts, mend=mend)
    if len(arguments) > len(by_position) and not has_any_number:
        most, surplus = len(by_position), arguments[len(by_position) :]
        rest = [each for each in parameters if each.kind is each.KEYWORD_ONLY and each.name not in keywords]
        named, foreign_to_it = by_name(surplus, rest)
        last = f" {by_position[-1].name}" if by_position else ""
        mend = f"leave out what follows{last}" if last else "leave them out"
        is_shape = bool(by_position) and by_position[0].name == "shape"
        if is_shape and all(isinstance(each, int) for each in arguments):
            mend = f"the shape is one argument: {call(path, (tuple(arguments),), keywords)}"
        elif named:
            also = ", and leave out the rest" if foreign_to_it else ""
            mend = f"give what follows{last} by name: {', '.join(named)}{also}"
        return ArgumentError(
            f"{title} takes {most or 'no'} argument{'s' * (most != 1)} by position, not {len(arguments)}",
            facts=facts,
            mend=mend,
        )
    missing = [
        each.name
        for place, each in enumerate(parameters)
        if each.default is each.empty
        and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        and each.name not in keywords
        and not (each in by_position and place < len(arguments))
    ]
    return ArgumentError(
        f"{title} lacks {' and '.join(map(repr, missing))}",
        facts=facts,
        mend="give " + ", ".join(f"{name}=..." for name in missing),
    )


def call(name: str, arguments: Sequence[object], keywords: Mapping[str, object]) -> str:
    """Return a call as it is written: `gcn.Conv2d(16, 3, padding=1)`."""
    given = [written("", each) for each in arguments]
    given += [f"{name}={written(name, each)}" for name, each in keywords.items()]
    return f"{name}({', '.join(given)})"
