"""Activations as layers and functions: values, slopes at kinks, parameters, and what is refused."""

import math

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError, ShapeError
from graphcnn.testing import check_gradients

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])
X = np.array([-30.0, -6.0, -3.0, -1.5, -1.0, -0.25, -1e-5, 0.0, 1e-5, 0.25, 1.0, 2.0, 3.0, 6.0, 7.5, 30.0])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def softmax(x, axis=-1):
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


ERF = np.vectorize(math.erf)
KNOWN = {
    "relu": (gcn.ReLU(), gcn.relu, lambda x: np.maximum(x, 0)),
    "tanh": (gcn.Tanh(), gcn.tanh, np.tanh),
    "sigmoid": (gcn.Sigmoid(), gcn.sigmoid, sigmoid),
    "scaled_tanh": (gcn.ScaledTanh(), gcn.scaled_tanh, lambda x: 1.7159 * np.tanh(2 * x / 3)),
    "scaled_tanh, other": (
        gcn.ScaledTanh(2, 0.5), lambda x: gcn.scaled_tanh(x, 2, 0.5), lambda x: 2 * np.tanh(x / 2)),
    "leaky_relu": (gcn.LeakyReLU(), gcn.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "leaky_relu, other": (
        gcn.LeakyReLU(negative_slope=0.3), lambda x: gcn.leaky_relu(x, 0.3),
        lambda x: np.where(x > 0, x, 0.3 * x)),
    "prelu": (gcn.PReLU(), lambda x: gcn.prelu(x, 0.25), lambda x: np.where(x > 0, x, 0.25 * x)),
    "relu6": (gcn.ReLU6(), gcn.relu6, lambda x: np.clip(x, 0, 6)),
    "hardtanh": (gcn.Hardtanh(), gcn.hardtanh, lambda x: np.clip(x, -1, 1)),
    "hardtanh, other": (
        gcn.Hardtanh(-3, 0.25), lambda x: gcn.hardtanh(x, max_val=0.25, min_val=-3),
        lambda x: np.clip(x, -3, 0.25)),
    "elu": (gcn.ELU(), gcn.elu, elu),
    "elu, other": (gcn.ELU(alpha=0.5), lambda x: gcn.elu(x, 0.5), lambda x: elu(x, 0.5)),
    "selu": (gcn.SELU(), gcn.selu, lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772)),
    "celu": (gcn.CELU(), gcn.celu, elu),
    "celu, other": (gcn.CELU(alpha=0.5), lambda x: gcn.celu(x, 0.5), lambda x: elu(2 * x) / 2),
    "silu": (gcn.SiLU(), gcn.silu, lambda x: x * sigmoid(x)),
    "gelu": (gcn.GELU(), gcn.gelu, lambda x: x * (1 + ERF(x / math.sqrt(2))) / 2),
    "gelu, tanh": (
        gcn.GELU(approximate="tanh"), lambda x: gcn.gelu(x, "tanh"),
        lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
    "mish": (gcn.Mish(), gcn.mish, lambda x: x * np.tanh(softplus(x))),
    "softplus": (gcn.Softplus(), gcn.softplus, softplus),
    "softplus, other": (
        gcn.Softplus(beta=3), lambda x: gcn.softplus(x, 3), lambda x: softplus(3 * x) / 3),
    "softplus, threshold": (
        gcn.Softplus(2, 0.5), lambda x: gcn.softplus(x, 2, 0.5),
        lambda x: np.where(2 * x > 0.5, x, softplus(2 * x) / 2)),
    "softsign": (gcn.Softsign(), gcn.softsign, lambda x: x / (1 + np.abs(x))),
    "hardsigmoid": (gcn.Hardsigmoid(), gcn.hardsigmoid, lambda x: np.clip(x + 3, 0, 6) / 6),
    "hardswish": (gcn.Hardswish(), gcn.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "softmax": (gcn.Softmax(), gcn.softmax, softmax),
    "softmax, other axis": (gcn.Softmax(axis=1), lambda x: gcn.softmax(x, 1), lambda x: softmax(x, 1)),
    "log_softmax": (gcn.LogSoftmax(), gcn.log_softmax, lambda x: np.log(softmax(x))),
    "log_softmax, other axis": (
        gcn.LogSoftmax(-2), lambda x: gcn.log_softmax(x, axis=-2), lambda x: np.log(softmax(x, -2))),
}  # fmt: skip


@BACKENDS
@pytest.mark.parametrize("name", KNOWN)
def test_layers_and_functions_compute_what_they_say(name, backend):
    layer, function, expected = KNOWN[name]
    images = np.stack([X, X[::-1] / 7]).reshape(2, 4, 4, 1) * np.array([1, 0.3, -0.5])
    x = gcn.Input((4, 4, 3), dtype="float64")
    for network in (gcn.Network(x, layer(x)), gcn.Network(x, function(x))):
        model = gcn.compile(network, dtype="float64", backend=backend)
        assert np.abs(model.predict(images) - expected(images)).max() < 1e-13
        single = gcn.compile(network, dtype="float32", backend=backend).predict(images)
        assert np.abs(single - expected(images.astype("f4").astype("f8"))).max() < 3e-6
    for value in (layer(x), function(x)):
        graph = gcn.Network(x, value).graph
        computing = {str(node.origin.rule) for _, node in graph.items() if not isinstance(node.op, ops.Input)}
        assert computing == ({""} if "softmax" in name else {"Eq. 8"})


SLOPES = {  # by PyTorch
    "relu6": (gcn.relu6, [(-1, 0), (0, 0), (3, 1), (6, 0), (7, 0)]),
    "hardtanh": (gcn.hardtanh, [(-1, 0), (0, 1), (1, 0)]),
    "hardsigmoid": (gcn.hardsigmoid, [(-3, 0), (0, 1 / 6), (3, 0)]),
    "hardswish": (gcn.hardswish, [(-3, 0), (0, 0.5), (3, 1)]),
    "leaky_relu": (gcn.leaky_relu, [(-1, 0.01), (0, 0.01), (1, 1)]),
    "prelu": (lambda x: gcn.prelu(x, 0.25), [(-1, 0.25), (0, 0.25), (1, 1)]),
    "elu": (lambda x: gcn.elu(x, 0.5), [(-1, 0.18393972058572117), (0, 0.5), (1, 1)]),
    "selu": (gcn.selu, [(-1, 0.646768603034814), (0, 1.7580993408473766), (1, 1.0507009873554805)]),
    "celu": (lambda x: gcn.celu(x, 0.5), [(-1, 0.1353352832366127), (0, 1), (1, 1)]),
    "softsign": (gcn.softsign, [(-1, 0.25), (0, 1), (1, 0.25)]),
    "gelu": (gcn.gelu, [(0, 0.5)]),
}


@BACKENDS
@pytest.mark.parametrize("name", SLOPES)
def test_slopes_at_kinks(name, backend):
    function, known = SLOPES[name]
    x = gcn.Input((), "x", dtype="float64")
    graph = gcn.gradient(gcn.Network(x, gcn.sum(function(x))).graph, "output", ["x"])
    places, slopes = np.array(known, float).T
    found = load_backend(backend).compile(gcn.simplify(graph))(x=places)["gradient(x)"]
    np.testing.assert_allclose(found, slopes, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", KNOWN)
def test_gradients_to_second_order(name):
    _, function, _ = KNOWN[name]
    x = gcn.Input((2, 5), "x", dtype="float64")
    array = np.random.default_rng(3).normal(size=(3, 2, 5)) * 3
    check_gradients(gcn.Network(x, function(x)).graph, "output", ["x"], {"x": array})


def test_a_gradient_has_no_nodes_for_what_has_none():
    x = gcn.Input((4,), "x")
    graph = gcn.gradient(gcn.Network(x, gcn.sum(gcn.leaky_relu(x))).graph, "output", ["x"])
    names = [node.op.name for _, node in graph.items() if node.origin.forward is not None]
    assert names.count("select") == 0
    assert names.count("multiply") == 1


# PReLU


@BACKENDS
@pytest.mark.parametrize("per_channel", [True, False])
def test_prelu_trains_its_slopes(per_channel, backend):
    layer = gcn.PReLU(per_channel=per_channel, initial=0.1, name="bent")
    network = gcn.Sequential(layer, gcn.Flatten())
    options = {"loss": gcn.SquaredError("mean"), "optimizer": gcn.SGD(0.5), "dtype": "float64"}
    model = gcn.compile(network, input_shape=(2, 3, 4), backend=backend, **options)
    assert model.parameters["bent.slope"].shape == ((4,) if per_channel else ())
    assert np.all(model.parameters["bent.slope"] == 0.1)
    x = np.random.default_rng(0).normal(size=(5, 2, 3, 4))
    outputs = np.where(x > 0, x, 0.1 * x)
    model.train_step(x, np.zeros((5, 24)))
    steps = np.where(x > 0, 0, x * outputs).sum(axis=(1, 2)).mean(axis=0)
    wanted = 0.1 - 0.5 * (steps if per_channel else steps.sum())
    np.testing.assert_allclose(model.parameters["bent.slope"], wanted, rtol=1e-12)


def test_prelu_as_a_function_takes_slopes_of_any_kind():
    x, slope = gcn.Input((2, 3), "x", dtype="float64"), gcn.Parameter((3,), "slope", dtype="float64")
    array, slopes = np.array([[[-1.0, -2.0, 3.0], [4.0, -5.0, -6.0]]]), np.array([0.5, 0.25, -1.0])
    graph = gcn.Network(x, gcn.prelu(x, slope)).graph
    found = gcn.evaluate(graph, x=array, slope=slopes)["output"]
    assert np.array_equal(found, np.where(array > 0, array, slopes * array))


# In networks


def test_a_network_of_all_activations_trains_alike_on_both_backends():
    layers = [
        gcn.Sequential(gcn.Conv2d(3, 3, padding="same"), activation) for activation, *_ in KNOWN.values()
    ]
    x = np.random.default_rng(0).normal(size=(5, 4, 4, 3))
    weights = []
    for backend in ("numpy", "native"):
        network = gcn.Sequential(*layers, gcn.Flatten(), gcn.Dense(2))
        options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "dtype": "float64"}
        model = gcn.compile(network, input_shape=(4, 4, 3), backend=backend, **options)
        for _ in range(2):
            model.train_step(x, np.arange(5) % 2)
        weights.append(model.weights)
    for name, array in weights[0].items():
        np.testing.assert_allclose(weights[1][name], array, rtol=0, atol=1e-12)


def test_the_number_of_a_layer_stands_apart_from_a_number_in_its_kind():
    network = gcn.Sequential(gcn.ReLU6(), gcn.ReLU(), gcn.ReLU6())
    graph = gcn.compile(network, input_shape=(3,)).forward_graph
    layers = dict.fromkeys(node.origin.layer for _, node in graph.items() if node.operands)
    assert list(layers) == ["relu6_1", "relu1", "relu6_2"]


# What is refused


def message(function):
    with pytest.raises((OptionError, ShapeError)) as caught:
        function()
    return str(caught.value)


REFUSED = {
    "LeakyReLU": (lambda: gcn.LeakyReLU("0.1"), "negative_slope='0.1' is not a number that is finite"),
    "leaky_relu": (lambda: gcn.leaky_relu(gcn.Input((3,)), math.nan), "negative_slope=nan"),
    "PReLU": (lambda: gcn.PReLU(8), "per_channel=8 is neither True nor False"),
    "ELU": (lambda: gcn.ELU(math.inf), "alpha=inf is not a number that is finite"),
    "CELU": (lambda: gcn.CELU(0), "alpha=0 is not a number other than 0"),
    "Softplus": (lambda: gcn.Softplus(0.0), "beta=0.0 is not a number other than 0"),
    "threshold": (lambda: gcn.Softplus(1, "20"), "threshold='20' is not a number"),
    "GELU": (lambda: gcn.GELU(approximate=True), 'approximate="none", or approximate="tanh"'),
    "Hardtanh": (lambda: gcn.Hardtanh(1, -1), "min_val=1 is not below max_val=-1"),
    "Softmax": (lambda: gcn.Softmax("channels"), "axis='channels' is not an integer"),
    "the batch": (lambda: gcn.softmax(gcn.Input((3,)), axis=0), "not an axis of a sample, for float32[N, 3]"),
    "no such axis": (lambda: gcn.softmax(gcn.Input((3,)), axis=2), "axis=2 is not an axis of a sample"),
    "an array": (lambda: gcn.silu(np.ones(3)), "silu takes values of a network, not ndarray"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    function, problem = REFUSED[name]
    found = message(function)
    assert problem in found
    assert "Mend: " in found
