"""What users give as inputs of a graph, as arrays of the right type, and how to make it so."""

from __future__ import annotations

import builtins
import math
import warnings
from itertools import permutations
from numbers import Number
from os import PathLike

import numpy as np

from graphcnn.arrays import Array
from graphcnn.errors import DataError
from graphcnn.ir import BATCH, TensorType, format_shape


def as_input(what: str, type: TensorType, given: object, *, called: str = "") -> Array:
    """Return what was given as an array of this type. Raises DataError, about `what`, if it cannot be one.

    called: what the user calls such an array; by default `images` or `array`.
    """
    array = fitting(what, type, given, called=called)
    return array if array.dtype == type.dtype else array.astype(type.dtype)


def fitting(
    what: str, type: TensorType, given: object, *, called: str = "", takes_pixels: bool = False
) -> Array:
    """Return what was given as an array that conversion makes one of this type; raise as `as_input` does.

    takes_pixels: images in bytes fit as well, for a type of images [N, H, W, C] of floating-point numbers.
    """
    called = called or ("images" if type.rank == 4 and type.has_batch else "array")
    if not isinstance(given, np.ndarray):
        called = f"np.asarray({called})"  # the advice is for lists, too
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise DataError(f"{what} is not an array: {error}") from None
    if is_text(array):  # paths and words have no shape that could be mended
        _require_kind(what, type, array, called)
    if array.dtype.kind == "O" and not array.ndim:
        raise DataError(
            f"{what} is {builtins.type(given).__name__}, not an array",
            mend=f"give an array of numbers of the shape {format_shape(type.shape)}",
        )
    fits = len(array.shape) == type.rank and all(
        size > 0 if wanted == BATCH else size == wanted
        for size, wanted in zip(array.shape, type.shape, strict=True)
    )
    if not fits:
        raise DataError(
            f"{what} has the shape {format_shape(array.shape)}, but {format_shape(type.shape)} is needed",
            facts=["N is the number of samples, at least 1"] if type.has_batch else [],
            mend=_reshape_hint(array, type) if type.has_batch else _hint_of_one(array, type, called),
        )
    if array.dtype != type.dtype and not (takes_pixels and array.dtype == np.uint8 and of_images(type)):
        _require_kind(what, type, array, called)
    return array


def of_images(type: TensorType) -> bool:
    """Whether a type is that of images, [N, H, W, C] in floating-point numbers."""
    return type.is_float and type.rank == 4 and type.has_batch


def _require_kind(what: str, type: TensorType, array: Array, called: str) -> None:
    """Raise DataError for an array whose elements cannot become those of the type."""
    kinds = {"float32": "f", "float64": "f", "int64": "iu", "int32": "iu", "uint8": "u", "bool": "b"}
    number_for_scalar = type.is_float and type.is_scalar and array.ndim == 0 and array.dtype.kind in "iu"
    if array.dtype.kind not in kinds[type.dtype] and not number_for_scalar:
        holds = "text" if is_text(array) else array.dtype
        raise DataError(
            f"{what} holds {holds}, but {type.dtype} is needed", mend=_conversion_hint(array, type, called)
        )
    if array.size and not type.is_float and not np.can_cast(array.dtype, type.dtype):
        limits = np.iinfo(type.dtype)
        least, greatest = int(array.min()), int(array.max())
        if least < limits.min or greatest > limits.max:
            raise DataError(
                f"{what} holds numbers that {type.dtype} cannot hold",
                facts=[f"found {least} to {greatest}, {type.dtype} holds {limits.min} to {limits.max}"],
            )


def is_text(array: Array) -> bool:
    """Whether an array holds text, paths or bytes, all through."""
    if array.dtype.kind == "O":
        return array.size > 0 and all(isinstance(item, str | bytes | PathLike) for item in array.flat)
    return array.dtype.kind in "SU"


