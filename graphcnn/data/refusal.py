"""Files that are refused: what their errors say, and the bounds that hold for all of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from graphcnn.errors import FileError

BLOCK: Final = 1 << 18
"""Bytes that are read at a time."""
SMALL: Final = 64 << 20
"""Bytes that may be allocated on the word of a compressed file, before it was decompressed and counted."""

DOWNLOAD: Final = "fetch or copy the file again, and compare its length or checksum with the source's."
WRONG_FILE: Final = "check that this is the file you mean; if so, fetch or copy it again."

_LISTED: Final = 8


def refusal(path: Path, field: str, reason: str, *facts: str, mend: str) -> FileError:
    """Return the error for a file of which a field is not as it must be."""
    return FileError(f"{path.name}: {field}: {reason}.", facts=[*facts, f"file: {path}"], mend=mend)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Name the file in the errors of the system and of zlib."""
    try:
        yield
    except zlib.error as error:
        raise refusal(
            path, "gzip data", "the compressed data are damaged", f"zlib: {error}", mend=DOWNLOAD
        ) from error
    except OSError as error:
        raise FileError(
            f"{path}: it cannot be read: {error.strerror or error}.",
            mend="check the path, its permissions and the disk.",
        ) from error


def shown_sizes(shape: tuple[int, ...]) -> str:
    """Return sizes for the eye: 60000 x 28 x 28."""
    return " x ".join(str(size) for size in shape)


def shown_bytes(count: int) -> str:
    """Return a number of bytes for the eye."""
    return "1 byte" if count == 1 else f"{count:,} bytes"


def held_by(folder: Path) -> str:
    """Return what a folder holds, in so many names as a line has room for."""
    present = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(present) - _LISTED} more" if len(present) > _LISTED else ""
    return f"the folder holds: {', '.join(present[:_LISTED]) or 'nothing'}{more}"
