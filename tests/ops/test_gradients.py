"""Every op's gradient rule agrees with central differences, to second order where the op is smooth."""

from pathlib import Path

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import evaluate
from graphcnn.ir import Graph, TensorType
from graphcnn.ops import Convolve2d, Correlate2d
from graphcnn.scalar import ScalarFunction
from graphcnn.testing import check_gradients
from graphcnn.transform import gradient

UNEVEN = ((2, 0), (1, 3))
SLIDING = {
    "plain": ((2, 5, 4, 2), (3, 2, 2, 3), {}),
    "one pixel": ((2, 1, 1, 2), (1, 1, 2, 2), {}),
    "kernel as large as the image": ((2, 3, 4, 1), (3, 4, 1, 2), {}),
    "even kernel": ((1, 5, 6, 2), (2, 4, 2, 1), {"padding": ((0, 1), (1, 2))}),
    "padding": ((2, 4, 3, 1), (3, 3, 1, 2), {"padding": ((1, 1), (1, 1))}),
    "uneven padding": ((1, 4, 3, 2), (3, 2, 2, 2), {"padding": UNEVEN}),
    "stride": ((2, 7, 5, 1), (3, 3, 1, 2), {"stride": (2, 2)}),
    "stride with a remainder": ((2, 8, 7, 1), (3, 2, 1, 2), {"stride": (2, 3)}),
    "stride with a padded remainder": ((1, 6, 7, 1), (3, 2, 1, 2), {"stride": (3, 4), "padding": UNEVEN}),
    "stride beyond the kernel": ((1, 8, 7, 1), (1, 2, 1, 2), {"stride": (3, 4)}),
    "dilation": ((1, 7, 8, 2), (3, 2, 2, 2), {"dilation": (2, 3)}),
    "dilation and stride": ((1, 9, 8, 1), (2, 3, 1, 2), {"dilation": (3, 2), "stride": (2, 3)}),
    "groups": ((2, 4, 4, 4), (2, 3, 2, 6), {"groups": 2}),
    "depthwise": ((2, 4, 5, 3), (3, 2, 1, 6), {"groups": 3, "padding": ((1, 0), (0, 1))}),
    "groups and stride": ((1, 6, 7, 4), (3, 2, 2, 2), {"groups": 2, "stride": (2, 2)}),
    "everything": (
        (2, 9, 8, 4),
        (3, 2, 2, 4),
        {"stride": (2, 3), "padding": UNEVEN, "dilation": (2, 3), "groups": 2},
    ),
}


class Problem:
    """A graph with random float64 inputs."""

    def __init__(self, seed=0):
        self.graph, self.arrays = Graph("problem"), {}
        self.random = np.random.default_rng(seed)

    def input(self, *shape, array=None, batch=True, positive=False):
        label = f"x{len(self.arrays)}"
        if array is None:
            array = self.random.standard_normal(shape)
        array = np.asarray(np.abs(array) + 0.5 if positive else array)
        self.arrays[label] = array
        has_batch = batch and array.ndim > (0 if array.dtype.kind in "ib" else 1)
        sizes = ("N", *array.shape[1:]) if has_batch else array.shape
        return self.graph.input(label, TensorType(sizes, array.dtype.name))

    def check(self, op, *operands, order=2, result=0):
        value = self.graph.add_all(op, *operands)[result]
        wrt = [label for label, array in self.arrays.items() if array.dtype == np.float64]
        check_gradients(self.graph, value, wrt, self.arrays, order=order)


@pytest.mark.parametrize("sum_over", ["channels", "batch"])
@pytest.mark.parametrize("kind", [Correlate2d, Convolve2d])
@pytest.mark.parametrize("case", SLIDING)
def test_convolutions_to_second_order(case, kind, sum_over):
    images, filters, options = SLIDING[case]
    problem = Problem()
    x = problem.input(*images)
    if sum_over == "batch":
        w = problem.input(images[0], *filters[:2], filters[3])
    else:
        w = problem.input(*filters, batch=False)
    problem.check(kind(**options, sum_over=sum_over), x, w)


