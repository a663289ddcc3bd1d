"""Activations: functions that work element by element, f in Eq. 8, and softmax.

Where a function has a kink, its slope there is PyTorch's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import Constant
from graphcnn.dsl.layers.arguments import number
from graphcnn.dsl.layers.base import OneValue
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, Op, Value

SELU_SCALE: Final = 1.0507009873554804934193349852946
SELU_ALPHA: Final = 1.6732632423543772848170429916717
"""Klambauer, Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural Networks" (2017), appendix A."""


@dataclass(eq=False)
class _Activation(OneValue):
    """An element-wise function, f in Eq. 8."""

    def build(self, build: Builder, *values: Value) -> Value:
        return self.of(build.by("Eq. 8"), values[0])

    def of(self, build: Builder, x: Value) -> Value:
        """Append f(x)."""
        raise NotImplementedError


@dataclass(eq=False)
class _Op(_Activation):
    """An activation that is one op without attributes."""

    op: ClassVar[Op]

    def of(self, build: Builder, x: Value) -> Value:
        return build(self.op, x)


@dataclass(eq=False)
class ReLU(_Op):
    """max(0, x); its slope at 0 is 0."""

    kind: ClassVar[str] = "relu"
    op = ops.Relu()


@dataclass(eq=False)
class Tanh(_Op):
    """The hyperbolic tangent."""

    kind: ClassVar[str] = "tanh"
    op = ops.Tanh()


@dataclass(eq=False)
class Sigmoid(_Op):
    """1 / (1 + e^-x)."""

    kind: ClassVar[str] = "sigmoid"
    op = ops.Sigmoid()


@dataclass(eq=False)
class ScaledTanh(_Activation):
    """amplitude · tanh(slope · x).

    By default LeCun's 1.7159 tanh(2x/3), for which f(±1) is ±1 (LeCun, Bottou, Bengio and Haffner,
    "Gradient-Based Learning Applied to Document Recognition", 1998, appendix A).
    """

    amplitude: float = 1.7159
    slope: float = 2 / 3

    kind: ClassVar[str] = "scaled_tanh"

    def check(self) -> None:
        _check_finite("amplitude", self.amplitude)
        _check_finite("slope", self.slope)

    def of(self, build: Builder, x: Value) -> Value:
        return _times(build, build(ops.Tanh(), _times(build, x, self.slope)), self.amplitude)


# Rectifiers


@dataclass(eq=False)
class LeakyReLU(_Activation):
    """x above 0, and negative_slope · x elsewhere (Maas, Hannun and Ng, 2013)."""

    negative_slope: float = 0.01

    kind: ClassVar[str] = "leaky_relu"

    def check(self) -> None:
        _check_finite("negative_slope", self.negative_slope)

    def of(self, build: Builder, x: Value) -> Value:
        return with_slope_below(build, x, ops.constant(build, self.negative_slope, x.type))


@dataclass(eq=False)
class PReLU(_Activation):
    """x above 0, and slope · x elsewhere, where the slope is trained (He, Zhang, Ren and Sun, 2015).

    per_channel: whether each channel, along the last axis, has a slope of its own. initial: the first slope.
    Parameters: `slope` [C], or [] for all channels together.
    """

    per_channel: bool = False
    initial: float = 0.25

    kind: ClassVar[str] = "prelu"

    def check(self) -> None:
        if not isinstance(self.per_channel, bool):
            raise OptionError(
                f"per_channel={self.per_channel!r} is neither True nor False",
                mend="per_channel=True gives each channel a slope; how many there are, the input says",
            )
        _check_finite("initial", self.initial)

    def of(self, build: Builder, x: Value) -> Value:
        shape = x.type.shape[-1:] if self.per_channel else ()
        slope = build.parameter("slope", x.type.with_shape(shape), Constant(self.initial))
        if self.per_channel:
            slope = build(ops.Broadcast(x.type.shape), slope)
        return with_slope_below(build, x, slope)


def with_slope_below(build: Builder, x: Value, slope: Value) -> Value:
    """Append x times 1 where x is above 0, and times a slope elsewhere."""
    above = build(ops.Greater(), x, ops.constant(build, 0.0, x.type))
    return build(ops.Multiply(), x, build(ops.Select(), above, ops.constant(build, 1.0, x.type), slope))


