"""What docs/semantics.md says of sums and special numbers, on both backends."""

import math

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Graph, TensorType
from graphcnn.transform import differentiate, simplify

NAN, INF = np.nan, np.inf
BACKENDS = pytest.mark.parametrize("name", ["numpy", "native"])


def apply(name, op, *arrays, gradient=False):
    """Return the first result of an op, or the gradient of its sum by the first operand."""
    graph = Graph("one op")
    values = [
        graph.input(f"x{n}", TensorType(array.shape, str(array.dtype))) for n, array in enumerate(arrays)
    ]
    result = graph.add(op, *values)
    if gradient:
        total = graph.add(ops.Sum(tuple(range(result.type.rank))), result)
        graph, gradients = differentiate(graph, total, {"x0": values[0]})
        result = gradients["x0"]
    graph.output("y", result)
    return load_backend(name).compile(graph)(**{f"x{n}": array for n, array in enumerate(arrays)})["y"]


# Sums


@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_the_mean_of_equal_numbers_is_that_number(name, dtype, axes):
    x = np.full((300, 70, 41), 0.1, dtype)
    found = apply(name, ops.Mean(axes), x)
    if dtype == "float32":
        assert np.all(found == np.float32(0.1))
    assert np.abs(found / x.flat[0].astype("f8") - 1).max() <= 1e-12


@BACKENDS
def test_a_batch_of_one_number_has_that_mean_and_no_variance(name):
    for batch in (1, 7, 64, 1000):
        x = np.full((batch, 5, 5, 2), 100.3, np.float32)
        network = gcn.Sequential(gcn.BatchNorm2d(momentum=1.0, name="bn"), gcn.Flatten(), gcn.Dense(3))
        options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(1e-30), "backend": name}
        model = gcn.compile(network, input_shape=(5, 5, 2), **options)
        model.train_step(x, np.zeros(batch, int))
        assert np.all(model.state()["bn.mean"] == np.float32(100.3))
        assert np.all(model.state()["bn.variance"] == 0)


@BACKENDS
def test_means_and_variances_are_right_far_from_zero(name):
    x = (1e5 + np.random.default_rng(0).standard_normal((64, 30, 30, 2))).astype(np.float32)
    network = gcn.Sequential(gcn.BatchNorm2d(momentum=1.0, name="bn"), gcn.Flatten(), gcn.Dense(3))
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(1e-30), "backend": name}
    model = gcn.compile(network, input_shape=(30, 30, 2), **options)
    model.train_step(x, np.zeros(64, int))
    exact = x.astype("f8")
    assert np.abs(model.state()["bn.mean"] - exact.mean((0, 1, 2))).max() < 0.01
    assert np.abs(model.state()["bn.variance"] / exact.var((0, 1, 2)) - 1).max() < 1e-4


SCALES = (1e-30, 1e-21, 1.0, 1e19, 1e30, 1e33)
"""The squares of the first and of the last ones are beyond the range of float32."""


@BACKENDS
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("axes", [(3,), (0, 1, 2), (1, 2), (2, 3)])
def test_numbers_of_any_size_are_normalised(name, scale, axes):
    rng = np.random.default_rng(1)
    x = (scale * rng.standard_normal((8, 4, 4, 6))).astype(np.float32)
    weights = rng.standard_normal(x.shape).astype(np.float32)
    found, exact = (normalised(each, axes, x, weights) for each in (name, "float64"))
    for label, array in found.items():
        assert array.dtype == np.float32
        greatest = np.abs(exact[label]).max()
        assert np.abs(array / greatest - exact[label] / greatest).max() < 1e-5, label


def normalised(name, axes, x, weights):
    """Return normalised numbers, and how each of them moves their weighed sum."""
    dtype = "float64" if name == "float64" else "float32"
    graph = Graph("normalisation")
    emit = Emitter(graph)
    value, weight = (graph.input(label, TensorType(x.shape, dtype)) for label in ("x", "weights"))

    def spread(statistic):
        return emit(ops.Broadcast(x.shape), statistic)

    centred = emit(ops.Subtract(), value, spread(emit(ops.Mean(axes, keep=True), value)))
    # An epsilon of the size of the variance keeps the gradient from being nothing but rounding.
    epsilon = float(np.square(x, dtype="f8").mean())
    inverse = emit(ops.InverseDeviation(axes, keep=True, epsilon=epsilon), centred)
    result = emit(ops.Multiply(), centred, spread(inverse))
    total = emit(ops.Sum((0, 1, 2, 3)), emit(ops.Multiply(), result, weight))
    graph.output("y", result)
    graph, gradients = differentiate(graph, total, {"x": value})
    graph.output("gradient", gradients["x"])
    backend = load_backend("numpy" if name == "float64" else name)
    return backend.compile(graph)(x=x.astype(dtype), weights=weights.astype(dtype))


