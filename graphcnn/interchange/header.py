"""The header of a safetensors file, checked against the file's size before anything else is read.

The format: eight bytes with the length of the header, the header, which is JSON, and the tensors' bytes:
`{"__metadata__": {"name": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}`.
See https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from graphcnn.errors import FileError

LENGTH_BYTES = 8
LONGEST_HEADER = 8 * 2**20
LONGEST_ENTRY = 1000
MOST_TENSORS = 2**16
MOST_AXES = 32
METADATA = "__metadata__"
FIELDS = {"dtype", "shape", "data_offsets"}
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of the file. begin, end: of its bytes, counted from the end of the header."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """entries: in the order of their bytes, which they fill without holes or overlaps."""

    entries: tuple[Entry, ...]
    metadata: dict[str, str]


def header_length(first: bytes, size: int) -> int:
    """Return the header's length, which the file's first bytes tell. Raises FileError if it cannot be."""
    length = int.from_bytes(first, "little")
    if len(first) < LENGTH_BYTES or length > size - LENGTH_BYTES:
        raise FileError(f"the header would be {length} bytes long, which is more than the file has")
    if length > LONGEST_HEADER:
        raise FileError(f"the header is {length} bytes long; {LONGEST_HEADER} are allowed")
    return length


def parse_header(content: bytes, data_size: int) -> Header:
    """Return the header, whose tensors fill exactly `data_size` bytes. Raises FileError for any other.

    Time and memory are bounded by the header's length: only strings and single entries are ever decoded.
    """
    try:
        reader = _Reader(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise FileError("the header is not UTF-8") from None
    try:
        entries, metadata = _parse(reader)
    except (ValueError, RecursionError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"the header is not JSON: {error!s:.100}") from None
    _require_whole(entries, data_size)
    return Header(tuple(entries), metadata)


def _parse(reader: _Reader) -> tuple[list[Entry], dict[str, str]]:
    entries: dict[str, Entry] = {}
    metadata: dict[str, str] | None = None
    for name in reader.keys():  # noqa: SIM118 - it is no dict
        if name == METADATA and metadata is None:
            metadata = {}
            for key in reader.keys():  # noqa: SIM118
                if key in metadata:
                    raise FileError(f"the metadata has {key!r:.80} twice")
                metadata[key] = reader.string()
        elif name == METADATA or name in entries:
            raise FileError(f"the header has {name!r:.80} twice")
        elif len(entries) == MOST_TENSORS:
            raise FileError(f"the header has more than {MOST_TENSORS} tensors")
        else:
            entries[name] = _entry(name, reader.flat_object())
    reader.end()
    return sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)), metadata or {}


def _entry(name: str, text: str) -> Entry:
    fields = json.loads(text, object_pairs_hook=list)
    if sorted(key for key, _ in fields) != sorted(FIELDS):
        raise FileError(f"tensor {name!r:.80} has other fields than {', '.join(sorted(FIELDS))}")
    dtype, shape, offsets = (dict(fields)[field] for field in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise FileError(f"tensor {name!r:.80}: dtype {dtype!r:.40} is none that is read here")
    if not _are_sizes(shape) or len(shape) > MOST_AXES:
        raise FileError(f"tensor {name!r:.80}: shape {shape!r:.80} is no list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FileError(f"tensor {name!r:.80}: data_offsets {offsets!r:.80} are no begin and end")
    entry = Entry(name, np.dtype(DTYPES[dtype]), tuple(shape), *offsets)
    size = math.prod(shape) * entry.dtype.itemsize
    if size != entry.end - entry.begin:
        raise FileError(
            f"tensor {name!r:.80}: {dtype}{shape!r:.80} takes {size!s:.40} bytes, "
            f"but its data_offsets {offsets!r:.80} leave {entry.end - entry.begin!s:.40}"
        )
    return entry


def _are_sizes(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _require_whole(entries: list[Entry], data_size: int) -> None:
    """Raise FileError unless the tensors fill the data from begin to end, one after the other."""
    if entries and entries[0].begin:
        raise FileError(f"the first {entries[0].begin} bytes of data belong to no tensor")
    for entry, following in pairwise(entries):
        if entry.end != following.begin:
            how = "overlap" if entry.end > following.begin else "leave a hole between them"
            raise FileError(f"tensors {entry.name!r:.80} and {following.name!r:.80} {how}")
    end = entries[-1].end if entries else 0
    if end != data_size:
        raise FileError(f"the tensors take {end} bytes, but the file has {data_size} for them")


class _Reader:
    """Reads the JSON of a header from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._decode = json.JSONDecoder().raw_decode

    def keys(self) -> Any:
        """Yield the keys of an object; after each, the caller reads its value."""
        self._expect("{")
        if self._next() == "}":
            self._position += 1
            return
        while True:
            key = self.string()
            self._expect(":")
            yield key
            if self._next() != ",":
                break
            self._position += 1
        self._expect("}")

    def string(self) -> str:
        if self._next() != '"':
            raise FileError(f'character {self._position} of the header: expected "')
        text, self._position = self._decode(self._text, self._position)
        return str(text)

    def flat_object(self) -> str:
        """Return the text of an object that holds no other, and read past it."""
        self._next()
        start = self._position
        end = self._text.find("}", start, start + LONGEST_ENTRY) + 1
        if not end or self._text[start] != "{":
            raise FileError(
                f"character {start} of the header: a tensor's dtype, shape and offsets should be here"
            )
        self._position = end
        return self._text[start:end]

    def end(self) -> None:
        if self._next():
            raise FileError(f"character {self._position} of the header: nothing more may stand here")

    def _next(self) -> str:
        """Return the next character that is no blank; "" at the end."""
        while self._text[self._position : self._position + 1] in (" ", "\t", "\n", "\r"):
            self._position += 1
        return self._text[self._position : self._position + 1]

    def _expect(self, character: str) -> None:
        if self._next() != character:
            raise FileError(f"character {self._position} of the header: expected {character}")
        self._position += 1
