"""What may grow behind a value of a random training step: a few nodes each, of all kinds that there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from graphcnn import ops
from graphcnn.dsl import layers
from graphcnn.ir import BATCH, Dim, Origin, TensorType, Value

if TYPE_CHECKING:
    from graphcnn.testing.random_graphs import StepBuilder

MOST_RANK: Final = 4

Grow: TypeAlias = "Callable[[StepBuilder, Value], Sequence[Value]]"


def _pointwise(b: StepBuilder, x: Value) -> Sequence[Value]:
    if b.chance():
        return [b.bounded(x)]
    kinked = [ops.Relu(), ops.Relu(), ops.Abs(), ops.Elu(0.5), ops.Clip(-0.5, 1.0), ops.Softplus()]
    return [b.emit(b.pick(kinked), b.untied(x))]


def _paired(b: StepBuilder, x: Value) -> Sequence[Value]:
    scalars = [y for y in b.values if y.type == x.type.with_shape(())]
    y = b.pick(scalars) if scalars and b.chance() else b.like(x)
    op = b.pick([ops.Add(), ops.Subtract(), ops.Multiply()])
    return [b.bounded(b.emit(op, *((x, y) if b.chance() else (y, x))))]


def _divided(b: StepBuilder, x: Value) -> Sequence[Value]:
    return [b.bounded(b.emit(ops.Divide(), x, b.nonlinear(b.like(x))))]


def _selected(b: StepBuilder, x: Value) -> Sequence[Value]:
    y = b.like(x)
    condition = b.emit(b.pick([ops.Greater(), ops.GreaterEqual()]), b.untied(x), y)
    if b.chance():
        other = b.emit(ops.LogicalNot(), b.emit(ops.Greater(), b.untied(x), x))
        condition = b.emit(b.pick([ops.LogicalAnd(), ops.LogicalOr()]), condition, other)
    kept = b.emit(ops.Select(), condition, x, y)
    extreme = b.emit(b.pick([ops.Maximum(), ops.Minimum()]), b.untied(x), y)
    return [kept, extreme, b.emit(ops.Cast(b.dtype), condition)]


def _rounded(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Round what no backend computes: of two numbers that are close, a rounding may make distant ones."""
    return [b.emit(ops.Multiply(), x, b.emit(ops.RoundBfloat16(), b.numbers(x.type)))]


def _stopped(b: StepBuilder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.StopGradient(), x)]


