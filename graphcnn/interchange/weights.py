"""Weights in safetensors files: tensors by name, and metadata as text. No code is ever executed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from io import FileIO
from os import PathLike
from pathlib import Path

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import FileError, OptionError
from graphcnn.interchange.files import as_path, write_atomically
from graphcnn.interchange.header import LENGTH_BYTES, LONGEST_HEADER, Entry, header_length, parse_header
from graphcnn.ir import TensorType, format_shape


def write_weights(
    path: str | PathLike[str], tensors: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write tensors and metadata atomically.

    Raises OptionError for what is too large to be read again, and OSError where the place cannot be written.
    """
    from safetensors.numpy import save

    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    write_atomically(path, _in_fixed_order(save(contiguous, metadata=dict(metadata))))


def _in_fixed_order(content: bytes) -> bytes:
    """Return a safetensors file with its header sorted: the library writes metadata in no fixed order."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise OptionError(
            "the model is too large for a file",
            facts=[f"its graphs and names take {len(text)} bytes, and a file may have {LONGEST_HEADER}"],
            mend="shorten the names of layers, or save parts of the network",
        )
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[start:]))


def read_weights(path: str | PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file, by name.

    Raises OptionError for what is no path, FileError for a file that is missing, damaged or cut off, also
    meanwhile, and OSError where it cannot be read. Sizes, overlaps and holes are checked against the file's
    length before anything is allocated; the file is read and never mapped, so that nobody can change a
    tensor later.
    """
    place = as_path(path)
    try:
        with FileIO(place, opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                return _read(file, status.st_size, place)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        pass
    raise FileError(f"{place} does not exist, or is not a file", mend="check the path and the working folder")


def _without_waiting(name: str, flags: int) -> int:
    """Open a file at once, where opening a pipe would wait for who writes into it."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _read(file: FileIO, size: int, path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        length = header_length(_bytes(file, min(size, LENGTH_BYTES)), size)
        header = parse_header(_bytes(file, length), size - LENGTH_BYTES - length)
        return {entry.name: _tensor(file, entry) for entry in header.entries}, header.metadata
    except FileError as error:
        raise FileError(
            f"{path} is not a whole safetensors file",
            facts=[f"size {size} bytes", f"reason: {error.problem}"],
            mend="copy or download the file again, or load an older one",
        ) from None


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