@pytest.mark.parametrize("kind", [Correlate2d, Convolve2d])
@pytest.mark.parametrize("seed", range(12))
def test_random_convolutions(kind, seed):
    rng = np.random.default_rng(seed)
    kernel, stride, dilation = (tuple(map(int, rng.integers(1, 4, 2))) for _ in range(3))
    padding = tuple(tuple(map(int, rng.integers(0, 3, 2))) for _ in range(2))
    groups = int(rng.integers(1, 4))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    height, width = (
        max(1, r - sum(p)) + int(rng.integers(0, 4)) for r, p in zip(reach, padding, strict=True)
    )
    problem = Problem(seed)
    x = problem.input(int(rng.integers(1, 3)), height, width, groups * int(rng.integers(1, 3)))
    w = problem.input(*kernel, x.type.static(3) // groups, groups * int(rng.integers(1, 3)), batch=False)
    problem.check(kind(stride, padding, dilation, groups), x, w, order=1)


WINDOWS = {
    "plain": ((2, 4, 6, 2), ((2, 2), (2, 2))),
    "overlapping": ((2, 5, 6, 2), ((3, 3), (1, 2))),
    "padded": ((1, 5, 5, 2), ((3, 2), (2, 2), ((1, 1), (0, 1)))),
    "padded and overlapping": ((2, 4, 5, 1), ((3, 3), (1, 1), ((2, 0), (1, 2)))),
    "with a remainder": ((2, 5, 7, 1), ((2, 2), (2, 3))),
    "with gaps": ((1, 7, 5, 2), ((1, 2), (3, 3))),
    "width 1": ((2, 5, 1, 1), ((2, 1), (1, 1))),
    "large window": ((1, 17, 17, 1), ((17, 16), (1, 1))),
}


@pytest.mark.parametrize("kind", [ops.MaxPool2d, ops.SumPool2d, ops.AveragePool2d, ops.L2Pool2d])
@pytest.mark.parametrize("case", WINDOWS)
def test_pools_to_second_order(case, kind):
    shape, window = WINDOWS[case]
    problem = Problem()
    problem.check(kind(*window), problem.input(*shape))


@pytest.mark.parametrize("case", [name for name in WINDOWS if name != "large window"])
def test_the_ways_back_through_pools(case):
    shape, window = WINDOWS[case]
    pool = ops.MaxPool2d(*window)
    rng = np.random.default_rng(1)
    for kind in ("route", "gather", "spread"):
        problem = Problem()
        pooled = pool.pooled(TensorType(("N", *shape[1:]), "float64"))
        winners = rng.integers(0, np.prod(window[0]), pooled.concrete(shape[0])).astype(np.uint8)
        if kind == "gather":
            x = problem.input(*shape)
            problem.check(ops.GatherWinner2d(*window), x, problem.input(array=winners))
            continue
        delta = problem.input(*pooled.concrete(shape[0]))
        if kind == "spread":
            problem.check(ops.SpreadToBlock2d(*window, shape=("N", *shape[1:])), delta)
        else:
            index = problem.input(array=winners)
            problem.check(ops.RouteToWinner2d(*window, shape=("N", *shape[1:])), delta, index)


def test_among_equals_the_first_unit_gets_all_of_the_error():
    graph = Graph()
    x = graph.input("x", TensorType(("N", 2, 4, 1), "float64"))
    pooled, _ = graph.add_all(ops.MaxPool2d((2, 2), (2, 2)), x)
    graph.output("sum", graph.add(ops.Sum((0, 1, 2, 3)), pooled))
    found = _gradient(graph, "sum", x=np.array([[1, 7, 3, 3], [7, 7, 3, 3]], float).reshape(1, 2, 4, 1))
    assert found.reshape(2, 4).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]


def test_equal_operands_of_maximum_share_the_error():
    graph = Graph()
    x = graph.input("x", TensorType((3,), "float64"))
    larger = graph.add(ops.Maximum(), x, graph.add(ops.Constant(2.0, TensorType((), "float64"))))
    graph.output("sum", graph.add(ops.Sum((0,)), larger))
    assert _gradient(graph, "sum", x=np.array([1.0, 2.0, 3.0])).tolist() == [0.0, 0.5, 1.0]


def test_the_slope_of_relu_at_zero_is_zero():
    graph = Graph()
    x = graph.input("x", TensorType((3,), "float64"))
    graph.output("sum", graph.add(ops.Sum((0,)), graph.add(ops.Relu(), x)))
    assert _gradient(graph, "sum", x=np.array([-1.0, 0.0, 2.0])).tolist() == [0.0, 0.0, 1.0]


