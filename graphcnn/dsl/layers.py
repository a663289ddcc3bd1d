"""The layers: each says which parameters it has and which nodes it becomes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.initializers import Array, Constant, He, Initializer
from graphcnn.dsl.tensor import Tensor, apply_layer
from graphcnn.errors import GraphcnnError, OptionError, ShapeError
from graphcnn.ir import BATCH, Op, Origin, TensorType, Value, users_line
from graphcnn.ops.attributes import Padding, Pair, is_int

Size: TypeAlias = int | tuple[int, int]
PaddingSpec: TypeAlias = int | tuple[int, int] | tuple[Pair, Pair] | Literal["same", "valid"]
"""One width for all sides, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"."""


@dataclass(eq=False)
class Layer:
    """Base of all layers. A subclass defines `kind` and `build`.

    name: the layer's name in graphs and parameters; by default its kind and a number, such as `conv1`.
    Calling a layer on a value applies it; called twice, it uses the same parameters twice.
    """

    name: str | None = field(default=None, kw_only=True)
    origin: Origin = field(init=False, repr=False)

    kind: ClassVar[str] = "layer"
    is_scope: ClassVar[bool] = False
    """Whether the names of layers inside begin with this layer's name."""

    operands: ClassVar[int | None] = None
    """How many values the layer takes; None for any number."""

    transparent = False
    """Whether the layer leaves no trace of itself, only of the layers inside."""

    def __post_init__(self) -> None:
        self.origin = users_line()
        try:
            if self.name is not None and not (isinstance(self.name, str) and self.name):
                raise OptionError(f"name={self.name!r} is not a word", mend='leave it out, or name="edges"')
            self.check()
        except GraphcnnError as error:
            raise error.located(layer=self.title, file=self.origin.file, line=self.origin.line) from None

    @property
    def title(self) -> str:
        """What errors call the layer: its name, or else its class."""
        return self.name if self.name and isinstance(self.name, str) else type(self).__name__

    def check(self) -> None:
        """Raise OptionError for arguments that are not allowed."""

    def build(self, build: Builder, *values: Value) -> Value:
        """Append the layer's nodes and return its result."""
        raise NotImplementedError

    def __call__(self, *tensors: Tensor) -> Tensor:
        return apply_layer(self, *tensors)


def _pair(name: str, value: object, minimum: int = 1) -> Pair:
    pair = (value, value) if isinstance(value, int) else value
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(is_int(item, minimum) for item in pair)):
        raise OptionError(
            f"{name}={value!r} is neither an integer of at least {minimum} nor a pair of such integers",
            mend=f"{name}=3, or {name}=(3, 5): vertical, horizontal",
        )
    return pair


def _count(name: str, value: object) -> None:
    if not is_int(value, 1):
        hint = f"{name}=int(...)" if isinstance(value, float | np.integer) else f"{name}=8"
        raise OptionError(f"{name}={value!r} is not an integer of at least 1", mend=f"for example {hint}")


