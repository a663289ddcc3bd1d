"""How parameters get their first values. Fans count the kernel's taps and channels.

For filters [k1, k2, C / groups, D] the fan-in is k1·k2·C / groups and the fan-out k1·k2·D; for the
weights [C, D] of a dense layer they are C and D.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.errors import OptionError
from graphcnn.ir import TensorType


class Initializer(Protocol):
    """Anything that makes first values: called with a generator and a type, returns an array of that type."""

    def __call__(self, generator: np.random.Generator, type: TensorType) -> Array: ...


def initial_value(initializer: Initializer, type: TensorType, label: str, seed: int) -> Array:
    """Return the first value of the parameter `label`; it depends on seed and label alone."""
    sequence = np.random.SeedSequence([seed & 0xFFFFFFFFFFFFFFFF, zlib.crc32(label.encode())])
    value = np.asarray(initializer(np.random.Generator(np.random.Philox(sequence)), type), type.dtype)
    if value.shape != type.concrete(1):
        raise OptionError(
            f"the initializer of {label!r} made an array of shape {value.shape} for {type}",
            mend="return generator.normal(size=type.shape), or another array of that shape",
        )
    return value.copy(order="C")


@known_arguments
@dataclass(frozen=True, slots=True)
class Constant:
    """Every element has the same value."""

    value: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise OptionError(f"value={self.value!r} is not a number", mend="gcn.Constant(0.5)")

    def __call__(self, generator: np.random.Generator, type: TensorType) -> Array:
        return np.full(type.concrete(1), self.value, type.dtype)


@known_arguments
@dataclass(frozen=True, slots=True)
class Normal:
    """Random values with mean 0 and one standard deviation, whatever the fans."""

    deviation: float

    def __post_init__(self) -> None:
        allowed = isinstance(self.deviation, int | float) and not isinstance(self.deviation, bool)
        if not allowed or not 0 <= self.deviation < math.inf:
            raise OptionError(
                f"deviation={self.deviation!r:.60} is not a number of at least 0", mend="gcn.Normal(0.02)"
            )

    def __call__(self, generator: np.random.Generator, type: TensorType) -> Array:
        return generator.normal(0.0, self.deviation, type.concrete(1))


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """An array, as it is."""

    array: Array

    def __call__(self, generator: np.random.Generator, type: TensorType) -> Array:
        return self.array


@dataclass(frozen=True, slots=True)
class _VarianceScaling:
    """Random values with mean 0 and variance `gain / fan`."""

    distribution: Literal["normal", "uniform"]

    gain: ClassVar[float]

    def __post_init__(self) -> None:
        if self.distribution not in ("normal", "uniform"):
            raise OptionError(
                f"distribution={self.distribution!r} is neither 'normal' nor 'uniform'",
                mend=f'gcn.{type(self).__name__}("normal")',
            )

    def fan(self, fan_in: int, fan_out: int) -> float:
        return fan_in

    def __call__(self, generator: np.random.Generator, type: TensorType) -> Array:
        deviation = math.sqrt(self.gain / self.fan(*fans(type)))
        if self.distribution == "normal":
            return generator.normal(0.0, deviation, type.concrete(1))
        bound = deviation * math.sqrt(3.0)
        return generator.uniform(-bound, bound, type.concrete(1))


def fans(type: TensorType) -> tuple[int, int]:
    """Return (fan-in, fan-out) of filters [k1, k2, C / groups, D], weights [C, D] or a vector."""
    shape = type.concrete(1)
    taps = math.prod(shape[:-2])
    channels = shape[-2] if len(shape) > 1 else 1
    return taps * channels, taps * (shape[-1] if shape else 1)


@known_arguments
@dataclass(frozen=True, slots=True)
class He(_VarianceScaling):
    """Variance 2 / fan-in, for relu (He et al., "Delving deep into rectifiers", ICCV 2015)."""

    distribution: Literal["normal", "uniform"] = "normal"

    gain: ClassVar[float] = 2.0


@known_arguments
@dataclass(frozen=True, slots=True)
class Glorot(_VarianceScaling):
    """Variance 2 / (fan-in + fan-out), for tanh and sigmoid (Glorot and Bengio, AISTATS 2010)."""

    distribution: Literal["normal", "uniform"] = "uniform"

    gain: ClassVar[float] = 1.0

    def fan(self, fan_in: int, fan_out: int) -> float:
        return (fan_in + fan_out) / 2


@known_arguments
@dataclass(frozen=True, slots=True)
class LeCun(_VarianceScaling):
    """Variance 1 / fan-in (LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998)."""

    distribution: Literal["normal", "uniform"] = "normal"

    gain: ClassVar[float] = 1.0