def test_an_l2_pool_of_zeros_has_a_gradient_of_zeros():
    graph = Graph()
    x = graph.input("x", TensorType(("N", 2, 2, 1), "float64"))
    graph.output("sum", graph.add(ops.Sum((0, 1, 2, 3)), graph.add(ops.L2Pool2d((2, 2), (2, 2)), x)))
    assert not _gradient(graph, "sum", x=np.zeros((1, 2, 2, 1))).any()


def _gradient(graph, of, **arrays):
    return evaluate(gradient(graph, of, ["x"]), **arrays)["gradient(x)"]


def test_equal_operands_of_minimum_share_the_error():
    graph = Graph()
    x = graph.input("x", TensorType((3,), "float64"))
    lesser = graph.add(ops.Minimum(), x, graph.add(ops.Constant(2.0, TensorType((), "float64"))))
    graph.output("sum", graph.add(ops.Sum((0,)), lesser))
    assert _gradient(graph, "sum", x=np.array([1.0, 2.0, 3.0])).tolist() == [1.0, 0.5, 0.0]


KINKS = [
    (ops.Abs(), [-1, 0, 1]),
    (ops.Elu(0.25), [0.25 * np.exp(-2), 0.25, 1]),
    (ops.Clip(-2.0, 0.0), [1, 1, 0]),
    (ops.Clip(-2.0, 0.0, closed=False), [0, 0, 0]),
    (ops.Clip(0.0, 2.0), [0, 1, 1]),
    (ops.Clip(0.0, 2.0, closed=False), [0, 0, 0]),
    (ops.Clip(-np.inf, 1.0), [1, 1, 0]),
]


@pytest.mark.parametrize(("op", "slopes"), KINKS, ids=str)
def test_slopes_at_kinks(op, slopes):
    graph = Graph()
    x = graph.input("x", TensorType((3,), "float64"))
    graph.output("sum", graph.add(ops.Sum((0,)), graph.add(op, x)))
    assert _gradient(graph, "sum", x=np.array([-2.0, 0.0, 2.0])).tolist() == slopes


def test_a_stopped_gradient_makes_its_operand_a_constant():
    graph = Graph()
    x = graph.input("x", TensorType((3,), "float64"))
    product = graph.add(ops.Multiply(), graph.add(ops.StopGradient(), graph.add(ops.Exp(), x)), x)
    graph.output("sum", graph.add(ops.Sum((0,)), product))
    graph.output("stopped", graph.add(ops.Sum((0,)), graph.add(ops.StopGradient(), x)))
    array = np.array([-1.0, 0.0, 2.0])
    assert np.allclose(_gradient(graph, "sum", x=array), np.exp(array), rtol=1e-15)
    assert _gradient(graph, "stopped", x=array).tolist() == [0, 0, 0]


def test_what_ranks_tell_one_another_is_the_identity_to_the_gradient():
    problem = Problem()
    x = problem.input(4, 3)
    gathered = problem.graph.add(ops.Rot180((0,)), problem.graph.add(ops.AllGather(), x))
    total = problem.graph.add(ops.Sum((0,)), problem.graph.add(ops.Multiply(), gathered, x))
    problem.check(ops.AllReduce(), total)


@pytest.mark.parametrize("op", [ops.BroadcastFrom(1), ops.KeepOn(0)], ids=lambda op: op.name)
def test_what_one_rank_computes(op):
    problem = Problem()
    x = problem.input(4, 3)
    problem.check(op, problem.graph.add(ops.Sum((0,)), problem.graph.add(ops.Multiply(), x, x)))


def test_a_rounding_to_bfloat16_is_the_identity_to_the_gradient():
    graph = Graph()
    x = graph.input("x", TensorType((3,), "float64"))
    graph.output(
        "sum", graph.add(ops.Sum((0,)), graph.add(ops.Multiply(), graph.add(ops.RoundBfloat16(), x), x))
    )
    array = np.array([0.1, 1 / 3, -70.3])
    rounded = evaluate(graph_of_rounding(), x=array)["y"]
    assert np.all(rounded != array)
    assert _gradient(graph, "sum", x=array).tolist() == (array + rounded).tolist()


