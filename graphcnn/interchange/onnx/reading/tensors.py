"""Arrays of a file: in its messages, or beside it in its folder."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import FileError

MOST_AXES: Final = 32
HALVES: Final = ("float16", "bfloat16")
"""Numbers that are held as float32, which has all of theirs."""
_NUMBERS: Final = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def dtype_of(number: int) -> np.dtype[Any]:
    """Return what holds elements of a type of the standard's. Raises KeyError, TypeError or ValueError."""
    import onnx

    dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
    return np.dtype(np.float32) if dtype.name in HALVES else dtype


def widened(array: Array) -> Array:
    """Return numbers of 16 bits as float32, and others as they are."""
    return array.astype(np.float32) if array.dtype.name in HALVES else array


def array_of(tensor: Any, folder: Path | None) -> Array:
    """Return what a TensorProto holds; numbers of 16 bits as float32.

    folder: of the file, in which its external data are; None for bytes, which have no such place.
    Raises FileError for a tensor that holds more or fewer numbers than its shape says.
    """
    import onnx
    from onnx import numpy_helper

    name = tensor.name
    shape = tuple(tensor.dims)
    if len(shape) > MOST_AXES or any(size < 0 for size in shape):
        raise FileError(f"tensor {name!r:.80} has the shape {list(shape[:9])}")
    if tensor.HasField("segment"):
        raise FileError(f"tensor {name!r:.80} is cut into segments, which nobody writes")
    if tensor.data_type == onnx.TensorProto.STRING:
        raise FileError(f"tensor {name!r:.80} holds text")
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, TypeError, ValueError):
        raise FileError(f"tensor {name!r:.80} has the element type {tensor.data_type}") from None
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return widened(_external(tensor, dtype, shape, folder))
    count = math.prod(shape)
    held = len(tensor.raw_data) if tensor.HasField("raw_data") else 0
    numbers = sum(len(getattr(tensor, field)) for field in _NUMBERS)
    if count > 8 * held + 2 * numbers:
        raise FileError(f"tensor {name!r:.80} of shape {list(shape)} has no numbers for it")
    try:
        return widened(np.asarray(numpy_helper.to_array(tensor)))
    except (ValueError, TypeError, OverflowError) as error:
        raise FileError(f"tensor {name!r:.80} of shape {list(shape)}: {error!s:.200}") from None


def _external(tensor: Any, dtype: np.dtype[Any], shape: tuple[int, ...], folder: Path | None) -> Array:
    """Return what another file holds, which has to be in the folder itself, or in one within, and no link."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    location, name = where.get("location", ""), tensor.name
    if folder is None:
        raise FileError(
            f"tensor {name!r:.80} is in another file, {location!r:.80}, and bytes have no folder",
            mend="gcn.from_onnx(path), beside which that file is",
        )
    parts = Path(location).parts
    if not parts or Path(location).is_absolute() or ".." in parts or "\0" in location or "\\" in location:
        raise FileError(
            f"tensor {name!r:.80} is at {location!r:.80}, which is no place in the model's folder"
        )
    offset, length = (_number(where.get(key, "0"), name) for key in ("offset", "length"))
    size = math.prod(shape) * dtype.itemsize
    if "length" in where and length != size:
        raise FileError(f"tensor {name!r:.80} takes {size} bytes, but has {length} in {location!r:.80}")
    path = folder
    for part in parts:
        path /= part
        if path.is_symlink():
            raise FileError(f"tensor {name!r:.80} is at {location!r:.80}, which is a link")
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise FileError(f"tensor {name!r:.80} is at {location!r:.80}: {error.strerror}") from None
    with open(handle, "rb") as file:  # noqa: PTH123 - a handle is no path
        status = os.fstat(file.fileno())
        if status.st_nlink > 1:
            raise FileError(f"tensor {name!r:.80} is at {location!r:.80}, which is a link")
        if not stat.S_ISREG(status.st_mode) or offset + size > status.st_size:
            raise FileError(
                f"tensor {name!r:.80} takes bytes {offset} to {offset + size} of {location!r:.80}, "
                f"which has {status.st_size}"
            )
        file.seek(offset)
        array = np.fromfile(file, dtype.newbyteorder("<"), math.prod(shape))
    return array.reshape(shape).astype(dtype, copy=False)


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise FileError(f"tensor {name!r:.80} has the place {text!r:.40} in its external data")
    return int(text)
