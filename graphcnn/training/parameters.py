"""The weights of a model, as its user reads and assigns them: parameters alone, or with the statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

import numpy as np

from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.backend import State, as_input
from graphcnn.errors import ArgumentError, OptionError, UnknownNameError, meant
from graphcnn.interchange.torchvision import PARTS
from graphcnn.interrupts import interrupts_put_off
from graphcnn.ir import TensorType, users_line
from graphcnn.visible import visible

ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {
    **{theirs: tuple(ours for ours, each in PARTS.items() if each == theirs) for theirs in PARTS.values()},
    "kernel": ("filters", "weights"),
    "depthwise_kernel": ("filters",),
    "gamma": ("scale",),
    "beta": ("shift",),
    "moving_mean": ("mean",),
    "moving_variance": ("variance",),
}
"""What PyTorch and Keras call parameters and statistics of a layer, and their names here."""


def name_of(given: object, known: Sequence[str]) -> str:
    """Return the name of a parameter or state that was meant, or ""."""
    if isinstance(given, int) and -len(known) <= given < len(known):
        return known[given]
    if not isinstance(given, str):
        return ""
    layer, _, last = given.rpartition(".")
    ours = [f"{layer}.{name}" for name in ELSEWHERE.get(last, ()) if f"{layer}.{name}" in known]
    inside = [name for name in known if name.startswith(f"{given}.")]
    near = meant(given, known).removeprefix("did you mean '").removesuffix("'?")
    return next(iter([*ours, *inside, near]))


@dataclass
class Parameters(MutableMapping[str, Array]):
    """The trained parameters by name. What is read is a read-only copy; assign to change a parameter."""

    _state: State
    _types: Mapping[str, TensorType] = field(repr=False)

    kind: ClassVar[str] = "parameter"

    @known_arguments
    def __getitem__(self, name: str) -> Array:
        self._require(name)
        copy = self._state[name].copy()
        copy.flags.writeable = False
        return copy

    def __setitem__(self, name: str, value: object) -> None:
        self.update({name: value})

    @known_arguments
    def update(self, *values: Any, **named: Any) -> None:
        """Assign several at once, as `dict.update` does; all, or after an error or interrupt none."""
        try:
            given = dict(*values, **named)
        except (TypeError, ValueError):
            whole = f"model.{self.kind}s"
            raise OptionError(
                f"{whole}.update takes arrays by name, not {type(values[0]).__name__}",
                mend=f"{whole}.update(zip({whole}, arrays)), in the order of the names"
                if isinstance(values[0], list | tuple) and len(values[0]) == len(self)
                else f"{whole}.update({{name: array}})",
            ) from None
        checked = {name: self._checked(name, value) for name, value in given.items()}
        with interrupts_put_off():
            self._state.changed()
            for name, array in checked.items():
                np.copyto(self._state[name], array)
            self._state.changed()

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Raise ArgumentError, at the user's line: it is no method, as in other frameworks."""
        place = users_line()
        raise ArgumentError(
            f"model.{self.kind}s is a mapping from names to arrays, and is not called",
            mend=f"model.{self.kind}s.items(), or model.{self.kind}s.values()",
        ).located(file=place.file, line=place.line)

    def __delitem__(self, name: str) -> None:
        raise OptionError(f"a model's {self.kind}s cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def __repr__(self) -> str:
        lines = [f"  {visible(name)}: {type}" for name, type in self._types.items()]
        return "\n".join([f"{self.count:,} {self.kind}s", *lines])

    @property
    def types(self) -> Mapping[str, TensorType]:
        """The shape and precision of each, by name."""
        return self._types

    @property
    def count(self) -> int:
        """How many numbers they are."""
        return sum(type.elements(1) for type in self._types.values())

    def _checked(self, name: str, value: object) -> Array:
        self._require(name)
        return as_input(f"{self.kind} {name!r}", self._types[name], value)

    def _require(self, name: str) -> None:
        if name in self._types:
            return
        if name in self._state:
            raise UnknownNameError(
                f"{name!r} is state of the model, not a {self.kind}",
                facts=[f"{self.kind}s: {', '.join(self._types)}"],
                mend="model.weights holds parameters and statistics; model.set_state(state) sets all state",
            )
        found = name_of(name, list(self._types))
        raise UnknownNameError(
            f"there is no {self.kind} {name!r}",
            facts=[f"{self.kind}s: {', '.join(self._types)}"],
            mend=f"model.{self.kind}s[{found!r}]" if found else "give one of these names",
        )

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError: names are given in brackets."""
            said = f"model.{self.kind}s has no attribute {visible(name)!r}"
            if name.startswith("_"):
                raise AttributeError(said)
            found = name_of(name, list(self._types)) or next(iter(self._types), "")
            raise AttributeError(f"{said}: model.{self.kind}s[{found!r}]")


class Weights(Parameters):
    """All that inference computes with, by name: the parameters, and statistics such as batch norm's.

    Read and assign them as `Parameters`.
    """

    kind: ClassVar[str] = "weight"
