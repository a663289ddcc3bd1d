"""Which ops have code of their own: the tables that lowering and code generation ask.

`kernels/registration.py` fills them. An op in none of them is left to the reference backend's kernel, which
the step calls (`reference.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final, TypeAlias

from graphcnn.calls import described
from graphcnn.errors import BackendError
from graphcnn.ir import Node, Op, are_samples
from graphcnn.scalar import ScalarFunction

Pointwise: TypeAlias = Callable[[Any], Callable[..., float] | ScalarFunction]
"""`pointwise(op)` returns a function of numbers."""

Lanes: TypeAlias = Callable[[Any, Any, list[Any], Any], Any]
"""`lanes(f, op, x, type)` writes the code for vectors x of operands, and returns that of the result."""

Emit: TypeAlias = Callable[[Any], None]
"""`emit(w)` writes a whole kernel."""


@dataclass(frozen=True)
class Emitter:
    """What writes a whole kernel, and whether a sample's result depends on that sample alone.

    by_sample: None where the op itself says so.
    """

    write: Emit
    by_sample: bool | None


POINTWISE: Final[dict[type[Op], Pointwise]] = {}
LANES: Final[dict[type[Op], Lanes]] = {}
EMITTERS: Final[dict[type[Op], Emitter]] = {}
SHIPPED: Final[set[type[Op]]] = set()
"""Ops whose code is the one that they come with. Code from outside may be another one in each process."""


def is_pointwise(op: Op) -> bool:
    """Whether an op works element by element, so that it can be computed wherever it is read."""
    return type(op) in POINTWISE or type(op) in LANES


def has_code(op: Op) -> bool:
    """Whether a kernel whose root is this op is written, and not the reference's called in its place."""
    return type(op) in EMITTERS


def is_as_shipped(op: Op) -> bool:
    """Whether the code of an op is the one that comes with this backend."""
    return type(op) in SHIPPED


def is_by_sample(node: Node) -> bool:
    """Whether a kernel whose root is this node can go through the samples in blocks."""
    emitter = EMITTERS.get(type(node.op))
    if emitter is None or emitter.by_sample is None:
        return emitter is not None and node.is_by_sample
    types = [operand.type for operand in node.operands_read]
    return emitter.by_sample and are_samples(types, node.types)


def scalar_function(op: Op) -> ScalarFunction | None:
    """Return what an op computes of numbers, where it was registered in that form."""
    make = POINTWISE.get(type(op))
    return None if make is None else _scalar_function(make, op)


@functools.cache
def _scalar_function(make: Pointwise, op: Op) -> ScalarFunction:
    try:
        made = make(op)
    except Exception as error:
        raise _no_function(make, op, f"raised {type(error).__name__}: {error}") from error
    if isinstance(made, ScalarFunction):
        return made
    python = getattr(made, "py_func", made)
    if not isinstance(python, FunctionType):
        raise _no_function(make, op, f"returned {made!r:.60}")
    return ScalarFunction(python, op.name)


def _no_function(make: Pointwise, op: Op, what: str) -> BackendError:
    """Return the error for a form `pointwise` that makes no function of numbers of an op."""
    return BackendError(
        f"pointwise={described(make)} of {op.name} {what}, where it returns a function of numbers",
        facts=[f"it is called with the op: {op}"],
        mend="pointwise=lambda op: lambda x: ..., with a number for each operand",
    )
