"""Arrays in the IDX format of the MNIST files.

An IDX file is a header and an array. The header, big endian, is

    00 00           two zero bytes
    type code       one byte, see `_TYPES`
    dimensions      one byte, how many sizes follow
    sizes           four bytes each

The array follows in C order, big endian, and ends with the file. The format is described at
http://yann.lecun.com/exdb/mnist/. Nothing is allocated before the file's length agrees with its header;
for a compressed file, nothing above 64 MB before all of it was decompressed once and counted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from graphcnn.arguments import known_arguments
from graphcnn.data.gzip_stream import MOST_RATIO, GzipStream
from graphcnn.data.refusal import (
    BLOCK,
    DOWNLOAD,
    SMALL,
    WRONG_FILE,
    file_errors,
    refusal,
    shown_bytes,
    shown_sizes,
)
from graphcnn.errors import FileError

_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(np.uint8),
    0x09: np.dtype(np.int8),
    0x0B: np.dtype(np.int16),
    0x0C: np.dtype(np.int32),
    0x0D: np.dtype(np.float32),
    0x0E: np.dtype(np.float64),
}
CODES = {dtype: code for code, dtype in _TYPES.items()}
_MOST_DIMENSIONS = 4
_LONGEST_HEADER = 4 + 4 * _MOST_DIMENSIONS

# How other files begin that are found under an IDX name.
_STRANGERS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"PK\x03\x04": "a ZIP archive",
    b"\x93NUM": "a NumPy .npy file",
    b"\x80": "a Python pickle, which graphcnn never opens",
    b"vers": "text, perhaps a Git LFS pointer in place of the file",
    b"<": "HTML or XML, perhaps a web page saved in place of the file",
}

_GZIP_MAGIC = b"\x1f\x8b"


@known_arguments
def load_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array of an IDX file, plain or compressed with gzip (told by its content, not by its name).

    The array has the file's shape, and the file's element type in the machine's byte order: uint8, int8,
    int16, int32, float32 or float64.

    Raises FileError if the file is missing, is no IDX file, is empty, is cut off, or goes on after its
    data. A compressed file must be one gzip stream.
    """
    path = Path(path)
    with file_errors(path):
        if not path.is_file():
            raise FileError(
                f"{path}: there is no such file.",
                facts=["a folder has this name"] if path.is_dir() else [],
                mend="check the path; `load_idx_folder` loads the four files of a folder.",
            )
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file.seek(0)
            return _load_gzip(path, file, length) if compressed else _load_plain(path, file, length)


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def data_length(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def arithmetic(self) -> str:
        each = f"{shown_bytes(self.dtype.itemsize)} ({self.dtype})"
        return f"dimension sizes: {shown_sizes(self.shape)} x {each} = {shown_bytes(self.data_length)}"

    def array(self, data: NDArray[np.uint8]) -> NDArray[Any]:
        big_endian = data.view(self.dtype.newbyteorder(">"))
        return big_endian.astype(self.dtype, copy=False).reshape(self.shape)


def _load_plain(path: Path, file: BinaryIO, length: int) -> NDArray[Any]:
    header = _read_header(path, file.read)
    found = length - header.length
    if found != header.data_length:
        raise _wrong_length(path, header, shown_bytes(found), found - header.data_length)
    data = np.empty(header.data_length, np.uint8)
    found = _receive(file.read, header.data_length, data.data)
    if found != header.data_length:  # another program is writing it
        raise _wrong_length(path, header, shown_bytes(found), found - header.data_length)
    return header.array(data)


def _load_gzip(path: Path, file: BinaryIO, length: int) -> NDArray[Any]:
    stream = GzipStream(file)
    start = _read_exactly(stream.read, _LONGEST_HEADER)
    if len(start) < _LONGEST_HEADER and not stream.finished:
        raise refusal(
            path,
            "gzip data",
            "the compressed file is cut off",
            f"its {length:,} bytes decompress to {len(start)}, and hold no checksum",
            mend=DOWNLOAD,
        )
    header = _read_header(path, BytesIO(start).read)
    _check_gzip_promise(path, header, file, length)
    if header.data_length > SMALL:
        _receive_gzip(path, header, file, length, None)
    data = np.empty(header.data_length, np.uint8)
    _receive_gzip(path, header, file, length, data.data)
    return header.array(data)


def _read_header(path: Path, read: Callable[[int], bytes]) -> _Header:
    magic = _read_exactly(read, 4)
    if not magic:
        raise refusal(path, "magic", "the file is empty", mend=DOWNLOAD)
    if magic[:2] != b"\0\0"[: len(magic)]:
        strangers = [
            f"this looks like {what}" for start, what in _STRANGERS.items() if magic.startswith(start)
        ]
        raise refusal(
            path,
            "magic",
            "the file is not in the IDX format",
            f"magic: {magic.hex(' ')}; an IDX file begins with 00 00",
            *strangers,
            mend=WRONG_FILE,
        )
    if len(magic) < 4:
        raise refusal(path, "magic", f"the file ends after {len(magic)} of 4 bytes", mend=DOWNLOAD)
    code, dimensions = magic[2], magic[3]
    if code not in _TYPES:
        raise refusal(
            path,
            "type code",
            f"0x{code:02X} is no element type of IDX",
            "type codes: " + ", ".join(f"0x{known:02X} {dtype}" for known, dtype in _TYPES.items()),
            mend=WRONG_FILE,
        )
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise refusal(
            path,
            "number of dimensions",
            f"{dimensions} is not from 1 to {_MOST_DIMENSIONS}",
            "labels have 1 dimension [N], grey images 3 [N, H, W], colour images 4 [N, H, W, C]",
            mend=WRONG_FILE,
        )
    sizes = _read_exactly(read, 4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise refusal(
            path,
            "dimension sizes",
            "the file ends within its header",
            f"{dimensions} dimensions x 4 bytes = {4 * dimensions} bytes; {len(sizes)} are there",
            mend=DOWNLOAD,
        )
    shape = tuple(int.from_bytes(sizes[start : start + 4], "big") for start in range(0, len(sizes), 4))
    if 0 in shape:
        raise refusal(
            path,
            "dimension sizes",
            f"{shown_sizes(shape)} holds no elements",
            "each size must be 1 or more",
            mend=WRONG_FILE,
        )
    return _Header(_TYPES[code], shape)


def _read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    found = b""
    while len(found) < size and (block := read(size - len(found))):
        found += block
    return found


def _receive(read: Callable[[int], bytes], expected: int, target: memoryview | None) -> int:
    """How many bytes come, counted up to one more than expected; the expected ones go into the target."""
    arrived = 0
    while arrived <= expected and (block := read(min(BLOCK, expected + 1 - arrived))):
        if target is not None:
            target[arrived : arrived + len(block)] = block[: expected - arrived]
        arrived += len(block)
    return arrived


def _check_gzip_promise(path: Path, header: _Header, file: BinaryIO, length: int) -> None:
    """Refuse what the header says if a compressed file of this length cannot hold it."""
    promised = header.length + header.data_length
    most = length * MOST_RATIO
    if promised > most:
        raise refusal(
            path,
            "dimension sizes",
            "the compressed file is too short for what its header says",
            header.arithmetic,
            f"gzip shrinks at most {MOST_RATIO}:1, so {length:,} bytes hold at most {most:,}",
            mend=DOWNLOAD,
        )
    if promised <= SMALL:
        return
    # Large: rather than decompress it all to learn that it is wrong, ask the last four bytes first.
    file.seek(-4, os.SEEK_END)
    recorded = int.from_bytes(file.read(4), "little")
    if recorded != promised % 2**32:
        raise refusal(
            path,
            "data length",
            "the compressed file's last bytes disagree with its header: it is cut off, has bytes added, "
            "or is not one gzip stream",
            header.arithmetic,
            f"with the header {promised:,} bytes; gzip's record of the length (modulo 2**32) is {recorded:,}",
            mend=f"{DOWNLOAD} If gunzip can decompress it, load the plain file.",
        )


def _receive_gzip(
    path: Path, header: _Header, file: BinaryIO, length: int, target: memoryview | None
) -> None:
    file.seek(0)
    stream = GzipStream(file)
    _read_exactly(stream.read, header.length)
    found = _receive(stream.read, header.data_length, target)
    surplus = found - header.data_length
    if surplus > 0:
        raise _wrong_length(path, header, f"{shown_bytes(found)} or more after decompression", surplus)
    if not stream.finished:
        raise refusal(
            path,
            "data length",
            "the compressed file is cut off",
            header.arithmetic,
            f"data length: {shown_bytes(found)} after decompression; "
            "then the file ends, without gzip's checksum",
            mend=DOWNLOAD,
        )
    if surplus < 0:
        raise _wrong_length(path, header, f"{shown_bytes(found)} after decompression", surplus)
    if stream.consumed != length:
        raise refusal(
            path,
            "gzip data",
            "bytes follow the end of the gzip stream",
            f"file of {length:,} - stream of {stream.consumed:,} bytes = {length - stream.consumed:,} bytes",
            mend=f"{DOWNLOAD} If gunzip can decompress it, load the plain file.",
        )


def _wrong_length(path: Path, header: _Header, found: str, surplus: int) -> FileError:
    return refusal(
        path,
        "data length",
        f"the file holds {'more' if surplus > 0 else 'less'} than its dimension sizes ask for",
        header.arithmetic,
        f"data length: {found}, after a header of {header.length} bytes",
        f"{shown_bytes(abs(surplus))} {'too many' if surplus > 0 else 'missing'}",
        mend=DOWNLOAD,
    )