def converts(array: Array, dtype: str) -> bool:
    """Whether `.astype` makes numbers of an array without loss: advice is given only where it works."""
    if array.dtype.kind == "O" and not all(isinstance(item, Number | str) for item in array.flat):
        return False
    try:
        with warnings.catch_warnings(action="error"):
            return array.dtype.kind not in "mM" and array.astype(dtype).size > 0
    except (ValueError, TypeError, Warning):
        return False


def _conversion_hint(array: Array, type: TensorType, called: str) -> str:
    if array.dtype.kind == "c":
        return f"take the real part or the absolute value: {called}.real, np.abs({called})"
    is_bytes = array.dtype.kind in "iu" and array.size and 1 < array.max() <= 255 and array.min() >= 0
    if type.is_float and is_bytes and (array.dtype == np.uint8 or type.rank == 4):
        return f"scale {called} to 0..1 first: {called}.astype({type.dtype!r}) / 255"
    if converts(array, type.dtype):
        return f"convert it: {called}.astype({type.dtype!r})"
    if is_text(array) and type.rank == 4:
        height, width, channels = type.shape[1:]
        sizes = f"size=({height}, {width}){', channels=1' if channels == 1 else ''}"
        return f"load the files, as model.classify does: gcn.data.load_images(paths, {sizes})"
    return f"give an array of numbers of the shape {format_shape(type.shape)}"


def _hint_of_one(array: Array, type: TensorType, called: str) -> str:
    """Return what makes an array fit that is a single one, such as a parameter."""
    shape = type.concrete(1)
    if not array.ndim:
        return f"np.full({shape}, {array.item()!r}, {type.dtype!r})"
    orders = [(2, 3, 1, 0), *permutations(range(len(shape)))] if len(shape) == array.ndim else []
    for order in orders:  # that of PyTorch's filters, [D, C, k1, k2], comes first
        if len(order) == len(shape) and tuple(array.shape[axis] for axis in order) == shape:
            return f"{called}.T" if len(shape) == 2 else f"{called}.transpose{order}"
    if array.size == math.prod(shape) and [n for n in array.shape if n > 1] == [n for n in shape if n > 1]:
        return f"{called}.reshape{shape}"
    return f"give an array of the shape {format_shape(type.shape)}"


def _reshape_hint(array: Array, type: TensorType) -> str:
    """Return what makes an array fit, as far as its shape tells what it is."""
    shape, found = type.shape, array.shape
    if type.rank == 4 and array.ndim == 3 and shape[3] == 1 and found[1:] == shape[1:3]:
        return "add the channel axis: images[..., None]"
    if type.rank == array.ndim + 1 and type.has_batch and found == shape[1:]:
        return "add the batch axis for a single sample: image[None]"
    if type.rank != 4 or not type.has_batch or not array.size:
        return ""
    if array.ndim == 2 and shape[3] == 1 and found == shape[1:3]:
        return "add the axes of batch and channel for a single sample: image[None, ..., None]"
    if array.ndim == 4 and (found[2], found[3], found[1]) == shape[1:]:
        return "move the channels last: images.transpose(0, 2, 3, 1)"
    if array.ndim == 3 and (found[1], found[2], found[0]) == shape[1:]:
        return "move the channels last, and add the batch axis: image.transpose(1, 2, 0)[None]"
    if array.ndim == 2 and found[1] == math.prod(map(int, shape[1:])):
        return f"give the pixels their places: images.reshape(-1, {', '.join(map(str, shape[1:]))})"
    if array.ndim == 4 and found[1:3] == shape[1:3] and shape[3] == 1:
        return "make the images grey: images.mean(axis=-1, keepdims=True)"
    if array.ndim == 4 and found[1:3] == shape[1:3] and found[3] == 1:
        return f"repeat the grey channel: np.repeat(images, {shape[3]}, axis=-1)"
    if array.ndim == 4 and found[3] == shape[3]:
        return (
            f"scale or crop the images to {shape[1]}x{shape[2]}, "
            f"or compile the network with input_shape={tuple(map(int, found[1:]))}"
        )
    return ""
