"""Depthwise correlations: forward and the gradient of their filters, whatever falls on the images' edges."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.ir import Emitter, Graph, TensorType
from graphcnn.ops import Correlate2d, Relu
from graphcnn_native import NativeExecutable
from graphcnn_native.codegen.module import generate
from graphcnn_native.kernels.correlation_writer import NEARBY
from graphcnn_native.kernels.depthwise_tiles import taps_met, tiles
from graphcnn_native.lowering import lower
from graphcnn_native.target import named_target, runs_here
from graphcnn_native.tile_sizes import taps_at_once

TARGETS = [name for name in ("avx512", "avx2", "baseline", "neon") if runs_here(named_target(name))]
CASES = [
    # rows and columns, taps, channels, options
    ((7, 9), (3, 3), 48, {"padding": ((1, 1), (1, 1))}),
    ((8, 8), (3, 3), 20, {"stride": (2, 2), "padding": ((0, 1), (0, 1))}),
    ((9, 8), (5, 5), 17, {"padding": ((2, 2), (2, 2))}),
    ((9, 8), (5, 5), 33, {"stride": (2, 2), "padding": ((1, 2), (1, 2))}),
    ((7, 7), (7, 7), 40, {"padding": ((3, 3), (3, 3))}),
    ((12, 11), (3, 2), 130, {"dilation": (2, 3), "padding": ((2, 1), (1, 4))}),
    ((9, 10), (3, 3), 6, {"stride": (2, 3), "dilation": (3, 2), "padding": ((1, 4), (0, 3))}),
    ((1, 1), (3, 3), 64, {"padding": ((1, 1), (1, 1))}),
    ((2, 2), (5, 5), 16, {"padding": ((2, 2), (2, 2))}),
    ((2, 3), (2, 2), 3, {"padding": ((3, 2), (0, 4))}),
    ((6, 5), (1, 1), 100, {}),
    ((3, 4), (1, 1), 8, {"padding": ((1, 0), (2, 1))}),
    ((20, 33), (17, 33), 5, {"padding": ((8, 8), (0, 0))}),
    ((5, 40), (1, 35), 18, {"padding": ((0, 0), (17, 17))}),
    ((60, 50), (3, 3), 24, {"padding": ((1, 1), (1, 1))}),
    ((61, 50), (3, 3), 24, {"stride": (2, 2), "padding": ((1, 1), (1, 1))}),
]


def depthwise(case, dtype, *, over_batch):
    """Return a graph of one depthwise correlation over a batch, or of the gradient of its filters."""
    size, taps, channels, options = case
    graph = Graph("depthwise")
    emit = Emitter(graph)
    images = graph.input("images", TensorType(("N", *size, channels), dtype))
    filters = TensorType((*taps, 1, channels), dtype)
    forward = Correlate2d(**options, groups=channels)
    if over_batch:
        (maps,) = forward.result_types(images.type, filters)
        gradient = Correlate2d(
            forward.dilation, forward.padding, forward.stride, groups=channels, sum_over="batch"
        )
        whole = emit(gradient, images, graph.input("deltas", maps))
        graph.output("y", whole)
    else:
        graph.output("y", emit(Relu(), emit(forward, images, graph.input("filters", filters))))
    return graph


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("over_batch", [False, True], ids=["forward", "filter gradient"])
def test_native_and_numpy_agree(case, dtype, target, over_batch):
    graph = depthwise(case, dtype, over_batch=over_batch)
    executable = NativeExecutable(graph, target=named_target(target))
    rng = np.random.default_rng(1)
    for batch in (1, 11):
        inputs = {
            label: rng.standard_normal(value.type.concrete(batch)).astype(dtype)
            for label, value in graph.inputs.items()
        }
        expected = load_backend("numpy").compile(graph)(**inputs)["y"]
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        found = executable(**inputs)["y"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("stride", [1, 2])
def test_images_and_errors_are_reshaped_ones_of_many_bytes(stride):
    size = 2 * NEARBY // (4 * 40 * 24)
    layers = [gcn.Dense(size * 40 * 24), gcn.Reshape((size, 40, 24))]
    layers += [gcn.DepthwiseConv2d(3, stride=stride, padding=1), gcn.Flatten(), gcn.Dense(3)]
    options = {"input_shape": (2,), "loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "dtype": "float64"}
    native, numpy = (
        gcn.compile(gcn.Sequential(*layers), backend=backend, seed=0, **options)
        for backend in ("native", "numpy")
    )
    x, labels = np.random.default_rng(0).standard_normal((3, 2)), np.arange(3)
    for model in (native, numpy):
        model.train_step(x, labels)
    for name, values in numpy.parameters.items():
        np.testing.assert_allclose(native.parameters[name], values, rtol=1e-9, atol=1e-12)


def test_taps_are_those_that_fall_on_the_row():
    for places, taps, pixels, before, step, reach in np.ndindex(6, 5, 6, 7, 3, 3):
        steps = step + 1, reach + 1
        for place, met in enumerate(taps_met(places, taps, pixels, before, steps)):
            on_the_row = [n for n in range(taps) if 0 <= place * steps[0] + n * steps[1] - before < pixels]
            assert list(met) == on_the_row


def test_tiles_cover_a_row_in_order():
    taps = [range(1, 3), *[range(3)] * 13, range(2)]
    for largest in range(1, 17):
        found = tiles(len(taps), largest, taps)
        places = [
            (tile.first + number * len(tile.taps) + place, met)
            for tile in found
            for number in range(tile.count)
            for place, met in enumerate(tile.taps)
        ]
        assert places == list(enumerate(taps))


@pytest.mark.parametrize("name", ["avx512", "avx2", "baseline", "neon"])
def test_sums_and_factors_fit_the_registers(name):
    target = named_target(name)
    for rows, taps, wide in np.ndindex(12, 40, 9):
        at_once, along, vectors = taps_at_once(target, rows + 1, taps + 1, wide + 1)
        assert (at_once * along + 1) * vectors < target.registers
        assert along == taps + 1 or at_once == 1


def test_one_pass_sums_up_all_taps_of_small_filters():
    target = named_target("avx512")
    program = lower(depthwise(CASES[0], "float32", over_batch=True), target)
    found = [kernel.tile for kernel in generate(program, target).kernels]
    assert "3x3 taps x 3 vectors" in found


@pytest.mark.parametrize("over_batch", [False, True], ids=["forward", "filter gradient"])
def test_zeros_at_the_sides_are_written_for_many_taps_alone(over_batch):
    def kernels(case):
        report = NativeExecutable(depthwise(case, "float32", over_batch=over_batch)).report()
        return [kernel.name for kernel in report.kernels]

    few, many = (case for case in CASES if case[1] in ((7, 7), (1, 35)))
    assert not any("pad" in name for name in kernels(few))
    assert any("pad" in name for name in kernels(many))
