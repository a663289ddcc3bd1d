"""Checks of what users hand to fit, evaluate and predict, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import DataError, GraphcnnError, OptionError
from graphcnn.inputs import as_input, converts, is_text
from graphcnn.ir import BATCH, TensorType, format_shape


def check_batch_size(batch_size: object) -> int:
    """Return the batch size; raise OptionError unless it is an integer of at least 1."""
    if not isinstance(batch_size, int | np.integer) or isinstance(batch_size, bool) or batch_size < 1:
        raise OptionError(
            f"batch_size={batch_size!r} is not an integer of at least 1", mend="batch_size=32, for example"
        )
    return int(batch_size)


class Form:
    """What an array has to be like to need no conversion: of the very type, with a row per sample.

    Small networks wait for every microsecond here, so what follows from the type is found once.
    """

    def __init__(self, type: TensorType) -> None:
        self._dtype = np.dtype(type.dtype)
        self._rank = type.rank if type.shape[:1] == (BATCH,) else -1
        self._row = type.shape[1:]

    def fits(self, given: object) -> TypeGuard[Array]:
        """Return whether it is such an array, of at least one sample."""
        if not isinstance(given, np.ndarray) or given.dtype != self._dtype:
            return False
        shape = given.shape
        return len(shape) == self._rank and shape[1:] == self._row and shape[0] > 0


def labels_fit(classes: int, labels: Array) -> bool:
    """Return whether int64 labels are from 0 to classes - 1: seen as unsigned, negative ones are huge."""
    return bool(0 <= labels.item(labels.view(_UNSIGNED).argmax()) < classes)


_UNSIGNED = np.dtype(np.uint64)


def as_inputs(types: Mapping[str, TensorType], x: object, *, least: int = 1) -> dict[str, Array]:
    """Return the network's inputs by name, from one array, a sequence of arrays, or a mapping.

    least: the fewest samples that are allowed, 0 or 1.
    Raises DataError for wrong names, shapes, element types or differing numbers of samples.
    """
    if isinstance(x, Mapping):
        given = dict(x)
    elif len(types) == 1:
        given = {next(iter(types)): x}
    elif isinstance(x, Sequence) and len(x) == len(types):
        given = dict(zip(types, x, strict=True))
    else:
        raise DataError(
            f"the network has {len(types)} inputs: {', '.join(types)}",
            mend="pass a dict of arrays by name, or a list in this order",
        )
    if given.keys() != types.keys():
        raise DataError(
            f"the network's inputs are {', '.join(types)}, not {', '.join(map(str, given))}",
            mend="name each array as its gcn.Input is named",
        )
    arrays = {}
    for name, type in types.items():
        array = _as_array(f"inputs {name!r}", given[name])
        if least == 0 and type.has_batch and array.shape[:1] == (0,):
            arrays[name] = _none(name, type, array)
            continue
        _require_samples(name, type, array)
        arrays[name] = as_input(f"input {name!r}", type, array)
    _require_equal_lengths({name: len(array) for name, array in arrays.items() if types[name].has_batch})
    return arrays


def are_labels(target: TensorType, output: TensorType) -> bool:
    """Whether targets are numbers of classes, of which each has a place along the output's last axis."""
    return not target.is_float and output.rank >= 2 and target.shape == output.shape[:-1]


def as_targets(
    type: TensorType, output: TensorType, targets: object, samples: int, ignore: int | None = None
) -> Array:
    """Return the targets as an array of the loss's type; labels are checked against the number of classes.

    ignore: a label that is no class and allowed all the same.
    Raises DataError for a wrong shape, element type or number of samples, and for a label out of range.
    """
    is_labels = are_labels(type, output)
    name = "labels" if is_labels else "targets"
    given = _as_array(name, targets)
    each = "sample" if type.rank == 1 else "pixel"
    if is_labels and given.ndim == output.rank and given.shape[1:] == output.shape[1:]:
        soft = (
            [] if given.dtype.kind != "f" else ["gcn.CrossEntropy(soft_targets=True) takes shares of classes"]
        )
        raise DataError(
            f"labels {format_shape(given.shape)} look one-hot, but one integer for each {each} is needed",
            facts=soft,
            mend=f"labels.argmax(axis={output.rank - 1})",
        )
    if is_labels and type.rank == 1 and given.ndim != 1 and given.shape[1:] != (1,):
        raise DataError(
            f"labels have the shape {format_shape(given.shape)}, but [N] is needed",
            facts=[f"the network gives {output.shape[1]} numbers for each sample, one for each class"],
            mend="give one number of a class for each sample: [3, 0, 1]",
        )
    if is_labels and given.dtype.kind not in "iu":
        _refuse_labels(given, type)
    if given.ndim == type.rank + 1 and given.shape[-1] == 1:
        raise DataError(
            f"{name} have the shape {format_shape(given.shape)}, but {format_shape(type.shape)} is needed",
            mend=f"drop the last axis: {name}[..., 0]",
        )
    if given.ndim == type.rank - 1 and type.shape[-1] == 1:
        raise DataError(
            f"{name} have the shape {format_shape(given.shape)}, but {format_shape(type.shape)} is needed",
            mend=f"add the last axis: {name}[..., None]",
        )
    if given.ndim == type.rank:
        _require_equal_lengths({"inputs": samples, name: len(given)})
    array = as_input(f"input {name!r}", type, given)
    if is_labels:
        _require_label_range(array, output.static(output.rank - 1), ignore)
    return array


