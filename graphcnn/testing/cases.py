"""The cases of the conformance suite: small graphs, by name, with inputs and sometimes expected values.

Every op appears with every attribute, in float32 and float64, with sizes at which vector code and tiles
go wrong: batches of 1, 15, 16, 17 and 33, width 1, and 1 to 70 channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from graphcnn import ops
from graphcnn.ir import BATCH, Dim, DType, Emitter
from graphcnn.ops.attributes import NO_PADDING
from graphcnn.ops.convolution import Convolve2d, Correlate2d
from graphcnn.testing import naive
from graphcnn.testing.case import BATCHES, FLOAT_TYPES, Case, Fill, Named, unary, whole
from graphcnn.testing.matrix_cases import matrices
from graphcnn.testing.place_cases import places
from graphcnn.testing.pointwise_cases import pointwise
from graphcnn.testing.sample_cases import of_samples
from graphcnn.transform import differentiate, simplify

NAIVE_PRODUCTS = 30_000
"""Up to how many multiplications a case also has values from plain Python loops."""


def backend_cases() -> tuple[str, ...]:
    """Return the names of all cases that a backend is checked on."""
    return tuple(_table())


def build_case(name: str) -> Case:
    """Return a fresh case of this name. Raises KeyError where there is none."""
    case = Case(name)
    _table()[name](case)
    return case


@cache
def _table() -> Mapping[str, Fill]:
    table: dict[str, Fill] = {}
    families = (
        *(_convolutions, _pools, pointwise, _movements, places, _reductions, _products, matrices),
        *(_losses, of_samples, _networks),
    )
    for dtype in FLOAT_TYPES:
        for family in families:
            for name, fill in family(dtype):
                label = f"{name}, {dtype}"
                assert label not in table, label
                table[label] = fill
    table.update(_random_numbers())
    return table


# Convolution

SLIDING: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    **{f"batch {n}": ((n, 5, 4, 3), (3, 3, 3, 2), {}) for n in BATCHES},
    **{
        f"{c} to {d} channels": ((2, 4, 5, c), (3, 2, c, d), {})
        for c, d in (
            (1, 1),
            (1, 70),
            (70, 1),
            (3, 5),
            (7, 9),
            (8, 16),
            (15, 17),
            (16, 16),
            (33, 31),
            (70, 70),
        )
    },
    **{f"1x1, {c} to {d} channels": ((3, 4, 3, c), (1, 1, c, d), {}) for c, d in ((1, 1), (5, 33), (64, 7))},
    "3x3, many channels": ((5, 6, 9, 32), (3, 3, 32, 40), {}),
    "3x3, many channels, padded": ((3, 5, 6, 17), (3, 3, 17, 33), {"padding": ((1, 1), (2, 0))}),
    "width 1": ((2, 6, 1, 3), (3, 1, 3, 4), {}),
    "height 1": ((2, 1, 9, 2), (1, 4, 2, 3), {}),
    "one pixel": ((3, 1, 1, 5), (1, 1, 5, 3), {}),
    "kernel as large as the image": ((2, 5, 4, 3), (5, 4, 3, 6), {}),
    "wide rows": ((1, 3, 37, 2), (3, 3, 2, 3), {}),
    "even kernel": ((2, 5, 7, 2), (2, 4, 2, 3), {}),
    "even kernel, same": ((2, 5, 7, 2), (2, 4, 2, 3), {"padding": ((0, 1), (1, 2))}),
    "padding": ((2, 5, 4, 3), (3, 3, 3, 4), {"padding": ((1, 1), (1, 1))}),
    "uneven padding": ((2, 4, 5, 2), (3, 2, 2, 3), {"padding": ((2, 0), (0, 3))}),
    "padding wider than the kernel": ((1, 2, 2, 2), (2, 2, 2, 3), {"padding": ((3, 2), (0, 4))}),
    "stride": ((2, 7, 7, 3), (3, 3, 3, 4), {"stride": (2, 2)}),
    "stride with a remainder": ((2, 8, 9, 2), (3, 2, 2, 3), {"stride": (2, 3)}),
    "stride beyond the kernel": ((2, 8, 7, 2), (2, 1, 2, 3), {"stride": (3, 4)}),
    "dilation": ((2, 8, 7, 2), (3, 2, 2, 3), {"dilation": (2, 3)}),
    "2 groups": ((2, 5, 4, 4), (3, 2, 2, 6), {"groups": 2}),
    "depthwise": ((2, 5, 6, 9), (3, 3, 1, 9), {"groups": 9}),
    "depthwise, even kernel, same, stride": (
        (2, 6, 7, 3),
        (4, 2, 1, 3),
        {"groups": 3, "padding": ((1, 2), (0, 1)), "stride": (2, 2)},
    ),
    "padding, stride": ((2, 5, 6, 2), (3, 3, 2, 3), {"padding": ((1, 1), (1, 1)), "stride": (2, 2)}),
    "padding, dilation": ((2, 5, 6, 2), (3, 2, 2, 3), {"padding": ((2, 2), (1, 1)), "dilation": (2, 2)}),
    "groups, dilation": ((2, 7, 6, 4), (3, 2, 2, 6), {"groups": 2, "dilation": (2, 3)}),
    "groups, dilation, stride": (
        (2, 8, 9, 4),
        (3, 2, 2, 6),
        {"groups": 2, "dilation": (2, 3), "stride": (2, 2)},
    ),
    "depthwise, 2 filters a channel": ((2, 5, 4, 5), (3, 3, 1, 10), {"groups": 5}),
    "groups, stride": ((2, 7, 8, 6), (3, 2, 2, 9), {"groups": 3, "stride": (2, 2)}),
    "stride, dilation": ((2, 9, 8, 2), (2, 3, 2, 3), {"stride": (2, 3), "dilation": (3, 2)}),
    "everything": (
        (3, 9, 8, 4),
        (3, 2, 2, 6),
        {"stride": (2, 3), "padding": ((2, 1), (0, 3)), "dilation": (2, 3), "groups": 2},
    ),
}


def _convolutions(dtype: DType) -> Named:
    for kind in (Correlate2d, Convolve2d):
        for label, (images, filters, options) in SLIDING.items():
            yield f"{kind.name}: {label}", partial(_slide, kind(**options), dtype, images, filters)
            over_batch = kind(**options, sum_over="batch")
            deltas = (images[0], *filters[:2], filters[3])
            yield f"{kind.name} over the batch: {label}", partial(_slide, over_batch, dtype, images, deltas)
    for axes, shape in (((0, 1), (3, 2, 2, 5)), ((1, 2), (4, 3, 5, 2)), ((0,), (7,)), ((), (2, 3))):
        yield f"rot180: axes {axes}", partial(unary, ops.Rot180(axes), dtype, shape)


def _slide(
    op: Correlate2d | Convolve2d, dtype: DType, images: Sequence[int], window: Sequence[int], case: Case
) -> None:
    x = case.normal(dtype, *images, batch=True)
    w = case.normal(dtype, *window, batch=op.sum_over == "batch")
    (result,) = case.apply(op, x, w)
    if op.flops((x.type, w.type), (result.type,), images[0]) <= 2 * NAIVE_PRODUCTS:
        case.expect(naive.sliding_product(op, case.array(x), case.array(w)))


# Pooling

POOLS: dict[str, tuple[tuple[int, ...], tuple[Any, Any, Any]]] = {
    **{f"batch {n}": ((n, 4, 6, 3), ((2, 2), (2, 2), NO_PADDING)) for n in BATCHES},
    **{f"{c} channels": ((2, 4, 4, c), ((2, 2), (2, 2), NO_PADDING)) for c in (1, 7, 8, 17, 64, 70)},
    "overlapping": ((2, 6, 5, 3), ((3, 3), (1, 1), NO_PADDING)),
    "overlapping, stride 2": ((2, 7, 8, 2), ((3, 3), (2, 2), NO_PADDING)),
    "with a remainder": ((2, 7, 5, 2), ((2, 2), (2, 2), NO_PADDING)),
    "with gaps": ((2, 8, 7, 2), ((1, 2), (3, 3), NO_PADDING)),
    "padded": ((2, 6, 6, 3), ((3, 3), (2, 2), ((1, 1), (1, 1)))),
    "padded, overlapping by two": ((2, 4, 5, 1), ((3, 3), (1, 1), ((2, 0), (1, 2)))),
    "padded at the far end, as a ceiling does": ((2, 6, 7, 2), ((3, 2), (2, 2), ((0, 1), (0, 1)))),
    "unevenly padded": ((2, 5, 6, 2), ((3, 2), (2, 1), ((2, 0), (0, 1)))),
    "width 1": ((3, 6, 1, 2), ((2, 1), (2, 1), NO_PADDING)),
    "whole image": ((2, 4, 5, 3), ((4, 5), (1, 1), NO_PADDING)),
    "more than 256 units": ((1, 17, 17, 2), ((17, 16), (1, 1), NO_PADDING)),
}


def _pools(dtype: DType) -> Named:
    for label, (shape, window) in POOLS.items():
        yield f"pools: {label}", partial(_pool, dtype, shape, window)
        yield f"pooled back: {label}", partial(_pool_back, dtype, shape, window)
    window = ((2, 3), (1, 2), ((1, 0), (1, 1)))
    yield "pools: ties", partial(_pool, dtype, (2, 5, 7, 3), window, ties=True)


def _pool(dtype: DType, shape: Sequence[int], window: Any, case: Case, *, ties: bool = False) -> None:
    images = case.random.standard_normal(shape)
    x = case.input((np.round(images) if ties else images).astype(dtype), batch=True)
    for op in (ops.MaxPool2d, ops.SumPool2d, ops.AveragePool2d, ops.L2Pool2d):
        case.apply(op(*window), x)
    values = naive.pools(case.array(x), *window)
    case.expect(*(values[name] for name in ("max", "index", "sum", "average", "l2")))


def _pool_back(dtype: DType, shape: Sequence[int], window: Any, case: Case) -> None:
    size, stride, padding = window
    x = case.normal(dtype, *shape, batch=True)
    _, index = case.graph.add_all(ops.MaxPool2d(*window), x)
    pooled = ops.MaxPool2d(*window).pooled(x.type).concrete(shape[0])
    delta = case.normal(dtype, *pooled, batch=True)
    case.apply(ops.RouteToWinner2d(size, stride, padding, x.type.shape), delta, index)
    case.apply(ops.GatherWinner2d(*window), case.normal(dtype, *shape, batch=True), index)
    case.apply(ops.SpreadToBlock2d(size, stride, padding, x.type.shape), delta)


# Moving elements


def _movements(dtype: DType) -> Named:
    images = (3, 4, 5, 2)
    for factors in ((1, 1), (2, 2), (3, 1), (2, 5), (7, 7)):
        yield f"zero_insert: {factors}", partial(unary, ops.ZeroInsert(factors), dtype, images)
        yield f"subsample: {factors}", partial(unary, ops.Subsample(factors), dtype, images)
    widths = (((0, 0), (1, 2), (0, 1), (0, 0)), ((0, 0), (0, 0), (2, 0), (1, 0)), ((0, 0),) * 4)
    for each in widths:
        yield f"pad: {each}", partial(unary, ops.Pad(each), dtype, images)
        yield f"crop: {each}", partial(unary, ops.Crop(each), dtype, images)
    for permutation in ((0, 1, 2, 3), (0, 3, 1, 2), (1, 2, 3, 0), (3, 2, 1, 0)):
        yield f"transpose: {permutation}", partial(unary, ops.Transpose(permutation), dtype, (17, 3, 1, 7))
    yield "transpose: a vector", partial(unary, ops.Transpose((0,)), dtype, (7,))
    for shape in ((BATCH, 40), (BATCH, 2, 4, 5), (BATCH, 40, 1), (BATCH, 4, 5, 2)):
        yield f"reshape: {list(shape)}", partial(unary, ops.Reshape(shape), dtype, images)
    yield "reshape: a scalar", partial(unary, ops.Reshape(()), dtype, (1,))
    spread: list[tuple[tuple[int, ...], tuple[Dim, ...]]] = [
        ((), (3, 2)), ((5,), (2, 3, 5)), ((1, 5), (4, 5)), ((3, 1), (3, 4)), ((1,), (1,)),
    ]  # fmt: skip
    for before, after in spread:
        yield f"broadcast: {list(before)} to {list(after)}", partial(_broadcast, dtype, before, after)
    yield "broadcast: to the batch", _broadcast_to_batch(dtype)
    for count, axis in ((1, 1), (2, 3), (3, 1), (4, 2)):
        yield f"concatenate: {count} along axis {axis}", partial(_concatenate, dtype, count, axis)
    for other in ("float32", "float64", "int32", "int64", "uint8", "bool"):
        yield f"cast: to {other}", partial(_cast, dtype, other)


def _broadcast(dtype: DType, before: Sequence[int], after: tuple[Dim, ...], case: Case) -> None:
    case.apply(ops.Broadcast(after), case.normal(dtype, *before))


def _broadcast_to_batch(dtype: DType) -> Fill:
    def fill(case: Case) -> None:
        images = case.normal(dtype, 17, 3, 2, 4, batch=True)
        bias = case.normal(dtype, 4)
        case.apply(ops.Add(), images, case.graph.add(ops.Broadcast(images.type.shape), bias))
        case.apply(ops.Broadcast((BATCH, 3)), case.normal(dtype))

    return fill


def _concatenate(dtype: DType, count: int, axis: int, case: Case) -> None:
    parts = []
    for number in range(count):
        shape = [15, 3, 4, 2]
        shape[axis] = 1 + 2 * number
        parts.append(case.normal(dtype, *shape, batch=True))
    case.apply(ops.Concatenate(axis), *parts)


def _cast(dtype: DType, other: DType, case: Case) -> None:
    x = whole(case, dtype, (5, 7))
    square = case.graph.add(ops.Multiply(), x, x)
    case.apply(ops.Cast(other), square)
    case.apply(ops.Cast(dtype), case.graph.add(ops.Cast(other), square))


# Folding axes


def _reductions(dtype: DType) -> Named:
    shape = (15, 3, 4, 7)
    for axes in ((), (0,), (3,), (1, 2), (0, 1, 2), (0, 3), (0, 1, 2, 3)):
        for keep in (False, True):
            for op in (
                *(ops.Sum(axes, keep), ops.Mean(axes, keep), ops.Max(axes, keep)),
                ops.InverseDeviation(axes, keep, 0.5),
            ):
                name = f"{op.name}: axes {list(axes)}{', kept' if keep else ''}"
                yield name, partial(unary, op, dtype, shape)
        yield f"count: axes {list(axes)}", partial(unary, ops.Count(axes), dtype, shape)
    yield "inverse_deviation: no epsilon", partial(unary, ops.InverseDeviation((1, 2)), dtype, shape)
    for n in BATCHES:
        yield f"sum: batch {n}", partial(unary, ops.Sum((0,)), dtype, (n, 70))
    parameters: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((3, 5, 33), (2,)), ((70, 33), (0,)), ((2, 3, 1, 70), (1, 3)), ((17,), (0,)),
    ]  # fmt: skip
    for sizes, folded in parameters:
        yield f"max: axes {list(folded)} of {list(sizes)}", partial(_max, dtype, sizes, folded)
    yield "sum: many elements", partial(unary, ops.Sum((0, 1)), dtype, (33, 1000))
    for axis in (1, 2, 3):
        yield f"argmax: axis {axis}", partial(_argmax, dtype, axis)


def _max(dtype: DType, shape: Sequence[int], axes: tuple[int, ...], case: Case) -> None:
    """The greatest of a parameter's elements: no axis is the batch."""
    x = case.normal(dtype, *shape)
    case.apply(ops.Max(axes), x)
    case.apply(ops.Max(axes, keep=True), x)
    case.expect(case.array(x).max(axes), case.array(x).max(axes, keepdims=True))


