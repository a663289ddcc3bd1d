"""Functions and operators that work element by element: values, slopes, types, and what is refused."""

import math

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError, ShapeError

X = np.array([[-2.0, -1.0, 0.0, 0.5], [1.0, 2.0, 3.0, -0.5]])
Y = np.array([[-1.0, -1.0, 1.0, 0.25], [2.0, -2.0, 3.0, 0.0]])
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def values(function, backend="numpy", *, gradient=False, dtype="float64"):
    """Return the function of X and Y, or the gradient of its sum by X."""
    x, y = gcn.Input((4,), "x", dtype=dtype), gcn.Input((4,), "y", dtype=dtype)
    graph = gcn.Network((x, y), function(x, y)).graph
    if gradient:
        graph = gcn.Network((x, y), gcn.sum(function(x, y))).graph
        graph = gcn.gradient(graph, "output", ["x"])
    (found,) = load_backend(backend).compile(graph)(x=X.astype(dtype), y=Y.astype(dtype)).values()
    return found


FUNCTIONS = {
    "abs": (lambda x, y: gcn.abs(x), np.abs(X)),
    "sign": (lambda x, y: gcn.sign(x), np.sign(X)),
    "sin": (lambda x, y: gcn.sin(x), np.sin(X)),
    "cos": (lambda x, y: gcn.cos(x), np.cos(X)),
    "erf": (lambda x, y: gcn.erf(x), np.vectorize(math.erf)(X)),
    "minimum": (gcn.minimum, np.minimum(X, Y)),
    "minimum of a number": (lambda x, y: gcn.minimum(0.5, x), np.minimum(X, 0.5)),
    "clip": (lambda x, y: gcn.clip(x, -1, 1), np.clip(X, -1, 1)),
    "clip below": (lambda x, y: gcn.clip(x, 0.25), np.maximum(X, 0.25)),
    "clip above": (lambda x, y: gcn.clip(x, high=np.float32(0.25)), np.minimum(X, 0.25)),
    "clip by a value": (lambda x, y: gcn.clip(x, y, 2), np.clip(X, Y, 2)),
    "clip by a value above": (lambda x, y: gcn.clip(x, high=gcn.mean(y)), np.minimum(X, Y.mean())),
    "clip where low is above high": (lambda x, y: gcn.clip(x, y + 1, y), Y),
    "where": (lambda x, y: gcn.where(x > y, x, 2 * y), np.where(X > Y, X, 2 * Y)),
    "where, numbers": (lambda x, y: gcn.where(x >= 0, 1.0, -1.0), np.where(X >= 0, 1, -1)),
    "where, one number": (lambda x, y: gcn.where(x < y, x, 0), np.where(X < Y, X, 0)),
    "where, broadcast": (
        lambda x, y: gcn.where(gcn.mean(x) <= 1, x, gcn.mean(y, axes=0)),
        np.where(X.mean() <= 1, X, Y.mean(axis=0)),
    ),
    "and": (lambda x, y: gcn.where((x > -1) & (x < 1), 1, 0), (X > -1) & (X < 1)),
    "or": (lambda x, y: gcn.where((x > 1) | (y < 1), 1, 0), (X > 1) | (Y < 1)),
    "not equal": (lambda x, y: gcn.where(~gcn.equal(x, y), 1, 0), X != Y),
    "stop_gradient": (lambda x, y: gcn.stop_gradient(x) * y, X * Y),
}


@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name, dtype, backend):
    function, wanted = FUNCTIONS[name]
    found = values(function, backend, dtype=dtype)
    assert found.dtype == dtype
    assert np.abs(found - wanted).max() <= (1e-6 if dtype == "float32" else 1e-14)