def graph_of_rounding():
    graph = Graph()
    x = graph.input("x", TensorType((3,), "float64"))
    graph.output("y", graph.add(ops.RoundBfloat16(), x))
    return graph


UNARY = [
    *((op, False) for op in (ops.Negate(), ops.Exp(), ops.Tanh(), ops.Sigmoid(), ops.Relu(), ops.ReluMask())),
    *((op, False) for op in (ops.Abs(), ops.Sign(), ops.Sin(), ops.Cos(), ops.Erf(), ops.Softplus())),
    *((op, False) for op in (ops.Elu(), ops.Elu(0.3), ops.Clip(-0.5, 0.7), ops.ClipMask(-0.5, 0.7))),
    *((ops.Power(p), False) for p in (0.0, 1.0, 2.0, 3.0)),
    *((ops.Power(p), True) for p in (0.5, -1.0, 1.75)),
    *((op, True) for op in (ops.Log(), ops.Sqrt())),
]


@pytest.mark.parametrize("shape", [(3, 4), (2, 1, 3, 2), (5,), ()], ids=str)
@pytest.mark.parametrize(("op", "positive"), UNARY, ids=lambda item: str(item))
def test_functions_of_one_operand(op, positive, shape):
    problem = Problem()
    problem.check(op, problem.input(*shape, positive=positive))


SHAPE_PAIRS = [((3, 4), (3, 4)), ((2, 3, 2), ()), ((), (3, 4)), ((), ())]


@pytest.mark.parametrize(("left", "right"), SHAPE_PAIRS, ids=str)
@pytest.mark.parametrize("kind", [ops.Add, ops.Subtract, ops.Multiply, ops.Divide, ops.Maximum, ops.Minimum])
def test_functions_of_two_operands(kind, left, right):
    problem = Problem()
    x, y = problem.input(*left), problem.input(*right, positive=kind is ops.Divide)
    problem.check(kind(), x, y)


@pytest.mark.parametrize("kind", [ops.Add, ops.Subtract, ops.Multiply, ops.Divide])
def test_functions_of_an_operand_with_itself(kind):
    problem = Problem()
    x = problem.input(3, 4, positive=True)
    problem.check(kind(), x, x)


@pytest.mark.parametrize(("left", "right"), SHAPE_PAIRS, ids=str)
def test_select(left, right):
    problem = Problem()
    x, y = problem.input(*left), problem.input(*right)
    condition = problem.graph.add(ops.Greater(), x, y)
    problem.check(ops.Select(), condition, x, y)


@pytest.mark.parametrize("op", [ops.LogicalAnd(), ops.LogicalOr()], ids=str)
def test_select_by_several_conditions(op):
    problem = Problem()
    x, y = problem.input(3, 4), problem.input(3, 4)
    add = problem.graph.add
    condition = add(op, add(ops.GreaterEqual(), x, y), add(ops.LogicalNot(), add(ops.Greater(), x, y)))
    problem.check(ops.Select(), condition, x, y)


IMAGES = (2, 4, 5, 3)
RUNS = (((0, 3, 1),), ((2, 3, -1),), ((0, 2, 2),), ((2, 2, -1), (0, 3, 1), (1, 1, 0)), ((1, 4, 0),))
MOVEMENTS = [
    *(kind(f) for kind in (ops.ZeroInsert, ops.Subsample) for f in ((1, 1), (2, 3), (3, 1), (6, 6))),
    *(kind(((0, 0), (1, 2), (0, 3), (1, 0))) for kind in (ops.Pad, ops.Crop)),
    ops.Pad(((0, 0), (1, 2), (0, 3), (1, 0)), -1.5),
    *(ops.Take(axis, runs) for axis in (1, 2, 3) for runs in RUNS),
    *(ops.ScatterSum(1, ((0, 2, 1), (1, 2, 0)), 3), ops.ScatterSum(3, ((5, 2, -3), (0, 1, 7)), 6)),
    *(
        kind(axis, size, aligned)
        for kind in (ops.Interpolate, ops.InterpolateTransposed)
        for axis, size in ((1, 7), (2, 10), (3, 2), (1, 1))
        for aligned in (False, True)
    ),
    *(ops.Transpose(p) for p in ((0, 1, 2, 3), (0, 3, 1, 2), (3, 0, 1, 2))),
    *(ops.Reshape(s) for s in (("N", 60), ("N", 3, 20), ("N", 4, 5, 3))),
    *(ops.Rot180(a) for a in ((1, 2), (0, 1), (3,), ())),
    *(ops.Cast("float64"), ops.LogSoftmax()),
    *(kind(a, k) for kind in (ops.Sum, ops.Mean) for a in ((), (0,), (1, 2), (0, 3)) for k in (True, False)),
    *(kind((0, 1, 2, 3)) for kind in (ops.Sum, ops.Mean)),
    *(ops.InverseDeviation(a, k, 0.5) for a in ((), (0,), (1, 2), (0, 3)) for k in (True, False)),
    ops.InverseDeviation((1, 2), epsilon=0.0),
]


