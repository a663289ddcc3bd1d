"""The table of all operations by their name in the text form, and the door through which each comes in."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, TypeVar

from graphcnn.arguments import known_arguments
from graphcnn.calls import misfit
from graphcnn.errors import GraphcnnError, OptionError
from graphcnn.ir import Op, users_line

OPS: dict[str, type[Op]] = {}
"""All operations by their name in the text form; `register_op` fills it."""

AnyOp = TypeVar("AnyOp", bound=type[Op])


@known_arguments
def register_op(op: AnyOp) -> AnyOp:
    """Let graphs that are parsed or loaded have an op of this class: a decorator.

        @gcn.register_op
        @dataclass(frozen=True)
        class Swish(gcn.Op):
            ...

    Returns the class itself. The same class defined anew, as in a notebook's cell that runs again, takes the
    place of the old one; so do its kernels, once they are registered anew.

    Raises OptionError, at the user's line, for a class that lacks what an op has to say about itself (`Op`
    says what that is), and for a name that another op has.
    """
    try:
        _check(op)
    except GraphcnnError as error:
        place = users_line()
        raise error.located(file=place.file, line=place.line) from None
    OPS[op.name] = op
    return op


def _check(op: Any) -> None:
    if not isinstance(op, type) or not issubclass(op, Op):
        raise OptionError(f"{op!r:.60} is not a class of ops", mend="class Swish(gcn.Op): ...")
    parameters = vars(op).get("__dataclass_params__")
    if parameters is None or not parameters.frozen or not parameters.eq:
        raise OptionError(
            f"{op.__name__} is not a frozen dataclass: equal ops must be exchangeable, and never change",
            mend="put @dataclass(frozen=True) above the class, and @gcn.register_op above that",
        )
    name = getattr(op, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise OptionError(
            f"{op.__name__}.name={name!r:.60} is not a word of small letters, digits and underscores",
            mend='name: ClassVar[str] = "swish"',
        )
    equation, arity = getattr(op, "equation", None), getattr(op, "arity", None)
    if not isinstance(equation, str) or not equation:
        raise OptionError(
            f"{op.__name__}.equation={equation!r:.60} is not text",
            mend='equation: ClassVar[str] = "y = f(x)"',
        )
    if not isinstance(arity, int) or isinstance(arity, bool) or arity < -1:
        raise OptionError(
            f"{op.__name__}.arity={arity!r:.60} is not a number of operands",
            mend="arity: ClassVar[int] = 1; -1 stands for any number",
        )
    if op.result_types is Op.result_types:
        raise OptionError(
            f"{op.__name__} has no shape rule",
            mend="def result_types(self, *operands): return (operands[0],), or other types of the results",
        )
    _check_methods(op)
    _check_attributes(op)
    twin = OPS.get(name)
    if twin is not None and (twin.__module__, twin.__qualname__) != (op.__module__, op.__qualname__):
        raise OptionError(
            f"there is an op {name!r} already",
            facts=[f"{twin.__module__}.{twin.__qualname__}: {twin.equation}"],
            mend=f"give {op.__name__} another name",
        )


def _check_methods(op: type[Op]) -> None:
    """Raise OptionError for methods that cannot be called as they will be."""
    methods = {
        "result_types": (*(f"operand{n}" for n in range(op.arity)),),
        "gradient": ("emit", "operands", "results", "delta"),
        "flops": ("operands", "results", "batch"),
    }
    for method, arguments in methods.items():
        wrong = misfit(getattr(op, method), "self", *arguments)
        if wrong:
            shown = "*operands" if method == "result_types" else ", ".join(arguments)
            raise OptionError(f"{op.__name__}.{method} {wrong}", mend=f"def {method}(self, {shown}): ...")


def _check_attributes(op: type[Op]) -> None:
    """Raise OptionError for attributes that a graph's text cannot give back."""
    for field in dataclasses.fields(op):
        if not field.init:
            raise OptionError(
                f"the attribute {field.name!r} of {op.__name__} is not set by its constructor",
                mend="make it a property",
            )
    unmarked = [
        name
        for name in ("name", "equation", "arity", "formula", "article", "by_sample", "shape_operands")
        if name in {field.name for field in dataclasses.fields(op)}
    ]
    if unmarked:
        raise OptionError(
            f"{op.__name__}.{unmarked[0]} is an attribute of each op, not of the class",
            mend=f"{unmarked[0]}: ClassVar[...] = ..., with ClassVar from typing",
        )
