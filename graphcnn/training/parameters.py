"""The parameters of a model, as its user reads and assigns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import as_input
from graphcnn.errors import OptionError
from graphcnn.ir import TensorType


@dataclass
class Parameters(MutableMapping[str, Array]):
    """The trained parameters by name. What is read is a read-only copy; assign to change a parameter."""

    _state: dict[str, Array]
    _types: Mapping[str, TensorType] = field(repr=False)

    def __getitem__(self, name: str) -> Array:
        self._require(name)
        copy = self._state[name].copy()
        copy.flags.writeable = False
        return copy

    def __setitem__(self, name: str, value: object) -> None:
        self._require(name)
        np.copyto(self._state[name], as_input(f"parameter {name!r}", self._types[name], value))

    def __delitem__(self, name: str) -> None:
        raise OptionError("a model's parameters cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def __repr__(self) -> str:
        lines = [f"  {name}: {type}" for name, type in self._types.items()]
        return "\n".join([f"{self.count:,} parameters", *lines])

    @property
    def count(self) -> int:
        """How many numbers are trained."""
        return sum(type.elements(1) for type in self._types.values())

    def _require(self, name: str) -> None:
        if name not in self._types:
            raise OptionError(
                f"there is no parameter {name!r}", facts=[f"parameters: {', '.join(self._types)}"]
            )
