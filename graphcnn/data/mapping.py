"""Arrays that are read from a file when they are needed, so that they may be larger than memory."""

from __future__ import annotations

import mmap
import tempfile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from graphcnn.arrays import Array
from graphcnn.errors import FileError

LARGE: Final = 1 << 30
"""Bytes from which on rows are copied into a file rather than into memory, and read ahead in training."""
_BLOCK: Final = 1 << 26


def is_mapped(array: object) -> bool:
    """Whether an array's elements are in a file that is mapped into memory."""
    while isinstance(array, np.ndarray | memoryview):
        if isinstance(array, np.memmap):
            return True
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return isinstance(array, mmap.mmap)


def chosen_rows(array: Array, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return a copy of rows of an array; many rows of a mapped one are mapped, too, from a temporary file.

    Raises FileError where the folder for temporary files has no room.
    """
    size = len(rows) * array[:1].nbytes
    if size <= LARGE or not is_mapped(array):
        chosen: NDArray[Any] = array[rows]
        return chosen
    count = max(1, _BLOCK // max(1, array[:1].nbytes))
    try:
        with tempfile.TemporaryFile(prefix="graphcnn-") as file:
            for start in range(0, len(rows), count):
                file.write(np.ascontiguousarray(array[rows[start : start + count]]).data)
            file.flush()
            return np.asarray(np.memmap(file, array.dtype, "r", 0, (len(rows), *array.shape[1:])))
    except OSError as error:
        raise FileError(
            f"{size / 2**30:.1f} GiB of rows cannot be kept in {tempfile.gettempdir()}: {error.strerror}",
            mend="set TMPDIR to a folder with room",
        ) from error
