"""Weights in safetensors files: tensors by name, and metadata as text. No code is ever executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import FileError
from graphcnn.interchange.files import as_path, write_atomically
from graphcnn.ir import TensorType, format_shape


def write_weights(
    path: str | PathLike[str], tensors: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write tensors and metadata atomically. Raises OSError where the place cannot be written."""
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
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[start:]))


def read_weights(path: str | PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file.

    Raises FileError for a missing, damaged or truncated file. The format's own reader checks sizes,
    overlaps and holes against the file's length before anything is allocated.
    """
    from safetensors import SafetensorError, safe_open

    path = as_path(path)
    if not path.is_file():
        raise FileError(
            f"{path} does not exist, or is not a file", mend="check the path and the working folder"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileError(
            f"{path} is not a whole safetensors file",
            facts=[f"size {path.stat().st_size} bytes", f"reason: {error}"],
            mend="copy or download the file again, or load an older one",
        ) from None
    return tensors, metadata


def require_tensors(
    path: str | PathLike[str], tensors: Mapping[str, Array], wanted: Mapping[str, TensorType]
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
            mend="load them into the network that saved them",
        )
