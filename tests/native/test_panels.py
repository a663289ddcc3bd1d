"""Wide filters and weights are read panel by panel, from memory that has them in this order."""

import math

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn_native import NativeExecutable
from graphcnn_native.codegen.module import generate
from graphcnn_native.lowering import lower
from graphcnn_native.lowering.canonical import canonical
from graphcnn_native.lowering.panels import (
    LARGE_FILTERS,
    WEIGHT_VECTORS,
    WIDE_FILTERS,
    InPanels,
    PanelCorrelation,
    PanelMatmul,
)
from graphcnn_native.target import named_target, runs_here
from graphcnn_native.tile_sizes import tile_of_run

TARGETS = [name for name in ("avx512", "avx2", "baseline", "neon") if runs_here(named_target(name))]
LAYERS = [
    # rows and columns, channels, filters, taps, options
    (4, 300, 256, 1, {}),
    (3, 130, 533, 1, {}),
    (5, 300, 250, 1, {"stride": 2}),
    (8, 64, 121, 3, {"stride": 2, "padding": 1}),
    (7, 40, 200, 3, {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (2, 1)}),
]


def inference(size, channels, filters, taps, options):
    """Return the graph of an inference whose second convolution is wide, with arrays for it."""
    network = gcn.Sequential(gcn.Conv2d(channels, 1), gcn.Conv2d(filters, taps, **options), gcn.ReLU())
    model = gcn.compile(network, input_shape=(size, size, 2), backend="numpy", seed=1)
    return model.forward_graph, dict(model.weights)


def images(batch, size):
    return np.random.default_rng(batch).standard_normal((batch, size, size, 2)).astype(np.float32)


