"""What a model takes: the shape, element type and name of each input, and which axis is the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import FileError, InterchangeError, OptionError
from graphcnn.interchange.onnx.reading.file import ModelFile, require_onnx
from graphcnn.interchange.onnx.reading.names import Names
from graphcnn.interchange.onnx.reading.tensors import MOST_AXES, dtype_of
from graphcnn.ir import BATCH, Dim, DType, format_shape
from graphcnn.ir.types import DTYPES

_RESERVED: Final = {"output", "loss", "target_share", "sample_key", "learning_rate", "target"}


@dataclass(frozen=True, slots=True)
class Place:
    """An input. name: in the network. shape: in the file's order of axes."""

    name: str
    shape: tuple[Dim, ...]
    dtype: DType

    @property
    def has_batch(self) -> bool:
        return BATCH in self.shape


@dataclass(frozen=True, slots=True)
class Signature:
    """inputs: by the names in the file. batch: what it has for the batch, where that is a number.

    values: of inputs that are known before.
    """

    inputs: dict[str, Place]
    batch: int | None
    values: dict[str, Array]


def signature_of(
    file: ModelFile,
    shapes: Mapping[str, Sequence[int | None]] | None,
    batch: bool | None,
    values: Mapping[str, object] | None,
) -> Signature:
    """Return what a model takes.

    shapes: of inputs by name, in the file's order of axes; None is the batch. batch: whether the first axis
    of inputs is the batch; by default, where its size is left open, or where all have the same. values: of
    inputs that are constants of the network.
    Raises FileError for sizes that none has, OptionError for shapes that do not fit, InterchangeError for
    inputs that are no tensors.
    """
    graph, given = file.model.graph, dict(shapes or {})
    stored = {tensor.name for tensor in graph.initializer}
    own = [value for value in graph.input if value.name not in stored]
    known = {name: np.asarray(array) for name, array in (values or {}).items()}
    unknown = (set(given) | set(known)) - {value.name for value in own}
    if unknown:
        raise OptionError(
            f"{file.title} has no input {sorted(unknown)[0]!r:.80}",
            facts=[f"inputs: {', '.join(value.name for value in own)[:400]}"],
            mend="shapes={name: sizes}, by the names in the file",
        )
    known |= {value.name: np.zeros(0, _dtype(file, value)) for value in own if _is_empty_list(value)}
    own = [value for value in own if value.name not in known]
    found = {value.name: _sizes(file, value, given.get(value.name)) for value in own}
    _require_known(file, found)
    fixed = _fixed_batch(list(found.values())) if batch is not False else None
    names, inputs = Names(_RESERVED), {}
    for value in own:
        sizes = found[value.name]
        first = (
            BATCH
            if sizes and (sizes[0] is None or (fixed is not None and _may_be_batch(sizes, fixed)))
            else None
        )
        if first is not None and batch is False:
            raise _open_batch(file, value.name, sizes)
        shape = (first, *sizes[1:]) if first else sizes
        inputs[value.name] = Place(
            names.free(value.name), cast(tuple[Dim, ...], tuple(shape)), _dtype(file, value)
        )
    return Signature(inputs, fixed, known)


def _is_empty_list(value: Any) -> bool:
    """Whether an input is a list of numbers, such as axes, that has none: it is known before."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims] == [0]


def _sizes(file: ModelFile, value: Any, given: Sequence[int | None] | None) -> tuple[int | None, ...]:
    """Return the sizes of an input; None for one that is left open."""
    if value.type.WhichOneof("value") != "tensor_type":
        raise InterchangeError(
            f"the input {value.name!r:.80} of {file.title} is no tensor", mend="export a network of tensors"
        )
    tensor = value.type.tensor_type
    own = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    if len(own) > MOST_AXES:
        raise InterchangeError(f"the input {value.name!r:.80} of {file.title} has {len(own)} axes")
    if given is not None:
        sizes = tuple(given)
        is_sizes = all(size is None or (isinstance(size, int) and size > 0) for size in sizes)
        fits = len(own) == len(sizes) and all(
            wanted in (None, size) or size is None for wanted, size in zip(own, sizes, strict=True)
        )
        if not is_sizes or (tensor.HasField("shape") and not fits):
            raise OptionError(
                f"shapes[{value.name!r:.80}]={sizes!r:.80} does not fit the file's {_shown(own)}",
                mend="a size for each axis, in the file's order; None for the batch",
            )
        return sizes
    if not tensor.HasField("shape"):
        raise InterchangeError(
            f"{file.title} does not say the shape of its input {value.name!r:.80}",
            mend=f"gcn.from_onnx(..., shapes={{{value.name!r:.80}: (None, 3, 224, 224)}})",
        )
    for size in own:
        if size is not None and size < 1:
            raise FileError(f"its input {value.name!r:.80} has the shape {_shown(own)}")
    return own


def _require_known(file: ModelFile, found: Mapping[str, tuple[int | None, ...]]) -> None:
    """Raise InterchangeError unless only the first axis of each input is left open."""
    open_ones = {name: sizes for name, sizes in found.items() if None in sizes[1:]}
    if open_ones:
        name, sizes = next(iter(open_ones.items()))
        filled = tuple((size or 224) if axis else size for axis, size in enumerate(sizes))
        raise InterchangeError(
            f"{file.title} leaves sizes of its inputs open, and a network's are known but for the batch",
            facts=[f"{name}: {_shown(sizes)}" for name, sizes in open_ones.items()],
            mend=f"gcn.from_onnx(..., shapes={{{name!r:.80}: {filled}}})",
        )


def _fixed_batch(shapes: Sequence[tuple[int | None, ...]]) -> int | None:
    """Return the number that all inputs of several axes have in front; None where sizes there are open."""
    firsts = {sizes[0] for sizes in shapes if len(sizes) > 1}
    return next(iter(firsts)) if len(firsts) == 1 else None


def _may_be_batch(sizes: tuple[int | None, ...], fixed: int) -> bool:
    return len(sizes) > 1 and sizes[0] == fixed


def _open_batch(file: ModelFile, name: str, sizes: tuple[int | None, ...]) -> OptionError:
    filled = (1, *sizes[1:])
    return OptionError(
        f"batch=False, but {file.title} leaves the first size of {name!r:.80} open",
        mend=f"shapes={{{name!r:.80}: {filled}}}",
    )


def _shown(sizes: tuple[int | None, ...]) -> str:
    return format_shape(tuple("?" if size is None else size for size in sizes))


def _dtype(file: ModelFile, value: Any) -> DType:
    onnx = require_onnx()
    number = value.type.tensor_type.elem_type
    try:
        name = dtype_of(number).name
    except (KeyError, TypeError, ValueError):
        name = f"type {number}"
    if number == onnx.TensorProto.STRING or name not in DTYPES:
        raise InterchangeError(
            f"the input {value.name!r:.80} of {file.title} is {'text' if name == 'object' else name}",
            facts=[f"graphcnn has tensors of {', '.join(DTYPES)}"],
            mend="export the network in float32",
        )
    return cast(DType, name)
