"""Whether the attributes of an op are of the types that its class declares, wherever they came from."""

from __future__ import annotations

import dataclasses
import types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from graphcnn.errors import GraphError
from graphcnn.ir.op import Op


def require_types(op: Op) -> None:
    """Raise GraphError unless every attribute is of its declared type: a stride of 1.0 is no integer.

    Integers are floating-point numbers too. Types that no text can hold are not looked at.
    """
    op_class: Any = type(op)
    for name, declared in _declared_types(op_class).items():
        value = getattr(op, name)
        if not _is_of(value, declared):
            raise GraphError(f"{op.name} takes no {name}={value!r:.80}: it is not of the type {declared}")


@cache
def _declared_types(op_class: Any) -> dict[str, Any]:
    try:
        hints = get_type_hints(op_class)
    except NameError:  # a type that is known to type checkers alone
        return {}
    return {field.name: hints[field.name] for field in dataclasses.fields(op_class)}


def _is_of(value: object, declared: Any) -> bool:
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return any(_is_of(value, choice) for choice in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and _are_of(value, arguments)
    if declared is float:
        return isinstance(value, float | int)
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(declared, type) or isinstance(value, declared)


def _are_of(values: tuple[object, ...], declared: tuple[Any, ...]) -> bool:
    if len(declared) == 2 and declared[1] is ...:
        return all(_is_of(value, declared[0]) for value in values)
    return len(values) == len(declared) and all(map(_is_of, values, declared))