def _number(name: str, value: object, allowed: bool, range: str) -> None:
    """Raise OptionError unless the value is a number, and allowed."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not allowed:
        raise OptionError(f"{name}={value!r} is not a number {range}", mend=f"give a {name} {range}")


def _is_between(value: object, low: float, high: float) -> bool:
    """Return whether a number lies strictly between two."""
    return isinstance(value, int | float) and low < value < high


def check_initializer(initializer: object) -> None:
    """Raise OptionError for anything that cannot be called with a generator and a type."""
    if not callable(initializer) or isinstance(initializer, type):
        raise OptionError(
            f"initializer={initializer!r} is not an initializer",
            mend='initializer=gcn.He(), or gcn.Glorot("normal")',
        )


def _padding(spec: object) -> Padding | None:
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


def _check_window(kernel: object, stride: object, dilation: object, padding: object) -> None:
    for name, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        _pair(name, value)
    _padding(padding)


def _same_padding(images: TensorType, window: Pair, stride: Pair, dilation: Pair) -> Padding:
    """Return the padding that makes the output ceil(size / stride); an odd width goes to the far end."""
    sides = []
    for axis in (0, 1):
        size = images.static(1 + axis)
        reach = dilation[axis] * (window[axis] - 1) + 1
        total = max((math.ceil(size / stride[axis]) - 1) * stride[axis] + reach - size, 0)
        sides.append((total // 2, total - total // 2))
    return sides[0], sides[1]


def _require_images(layer: str, value: Value) -> None:
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


class _OneValue(Layer):
    """A layer that takes one value."""

    operands: ClassVar[int | None] = 1


@dataclass(eq=False)
class Function(Layer):
    """A function of values without parameters, under the name of its op."""

    function: Callable[..., Value]
    label: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kind = self.label  # type: ignore[misc]

    @property
    def title(self) -> str:
        return self.label

    def build(self, build: Builder, *values: Value) -> Value:
        return self.function(build, *values)


@dataclass(eq=False)
class Conv2d(_OneValue):
    """Convolution of images [N, H, W, C] with `filters` filters; returns [N, H', W', filters] (Eq. 4, 7).

    filters: number of filters D. kernel: size k or (k1, k2). stride, dilation: an int or (vertical,
    horizontal). padding: see `PaddingSpec`. groups: channels and filters are split into this many groups
    that do not mix. bias: whether to add one number per filter. flip: True for true convolution with
    rotated filters (Eq. 2); False for cross-correlation (Eq. 7).
    Parameters: `filters` [k1, k2, C / groups, D], `bias` [D].
    """

    filters: int
    kernel: Size
    stride: Size = 1
    padding: PaddingSpec = 0
    dilation: Size = 1
    groups: int = 1
    bias: bool = True
    flip: bool = False
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "conv"

    def check(self) -> None:
        _count("filters", self.filters)
        _count("groups", self.groups)
        _check_window(self.kernel, self.stride, self.dilation, self.padding)
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        (images,) = values
        _require_images("Conv2d", images)
        return self._convolve(build, images, self.filters, self.groups)

    def _convolve(self, build: Builder, images: Value, filters: int, groups: int) -> Value:
        kernel, stride, dilation = (
            _pair("kernel", self.kernel),
            _pair("stride", self.stride),
            _pair("dilation", self.dilation),
        )
        padding = _padding(self.padding) or _same_padding(images.type, kernel, stride, dilation)
        channels = images.type.static(3)
        if channels % groups or filters % groups:
            raise ShapeError(
                f"groups={groups} does not divide the {channels} channels and the {filters} filters",
                facts=[
                    f"{channels} % {groups} = {channels % groups}",
                    f"{filters} % {groups} = {filters % groups}",
                ],
                mend="choose a number of groups that divides both",
            )
        bank = images.type.with_shape((*kernel, channels // groups, filters))
        weights = build.parameter("filters", bank, self.initializer)
        kind = ops.Convolve2d if self.flip else ops.Correlate2d
        build = build.by("Eq. 2" if self.flip else "Eq. 7")
        maps = build(kind(stride, padding, dilation, groups), images, weights)
        return _with_bias(build, maps) if self.bias else maps


def _with_bias(build: Builder, value: Value) -> Value:
    """Append the sum of a value and the layer's bias, one number per channel or unit."""
    bias = build.parameter("bias", value.type.with_shape(value.type.shape[-1:]), Constant(0.0))
    return build(ops.Add(), value, build(ops.Broadcast(value.type.shape), bias))


@dataclass(eq=False)
class DepthwiseConv2d(_OneValue):
    """Convolution of every channel on its own; returns [N, H', W', C · multiplier].

    multiplier: filters per channel. The rest as in `Conv2d`.
    Parameters: `filters` [k1, k2, 1, C · multiplier], `bias` [C · multiplier].
    """

    kernel: Size
    stride: Size = 1
    padding: PaddingSpec = 0
    dilation: Size = 1
    multiplier: int = 1
    bias: bool = True
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "depthwise"

    def check(self) -> None:
        _count("multiplier", self.multiplier)
        _check_window(self.kernel, self.stride, self.dilation, self.padding)
        check_initializer(self.initializer)

    def _convolution(self, filters: int, groups: int) -> Conv2d:
        return Conv2d(
            filters, self.kernel, self.stride, self.padding, self.dilation, groups, self.bias,
            initializer=self.initializer,
        )  # fmt: skip

    def build(self, build: Builder, *values: Value) -> Value:
        _require_images("DepthwiseConv2d", values[0])
        channels = values[0].type.static(3)
        return self._convolution(channels * self.multiplier, channels).build(build, *values)


