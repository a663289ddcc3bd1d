"""What is said where values of a graph meet an operator of Python, or a function of NumPy."""

from __future__ import annotations

from typing import Final, NoReturn

from graphcnn.errors import GraphError
from graphcnn.origin import users_line

OPS: Final = {
    "+": "Add()",
    "-": "Subtract()",
    "*": "Multiply()",
    "/": "Divide()",
    "@": "Matmul()",
    "**": "Power(2.0)",
    "unary -": "Negate()",
    ">": "Greater()",
    "<": "Greater()",
    "add": "Add()",
    "subtract": "Subtract()",
    "multiply": "Multiply()",
    "matmul": "Matmul()",
    "divide": "Divide()",
    "power": "Power(2.0)",
    "square": "Power(2.0)",
    "negative": "Negate()",
    "minimum": "Minimum()",
    "abs": "Abs()",
    "absolute": "Abs()",
    "sin": "Sin()",
    "cos": "Cos()",
    "exp": "Exp()",
    "log": "Log()",
    "sqrt": "Sqrt()",
    "tanh": "Tanh()",
    "maximum": "Maximum()",
    "sum": "Sum((1,))",
    "mean": "Mean((1,))",
    "where": "Select()",
    "greater": "Greater()",
}
"""The op that an operator or function is meant to be, of those in `graphcnn.ops`."""
OF_ONE: Final = (
    "Power(2.0)",
    "Negate()",
    "Abs()",
    "Sin()",
    "Cos()",
    "Exp()",
    "Log()",
    "Sqrt()",
    "Tanh()",
    "Sum((1,))",
    "Mean((1,))",
)


class Emitted:
    """A base for what arithmetic is done with by emitting nodes, and never by an operator."""

    __slots__ = ()

    def __add__(self, other: object) -> NoReturn:
        raise _refused("+")

    def __sub__(self, other: object) -> NoReturn:
        raise _refused("-")

    def __mul__(self, other: object) -> NoReturn:
        raise _refused("*")

    def __truediv__(self, other: object) -> NoReturn:
        raise _refused("/")

    def __matmul__(self, other: object) -> NoReturn:
        raise _refused("@")

    def __pow__(self, other: object) -> NoReturn:
        raise _refused("**")

    def __gt__(self, other: object) -> NoReturn:
        raise _refused(">")

    def __lt__(self, other: object) -> NoReturn:
        raise _refused("<")

    def __abs__(self) -> NoReturn:
        raise _refused("abs")

    def __neg__(self) -> NoReturn:
        raise _refused("unary -")

    __radd__, __rsub__, __rmul__, __rtruediv__ = __add__, __sub__, __mul__, __truediv__
    __rmatmul__, __rpow__ = __matmul__, __pow__

    def __array_ufunc__(self, function: object, method: str, *inputs: object, **options: object) -> bool:
        name = getattr(function, "__name__", "")
        if name in ("equal", "not_equal"):
            return name == "not_equal"  # a value of a graph equals no number
        raise _refused(f"np.{name}")

    def __array_function__(self, function: object, *arguments: object) -> NoReturn:
        raise _refused(f"np.{getattr(function, '__name__', function)}")


def _refused(what: str) -> GraphError:
    """Return the error, at the user's line, for an operator or function that is no op."""
    op = OPS.get(what.removeprefix("np."), "")
    operands = "x" if op in OF_ONE else "condition, x, y" if op == "Select()" else "x, y"
    named = f"emit(ops.{op}, {operands})" if op else "emit(op, x), with an op of graphcnn.ops or your own"
    error = GraphError(
        f"{what} is no op: values of a graph are no numbers yet",
        facts=["emit is called build in a layer; a number is ops.constant(emit, 2.0, x.type)"],
        mend=named,
    )
    place = users_line()
    error.located(file=place.file, line=place.line)
    return error
