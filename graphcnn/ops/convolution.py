"""Cross-correlation (Eq. 1), convolution (Eq. 2-3), and the rotation by 180 degrees that ties them.

Feature maps are [N, H, W, C], filters [k1, k2, C / groups, D], as in Eq. 4. Three contractions belong
together, each the gradient of the other two: images with filters (the forward pass, Eq. 7), images with
deltas summed over the batch (the filter gradient, Eq. 13-14), and deltas with rotated filters (the input
gradient, Eq. 20-21). The first and the third sum over channels, the second over the batch; so both ops
have the attribute `sum_over`. With `sum_over="batch"` the second operand is a feature map
[N, H', W', D] and the result a filter bank [R1, R2, C / groups, D].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias, TypeVar

from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import BATCH, Emitter, Gradients, Node, Op, TensorType, Value, Values, format_shape
from graphcnn.ops.attributes import (
    NO_PADDING,
    Padding,
    Pair,
    check_axes,
    check_padding,
    check_pair,
    is_int,
    require_axes,
    require_float,
    require_rank,
)
from graphcnn.ops.convolution_latex import forward_equation, gradient_equation
from graphcnn.ops.notation import ROT180
from graphcnn.ops.shape import Crop, Reshape, Transpose, ZeroInsert, before_zeros

SumOver: TypeAlias = Literal["channels", "batch"]
_Contraction = TypeVar("_Contraction", bound="_SlidingProduct")

FILTER_AXES = (0, 1)
IMAGE_AXES = (1, 2)


@dataclass(frozen=True, slots=True)
class Rot180(Op):
    """Rotation by 180 degrees: both spatial axes reversed. Filters have them first, feature maps inside."""

    axes: tuple[int, ...] = FILTER_AXES

    name: ClassVar[str] = "rot180"
    equation: ClassVar[str] = "rot180(K)(m, n) = K(k1-1-m, k2-1-n)"
    arity: ClassVar[int] = 1
    by_sample: ClassVar[bool] = True
    formula: ClassVar[str] = rf"$y = {ROT180}\{{$a\}}"

    def __post_init__(self) -> None:
        check_axes("axes", self.axes)

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        require_axes(self.axes, operands[0])
        return operands

    def is_by_sample(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> bool:
        return 0 not in self.axes and Op.is_by_sample(self, operands, results)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        return (emit(self, delta),)


@dataclass(frozen=True, slots=True)
class _SlidingProduct(Op):
    """What cross-correlation and convolution share: attributes, shape rule and FLOPs."""

    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)
    groups: int = 1
    sum_over: SumOver = "channels"

    arity: ClassVar[int] = 2
    by_sample: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_pair("stride", self.stride, 1)
        check_padding("padding", self.padding)
        check_pair("dilation", self.dilation, 1)
        if not is_int(self.groups, 1):
            raise OptionError(f"groups={self.groups!r} is not an integer of at least 1")
        if self.sum_over not in ("channels", "batch"):
            raise OptionError(f"sum_over={self.sum_over!r} is neither 'channels' nor 'batch'")

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        images, window = operands
        require_rank(self.name, "images", images, 4, "N, H, W, C")
        require_float(self.name, images, window)
        if self.sum_over == "batch":
            require_rank(self.name, "deltas", window, 4, "N, H', W', D")
            if images.shape[0] != window.shape[0]:
                raise ShapeError(f"{self.name} sums over the batch, but {images} and {window} differ in it")
            channels, sizes = images.static(3), (window.static(1), window.static(2))
            require_groups(self.groups, channels, window.static(3))
            rows, columns = self.output_size(images, sizes)
            return (images.with_shape((rows, columns, channels // self.groups, window.static(3))),)
        require_rank(self.name, "filters", window, 4, "k1, k2, C / groups, D")
        require_groups(self.groups, images.static(3), window.static(3))
        if images.static(3) != window.static(2) * self.groups:
            raise ShapeError(
                f"the filters take {window.static(2) * self.groups} channels, "
                f"but the images have {images.shape[3]}",
                facts=[f"images {images}", f"filters {window}, groups={self.groups}"],
                mend="give the filters the shape [k1, k2, channels / groups, number of filters]",
            )
        rows, columns = self.output_size(images, (window.static(0), window.static(1)))
        return (images.with_shape((images.shape[0], rows, columns, window.shape[3])),)

    def output_size(self, images: TensorType, window: Pair) -> Pair:
        """Return the spatial size of the result for a window of this size (k1, k2)."""
        height = _window_positions(self, images, window, 0)
        return height, _window_positions(self, images, window, 1)

    def sums_samples(self, operands: Sequence[TensorType]) -> bool:
        return self.sum_over == "batch" and operands[0].shape[0] == BATCH

    def flops(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> int:
        """Count two for each product of a tap of the window at a place of it, on padding too."""
        window, places = (
            (operands[1], results[0]) if self.sum_over == "channels" else (results[0], operands[1])
        )
        samples, rows, columns, _ = places.concrete(batch)
        return 2 * samples * rows * columns * math.prod(window.concrete(batch))

    def counted_as(self, node: Node, operands: Sequence[Node], forward: Node | None) -> Node | None:
        """A gradient does the products of its forward pass, and a transposed convolution those of its input.

        Of the zeros between its operand's units, and of what is cropped off its result, it knows nothing.
        """
        if forward is not None and isinstance(forward.op, _SlidingProduct):
            return forward.counted or forward
        images = before_zeros(operands[0])
        if images is None or self.sum_over != "channels":
            return None
        return replace(node, types=(images.with_shape((*images.shape[:3], node.types[0].shape[3])),))

    def latex(self, *operands: TensorType) -> str:
        return forward_equation(self, *operands, flipped=isinstance(self, Convolve2d))

    def gradient_latex(self, position: int, *operands: TensorType) -> str:
        if self.sum_over == "batch":
            return ""
        return gradient_equation(self, position, *operands, flipped=isinstance(self, Convolve2d))

    def generality(self) -> str:
        terms = [
            f"stride {self.stride[0]}x{self.stride[1]}" if self.stride != (1, 1) else "",
            f"dilation {self.dilation[0]}x{self.dilation[1]}" if self.dilation != (1, 1) else "",
            f"{self.groups} groups" if self.groups > 1 else "",
            _padding_term(self.padding),
        ]
        return ", ".join(filter(None, terms))

    @property
    def is_plain(self) -> bool:
        """Whether the article's rules hold as written: stride 1, dilation 1, one group."""
        return self.stride == (1, 1) and self.dilation == (1, 1) and self.groups == 1