def _argmax(dtype: DType, axis: int, case: Case) -> None:
    case.apply(ops.ArgMax(axis), whole(case, dtype, (5, 3, 4, 7)))


# Matrix products


def _products(dtype: DType) -> Named:
    for n in BATCHES:
        yield f"matmul: batch {n}", partial(_matmul, dtype, n, 7, 5)
    for k, d in ((1, 1), (1, 70), (70, 1), (33, 17), (64, 64), (70, 70)):
        yield f"matmul: {k} by {d}", partial(_matmul, dtype, 3, k, d)
    for n in BATCHES:
        yield f"matmul: over a batch of {n}", partial(_matmul_over_batch, dtype, n)
    yield "matmul: of transposes", partial(_matmul_of_transposes, dtype)


def _matmul(dtype: DType, n: int, k: int, d: int, case: Case) -> None:
    x, w = case.normal(dtype, n, k, batch=True), case.normal(dtype, k, d)
    case.apply(ops.Matmul(), x, w)
    case.expect(naive.matmul(case.array(x), case.array(w)))


def _matmul_over_batch(dtype: DType, n: int, case: Case) -> None:
    x, y = case.normal(dtype, n, 17, batch=True), case.normal(dtype, n, 9, batch=True)
    case.apply(ops.Matmul(), case.graph.add(ops.Transpose((1, 0)), x), y)
    case.expect(naive.matmul(case.array(x).T, case.array(y)))


