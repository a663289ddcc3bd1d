"""`gcn.data.load` tells what is at a path; each reader's own tests go through it, too."""

import gzip

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import FileError


def idx(array):
    code = {"uint8": 8, "int32": 12}[array.dtype.name]
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)
LABELS = np.array([1, 3, 2, 1], np.uint8)


def mnist_like(folder, prefix="", test="t10k", labels=("idx1-ubyte", LABELS)):
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", test):
        (folder / f"{prefix}{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES)))
        (folder / f"{prefix}{part}-labels-{labels[0]}.gz").write_bytes(gzip.compress(idx(labels[1])))


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw"])
def test_mnist_where_other_programs_put_it(tmp_path, place):
    mnist_like(tmp_path / place)
    dataset = gcn.data.load(tmp_path)
    np.testing.assert_array_equal(dataset.images[..., 0], IMAGES)
    assert dataset.labels.tolist() == LABELS.tolist()


def test_one_of_several_sets_of_emnist_with_the_names_of_its_letters(tmp_path):
    mnist_like(tmp_path, "emnist-letters-", "test")
    mnist_like(tmp_path, "emnist-digits-", "test")
    assert gcn.data.load(tmp_path / "emnist-letters").classes == ("1", "2", "3")
    mapping = tmp_path / "emnist-letters-mapping.txt"
    mapping.write_text("1 65 97\n2 66 98\n3 67 99\n")
    dataset = gcn.data.load(tmp_path / "emnist-letters")
    assert dataset.classes == ("A", "B", "C")
    assert dataset.labels.tolist() == [0, 2, 1, 0]
    assert gcn.data.load(tmp_path / "emnist-digits").classes == ("1", "2", "3")
    for text in ("1 A\n", "1\n", "1 7\n", "1 65\n" * 20_000):
        mapping.write_text(text)
        with pytest.raises(FileError, match="emnist-letters-mapping"):
            gcn.data.load(tmp_path / "emnist-letters")


def test_the_extended_labels_of_qmnist_name_the_class_first(tmp_path):
    wide = np.stack([LABELS.astype(np.int32), np.full(4, 9, np.int32), np.arange(4, dtype=np.int32)], axis=1)
    mnist_like(tmp_path, "qmnist-", "test", ("idx2-int", wide))
    dataset = gcn.data.load(tmp_path)
    assert dataset.labels.tolist() == dataset.test_labels.tolist() == LABELS.tolist()
    (tmp_path / "qmnist-test-labels-idx2-int.gz").write_bytes(idx(wide.astype(np.uint8)))
    with pytest.raises(FileError, match=r"qmnist-test-labels-idx2-int.gz: type code: .*0x0C \(int32\)"):
        gcn.data.load(tmp_path)


@pytest.mark.parametrize("what", ["nothing", "a folder", "a file"])
def test_where_nothing_is_known_it_says_what_was_looked_for(tmp_path, what):
    path = tmp_path / "place"
    if what == "a folder":
        path.mkdir()
        (path / "notes.txt").write_text("")
    elif what == "a file":
        path.write_text("")
    with pytest.raises(FileError) as caught:
        gcn.data.load(path)
    said = str(caught.value)
    for part in ("train-images-idx3-ubyte", "data_batch_1.bin", ".npz", "x_train", "CLASS/*.jpg", str(path)):
        assert part in said
    assert ("no such file or folder" in said) == (what == "nothing")
    assert ("the folder holds: notes.txt" in said) == (what == "a folder")