def require_groups(groups: int, channels: int, filters: int) -> None:
    """Raise ShapeError unless the groups divide both the channels and the filters."""
    if channels % groups or filters % groups:
        raise ShapeError(
            f"groups={groups} does not divide the {channels} channels and the {filters} filters",
            facts=[
                f"{channels} % {groups} = {channels % groups}",
                f"{filters} % {groups} = {filters % groups}",
            ],
            mend="choose a number of groups that divides both",
        )


def _window_positions(op: _SlidingProduct, images: TensorType, window: Pair, axis: int) -> int:
    """Return in how many places the window fits along one spatial axis."""
    size, (before, after) = images.static(1 + axis), op.padding[axis]
    reach = op.dilation[axis] * (window[axis] - 1) + 1
    room = size + before + after - reach
    if room < 0:
        padded = format_shape((images.static(1) + sum(op.padding[0]), images.static(2) + sum(op.padding[1])))
        spread = f" (dilated to {reach})" if op.dilation[axis] > 1 else ""
        raise ShapeError(
            f"the {window[0]}x{window[1]} kernel is larger than its padded input {padded}",
            facts=[
                f"input {images}, padding {op.padding}, dilation {op.dilation}, stride {op.stride}",
                f"{'height' if axis == 0 else 'width'}: {size} + {before} + {after} = {size + before + after}"
                f" < {reach} = kernel {window[axis]}{spread}",
            ],
            mend='take a smaller kernel, padding="same", or one pooling layer less before it',
        )
    return room // op.stride[axis] + 1