def _refuse_labels(labels: Array, type: TensorType) -> None:
    """Raise DataError for labels that are no integers, with advice that works for them."""
    name = "text" if is_text(labels) else str(labels.dtype)
    problem = f"labels are {name}, but integers are needed"
    if not labels.size:
        return
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.trunc(labels)):
        raise DataError(
            problem,
            facts=["they are not whole numbers"],
            mend="number the classes from 0; to predict numbers, compile with loss=gcn.SquaredError()",
        )
    if converts(labels, type.dtype):
        raise DataError(problem, mend=f"labels.astype({type.dtype!r})")
    try:
        classes = np.unique(labels)
    except TypeError:  # values that cannot be put in order, such as None beside text
        raise DataError(problem, mend="give every sample the number of its class, from 0") from None
    raise DataError(
        problem,
        facts=[f"{len(classes)} classes: {', '.join(map(str, classes[:8]))}"[:200]],
        mend="number the classes: classes, labels = np.unique(labels, return_inverse=True)",
    )


def require_finite(name: str, array: Array) -> None:
    """Raise DataError for NaN or infinity; name the first sample that has one."""
    if array.dtype.kind != "f" or np.isfinite(np.sum(array)) or np.isfinite(array).all():
        return
    broken = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    array_name = "images" if name.startswith("inputs") else "targets"
    first = int(broken.argmax())
    raise DataError(
        f"{name} hold NaN or infinity in {int(broken.sum())} of {len(array)} samples",
        facts=[f"the first is sample {first}"],
        mend=f"leave these samples out: kept = np.isfinite({array_name}).reshape(len({array_name}), -1)"
        ".all(axis=1); images[kept], targets[kept]",
    )


def _as_array(name: str, given: object) -> Array:
    try:
        return np.asarray(given)
    except GraphcnnError:
        raise
    except ValueError as error:
        raise DataError(
            f"{name} are not an array: {error}", mend="give every sample the same shape: np.stack(samples)"
        ) from None


def _none(name: str, type: TensorType, array: Array) -> Array:
    """Return no samples as an array of the type; they must have its shape, but for an empty list."""
    if array.shape == (0,):
        return np.zeros((0, *type.shape[1:]), type.dtype)
    return as_input(f"input {name!r}", type, np.zeros((1, *array.shape[1:]), array.dtype))[:0]


def _require_samples(name: str, type: TensorType, array: Array) -> None:
    if type.has_batch and array.shape[:1] == (0,):
        raise DataError(
            f"the dataset is empty: {name!r} has the shape {format_shape(array.shape)}",
            mend="check how it was loaded or filtered; at least one sample is needed",
        )


def _require_equal_lengths(lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        raise DataError(
            "there are not as many of each: " + ", ".join(f"{n} {name}" for name, n in lengths.items()),
            mend="give every sample its label, in the same order",
        )


def _require_label_range(labels: Array, classes: int, ignore: int | None) -> None:
    wrong = (labels < 0) | (labels >= classes)
    if ignore is not None:
        wrong &= labels != ignore
    if not wrong.any():
        return
    first = np.unravel_index(int(wrong.argmax()), labels.shape)
    held = np.unique(labels if ignore is None else labels[labels != ignore])
    unknown = held[(held < 0) | (held >= classes)]
    least, greatest = int(held[0]), int(held[-1])
    of = f"sample {first[0]}" + (f", pixel {tuple(map(int, first[1:]))}" if labels.ndim > 1 else "")
    if least >= 1 and greatest <= classes:
        mend = "renumber the labels from 0: labels - 1"
    elif labels.ndim > 1 and len(unknown) == 1:
        mend = f"gcn.CrossEntropy(ignore={unknown[0]}), where that is no class"
    elif len(unknown) == 1 and least < 0:
        mend = (
            f"leave out the samples without a class: known = labels != {least}; images[known], labels[known]"
        )
    elif len(held) <= classes:
        mend = "renumber the labels from 0: classes, labels = np.unique(labels, return_inverse=True)"
    else:
        last = f"Dense layer {len(held)} units" if labels.ndim == 1 else f"layer {len(held)} filters"
        mend = f"renumber the labels from 0, and give the last {last}"
    raise DataError(
        f"label {labels[first]} of {of} is out of range",
        facts=[
            f"the network has {classes} outputs, so labels are 0 to {classes - 1}",
            f"they are {least} to {greatest}",
        ],
        mend=mend,
    )
