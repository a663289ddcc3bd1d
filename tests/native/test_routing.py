"""Gradients of a convolution before a max pool, by lists of errors that are not 0."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.ir import BATCH, Emitter, Graph, TensorType
from graphcnn.transform import bfloat16_products
from graphcnn.zoo import ZOO
from graphcnn_native import NativeExecutable
from graphcnn_native.lowering import lower
from graphcnn_native.target import named_target, runs_here

TARGETS = [name for name in ("avx512", "avx2") if runs_here(named_target(name))]
LAYERS = [
    # height, width, channels, filters, kernel, pool, padding, batch
    (14, 14, 6, 16, 5, 2, 0, 64),
    (14, 14, 6, 16, 5, 2, 0, 17),
    (13, 12, 16, 24, 3, 2, 1, 9),
    (15, 20, 3, 33, 5, 3, "same", 5),
    (30, 41, 4, 16, 7, (2, 4), ((3, 0), (1, 2)), 3),
    (9, 9, 64, 32, 2, 2, 0, 19),
    (7, 8, 90, 5, (4, 3), 2, 1, 2),  # more sums than registers
    (40, 40, 16, 16, 3, 2, 0, 2),  # not all rows of a map are listed together
]


def step_of(height, width, channels, filters, kernel, pool, padding=0, activation=None):
    network = gcn.Sequential(
        gcn.Conv2d(channels, 1),
        gcn.Tanh(),
        gcn.Conv2d(filters, kernel, padding=padding),
        activation or gcn.ReLU(),
        gcn.MaxPool2d(pool),
        gcn.Flatten(),
        gcn.Dense(3),
    )
    options = {"input_shape": (height, width, 2), "loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1)}
    return gcn.compile(network, backend="numpy", **options).step_graph


@pytest.mark.parametrize("target", TARGETS)
def test_errors_are_listed_that_are_rounded(target):
    graph = step_of(*LAYERS[0][:-1])
    assert by_lists(bfloat16_products(graph), target) == by_lists(graph, target)


def by_lists(graph, target, *, winograd=True):
    kernels = lower(graph, named_target(target), winograd=winograd).kernels
    return {kernel.title.rpartition("_multiply")[0] or kernel.title for kernel in kernels if
            kernel.title.startswith("routed")}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_gradients_agree_with_numpy(layer, target, inputs_of):
    *sizes, batch = layer
    graph = step_of(*sizes)
    inputs = inputs_of(graph, batch)
    executable = NativeExecutable(graph, target=named_target(target), winograd=False)
    assert ("routed_filter_gradient" in by_lists(graph, target, winograd=False)) == (target == "avx512")
    expected, found = load_backend("numpy").compile(graph)(**inputs), executable(**inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5 * (1 + np.abs(array).max()))


def gradients():
    """Return a graph of both gradients: of images, filters, pooled errors and the numbers of winners."""
    graph = Graph("gradients")
    emit = Emitter(graph)
    images, filters = (graph.input(name, TensorType(shape)) for name, shape in (
        ("images", (BATCH, 9, 8, 8)), ("filters", (4, 4, 8, 18))))  # fmt: skip
    delta, index = (graph.input(name, TensorType((BATCH, 3, 2, 18), dtype)) for name, dtype in (
        ("delta", "float32"), ("index", "uint8")))  # fmt: skip
    routed = emit(ops.RouteToWinner2d((2, 2), (2, 2), shape=(BATCH, 6, 5, 18)), delta, index)
    graph.output("dw", emit(ops.Correlate2d(sum_over="batch"), images, routed))
    turned = emit(ops.Transpose((0, 1, 3, 2)), emit(ops.Rot180((0, 1)), filters))
    graph.output("dx", emit(ops.Correlate2d(padding=((3, 3), (3, 3))), routed, turned))
    return graph


def numbers(batch=7):
    random = np.random.default_rng(3)
    return {
        "images": random.standard_normal((batch, 9, 8, 8)).astype(np.float32),
        "filters": random.standard_normal((4, 4, 8, 18)).astype(np.float32),
        "delta": random.standard_normal((batch, 3, 2, 18)).astype(np.float32),
        "index": random.integers(4, size=(batch, 3, 2, 18)).astype(np.uint8),
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", [0.0, -0.0, np.nan, np.inf, 1e30, 1e-44])
def test_errors_of_all_kinds_reach_what_they_would(number, target):
    """A NaN is no 0: it is listed. All but one filter have no error at all."""
    graph, inputs = gradients(), numbers()
    assert len(by_lists(graph, "avx512", winograd=False)) == 2
    inputs["delta"][..., 1:] = 0
    inputs["delta"][3, 2, 1, 0] = number
    found = NativeExecutable(graph, target=named_target(target), winograd=False)(**inputs)
    expected = load_backend("numpy").compile(graph)(**inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_a_number_that_names_no_unit_of_a_window_routes_nowhere(target):
    graph, inputs = gradients(), numbers()
    inputs["index"][::2, 0] = 4
    inputs["index"][1, 1] = 255
    found = NativeExecutable(graph, target=named_target(target), winograd=False)(**inputs)
    expected = load_backend("numpy").compile(graph)(**inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_where_nothing_is_routed_an_infinite_pixel_counts_for_nothing(number):
    graph, inputs = gradients(), numbers()
    inputs["delta"][...] = 0
    inputs["images"][2, 3, 4] = number
    (target,) = [name for name in TARGETS if name == "avx512"] or [None]
    if target is not None:
        found = NativeExecutable(graph, target=named_target(target), winograd=False)(**inputs)
        assert not found["dw"].any()


def test_lists_are_made_where_they_are_faster():
    """A few channels leave most of a vector of pixels unused; large maps leave the first cache."""
    steps = {name: compiled_step(ZOO[name]) for name in ("lenet5", "mnist_cnn")}
    assert by_lists(steps["lenet5"], "avx512") == {"routed_filter_gradient", "routed_correlation"}
    assert by_lists(steps["mnist_cnn"], "avx512") == {"routed_filter_gradient"}
    assert by_lists(steps["lenet5"], "avx2") == set()
    assert by_lists(step_of(20, 20, 1, 16, 3, 2), "avx512") == set()
    assert by_lists(step_of(26, 26, 32, 64, 3, 2), "avx512") == {"routed_filter_gradient"}
    assert by_lists(step_of(26, 26, 32, 64, 3, 2, activation=gcn.Tanh()), "avx512") == set(), (
        "every window has an error"
    )


def compiled_step(entry):
    options = {"input_shape": entry.input_shape, "loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1)}
    return gcn.compile(entry.make(), backend="numpy", **options).step_graph