@dataclass(eq=False)
class ConvTranspose2d(_OneValue):
    """Transposed convolution: the input gradient of a `Conv2d` as a layer (Eq. 21); upsamples by the stride.

    Returns [N, stride·(H-1) + k1 - top - bottom, stride·(W-1) + k2 - left - right, filters].
    padding: an int, a pair, ((top, bottom), (left, right)) or "valid"; it is cropped off the result.
    Parameters: `filters` [k1, k2, C, D], `bias` [D].
    """

    filters: int
    kernel: Size
    stride: Size = 1
    padding: PaddingSpec = 0
    bias: bool = True
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "conv_transpose"

    def check(self) -> None:
        _count("filters", self.filters)
        _pair("kernel", self.kernel)
        _pair("stride", self.stride)
        if _padding(self.padding) is None:
            raise OptionError(
                'padding="same" is not defined for ConvTranspose2d', mend="give the widths to crop"
            )
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        (images,) = values
        _require_images("ConvTranspose2d", images)
        k1, k2 = _pair("kernel", self.kernel)
        bank = images.type.with_shape((k1, k2, images.type.static(3), self.filters))
        rotated = build(ops.Rot180(), build.parameter("filters", bank, self.initializer))
        spread = build(ops.ZeroInsert(_pair("stride", self.stride)), images)
        full = ops.Correlate2d(padding=((k1 - 1, k1 - 1), (k2 - 1, k2 - 1)))
        maps = build(full, spread, rotated)
        padding = _padding(self.padding)
        if padding and any(map(any, padding)):
            self._require_room(maps.type, padding)
            maps = build(ops.Crop(((0, 0), *padding, (0, 0))), maps)
        return _with_bias(build, maps) if self.bias else maps

    def _require_room(self, maps: TensorType, padding: Padding) -> None:
        for axis, side in ((0, "height"), (1, "width")):
            size, (before, after) = maps.static(1 + axis), padding[axis]
            if size - before - after < 1:
                raise ShapeError(
                    f"padding={self.padding!r} crops everything off the result {maps}",
                    facts=[f"{side}: {size} - {before} - {after} = {size - before - after}, below 1"],
                    mend="crop less: a smaller padding",
                )


@dataclass(eq=False)
class _Pool2d(_OneValue):
    """Pooling windows of `size`, `stride` apart (the size itself by default)."""

    size: Size
    stride: Size | None = None
    padding: PaddingSpec = 0

    kind: ClassVar[str] = "pool"
    op: ClassVar[type[ops.MaxPool2d] | type[ops.AveragePool2d] | type[ops.L2Pool2d]]

    def check(self) -> None:
        _pair("size", self.size)
        if self.stride is not None:
            _pair("stride", self.stride)
        _padding(self.padding)

    def build(self, build: Builder, *values: Value) -> Value:
        _require_images(type(self).__name__, values[0])
        size = _pair("size", self.size)
        stride = size if self.stride is None else _pair("stride", self.stride)
        padding = _padding(self.padding) or _same_padding(values[0].type, size, stride, (1, 1))
        return build(self.op(size, stride, padding), values[0])


@dataclass(eq=False)
class MaxPool2d(_Pool2d):
    """The greatest element of each window, [N, H, W, C] → [N, H', W', C]; the first of equals wins."""

    op = ops.MaxPool2d


@dataclass(eq=False)
class AvgPool2d(_Pool2d):
    """The mean of each window, [N, H, W, C] → [N, H', W', C]; padding counts as zeros."""

    op = ops.AveragePool2d


@dataclass(eq=False)
class L2Pool2d(_Pool2d):
    """The Euclidean norm of each window, [N, H, W, C] → [N, H', W', C]."""

    op = ops.L2Pool2d