@BACKENDS
@pytest.mark.parametrize("layer", [gcn.LayerNorm, gcn.BatchNorm2d])
@pytest.mark.parametrize("scale", SCALES)
def test_layers_normalise_numbers_of_any_size(name, layer, scale):
    x = (scale * np.random.default_rng(2).standard_normal((8, 4, 4, 6))).astype(np.float32)
    exact = x.astype("f8")
    axes = (3,) if layer is gcn.LayerNorm else (0, 1, 2)
    mean, variance = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    wanted = (exact - mean) / np.sqrt(variance + 1e-5)
    model = gcn.compile(layer(), input_shape=x.shape[1:], backend=name)
    found = load_backend(name).compile(model.training_graph)(image=x, **model.state())["output"]
    assert np.abs(found - wanted).max() <= 2e-6 * np.abs(wanted).max()


@BACKENDS
def test_pools_over_many_units_are_right(name):
    x = np.full((1, 512, 512, 3), 0.1, np.float32)
    found = apply(name, ops.AveragePool2d((512, 512), (512, 512)), x)
    assert np.abs(found / x[0, 0, 0].astype("f8") - 1).max() < 1e-6


@BACKENDS
@pytest.mark.parametrize("depth", [1000, 4099, 100_000, 131_072])
def test_deep_products_are_right(name, depth):
    x, w = np.full((3, depth), 0.1, np.float32), np.ones((depth, 5), np.float32)
    wanted = depth * np.float32(0.1).astype("f8")
    assert np.abs(apply(name, ops.Matmul(), x, w) / wanted - 1).max() < 3e-5


@BACKENDS
def test_l2_pools_reach_over_the_whole_range(name):
    for size in (1e-21, 1.0, 1e20):
        x = np.full((1, 2, 2, 3), size, np.float32)
        assert np.allclose(apply(name, ops.L2Pool2d((2, 2), (2, 2)), x), 2 * size, rtol=1e-6, atol=0)


# Special numbers


@BACKENDS
@pytest.mark.parametrize(
    "op",
    [
        *(ops.Relu(), ops.Tanh(), ops.Sigmoid(), ops.L2Pool2d((1, 1), (1, 1))),
        *(ops.Abs(), ops.Sin(), ops.Cos(), ops.Erf(), ops.Softplus(), ops.Elu(), ops.Clip(-2.0, 2.0)),
    ],
    ids=str,
)
def test_a_nan_in_is_a_nan_out_and_a_nan_gradient(name, op):
    x = np.array([NAN, 1.0, -1.0], np.float32).reshape(1, 3, 1, 1)
    for gradient in (False, True):
        assert list(np.isnan(apply(name, op, x, gradient=gradient)).flat) == [True, False, False]


@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", [ops.Relu(), ops.Tanh(), ops.Sqrt(), ops.Negate()])
def test_zeros_have_their_sign(name, dtype, op):
    for zero in (0.0, -0.0):
        found = apply(name, op, np.full(37, zero, dtype))
        assert np.all(found == 0)
        assert np.all(np.signbit(found) == (np.signbit(zero) != isinstance(op, ops.Negate)))


@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_is_rounded_to_the_nearest_bfloat16(name, dtype):
    upper = np.arange(2**16, dtype=np.uint32)[:, None] << 16
    x = (upper | np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).view(np.float32)
    x = x[np.isfinite(x).all(1)]
    size = np.abs(x).astype(np.float64)
    below = size[:, :1]
    steps = np.exp2(np.maximum(np.floor(np.log2(np.maximum(below, 2.0**-126))), -126) - 7)
    above = below + steps
    is_even = (below / steps) % 2 == 0
    nearer = np.where(size - below < above - size, below, above)
    wanted = np.where(size - below == above - size, np.where(is_even, below, above), nearer)
    wanted = np.copysign(np.where(wanted >= 2.0**128, INF, wanted), x).astype(dtype)
    found = apply(name, ops.RoundBfloat16(), x.astype(dtype))
    assert found.dtype == dtype
    assert found.tobytes() == wanted.tobytes()
    assert apply(name, ops.RoundBfloat16(), found).tobytes() == found.tobytes()


