"""What predict, evaluate and train_step return by name: dictionaries that say what they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar

from graphcnn.errors import UnknownNameError, meant
from graphcnn.ir import users_line

T = TypeVar("T")


class Named(dict[str, T]):
    """A dictionary from names to results.

    call: the code that returns it. Raises UnknownNameError, a KeyError, at the user's line, for other names.
    """

    def __init__(self, results: Mapping[str, T] | None = None, call: str = "results") -> None:
        super().__init__(results or {})
        self._call = call

    def __missing__(self, name: object) -> NoReturn:
        names = list(self)
        first = names[name] if isinstance(name, int) and -len(names) <= name < len(names) else names[0]
        place = users_line()
        raise UnknownNameError(
            f"{self._call} is a dictionary, and has no {name!r:.60}",
            facts=[f"it has: {', '.join(names)}"],
            mend=meant(name, names, f"{self._call}[{first!r}]"),
        ).located(file=place.file, line=place.line)

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError, with the result that may have it."""
            said = f"a dictionary has no attribute {name!r}"
            if name.startswith("_") or not self:
                raise AttributeError(said)
            first, result = next(iter(self.items()))
            where = f"[{name!r}]" if name in self else f"[{first!r}]{f'.{name}' * hasattr(result, name)}"
            raise AttributeError(f"{said}: {self._call}{where}; it has {', '.join(self)}")
