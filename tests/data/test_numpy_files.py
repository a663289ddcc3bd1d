"""Arrays in NumPy's files: what they are called, how they are read, and what is refused."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.data import load_numpy
from graphcnn.data.mapping import is_mapped
from graphcnn.errors import FileError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (7, 5, 4), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 1, 0, 2, 2])
TESTS, TEST_LABELS = IMAGES[:3], LABELS[:3]

NAMINGS = {
    "plain": ("images", "labels", "test_images", "test_labels"),
    "keras": ("x_train", "y_train", "x_test", "y_test"),
    "medical": ("train_images", "train_labels", "test_images", "test_labels"),
    "upper": ("X_train", "Y_train", "X_test", "Y_test"),
    "validation": ("train_images", "train_labels", "val_images", "val_labels"),
    "kmnist": ("kmnist-train-imgs", "kmnist-train-labels", "kmnist-test-imgs", "kmnist-test-labels"),
}


def same(dataset, images=IMAGES, tests=TESTS):
    for found, expected in ((dataset.images, images), (dataset.test_images, tests)):
        expected = expected[..., None] if expected.ndim == 3 else expected
        np.testing.assert_array_equal(found, expected)
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.test_labels.tolist() == TEST_LABELS.tolist()


@pytest.mark.parametrize("names", NAMINGS.values(), ids=NAMINGS)
@pytest.mark.parametrize("kind", ["npz", "compressed", "folder of npy", "folder of npz"])
@pytest.mark.parametrize("load", [load_numpy, gcn.data.load])
def test_arrays_are_known_by_their_names(tmp_path, names, kind, load):
    arrays = dict(zip(names, (IMAGES, LABELS, TESTS, TEST_LABELS), strict=True))
    path = tmp_path
    if kind == "folder of npy":
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
    elif kind == "folder of npz":
        for name, array in arrays.items():
            np.savez_compressed(tmp_path / f"{name}.npz", array)
    else:
        path = tmp_path / "set.npz"
        (np.savez if kind == "npz" else np.savez_compressed)(path, **arrays)
    dataset = load(path)
    same(dataset)
    assert dataset.classes == ("0", "1", "2")
    assert is_mapped(dataset.images) == (kind == "folder of npy")


def test_of_test_and_validation_the_test_part_is_taken(tmp_path):
    path = tmp_path / "set.npz"
    others = {"val_images": IMAGES[3:], "val_labels": LABELS[3:]}
    np.savez(path, images=IMAGES, labels=LABELS, test_images=TESTS, test_labels=TEST_LABELS, **others)
    same(load_numpy(path))


def test_a_set_may_have_no_test_part_and_names_of_classes(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(
        path, data=IMAGES, target=LABELS[:, None].astype(np.uint8), class_names=["cat", "dog", "hen"], extra=1
    )
    dataset = load_numpy(path)
    assert dataset.classes == ("cat", "dog", "hen")
    assert len(dataset.test_images) == 0
    assert dataset.labels.dtype == np.uint8
    assert dataset.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (IMAGES.astype(np.int64), IMAGES),
        (IMAGES.astype(np.float64) / 255, (IMAGES / 255).astype(np.float32)),
        (IMAGES.astype(">f4"), IMAGES.astype(np.float32)),
        (np.asfortranarray(IMAGES), IMAGES),
        (IMAGES > 100, (IMAGES > 100).astype(np.uint8)),
        (np.stack([IMAGES] * 3, -1), np.stack([IMAGES] * 3, -1)),
    ],
    ids=["integers", "float64", "big endian", "by columns", "truth values", "colours"],
)
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_images_of_any_numbers(tmp_path, given, expected, kind):
    if kind == "npz":
        np.savez(tmp_path / "set.npz", images=given, labels=LABELS)
        dataset = load_numpy(tmp_path / "set.npz")
    else:
        np.save(tmp_path / "images.npy", given)
        np.save(tmp_path / "labels.npy", LABELS)
        dataset = load_numpy(tmp_path)
    assert dataset.images.dtype in (np.uint8, np.float32)
    assert dataset.images.dtype.isnative
    np.testing.assert_array_equal(dataset.images, expected.reshape(dataset.images.shape))


def refused(path, *parts):
    with pytest.raises(FileError) as caught:
        load_numpy(path)
    for part in parts:
        assert part in str(caught.value)


def saved(path, **arrays):
    np.savez(path, **{"images": IMAGES, "labels": LABELS, **arrays})
    return path


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"labels": LABELS[:6]}, "6 labels and 7 images"),
        ({"labels": np.eye(3)[LABELS]}, "argmax"),
        ({"labels": LABELS / 2}, "float64 of shape [7] are no labels"),
        ({"labels": LABELS - 1}, "from -1 to 1"),
        ({"labels": LABELS + (1 << 40)}, "from 1099511627776"),
        ({"images": IMAGES[0]}, "[5, 4] are no images"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "are no images"),
        ({"images": IMAGES.astype(np.int32) - 1}, "from -1 to"),
        ({"images": np.array(["cat"] * 7)}, "no images"),
        ({"test_images": IMAGES}, "test_images.npy has no labels"),
        ({"test_images": IMAGES[:, :4], "test_labels": LABELS}, "differ in shape"),
        ({"x_train": IMAGES}, "images.npy and x_train.npy"),
        ({"classes": np.array(["cat", "dog"])}, "3 names are needed"),
        ({"classes": np.arange(3)}, "no names of classes"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, said):
    refused(saved(tmp_path / "set.npz", **arrays), "set.npz", said)


def test_missing_arrays_say_what_was_looked_for(tmp_path):
    np.savez(tmp_path / "set.npz", a=IMAGES, b=LABELS)
    refused(tmp_path / "set.npz", "looked for images or x", "a, b")
    np.save(tmp_path / "images.npy", IMAGES)
    refused(tmp_path / "images.npy", "no .npz file", "images need labels")
    (tmp_path / "set.npz").unlink()
    refused(tmp_path, "no images and labels")
    refused(tmp_path / "nowhere.npz", "no such file")


def npy_bytes(array, allow_pickle=False):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def header(text):
    text = text.encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


HOSTILE = {
    "objects": (npy_bytes(np.array([{}, {}]), allow_pickle=True), "a pickle, which graphcnn never opens"),
    "records": (npy_bytes(np.zeros(3, [("a", "u1")])), "numbers or text"),
    "cut off": (npy_bytes(IMAGES)[:-1], "behind the header there are 139 bytes"),
    "too long": (npy_bytes(IMAGES) + b"x", "behind the header there are 141 bytes"),
    "huge": (
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775807, 2, 2)}"),
        "asks for",
    ),
    "negative": (
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -1, 1)}") + b"x",
        "none of a NumPy array",
    ),
    "a program": (header("__import__('os').system('touch evil')"), "none of a NumPy array"),
    "deep": (header("(" * 9000 + ")" * 9000), "none of a NumPy array"),
    "long": (
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (1,)" + " " * 20_000 + "}"),
        "none of a NumPy",
    ),
    "no header": (b"\x93NUMPY\x01\x00", "none of a NumPy array"),
    "nothing": (b"", "none of a NumPy array"),
    "version 9": (b"\x93NUMPY\x09\x00" + bytes(100), "none of a NumPy array"),
    "a page": (b"<html>Not Found</html>", "none of a NumPy array"),
}


@pytest.mark.parametrize(("content", "said"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_a_file_that_is_none_is_refused_by_name_and_at_no_cost(tmp_path, content, said, kind):
    path = tmp_path / "set.npz" if kind == "npz" else tmp_path
    if kind == "npz":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", content)
            archive.writestr("labels.npy", npy_bytes(LABELS))
    else:
        (tmp_path / "images.npy").write_bytes(content)
        np.save(tmp_path / "labels.npy", LABELS)
    tracemalloc.start()
    refused(path, said, "set.npz" if kind == "npz" else "images.npy")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


def test_an_archive_that_is_damaged(tmp_path):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    content = path.read_bytes()
    for length in range(4, len(content), 7):
        path.write_bytes(content[:length])
        refused(path, "set.npz")
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(bytes(damaged))
        try:
            dataset = load_numpy(path)
        except FileError as error:
            assert "set.npz" in str(error)
        else:
            np.testing.assert_array_equal(dataset.images[..., 0], IMAGES)
            np.testing.assert_array_equal(dataset.labels, LABELS)


def test_a_bomb_is_counted_before_there_is_room_for_it(tmp_path):
    path = tmp_path / "bomb.npz"
    shape = "{'descr': '|u1', 'fortran_order': False, 'shape': (200, 1024, 1024)}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header(shape) + bytes(100))
        archive.writestr("labels.npy", npy_bytes(LABELS))
    content = bytearray(path.read_bytes())
    promised = struct.pack("<I", len(header(shape)) + (200 << 20))
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = promised  # what the archive says that the member has
    path.write_bytes(bytes(content))
    tracemalloc.start()
    refused(path, "bomb.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_a_set_that_is_mapped_trains(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", LABELS)
    dataset = gcn.data.load(tmp_path)
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    models = [
        gcn.compile(network, input_shape=(5, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))
        for _ in range(2)
    ]
    models[0].fit(dataset, batch_size=2, progress=False)
    models[1].fit(IMAGES[..., None], LABELS, batch_size=2, progress=False)
    np.testing.assert_array_equal(models[0].predict(dataset.images), models[1].predict(IMAGES[..., None]))