@dataclass(frozen=True, slots=True)
class Correlate2d(_SlidingProduct):
    """Cross-correlation, Eq. 1 (Eq. 4 with channels): what CNNs compute in their forward pass."""

    name: ClassVar[str] = "correlate2d"
    equation: ClassVar[str] = "(I ⊗ K)(i, j) = Σm Σn I(i+m, j+n) K(m, n)"
    article: ClassVar[str] = "Eq. 4"

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        images, window = operands
        if self.sum_over == "batch":
            return _gradients_over_batch(self, emit, images, window, delta)
        return _input_gradient(self, emit, images, window, delta), _filter_gradient(
            self, emit, images, window, delta
        )


@dataclass(frozen=True, slots=True)
class Convolve2d(_SlidingProduct):
    """True convolution, Eq. 2-3: cross-correlation with the kernel rotated by 180 degrees."""

    name: ClassVar[str] = "convolve2d"
    equation: ClassVar[str] = "(I * K)(i, j) = Σm Σn I(i-m, j-n) K(m, n) = (I ⊗ rot180(K))(i, j)"
    article: ClassVar[str] = "Eq. 2"

    def as_correlation(self) -> Correlate2d:
        """Return the cross-correlation that equals this op once its kernel is rotated."""
        return Correlate2d(self.stride, self.padding, self.dilation, self.groups, self.sum_over)

    def gradient(self, emit: Emitter, operands: Values, results: Values, delta: Value) -> Gradients:
        images, window = operands
        correlation = self.as_correlation()
        if self.sum_over == "batch":
            rotated = emit(Rot180(IMAGE_AXES), window)
            images_gradient, window_gradient = _gradients_over_batch(
                correlation, emit, images, rotated, delta
            )
            return images_gradient, emit(Rot180(IMAGE_AXES), window_gradient)
        return (
            _input_gradient(correlation, emit, images, window, delta, rotate=False),
            _flipped_filter_gradient(correlation, emit, images, window, delta),
        )


def _rule(forward: _SlidingProduct, equation: str, general: str) -> str:
    """Return the name of the rule: the equation alone where the article's form holds as written."""
    return equation if forward.is_plain else f"{equation}, {general}"


def _padding_term(padding: Padding) -> str:
    (top, bottom), (left, right) = padding
    if not any((top, bottom, left, right)):
        return ""
    return f"padding {top}" if top == bottom == left == right else f"padding {padding}"


def _gradient_terms(forward: _SlidingProduct) -> str:
    terms = [
        f"stride {forward.stride[0]}x{forward.stride[1]}" if forward.stride != (1, 1) else "",
        f"dilation {forward.dilation[0]}x{forward.dilation[1]}" if forward.dilation != (1, 1) else "",
        f"{forward.groups} groups" if forward.groups > 1 else "",
    ]
    return "with " + ", ".join(filter(None, terms))


def _filter_gradient(
    forward: Correlate2d, emit: Emitter, images: Value, filters: Value, delta: Value
) -> Value:
    """Emit Eq. 13-14: the images convolved with the rotated delta, summed over the batch.

    In general the delta is dilated by the forward stride, and what the stride skipped is trimmed off.
    """
    emit = emit.by(_rule(forward, "Eq. 14", _gradient_terms(forward)))
    rotated = emit(Rot180(IMAGE_AXES), delta)
    gradient = emit(_partner(Convolve2d, forward, sum_over="batch"), images, rotated)
    return _trimmed(emit, gradient, filters.type, FILTER_AXES)


def _flipped_filter_gradient(
    forward: Correlate2d, emit: Emitter, images: Value, filters: Value, delta: Value
) -> Value:
    """Emit the filter gradient of a true convolution: Eq. 13 with images and delta both rotated.

    Where the stride skips a remainder, the gradient itself is rotated instead.
    """
    emit = emit.by(_rule(forward, "Eq. 13, flipped", _gradient_terms(forward)))
    correlation = _partner(Correlate2d, forward, sum_over="batch")
    if _remainder(forward, images, filters.type, delta) == (0, 0):
        (top, bottom), (left, right) = forward.padding
        mirrored = replace(correlation, padding=((bottom, top), (right, left)))
        return emit(mirrored, emit(Rot180(IMAGE_AXES), images), emit(Rot180(IMAGE_AXES), delta))
    gradient = _trimmed(emit, emit(correlation, images, delta), filters.type, FILTER_AXES)
    return emit(Rot180(FILTER_AXES), gradient)