@pytest.mark.parametrize("op", MOVEMENTS, ids=str)
def test_movements_and_reductions(op):
    problem = Problem()
    if isinstance(op, ops.Crop):
        problem.check(op, problem.input(2, 5, 5, 3))
    else:
        problem.check(op, problem.input(*IMAGES))


@pytest.mark.parametrize(
    ("before", "after"),
    [((), (2, 3)), ((3,), (2, 3)), ((1, 3), (4, 3)), ((2, 1), (3, 2, 4)), ((2, 3), (2, 3)), ((1, 1), (2, 2))],
)
def test_broadcast(before, after):
    problem = Problem()
    problem.check(ops.Broadcast(after), problem.input(*before, batch=False))


def test_broadcast_to_the_batch():
    problem = Problem()
    x, bias = problem.input(4, 2, 3), problem.input(3, batch=False)
    problem.check(ops.Multiply(), x, problem.graph.add(ops.Broadcast(x.type.shape), bias))


def test_a_mean_over_the_batch_knows_its_size():
    problem = Problem()
    x = problem.input(7, 3)
    problem.check(ops.Mean((0,)), problem.graph.add(ops.Exp(), x))


@pytest.mark.parametrize("axis", [1, 2])
def test_concatenate(axis):
    problem = Problem()
    parts = [problem.input(*(2, n, 3) if axis == 1 else (2, 3, n)) for n in (1, 2, 4)]
    problem.check(ops.Concatenate(axis), *parts, parts[1])


@pytest.mark.parametrize(("a", "k", "b"), [(2, 3, 4), (1, 1, 1), (3, 1, 2), (1, 5, 1)])
def test_matmul(a, k, b):
    problem = Problem()
    problem.check(ops.Matmul(), problem.input(a, k), problem.input(k, b, batch=False))


@pytest.mark.parametrize("front", [(2,), (2, 3), (1, 2, 1)])
@pytest.mark.parametrize("batch", [True, False])
def test_matmul_of_many(front, batch):
    problem = Problem()
    x = problem.input(*front, 3, 4, batch=batch)
    problem.check(ops.Matmul(), x, problem.input(*front, 4, 2, batch=batch))


@pytest.mark.parametrize("axis", [1, 2])
def test_matmul_with_the_batch_among_rows_or_terms(axis):
    problem = Problem()
    x, y = problem.input(2, 3, 4), problem.input(2, 3, 5)
    columns = problem.graph.add(ops.Transpose((1, 2, 0)), x)  # [3, 4, N]
    rows = problem.graph.add(ops.Transpose((1, 0, 2)), y)  # [3, N, 5]
    if axis == 1:
        problem.check(ops.Matmul(), columns, rows)
    else:
        problem.check(ops.Matmul(), rows, problem.input(3, 5, 2, batch=False))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [(), (0,), (3,), (1, 2), (0, 3), (0, 1, 2, 3)])
def test_max(axes, keep):
    problem = Problem()
    distinct = problem.random.permutation(2 * 3 * 2 * 4).reshape(2, 3, 2, 4) / 10.0
    problem.check(ops.Max(axes, keep), problem.input(array=distinct))


def test_matmul_over_the_batch():
    problem = Problem()
    x, y = problem.input(5, 3), problem.input(5, 2)
    problem.check(ops.Matmul(), problem.graph.add(ops.Transpose((1, 0)), x), y)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_softmax_cross_entropy(classes):
    problem = Problem()
    logits = problem.input(4, classes)
    labels = problem.input(array=np.arange(4) % classes)
    problem.check(ops.SoftmaxCrossEntropy(), logits, labels)


