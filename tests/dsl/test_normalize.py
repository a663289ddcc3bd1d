"""Normalize: statistics of the data in one call, and images of mean 0 and deviation 1."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.dsl.layers import normalize
from graphcnn.errors import DataError, OptionError, ShapeError

BYTES = np.random.default_rng(3).integers(0, 256, (50, 9, 7, 3), np.uint8) // np.array([1, 2, 4], np.uint8)
IMAGES = BYTES.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("images", [BYTES, IMAGES, IMAGES.astype(np.float64), IMAGES[:, ::2, ::-1]])
def test_statistics_are_those_of_each_channel(images, monkeypatch):
    whole = gcn.Normalize.of(images)
    scaled = images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
    np.testing.assert_allclose(whole.mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(whole.deviation, scaled.std((0, 1, 2)), rtol=1e-9)
    monkeypatch.setattr(normalize, "AT_ONCE", 500)
    parts = gcn.Normalize.of(images)
    np.testing.assert_allclose(parts.deviation, whole.deviation, rtol=1e-12)


def test_statistics_of_a_set_are_those_of_its_training_images():
    digits = gcn.data.load_digits()
    assert gcn.Normalize.of(digits).mean == gcn.Normalize.of(digits.images).mean


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_out_with_mean_0_and_deviation_1(backend, channels):
    images = IMAGES[..., :channels]
    layer = gcn.Normalize.of(images)
    model = gcn.compile(layer, input_shape=images.shape[1:], backend=backend)
    for found in (model.predict(images), model.predict(images, batch_size=7)):
        np.testing.assert_allclose(found.mean((0, 1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(found.std((0, 1, 2)), 1, rtol=1e-5)


def test_one_number_is_for_all_channels_and_rows_of_numbers_have_them_too():
    model = gcn.compile(gcn.Normalize(0.5, 0.25), input_shape=(4,), backend="numpy")
    assert model.predict(np.ones((2, 4), np.float32)).tolist() == [[2.0] * 4] * 2


def test_a_channel_that_never_changes_stays_finite():
    assert gcn.Normalize.of(np.full((3, 2, 2, 1), 7, np.uint8)).deviation == [1.0]
    assert gcn.Normalize.of(np.full((3, 2, 2, 1), 0.3, np.float32)).mean == pytest.approx([0.3])


def test_the_numbers_are_in_the_model_s_file(tmp_path):
    network = gcn.Sequential(gcn.Normalize((0.1, 0.2, 0.3), 2.0), gcn.Flatten(), gcn.Dense(2))
    model = gcn.compile(network, input_shape=(9, 7, 3), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))
    model.train_step(IMAGES, np.arange(50) % 2)
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors")
    assert list(again.weights) == ["dense1.weights", "dense1.bias"]
    np.testing.assert_array_equal(again.predict(IMAGES), model.predict(IMAGES))


@pytest.mark.parametrize(
    ("make", "error", "problem"),
    [
        (lambda: gcn.Normalize("grey", 1.0), OptionError, "mean='grey'"),
        (lambda: gcn.Normalize(0.5, (1.0, 0.0)), OptionError, "not above 0"),
        (lambda: gcn.Normalize(0.5, float("inf")), OptionError, "deviation=inf"),
        (lambda: gcn.Normalize((0.5, 0.5), 1.0)(gcn.Input((4, 4, 3))), ShapeError, "3 channels"),
        (lambda: gcn.Normalize.of(np.zeros((4, 2, 2, 1), np.int64)), DataError, "int64"),
        (lambda: gcn.Normalize.of(np.zeros((0, 2, 2, 1), np.uint8)), DataError, "uint8"),
        (lambda: gcn.Normalize.of(np.full((4, 2, 2, 1), np.nan)), DataError, "NaN"),
    ],
)
def test_what_is_no_statistic_is_named(make, error, problem):
    with pytest.raises(error, match=problem):
        make()
