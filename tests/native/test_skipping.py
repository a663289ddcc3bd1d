"""Where a stride skips pixels, the convolution before it does not compute them."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn_native.lowering.canonical import canonical
from graphcnn_native.target import named_target

RANDOM = np.random.default_rng(4)


def sequential(*layers):
    return gcn.Sequential(*layers, gcn.ReLU(), gcn.Flatten(), gcn.Dense(3))


def plain():
    return sequential(gcn.Conv2d(8, 3, padding=1), gcn.ReLU(), gcn.Conv2d(6, 1, stride=2))


def normalised():
    first = [gcn.Conv2d(32, 5, padding=2, bias=False), gcn.BatchNorm2d(), gcn.ReLU6()]
    return sequential(*first, gcn.Conv2d(16, 1, stride=(2, 3)))


def strided_twice():
    return sequential(gcn.DepthwiseConv2d(3, stride=2), gcn.Tanh(), gcn.Conv2d(4, 1, stride=2, groups=2))


def pooled():
    return sequential(gcn.Conv2d(8, 3), gcn.MaxPool2d(2), gcn.Conv2d(6, 1, stride=2))


def read_twice():
    image = gcn.Input((13, 14, 4))
    maps = gcn.relu(gcn.Conv2d(8, 3, padding=1)(image))
    both = gcn.Flatten()(gcn.Conv2d(6, 1, stride=2)(maps)), gcn.Flatten()(maps)
    return gcn.Network(image, gcn.Dense(3)(gcn.concatenate(*both)))


def summed():
    image = gcn.Input((13, 14, 4))
    maps = gcn.relu(gcn.Conv2d(8, 3, padding=1)(image) + gcn.Conv2d(8, 1)(image))
    return gcn.Network(image, gcn.Dense(3)(gcn.Flatten()(gcn.Conv2d(6, 1, stride=2)(maps))))


MOVED = {plain: (2, 2), normalised: (2, 3), strided_twice: (4, 4)}
KEPT = (pooled, read_twice, summed)


def compiled(make, backend="native", dtype="float32"):
    network = make()
    shape = {} if isinstance(network, gcn.Network) else {"input_shape": (13, 14, 4)}
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "dtype": dtype, "seed": 1}
    return gcn.compile(network, **shape, **options, backend=backend)


def strides(graph):
    """Return the strides of all convolutions, in order."""
    rewritten, _ = canonical(graph, named_target("avx2"), winograd=False)
    return [node.op.stride for _, node in rewritten.items() if hasattr(node.op, "stride")]


@pytest.mark.parametrize("make", MOVED)
def test_the_first_convolution_takes_the_stride(make):
    assert strides(compiled(make, "numpy").forward_graph) == [MOVED[make], (1, 1)]


@pytest.mark.parametrize("make", KEPT)
def test_what_others_read_is_computed(make):
    assert (2, 2) in strides(compiled(make, "numpy").forward_graph)[1:]


@pytest.mark.parametrize("make", [*MOVED, *KEPT])
def test_predictions_and_training_are_those_of_the_reference(make):
    images = RANDOM.standard_normal((7, 13, 14, 4))
    models = [compiled(make, backend, "float64") for backend in ("native", "numpy")]
    for _ in range(2):
        for model in models:
            model.train_step(images, np.arange(7) % 3)
        found, expected = (model.predict(images) for model in models)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
