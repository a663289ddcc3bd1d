"""Weights as Keras 3 saves them by `model.save_weights("name.weights.h5")`.

Such a file is HDF5: layers, sublayers of layers, and of each its variables by number, in the order in which
the layer has made them; the group of these says what the layer is called. pyfive reads the structure, from a
file that gives no more than a whole one has; a size is believed when the file is long enough for it.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from types import ModuleType
from typing import Any, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import FileError, OptionError
from graphcnn.interchange.files import as_path, opened
from graphcnn.interchange.uses import Use, use_of
from graphcnn.interchange.weights import require_tensors
from graphcnn.ir import Graph, TensorType

_ORDER: Final = ("filters", "weights", "scale", "slope", "bias", "shift", "mean", "variance")
"""Parameters and statistics of a layer in the order in which Keras makes them."""
_VARIABLES, _LAYERS, _OPTIMIZER = "vars", "layers", "optimizer"
_DEEPEST: Final = 24
_MOST_OBJECTS: Final = 2**14
_MOST_READS: Final = 10_000
"""Of any file, beside one for every 32 bytes that it has."""
_CONTIGUOUS: Final = 1
_NOWHERE: Final = 2**64 - 1
"""The place of numbers that were never written."""
_MEND: Final = (
    'in Keras 3: model.save_weights("name.weights.h5"). A .keras file is an archive: unpack it by '
    "python -m zipfile -e name.keras folder, and load folder/model.weights.h5"
)


def read_keras_weights(
    path: str | PathLike[str],
    graph: Graph,
    weights: Mapping[str, TensorType],
    wanted: Mapping[str, TensorType],
    *,
    is_part: bool = False,
) -> dict[str, Array]:
    """Return the wanted weights of a file of Keras's, whose layers have the names of the network's.

    graph: the network, with all its weights. is_part: whether those are a part of the network's, so that
    others of the file do not matter. Numbers of any precision take the network's.
    Raises FileError, with the names, where layers or variables are missing, unknown, or of other shapes, or
    the file is not a whole one; OptionError where the package pyfive is missing.
    """
    pyfive = _library()
    place = as_path(path)
    parts = _parts(weights)
    with opened(place) as (file, size):
        try:
            layers = _Layers(size).found(pyfive.File(_Budgeted(file, size)))
            given = dict(_named(layers, parts, graph, wanted, is_part=is_part))
        except Exception as error:  # pyfive raises whatever a damaged file leads to
            if isinstance(error, OSError) and error.errno is not None:
                raise
            reason = error.problem if isinstance(error, FileError) else f"{type(error).__name__}: {error}"
            raise FileError(
                f"{place} is not a whole file of Keras's weights",
                facts=[f"reason: {reason:.200}"],
                mend=_MEND,
            ) from None
    mend = (
        "give the layers the names that the file has, and the same shapes; "
        'skip="head", for example, leaves a layer as it is'
    )
    require_tensors(path, given, wanted, mend)
    return given


def _library() -> ModuleType:
    try:
        import pyfive
    except ImportError:
        raise OptionError(
            "files of Keras's weights need the package pyfive", mend="pip install 'graphcnn[keras]'"
        ) from None
    module: ModuleType = pyfive
    return module


class _Budgeted(io.RawIOBase):
    """A file that gives no more than whole ones need: structures that lead in a circle come to an end."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file, self.size = file, size
        self._reads, self._bytes = _MOST_READS + size // 32, 4 * size + 2**16

    def read(self, size: int | None = -1, /) -> bytes:
        count = self.size if size is None or size < 0 else size
        content = self._file.read(min(count, self.size))
        if len(content) < count:
            raise FileError("it is cut off, or points beyond its end")
        self._reads -= 1
        self._bytes -= count
        if self._reads < 0 or self._bytes < 0:
            raise FileError("its structure leads in circles")
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET and not 0 <= offset <= self.size:
            raise FileError(f"it points to byte {offset}, of {self.size}")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@dataclass