def _matmul_of_transposes(dtype: DType, case: Case) -> None:
    x, w = case.normal(dtype, 17, 5, batch=True), case.normal(dtype, 7, 5)
    case.apply(ops.Matmul(), x, case.graph.add(ops.Transpose((1, 0)), w))


# Losses


def _losses(dtype: DType) -> Named:
    for n in BATCHES:
        yield f"log_softmax: batch {n}", partial(unary, ops.LogSoftmax(), dtype, (n, 10))
        yield f"softmax_cross_entropy: batch {n}", partial(_cross_entropy, dtype, n, 10, 1.0, "int64")
    for classes in (1, 2, 33, 70):
        yield (
            f"softmax_cross_entropy: {classes} classes",
            partial(_cross_entropy, dtype, 4, classes, 1.0, "int32"),
        )
    yield "softmax_cross_entropy: large logits", partial(_cross_entropy, dtype, 5, 10, 200.0, "int64")
    yield "log_softmax: four axes", partial(unary, ops.LogSoftmax(), dtype, (2, 3, 1, 5))
    for shape in ((1, 1), (15, 7), (3, 4, 5, 2), (33,)):
        yield f"squared_error: {list(shape)}", partial(_squared_error, dtype, shape)
    for labels in ("int32", "int64"):
        yield f"one_hot: {labels}", partial(_one_hot, dtype, labels)


