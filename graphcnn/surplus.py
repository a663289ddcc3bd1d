"""Arguments by position, more than a function takes so: which names they are to be given by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from inspect import Parameter

from graphcnn.foreign_arguments import written
from graphcnn.foreign_names import named_by


def by_name(surplus: Sequence[object], parameters: Iterable[Parameter]) -> tuple[list[str], int]:
    """Return arguments as they are written by name, and how many of them belong to none.

    parameters: those that are left, and can be given by name.
    """
    left, given = list(parameters), []
    for value in surplus:
        for parameter in left:
            code = _code(parameter, value)
            if code:
                given.append(f"{parameter.name}={code}")
                left.remove(parameter)
                break
    return given, len(surplus) - len(given)


def _code(parameter: Parameter, value: object) -> str:
    """Return a value as the code of this argument; "" where it does not belong to it."""
    name, types = parameter.name, set(re.findall(r"\w+", str(parameter.annotation)))
    if name in ("loss", "optimizer"):
        if isinstance(value, str):
            return named_by(name, value).partition("; ")[0]
        return "..." if hasattr(value, {"loss": "per_sample", "optimizer": "append_updates"}[name]) else ""
    if isinstance(value, bool | int | float | str):
        return written(name, value) if type(value).__name__ in types and "Mapping" not in types else ""
    if isinstance(value, list | tuple) and value:
        kinds = {type(item) for item in value}
        if kinds == {str}:
            return repr(list(value)) if name == "metrics" else ""
        if kinds == {int}:
            return repr(tuple(value)) if name == "input_shape" else ""
        if name == "callbacks":
            return "[...]" if all(hasattr(item, "on_epoch_end") for item in value) else ""
        return "(...)" if name == "validation_data" and len(value) in (2, 3) else ""
    return "[...]" if name == "callbacks" and hasattr(value, "on_epoch_end") else ""
