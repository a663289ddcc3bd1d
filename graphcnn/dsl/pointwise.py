"""Functions of the user's own: a Python function of numbers becomes one of values of a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeAlias, overload

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.tensor import Tensor, apply_function, at_users_line, broadcast_together
from graphcnn.errors import OptionError
from graphcnn.ir import Value
from graphcnn.scalar import ScalarFunction

Number: TypeAlias = Callable[..., float]
Derivatives: TypeAlias = Number | Sequence[Number | None] | None


@dataclass(frozen=True, eq=False, repr=False)
class PointwiseFunction(ScalarFunction):
    """A function of values of a network, element by element. `gcn.pointwise` makes it.

    Called with values of a network, or some values and some numbers, it returns a value; shapes are broadcast
    together. Called with numbers alone it is the Python function itself.
    """

    @property
    def op(self) -> ops.UserFunction:
        """The op, for layers of your own: `build(swish.op, value)`."""
        return ops.UserFunction(self)

    def __call__(self, *arguments: Any) -> Any:
        if arguments and not any(isinstance(argument, Tensor) for argument in arguments):
            return self.python(*arguments)
        return apply_function(
            lambda build, *values: build(self.op, *broadcast_together(build, self.name, *values)),
            self.name,
            *arguments,
            rule="Eq. 8" if len(self.arguments) == 1 else "",
        )


@dataclass(eq=False)
class Activation(OneValue):
    """A function of your own as a layer, f in Eq. 8: `gcn.Activation(swish)`; `gcn.pointwise` has made it."""

    function: PointwiseFunction

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kind = self.function.name  # type: ignore[misc]

    def check(self) -> None:
        if not isinstance(self.function, PointwiseFunction):
            raise OptionError(
                f"function={self.function!r:.60} is not a function that gcn.pointwise has made",
                mend="put @gcn.pointwise above it; relu, tanh and sigmoid are layers: gcn.ReLU() and so on",
            )
        if len(self.function.arguments) != 1:
            raise OptionError(
                f"{self.function.name} takes {len(self.function.arguments)} values, but a layer gives it one",
                mend=f"call it: {self.function.name}({', '.join(self.function.arguments)})",
            )

    def build(self, build: Builder, *values: Value) -> Value:
        return build.by("Eq. 8")(self.function.op, values[0])


@overload
def pointwise(function: Number, *, derivative: Derivatives = None) -> PointwiseFunction: ...


@overload
def pointwise(*, derivative: Derivatives = None) -> Callable[[Number], PointwiseFunction]: ...


@known_arguments
def pointwise(
    function: Number | None = None, *, derivative: Derivatives = None
) -> PointwiseFunction | Callable[[Number], PointwiseFunction]:
    """Return a function of numbers as a function of values of a network: a decorator.

        @gcn.pointwise(derivative=lambda x: 1.0 - math.tanh(x) ** 2)
        def squash(x):
            return math.tanh(x)

    function: takes and returns numbers, and does nothing else: arithmetic, `math.*`, NumPy's functions of
    numbers, if and else, loops, and calls of functions like it. Numba compiles it, for the type of the values
    that it is applied to; its numbers with a point, such as 1.0, are then of this type.
    derivative: a function of the same arguments; for several arguments a sequence, a derivative for each, or
    None where it is 0. To differentiate twice, give a derivative that is itself made by `pointwise`. Without
    one, the function cannot be trained through.

    Raises OptionError for what is no such function; FunctionError comes when a model first runs it, with the
    line, for what Numba cannot compile.
    """
    if function is None:
        return lambda given: pointwise(given, derivative=derivative)
    scalar = _as_scalar("function", function)
    name, arguments = scalar.name, scalar.arguments
    if derivative is None:
        return PointwiseFunction(scalar.python, name)
    given = tuple(derivative) if isinstance(derivative, list | tuple) else (derivative,)
    if len(given) != len(arguments):
        raise at_users_line(
            OptionError(
                f"{name}({', '.join(arguments)}) needs {len(arguments)} derivatives, not {len(given)}",
                mend="give one for each argument, in order: derivative=(by_x, by_y); None where it is 0",
            )
        )
    derivatives = tuple(
        None if each is None else _derivative(scalar, argument, each)
        for argument, each in zip(arguments, given, strict=True)
    )
    return PointwiseFunction(scalar.python, name, derivatives)


def _derivative(scalar: ScalarFunction, argument: str, given: object) -> ScalarFunction:
    derivative = _as_scalar("derivative", given)
    if len(derivative.arguments) != len(scalar.arguments):
        raise at_users_line(
            OptionError(
                f"the derivative of {scalar.name} by {argument} takes other arguments than {scalar.name}",
                facts=[
                    f"{each.name}({', '.join(each.arguments)}), {each.place}" for each in (scalar, derivative)
                ],
                mend=f"give it the arguments ({', '.join(scalar.arguments)})",
            )
        )
    if isinstance(given, ScalarFunction):
        return given
    return ScalarFunction(derivative.python, f"d {scalar.name}/d {argument}")


def _as_scalar(what: str, given: object) -> ScalarFunction:
    """Return a Python function, or one that Numba or `pointwise` has made of it, as a scalar function."""
    if isinstance(given, ScalarFunction):
        return given
    python = getattr(given, "py_func", given)
    if not isinstance(python, FunctionType):
        raise at_users_line(
            OptionError(
                f"{what}={given!r:.60} is not a function that is written in Python",
                mend="put it into one: lambda x: math.tanh(x)",
            )
        )
    arguments = inspect.signature(python, follow_wrapped=False).parameters.values()
    kinds = {argument.kind for argument in arguments}
    if not kinds or kinds - {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}:
        raise at_users_line(_unfit(python, "takes other arguments than a fixed number of values"))
    if any(argument.default is not argument.empty for argument in arguments):
        raise at_users_line(_unfit(python, "has an argument with a default value"))
    if inspect.isgeneratorfunction(python) or inspect.iscoroutinefunction(python):
        raise at_users_line(_unfit(python, "is a generator or a coroutine"))
    return ScalarFunction(python, python.__name__ if python.__name__.isidentifier() else "function")


def _unfit(python: FunctionType, problem: str) -> OptionError:
    return OptionError(
        f"{python.__name__} {problem}",
        mend="write it as a function of one number or several, such as def swish(x): return ...",
    )
