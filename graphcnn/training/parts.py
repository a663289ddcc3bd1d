"""Losses, optimisers and metrics of the user's own: what each must be, and whose fault an error is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

from graphcnn.calls import misfit
from graphcnn.errors import GraphcnnError, OptionError
from graphcnn.foreign_names import named_by
from graphcnn.ir import users_line_of


def check_part(kind: str, part: object, methods: dict[str, str], example: str) -> None:
    """Raise OptionError unless this is an object with these methods, which take what they are called with.

    kind: what it is passed as, such as `loss`. methods: name → how it is defined. example: one that exists.
    """
    if isinstance(part, type):
        name = part.__name__
        is_own = any(hasattr(part, method) for method in methods)
        mend = f"{name}()" if part.__module__.partition(".")[0] != "graphcnn" and is_own else f"gcn.{name}()"
        raise OptionError(
            f"{kind} is the class {name}, not an object such as {mend if is_own else example}",
            mend=f"{kind}={mend if is_own else example}",
        )
    lacking = [method for method in methods if not callable(getattr(part, method, None))]
    if len(lacking) == len(methods):
        named = named_by(kind.partition("[")[0], part) if isinstance(part, str) else ""
        raise OptionError(
            f"{kind} is {part!r:.60}, not an object such as {example}", mend=f"{kind}={named or example}"
        )
    if lacking:
        raise OptionError(
            f"the {kind} {title(part)} has no method {lacking[0]}",
            facts=definition(part, next(method for method in methods if method not in lacking)),
            mend=methods[lacking[0]],
        )
    for method, defined in methods.items():
        arguments = defined.partition("(self, ")[2].partition(")")[0].split(", ")
        wrong = misfit(getattr(part, method), *arguments)
        if wrong:
            raise OptionError(f"{title(part)}.{method} {wrong}", facts=definition(part, method), mend=defined)


def title(part: object) -> str:
    """Return what errors call a part: the name of its class."""
    return type(part).__name__


def definition(part: object, method: str) -> list[str]:
    """Return where a method of the user's own is defined, as a fact; nothing for graphcnn's own."""
    code = getattr(getattr(type(part), method, None), "__code__", None)
    if code is None or type(part).__module__.partition(".")[0] == "graphcnn":
        return []
    return [f"{title(part)}.{method} is defined at {PurePath(code.co_filename).name}:{code.co_firstlineno}"]


@contextmanager
def blaming(part: object, method: str) -> Iterator[None]:
    """Let errors that a method of the user's own raises name it, and the line in it that ran."""
    try:
        yield
    except GraphcnnError as error:
        defined = definition(part, method)
        if defined:
            place = users_line_of(error)
            error.layer, error.file, error.line = title(part), place.file, place.line
            error.facts += tuple(defined)
        raise
