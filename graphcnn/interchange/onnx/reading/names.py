"""Names of layers, from those of a file's nodes and weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from itertools import pairwise
from typing import Any, Final

_OF_WEIGHTS: Final = re.compile(
    r"[./](weights?|filters|kernel(:0)?|gamma(:0)?|scale|W|w|slope|Conv2D/ReadVariableOp(:0)?)(_quantized)?$"
)
_NUMBERED: Final = re.compile(r"(onnx::)?[A-Za-z0-9]*_?\d+$|\d+$")
_OF_MOVES: Final = re.compile(r"(transpose|reshape)\d+")
"""What axes in another order, and other shapes, are called where the file has no node for them."""
_LONGEST: Final = 100


class Names:
    """Gives each layer of a network a name of its own."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = set(taken)
        self._counts: Counter[str] = Counter()

    def of_layer(self, node: Any, kind: str, weight: str = "", parameters: Collection[str] = ()) -> str:
        """Return the name of a layer: that of its weight before the dot, or that of its node; or `conv1`.

        weight: the name of the initializer that is its first parameter, where there is one. parameters: what
        the layer calls its own, behind its name.
        """
        owner = _OF_WEIGHTS.sub("", weight)
        found = owner if owner != weight else _of_node(node.name, node.op_type)
        return self.free(found, parameters) if found else self._numbered(kind)

    def free(self, name: str, parameters: Collection[str] = ()) -> str:
        """Return the name, or where it or one of its parameters is taken, the name with a number."""
        plain = chosen = _cleaned(name) or "value"
        number = 1
        while not self._taken.isdisjoint(own := _with(chosen, parameters)) or _OF_MOVES.fullmatch(chosen):
            number += 1
            chosen = f"{plain}_{number}"
        self._taken |= own
        return chosen

    def _numbered(self, kind: str) -> str:
        while True:
            self._counts[kind] += 1
            name = f"{kind}{'_' if kind[-1].isdigit() else ''}{self._counts[kind]}"
            if name not in self._taken:
                self._taken.add(name)
                return name


def _with(name: str, parameters: Collection[str]) -> set[str]:
    return {name, *(f"{name}.{each}" for each in parameters)}


def _of_node(name: str, op_type: str) -> str:
    """Return what a node's name says of its layer: `/layer1/layer1.0/conv1/Conv` is layer1.0.conv1."""
    parts = [part for part in name.split("/") if part]
    if len(parts) > 1 and re.fullmatch(rf"{re.escape(op_type)}(_\d+)?", parts[-1]):
        parts = parts[:-1]
    elif len(parts) == 1 and _NUMBERED.fullmatch(name) and name.lower().startswith(op_type.lower()):
        return ""  # Conv_12: a number says less than conv1
    kept = [part for part, after in pairwise([*parts, ""]) if not after.startswith(f"{part}.")]
    return ".".join(kept)


def _cleaned(name: str) -> str:
    """Return a name as it can stand in a graph's text and in files."""
    return re.sub(r"[^\w.:+-]+", "_", name)[:_LONGEST].strip("._")
