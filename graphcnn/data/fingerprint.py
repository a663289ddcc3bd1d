"""The fingerprint of an array: it tells that other data are given than before, and reads few of them."""

from __future__ import annotations

import hashlib
from typing import Any, Final, TypeAlias

import numpy as np

Fingerprint: TypeAlias = dict[str, object]
"""`shape`, `dtype`, and as `sample` the SHA-256 of some of the rows; values of JSON."""

ROWS: Final = 64
BYTES: Final = 1 << 24
"""So many rows, or bytes of them, are read at most: the first, the last, and those evenly between."""


def fingerprint(array: Any) -> Fingerprint:
    """Return the fingerprint of an array with a row per sample, or of anything that is indexed as one."""
    count, shape = (len(array), list(array.shape)) if array.ndim else (1, [])
    size = max(1, array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
    rows = max(1, min(count, ROWS, BYTES // size))
    chosen = [row * (count - 1) // max(rows - 1, 1) for row in range(rows if count else 0)]
    sample = np.ascontiguousarray(array[chosen] if array.ndim else array)
    return {"shape": shape, "dtype": array.dtype.name, "sample": hashlib.sha256(sample.tobytes()).hexdigest()}
