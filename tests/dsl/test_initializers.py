"""First values: their spread follows from the fans, and their bits from the seed and the name."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError

# A filter bank of a Conv2d(48, 5, groups=2) on 32 channels: each output sees 5·5 taps of 16 channels.
CONV = ((9, 9, 32), gcn.Conv2d(48, 5, groups=2, bias=False), "conv1.filters", 5 * 5 * 16, 5 * 5 * 48)
DENSE = ((200,), gcn.Dense(100, bias=False), "dense1.weights", 200, 100)
DEPTHWISE = ((9, 9, 256), gcn.DepthwiseConv2d(7, bias=False), "depthwise1.filters", 49, 49 * 256)


def first_values(case, initializer=None, seed=0):
    shape, layer, name, *_ = case
    if initializer is not None:
        layer.initializer = initializer
    return gcn.compile(layer, input_shape=shape, seed=seed).parameters[name].astype(np.float64)


@pytest.mark.parametrize("case", [CONV, DENSE, DEPTHWISE], ids=["conv", "dense", "depthwise"])
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        (gcn.He, lambda fan_in, fan_out: 2 / fan_in),
        (gcn.LeCun, lambda fan_in, fan_out: 1 / fan_in),
        (gcn.Glorot, lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
    ],
    ids=["He", "LeCun", "Glorot"],
)
def test_the_variance_follows_the_fans(case, distribution, initializer, variance):
    values = first_values(case, initializer(distribution))
    expected = variance(*case[3:])
    assert values.var() == pytest.approx(expected, rel=0.06)
    assert abs(values.mean()) < 4 * np.sqrt(expected / values.size)
    if distribution == "uniform":
        assert np.abs(values).max() <= np.sqrt(3 * expected) * (1 + 1e-6)
        assert np.abs(values).max() >= 0.99 * np.sqrt(3 * expected)
    else:
        assert np.abs(values).max() > 3 * np.sqrt(expected)


def test_filters_begin_as_he_normal_and_biases_as_0():
    layer = gcn.Conv2d(64, 5)
    model = gcn.compile(layer, input_shape=(8, 8, 32))
    assert model.parameters["conv1.filters"].var() == pytest.approx(2 / 800, rel=0.05)
    assert not model.parameters["conv1.bias"].any()


def test_a_normal_distribution_has_the_deviation_it_is_given():
    values = first_values(DENSE, gcn.Normal(0.02))
    assert values.std() == pytest.approx(0.02, rel=0.03)
    assert abs(values.mean()) < 4 * 0.02 / np.sqrt(values.size)
    assert 0.06 < np.abs(values).max() < 0.12


@pytest.mark.parametrize("deviation", [-0.1, float("nan"), float("inf"), "0.02", True])
def test_a_deviation_that_is_none_is_refused(deviation):
    with pytest.raises(OptionError, match=r"is not a number of at least 0[\s\S]*gcn\.Normal\(0\.02\)"):
        gcn.Normal(deviation)


def test_a_constant_and_a_function_of_the_users():
    assert (first_values(DENSE, gcn.Constant(0.25)) == 0.25).all()
    rows = first_values(DENSE, lambda generator, type: np.arange(20000).reshape(type.shape))
    assert rows[1, 0] == 100


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    one, same, other = (first_values(CONV, gcn.He(), seed).tobytes() for seed in (7, 7, 8))
    assert one == same != other


def test_layers_of_one_shape_begin_differently():
    model = gcn.compile(gcn.Sequential(gcn.Dense(9), gcn.Dense(9)), input_shape=(9,))
    assert not np.array_equal(model.parameters["dense1.weights"], model.parameters["dense2.weights"])


def test_a_layers_first_values_do_not_depend_on_other_layers():
    alone = gcn.compile(gcn.Dense(9, name="head"), input_shape=(9,))
    behind = gcn.compile(gcn.Sequential(gcn.Dense(9), gcn.Dense(9, name="head")), input_shape=(9,))
    np.testing.assert_array_equal(alone.parameters["head.weights"], behind.parameters["head.weights"])


def test_float64_begins_where_float32_does():
    models = [gcn.compile(gcn.Dense(9), input_shape=(9,), dtype=dtype) for dtype in ("float32", "float64")]
    single, double = (model.parameters["dense1.weights"] for model in models)
    assert double.dtype == np.float64
    np.testing.assert_array_equal(single, double.astype(np.float32))
