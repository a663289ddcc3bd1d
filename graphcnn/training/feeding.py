"""Checks of the inputs that users hand to fit, evaluate and predict, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from graphcnn.arrays import Array
from graphcnn.data.dataset import Dataset
from graphcnn.errors import DataError, GraphcnnError, OptionError
from graphcnn.inputs import fitting, is_text
from graphcnn.ir import BATCH, TensorType, format_shape


def check_batch_size(batch_size: object) -> int:
    """Return the batch size; raise OptionError unless it is an integer of at least 1."""
    if type(batch_size) is int and batch_size > 0:
        return batch_size
    if not isinstance(batch_size, int | np.integer) or isinstance(batch_size, bool) or batch_size < 1:
        raise OptionError(
            f"batch_size={batch_size!r} is not an integer of at least 1", mend="batch_size=32, for example"
        )
    return int(batch_size)


def check_prefetch(prefetch: object) -> int:
    """Return how many batches are drawn ahead; raise OptionError unless it is an integer of at least 0."""
    if isinstance(prefetch, int) and not isinstance(prefetch, bool) and prefetch >= 0:
        return prefetch
    raise OptionError(
        f"prefetch={prefetch!r:.60} is not a number of batches", mend="prefetch=2; 0 draws none ahead"
    )


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


def fitting_inputs(types: Mapping[str, TensorType], x: object, *, least: int = 1) -> dict[str, Array]:
    """Return the network's inputs by name, from one array, a sequence of arrays, or a mapping.

    They are as they were given, so that a large set is not copied: conversion makes them arrays of the types.
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
        array = as_array(f"inputs {name!r}", given[name])
        if least == 0 and type.has_batch and array.shape[:1] == (0,):
            arrays[name] = _none(name, type, array)
            continue
        _require_samples(name, type, array)
        arrays[name] = fitting(f"input {name!r}", type, array, takes_pixels=True)
    require_equal_lengths({name: len(array) for name, array in arrays.items() if types[name].has_batch})
    return arrays


def require_finite(name: str, array: Array, dtype: np.dtype[Any] | None = None, before: int = 0) -> None:
    """Raise DataError for NaN or infinity; name the first sample that has one.

    dtype: what the array is converted to, in which numbers may become infinite that are not. before: how many
    samples are in front of those of the array.
    """
    if array.dtype.kind != "f" or not array.size:
        return
    if dtype is not None and dtype.itemsize < array.dtype.itemsize:
        greatest = np.finfo(dtype).max
        if -greatest <= array.min() and array.max() <= greatest:
            return
        broken = ~(np.abs(array.reshape(len(array), -1)) <= greatest).all(axis=1)
    else:
        if np.isfinite(np.sum(array)) or np.isfinite(array).all():
            return
        broken = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    array_name = "images" if name.startswith("inputs") else "targets"
    first = before + int(broken.argmax())
    raise DataError(
        f"{name} hold NaN or infinity in {int(broken.sum())} of {len(array)} samples",
        facts=[f"the first is sample {first}"],
        mend=f"leave these samples out: kept = np.isfinite({array_name}).reshape(len({array_name}), -1)"
        ".all(axis=1); images[kept], targets[kept]",
    )


def as_array(name: str, given: object) -> Array:
    """Return what was given as an array of any shape and type. Raises DataError where it is none."""
    try:
        array = np.asarray(given)
    except GraphcnnError:
        raise
    except ValueError as error:
        raise DataError(
            f"{name} are not an array: {error}", mend="give every sample the same shape: np.stack(samples)"
        ) from None
    if isinstance(given, Dataset):
        raise DataError(
            f"{name} are a Dataset, which has images to train on and others to test on",
            mend="give one of them: dataset.images, or dataset.test_images",
        )
    if array.dtype.kind == "O" and not array.ndim and not is_text(array):
        raise DataError(
            f"{name} are {type(given).__name__}, not an array",
            mend="give an array, a row for each sample",
        )
    return array


def _none(name: str, type: TensorType, array: Array) -> Array:
    """Return no samples as an array of the type; they must have its shape, but for an empty list."""
    if array.shape == (0,):
        return np.zeros((0, *type.shape[1:]), type.dtype)
    return fitting(f"input {name!r}", type, np.zeros((1, *array.shape[1:]), array.dtype), takes_pixels=True)[
        :0
    ]


def _require_samples(name: str, type: TensorType, array: Array) -> None:
    if type.has_batch and array.shape[:1] == (0,):
        raise DataError(
            f"the dataset is empty: {name!r} has the shape {format_shape(array.shape)}",
            mend="check how it was loaded or filtered; at least one sample is needed",
        )


def require_equal_lengths(lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        raise DataError(
            "there are not as many of each: " + ", ".join(f"{n} {name}" for name, n in lengths.items()),
            mend="give every sample its label, in the same order",
        )
