"""Random training steps: graphs that no network was written for, to find what a backend cannot compile.

A step computes some tensors from data and parameters, a loss from several of them, its gradients, and the
updates of all its state. Values are shared, reduced over any axes with the batch among them, and used again
as scalars and vectors, linearly and not: norms, normalisation, clipping by a global norm. Element types are
mixed.

What is computed stays of size 1, and what decides something (the sign of a relu's operand, a pool's winner)
is never a tie: rounding changes the results by little, so that two backends can be compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.errors import GraphcnnError, ShapeError
from graphcnn.ir import BATCH, Dim, DType, Emitter, Op, TensorType, Value
from graphcnn.testing.case import Case
from graphcnn.transform import differentiate, simplify

BATCHES: Final = (1, 2, 3, 8, 15, 16, 17, 33)
SIZES: Final = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33)
MOST_ELEMENTS: Final = 20_000
"""Of any tensor at the batch size of the case, so that one case takes milliseconds."""
MOST_RANK: Final = 4


def random_step(seed: int, *, allowed: Collection[type[Op]] | None = None) -> Case:
    """Return a random training step with inputs for it; the same for the same seed.

    allowed: the ops that the graph may hold, such as a backend's `ops`; by default all.
    """
    for attempt in itertools.count():
        builder = _Builder(f"random step {seed}", [seed, attempt])
        case = builder.finish(simplified=bool(builder.random.integers(2)))
        if allowed is None or {type(node.op) for _, node in case.graph.items()} <= set(allowed):
            return case
        if attempt == TRIES:
            raise ValueError(f"no random step of these {len(allowed)} ops was found in {TRIES} attempts")
    raise AssertionError("unreachable")


TRIES: Final = 500

Grow: TypeAlias = "Callable[[_Builder, Value], Sequence[Value]]"


class _Builder:
    """A step under construction. `values` are what further nodes may use."""

    def __init__(self, name: str, seed: Sequence[int]) -> None:
        self.random = np.random.default_rng(seed)
        self.case = Case(name)
        self.emit = Emitter(self.case.graph)
        self.batch: int = self.pick(BATCHES)
        self.dtype: DType = self.pick(("float64", "float64", "float32"))
        self.sizes = [self.pick(SIZES) for _ in range(2)]
        self.values: list[Value] = []
        for _ in range(self.between(1, 2)):
            x = self.data()
            self.values += [x, *_parameter(self, x)]
        for _ in range(self.between(3, 16)):
            self.grow()

    # Choices

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def between(self, least: int, most: int) -> int:
        return int(self.random.integers(least, most + 1))

    def chance(self) -> bool:
        return bool(self.random.integers(2))

    def axes(self, rank: int) -> tuple[int, ...]:
        return tuple(axis for axis in range(rank) if self.chance())

    def pair(self, most: int) -> tuple[int, int]:
        return self.between(1, most), self.between(1, most)

    def margins(self) -> tuple[int, int]:
        return self.between(0, 2), self.between(0, 2)

    def like(self, x: Value) -> Value:
        """Return a value of the same type, often another one."""
        found: Value = self.pick([y for y in self.values if y.type == x.type] or [x])
        return found

    # Inputs

    def numbers(self, type: TensorType, *, state: bool = False, scale: float = 1.0) -> Value:
        """Append an input of this type, filled with random numbers."""
        array = scale * self.random.standard_normal(type.concrete(self.batch))
        return self.input(type, np.asarray(array, type.dtype), state=state)

    def input(self, type: TensorType, array: Array, *, state: bool = False) -> Value:
        label = f"{'state' if state else 'input'}{len(self.case.inputs)}"
        self.case.inputs[label] = array
        return self.case.graph.input(label, type, role="state" if state else "data")

    def data(self) -> Value:
        rank: int = self.pick((1, 2, 2, 3, MOST_RANK, MOST_RANK, MOST_RANK))
        sizes = [self.pick(self.sizes) for _ in range(rank - 1)]
        while self.batch * math.prod(sizes) > MOST_ELEMENTS:
            sizes[sizes.index(max(sizes))] //= 2
        return self.numbers(TensorType((BATCH, *sizes), self.dtype))

    def parameter(self, shape: tuple[Dim, ...], dtype: DType) -> Value:
        type = TensorType(shape, dtype)
        depth = type.elements(1) / type.static(type.rank - 1) if shape else 1
        return self.numbers(type, state=True, scale=1 / math.sqrt(depth))

    def fitting(self, type: TensorType) -> TensorType:
        """Return the type, or raise ShapeError where a tensor of it is large."""
        if type.elements(self.batch) > MOST_ELEMENTS:
            raise ShapeError(f"{type} is larger than a random graph needs")
        return type

    # Growth

    def grow(self) -> None:
        """Append a few nodes behind a value; where they do not fit together, none is used again."""
        grow: Grow = self.pick(GROWTH)
        x = self.pick(self.values[-4:] if self.chance() else self.values)
        try:
            new = grow(self, x)
        except GraphcnnError:
            return
        self.values += [value for value in new if value.type.elements(self.batch) <= MOST_ELEMENTS]

    def constant(self, number: float, like: Value) -> Value:
        return ops.constant(self.emit, number, like.type)

    def bounded(self, x: Value) -> Value:
        """Append a smooth function that keeps numbers of size 1."""
        smooth = [ops.Tanh(), ops.Tanh(), ops.Sigmoid(), ops.Sin(), ops.Cos(), ops.Erf()]
        return self.emit(self.pick(smooth), x)

    def untied(self, x: Value) -> Value:
        """Append a shift of each element by a number of its own, so that nothing decides by a tie."""
        return self.emit(ops.Add(), x, self.numbers(x.type))

    def broadcast(self, x: Value, like: Value) -> Value:
        if x.type.is_scalar or x.type.shape == like.type.shape:
            return x
        return self.emit(ops.Broadcast(self.fitting(like.type).shape), x)

    def nonlinear(self, x: Value) -> Value:
        """Append a positive function of any number that is no product with a constant."""
        emit, square = self.emit, self.emit(ops.Multiply(), x, x)
        kind = self.between(0, 4)
        if kind == 0:
            return emit(ops.Sqrt(), emit(ops.Add(), square, self.constant(0.1, x)))
        if kind == 1:
            return emit(ops.Power(-1.0), emit(ops.Add(), square, self.constant(1.0, x)))
        if kind == 2:
            return emit(ops.Exp(), emit(ops.Tanh(), x))
        if kind == 3:
            return emit(ops.Log(), emit(ops.Add(), square, self.constant(1.5, x)))
        return emit(ops.Add(), emit(ops.Tanh(), x), self.constant(1.5, x))

    # The step

    def finish(self, *, simplified: bool) -> Case:
        """Append loss, gradients and updates, and return the case."""
        graph = self.case.graph
        unread = [value for value in self.values[:-1] if not graph.users(value)]
        total = self.loss_of(self.values[-1])
        for value in unread:
            if self.chance():
                total = self.emit(ops.Add(), total, self.as_type(self.loss_of(value), total))
        graph.output("loss", total)
        for number in range(self.between(0, 3)):
            graph.output(f"output{number}", self.pick(self.values))
        states = {
            label: value
            for label, value in graph.inputs_with_role("state").items()
            if value.type.is_float and label not in graph.updates
        }
        step, gradients = differentiate(graph, total, states)
        self.case.graph, self.emit = step, Emitter(step)
        self.append_updates(states, gradients)
        if simplified:
            self.case.graph = simplify(step)
        return self.case

    def as_type(self, x: Value, like: Value) -> Value:
        return x if x.type.dtype == like.type.dtype else self.emit(ops.Cast(like.type.dtype), x)

    def loss_of(self, x: Value) -> Value:
        """Append a scalar of a value: a mean or a sum of squares, sometimes over the batch last."""
        emit, rank = self.emit, x.type.rank
        if rank == 2 and x.type.shape[0] == BATCH and self.chance():
            labels = self.random.integers(0, x.type.static(1), self.batch)
            target = self.input(TensorType((BATCH,), "int64"), labels)
            each = emit(ops.SoftmaxCrossEntropy(), x, target)
            return emit(ops.Mean((0,)), each)
        if rank and x.type.shape[0] == BATCH and self.chance():
            return emit(ops.Mean((0,)), emit(ops.SquaredError(), x, self.numbers(x.type)))
        kind: type[ops.Mean | ops.Sum] = self.pick([ops.Mean, ops.Mean, ops.Sum])
        total = emit(kind(tuple(range(rank))), emit(ops.Multiply(), x, x))
        if kind is ops.Sum:  # of thousands, a cosine would depend on the last bits
            total = emit(ops.Multiply(), self.constant(1 / x.type.elements(self.batch), total), total)
        return self.bounded(total)

    def append_updates(self, states: dict[str, Value], gradients: dict[str, Value]) -> None:
        """Append an update of every state: plain, with momentum, or by Adam; perhaps clipped by the norm."""
        emit, kind = self.emit, self.between(0, 2)
        scale = self.global_norm(list(gradients.values())) if self.chance() and gradients else None
        for label, state in states.items():
            direction = gradients[label]
            if scale is not None:
                direction = emit(ops.Multiply(), direction, self.as_type(scale, direction))
            if kind:
                velocity = self.numbers(state.type, state=True)
                name = list(self.case.graph.inputs)[-1]
                half = emit(ops.Multiply(), self.constant(0.5, velocity), velocity)
                direction = emit(ops.Add(), half, direction)
                self.case.graph.update(name, direction)
            if kind == 2:
                square = emit(ops.Multiply(), direction, direction)
                root = emit(ops.Sqrt(), emit(ops.Add(), square, self.constant(1.0, square)))
                direction = emit(ops.Divide(), direction, root)
            moved = emit(ops.Multiply(), self.constant(0.1, direction), direction)
            self.case.graph.update(label, emit(ops.Subtract(), state, moved))

    def global_norm(self, gradients: Sequence[Value]) -> Value:
        """Append 1 / sqrt(1 + the sum of all squares): what every update may be scaled by."""
        total: Value | None = None
        for gradient in gradients:
            square = self.emit(ops.Multiply(), gradient, gradient)
            part = self.emit(ops.Sum(tuple(range(gradient.type.rank))), square)
            total = part if total is None else self.emit(ops.Add(), total, self.as_type(part, total))
        assert total is not None
        return self.emit(ops.Power(-0.5), self.emit(ops.Add(), total, self.constant(1.0, total)))


# What may grow behind a value


def _pointwise(b: _Builder, x: Value) -> Sequence[Value]:
    if b.chance():
        return [b.bounded(x)]
    kinked = [ops.Relu(), ops.Relu(), ops.Abs(), ops.Elu(0.5), ops.Clip(-0.5, 1.0), ops.Softplus()]
    return [b.emit(b.pick(kinked), b.untied(x))]


def _paired(b: _Builder, x: Value) -> Sequence[Value]:
    scalars = [y for y in b.values if y.type == x.type.with_shape(())]
    y = b.pick(scalars) if scalars and b.chance() else b.like(x)
    op = b.pick([ops.Add(), ops.Subtract(), ops.Multiply()])
    return [b.bounded(b.emit(op, *((x, y) if b.chance() else (y, x))))]


def _divided(b: _Builder, x: Value) -> Sequence[Value]:
    return [b.bounded(b.emit(ops.Divide(), x, b.nonlinear(b.like(x))))]


def _selected(b: _Builder, x: Value) -> Sequence[Value]:
    y = b.like(x)
    condition = b.emit(b.pick([ops.Greater(), ops.GreaterEqual()]), b.untied(x), y)
    if b.chance():
        other = b.emit(ops.LogicalNot(), b.emit(ops.Greater(), b.untied(x), x))
        condition = b.emit(b.pick([ops.LogicalAnd(), ops.LogicalOr()]), condition, other)
    kept = b.emit(ops.Select(), condition, x, y)
    extreme = b.emit(b.pick([ops.Maximum(), ops.Minimum()]), b.untied(x), y)
    return [kept, extreme, b.emit(ops.Cast(b.dtype), condition)]


def _rounded(b: _Builder, x: Value) -> Sequence[Value]:
    """Round what no backend computes: of two numbers that are close, a rounding may make distant ones."""
    return [b.emit(ops.Multiply(), x, b.emit(ops.RoundBfloat16(), b.numbers(x.type)))]


def _stopped(b: _Builder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.StopGradient(), x)]


def _parameter(b: _Builder, x: Value) -> Sequence[Value]:
    """Multiply by a trained gain, or add one: of the whole shape, of the last axis, or a scalar."""
    shapes = [x.type.shape[-1:], x.type.shape[1:], ()]
    w = b.parameter(b.pick([s for s in shapes if BATCH not in s]), x.type.dtype)
    return [b.bounded(b.emit(b.pick([ops.Multiply(), ops.Add()]), x, b.broadcast(w, x)))]


def _reduced(b: _Builder, x: Value) -> Sequence[Value]:
    kind = b.pick([ops.Sum, ops.Mean, ops.Mean])
    return [b.bounded(b.emit(kind(b.axes(x.type.rank), keep=b.chance()), x))]


def _greatest(b: _Builder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.Max(b.axes(x.type.rank), keep=b.chance()), b.untied(x))]


def _normalized(b: _Builder, x: Value) -> Sequence[Value]:
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


def _standardized(b: _Builder, x: Value) -> Sequence[Value]:
    """Centre, and divide by the deviation: of the batch, of each sample, of a group of axes."""
    axes = b.axes(x.type.rank)
    mean = b.emit(ops.Mean(axes, keep=True), x)
    centred = b.emit(ops.Subtract(), x, b.broadcast(mean, x))
    op = ops.InverseDeviation(axes, keep=True, epsilon=b.pick((0.1, 0.5)))
    inverse, variance = b.emit.all(op, centred)
    return [b.emit(ops.Multiply(), centred, b.broadcast(inverse, x)), variance]


def _scalar(b: _Builder, x: Value) -> Sequence[Value]:
    """Make a scalar of the whole, and combine scalars that exist."""
    total = b.emit(ops.Mean(tuple(range(x.type.rank))), x)
    other = b.pick([y for y in b.values if y.type == total.type] or [total])
    op = b.pick([ops.Multiply(), ops.Add(), ops.Divide()])
    return [b.bounded(total), b.bounded(b.emit(op, b.nonlinear(total), b.nonlinear(other)))]


def _softmax(b: _Builder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.Exp(), b.emit(ops.LogSoftmax(), x))]


def _spread(b: _Builder, x: Value) -> Sequence[Value]:
    """Repeat along new axes in front and along axes of size 1."""
    shape: list[Dim] = [b.pick(b.sizes) if size == 1 else size for size in x.type.shape]
    for _ in range(b.between(0, MOST_RANK - len(shape))):
        shape.insert(0, b.pick(b.sizes) if BATCH in shape or b.chance() else BATCH)
    return [b.emit(ops.Broadcast(b.fitting(x.type.with_shape(tuple(shape))).shape), x)]


def _transposed(b: _Builder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.Transpose(tuple(map(int, b.random.permutation(x.type.rank)))), x)]


def _reshaped(b: _Builder, x: Value) -> Sequence[Value]:
    """Put an axis of size 1 somewhere, fold two axes, or exchange two without moving elements."""
    shape = list(x.type.shape)
    if len(shape) < MOST_RANK and b.chance():
        shape.insert(b.between(0, len(shape)), 1)
    elif len(shape) > 1 and BATCH not in shape[-2:]:
        shape[-2:] = [int(shape[-2]) * int(shape[-1])]
    else:
        shape = [shape[axis] for axis in b.random.permutation(len(shape))]
    return [b.emit(ops.Reshape(tuple(shape)), x)]


def _joined(b: _Builder, x: Value) -> Sequence[Value]:
    axis = b.between(0, max(0, x.type.rank - 1))
    return [b.emit(ops.Concatenate(axis), x, *(b.like(x) for _ in range(b.between(0, 2))))]


def _resized(b: _Builder, x: Value) -> Sequence[Value]:
    widths = [(0, 0) if size == BATCH else (b.between(0, 2), b.between(0, 2)) for size in x.type.shape]
    number = b.pick([0.0, 0.0, 0.5])
    return [b.emit(b.pick([ops.Pad(tuple(widths), number), ops.Crop(tuple(widths))]), x)]


def _taken(b: _Builder, x: Value) -> Sequence[Value]:
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


def _rotated(b: _Builder, x: Value) -> Sequence[Value]:
    return [b.emit(ops.Rot180(b.axes(x.type.rank)), x)]


def _resampled(b: _Builder, x: Value) -> Sequence[Value]:
    return [b.emit(b.pick([ops.Subsample, ops.ZeroInsert])(b.pair(2)), x)]


def _dense(b: _Builder, x: Value) -> Sequence[Value]:
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


def _convolved(b: _Builder, x: Value) -> Sequence[Value]:
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


def _convolved_and_pooled(b: _Builder, x: Value) -> Sequence[Value]:
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


def _filtered_by_data(b: _Builder, x: Value) -> Sequence[Value]:
    """Correlate with what was computed from data: over the batch, or with filters that have none."""
    windows = [y for y in b.values if y.type.rank == MOST_RANK and y.type.dtype == x.type.dtype]
    if x.type.rank != MOST_RANK or not windows:
        return []
    op = ops.Correlate2d(b.pair(2), (b.margins(), b.margins()), sum_over=b.pick(["channels", "batch"]))
    return [b.bounded(b.emit(op, x, b.pick(windows)))]


def _pooled(b: _Builder, x: Value) -> Sequence[Value]:
    size = b.pair(3)
    padding = tuple((b.between(0, side - 1), b.between(0, side - 1)) for side in size)
    kind = b.pick([ops.MaxPool2d, ops.AveragePool2d, ops.SumPool2d, ops.L2Pool2d])
    return [b.bounded(b.emit(kind(size, b.pair(3), padding), b.untied(x)))]


def _cast(b: _Builder, x: Value) -> Sequence[Value]:
    """Change the precision, or go through whole numbers and back, far from where they change."""
    if b.chance():
        return [b.emit(ops.Cast(b.pick(["float32", "float64"])), x)]
    steep = b.emit(ops.Multiply(), b.untied(x), b.constant(3.0, x))
    whole = b.emit(ops.Cast(b.pick(["int32", "int64"])), steep)
    return [b.emit(ops.Cast(b.dtype), whole)]


def _counted(b: _Builder, x: Value) -> Sequence[Value]:
    share = b.emit(ops.Power(-1.0), b.emit(ops.Count(b.axes(x.type.rank)), x))
    return [b.emit(ops.Multiply(), x, share), share]


def _dropped(b: _Builder, x: Value) -> Sequence[Value]:
    """Drop elements at random; the generator's state goes on."""
    state = b.input(ops.GENERATOR_STATE, b.random.integers(0, 2**62, 2), state=True)
    label = list(b.case.graph.inputs)[-1]
    uniform, following = b.emit.all(ops.RandomUniform(), state, x)
    b.case.graph.update(label, following)
    zero, half = b.constant(0.0, x), b.constant(0.5, x)
    return [b.emit(ops.Select(), b.emit(ops.Greater(), half, uniform), zero, x), uniform]


def _labelled(b: _Builder, x: Value) -> Sequence[Value]:
    if x.type.rank != 2:
        return []
    best = b.emit(ops.ArgMax(1), b.untied(x))
    return [b.emit(ops.OneHot(x.type.static(1), x.type.dtype), best)]


GROWTH: Final[tuple[Grow, ...]] = (
    *(_pointwise, _pointwise, _paired, _paired, _divided, _selected, _parameter, _parameter, _parameter),
    *(_reduced, _reduced, _greatest, _normalized, _normalized, _normalized, _standardized, _scalar, _scalar),
    *(_spread, _spread, _transposed, _reshaped, _joined, _resized, _taken, _rotated, _resampled),
    *(_dense, _dense, _convolved, _convolved, _convolved, _filtered_by_data, _pooled, _pooled),
    *(_convolved_and_pooled, _convolved_and_pooled, _convolved_and_pooled, _convolved_and_pooled),
    *(_softmax, _cast, _cast, _counted, _dropped, _labelled, _stopped, _rounded),
)