def _cross_entropy(dtype: DType, n: int, classes: int, scale: float, labels: str, case: Case) -> None:
    logits = case.input((scale * case.random.standard_normal((n, classes))).astype(dtype), batch=True)
    targets = case.input(case.random.integers(0, classes, n).astype(labels), batch=True)
    case.apply(ops.SoftmaxCrossEntropy(), logits, targets)
    case.expect(naive.softmax_cross_entropy(case.array(logits), case.array(targets)))


def _squared_error(dtype: DType, shape: Sequence[int], case: Case) -> None:
    y, t = case.normal(dtype, *shape, batch=True), case.normal(dtype, *shape, batch=True)
    case.apply(ops.SquaredError(), y, t)
    difference = case.array(t).astype(np.float64) - case.array(y)
    case.expect(0.5 * np.square(difference).reshape(shape[0], -1).sum(1))


def _one_hot(dtype: DType, labels: str, case: Case) -> None:
    targets = np.array([3, 0, 2, 3], labels)
    case.apply(ops.OneHot(4, dtype), case.input(targets, batch=True))
    case.expect(np.eye(4)[targets])


# Random numbers


def _random_numbers() -> Named:
    for dtype in FLOAT_TYPES:
        for seed, counter in ((0, 0), (1, 2**40), (2**62 + 5, 7), (-1, 1)):
            for shape in ((1, 1), (15, 7), (33, 3, 2)):
                for op in (ops.RandomUniform(), ops.RandomNormal()):
                    name = f"{op.name}: seed {seed}, draw {counter}, {list(shape)}, {dtype}"
                    yield name, partial(_drawn, dtype, op, seed, counter, shape)


