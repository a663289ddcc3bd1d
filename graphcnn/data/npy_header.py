"""The header of a .npy file: a dictionary's text, of which only what NumPy writes for plain arrays is read.

NumPy's own reader compiles the text as Python, and asks for as much memory as the file says that it is long.
The format is described at https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

MAGIC: Final = b"\x93NUMPY"
LONGEST: Final = 10_000
"""Bytes of a header that are read."""
MOST_AXES: Final = 32
_LENGTH_BYTES: Final = {1: 2, 2: 4}
"""Of the header's length, by the format's version. Version 3 is for records with names beyond Latin-1."""
_FIELDS: Final = {"descr", "fortran_order", "shape"}
_FIELD: Final = re.compile(
    r"""[ ]*+'(\w++)'[ ]*+:[ ]*+(?:'([^'\\]*+)'|(True|False)|\(([0-9L, ]*+)\)|(\[[^\]]*+\]))[ ]*+(,|(?=\}))"""
)
_ELEMENTS: Final = re.compile(r"[<>|=]?[a-zA-Z?][0-9]{0,9}")
_SIZES: Final = re.compile(r"(?:[ ]*+[0-9]{1,19}+L?+[ ]*+,)*+[ ]*+(?:[0-9]{1,19}+L?+[ ]*+)?+")


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Header:
    """dtype: None where elements are no plain ones. length: of the header, in bytes, to the first element."""

    shape: tuple[int, ...]
    is_by_column: bool
    elements: str
    dtype: np.dtype[Any] | None
    length: int


def read_header(stream: _Stream) -> Header:
    """Return the header of a file, from its begin. Raises ValueError for what is none."""
    start = stream.read(len(MAGIC) + 2)
    if len(start) < len(MAGIC) + 2 or not start.startswith(MAGIC):
        raise ValueError(f"it begins with {start!r}, and not with {MAGIC!r} and the version of the format")
    version = start[len(MAGIC)]
    if version not in _LENGTH_BYTES or start[-1]:
        raise ValueError(
            f"the version {version}.{start[-1]} of the format, which is for other arrays than numbers"
        )
    first = stream.read(_LENGTH_BYTES[version])
    length = int.from_bytes(first, "little")
    if length > LONGEST:
        raise ValueError(f"it would have {length:,} bytes, and at most {LONGEST:,} are read")
    text = stream.read(length)
    if len(first) < _LENGTH_BYTES[version] or len(text) < length:
        raise ValueError("the file ends within it")
    shape, is_by_column, elements = _parsed(text.decode("latin1").strip())
    return Header(shape, is_by_column, elements, _dtype(elements), len(start) + len(first) + length)


def _parsed(text: str) -> tuple[tuple[int, ...], bool, str]:
    found: dict[str, str | None] = {}
    place = 1
    while match := _FIELD.match(text, place):
        name, elements, truth, sizes, record, _ = match.groups()
        if name in found:
            raise ValueError(f"it has {name!r:.40} twice")
        kinds = {"descr": record if elements is None else elements, "fortran_order": truth, "shape": sizes}
        found[name] = kinds.get(name)
        place = match.end()
    if text[:1] != "{" or text[place:].strip(" ") != "}" or found.keys() != _FIELDS:
        raise ValueError(f"it is no dictionary of {', '.join(sorted(_FIELDS))}: {text!r:.80}")
    elements, order, listed = found["descr"], found["fortran_order"], found["shape"]
    if elements is None or order is None or listed is None or not _SIZES.fullmatch(listed):
        raise ValueError(f"it has fields of other types than an array's: {text!r:.80}")
    sizes = [int(size.strip(" L")) for size in listed.split(",") if size.strip()]
    if len(sizes) > MOST_AXES or any(size >= 2**63 for size in sizes):
        raise ValueError(f"its shape is none of an array: ({listed:.80})")
    return tuple(sizes), order == "True", elements


def _dtype(elements: str) -> np.dtype[Any] | None:
    """Return an element type of plain numbers or text, and None for any other."""
    if not _ELEMENTS.fullmatch(elements):
        return None
    try:
        found = np.dtype(elements)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.kind in "buifU" and found.itemsize else None
