"""Scalar functions of the user's own: they take numbers and return one, and are applied to every element."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from types import CodeType, FunctionType
from typing import cast

from graphcnn.errors import OptionError
from graphcnn.visible import visible


@dataclass(frozen=True, eq=False, repr=False)
class ScalarFunction:
    """A Python function of numbers, under the name that graphs know it by. It equals itself alone.

    python: the function. derivatives: its derivative by each argument, None where that is 0 everywhere; or
    None if it has no derivatives.
    """

    python: Callable[..., float]
    name: str
    derivatives: tuple[ScalarFunction | None, ...] | None = None

    @property
    def code(self) -> CodeType:
        return cast(FunctionType, self.python).__code__

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return self.code.co_varnames[: self.code.co_argcount]

    @property
    def file(self) -> str:
        return self.code.co_filename

    @property
    def line(self) -> int:
        """The line of the `def` or `lambda`; the code of a decorated function begins at its decorators."""
        first = self.code.co_firstlineno
        for line in range(first, first + 40):
            if linecache.getline(self.file, line).lstrip().startswith("def "):
                return first if self.code.co_name == "<lambda>" else line
        return first

    @property
    def place(self) -> str:
        """Where the user has written it, such as `train.py:4`."""
        return f"{PurePath(self.file).name}:{self.line}"

    def family(self) -> Iterator[ScalarFunction]:
        """Yield the function, its derivatives, theirs, and so on."""
        yield self
        for derivative in self.derivatives or ():
            if derivative is not None:
                yield from derivative.family()

    def __repr__(self) -> str:
        return visible(f"<function {self.name}({', '.join(self.arguments)}), {self.place}>")


def by_name(functions: Iterable[ScalarFunction]) -> dict[str, ScalarFunction]:
    """Return functions and their derivatives by name.

    Raises OptionError where two have one name, and for what is no such function.
    """
    found: dict[str, ScalarFunction] = {}
    for function in functions:
        if not isinstance(function, ScalarFunction):
            raise OptionError(
                f"functions holds {function!r:.60}, which gcn.pointwise has not made",
                mend="functions=[swish], where swish = gcn.pointwise(function)",
            )
        for member in function.family():
            twin = found.setdefault(member.name, member)
            if twin is not member:
                raise OptionError(
                    f"two functions have the name {member.name!r}",
                    facts=[f"one is defined at {twin.place}, another at {member.place}"],
                    mend="give each a name of its own, with def",
                )
    return found