class _Layers:
    """Finds the layers of a file that have variables. size: of the file, which all of them must fit into."""

    size: int
    objects: int = 0
    layers: dict[str, list[Any]] = field(default_factory=dict)

    def found(self, file: Any) -> dict[str, list[Any]]:
        """Return the variables of each layer by its name, that of a layer within another behind a dot."""
        for key in file:
            if key not in (_VARIABLES, _OPTIMIZER):
                self._enter(file, key, "", _DEEPEST)
        if not self.layers:
            raise FileError("it has no layers with variables")
        return self.layers

    def _child(self, group: Any, key: str) -> Any:
        self.objects += 1
        if self.objects > _MOST_OBJECTS:
            raise FileError(f"it has more than {_MOST_OBJECTS} groups and arrays")
        return group.get_lazy_view(key)  # which reads no index of chunks

    def _enter(self, above: Any, key: str, outer: str, depth: int) -> None:
        group = self._child(above, key)
        if depth == 0:
            raise FileError(f"its groups are more than {_DEEPEST} deep")
        keys = list(getattr(group, "keys", tuple)())
        variables = self._child(group, _VARIABLES) if _VARIABLES in keys else None
        name = outer if key == _LAYERS else f"{outer}.{self._called(variables, key)}".lstrip(".")
        numbers = sorted(variables.keys(), key=int) if variables is not None else []
        if numbers:
            self.layers[name] = [self._array(self._child(variables, number), name) for number in numbers]
        for inner in keys:
            if inner != _VARIABLES:
                self._enter(group, inner, name, depth - 1)

    def _called(self, variables: Any, key: str) -> str:
        name = None if variables is None else variables.attrs.get("name")
        return name.decode() if isinstance(name, bytes) else str(name or key)

    def _array(self, array: Any, layer: str) -> Any:
        """Return an array whose numbers the file has room for, beside those found before."""
        if array.dtype.kind not in "fiu":
            raise FileError(f"a variable of {layer!r:.80} is of {array.dtype}")
        place = array.id
        count = math.prod(map(int, array.shape))
        if place.layout_class != _CONTIGUOUS or (place.data_offset == _NOWHERE and count):
            raise FileError(f"a variable of {layer!r:.80} is not stored in one piece")
        self.size -= count * int(array.dtype.itemsize)
        if self.size < 0:
            raise FileError("its variables are larger than it is")
        return array


def _parts(weights: Mapping[str, TensorType]) -> dict[str, list[str]]:
    """Return the weights of each layer, in the order in which Keras makes them."""
    parts: dict[str, list[str]] = {}
    for name in weights:
        parts.setdefault(name.rpartition(".")[0], []).append(name)

    def place(name: str) -> int:
        part = name.rpartition(".")[2]
        return _ORDER.index(part) if part in _ORDER else len(_ORDER)

    return {layer: sorted(names, key=place) for layer, names in parts.items()}


def _named(
    layers: Mapping[str, list[Any]],
    parts: Mapping[str, list[str]],
    graph: Graph,
    wanted: Mapping[str, TensorType],
    *,
    is_part: bool,
) -> Iterator[tuple[str, Array]]:
    """Give each variable under the name of the weight that it is, or one that tells which it is."""
    for layer, variables in layers.items():
        names = parts.get(layer, [])
        for number, variable in enumerate(variables):
            name = names[number] if number < len(names) else f"{layer}, variable {number}"
            if name in wanted:
                value = graph.inputs[name]
                array = _as_here(np.asarray(variable[()]), use_of(graph, value), value.type)
                yield name, array.astype(value.type.dtype) if array.dtype.kind == "f" else array
            elif not is_part:
                yield name, np.empty(0)


def _as_here(stored: Array, use: Use, type: TensorType) -> Array:
    """Return a variable with the axes that the network has; as it is, where it is of another shape.

    Keras has filters [k1, k2, C / groups, D] as the network, but [k1, k2, C, m] where each channel has m of
    its own, and [k1, k2, D, C] of transposed convolutions; slopes [1, 1, C] for images.
    """
    shape = type.concrete(1)
    if use.kind == "vector" and stored.shape[-1:] == shape and stored.size == shape[0]:
        return stored.reshape(shape)
    if use.kind == "transposed" and use.groups == 1 and stored.ndim == 4:
        return stored.transpose(0, 1, 3, 2)
    if use.kind != "filters" or stored.ndim != 4:
        return stored
    if shape[2] == 1 and stored.shape == (*shape[:2], use.groups, shape[3] // use.groups):
        stored = stored.reshape(shape)
    return stored[::-1, ::-1] if use.flipped else stored
