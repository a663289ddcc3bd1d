"""1x1 convolutions take the pixels of all samples as one row, where nothing asks which pixel it is."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn_native.kernels.correlation import STRETCH

SIZES = [(1, 1), (2, 3), (9, 1)]
BATCHES = (1, 16, 21)


def plain(x):
    return gcn.ReLU()(gcn.Conv2d(33, 1)(x))


def grouped(x):
    return gcn.ReLU()(gcn.Conv2d(32, 1, groups=2)(x))


def normalised(x):
    return gcn.ReLU6()(gcn.BatchNorm2d()(gcn.Conv2d(40, 1, bias=False)(x)))


def residual(x):
    return gcn.SiLU()(gcn.Conv2d(16, 1)(x) + x)


def weighed_by_sample(x):
    """Squeeze and excite: each sample and channel has a weight of its own."""
    weights = gcn.Sigmoid()(gcn.Dense(24)(gcn.GlobalAvgPool2d()(x)))
    return gcn.Conv2d(24, 1)(x) * gcn.Reshape((1, 1, 24))(weights)


def weighed_by_place(x):
    """Each pixel has a weight of its own, for all channels."""
    return gcn.Conv2d(20, 1)(x) * gcn.Sigmoid()(gcn.Conv2d(1, 1)(x))


def dropped(x):
    return gcn.Dropout(0.5)(gcn.ReLU()(gcn.Conv2d(24, 1)(x)))


def reshaped(x):
    return gcn.Flatten()(gcn.Conv2d(18, 1)(x)) * 2.0


BLOCKS = (plain, grouped, normalised, residual, weighed_by_sample, weighed_by_place, dropped, reshaped)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("block", BLOCKS)
def test_they_train_and_predict_as_the_reference_does(block, size):
    image = gcn.Input((*size, 5), name="image")
    features = gcn.Tanh()(gcn.Conv2d(16, 1)(image))
    network = gcn.Network(image, gcn.Dense(3)(gcn.Flatten()(block(features))))
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "dtype": "float64", "seed": 1}
    native, reference = (gcn.compile(network, backend=name, **options) for name in ("native", "numpy"))
    rng = np.random.default_rng(2)
    for batch in BATCHES:
        images, labels = rng.standard_normal((batch, *size, 5)), rng.integers(3, size=batch)
        np.testing.assert_allclose(native.predict(images), reference.predict(images), atol=1e-12)
        for model in (native, reference):
            model.train_step(images, labels)
        for name, expected in reference.state().items():
            np.testing.assert_allclose(native.state()[name], expected, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("padding", [((1, 0), (2, 0)), ((0, 1), (0, 2)), ((1, 1), (1, 1))])
@pytest.mark.parametrize("stride", [(2, 1), (2, 2), (3, 3)])
def test_maps_as_large_as_their_images_may_still_meet_other_pixels(stride, padding):
    """A stride takes away what padding adds: a result is where it was, and what it meets is not."""
    image = gcn.Input((1, 9, 5), name="image")
    x = gcn.Conv2d(16, 1, stride=stride, padding=padding)(gcn.Tanh()(gcn.Conv2d(16, 1)(image)))
    network = gcn.Network(image, gcn.Dense(3)(gcn.Flatten()(gcn.ReLU()(x))))
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "dtype": "float64", "seed": 1}
    native, reference = (gcn.compile(network, backend=name, **options) for name in ("native", "numpy"))
    images = np.random.default_rng(4).standard_normal((17, 1, 9, 5))
    for model in (native, reference):
        model.train_step(images, np.arange(17) % 3)
    for name, expected in reference.state().items():
        np.testing.assert_allclose(native.state()[name], expected, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("batch", BATCHES)
def test_threads_do_not_change_the_bits(batch):
    image = gcn.Input((2, 3, 5), name="image")
    network = gcn.Network(image, gcn.Dense(3)(gcn.Flatten()(normalised(gcn.Conv2d(16, 1)(image)))))
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "seed": 1}
    models = [gcn.compile(network, threads=threads, **options) for threads in (1, 2, 3, 8)]
    images = np.random.default_rng(3).standard_normal((batch, 2, 3, 5)).astype(np.float32)
    for model in models:
        model.train_step(images, np.arange(batch) % 3)
    for name, expected in models[0].state().items():
        for model in models[1:]:
            assert model.state()[name].tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("batch", [1, 3, 17])
def test_many_channels_are_written_stretch_by_stretch(batch, groups):
    """Results of more than a stretch, and a rest; on any number of threads, which begin anywhere."""
    image = gcn.Input((9, 13, 6), name="image")
    x = gcn.ReLU6()(gcn.Conv2d(200, 1, groups=groups)(image))
    network = gcn.Network(image, gcn.Dense(3)(gcn.Flatten()(gcn.ReLU6()(gcn.Conv2d(16, 1)(x)))))
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "seed": 1, "dtype": "float64"}
    reference = gcn.compile(network, backend="numpy", **options)
    models = [gcn.compile(network, threads=threads, **options) for threads in (1, 2, 3)]
    assert 2 * STRETCH < 9 * 13 * 200 * 8
    images = np.random.default_rng(5).standard_normal((batch, 9, 13, 6))
    for model in (reference, *models):
        model.train_step(images, np.arange(batch) % 3)
    for name, expected in reference.state().items():
        np.testing.assert_allclose(models[0].state()[name], expected, atol=1e-12, err_msg=name)
        for model in models:
            assert model.state()[name].tobytes() == models[0].state()[name].tobytes(), name