def parameter(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Multiply by a trained gain, or add one: of the whole shape, of the last axis, or a scalar."""
    shapes = [x.type.shape[-1:], x.type.shape[1:], ()]
    w = b.parameter(b.pick([s for s in shapes if BATCH not in s]), x.type.dtype)
    return [b.bounded(b.emit(b.pick([ops.Multiply(), ops.Add()]), x, b.broadcast(w, x)))]


def _reduced(b: StepBuilder, x: Value) -> Sequence[Value]:
    kind = b.pick([ops.Sum, ops.Mean, ops.Mean])
    return [b.bounded(b.emit(kind(b.axes(x.type.rank), keep=b.chance()), x))]


def _greatest(b: StepBuilder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.Max(b.axes(x.type.rank), keep=b.chance()), b.untied(x))]


def _normalized(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Divide by, or shift by, a number that depends on the whole tensor, often on the whole batch."""
    axes = tuple(range(x.type.rank)) if b.chance() else b.axes(x.type.rank)
    keep = len(axes) != x.type.rank
    y = x if b.chance() else b.like(x)
    if b.chance():
        y = b.emit(ops.Subtract(), y, b.broadcast(b.emit(ops.Mean(axes, keep), y), x))
    spread = b.emit(ops.Mean(axes, keep), b.emit(ops.Multiply(), y, b.like(y)))
    scale = b.nonlinear(spread)
    if b.chance():
        scale = b.emit(ops.Multiply(), scale, b.nonlinear(b.emit(ops.Mean(axes, keep), x)))
    result = b.emit(b.pick([ops.Divide(), ops.Multiply()]), y, b.broadcast(scale, x))
    return [b.bounded(result), scale]


def _standardized(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Centre, and divide by the deviation: of the batch, of each sample, of a group of axes."""
    axes = b.axes(x.type.rank)
    mean = b.emit(ops.Mean(axes, keep=True), x)
    centred = b.emit(ops.Subtract(), x, b.broadcast(mean, x))
    op = ops.InverseDeviation(axes, keep=True, epsilon=b.pick((0.1, 0.5)))
    inverse, variance = b.emit.all(op, centred)
    return [b.emit(ops.Multiply(), centred, b.broadcast(inverse, x)), variance]


def _scalar(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Make a scalar of the whole, and combine scalars that exist."""
    total = b.emit(ops.Mean(tuple(range(x.type.rank))), x)
    other = b.pick([y for y in b.values if y.type == total.type] or [total])
    op = b.pick([ops.Multiply(), ops.Add(), ops.Divide()])
    return [b.bounded(total), b.bounded(b.emit(op, b.nonlinear(total), b.nonlinear(other)))]


def _softmax(b: StepBuilder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.Exp(), b.emit(ops.LogSoftmax(), x))]


def _spread(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Repeat along new axes in front and along axes of size 1."""
    shape: list[Dim] = [b.pick(b.sizes) if size == 1 else size for size in x.type.shape]
    for _ in range(b.between(0, MOST_RANK - len(shape))):
        shape.insert(0, b.pick(b.sizes) if BATCH in shape or b.chance() else BATCH)
    return [b.emit(ops.Broadcast(b.fitting(x.type.with_shape(tuple(shape))).shape), x)]


def _transposed(b: StepBuilder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.Transpose(tuple(map(int, b.random.permutation(x.type.rank)))), x)]


def _reshaped(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Put an axis of size 1 somewhere, fold two axes, or exchange two without moving elements."""
    shape = list(x.type.shape)
    if len(shape) < MOST_RANK and b.chance():
        shape.insert(b.between(0, len(shape)), 1)
    elif len(shape) > 1 and BATCH not in shape[-2:]:
        shape[-2:] = [int(shape[-2]) * int(shape[-1])]
    else:
        shape = [shape[axis] for axis in b.random.permutation(len(shape))]
    return [b.emit(ops.Reshape(tuple(shape)), x)]


def _joined(b: StepBuilder, x: Value) -> Sequence[Value]:
    axis = b.between(0, max(0, x.type.rank - 1))
    return [b.emit(ops.Concatenate(axis), x, *(b.like(x) for _ in range(b.between(0, 2))))]


def _resized(b: StepBuilder, x: Value) -> Sequence[Value]:
    widths = [(0, 0) if size == BATCH else (b.between(0, 2), b.between(0, 2)) for size in x.type.shape]
    number = b.pick([0.0, 0.0, 0.5])
    return [b.emit(b.pick([ops.Pad(tuple(widths), number), ops.Crop(tuple(widths))]), x)]


def _taken(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Take places along an axis: backwards, with steps, one several times; or read between them."""
    axes = [axis for axis, size in enumerate(x.type.shape) if size != BATCH]
    if not axes:
        return []
    axis = b.pick(axes)
    size = x.type.static(axis)
    if b.chance():
        return [b.emit(ops.Interpolate(axis, b.between(1, 9), align_corners=b.chance()), x)]
    every, last = b.between(1, 3), b.between(1, size)
    runs = [(0, size, 1), (last - 1, last, -1), (0, -(-size // every), every), (last - 1, b.between(1, 3), 0)]
    return [b.emit(ops.Take(axis, tuple(b.pick(runs) for _ in range(b.between(1, 3)))), x)]


def _rotated(b: StepBuilder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.Rot180(b.axes(x.type.rank)), x)]


def _resampled(b: StepBuilder, x: Value) -> Sequence[Value]:
    return [b.emit(b.pick([ops.Subsample, ops.ZeroInsert])(b.pair(2)), x)]


def _dense(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Multiply matrices: with parameters, or a value with the transpose of another."""
    if x.type.rank < 2:
        return []
    if x.type.rank > 2:
        turned = b.emit(ops.Transpose.of_matrices(x.type.rank), b.like(x))
        if BATCH in x.type.shape[-2:-1] or (BATCH not in x.type.shape[-1:] and b.chance()):
            return [b.bounded(b.emit(ops.Matmul(), turned, x))]
        return [b.bounded(b.emit(ops.Matmul(), x, turned))]
    if b.chance() and BATCH not in x.type.shape[1:]:
        w = b.parameter((x.type.static(1), b.pick(b.sizes)), x.type.dtype)
        return [b.bounded(b.emit(ops.Matmul(), x, w))]
    turned = b.emit(ops.Transpose((1, 0)), b.like(x))
    if x.type.shape[0] == BATCH:
        return [b.bounded(b.emit(ops.Matmul(), turned, x))]
    return [b.bounded(b.emit(ops.Matmul(), x, turned))]


def _convolved(b: StepBuilder, x: Value) -> Sequence[Value]:
    if x.type.rank != MOST_RANK or x.type.shape[0] != BATCH:
        return []
    channels = x.type.static(3)
    groups = b.pick([n for n in (1, 1, 2, 3, channels) if channels % n == 0])
    filters = groups * b.between(1, 9)
    kind = b.pick([ops.Correlate2d, ops.Correlate2d, ops.Convolve2d])
    op = kind(b.pair(2), (b.margins(), b.margins()), b.pair(2), groups)
    w = b.parameter((*b.pair(3), channels // groups, filters), x.type.dtype)
    result = b.emit(op, x, w)
    bias = b.broadcast(b.parameter((filters,), x.type.dtype), result)
    return [b.bounded(b.emit(ops.Add(), result, bias))]


def _convolved_and_pooled(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Correlate as most networks do, and pool the maps, mostly by windows that tile them.

    Now and then something else reads the maps, or samples differ in what is done to them before.
    """
    if x.type.rank != MOST_RANK or x.type.shape[0] != BATCH or b.chance():
        x = b.numbers(TensorType((BATCH, b.between(4, 9), b.between(4, 9), b.between(1, 4)), b.dtype))
    size, filters = (b.between(2, 4), b.between(2, 4)), b.between(1, 6)
    margins = (b.between(0, size[0] - 1), b.between(0, size[0] - 1)), (b.between(0, size[1] - 1), 0)
    w = b.parameter((*size, x.type.static(3), filters), x.type.dtype)
    maps = b.emit(ops.Correlate2d(padding=margins), b.untied(x), w)
    maps = b.emit(ops.Add(), maps, b.broadcast(b.parameter((filters,), x.type.dtype), maps))
    maps = b.untied(maps) if b.between(0, 3) == 0 else maps
    maps = b.emit(b.pick([ops.Relu(), ops.Tanh()]), maps) if b.chance() else maps
    window = b.pair(3)
    stride = b.pair(3) if b.between(0, 3) == 0 else window
    kind = b.pick([ops.MaxPool2d, ops.MaxPool2d, ops.AveragePool2d, ops.SumPool2d, ops.L2Pool2d])
    pooled = b.emit(kind(window, stride), maps)
    result = b.bounded(pooled if b.between(0, 3) == 0 else b.emit(ops.Mean((1, 2)), pooled))
    return [b.bounded(maps), result] if b.between(0, 3) == 0 else [result]


def _filtered_by_data(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Correlate with what was computed from data: over the batch, or with filters that have none."""
    windows = [y for y in b.values if y.type.rank == MOST_RANK and y.type.dtype == x.type.dtype]
    if x.type.rank != MOST_RANK or not windows:
        return []
    op = ops.Correlate2d(b.pair(2), (b.margins(), b.margins()), sum_over=b.pick(["channels", "batch"]))
    return [b.bounded(b.emit(op, x, b.pick(windows)))]


def _pooled(b: StepBuilder, x: Value) -> Sequence[Value]:
    size = b.pair(3)
    padding = tuple((b.between(0, side - 1), b.between(0, side - 1)) for side in size)
    kind = b.pick([ops.MaxPool2d, ops.AveragePool2d, ops.SumPool2d, ops.L2Pool2d])
    return [b.bounded(b.emit(kind(size, b.pair(3), padding), b.untied(x)))]


def _cast(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Change the precision, or go through whole numbers and back, far from where they change."""
    if b.chance():
        return [b.emit(ops.Cast(b.pick(["float32", "float64"])), x)]
    steep = b.emit(ops.Multiply(), b.untied(x), b.constant(3.0, x))
    whole = b.emit(ops.Cast(b.pick(["int32", "int64"])), steep)
    return [b.emit(ops.Cast(b.dtype), whole)]


def _counted(b: StepBuilder, x: Value) -> Sequence[Value]:
    share = b.emit(ops.Power(-1.0), b.emit(ops.Count(b.axes(x.type.rank)), x))
    return [b.emit(ops.Multiply(), x, share), share]


def _augmented(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Apply a layer that draws: for samples by their keys, for all else by a counter of steps."""
    return [b.build.apply(b.pick(DRAWING)(b), [x], Origin())]


DRAWING: Final[tuple[Callable[[StepBuilder], layers.Layer], ...]] = (
    lambda b: layers.Dropout(0.5),
    lambda b: layers.Dropout2d(0.25),
    lambda b: layers.StochasticDepth(0.5),
    lambda b: layers.GaussianNoise(0.5),
    lambda b: layers.RandomFlip("horizontal_and_vertical"),
    lambda b: layers.RandomFlip("vertical", alternating=True),
    lambda b: layers.RandomCrop(padding=b.pair(3), value=0.5),
    lambda b: layers.RandomCrop(b.pair(3), padding_mode=b.pick(["constant", "edge"])),
    lambda b: layers.Cutout(b.pair(4), rate=0.5),
    lambda b: layers.RandomErasing(0.75),
    lambda b: layers.RandomAffine(degrees=30, translate=0.25, scale=(0.75, 1.5)),
    lambda b: layers.ColorJitter(0.5, 0.5, 0.5),
    lambda b: layers.Mixup(b.pick([0.25, 1.0]), rate=0.75),
    lambda b: layers.CutMix(),
)


def _moved(b: StepBuilder, x: Value) -> Sequence[Value]:
    """Move the pixels of each sample, by numbers that are given or flags that are computed."""
    if x.type.shape[:1] != (BATCH,) or x.type.rank < 2 or BATCH in x.type.shape[1:]:
        return []
    if x.type.rank != MOST_RANK or b.between(0, 3) == 0:
        of_samples = b.emit(ops.Mean(tuple(range(1, x.type.rank))), b.untied(x))
        flags = b.emit(ops.Greater(), of_samples, b.constant(0.0, of_samples))
        return [b.emit(ops.FlipSamples(b.between(1, x.type.rank - 1)), x, flags)]
    rows, columns = (b.whole(-size, size) for size in (x.type.static(1), x.type.static(2)))
    kind = b.between(0, 3)
    if kind == 0:
        return [b.emit(ops.CropSamples(b.pair(9), b.pick((0.0, -0.5))), x, rows, columns)]
    if kind == 1:
        return [b.emit(ops.PasteSamples(b.pair(9)), x, rows, columns)]
    if kind == 2:
        return [
            b.emit(ops.EraseSamples(b.pick((0.0, 0.5))), x, rows, columns, b.whole(-1, 5), b.whole(-1, 5))
        ]
    maps = [b.map_numbers(each) for each in (1.0, 0.25, 2.0, -0.25, 1.0, 2.0)]
    return [b.emit(b.pick([ops.WarpSamples(), ops.WarpSamplesTransposed()]), x, *maps)]


def _labelled(b: StepBuilder, x: Value) -> Sequence[Value]:
    if x.type.rank != 2:
        return []
    best = b.emit(ops.ArgMax(1), b.untied(x))
    return [b.emit(ops.OneHot(x.type.static(1), x.type.dtype), best)]


GROWTH: Final[tuple[Grow, ...]] = (
    *(_pointwise, _pointwise, _paired, _paired, _divided, _selected, parameter, parameter, parameter),
    *(_reduced, _reduced, _greatest, _normalized, _normalized, _normalized, _standardized, _scalar, _scalar),
    *(_spread, _spread, _transposed, _reshaped, _joined, _resized, _taken, _rotated, _resampled),
    *(_dense, _dense, _convolved, _convolved, _convolved, _filtered_by_data, _pooled, _pooled),
    *(_convolved_and_pooled, _convolved_and_pooled, _convolved_and_pooled, _convolved_and_pooled),
    *(_softmax, _cast, _cast, _counted, _labelled, _stopped, _rounded),
    *(_augmented, _augmented, _augmented, _moved),
)