def kinds(graph):
    rewritten, _ = canonical(graph, named_target("avx512"), winograd=True)
    in_panels = InPanels | PanelCorrelation | PanelMatmul
    return [node.op for _, node in rewritten.items() if isinstance(node.op, in_panels)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_results_are_those_of_the_reference(layer, target):
    graph, weights = inference(*layer)
    executable, reference = NativeExecutable(graph, target=named_target(target)), load_backend("numpy")
    assert any("in_panels" in kernel.title for kernel in executable.program.kernels)
    for batch in (1, 3, 17):
        arrays = {"image": images(batch, layer[0]), **weights}
        expected = reference.compile(graph)(**arrays)["output"]
        found = executable(**arrays)["output"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_panels_have_the_columns_of_a_register_tile():
    graph, _ = inference(*LAYERS[0])
    panels, correlation = kinds(graph)
    assert panels.panel == correlation.tile[1] < LAYERS[0][2]
    assert math.prod(LAYERS[0][:1] * 2) % correlation.tile[0] == 0, "a sample fills its register tiles"


def dense_inference(depth, units, dtype="float32"):
    """Return the graph of an inference whose first dense layer has many weights, with arrays for it."""
    network = gcn.Sequential(gcn.Dense(units), gcn.ReLU(), gcn.Dense(3))
    model = gcn.compile(network, input_shape=(depth,), backend="numpy", seed=1, dtype=dtype)
    return model.forward_graph, dict(model.weights)


def rows(batch, depth, dtype="float32"):
    return np.random.default_rng(batch).standard_normal((batch, depth)).astype(dtype)


DENSE = [
    # depth, units, type
    (1280, 128, "float32"),
    (700, 250, "float32"),
    (2049, 533, "float32"),
    (1100, 100, "float64"),
    (9216, 65, "float32"),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("depth", "units", "dtype"), DENSE)
def test_dense_layers_compute_what_the_reference_does(depth, units, dtype, target):
    graph, weights = dense_inference(depth, units, dtype)
    executable, reference = NativeExecutable(graph, target=named_target(target)), load_backend("numpy")
    assert any("matmul_in_panels" in kernel.title for kernel in executable.program.kernels)
    for batch in (1, 3, 8, 17):
        arrays = {"image": rows(batch, depth, dtype), **weights}
        expected = reference.compile(graph)(**arrays)["output"]
        found = executable(**arrays)["output"]
        limit = 2e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(found, expected, rtol=0, atol=limit * np.abs(expected).max())


def test_samples_have_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads():
    graph, weights = dense_inference(2049, 533)
    batch = rows(17, 2049)
    expected = NativeExecutable(graph, threads=1)(image=batch, **weights)["output"]
    for threads in (1, 2, 3, 8):
        executable = NativeExecutable(graph, threads=threads)
        np.testing.assert_array_equal(executable(image=batch, **weights)["output"], expected)
        for number in (0, 16):
            alone = executable(image=batch[number : number + 1], **weights)["output"]
            np.testing.assert_array_equal(alone[0], expected[number])


def test_threads_share_the_panels_of_a_single_sample():
    target = named_target("avx512")  # of narrower vectors there are more panels than are worth sharing
    graph, _ = dense_inference(1280, 256)
    kernels = generate(lower(graph, target), target).kernels
    (product,) = (kernel for kernel in kernels if kernel.function.startswith("matmul_in_panels"))
    assert product.most_parts == 256 // (WEIGHT_VECTORS * target.lanes(4)) > 1


@pytest.mark.parametrize("places", [4, 16, 36, 64])
def test_two_threads_share_the_places_of_a_sample(places):
    rows, _ = tile_of_run(named_target("avx512"), places, 16, 20)
    assert rows <= places / 2


def test_narrow_filters_stay_as_they_are():
    channels, filters = 256, WIDE_FILTERS // 4 // 256
    assert kinds(inference(4, channels, filters, 1, {})[0])
    assert not kinds(inference(4, channels - 1, filters, 1, {})[0])
    assert kinds(dense_inference(512, WIDE_FILTERS // 4 // 512)[0])
    assert not kinds(dense_inference(511, WIDE_FILTERS // 4 // 512)[0])


def training(size, channels, filters, taps, options, dtype="float32"):
    """Return the step of a network whose second convolution has all three passes."""
    layers = gcn.Conv2d(channels, 1), gcn.Tanh(), gcn.Conv2d(filters, taps, **options), gcn.BatchNorm2d()
    model = gcn.compile(
        gcn.Sequential(*layers, gcn.ReLU(), gcn.GlobalAvgPool2d(), gcn.Dense(3)),
        input_shape=(size, size, 2),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1),
        backend="numpy",
        dtype=dtype,
    )
    return model.step_graph


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("layer", "turns"),
    [
        ((6, 128, 128, 3, {"stride": 2, "padding": 1}), True),
        ((5, 128, 144, 3, {"stride": (2, 1), "padding": ((1, 0), (0, 2))}), True),
        ((5, 130, 133, 3, {"stride": 2}), False),
        ((4, 368, 400, 1, {"stride": 2}), True),
        ((4, 368, 400, 1, {}), True),
        ((5, 96, 80, 3, {"padding": 1}, "float64"), True),
        ((5, 131, 129, 2, {"dilation": (2, 1)}, "float64"), False),
    ],
    ids=str,
)
def test_training_puts_large_filters_into_panels_anew(layer, turns, target, inputs_of):
    graph = training(*layer)
    panels = [op for op in kinds(graph) if isinstance(op, InPanels)]
    assert [op.is_turned for op in panels] == [False, turns]
    executable, reference = NativeExecutable(graph, target=named_target(target)), load_backend("numpy")
    assert sum(kernel.title == "in_panels" for kernel in executable.program.kernels) == 2
    for batch in (2, 17):
        inputs = inputs_of(graph, batch)
        found = executable(**inputs)
        for name, expected in reference.compile(graph)(**inputs).items():
            limit = 1e-11 if expected.dtype == np.float64 else 2e-5
            np.testing.assert_allclose(
                found[name], expected, rtol=0, atol=limit * (1 + np.abs(expected).max())
            )


def test_training_reads_smaller_filters_as_they_are():
    channels, filters = 512, LARGE_FILTERS // 4 // 512
    assert kinds(training(4, channels, filters, 1, {}))
    assert not kinds(training(4, channels - 1, filters, 1, {}))


def test_panels_are_prepared_and_follow_the_filters():
    layers = [gcn.Conv2d(300, 1), gcn.Conv2d(256, 1), gcn.BatchNorm2d(), gcn.Flatten(), gcn.Dense(3)]
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1)}
    model = gcn.compile(gcn.Sequential(*layers), input_shape=(4, 4, 2), **options)
    program = model.executable("forward").program
    (copying,) = (kernel for kernel in program.kernels if kernel.title == "in_panels")
    assert copying.stage < program.prepared
    before = model.predict(images(1, 4))
    model.train_step(images(20, 4), np.arange(20) % 3)
    after = model.predict(images(1, 4))
    assert not np.array_equal(before, after)
    fresh = NativeExecutable(model.forward_graph)(image=images(1, 4), **model.weights)
    np.testing.assert_array_equal(after, fresh["output"])