@dataclass(eq=False)
class ReLU6(_Activation):
    """min(max(0, x), 6); its slope at 0 and at 6 is 0."""

    kind: ClassVar[str] = "relu6"

    def of(self, build: Builder, x: Value) -> Value:
        return build(ops.Clip(0.0, 6.0, closed=False), x)


@dataclass(eq=False)
class Hardtanh(_Activation):
    """The nearest number from min_val to max_val; its slope at these is 0."""

    min_val: float = -1.0
    max_val: float = 1.0

    kind: ClassVar[str] = "hardtanh"

    def check(self) -> None:
        for name, value in (("min_val", self.min_val), ("max_val", self.max_val)):
            _check_finite(name, value)
        if self.min_val >= self.max_val:
            raise OptionError(
                f"min_val={self.min_val!r} is not below max_val={self.max_val!r}",
                mend="Hardtanh(min_val=-1.0, max_val=1.0)",
            )

    def of(self, build: Builder, x: Value) -> Value:
        return build(ops.Clip(float(self.min_val), float(self.max_val), closed=False), x)


# Exponential units


@dataclass(eq=False)
class ELU(_Activation):
    """x above 0, and alpha · (e^x - 1) elsewhere (Clevert, Unterthiner and Hochreiter, 2016)."""

    alpha: float = 1.0

    kind: ClassVar[str] = "elu"

    def check(self) -> None:
        _check_finite("alpha", self.alpha)

    def of(self, build: Builder, x: Value) -> Value:
        return build(ops.Elu(float(self.alpha)), x)


@dataclass(eq=False)
class SELU(_Activation):
    """1.0507 · ELU of alpha 1.6733, which keeps mean 0 and variance 1 (Klambauer et al., 2017)."""

    kind: ClassVar[str] = "selu"

    def of(self, build: Builder, x: Value) -> Value:
        return _times(build, build(ops.Elu(SELU_ALPHA), x), SELU_SCALE)


@dataclass(eq=False)
class CELU(_Activation):
    """x above 0, and alpha · (e^(x/alpha) - 1) elsewhere: its slope at 0 is 1 (Barron, 2017)."""

    alpha: float = 1.0

    kind: ClassVar[str] = "celu"

    def check(self) -> None:
        number("alpha", self.alpha, _is_finite(self.alpha) and self.alpha != 0, "other than 0")

    def of(self, build: Builder, x: Value) -> Value:
        return _times(build, build(ops.Elu(), _times(build, x, 1 / self.alpha)), self.alpha)


# Smooth gates


@dataclass(eq=False)
class SiLU(_Activation):
    """x · sigmoid(x), also called swish."""

    kind: ClassVar[str] = "silu"

    def of(self, build: Builder, x: Value) -> Value:
        return build(ops.Multiply(), x, build(ops.Sigmoid(), x))


@dataclass(eq=False)
class GELU(_Activation):
    """x · Φ(x), where Φ is the distribution function of the normal distribution (Hendrycks and Gimpel, 2016).

    approximate: "none", or "tanh" for ½x (1 + tanh(√(2/π) (x + 0.044715 x³))).
    """

    approximate: Literal["none", "tanh"] = "none"

    kind: ClassVar[str] = "gelu"

    def check(self) -> None:
        if self.approximate not in ("none", "tanh"):
            raise OptionError(
                f"approximate={self.approximate!r} is unknown",
                mend='approximate="none", or approximate="tanh"',
            )

    def of(self, build: Builder, x: Value) -> Value:
        if self.approximate == "tanh":
            square = _times(build, build(ops.Multiply(), x, x), 0.044715)
            cube = build(ops.Multiply(), x, _plus(build, square, 1.0))
            odd = build(ops.Tanh(), _times(build, cube, math.sqrt(2 / math.pi)))
        else:
            odd = build(ops.Erf(), _times(build, x, math.sqrt(0.5)))
        return build(ops.Multiply(), _times(build, x, 0.5), _plus(build, odd, 1.0))


@dataclass(eq=False)
class Mish(_Activation):
    """x · tanh(softplus(x)) (Misra, 2019)."""

    kind: ClassVar[str] = "mish"

    def of(self, build: Builder, x: Value) -> Value:
        return build(ops.Multiply(), x, build(ops.Tanh(), build(ops.Softplus(), x)))