def _input_gradient(
    forward: Correlate2d, emit: Emitter, images: Value, filters: Value, delta: Value, *, rotate: bool = True
) -> Value:
    """Emit Eq. 20-21: the full-padded delta cross-correlated with the rotated filters, channels swapped.

    In general zeros are inserted into the delta where the stride skipped, and the padding is cropped off.
    rotate: False for a true convolution, whose filters are rotated in the forward pass already.
    """
    emit = emit.by(_rule(forward, "Eq. 21" if rotate else "Eq. 21, flipped", _gradient_terms(forward)))
    remainder = _remainder(forward, images, filters.type, delta)
    if forward.stride != (1, 1):
        delta = emit(ZeroInsert(forward.stride), delta)
    if rotate:
        filters = emit(Rot180(FILTER_AXES), filters)
    swapped = _channels_swapped(emit, filters, forward.groups)
    reach = _reach(forward.dilation, (filters.type.static(0), filters.type.static(1)))
    full = tuple((reach[axis] - 1, reach[axis] - 1 + remainder[axis]) for axis in (0, 1))
    full_correlation = Correlate2d(padding=full, dilation=forward.dilation, groups=forward.groups)  # type: ignore[arg-type]
    gradient = emit(full_correlation, delta, swapped)
    if forward.padding == NO_PADDING:
        return gradient
    return emit(Crop(((0, 0), *forward.padding, (0, 0))), gradient)


def _gradients_over_batch(
    forward: Correlate2d, emit: Emitter, images: Value, window: Value, delta: Value
) -> tuple[Value, Value]:
    """Emit the gradients of a correlation that sums over the batch: `delta` is then a filter bank.

    The result is linear in both operands, so this is the forward pass and Eq. 21 with roles exchanged.
    """
    equivalent = _partner(Correlate2d, forward, sum_over="channels")
    window_gradient = _trimmed(emit, emit(equivalent, images, delta), window.type, IMAGE_AXES)
    return _input_gradient(equivalent, emit, images, delta, window), window_gradient


def _partner(kind: type[_Contraction], forward: _SlidingProduct, *, sum_over: SumOver) -> _Contraction:
    """Return the contraction that the forward pass is paired with: stride and dilation change places."""
    return kind(forward.dilation, forward.padding, forward.stride, forward.groups, sum_over)


def _remainder(forward: _SlidingProduct, images: Value, filters: TensorType, delta: Value) -> Pair:
    """Return how many rows and columns at the far end the stride never reached."""
    reach = _reach(forward.dilation, (filters.static(0), filters.static(1)))
    return tuple(  # type: ignore[return-value]
        images.type.static(1 + axis)
        + sum(forward.padding[axis])
        - reach[axis]
        - forward.stride[axis] * (delta.type.static(1 + axis) - 1)
        for axis in (0, 1)
    )


def _reach(dilation: Pair, window: Pair) -> Pair:
    return dilation[0] * (window[0] - 1) + 1, dilation[1] * (window[1] - 1) + 1


def _trimmed(emit: Emitter, value: Value, target: TensorType, axes: tuple[int, int]) -> Value:
    """Crop the far end of two axes down to the target's sizes."""
    widths = [(0, 0)] * value.type.rank
    for axis in axes:
        widths[axis] = (0, value.type.static(axis) - target.static(axis))
    return emit(Crop(tuple(widths)), value) if any(after for _, after in widths) else value


def _channels_swapped(emit: Emitter, filters: Value, groups: int) -> Value:
    """Emit [k1, k2, C/G, D] → [k1, k2, D/G, C], group by group."""
    k1, k2, channels, count = (filters.type.static(axis) for axis in range(4))
    if groups == 1:
        return emit(Transpose((0, 1, 3, 2)), filters)
    split = emit(Reshape((k1, k2, channels, groups, count // groups)), filters)
    turned = emit(Transpose((0, 1, 4, 3, 2)), split)
    return emit(Reshape((k1, k2, count // groups, groups * channels)), turned)
