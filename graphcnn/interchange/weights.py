"""Weights in safetensors files: tensors by name, and metadata as text. No code is ever executed."""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Mapping
from io import FileIO
from os import PathLike
from pathlib import Path
from typing import Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import FileError, OptionError
from graphcnn.interchange.files import as_path, opened, write_atomically
from graphcnn.interchange.header import (
    DTYPES,
    LENGTH_BYTES,
    LONGEST_HEADER,
    METADATA,
    Entry,
    Header,
    header_length,
    parse_header,
)
from graphcnn.ir import TensorType, format_shape

_OF_OTHERS: Final = {
    b"\x89HDF\r\n\x1a\n": 'model.load_weights(path, layout="keras"), for weights that Keras saved',
    b"PK\x03\x04": "in PyTorch, safetensors.torch.save_file(module.state_dict(), path) writes one; the "
    "weights of a .keras file are in its model.weights.h5",
}
"""What to do with files of others, by how they begin."""
_CODES = {dtype: code for code, dtype in DTYPES.items()}


CHECKSUM: Final = "checksum"
"""The metadata that tells, in eight hexadecimal digits, the CRC-32 of a file in which they are zeros."""
_OPEN: Final = f'"{CHECKSUM}":"{0:08x}"'.encode()
_CLOSED: Final = re.compile(rb'"%s":"[0-9a-f]{8}"' % CHECKSUM.encode())
"""As a header has it. Within texts, quotation marks have a backslash before them."""


def write_weights(
    path: str | PathLike[str],
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str],
    *,
    has_checksum: bool = False,
) -> None:
    """Write tensors and metadata atomically.

    has_checksum: whether who reads the file is to find out if any bit of it has changed since.
    Raises OptionError for what is too large to be read again, and OSError where the place cannot be written.
    """
    little = {name: _little_endian(name, tensor) for name, tensor in tensors.items()}
    # the largest elements first, so that all are aligned
    in_order = sorted(little.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    texts = {name: text for name, text in metadata.items() if name != CHECKSUM}
    if has_checksum:
        texts[CHECKSUM] = f"{0:08x}"
    header: dict[str, object] = {METADATA: dict(sorted(texts.items()))}
    begin = 0
    for name, tensor in in_order:
        end = begin + tensor.nbytes
        code = _CODES[tensor.dtype.str]
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    first, data = _header_bytes(header), [_bytes_of(tensor) for _, tensor in in_order]
    if has_checksum:
        first = first.replace(_OPEN, b'"%s":"%08x"' % (CHECKSUM.encode(), _crc(first, *data)), 1)
    write_atomically(path, [first, *data])


def _crc(*parts: bytes | memoryview) -> int:
    return functools.reduce(lambda crc, part: zlib.crc32(part, crc), parts, 0)


def _little_endian(name: str, tensor: Array) -> Array:
    little = np.asarray(tensor, tensor.dtype.newbyteorder("<"))
    if little.dtype.str not in _CODES:
        raise OptionError(
            f"the array {name!r:.80} is {tensor.dtype}, which a file cannot hold",
            mend=f"numbers of a type that is one of {', '.join(DTYPES)}",
        )
    return little


def _bytes_of(tensor: Array) -> memoryview:
    """Return the bytes of an array, without a copy where they lie in its order."""
    return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data


def _header_bytes(header: Mapping[str, object]) -> bytes:
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise OptionError(
            "the model is too large for a file",
            facts=[f"its graphs and names take {len(text)} bytes, and a file may have {LONGEST_HEADER}"],
            mend="shorten the names of layers, or save parts of the network",
        )
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def read_weights(path: str | PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file, by name.

    Raises OptionError for what is no path, FileError for a file that is missing, damaged or cut off, also
    meanwhile, or has another checksum than it was written with, and OSError where it cannot be read. Sizes,
    overlaps and holes are checked against the file's length before anything is allocated; the file is read
    and never mapped, so that nobody can change a tensor later.
    """
    header, tensors = _read(as_path(path))
    return tensors, header.metadata


def read_header(path: str | PathLike[str]) -> Header:
    """Return what a safetensors file says of its tensors, and its metadata. Raises as `read_weights` does."""
    return _read(as_path(path), header_alone=True)[0]


def _read(place: Path, *, header_alone: bool = False) -> tuple[Header, dict[str, Array]]:
    with opened(place) as (file, size):
        return _read_file(file, size, place, header_alone=header_alone)


def _read_file(file: FileIO, size: int, path: Path, *, header_alone: bool) -> tuple[Header, dict[str, Array]]:
    first = b""
    try:
        first = _bytes(file, min(size, LENGTH_BYTES))
        length = header_length(first, size)
        content = _bytes(file, length)
        header = parse_header(content, size - LENGTH_BYTES - length)
        if header_alone:
            return header, {}
        tensors = {entry.name: _tensor(file, entry) for entry in header.entries}
        if CHECKSUM in header.metadata:
            _require_unchanged(header.metadata[CHECKSUM], first + content, tensors)
        return header, tensors
    except FileError as error:
        mends = (mend for signature, mend in _OF_OTHERS.items() if first.startswith(signature))
        raise FileError(
            f"{path} is not a whole safetensors file",
            facts=[f"size {size} bytes", f"reason: {error.problem}"],
            mend=next(mends, "copy or download the file again, or load an older one"),
        ) from None


def _require_unchanged(checksum: str, header: bytes, tensors: Mapping[str, Array]) -> None:
    """Raise FileError unless a file has the bytes that it was written with. header: with its length."""
    data = (_bytes_of(tensor) for tensor in tensors.values())
    found = f"{_crc(_CLOSED.sub(_OPEN, header, count=1), *data):08x}"
    if found != checksum:
        raise FileError(
            f"it has changed since it was written: its checksum is {found}, and was {checksum!r:.40}"
        )


def _tensor(file: FileIO, entry: Entry) -> Array:
    tensor = np.empty(entry.shape, entry.dtype)
    _fill(file, tensor.reshape(-1).view(np.uint8))
    if entry.dtype == np.bool_ and tensor.view(np.uint8).max(initial=0) > 1:
        raise FileError(f"tensor {entry.name!r:.80} has other bytes than 0 and 1 as booleans")
    return tensor


def _bytes(file: FileIO, count: int) -> bytes:
    content = np.empty(count, np.uint8)
    _fill(file, content)
    return content.tobytes()


def _fill(file: FileIO, content: Array) -> None:
    """Read as many bytes as there is room for."""
    rest = content.data
    while len(rest):
        count = file.readinto(rest)
        if not count:
            raise FileError("it was cut off while it was read")
        rest = rest[count:]


def require_tensors(
    path: str | PathLike[str],
    tensors: Mapping[str, Array],
    wanted: Mapping[str, TensorType],
    mend: str = "load them into the network that saved them",
) -> None:
    """Raise FileError unless exactly the wanted tensors are there, with their shapes and element types."""
    missing = [f"missing {name}: {type}" for name, type in wanted.items() if name not in tensors]
    unknown = [f"unknown {name}" for name in tensors if name not in wanted]
    wrong = [
        f"{name}: the file has {tensors[name].dtype}{format_shape(tensors[name].shape)}, the network {type}"
        for name, type in wanted.items()
        if name in tensors
        and (tensors[name].shape, tensors[name].dtype.name) != (type.concrete(1), type.dtype)
    ]
    faults = [*missing, *unknown, *wrong]
    if faults:
        shown = faults if len(faults) <= 12 else [*faults[:12], f"... and {len(faults) - 12} more"]
        raise FileError(
            f"the tensors of {path} do not fit the network",
            facts=shown,
            mend=mend,
        )