@BACKENDS
def test_rounding_to_bfloat16_keeps_nan_and_infinity(name):
    bits = [0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFF8000, 0xFFFFFFFF, 0x7F800000, 0xFF800000]
    found = apply(name, ops.RoundBfloat16(), np.array(bits, np.uint32).view(np.float32))
    wanted = [0x7FC00000, 0x7FC00000, 0x7FFF0000, 0xFFC00000, 0xFFFF0000, 0xFFFF0000, 0x7F800000, 0xFF800000]
    assert found.view(np.uint32).tolist() == wanted
    wide = np.array([NAN, -NAN, INF, -INF, 1e300, -1e300, 5e-324, -5e-324, 2.0**-134 * (1 + 2**-52)])
    found = apply(name, ops.RoundBfloat16(), wide)
    assert np.array_equal(found, [NAN, NAN, INF, -INF, INF, -INF, 0, -0.0, 2.0**-133], equal_nan=True)
    assert np.signbit(found[2:]).tolist() == np.signbit(wide[2:]).tolist()


@BACKENDS
def test_the_gradient_of_a_rounding_is_passed_straight_through(name):
    x = np.array([0.1, -3.3, 1e-3, 1e30], np.float32)
    assert apply(name, ops.RoundBfloat16(), x, gradient=True).tolist() == [1, 1, 1, 1]


@BACKENDS
def test_rounded_on_its_way_through_other_functions(name):
    """Fused into a nest, before and after arithmetic that is exact, on more numbers than a vector has."""
    x = np.random.default_rng(3).standard_normal((37, 5, 5, 3)).astype(np.float32)
    graph = Graph("rounded")
    emit = Emitter(graph)
    value = graph.input("x", TensorType(("N", 5, 5, 3)))
    rounded = emit(ops.RoundBfloat16(), emit(ops.Relu(), emit(ops.Negate(), value)))
    graph.output("y", emit(ops.Add(), rounded, rounded))
    found = load_backend(name).compile(graph)(x=x)["y"]
    wanted = apply("numpy", ops.RoundBfloat16(), np.where(x < 0, -x, np.float32(0)))
    assert np.array_equal(found, wanted + wanted)


@BACKENDS
def test_casts_beyond_the_range_end_at_it(name):
    x = np.array([NAN, INF, -INF, 1e30, -1e30, 300.7, -1.5, 254.99, 2.0**31, -(2.0**31)], np.float64)
    wanted = {
        "uint8": [0, 255, 0, 255, 0, 255, 0, 254, 255, 0],
        "int32": [0, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 300, -1, 254, 2**31 - 1, -(2**31)],
        "int64": [0, 2**63 - 1, -(2**63), 2**63 - 1, -(2**63), 300, -1, 254, 2**31, -(2**31)],
    }
    for dtype, numbers in wanted.items():
        assert apply(name, ops.Cast(dtype), x).tolist() == numbers
        narrow = x.astype(np.float32).astype(np.float64)
        same = [n for n, (a, b) in enumerate(zip(x, narrow, strict=True)) if a == b]
        found = apply(name, ops.Cast(dtype), x.astype(np.float32))
        assert [int(found[n]) for n in same] == [numbers[n] for n in same]


@BACKENDS
def test_whole_numbers_that_do_not_fit_wrap_around(name):
    x = np.array([256, 300, -1, 2**40 + 5], np.int64)
    assert apply(name, ops.Cast("uint8"), x).tolist() == [0, 44, 255, 5]
    assert apply(name, ops.Cast("int32"), x).tolist() == [256, 300, -1, 5]


@BACKENDS
def test_denormals_of_float64_are_numbers(name):
    few = np.array([5e-310, 5e-324, -3e-308, 1e-300, -745.0, -740.0, 2.0])
    x = np.tile(few, (64, 100))  # for all threads
    operations = (ops.Exp(), ops.Log(), ops.Sqrt(), ops.Tanh(), ops.Power(1.5), ops.Relu(), ops.Negate())
    with np.errstate(all="ignore"):
        for op in operations:
            exact = np.tile(apply("numpy", op, few), (64, 100))
            assert np.allclose(apply(name, op, x), exact, rtol=1e-15, atol=0, equal_nan=True), op
        assert np.allclose(apply(name, ops.Divide(), x, x), 1, rtol=0, atol=0)
        assert np.all(apply(name, ops.Sum((0,)), x)[1::7] == 64 * 5e-324)


def test_denormals_of_float32_are_0_in_native_code():
    x = np.array([1e-38, -1e-40, 1e-45], np.float32)
    for exponent, wanted in ((0.5, 0), (1.5, 0), (-1.0, INF), (-0.5, INF), (-1.5, INF)):
        found = apply("native", ops.Power(exponent), x[:1])
        assert found[0] == wanted, exponent
    assert np.all(apply("native", ops.Multiply(), x, np.full(3, 1e5, np.float32)) == 0)
    assert np.all(apply("native", ops.Log(), np.abs(x)) == -INF)