@dataclass(eq=False)
class GlobalAvgPool2d(_OneValue):
    """The mean of each whole feature map, [N, H, W, C] → [N, C]."""

    kind: ClassVar[str] = "global_pool"

    def build(self, build: Builder, *values: Value) -> Value:
        _require_images("GlobalAvgPool2d", values[0])
        return build(ops.Mean((1, 2)), values[0])


@dataclass(eq=False)
class Flatten(_OneValue):
    """All axes but the batch as one: [N, H, W, C] → [N, H·W·C]."""

    kind: ClassVar[str] = "flatten"

    def build(self, build: Builder, *values: Value) -> Value:
        return flat(build, values[0])


def flat(build: Builder, value: Value) -> Value:
    """Append [N, H, W, C] → [N, H·W·C]."""
    if value.type.shape[:1] != (BATCH,):
        raise ShapeError(
            f"flatten keeps the batch axis, but {value.type} has none in front",
            mend="gcn.reshape(x, shape) for a tensor that is shared by all samples",
        )
    return build(ops.Reshape((BATCH, math.prod(map(int, value.type.shape[1:])))), value)


@dataclass(eq=False)
class Dense(_OneValue):
    """A fully connected layer, [N, C] → [N, units].

    Parameters: `weights` [C, units], `bias` [units].
    """

    units: int
    bias: bool = True
    initializer: Initializer = field(default_factory=He, kw_only=True)

    kind: ClassVar[str] = "dense"

    def check(self) -> None:
        _count("units", self.units)
        check_initializer(self.initializer)

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        if x.type.rank != 2:
            raise ShapeError(
                f"Dense takes rows of shape [N, C], but its input is {x.type}",
                facts=[f"{x.type} has {x.type.rank} axes, rows have 2"],
                mend="put gcn.Flatten() or gcn.GlobalAvgPool2d() before it",
            )
        shape = (x.type.static(1), self.units)
        weights = build.parameter("weights", x.type.with_shape(shape), self.initializer)
        product = build(ops.Matmul(), x, weights)
        return _with_bias(build, product) if self.bias else product


@dataclass(eq=False)
class _Activation(_OneValue):
    """An element-wise function, f in Eq. 8."""

    op: ClassVar[Op]

    def build(self, build: Builder, *values: Value) -> Value:
        return build.by("Eq. 8")(self.op, values[0])


@dataclass(eq=False)
class ReLU(_Activation):
    """max(0, x)."""

    kind: ClassVar[str] = "relu"
    op = ops.Relu()


@dataclass(eq=False)
class Tanh(_Activation):
    """The hyperbolic tangent."""

    kind: ClassVar[str] = "tanh"
    op = ops.Tanh()


@dataclass(eq=False)
class Sigmoid(_Activation):
    """1 / (1 + e^-x)."""

    kind: ClassVar[str] = "sigmoid"
    op = ops.Sigmoid()


@dataclass(eq=False)
class Dropout(_OneValue):
    """In training, sets each element to 0 with probability `rate` and scales the rest by 1 / (1 - rate).

    State: `generator` [2], the seed and the number of draws so far.
    """

    rate: float

    kind: ClassVar[str] = "dropout"

    def check(self) -> None:
        allowed = self.rate == 0 or _is_between(self.rate, 0, 1)
        _number("rate", self.rate, allowed, "of at least 0 and below 1")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        if not build.training or self.rate == 0:
            return x
        state = build.state("generator", ops.GENERATOR_STATE, random_seed)
        uniform, following = build.all(ops.RandomUniform(), state, x)
        build.update(state, following)
        like = x.type.with_shape(())
        rate, scale = (build(ops.Constant(c, like)) for c in (float(self.rate), 1 / (1 - self.rate)))
        dropped = build(ops.Greater(), rate, uniform)
        factor = build(ops.Select(), dropped, build(ops.Constant(0.0, like)), scale)
        return build(ops.Multiply(), x, factor)


def random_seed(generator: np.random.Generator, type: TensorType) -> Array:
    """Return a first generator state: a seed of 63 random bits, and 0 draws."""
    return np.array([generator.integers(2**63), 0], np.int64)


