"""Sums that batch norm waits for are added up by the kernels that compute what they are of."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn_native.lowering import lower
from graphcnn_native.lowering.program import Domain
from graphcnn_native.target import named_target


def network(kind):
    """Return two normalised convolutions of a kind: their maps have part of a vector and part of a tile."""
    convolution = {
        "tiles": lambda: gcn.Conv2d(20, 3, padding=1, bias=False),
        "strided": lambda: gcn.Conv2d(20, 3, stride=2, padding=1, bias=False),
        "one tap": lambda: gcn.Conv2d(20, 1, bias=False),
        "depthwise": lambda: gcn.DepthwiseConv2d(3, padding=1),
    }[kind]
    layers = [layer for _ in range(2) for layer in (convolution(), gcn.BatchNorm2d(), gcn.ReLU())]
    return gcn.Sequential(*layers, gcn.GlobalAvgPool2d(), gcn.Dense(10))


def model_of(kind, **options):
    return gcn.compile(
        network(kind),
        input_shape=(14, 15, 20),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.05),
        seed=0,
        **options,
    )


KINDS = ["tiles", "strided", "one tap", "depthwise"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_kernel_reads_maps_for_their_mean_alone(kind):
    program = lower(model_of(kind, backend="numpy").step_graph, named_target("avx512"))
    adding = [kernel for kernel in program.kernels if kernel.sums]
    assert sum(len(kernel.sums) for kernel in adding) >= 5
    assert all(kernel.domain is Domain.SAMPLES and kernel.root is not None for kernel in adding)
    alone = [kernel for kernel in program.kernels if kernel.adds_up_samples and kernel.title == "mean"]
    assert {kernel.shape for kernel in alone} == {()}  # the loss


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 5, 24])
def test_they_are_right_and_the_same_on_any_number_of_threads(kind, batch):
    generator = np.random.default_rng(batch)
    images = generator.standard_normal((batch, 14, 15, 20)).astype("f") + 30
    labels = np.arange(batch) % 10
    found = []
    for options in ({"backend": "numpy"}, *({"threads": threads} for threads in (1, 2, 3, 8))):
        model = model_of(kind, **options)
        losses = [model.train_step(images, labels)["loss"] for _ in range(2)]
        found.append((losses, {name: np.array(value) for name, value in model.parameters.items()}))
    (expected, _), (losses, parameters), *others = found
    np.testing.assert_allclose(losses, expected, rtol=2e-4)
    for _, other in others:
        assert all(np.array_equal(other[name], value) for name, value in parameters.items())
