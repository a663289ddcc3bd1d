"""What Python's pickles hold of arrays, dictionaries, lists, tuples, bytes, text and numbers.

A pickle is a program, and `pickle.load` runs it. Here its instructions are only read, one after the other,
and those that make the plain data named above are followed. The few names that pickled arrays need stand for
themselves: nothing is imported, and nothing is called that a file names. Arrays are made of their bytes, once
these are as many as their shapes ask for. At most twice the file is held.
"""

from __future__ import annotations

import math
import pickletools
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np

from graphcnn.arrays import Array

_MOST_AXES: Final = 8


class UnreadablePickle(Exception):  # noqa: N818 - it is caught by whoever knows the file's name
    """A pickle that is damaged, or holds what is not read."""


@dataclass(frozen=True, slots=True)
class _Name:
    """What a pickle calls by its module and name."""

    module: str
    name: str


@dataclass(slots=True)
class _Dtype:
    """An element type, which its state may turn into one of the other byte order."""

    dtype: np.dtype[Any]


@dataclass(slots=True)
class _Array:
    """An array, empty until its state comes."""

    array: Array | None = None


class _Mark:
    """Where the items of what comes next begin on the stack."""


_RECONSTRUCT: Final = {
    _Name(module, "_reconstruct") for module in ("numpy.core.multiarray", "numpy._core.multiarray")
}
_FROM_BUFFER: Final = {
    _Name(module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric")
}
_NDARRAY, _DTYPE, _ENCODE = _Name("numpy", "ndarray"), _Name("numpy", "dtype"), _Name("_codecs", "encode")
_KNOWN: Final = {*_RECONSTRUCT, *_FROM_BUFFER, _NDARRAY, _DTYPE, _ENCODE}
_ELEMENTS: Final = re.compile(r"[<>|=]?[buif](1|2|4|8)")

_VALUES: Final = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "FLOAT", "BINFLOAT"),
    *("STRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
"""Instructions whose argument is what they put on the stack."""
_CONSTANTS: Final[dict[str, object]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: Final[dict[str, Callable[[], object]]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_PUT: Final = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET: Final = {"GET", "BINGET", "LONG_BINGET"}
_SKIPPED: Final = {"PROTO", "FRAME"}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle(file: BinaryIO, size: int) -> object:
    """Return what a pickle of plain data holds; arrays are of numbers, of any shape, and read-only.

    file: from its begin. size: its bytes. What Python 2 wrote as `str` is text, one character a byte, or from
    256 of them on bytes. Raises UnreadablePickle for anything else.
    """
    reader = _Reader()
    bounded: Any = _Bounded(file, size)  # of a file it has what is called here
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of escapes in text that mean nothing
            for instruction, argument, _ in pickletools.genops(bounded):
                if reader.follow(instruction.name, argument):
                    break
        return _plain(reader.stack.pop())
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UnreadablePickle(f"it is damaged: {str(error)[:200] or type(error).__name__}") from None


class _Bounded:
    """A file of which nobody reads more than it has: to ask for more makes room for it beforehand."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int) -> bytes:
        return self._counted(self._file.read(min(size, self._left)))

    def readline(self) -> bytes:
        return self._counted(self._file.readline(self._left))

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        return content


class _Reader:
    """The stack and the memo of a pickle that is read. Damage raises whatever Python raises for it."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, name: str, argument: Any) -> bool:
        """Follow an instruction; return whether it is the last."""
        stack = self.stack
        if name == "BINSTRING":
            stack.append(argument.encode("latin1"))
        elif name in _VALUES:
            stack.append(argument)
        elif name in _PUT:
            self._memo[int(argument)] = stack[-1]
        elif name in _GET:
            stack.append(self._memo[int(argument)])
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            stack.append(_Mark)
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self._above_mark()
            stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else _pairs(items))
        elif name in ("APPEND", "APPENDS"):
            items = self._above_mark() if name == "APPENDS" else [stack.pop()]
            _require(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._above_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _require(stack[-1], dict).update(_pairs(items))
        elif name == "GLOBAL":
            stack.append(_known(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack[-2:] = [_known(*stack[-2:])]
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_reduced(stack.pop(), _require(arguments, tuple)))
        elif name == "BUILD":
            state = stack.pop()
            _build(stack[-1], _require(state, tuple))
        elif name not in _SKIPPED:
            if name == "STOP":
                return True
            raise UnreadablePickle(f"it has the instruction {name}, which makes more than plain data")
        return False

    def _above_mark(self) -> list[Any]:
        """Take what lies above the last mark off the stack, and the mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not _Mark:  # an IndexError where there is none
            place -= 1
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if not all(isinstance(key, str | bytes | int) for key in items[::2]):
        raise UnreadablePickle("a dictionary in it has other keys than text and numbers")
    return dict(zip(items[::2], items[1::2], strict=True))


def _require(found: Any, kind: type) -> Any:
    if type(found) is not kind:
        raise UnreadablePickle(f"it has a {type(found).__name__} where a {kind.__name__} must be")
    return found


def _known(module: object, name: object) -> _Name:
    found = _Name(_require(module, str), _require(name, str))
    if found not in _KNOWN:
        raise UnreadablePickle(
            f"it names {f'{module}.{name}':.100}, which is neither plain data nor an array"
        )
    return found


def _reduced(called: object, arguments: tuple[Any, ...]) -> object:
    """Return what stands for a call of one of the known names."""
    if not isinstance(called, _Name):  # Python crashes where it asks for the hash of tuples within tuples
        raise UnreadablePickle("it calls what is no array")
    if called in _RECONSTRUCT:
        return _Array()
    if called == _DTYPE:
        return _Dtype(_element_type(arguments[0]))
    if called == _ENCODE:  # Python 3 writes bytes so for Python 2
        text, encoding = arguments
        if encoding == "latin1":
            return _require(text, str).encode("latin1")
    if called in _FROM_BUFFER:
        content, dtype, shape, order = arguments
        made = _Array()
        held = bytes(content) if isinstance(content, bytearray) else content
        made.array = _array(_require(held, bytes), dtype, shape, is_by_column=order == "F")
        return made
    raise UnreadablePickle("it calls what is no array")


def _build(built: object, state: tuple[Any, ...]) -> None:
    """Give an array or an element type its state."""
    if isinstance(built, _Dtype):
        order = state[1]
        if order in ("<", ">"):
            built.dtype = built.dtype.newbyteorder(order)
        return
    if not isinstance(built, _Array):
        raise UnreadablePickle(f"it gives a state to a {type(built).__name__}")
    _, shape, dtype, is_by_column, content = state
    if isinstance(content, str):  # as Python 2 wrote it
        content = content.encode("latin1")
    built.array = _array(_require(content, bytes), dtype, shape, is_by_column=bool(is_by_column))


def _element_type(text: object) -> np.dtype[Any]:
    if isinstance(text, bytes):
        text = text.decode("latin1")
    name: str = _require(text, str)
    if not _ELEMENTS.fullmatch(name):
        raise UnreadablePickle(f"an array in it has the element type {name!r:.60}, which is no number")
    return np.dtype(name)


def _array(content: bytes, dtype: object, shape: object, *, is_by_column: bool) -> Array:
    """Return an array of its bytes, which it shares."""
    sizes = _require(shape, tuple)
    if len(sizes) > _MOST_AXES or not all(_require(size, int) >= 0 for size in sizes):
        raise UnreadablePickle(f"an array in it has the shape {sizes!r:.60}")
    elements = _require(dtype, _Dtype).dtype
    wanted = math.prod(sizes) * elements.itemsize
    if len(content) != wanted:
        raise UnreadablePickle(
            f"an array in it has {len(content):,} bytes, and its shape {list(sizes)} of {elements} "
            f"asks for {wanted:,}"
        )
    return np.frombuffer(content, elements).reshape(sizes, order="F" if is_by_column else "C")


def _plain(found: object, depth: int = 0) -> object:
    """Return what was read, with arrays in the place of what stood for them in dictionaries."""
    if isinstance(found, _Array):
        if found.array is None:
            raise UnreadablePickle("an array in it has no elements")
        return found.array
    if isinstance(found, dict) and depth < 2:
        return {key: _plain(value, depth + 1) for key, value in found.items()}
    if isinstance(found, _Name | _Dtype) or found is _Mark:
        raise UnreadablePickle("it holds what is no plain data")
    return found