@dataclass(eq=False)
class BatchNorm2d(_OneValue):
    """Batch normalisation of each channel of [N, H, W, C] (Ioffe and Szegedy, ICML 2015).

    In training it uses the batch's mean and (biased) variance and keeps running averages:
    running ← (1 - momentum) · running + momentum · batch. Elsewhere it uses the running averages.
    Parameters: `scale` [C], `shift` [C]. State: `mean` [C], `variance` [C].
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    kind: ClassVar[str] = "batchnorm"

    def check(self) -> None:
        allowed = self.momentum == 1 or _is_between(self.momentum, 0, 1)
        _number("momentum", self.momentum, allowed, "above 0 and at most 1")
        _number("epsilon", self.epsilon, _is_between(self.epsilon, 0, math.inf), "above 0")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        _require_images("BatchNorm2d", x)
        channels = x.type.with_shape(x.type.shape[3:])
        scale = build.parameter("scale", channels, Constant(1.0))
        shift = build.parameter("shift", channels, Constant(0.0))
        running = build.state("mean", channels), build.state("variance", channels, Constant(1.0))
        if build.training:
            mean = build(ops.Mean((0, 1, 2)), x)
            centred = build(ops.Subtract(), x, build(ops.Broadcast(x.type.shape), mean))
            variance = build(ops.Mean((0, 1, 2)), build(ops.Multiply(), centred, centred))
            for state, batch in zip(running, (mean, variance), strict=True):
                build.update(state, _moving_average(build, state, batch, self.momentum))
        else:
            mean, variance = running
            centred = build(ops.Subtract(), x, build(ops.Broadcast(x.type.shape), mean))
        return _scaled(build, centred, variance, scale, shift, self.epsilon)


def _moving_average(build: Builder, old: Value, new: Value, momentum: float) -> Value:
    like = old.type.with_shape(())
    kept = build(ops.Multiply(), old, build(ops.Constant(1.0 - momentum, like)))
    return build(ops.Add(), kept, build(ops.Multiply(), new, build(ops.Constant(momentum, like))))


def _scaled(
    build: Builder, centred: Value, variance: Value, scale: Value, shift: Value, epsilon: float
) -> Value:
    """Append centred · scale / √(variance + ε) + shift; the factor is computed once per statistic."""
    shape = centred.type.shape
    safe = build(ops.Add(), variance, build(ops.Constant(epsilon, variance.type.with_shape(()))))
    deviation = build(ops.Sqrt(), safe)
    if deviation.type.shape == scale.type.shape:
        factor = build(ops.Broadcast(shape), build(ops.Divide(), scale, deviation))
        scaled = build(ops.Multiply(), centred, factor)
    else:
        normal = build(ops.Divide(), centred, build(ops.Broadcast(shape), deviation))
        scaled = build(ops.Multiply(), normal, build(ops.Broadcast(shape), scale))
    return build(ops.Add(), scaled, build(ops.Broadcast(shape), shift))


@dataclass(eq=False)
class LayerNorm(_OneValue):
    """Normalisation of each sample over its last axis (Ba, Kiros and Hinton, arXiv 1607.06450).

    Parameters: `scale` and `shift`, of the size of the last axis.
    """

    epsilon: float = 1e-5

    kind: ClassVar[str] = "layernorm"

    def check(self) -> None:
        _number("epsilon", self.epsilon, _is_between(self.epsilon, 0, math.inf), "above 0")

    def build(self, build: Builder, *values: Value) -> Value:
        (x,) = values
        last = x.type.rank - 1
        if last < 1:
            raise ShapeError(
                f"LayerNorm takes a batch with at least one more axis, but its input is {x.type}",
                mend="put it behind a layer such as Conv2d or Dense",
            )
        size = x.type.with_shape(x.type.shape[last:])
        scale = build.parameter("scale", size, Constant(1.0))
        shift = build.parameter("shift", size, Constant(0.0))
        mean = build(ops.Mean((last,), keep=True), x)
        centred = build(ops.Subtract(), x, build(ops.Broadcast(x.type.shape), mean))
        variance = build(ops.Mean((last,), keep=True), build(ops.Multiply(), centred, centred))
        return _scaled(build, centred, variance, scale, shift, self.epsilon)