SLOPES = {
    "clip, its ends too": (lambda x, y: gcn.clip(x, -1, 1), [[0, 1, 1, 1], [1, 0, 0, 1]]),
    "clip by values": (lambda x, y: gcn.clip(x, y, 2 + 0 * y), [[0, 1, 0, 1], [0, 1, 0, 0]]),
    "where": (lambda x, y: gcn.where(x > 0, 3 * x, x), [[1, 1, 1, 3], [3, 3, 3, 1]]),
    "a condition has none": (lambda x, y: gcn.where(x > 0, y, 0), np.zeros((2, 4))),
    "stop_gradient": (lambda x, y: gcn.stop_gradient(x) * x, X),
}


@BACKENDS
@pytest.mark.parametrize("name", SLOPES)
def test_slopes(name, backend):
    function, wanted = SLOPES[name]
    assert np.array_equal(values(function, backend, gradient=True), wanted)


@BACKENDS
def test_comparisons_are_truth_values(backend):
    for compare in (np.greater, np.greater_equal, np.less, np.less_equal):
        found = values(lambda x, y, compare=compare: gcn.where(compare_of(compare, x, y), x, y), backend)
        assert np.array_equal(found, np.where(compare(X, Y), X, Y))
    assert values(lambda x, y: x > y, backend).dtype == bool
    assert np.array_equal(values(lambda x, y: x <= 0.5, backend), X <= 0.5)


def compare_of(compare, x, y):
    return {
        np.greater: lambda: x > y,
        np.greater_equal: lambda: x >= y,
        np.less: lambda: x < y,
        np.less_equal: lambda: x <= y,
    }[compare]()


def test_numbers_beside_a_condition_follow_the_precision_of_the_network():
    x = gcn.Input((4,))
    network = gcn.Network(x, gcn.where(~(x > 0), 0.1, 0.2) * x)
    for dtype in ("float32", "float64"):
        model = gcn.compile(network, dtype=dtype)
        assert np.array_equal(model.predict(X), np.where(X > 0, 0.2, 0.1).astype(dtype) * X.astype(dtype))


def test_a_condition_on_labels_chooses_fractions():
    labels = gcn.Input((), "labels", dtype="int64")
    graph = gcn.Network(labels, gcn.where(labels > 1, 0.5, 0.25)).graph
    assert gcn.evaluate(graph, labels=np.arange(4))["output"].tolist() == [0.25, 0.25, 0.5, 0.5]


def test_equality_of_values_asks_for_identity():
    x = gcn.Input((4,))
    assert x == x
    assert x != gcn.Input((4,))
    assert x in {x}


def test_a_stopped_gradient_costs_nothing_natively():
    x = gcn.Input((4,))
    with_stop = gcn.Network(x, gcn.Dense(3)(gcn.stop_gradient(gcn.Dense(5)(x))))
    without = gcn.Network(x, gcn.Dense(3)(gcn.Dense(5)(x)))
    kernels = [
        [kernel.name for kernel in gcn.compile(network, dtype="float32").profile(X).kernels]
        for network in (with_stop, without)
    ]
    assert kernels[0] == kernels[1]


def message(function):
    with pytest.raises((OptionError, ShapeError)) as caught:
        function()
    return str(caught.value)


def test_what_is_refused():
    x = gcn.Input((4,))
    assert "(x > 0) & (x < 1) joins two conditions" in message(lambda: 0 < x < 1)
    assert "clip needs a bound" in message(lambda: gcn.clip(x))
    assert "low=2.0, high=1.0 is no interval" in message(lambda: gcn.clip(x, 2, 1))
    assert "low=nan is not a number" in message(lambda: gcn.clip(x, math.nan))
    assert "neither a value of the network nor a number" in message(lambda: gcn.clip(x, "0"))
    assert "takes values of a network, not float" in message(lambda: gcn.clip(1.0, 0, 1))
    assert "condition of select is float32[N, 4], not bool" in message(lambda: gcn.where(x, 1.0, 0.0))
    assert "takes truth values" in message(lambda: (x > 0) & x)
    assert "takes truth values" in message(lambda: ~x)
    assert "cannot bring [N, 4] and [N, 3]" in message(lambda: x > gcn.Input((3,)))
    assert "for arrays, use NumPy's own function" in message(lambda: gcn.abs(np.ones(3)))
