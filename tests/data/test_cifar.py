"""CIFAR-10 and CIFAR-100 as they are published, and files that only seem to be theirs."""

import pickle
import tracemalloc

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.data import load_cifar
from graphcnn.data.cifar import holds_cifar
from graphcnn.errors import FileError, OptionError

NAMES = ["airplane", "automobile", "bird"]
FINE, COARSE = ["apple", "ray", "rose", "wolf"], ["fish", "flowers"]
RANDOM = np.random.default_rng(0)


def images(count):
    return RANDOM.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def planes(found):
    """Return images as the files have them: red, green, blue."""
    return found.transpose(0, 3, 1, 2).reshape(len(found), -1)


def labels(count, classes):
    return RANDOM.integers(0, classes, count)


def records(found, *columns):
    return np.hstack([*(np.uint8(column)[:, None] for column in columns), planes(found)]).tobytes()


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def as_python_2(batch):
    """Return a dictionary of text, numbers and one array as Python 2 and its NumPy pickled it: protocol 2."""

    def text(value):
        value = value.encode("latin1") if isinstance(value, str) else value
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + len(value).to_bytes(4, "little") + value

    def number(value):
        return b"K" + bytes([value]) if value < 256 else b"J" + value.to_bytes(4, "little")

    def item(value):
        if isinstance(value, np.ndarray):
            shape = b"".join(number(size) for size in value.shape) + b"\x86"
            return (
                b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R(K\x01"
                + shape
                + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
                + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
                + b"\x89"
                + text(value.tobytes())
                + b"tb"
            )
        if isinstance(value, list):
            return b"](" + b"".join(map(item, value)) + b"e"
        return text(value) if isinstance(value, str) else number(value)

    pairs = b"".join(text(key) + item(value) for key, value in batch.items())
    return b"\x80\x02}q\x00(" + pairs + b"u."


def as_bytes_keys(batch):
    return pickle.dumps({key.encode(): value for key, value in batch.items()}, 2)


PICKLERS = {
    "python 2": as_python_2,
    "keys in bytes": as_bytes_keys,
    **{
        f"protocol {number}": lambda batch, number=number: pickle.dumps(batch, number)
        for number in (2, 3, 4, 5)
    },
}


def cifar10(folder, count=4, pickled=None):
    """Write the set, and return its training images and labels, and those to test on."""
    parts = []
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        found, of_each = images(count), labels(count, 3)
        parts.append((found, of_each))
        if pickled is None:
            written(folder, f"{name}.bin", records(found, of_each))
        else:
            batch = {
                "batch_label": name,
                "labels": of_each.tolist(),
                "data": planes(found),
                "filenames": ["a.png"] * count,
            }
            written(folder, name, pickled(batch))
    if pickled is None:
        written(folder, "batches.meta.txt", "\n".join([*NAMES, "", ""]).encode())
    else:
        written(folder, "batches.meta", pickled({"num_cases_per_batch": count, "label_names": NAMES}))
    return (*(np.concatenate(each) for each in zip(*parts[:-1], strict=True)), *parts[-1])


def cifar100(folder, pickled=None):
    parts = []
    for name in ("train", "test"):
        found, fine = images(5), labels(5, 4)
        parts += [found, fine]
        if pickled is None:
            written(folder, f"{name}.bin", records(found, fine // 2, fine))
        else:
            both = {"fine_labels": fine.tolist(), "coarse_labels": (fine // 2).tolist()}
            written(folder, name, pickled({"data": planes(found), **both}))
    if pickled is None:
        written(folder, "fine_label_names.txt", "\n".join(FINE).encode())
        written(folder, "coarse_label_names.txt", "\n".join(COARSE).encode())
    else:
        written(folder, "meta", pickled({"fine_label_names": FINE, "coarse_label_names": COARSE}))
    return parts


def same(dataset, expected, classes):
    parts = (dataset.images, dataset.labels, dataset.test_images, dataset.test_labels)
    for found, wanted in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert dataset.classes == tuple(classes)
    assert dataset.images.dtype == dataset.test_images.dtype == np.uint8
    assert dataset.labels.dtype == np.int64
    assert dataset.images.flags.c_contiguous


@pytest.mark.parametrize("pickled", [None, *PICKLERS.values()], ids=["binary", *PICKLERS])
def test_cifar_10_in_both_versions(tmp_path, pickled):
    expected = cifar10(tmp_path, pickled=pickled)
    same(load_cifar(str(tmp_path)), expected, NAMES)
    same(gcn.data.load(tmp_path), expected, NAMES)
    with pytest.raises(OptionError, match="no superclasses"):
        load_cifar(tmp_path, coarse=True)


@pytest.mark.parametrize("pickled", [None, *PICKLERS.values()], ids=["binary", *PICKLERS])
def test_cifar_100_in_both_versions(tmp_path, pickled):
    expected = cifar100(tmp_path, pickled)
    same(load_cifar(tmp_path), expected, FINE)
    same(gcn.data.load(tmp_path), expected, FINE)
    train, fine, test, test_fine = expected
    same(load_cifar(tmp_path, coarse=True), [train, fine // 2, test, test_fine // 2], COARSE)


def test_a_set_is_found_in_the_folder_of_its_archive(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    expected = cifar10(folder, pickled=as_python_2)
    same(gcn.data.load(tmp_path), expected, NAMES)


def refused(folder, *parts):
    with pytest.raises(FileError) as caught:
        load_cifar(folder)
    for part in parts:
        assert part in str(caught.value)
    return str(caught.value)


def test_missing_files_are_named(tmp_path):
    cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    refused(tmp_path, "CIFAR-10, binary: there is no data_batch_3.bin\n", "data_batch_1.bin")
    refused(tmp_path / "nowhere", "no such folder", "tar xzf")
    assert not holds_cifar(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"x", bytes(3072), bytes(3074)])
def test_a_binary_file_that_is_cut_off(tmp_path, content):
    cifar10(tmp_path)
    written(tmp_path, "data_batch_2.bin", content)
    refused(tmp_path, "data_batch_2.bin", "data length", "1 + 3 x 32 x 32 = 3,073 bytes")


def test_a_label_that_is_no_class(tmp_path):
    cifar10(tmp_path)
    written(tmp_path, "test_batch.bin", records(images(2), [0, 3]))
    refused(tmp_path, "test_batch.bin", "label 3 of image 1 is no class", "3 classes")


class Evil:
    """What runs a program where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def hostile(tmp_path):
    """Yield pickles that are none of plain data, with what is said of them."""
    array = np.zeros((2, 3072), np.uint8)
    whole = pickle.dumps({"data": array, "labels": [0, 1]}, 2)
    yield pickle.dumps(Evil(tmp_path / "evil"), 2), "names"
    yield pickle.dumps({"data": array, "labels": Evil(tmp_path / "evil")}, 4), "names"
    yield b"cos\nsystem\n(S'touch evil'\ntR.", "names os.system"
    yield b"(S'touch evil'\nios\nsystem\n.", "INST"
    yield b"\x80\x02cbuiltins\nglobals\n)R.", "builtins.globals"
    yield b"\x80\x02}P1\n.", "PERSID"
    yield b"\x80\x02\x82\x01.", "EXT1"
    yield pickle.dumps({"data": array, "labels": {0, 1}}, 4), "EMPTY_SET"
    yield pickle.dumps({"data": array.astype(object), "labels": [0, 1]}, 2), ""
    yield pickle.dumps({"data": array.astype([("a", "u1")]), "labels": [0, 1]}, 2), ""
    yield b"", "exhausted"
    yield b"\x80", ""
    yield whole[:-1], ""
    yield whole[: len(whole) // 2], ""
    yield whole.replace(b"M\x00\x0c", b"M\x00\x0d", 1), "asks for"
    yield b"\x80\x02N.", "no dictionary"
    yield b"\x80\x02}.", "there is no such"
    yield b"\x80\x02.", ""
    yield b"0.", ""
    yield b"\x80\x02e.", ""
    yield b"\x80\x02h\x07.", ""
    yield b"\x80\x02]\x85]\x85]b.", ""
    yield b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"x.", ""
    yield b"\x80\x02X\xff\xff\xff\x7fx.", ""
    yield b"\x80\x02r\xff\xff\xff\xff.", ""
    yield b"\x80\x02]" + b"r\xff\xff\xff\xff" + b".", "no dictionary"
    yield b"\x80\x02\x8b\xff\xff\xff\x7fx.", ""
    yield b"\x80\x02" + b"(" * 100_000 + b".", ""
    yield b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "no dictionary"
    yield b"<html>Not Found</html>", ""


def test_nothing_but_plain_data_is_read_and_nothing_runs(tmp_path):
    cifar10(tmp_path, pickled=as_python_2)
    for content, said in hostile(tmp_path):
        path = written(tmp_path, "data_batch_1", content)
        tracemalloc.start()
        refused(tmp_path, str(path), said)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64 << 20, content[:20]
        assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, "2 whole numbers are needed"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, "1"]}, "1 of them such numbers"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1 << 80]}, "1 of them such numbers"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, True]}, "1 of them such numbers"),
        ({"data": np.zeros((2, 3071), np.uint8), "labels": [0, 1]}, "[2, 3071]"),
        ({"data": np.zeros((2, 3072), np.int64), "labels": [0, 1]}, "int64"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, "[0, 3072]"),
        ({"data": [1], "labels": [0, 1]}, "no such ndarray"),
        ({"data": np.zeros((2, 3072), np.uint8)}, "no such list"),
        ([1, 2], "no dictionary"),
    ],
)
def test_data_of_another_kind_are_refused_by_name(tmp_path, batch, said):
    cifar10(tmp_path, pickled=as_python_2)
    written(tmp_path, "data_batch_4", pickle.dumps(batch, 4))
    refused(tmp_path, "data_batch_4", said)


def test_any_byte_of_a_pickle_may_be_damaged(tmp_path):
    cifar10(tmp_path, count=1, pickled=as_python_2)
    content = (tmp_path / "data_batch_1").read_bytes()
    for place in [*range(200), *range(len(content) - 100, len(content))]:
        for value in (0, 0x2E, 0x52, 0x62, 0xFF):
            damaged = bytearray(content)
            damaged[place] = value
            written(tmp_path, "data_batch_1", bytes(damaged))
            try:
                load_cifar(tmp_path)
            except FileError as error:
                assert "data_batch_1" in str(error)


def test_a_list_of_names_that_is_none(tmp_path):
    cifar10(tmp_path)
    written(tmp_path, "batches.meta.txt", b"x" * 100_000)
    refused(tmp_path, "batches.meta.txt", "length")


def test_reading_needs_at_most_twice_the_file(tmp_path):
    cifar10(tmp_path, count=2000, pickled=as_python_2)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    tracemalloc.start()
    load_cifar(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * size + (64 << 20)