def _drawn(
    dtype: DType, op: ops.RandomNumbers, seed: int, counter: int, shape: Sequence[int], case: Case
) -> None:
    state = case.input(np.array([seed, counter], np.int64), state=True)
    like = case.normal(dtype, *shape, batch=True)
    numbers, following = case.graph.add_all(op, state, like)
    case.graph.output("numbers", numbers)
    case.graph.update("input0", following)


# Whole graphs


def _networks(dtype: DType) -> Named:
    for n in BATCHES:
        yield f"training step: batch {n}", partial(_training_step, dtype, n, simplified=False)
        yield f"training step, simplified: batch {n}", partial(_training_step, dtype, n, simplified=True)
    for n in (1, 17):
        yield f"all_reduce, all_gather, broadcast_from, keep_on: batch {n}", partial(_of_ranks, dtype, n)
    yield "views of an input", partial(_views, dtype)
    yield "one value under two names", partial(_two_names, dtype)


def _of_ranks(dtype: DType, n: int, case: Case) -> None:
    """What ranks tell one another: of one process, it is what each has."""
    x = case.normal(dtype, n, 5, batch=True)
    add = case.graph.add
    case.apply(ops.AllReduce(), add(ops.Sum((0,)), x))
    case.apply(ops.Rot180((0,)), add(ops.AllGather(), x))
    w = case.normal(dtype, 2, 3)
    case.apply(ops.Negate(), add(ops.BroadcastFrom(n), add(ops.KeepOn(n // 2), w)))
    case.expect(case.array(x).astype(np.float64).sum(0), case.array(x)[::-1], -case.array(w))


def _views(dtype: DType, case: Case) -> None:
    """Outputs that a careless backend hands out as views of its inputs."""
    x = case.normal(dtype, 3, 4, 5, 2, batch=True)
    case.graph.output("itself", x)
    for op in (
        ops.Reshape((BATCH, 40)),
        ops.Transpose((0, 2, 1, 3)),
        ops.Crop(((0, 0), (1, 0), (0, 1), (0, 0))),
        ops.Subsample((2, 2)),
        ops.Rot180((1, 2)),
        ops.Cast(dtype),
    ):
        case.apply(op, x)


def _two_names(dtype: DType, case: Case) -> None:
    x = case.normal(dtype, 5, 3, batch=True)
    square = case.graph.add(ops.Multiply(), x, x)
    case.graph.output("first", square)
    case.graph.output("second", square)


def _training_step(dtype: DType, n: int, case: Case, *, simplified: bool) -> None:
    """One step of gradient descent with momentum on a network with every kind of layer."""
    graph, emit = case.graph, Emitter(case.graph)
    x = case.normal(dtype, n, 9, 8, 2, batch=True)
    labels = case.input(case.random.integers(0, 3, n), batch=True)
    filters = case.normal(dtype, 3, 2, 1, 4, state=True)
    bias = case.normal(dtype, 4, state=True)
    weights = case.normal(dtype, 16, 3, state=True)
    rate = case.input(np.array(0.05, dtype))
    correlate = Correlate2d(stride=(2, 1), padding=((1, 0), (1, 1)), groups=2)
    h = emit(correlate, x, filters)  # [N, 4, 9, 4]
    h = emit(ops.Tanh(), emit(ops.Add(), h, emit(ops.Broadcast(h.type.shape), bias)))
    h, _ = emit.all(ops.MaxPool2d((2, 2), (1, 2), ((1, 0), (0, 0))), h)  # [N, 4, 4, 4]
    h = emit(ops.AveragePool2d((2, 3), (2, 2), ((0, 0), (1, 0))), h)  # [N, 2, 2, 4]
    flat = emit(ops.Reshape((BATCH, 16)), h)
    each = emit(ops.SoftmaxCrossEntropy(), emit(ops.Matmul(), flat, weights), labels)
    graph.output("loss", emit(ops.Mean((0,)), each))
    parameters = {label: graph.inputs[label] for label in ("input2", "input3", "input4")}
    step, gradients = differentiate(graph, graph.outputs["loss"], parameters)
    emit = Emitter(step)
    for label, gradient in gradients.items():
        array = np.asarray(case.random.standard_normal(gradient.type.concrete(n)), dtype)
        case.inputs[f"velocity of {label}"] = array
        velocity = step.input(f"velocity of {label}", gradient.type, role="state")
        momentum = ops.constant(emit, 0.9, velocity.type)
        faster = emit(ops.Add(), emit(ops.Multiply(), momentum, velocity), gradient)
        change = emit(ops.Multiply(), rate, faster)
        step.update(label, emit(ops.Subtract(), parameters[label], change))
        step.update(f"velocity of {label}", faster)
    case.graph = simplify(step) if simplified else step
