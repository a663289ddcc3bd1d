"""Strided convolutions and transposed ones: no zero is multiplied, no tap summed up that is cropped off."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.ir import Emitter, Graph, TensorType
from graphcnn_native import NativeExecutable
from graphcnn_native.lowering.strides import phases, sides_needed
from graphcnn_native.target import named_target, runs_here

TARGETS = [name for name in ("avx512", "avx2", "baseline", "neon") if runs_here(named_target(name))]
ZEROS = [
    # factors, taps, padding, groups, channels, filters, rows and columns
    ((2, 2), (3, 3), ((1, 2), (1, 2)), 1, 16, 32, (5, 4)),
    ((2, 3), (3, 2), ((0, 0), (3, 1)), 1, 5, 20, (3, 7)),
    ((3, 2), (1, 1), ((0, 2), (0, 1)), 1, 8, 16, (4, 4)),
    ((4, 4), (3, 5), ((2, 2), (4, 4)), 2, 16, 34, (3, 2)),
    ((1, 2), (5, 5), ((4, 4), (4, 4)), 4, 16, 16, (6, 1)),
    ((2, 2), (3, 3), ((5, 0), (4, 7)), 24, 24, 24, (2, 3)),
]


def named(executable, part):
    return [kernel.name for kernel in executable.report().kernels if part in kernel.name]


def test_phases_are_the_correlation_with_zeros():
    rng = np.random.default_rng(0)
    for width, taps, factor, before, after in np.ndindex(5, 5, 4, 5, 5):
        image, window = rng.standard_normal(width + 1), rng.standard_normal(taps + 1)
        inserted = np.zeros(width * (factor + 1) + 1)
        inserted[:: factor + 1] = image
        padded = np.pad(inserted, (before, after))
        if len(padded) < len(window):
            continue
        expected = np.correlate(padded, window, "valid")
        found = phases(len(expected), len(window), before, factor + 1)
        left, right = sides_needed(len(image), found)
        map_ = np.pad(image, (left, right))
        result = np.full(len(expected), np.nan)
        for phase in found:
            for number in range(phase.count):
                first = number + phase.shift + left
                pixels = map_[first : first + phase.taps]
                part = window[phase.tap :: factor + 1]
                result[phase.first + number * (factor + 1)] = pixels @ part
        np.testing.assert_allclose(result, expected, atol=1e-12)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ZEROS, ids=str)
def test_correlations_over_inserted_zeros_agree_with_numpy(case, dtype, target):
    factors, taps, padding, groups, channels, filters, size = case
    graph = Graph("over zeros")
    emit = Emitter(graph)
    images = graph.input("images", TensorType(("N", *size, channels), dtype))
    window = graph.input("window", TensorType((*taps, channels // groups, filters), dtype))
    inserted = emit(ops.ZeroInsert(factors), images)
    graph.output(
        "y", emit(ops.Relu(), emit(ops.Correlate2d(padding=padding, groups=groups), inserted, window))
    )
    executable = NativeExecutable(graph, target=named_target(target))
    assert named(executable, "phased_correlation")
    assert not named(executable, "zero_insert")
    rng = np.random.default_rng(1)
    for batch in (1, 17):
        inputs = {
            label: rng.standard_normal(value.type.concrete(batch)).astype(dtype)
            for label, value in graph.inputs.items()
        }
        expected = load_backend("numpy").compile(graph)(**inputs)["y"]
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(
            executable(**inputs)["y"], expected, atol=tolerance * np.abs(expected).max()
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("layer", "kernels"),
    [
        (lambda: gcn.Conv2d(16, 3, stride=2, padding=1), ["phased_correlation", "correlate2d_of_taps"]),
        (lambda: gcn.Conv2d(16, 1, stride=2), ["phased_correlation", "correlate2d_of_taps"]),
        (lambda: gcn.Conv2d(32, 3, stride=3, padding="same"), ["phased_correlation"]),
        (lambda: gcn.Conv2d(32, 5, stride=2, padding=2, groups=2), ["phased_correlation"]),
        (lambda: gcn.DepthwiseConv2d(3, stride=2, padding=1), ["phased_correlation", "correlate2d_of_taps"]),
        (lambda: gcn.ConvTranspose2d(16, 3, stride=2, padding=1, output_padding=1), ["phased_correlation"]),
        (lambda: gcn.ConvTranspose2d(8, 4, stride=4), ["phased_correlation"]),
    ],
)
def test_gradients_of_strided_layers_agree_with_numpy(layer, kernels, dtype):
    network = gcn.Sequential(gcn.Conv2d(32, 1), gcn.Tanh(), layer(), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3))
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "dtype": dtype, "seed": 1}
    native, reference = (
        gcn.compile(network, input_shape=(12, 11, 2), backend=backend, **options)
        for backend in ("native", "numpy")
    )
    executable = native.executable("step")
    for kernel in kernels:
        assert named(executable, kernel)
    assert not named(executable, "zero_insert")
    assert not named(executable, "subsample")
    rng = np.random.default_rng(2)
    images, labels = rng.standard_normal((19, 12, 11, 2)).astype(dtype), np.arange(19) % 3
    for model in (native, reference):
        model.train_step(images, labels)
    for name, expected in reference.parameters.items():
        tolerance = 2e-6 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(native.parameters[name], expected, rtol=0, atol=tolerance * 10)


def test_few_filters_keep_their_samples_in_the_lanes():
    """A single map at the end of a decoder fills its lanes with samples, zeros and all."""
    network = gcn.Sequential(gcn.Conv2d(16, 1), gcn.ReLU(), gcn.ConvTranspose2d(1, 3, stride=2))
    executable = gcn.compile(network, input_shape=(6, 6, 2)).executable("forward")
    assert not named(executable, "phased_correlation")
    assert named(executable, "zero_insert")
