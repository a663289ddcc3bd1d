"""Weights as PyTorch's modules have them: other names, filters [D, C, k1, k2], dense weights [units, C].

Names follow from the layers', which are those of PyTorch's modules where two networks are to share weights.
How a tensor is stored follows from what the graph does with it: layers of your own need no table here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.interchange.uses import use_of
from graphcnn.interchange.weights import read_weights, require_tensors, write_weights
from graphcnn.ir import Graph, TensorType, Value

PARTS = {
    "filters": "weight",
    "weights": "weight",
    "scale": "weight",
    "slope": "weight",
    "shift": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
"""What PyTorch calls the parameters and states of a layer; others have the same names there."""

COUNTER = "num_batches_tracked"
"""A state of PyTorch's batch norm that graphcnn has not: how many batches its averages have seen."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How PyTorch stores one of a model's weights.

    name: what it is called there. type: the model's own. axes: axis i there is axis `axes[i]` here. flipped:
    whether both axes of the kernel run the other way. image: where the first axis counts the places of images
    [H, W, C] that were flattened, their sizes; PyTorch's images are [C, H, W]. groups: of a transposed
    convolution, [k1, k2, C / groups, D] here and [C, D / groups, k1, k2] there.
    """

    name: str
    type: TensorType
    axes: tuple[int, ...]
    flipped: bool = False
    image: tuple[int, ...] = ()
    groups: int = 1

    @property
    def stored_type(self) -> TensorType:
        shape = [self.type.static(axis) for axis in self.axes]
        if self.groups > 1:
            shape[0], shape[1] = shape[0] * self.groups, shape[1] // self.groups
        return self.type.with_shape(tuple(shape))

    def to_torch(self, array: Array) -> Array:
        if self.groups > 1:
            parts = np.split(array, self.groups, axis=-1)
            return np.concatenate([part.transpose(self.axes) for part in parts])
        if self.image:
            rest = array.shape[1:]
            array = np.moveaxis(array.reshape(*self.image, *rest), 2, 0).reshape(-1, *rest)
        return (array[::-1, ::-1] if self.flipped else array).transpose(self.axes)

    def from_torch(self, stored: Array) -> Array:
        if self.groups > 1:
            parts = np.split(stored, self.groups)
            return np.concatenate([part.transpose(np.argsort(self.axes)) for part in parts], axis=-1)
        array = stored.transpose(np.argsort(self.axes))
        array = array[::-1, ::-1] if self.flipped else array
        if not self.image:
            return array
        (height, width, channels), rest = self.image, array.shape[1:]
        return np.moveaxis(array.reshape(channels, height, width, *rest), 0, 2).reshape(-1, *rest)


def write_state_dict(path: str | PathLike[str], graph: Graph, weights: Mapping[str, Array]) -> None:
    """Write weights as the state dict of a PyTorch module whose modules have the names of the layers.

    graph: the network that has these weights, for training. Raises OptionError where two of them would have
    one name, and OSError where the place cannot be written.
    """
    stored = _stored(graph, {name: graph.inputs[name].type for name in weights})
    counters = {name: np.zeros((), np.int64) for name in _counters(weights)}
    state = {stored[name].name: stored[name].to_torch(array) for name, array in weights.items()}
    write_weights(path, state | counters, {"format": "pt"})


def read_state_dict(
    path: str | PathLike[str], graph: Graph, wanted: Mapping[str, TensorType], *, is_part: bool = False
) -> dict[str, Array]:
    """Return the wanted weights of a state dict; numbers of any precision take the network's.

    is_part: whether they are a part of the network's, so that others of the file do not matter.
    Raises FileError, with the names, where tensors are missing, unknown, or of other shapes.
    """
    stored = _stored(graph, wanted)
    types = {each.name: each.stored_type for each in stored.values()}
    counters = _counters(wanted)
    tensors, _ = read_weights(path)
    given = {
        name: tensor.astype(types[name].dtype) if name in types and tensor.dtype.kind == "f" else tensor
        for name, tensor in tensors.items()
        if name not in counters and (name in types or not is_part)
    }
    mend = (
        "name the layers as PyTorch names its modules, and give the network the same layers and classes; "
        'skip="fc", for example, leaves a head as it is'
    )
    if any(name.rpartition(".")[2] in PARTS and name not in types for name in given):
        mend = "model.load_weights(path), without layout=, for a file of graphcnn's own"
    require_tensors(path, given, types, mend)
    return {name: each.from_torch(given[each.name]) for name, each in stored.items()}


def _stored(graph: Graph, types: Mapping[str, TensorType]) -> dict[str, Stored]:
    images = _flattened(graph)
    stored = {name: _stored_as(graph, name, type, images) for name, type in types.items()}
    first: dict[str, str] = {}
    for name, each in stored.items():
        other = first.setdefault(each.name, name)
        if other != name:
            raise OptionError(
                f"{other!r} and {name!r} would both be {each.name!r} in PyTorch",
                mend="give one of the two layers, or one of your layer's parameters, another name",
            )
    return stored


def _name(name: str) -> str:
    layer, dot, part = name.rpartition(".")
    part = PARTS.get(part, part)
    separator = "_" if layer.endswith("in_proj") else dot  # of nn.MultiheadAttention, which is no module
    return f"{layer}{separator}{part}"


def _counters(names: Mapping[str, object]) -> set[str]:
    norms = {name.rpartition(".")[0] for name in names if name.endswith(".mean")}
    return {f"{norm}.{COUNTER}" for norm in norms if f"{norm}.variance" in names}


def _stored_as(graph: Graph, name: str, type: TensorType, images: Mapping[Value, tuple[int, ...]]) -> Stored:
    """Return how a tensor is stored: filters, a matrix, an image, or as it is."""
    axes = tuple(range(type.rank))
    *kernel, inner, outer = axes if type.rank > 1 else (0, 0)
    use = use_of(graph, graph.inputs[name])
    if use.kind == "transposed":
        return Stored(_name(name), type, (inner, outer, *kernel), groups=use.groups)
    if use.kind == "filters":
        return Stored(_name(name), type, (outer, inner, *kernel), flipped=use.flipped)
    if use.kind == "matrix" and use.beside is not None:
        return Stored(_name(name), type, (outer, inner), image=images.get(use.beside, ()))
    if use.kind == "image":
        return Stored(_name(name), type, (2, 0, 1))
    if use.kind == "vector" and use.result is not None:
        return Stored(_name(name), type, axes, image=_beside(graph, use.result, images))
    return Stored(_name(name), type, axes)


def _beside(graph: Graph, value: Value, images: Mapping[Value, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the sizes of the images that a value is combined with after they were flattened."""
    for user in graph.users(value):
        for operand in graph.node(user).operands:
            if operand in images:
                return images[operand]
    return ()


def _flattened(graph: Graph) -> dict[Value, tuple[int, ...]]:
    """Return all values [N, H·W·C] whose elements are those of images in a row, with the images' sizes."""
    images: dict[Value, tuple[int, ...]] = {}
    for key, node in graph.items():
        (type, *_) = node.types
        if type.rank != 2 or isinstance(node.op, ops.Matmul):
            continue
        for operand in node.operands:
            sizes: tuple[int, ...] = ()
            if operand.type.shape == type.shape:
                sizes = images.get(operand, ())
            elif isinstance(node.op, ops.Reshape) and operand.type.rank == 4:
                sizes = tuple(map(int, operand.type.shape[1:]))
            if sizes and sizes[0] * sizes[1] > 1:
                images.update(dict.fromkeys(graph.results(key), sizes))
    return images
