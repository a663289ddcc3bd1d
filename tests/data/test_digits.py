import hashlib
from importlib import resources

import numpy as np
import pytest

from graphcnn.data import Dataset, load_digits
from graphcnn.errors import DataError


def pixel_counts(images):
    return np.rint(images * 16).astype(np.uint8)


def test_shapes_types_and_classes():
    digits = load_digits()
    assert digits.images.shape == (1437, 8, 8, 1)
    assert digits.test_images.shape == (360, 8, 8, 1)
    assert digits.labels.shape == (1437,)
    assert digits.test_labels.shape == (360,)
    assert digits.images.dtype == digits.test_images.dtype == np.float32
    assert digits.labels.dtype == digits.test_labels.dtype == np.int64
    assert digits.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_pixels_are_sixteenths_from_0_to_1():
    digits = load_digits()
    for images in (digits.images, digits.test_images):
        assert images.min() == 0
        assert images.max() == 1
        np.testing.assert_array_equal(images, pixel_counts(images) / 16)


def test_each_class_is_as_frequent_as_its_source_states():
    digits = load_digits()
    counts = np.bincount(np.concatenate([digits.labels, digits.test_labels]))
    # The class distribution that UCI gives for optdigits.tes.
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_no_image_is_both_trained_and_tested_on():
    digits = load_digits()
    train = {image.tobytes() for image in digits.images}
    assert not train & {image.tobytes() for image in digits.test_images}


def test_the_split_never_changes():
    digits = load_digits()
    pixels = np.concatenate([pixel_counts(digits.images), pixel_counts(digits.test_images)])
    labels = np.concatenate([digits.labels, digits.test_labels]).astype(np.uint8)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == (
        "22ccb51d1417f8119764af32a91d6d7351b6b6f703ee31920487dcfdf6a4e72a"
    )
    assert hashlib.sha256(labels.tobytes()).hexdigest() == (
        "0f9ffd7948cafb397f7a000b667568d2e6ff757cc70e9e96e7ac289f51898d6f"
    )


def test_the_split_leaves_the_users_random_state_alone():
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    load_digits()
    assert np.random.random() == expected


def test_labels_belong_to_their_images():
    digits = load_digits()
    images, test_images = digits.images.reshape(-1, 64), digits.test_images.reshape(-1, 64)
    distances = ((test_images[:, np.newaxis] - images) ** 2).sum(axis=2)
    nearest = digits.labels[distances.argmin(axis=1)]
    assert (nearest == digits.test_labels).mean() > 0.97


def test_changing_one_copy_leaves_the_next_load_alone():
    first = load_digits()
    first.images[:] = 0
    assert load_digits().images.max() == 1


def test_the_representation_counts_rather_than_lists():
    assert repr(load_digits()) == "Dataset(1,437 training and 360 test images of 8x8x1, 10 classes)"


def test_the_licence_comes_with_the_data():
    licence = resources.files("graphcnn.data").joinpath("digits.LICENSE").read_text(encoding="utf-8")
    for part in ("Alpaydin", "Kaynak", "1998", "creativecommons.org/licenses/by/4.0", "Changes"):
        assert part in licence


def small_dataset(**changes):
    parts = {
        "images": np.zeros((3, 4, 5, 1), np.float32),
        "labels": np.array([0, 1, 1]),
        "test_images": np.zeros((2, 4, 5, 1), np.float32),
        "test_labels": np.array([1, 0]),
        "classes": ("cat", "dog"),
    }
    return Dataset(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": np.zeros((3, 4, 5, 1))}, ["images", "float32", "float64 of shape [3, 4, 5, 1]"]),
        ({"images": np.zeros((3, 4, 5), np.float32)}, ["images", "[N, H, W, C]", "[3, 4, 5]"]),
        ({"test_images": np.zeros((2, 9, 5, 1), np.float32)}, ["[3, 4, 5, 1]", "[2, 9, 5, 1]"]),
        ({"labels": np.array([0, 1])}, ["labels: 2", "images: 3"]),
        ({"test_labels": np.array([0.0, 1.0])}, ["test_labels", "int64", "float64"]),
        ({"labels": np.eye(3, 2, dtype=np.int64)}, ["labels", "[3, 2]", "one-hot"]),
        ({"labels": np.array([0, 2, 1])}, ["labels[1] = 2", "2 classes: 0 to 1"]),
        ({"test_labels": np.array([-1, 0])}, ["test_labels[0] = -1"]),
    ],
)
def test_arrays_that_do_not_fit_are_named(changes, said):
    with pytest.raises(DataError) as raised:
        small_dataset(**changes)
    for part in said:
        assert part in str(raised.value)


def test_a_dataset_that_fits_shows_its_sizes():
    assert repr(small_dataset()) == "Dataset(3 training and 2 test images of 4x5x1, 2 classes)"
