"""Filters larger than 3x3 on tiles, whole or in parts: right at every size, as exact as plain sums."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn_native import NativeExecutable
from graphcnn_native.lowering.canonical import canonical
from graphcnn_native.lowering.winograd import MAPPING, WinogradCorrelation, WinogradFilterGradient
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
    (13, 12, 16, 32, 4, "same", 5, 1),
    (9, 10, 40, 20, (4, 5), 1, 17, 1),
    (9, 13, 24, 32, 5, 0, 18, 1),
    (12, 11, 16, 32, 7, 3, 33, 2),
    (21, 19, 16, 24, 8, 0, 3, 1),
    (5, 6, 24, 64, 6, "same", 3, 1),
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


def on_tiles(graph):
    """Return the forms of the tiles of correlations, of the three passes, by filters larger than 3x3."""
    lowered, _ = canonical(graph, named_target("avx512"), winograd=True)
    ops = [node.op for _, node in lowered.items()]
    return [
        op.form
        for op in ops
        if isinstance(op, WinogradCorrelation | WinogradFilterGradient) and op.taps != (3, 3)
    ]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_three_passes_agree_with_numpy(size, target, inputs_of):
    *layer, batch, stride = size
    graph = gradient_graph(*layer, stride)
    assert on_tiles(graph)
    inputs = inputs_of(graph, batch)
    executable = NativeExecutable(graph, target=named_target(target))
    expected, found = load_backend("numpy").compile(graph)(**inputs), executable(**inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5 * (1 + np.abs(array).max()))


def test_all_forms_are_among_these():
    forms = {form for *layer, batch, stride in SIZES for form in on_tiles(gradient_graph(*layer, stride))}
    assert forms == {*MAPPING}


@pytest.mark.parametrize(
    ("kernel", "size", "form"), [(6, 20, (4, 3)), (4, 18, (3, 4)), (7, 18, (3, 4)), (5, 10, (2, 5))]
)
def test_what_it_loses_is_about_a_bit(kernel, size, form, passes_of, inputs_of):
    """Measured against float64: errors are at most four times those of plain sums."""
    for single, double in zip(
        *(passes_of(size, 24, 64, kernel, t) for t in ("float32", "float64")), strict=True
    ):
        inputs = inputs_of(single, 16)
        expected = load_backend("numpy").compile(double)(
            **{k: v.astype("float64") for k, v in inputs.items()}
        )
        assert on_tiles(single)[0] == form
        tiled, plain = (NativeExecutable(single, winograd=winograd)(**inputs) for winograd in (True, False))
        for name, array in expected.items():
            error, usual = (np.sqrt(np.mean((found[name] - array) ** 2)) for found in (tiled, plain))
            assert error < 4 * usual, name


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
    assert len(on_tiles(graph)) >= 2
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
    assert on_tiles(graph) == []


def test_a_profile_counts_the_products_as_they_are_defined(inputs_of):
    graph = gradient_graph(20, 20, 32, 48, 5, 0)
    executable = NativeExecutable(graph)
    executable(**inputs_of(graph, 1))
    flops = {kernel.name: kernel.flops for kernel in executable.report().kernels}
    products = 2 * 25 * 32 * 48 * 16 * 16
    for name, share in (("winograd_relu", 1), ("winograd_gradient", 1), ("winograd_multiply", 1)):
        assert share * products <= flops[name] < 1.02 * share * products * (20 / 16) ** 2, name