@pytest.mark.parametrize("shape", [(3, 4), (2, 2, 3, 1), (4,)], ids=str)
def test_squared_error(shape):
    problem = Problem()
    problem.check(ops.SquaredError(), problem.input(*shape), problem.input(*shape))


def test_numbers_that_do_not_depend_on_their_operands_have_no_gradient():
    problem = Problem()
    x = problem.input(3, 4)
    count = problem.graph.add(ops.Count((0, 1)), x)
    best = problem.graph.add(ops.Cast("float64"), problem.graph.add(ops.ArgMax(1), x))
    problem.check(ops.Multiply(), count, best)


@pytest.mark.parametrize("op", [ops.RandomUniform(), ops.RandomNormal()])
def test_random_numbers_are_constants_to_differentiation(op):
    problem = Problem()
    x = problem.input(3, 4)
    state = problem.input(array=np.array([5, 0]), batch=False)
    numbers, _ = problem.graph.add_all(op, state, x)
    problem.check(ops.Multiply(), numbers, problem.graph.add(ops.Tanh(), x))


@pytest.mark.parametrize(
    "op", [ops.SampleUniform(("N", 4), 5, "float64"), ops.SampleNormal(("N", 4), 6, "float64"),
           ops.SampleIntegers(("N", 4), 7, -2, 9)], ids=str)  # fmt: skip
def test_random_numbers_of_samples_are_constants_to_differentiation(op):
    problem = Problem()
    x, samples = problem.input(3, 4), problem.input(array=np.array([5, 0, -9]))
    numbers = problem.graph.add(op, samples)
    numbers = problem.graph.add(ops.Cast("float64"), numbers)
    problem.check(ops.Multiply(), numbers, problem.graph.add(ops.Tanh(), x))


SAMPLE_MOVES = [
    *(ops.FlipSamples(axis) for axis in (1, 2, 3)),
    *(
        ops.CropSamples((3, 6)),
        ops.CropSamples((5, 2), -1.5),
        ops.PasteSamples((3, 6)),
        ops.PasteSamples((6, 2)),
    ),
    *(ops.EraseSamples(), ops.EraseSamples(0.5)),
]


@pytest.mark.parametrize("op", SAMPLE_MOVES, ids=str)
def test_moves_of_samples(op):
    problem = Problem()
    x = problem.input(3, 4, 5, 2)
    if isinstance(op, ops.FlipSamples):
        problem.check(op, x, problem.input(array=np.array([True, False, True])))
        return
    numbers = [[1, -2, 4], [-3, 0, 2], [2, 3, 0], [9, 1, 2]]
    wholes = [problem.input(array=np.array(each, np.int32)) for each in numbers]
    problem.check(op, x, *wholes[: op.arity - 1])


@pytest.mark.parametrize("op", [ops.WarpSamples(), ops.WarpSamplesTransposed()], ids=str)
def test_warped_samples(op):
    problem = Problem()
    x = problem.input(3, 4, 5, 2)
    numbers = np.array([[0.9, 1.2, 1.0], [-0.3, 0.5, 0.0], [0.4, -1.3, 0.0]] * 2)
    problem.check(op, x, *(problem.input(array=each) for each in np.int64(numbers * 2.0**32)))


def test_one_hot_labels_are_constants_to_differentiation():
    problem = Problem()
    x, labels = problem.input(3, 4), problem.input(array=np.array([0, 3, 1]))
    problem.check(ops.Multiply(), x, problem.graph.add(ops.OneHot(4, "float64"), labels))


def test_functions_of_the_user_s_own():
    slope = ScalarFunction(lambda x, y: 2 * x * y, "slope")
    function = ScalarFunction(lambda x, y: x * x * y, "f", (slope, ScalarFunction(lambda x, y: x * x, "g")))
    problem = Problem()
    problem.check(ops.UserFunction(function), problem.input(3, 4), problem.input(3, 4), order=1)


def test_every_op_is_differentiated_somewhere_above():
    text = Path(__file__).read_text(encoding="utf-8")
    silent = {"Input", "Constant", "Equal"}  # no operands, or only reached through maximum
    assert {op.__name__ for op in ops.OPS.values() if f"{op.__name__}" not in text} <= silent