@dataclass(eq=False)
class Softplus(_Activation):
    """ln(1 + e^(beta · x)) / beta, a smooth relu.

    threshold: from here on, of beta · x, it is x itself; None for nowhere. PyTorch's 20 differs from None by
    less than 2.1e-9 / beta.
    """

    beta: float = 1.0
    threshold: float | None = None

    kind: ClassVar[str] = "softplus"

    def check(self) -> None:
        number("beta", self.beta, _is_finite(self.beta) and self.beta != 0, "other than 0")
        if self.threshold is not None:
            _check_finite("threshold", self.threshold)

    def of(self, build: Builder, x: Value) -> Value:
        scaled = _times(build, x, self.beta)
        soft = _times(build, build(ops.Softplus(), scaled), 1 / self.beta)
        if self.threshold is None:
            return soft
        beyond = build(ops.Greater(), scaled, ops.constant(build, self.threshold, x.type))
        return build(ops.Select(), beyond, x, soft)


@dataclass(eq=False)
class Softsign(_Activation):
    """x / (1 + |x|)."""

    kind: ClassVar[str] = "softsign"

    def of(self, build: Builder, x: Value) -> Value:
        return build(ops.Divide(), x, _plus(build, build(ops.Abs(), x), 1.0))


# Hard gates


@dataclass(eq=False)
class Hardsigmoid(_Activation):
    """(x + 3) / 6 from -3 to 3, 0 below and 1 above; its slope at -3 and 3 is 0."""

    kind: ClassVar[str] = "hardsigmoid"

    def of(self, build: Builder, x: Value) -> Value:
        clipped = build(ops.Clip(-3.0, 3.0, closed=False), x)
        return _times(build, _plus(build, clipped, 3.0), 1 / 6)


@dataclass(eq=False)
class Hardswish(_Activation):
    """x · hardsigmoid(x) (Howard et al., "Searching for MobileNetV3", 2019)."""

    kind: ClassVar[str] = "hardswish"

    def of(self, build: Builder, x: Value) -> Value:
        return build(ops.Multiply(), x, Hardsigmoid().of(build, x))


# Softmax


@dataclass(eq=False)
class _AlongAxis(OneValue):
    """A function along an axis, which the ops compute along the last one."""

    axis: int = -1

    def check(self) -> None:
        if isinstance(self.axis, bool) or not isinstance(self.axis, int):
            raise OptionError(f"axis={self.axis!r} is not an integer", mend="axis=-1 is the channels")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        rank = x.type.rank
        if not -rank <= self.axis < rank or x.type.shape[self.axis] == BATCH:
            raise ShapeError(
                f"axis={self.axis} is not an axis of a sample, for {x.type}",
                mend="axis=-1 is the last one" if rank > 1 else "give it an axis besides the batch",
            )
        last, axis = rank - 1, self.axis % rank
        if axis == last:
            return self.of(build, x)
        exchanged = {axis: last, last: axis}
        turn = ops.Transpose(tuple(exchanged.get(place, place) for place in range(rank)))
        return build(turn, self.of(build, build(turn, x)))

    def of(self, build: Builder, x: Value) -> Value:
        """Append the function along the last axis."""
        raise NotImplementedError


@dataclass(eq=False)
class LogSoftmax(_AlongAxis):
    """The logarithm of softmax along an axis, the last by default."""

    kind: ClassVar[str] = "log_softmax"

    def of(self, build: Builder, x: Value) -> Value:
        return build(ops.LogSoftmax(), x)


@dataclass(eq=False)
class Softmax(_AlongAxis):
    """e^x / Σ e^x along an axis, the last by default: probabilities that add up to 1."""

    kind: ClassVar[str] = "softmax"

    def of(self, build: Builder, x: Value) -> Value:
        return build(ops.Exp(), build(ops.LogSoftmax(), x))


# Numbers


def _times(build: Builder, x: Value, factor: float) -> Value:
    return x if factor == 1 else build(ops.Multiply(), x, ops.constant(build, factor, x.type))


def _plus(build: Builder, x: Value, term: float) -> Value:
    return build(ops.Add(), x, ops.constant(build, term, x.type))


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check_finite(name: str, value: object) -> None:
    number(name, value, _is_finite(value), "that is finite")
