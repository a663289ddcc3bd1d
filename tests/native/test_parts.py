"""Filters larger than 3x3 on tiles, as parts of 3x3: right at every size, as exact as product by product."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn_native import NativeExecutable
from graphcnn_native.lowering.canonical import canonical
from graphcnn_native.lowering.winograd import WinogradCorrelation, WinogradFilterGradient
from graphcnn_native.target import named_target, runs_here

SIZES = [
    # height, width, channels, filters, kernel, padding, batch, stride
    (12, 12, 24, 32, 5, "same", 5, 1),
    (20, 17, 32, 32, 5, 0, 17, 1),
    (16, 16, 16, 48, (4, 6), ((2, 1), (0, 3)), 3, 1),
    (15, 23, 20, 40, (7, 7), 3, 2, 1),
    (19, 18, 16, 33, (3, 5), "same", 16, 1),
    (16, 16, 24, 37, (6, 6), 0, 33, 1),
    (24, 25, 16, 32, 5, 2, 4, 2),
    (33, 31, 12, 40, 7, 3, 3, 2),
    (37, 40, 16, 24, (8, 5), 0, 2, (3, 2)),
    (40, 40, 8, 16, 7, "same", 5, 2),
]
TARGETS = [name for name in ("avx512", "avx2", "baseline", "neon") if runs_here(named_target(name))]


def network_of(channels, filters, kernel, padding, stride=1):
    large = gcn.Conv2d(filters, kernel, padding=padding, stride=stride)
    layers = [gcn.Conv2d(channels, 1), gcn.Tanh(), large, gcn.ReLU(), gcn.GlobalAvgPool2d(), gcn.Dense(3)]
    return gcn.Sequential(*layers)


def gradient_graph(height, width, *layer, dtype="float32"):
    """Return the gradient of a network whose second convolution has all three passes."""
    options = {"loss": gcn.CrossEntropy(), "backend": "numpy", "dtype": dtype}
    return gcn.compile(network_of(*layer), input_shape=(height, width, 2), **options).gradient_graph


def in_parts(graph):
    """Return how many correlations, of the three passes, are of filters in parts."""
    lowered, _ = canonical(graph, named_target("avx512"), winograd=True)
    ops = [node.op for _, node in lowered.items()]
    return sum(
        isinstance(op, WinogradCorrelation | WinogradFilterGradient) and op.taps != (3, 3) for op in ops
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_three_passes_agree_with_numpy(size, target, inputs_of):
    *layer, batch, stride = size
    graph = gradient_graph(*layer, stride)
    assert in_parts(graph) > 0
    inputs = inputs_of(graph, batch)
    executable = NativeExecutable(graph, target=named_target(target))
    expected, found = load_backend("numpy").compile(graph)(**inputs), executable(**inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5 * (1 + np.abs(array).max()))


@pytest.mark.parametrize("kernel", [5, 7])
def test_what_it_loses_is_about_a_bit(kernel, inputs_of):
    """Measured against float64: errors are at most four times those of plain sums."""
    layer = (20, 20, 24, 64, kernel, "same")
    graph, exact = gradient_graph(*layer), gradient_graph(*layer, dtype="float64")
    inputs = inputs_of(graph, 16)
    wide = {k: v.astype("float64") if v.dtype == "float32" else v for k, v in inputs.items()}
    expected = load_backend("numpy").compile(exact)(**wide)
    assert in_parts(graph) == 3
    errors = []
    for winograd in (True, False):
        found = NativeExecutable(graph, winograd=winograd)(**inputs)
        names = ("gradient(conv1.filters)", "gradient(conv2.filters)")
        errors.append([np.sqrt(np.mean((found[name] - expected[name]) ** 2)) for name in names])
    for tiled, plain in zip(*errors, strict=True):
        assert tiled < 4 * plain


def test_any_number_of_threads_gives_the_same_bits(inputs_of):
    graph = gradient_graph(*SIZES[0][:-2])
    for batch in (1, 2, 33):
        inputs = inputs_of(graph, batch)
        expected = NativeExecutable(graph, threads=1)(**inputs)
        for threads in (2, 8):
            found = NativeExecutable(graph, threads=threads)(**inputs)
            assert all(np.array_equal(found[name], array) for name, array in expected.items())


@pytest.mark.parametrize("stride", [1, 2])
def test_filters_and_gradients_are_taken_where_they_lie(stride):
    """No kernel turns them round before they are mapped, or pads them."""
    graph = gradient_graph(21, 21, 32, 32, 5, 0, stride)
    assert in_parts(graph) >= 2
    lowered, _ = canonical(graph, named_target("avx512"), winograd=True)
    moving = gcn.ops.Pad | gcn.ops.Crop | gcn.ops.Transpose

    def of_filters(node):
        return node.types[0].rank > 2 and not node.types[0].has_batch

    moved = [node for _, node in lowered.items() if isinstance(node.op, moving) and of_filters(node)]
    assert all(node.op.permutation == (0, 1, 3, 2) for node in moved), "the input gradient's, Eq. 21"


@pytest.mark.parametrize(
    ("channels", "filters", "kernel", "options"),
    [
        (1, 32, 5, {}),  # of too few channels
        (24, 4, 5, {}),  # and filters
        (32, 32, 3, {"stride": 2}),
        (32, 32, 5, {"stride": (2, 3)}),
        (32, 32, 5, {"dilation": 2}),
        (32, 32, 5, {"groups": 2}),
        (32, 32, (1, 7), {}),
        (32, 32, 2, {}),
    ],
)
def test_other_filters_take_every_product_as_it_is(channels, filters, kernel, options):
    layers = [gcn.Conv2d(filters, kernel, **options)]
    graph = gcn.compile(gcn.Sequential(*layers), input_shape=(24, 24, channels)).forward_graph
    assert in_parts(graph) == 0


def test_a_profile_counts_the_products_as_they_are_defined(inputs_of):
    graph = gradient_graph(20, 20, 32, 48, 5, 0)
    executable = NativeExecutable(graph)
    executable(**inputs_of(graph, 1))
    flops = {kernel.name: kernel.flops for kernel in executable.report().kernels}
    products = 2 * 25 * 32 * 48 * 16 * 16
    for name, share in (("winograd_relu", 1), ("winograd_gradient", 1), ("winograd_multiply", 1)):
        assert share * products <= flops[name] < 1.02 * share * products * (20 / 16) ** 2, name
