"""Large samples go through neighbouring kernels a few at a time, and nothing but the time depends on it."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn_native.lowering import lower, strips
from graphcnn_native.lowering.program import Domain
from graphcnn_native.target import named_target

CLASSES = 4
BATCHES = (1, 3, 16, 37)


def separable():
    """Depthwise and pointwise convolutions, with and without sums over the batch between them."""
    image = gcn.Input((9, 9, 3))
    x = gcn.ReLU()(gcn.BatchNorm2d()(gcn.Conv2d(12, 1)(image)))
    y = gcn.Tanh()(gcn.DepthwiseConv2d(3, padding="same")(x))
    x = gcn.ReLU()(gcn.BatchNorm2d()(gcn.Conv2d(12, 1)(y)) + x)
    x = gcn.Tanh()(gcn.Conv2d(20, 1, stride=2)(x))
    return gcn.Network(image, gcn.Dense(CLASSES)(gcn.GlobalAvgPool2d()(x)))


def shrinking():
    """Maps of several sizes in one stage, some kernels of which take the whole block."""
    layers = [gcn.Conv2d(28, 1), gcn.Tanh(), gcn.MaxPool2d(2, stride=1), gcn.Conv2d(28, 1), gcn.Tanh()]
    layers += [gcn.Conv2d(6, 3, padding="same"), gcn.Tanh(), gcn.MaxPool2d(2), gcn.Conv2d(28, 1), gcn.Tanh()]
    layers += [gcn.AvgPool2d(3, stride=1), gcn.Conv2d(28, 1)]
    image = gcn.Input((9, 9, 3))
    return gcn.Network(image, gcn.Sequential(*layers, gcn.Tanh(), gcn.Flatten(), gcn.Dense(CLASSES))(image))


NETWORKS = (separable, shrinking)


def compiled(network, backend="native", threads=1):
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1, momentum=0.9), "metrics": []}
    backends = {"backend": backend} if backend == "numpy" else {"backend": backend, "threads": threads}
    return gcn.compile(network(), seed=3, **backends, **options)


def trained(model):
    """Return all parameters after some steps, and what the network says then."""
    draw = np.random.default_rng(0)
    for batch in BATCHES:
        x = draw.standard_normal((batch, 9, 9, 3)).astype("float32")
        model.train_step(x, draw.integers(0, CLASSES, batch))
    predictions = [model.predict(x[:batch], batch_size=batch) for batch in BATCHES]
    return [*(model.weights[name] for name in sorted(model.weights)), *predictions]


@pytest.fixture(params=[64, 8000])
def nearby(request, monkeypatch):
    """A cache so small that samples of small networks leave it."""
    monkeypatch.setattr(strips, "NEARBY", request.param)
    monkeypatch.setenv("GRAPHCNN_CACHE", "off")
    return request.param


def program_of(network, kind="forward_graph"):
    return lower(getattr(compiled(network, "numpy"), kind), named_target("avx512"))


@pytest.mark.parametrize("network", NETWORKS)
def test_they_compute_what_the_reference_computes(network, nearby):
    for found, expected in zip(trained(compiled(network)), trained(compiled(network, "numpy")), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_they_give_the_same_bits_on_any_number_of_threads(network, nearby):
    expected = trained(compiled(network))
    for threads in (3, 8):
        found = trained(compiled(network, threads=threads))
        assert all(np.array_equal(x, y) for x, y in zip(found, expected, strict=True))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", ["forward_graph", "step_graph"])
def test_some_kernels_of_a_small_cache_take_strips(network, kind, monkeypatch):
    monkeypatch.setattr(strips, "NEARBY", 8000)
    program = program_of(network, kind)
    taken = {kernel.strip for kernel in program.kernels if kernel.domain is Domain.SAMPLES}
    assert taken - {program.block}, "no kernel takes less than a block"
    assert any(first < last for first, last in program.strip_loops.values())


def test_what_several_loops_need_outlives_the_strips(monkeypatch):
    monkeypatch.setattr(strips, "NEARBY", 8000)
    program = program_of(shrinking)
    in_blocks = {buffer for kernel in program.kernels for buffer in kernel.kept if buffer in program.offsets}
    assert program.within_strips
    assert in_blocks - program.within_strips


def test_small_samples_go_through_all_kernels_block_by_block():
    program = program_of(shrinking, "step_graph")
    assert {kernel.strip for kernel in program.kernels} == {program.block}


def test_filters_that_are_larger_than_the_samples_are_not_read_for_each_strip(monkeypatch):
    monkeypatch.setattr(strips, "NEARBY", 10_000)
    image = gcn.Input((2, 2, 64))
    network = gcn.Network(image, gcn.Tanh()(gcn.Conv2d(128, 1)(gcn.Tanh()(gcn.Conv2d(128, 1)(image)))))
    program = lower(gcn.compile(network, backend="numpy").forward_graph, named_target("avx512"))
    assert {kernel.strip for kernel in program.kernels} == {program.block}
