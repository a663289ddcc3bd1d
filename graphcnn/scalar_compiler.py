"""Compiles scalar functions with Numba, for backends. Numba is imported only when one is compiled."""

from __future__ import annotations

import builtins
import dis
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np

from graphcnn.errors import FunctionError
from graphcnn.ir import DType
from graphcnn.scalar import ScalarFunction

_MOST_FACTS = 6


@functools.cache
def ufunc(function: ScalarFunction, dtype: DType) -> Callable[..., Any]:
    """Return the function as a NumPy ufunc of arrays of this type.

    Raises FunctionError, with the line, for what Numba cannot compile.
    """
    with _explained(function, dtype):
        import numba

        vectorize: Any = numba.vectorize
        compiled: Callable[..., Any] = vectorize([_signature(function, dtype)])(_prepared(function, dtype))
        return compiled


@functools.cache
def llvm_ir(function: ScalarFunction, dtype: DType) -> tuple[str, str]:
    """Return a module of optimised LLVM IR, and the name of the function in it.

    It is `i32 (ptr result, ptr exception, T, T, ...)`, as Numba calls functions: it returns 0, or another
    number where it has raised an exception.

    Raises FunctionError, with the line, for what Numba cannot compile.
    """
    with _explained(function, dtype):
        dispatcher = _jit(_prepared(function, dtype))
        signature = _signature(function, dtype)
        dispatcher.compile(signature)
        name = dispatcher.overloads[signature.args].fndesc.llvm_func_name
        return str(dispatcher.inspect_llvm(signature.args)), str(name)


def _signature(function: ScalarFunction, dtype: DType) -> Any:
    import numba

    number = getattr(numba.types, dtype)
    return number(*[number] * len(function.arguments))


def _jit(python: FunctionType) -> Any:
    """Division by 0 gives infinity and NaN, as in NumPy, instead of raising an exception."""
    import numba

    return numba.njit(error_model="numpy", nogil=True)(python)


def _prepared(function: ScalarFunction, dtype: DType) -> FunctionType:
    """Return the function as Numba is to see it.

    A number like 1.0 is of the type of the arrays, as it is for NumPy, where Numba would compute all that it
    meets in float64. Plain Python functions that it calls are compiled too.
    """
    float_type = np.dtype(dtype).type
    begun: list[FunctionType] = []

    def value(item: Any) -> Any:
        match item:
            case float():
                with np.errstate(over="ignore"):
                    return float_type(item)
            case tuple() if type(item) is tuple:
                return tuple(map(value, item))
            case CodeType():
                return item.replace(co_consts=tuple(map(value, item.co_consts)))
            case ScalarFunction():
                return value(item.python)
            case FunctionType():
                return _jit(twin(item))
        return item

    def twin(python: FunctionType) -> FunctionType:
        if python in begun:
            raise _fault(function, f"{python.__name__} calls itself, which cannot be compiled")
        begun.append(python)
        known = {"__name__": python.__module__}
        for name in _global_names(python.__code__):
            if name in python.__globals__:
                known[name] = value(python.__globals__[name])
            elif not hasattr(builtins, name):
                raise _fault(function, f"the name {name!r} is not defined")
        closure = tuple(CellType(value(cell.cell_contents)) for cell in python.__closure__ or ())
        begun.pop()
        code = value(python.__code__)
        return FunctionType(code, known, python.__name__, python.__defaults__, closure)

    return twin(function.python)  # type: ignore[arg-type]


def _global_names(code: CodeType) -> set[str]:
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return names.union(*(_global_names(item) for item in code.co_consts if isinstance(item, CodeType)))


@contextmanager
def _explained(function: ScalarFunction, dtype: DType) -> Iterator[None]:
    """Let what Numba raises become an error that names the function, its line, and what Numba said."""
    try:
        yield
    except FunctionError:
        raise
    except Exception as error:  # Numba raises errors of its own, and others where it does not expect them
        message = str(getattr(error, "msg", "") or error)
        problem = f"Numba cannot compile this function for {dtype}"
        raise _fault(function, problem, _said(message), _line(function, error, message)) from error


def _said(message: str) -> list[str]:
    """Return what is wrong, of all that Numba has to say."""
    returned = re.search(r"No conversion from (.+) to float\d\d for '\$\w*return_value", message)
    if returned is not None:
        return [f"it returns {returned[1]}, not a number"]
    lines = [line.rstrip() for line in message.partition("\nFile ")[0].splitlines() if line.strip()]
    return [line for line in lines if not line.startswith("Failed in nopython mode")]


def _line(function: ScalarFunction, error: Exception, message: str) -> int:
    """Return the line that Numba objects to, which may be in a function that this one calls."""
    name = re.escape(PurePath(function.file).name)
    shown = re.search(rf'File "(?:[^"]*/)?{name}", line (\d+)', message)
    if shown is not None:
        return int(shown[1])
    place = getattr(error, "loc", None)
    return int(place.line) if place is not None and place.filename == function.file else function.line


def _fault(
    function: ScalarFunction, problem: str, facts: Sequence[str] = (), line: int | None = None
) -> FunctionError:
    fault = FunctionError(
        problem,
        facts=facts[:_MOST_FACTS],
        mend="use numbers, math.*, NumPy's functions of numbers, if, else, loops, functions made of these",
    )
    fault.located(layer=function.name, file=function.file, line=function.line if line is None else line)
    return fault
