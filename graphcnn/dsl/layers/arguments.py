"""Checks of what users pass to layers, and what the short forms of arguments mean."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import TensorType, Value
from graphcnn.ops.attributes import Padding, Pair, is_int

Size: TypeAlias = int | tuple[int, int]


PaddingSpec: TypeAlias = int | tuple[int, int] | tuple[Pair, Pair] | Literal["same", "valid"]
"""One width for all sides, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"."""


def pair(name: str, value: object, minimum: int = 1) -> Pair:
    pair = (value, value) if isinstance(value, int) else value
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(is_int(item, minimum) for item in pair)):
        raise OptionError(
            f"{name}={value!r} is neither an integer of at least {minimum} nor a pair of such integers",
            mend=f"{name}=3, or {name}=(3, 5): vertical, horizontal",
        )
    return pair


def count(name: str, value: object) -> None:
    if not is_int(value, 1):
        hint = f"{name}=int(...)" if isinstance(value, float | np.integer) else f"{name}=8"
        raise OptionError(f"{name}={value!r} is not an integer of at least 1", mend=f"for example {hint}")


def truth(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise OptionError(f"{name}={value!r:.60} is neither True nor False", mend=f"{name}=True")


def check_bias(bias: object, inputs: str) -> None:
    """Raise OptionError unless a layer has a bias or none; `inputs` is what others give first, and none does.

    A number is most often PyTorch's order of arguments, `Linear(64, 10)`, in which the inputs come first.
    """
    if not isinstance(bias, bool):
        raise OptionError(
            f"bias={bias!r:.60} is neither True nor False",
            mend=f"bias=True or bias=False, by name; the number of {inputs} is not given: it is the input's",
        )


def number(name: str, value: object, allowed: bool, range: str) -> None:
    """Raise OptionError unless the value is a number, and allowed."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not allowed:
        raise OptionError(f"{name}={value!r} is not a number {range}", mend=f"give a {name} {range}")


def is_between(value: object, low: float, high: float) -> bool:
    """Return whether a number lies strictly between two."""
    return isinstance(value, int | float) and low < value < high


def check_probability(rate: object) -> None:
    """Raise OptionError unless a rate is a number from 0 to 1."""
    allowed = rate in (0, 1) or is_between(rate, 0, 1)
    number("rate", rate, allowed, "from 0 to 1")


def check_range(name: str, range: Any, most: float = math.inf) -> None:
    """Raise OptionError unless it is (least, most) of numbers above 0."""
    is_pair = isinstance(range, tuple) and len(range) == 2
    if not is_pair or not all(isinstance(end, int | float) and not isinstance(end, bool) for end in range):
        raise OptionError(f"{name}={range!r:.60} is not a pair of numbers", mend=f"{name}=(0.5, 1.0)")
    if not 0 < range[0] <= range[1] <= most or range[1] == math.inf:
        limit = "" if most == math.inf else f" and at most {most:g}"
        raise OptionError(
            f"{name}={range!r:.60} is not (least, most) of numbers above 0{limit}", mend=f"{name}=(0.5, 1.0)"
        )


def is_word(name: object) -> bool:
    """Whether a name can be written to files: a string, not empty, without half of a surrogate pair."""
    return isinstance(name, str) and bool(name) and not any("\ud800" <= letter <= "\udfff" for letter in name)


def check_initializer(initializer: object) -> None:
    """Raise OptionError for anything that cannot be called with a generator and a type."""
    if not callable(initializer) or isinstance(initializer, type):
        raise OptionError(
            f"initializer={initializer!r} is not an initializer",
            mend='initializer=gcn.He(), or gcn.Glorot("normal")',
        )


def padding_of(spec: object) -> Padding | None:
    """Return the padding of all four sides, or None for "same", which depends on the input's size."""
    if spec == "same":
        return None
    if spec == "valid":
        return ((0, 0), (0, 0))
    if is_int(spec, 0):
        return ((spec, spec), (spec, spec))  # type: ignore[return-value]
    if isinstance(spec, tuple) and len(spec) == 2:
        if all(is_int(item, 0) for item in spec):
            return ((spec[0], spec[0]), (spec[1], spec[1]))
        if all(isinstance(i, tuple) and len(i) == 2 and is_int(i[0], 0) and is_int(i[1], 0) for i in spec):
            return spec
    raise OptionError(
        f"unknown padding {spec!r}",
        facts=[
            'allowed: an int, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"',
            "widths are at least 0",
        ],
        mend='padding="same" keeps the size at stride 1; padding=1 adds one row or column on every side',
    )


def check_window(kernel: object, stride: object, dilation: object, padding: object) -> None:
    for name, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        pair(name, value)
    padding_of(padding)


def same_padding(images: TensorType, window: Pair, stride: Pair, dilation: Pair) -> Padding:
    """Return the padding that makes the output ceil(size / stride); an odd width goes to the far end."""
    sides = []
    for axis in (0, 1):
        size = images.static(1 + axis)
        reach = dilation[axis] * (window[axis] - 1) + 1
        total = max((math.ceil(size / stride[axis]) - 1) * stride[axis] + reach - size, 0)
        sides.append((total // 2, total - total // 2))
    return sides[0], sides[1]


def require_images(layer: str, value: Value) -> None:
    if value.type.rank == 4:
        return
    mend = "put it before Flatten and Dense, or give the network an input shape (H, W, C)"
    if value.type.rank == 3:
        mend = f"give the images a channel axis: an input shape like {(*value.type.shape[1:], 1)}"
    raise ShapeError(
        f"{layer} takes images of shape [N, H, W, C], but its input is {value.type}",
        facts=[f"{value.type} has {value.type.rank} axes, images have 4"],
        mend=mend,
    )


def require_signals(layer: str, value: Value) -> None:
    if value.type.rank == 3:
        return
    mend = "give the network an input shape (length, channels)"
    if value.type.rank == 2:
        mend = f"give the signals a channel axis: an input shape like {(*value.type.shape[1:], 1)}"
    if value.type.rank == 4:
        mend = f"for images, gcn.{layer.replace('1d', '2d')}"
    raise ShapeError(
        f"{layer} takes signals of shape [N, L, C], but its input is {value.type}",
        facts=[f"{value.type} has {value.type.rank} axes, signals have 3"],
        mend=mend,
    )