@BACKENDS
def test_the_log_of_a_softmax_is_finite_where_the_softmax_underflows(name):
    graph = Graph("classifier")
    emit = Emitter(graph)
    logits = graph.input("logits", TensorType(("N", 2), "float32"))
    share = emit(ops.Log(), emit(ops.Exp(), emit(ops.LogSoftmax(), logits)))
    loss = emit(ops.Sum((0, 1)), share)
    graph, gradients = differentiate(graph, loss, {"logits": logits})
    graph.output("loss", loss)
    graph.output("gradient", gradients["logits"])
    found = load_backend(name).compile(simplify(graph))(logits=np.array([[0.0, -110.0]], np.float32))
    assert found["loss"] == -110
    assert found["gradient"].tolist() == [[-1, 1]]


@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smooth_functions_reach_over_the_whole_range(name, dtype):
    x = np.array([-INF, -1e30, -100.0, 0.0, 100.0, 1e30, INF], dtype)
    positive = np.maximum(x, 0)
    assert np.allclose(apply(name, ops.Softplus(), x), [*positive[:3], np.log(2), *positive[4:]], rtol=1e-6)
    assert apply(name, ops.Softplus(), x, gradient=True)[[0, 3, 6]].tolist() == [0, 0.5, 1]
    assert apply(name, ops.Elu(), x).tolist() == [-1, -1, -1, 0, *positive[4:]]
    assert apply(name, ops.Elu(), x, gradient=True).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert apply(name, ops.Erf(), x).tolist() == [-1, -1, -1, 0, 1, 1, 1]
    assert apply(name, ops.Erf(), x, gradient=True)[[0, 2, 4, 6]].tolist() == [0, 0, 0, 0]


EXACT = {
    ops.Erf(): math.erf,
    ops.Softplus(): lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))),
    ops.Elu(): lambda x: x if x > 0 else math.expm1(x),
    ops.Sin(): math.sin,
    ops.Cos(): math.cos,
}


@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", EXACT, ids=str)
def test_functions_are_right_to_about_their_last_bit(name, dtype, op):
    random = np.random.default_rng(4)
    x = np.concatenate([random.normal(size=2000) * size for size in (1e-6, 0.01, 0.3, 1, 3, 10, 40)])
    x = x.astype(dtype)
    exact = np.array([EXACT[op](float(number)) for number in x])
    error = np.abs(apply(name, op, x).astype("f8") - exact)
    assert np.all(error <= 2.5 * np.finfo(dtype).eps * np.abs(exact) + 1e-37)


@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_small_numbers_keep_their_last_bits(name, dtype):
    x = np.array([1e-9, -1e-9, 3e-5, -3e-5], dtype)
    exact, close = x.astype(np.float64), 4 * np.finfo(dtype).eps
    assert np.abs(apply(name, ops.Elu(), x) / np.where(x > 0, exact, np.expm1(exact)) - 1).max() < close
    wanted = 2 / np.sqrt(np.pi) * (exact - exact**3 / 3)
    assert np.abs(apply(name, ops.Erf(), x) / wanted - 1).max() < close
    x = np.array([-20.0, -80.0], dtype)
    assert np.abs(apply(name, ops.Softplus(), x) / np.exp(x.astype(np.float64)) - 1).max() < 1e-5


@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_power_of_a_half_is_the_square_root(name, dtype):
    x = np.array([-INF, -0.0, 0.0, 2.0, INF, NAN, -1.0], dtype)
    found = apply(name, ops.Power(0.5), x)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(found, np.sqrt(x), equal_nan=True)
    assert np.signbit(found[1])


@BACKENDS
def test_of_equal_numbers_the_first_wins(name):
    assert apply(name, ops.ArgMax(1), np.array([[1.0, 2.0, 2.0]])).tolist() == [1]
    x = np.array([3.0, 3.0, 1.0, 3.0]).reshape(1, 2, 2, 1)
    routed = apply(name, ops.MaxPool2d((2, 2), (2, 2)), x, gradient=True)
    assert routed.ravel().tolist() == [1, 0, 0, 0]


def test_numpy_may_be_set_to_raise():
    with np.errstate(all="raise"):
        assert apply("numpy", ops.Divide(), np.ones(2), np.zeros(2)).tolist() == [INF, INF]
        assert apply("numpy", ops.Exp(), np.array([-1e5, 1e5])).tolist() == [0, INF]


def test_integers_beyond_floating_point_are_refused():
    for make in (
        lambda: ops.Constant(10**400, TensorType((), "float32")),
        lambda: ops.Power(10**400),
        lambda: gcn.SGD(10**400),
        lambda: setattr(
            gcn.compile(gcn.Sequential(gcn.Dense(2)), input_shape=(3,)), "learning_rate", 10**400
        ),
    ):
        with pytest.raises(OptionError):
            make()
