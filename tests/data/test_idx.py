import gzip
import os
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest

from graphcnn.data import load_idx, load_idx_folder
from graphcnn.errors import FileError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
MIB = 1 << 20


def header(code, *sizes):
    return bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


def idx(array):
    kind = array.dtype.str[1:]
    return header(CODES[kind], *array.shape) + array.astype(f">{kind}").tobytes()


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def refused(load, path):
    with pytest.raises(FileError) as raised:
        load(path)
    return str(raised.value)


def says(message, *parts):
    missing = [part for part in parts if part not in message]
    assert not missing, f"{missing} not in:\n{message}"


def refused_cheaply(path, seconds=1.0):
    tracemalloc.start()
    start = time.process_time()
    try:
        message = refused(load_idx, path)
    finally:
        took, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert took < seconds
    assert peak < 2 * path.stat().st_size + 64 * MIB
    return message


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 3, 2), (2, 3, 4, 3)], ids=str)
def test_every_element_type_and_rank_comes_back(tmp_path, kind, shape, pack):
    values = np.arange(np.prod(shape)).reshape(shape) * 5 - 50
    array = values.astype(kind) if kind != "u1" else (values % 256).astype("u1")
    loaded = load_idx(written(tmp_path, "array", pack(idx(array))))
    assert loaded.dtype == np.dtype(kind)
    assert loaded.dtype.isnative
    np.testing.assert_array_equal(loaded, array)
    loaded[...] = 0  # it is the user's own


def test_floats_keep_every_bit(tmp_path):
    array = np.array([np.pi, -0.0, np.inf, 5e-324, 1e308])
    assert load_idx(written(tmp_path, "floats", idx(array))).tobytes() == array.tobytes()


def test_gzip_is_told_by_content_and_not_by_name(tmp_path):
    array = pixels(3, 4)
    np.testing.assert_array_equal(load_idx(written(tmp_path, "a.gz", idx(array))), array)
    np.testing.assert_array_equal(load_idx(written(tmp_path, "b", gzip.compress(idx(array)))), array)


def test_a_path_may_be_a_string(tmp_path):
    path = written(tmp_path, "a", idx(pixels(3)))
    np.testing.assert_array_equal(load_idx(str(path)), pixels(3))


def test_arrays_larger_than_one_block_come_back(tmp_path):
    array = pixels(700, 30, 40)
    for name, content in (("plain", idx(array)), ("packed", gzip.compress(idx(array), 1))):
        np.testing.assert_array_equal(load_idx(written(tmp_path, name, content)), array)


def test_a_highly_compressed_array_comes_back(tmp_path):
    array = np.zeros((65, 1024, 1024), np.uint8)  # above what is decompressed without a check beforehand
    array[-1, -1, -1] = 7
    loaded = load_idx(written(tmp_path, "zeros.gz", gzip.compress(idx(array))))
    assert loaded.shape == array.shape
    assert loaded[-1, -1, -1] == 7
    assert np.count_nonzero(loaded) == 1


def test_loading_needs_at_most_twice_the_file(tmp_path):
    path = written(tmp_path, "floats", idx(np.ones(4 * MIB, "f8")))
    tracemalloc.start()
    load_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * path.stat().st_size + 2 * MIB


def test_a_missing_file_is_named(tmp_path):
    says(refused(load_idx, tmp_path / "nowhere"), str(tmp_path / "nowhere"), "no such file")


def test_a_folder_is_no_file(tmp_path):
    says(refused(load_idx, tmp_path), tmp_path.name, "no such file", "load_idx_folder")


def test_a_name_the_system_refuses_is_a_file_error(tmp_path):
    says(refused(load_idx, tmp_path / ("n" * 5000)), "nnn")


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read all")
def test_a_file_without_permission_is_named(tmp_path):
    path = written(tmp_path, "secret", idx(pixels(3)))
    path.chmod(0)
    says(refused(load_idx, path), "secret", "Permission")


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["plain", "gzip"])
def test_an_empty_file_says_so(tmp_path, content):
    says(refused(load_idx, written(tmp_path, "nothing", content)), "nothing", "magic", "empty")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), ["89 50 4e 47", "PNG"]),
        (b"\xff\xd8\xff\xe0" + bytes(100), ["ff d8 ff e0", "JPEG"]),
        (b"<!DOCTYPE html><title>404 Not Found</title>", ["3c 21 44 4f", "HTML", "web page"]),
        (b"version https://git-lfs.github.com/spec/v1\n", ["Git LFS"]),
        (b"PK\x03\x04" + bytes(100), ["ZIP"]),
        (b"\x93NUMPY\x01\x00", ["NumPy"]),
        (b"\x80\x04\x95" + bytes(100), ["pickle", "never"]),
        (b"\x03\x08\x00\x00" + bytes(100), ["03 08 00 00"]),
        (b"x", ["78"]),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_another_format_is_told_by_its_magic(tmp_path, content, said, pack):
    message = refused(load_idx, written(tmp_path, "train-images", pack(content)))
    says(message, "train-images", "magic", "begins with 00 00", *said)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_file_shorter_than_its_magic(tmp_path, length):
    says(refused(load_idx, written(tmp_path, "short", bytes(length))), "short", "magic", f"{length} of 4")


@pytest.mark.parametrize("code", [0x00, 0x07, 0x0A, 0x0F, 0xFF])
def test_an_unknown_type_code(tmp_path, code):
    message = refused(load_idx, written(tmp_path, "odd", header(code, 3) + bytes(3)))
    says(message, "odd", "type code", f"0x{code:02X}", "0x08 uint8", "0x0E float64")


@pytest.mark.parametrize("dimensions", [0, 5, 255])
def test_a_number_of_dimensions_that_cannot_be(tmp_path, dimensions):
    path = written(tmp_path, "odd", header(0x08, *[1] * dimensions) + b"x")
    says(refused(load_idx, path), "odd", "number of dimensions", f"{dimensions} is not from 1 to 4")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_header_that_is_cut_off(tmp_path, pack):
    message = refused(load_idx, written(tmp_path, "cut", pack(header(0x08, 2, 3, 4)[:11])))
    says(message, "cut", "dimension sizes", "3 dimensions x 4 bytes = 12 bytes", "7 are there")


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (0, 2**32 - 1, 2**32 - 1, 2**32 - 1)])
def test_a_size_of_zero(tmp_path, shape):
    message = refused_cheaply(written(tmp_path, "none", header(0x08, *shape)))
    says(message, "none", "dimension sizes", " x ".join(map(str, shape)), "no elements")


def test_data_cut_off_shows_the_arithmetic(tmp_path):
    content = idx(np.zeros((10, 28, 28), "i2"))[:-5]
    message = refused(load_idx, written(tmp_path, "cut", content))
    says(
        message,
        "cut",
        "data length",
        "10 x 28 x 28 x 2 bytes (int16) = 15,680 bytes",
        "15,675",
        "less than",
        "5 bytes missing",
    )


def test_trailing_bytes_show_the_arithmetic(tmp_path):
    message = refused(load_idx, written(tmp_path, "long", idx(pixels(10, 3)) + b"x"))
    says(
        message,
        "long",
        "data length",
        "10 x 3 x 1 byte (uint8) = 30 bytes",
        "31 bytes",
        "more than",
        "1 byte too many",
    )


def test_compressed_data_that_are_too_short(tmp_path):
    message = refused(load_idx, written(tmp_path, "cut.gz", gzip.compress(idx(pixels(10, 30))[:-5])))
    says(
        message,
        "cut.gz",
        "data length",
        "10 x 30 x 1 byte",
        "295 bytes after decompression",
        "less than",
        "5 bytes missing",
    )


def test_compressed_data_that_are_too_long(tmp_path):
    message = refused(load_idx, written(tmp_path, "long.gz", gzip.compress(idx(pixels(10, 30)) + b"xyz")))
    says(message, "long.gz", "data length", "= 300 bytes", "301 bytes or more", "too many")


def test_a_gzip_file_is_refused_wherever_it_is_cut(tmp_path):
    content = gzip.compress(idx(pixels(10, 30)))
    for length in range(2, len(content)):
        message = refused(load_idx, written(tmp_path, "cut.gz", content[:length]))
        says(message, "cut.gz", "cut off")


def test_a_cut_gzip_file_says_how_far_it_got(tmp_path):
    content = gzip.compress(idx(pixels(200, 30)))
    message = refused(load_idx, written(tmp_path, "cut.gz", content[:-8]))
    says(message, "data length", "200 x 30 x 1 byte (uint8) = 6,000 bytes", "6,000 bytes after decompression")


def test_no_changed_bit_of_gzip_data_gives_wrong_values(tmp_path):
    array = pixels(20, 10) // 32
    content = gzip.compress(idx(array), mtime=0)
    unnoticed = 0
    for bit in range(8 * 10, 8 * len(content)):  # after gzip's header, whose time and system do not matter
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path = written(tmp_path, "bad.gz", damaged)
        try:
            loaded = load_idx(path)
        except FileError as error:
            says(str(error), "bad.gz")
        else:
            np.testing.assert_array_equal(loaded, array)
            unnoticed += 1
    assert unnoticed < 8  # bits that only fill the last byte


def test_a_wrong_gzip_checksum_is_damage(tmp_path):
    content = bytearray(gzip.compress(idx(pixels(10, 30))))
    content[-8] ^= 1
    says(refused(load_idx, written(tmp_path, "bad.gz", content)), "bad.gz", "gzip data", "damaged", "check")


def test_bytes_after_the_gzip_stream(tmp_path):
    content = gzip.compress(idx(pixels(10, 30)))
    message = refused(load_idx, written(tmp_path, "two.gz", content + b"rest"))
    says(
        message,
        "two.gz",
        "gzip data",
        f"file of {len(content) + 4} - stream of {len(content)} bytes = 4 bytes",
    )


@pytest.mark.parametrize("sizes", [(2**32 - 1,) * 4, (2**31, 2**31, 4), (2**32 - 1,), (2**16, 2**16)])
@pytest.mark.parametrize("code", CODES.values())
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_huge_sizes_are_refused_before_anything_is_allocated(tmp_path, sizes, code, pack):
    message = refused_cheaply(written(tmp_path, "huge", pack(header(code, *sizes) + bytes(1000))))
    says(message, "huge", "dimension sizes: " + " x ".join(map(str, sizes)))
    width = {CODES[kind]: int(kind[1]) for kind in CODES}[code]
    says(message, f"= {width * int(np.prod([int(size) for size in sizes], dtype=object)):,} bytes")


def test_sizes_whose_product_overflows_to_the_right_length(tmp_path):
    # 2**32 * 2**32 is 0 modulo 2**64, so fixed-width arithmetic would call an empty rest correct.
    path = written(tmp_path, "wrap", header(0x08, 2**31, 2**31, 4))
    says(refused_cheaply(path), "wrap", f"{2**64:,} bytes", "missing")


def test_a_gzip_promise_beyond_what_gzip_can_hold(tmp_path):
    content = gzip.compress(header(0x08, 100, 1000, 1000) + bytes(1000))
    message = refused_cheaply(written(tmp_path, "promise.gz", content))
    says(message, "promise.gz", "100,000,000 bytes", "1032:1", f"{len(content) * 1032:,}")


def zeros_behind(start, mebibytes):
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(MIB)
    parts = [packer.compress(start), *(packer.compress(block) for _ in range(mebibytes)), packer.flush()]
    return b"".join(parts)


def test_a_bomb_behind_a_small_header_is_not_decompressed(tmp_path):
    path = written(tmp_path, "bomb.gz", zeros_behind(header(0x08, 28, 28), 200))
    tracemalloc.start()
    message = refused(load_idx, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    says(message, "bomb.gz", "data length", "784 bytes", "785 bytes or more")
    assert peak < 2 * MIB


def test_a_bomb_that_its_header_understates(tmp_path):
    path = written(tmp_path, "bomb.gz", zeros_behind(header(0x08, 190, MIB), 200))
    message = refused_cheaply(path, seconds=0.5)
    says(message, "bomb.gz", "data length", "190 x 1048576", f"{200 * MIB + 12:,}")


@pytest.mark.parametrize(("mebibytes", "said"), [(81, "more than"), (79, "length")])
def test_a_bomb_whose_recorded_length_lies_takes_no_memory(tmp_path, mebibytes, said):
    start = header(0x08, 80, MIB)
    content = zeros_behind(start, mebibytes)[:-4] + struct.pack("<I", 80 * MIB + len(start))
    says(refused_cheaply(written(tmp_path, "bomb.gz", content)), "bomb.gz", said)


def test_a_gzip_file_name_field_without_end_costs_no_time(tmp_path):
    content = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (8 * MIB)
    says(refused_cheaply(written(tmp_path, "name.gz", content)), "name.gz", "cut off")


def test_many_empty_gzip_streams_cost_no_time(tmp_path):
    path = written(tmp_path, "streams.gz", gzip.compress(b"") * 100_000)
    says(refused_cheaply(path), "streams.gz", "empty")


def test_a_large_file_that_is_no_idx_is_refused_unread(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 33)
    tracemalloc.start()
    says(refused(load_idx, path), "sparse", "type code")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MIB


def mnist_like(folder, names="{split}-{content}-idx{rank}-ubyte", pack=bytes, shape=(5, 6), **replaced):
    arrays = {
        ("train", "images"): pixels(7, *shape),
        ("train", "labels"): np.array([3, 0, 1, 2, 1, 0, 2], np.uint8),
        ("t10k", "images"): pixels(4, *shape, seed=1),
        ("t10k", "labels"): np.array([0, 4, 1, 2], np.uint8),
    }
    for (split, content), array in arrays.items():
        array = replaced.get(f"{split}_{content}", array)
        name = names.format(split=split, content=content, rank=array.ndim)
        written(folder, name, pack(idx(array)))
    return arrays


@pytest.mark.parametrize("names", ["{split}-{content}-idx{rank}-ubyte", "{split}-{content}.idx{rank}-ubyte"])
@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress)], ids=["plain", "gzip"])
@pytest.mark.parametrize("shape", [(5, 6), (28, 28), (5, 6, 3)], ids=str)
def test_a_folder_becomes_a_dataset(tmp_path, names, suffix, pack, shape):
    arrays = mnist_like(tmp_path, names + suffix, pack, shape)
    dataset = load_idx_folder(str(tmp_path))
    height, width, channels = (*shape, 1)[:3]
    assert dataset.images.shape == (7, height, width, channels)
    assert dataset.test_images.shape == (4, height, width, channels)
    assert dataset.images.dtype == dataset.test_images.dtype == np.uint8
    np.testing.assert_array_equal(dataset.images.ravel(), arrays["train", "images"].ravel())
    np.testing.assert_array_equal(dataset.test_images.ravel(), arrays["t10k", "images"].ravel())
    assert dataset.labels.dtype == dataset.test_labels.dtype == np.int64
    assert dataset.labels.tolist() == [3, 0, 1, 2, 1, 0, 2]
    assert dataset.test_labels.tolist() == [0, 4, 1, 2]
    assert dataset.classes == ("0", "1", "2", "3", "4")
    assert repr(dataset) == f"Dataset(7 training and 4 test images of {height}x{width}x{channels}, 5 classes)"


LETTERS = {
    "train_labels": np.array([3, 1, 1, 2, 26, 2, 2], np.uint8),
    "t10k_labels": np.array([1, 4, 1, 2], np.uint8),
}


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress)], ids=["plain", "gzip"])
def test_letters_of_emnist_are_upright_and_counted_from_zero(tmp_path, suffix, pack):
    arrays = mnist_like(
        tmp_path, "emnist-letters-{split}-{content}-idx{rank}-ubyte" + suffix, pack, **LETTERS
    )
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("t10k", "test"))
    dataset = load_idx_folder(tmp_path)
    for images, split in ((dataset.images, "train"), (dataset.test_images, "t10k")):
        upright = arrays[split, "images"].transpose(0, 2, 1)
        np.testing.assert_array_equal(images[..., 0], upright)
        assert images.flags.c_contiguous
    assert dataset.labels.tolist() == [2, 0, 0, 1, 25, 1, 1]
    assert dataset.test_labels.tolist() == [0, 3, 0, 1]
    assert dataset.classes == tuple(map(str, range(1, 27)))


def test_digits_of_emnist_keep_their_zero(tmp_path):
    mnist_like(tmp_path, "emnist-digits-{split}-{content}-idx{rank}-ubyte")
    dataset = load_idx_folder(tmp_path)
    assert dataset.labels.tolist() == [3, 0, 1, 2, 1, 0, 2]
    assert dataset.classes == ("0", "1", "2", "3", "4")


def test_of_several_sets_in_a_folder_one_is_named(tmp_path):
    for name in ("emnist-letters", "emnist-digits"):
        mnist_like(tmp_path, name + "-{split}-{content}-idx{rank}-ubyte")
    message = refused(load_idx_folder, tmp_path)
    says(message, "2 sets", "emnist-digits, emnist-letters", str(tmp_path / "emnist-digits"))
    assert len(load_idx_folder(tmp_path / "emnist-digits").classes) == 5
    message = refused(load_idx_folder, tmp_path / "emnist-balanced")
    says(message, "there is no such folder")
    mnist_like(tmp_path)  # a set without a name comes first
    assert len(load_idx_folder(tmp_path).labels) == 7


def test_a_named_set_with_a_file_missing_says_what_it_looked_for(tmp_path):
    mnist_like(tmp_path, "emnist-letters-{split}-{content}-idx{rank}-ubyte")
    (tmp_path / "emnist-letters-t10k-labels-idx1-ubyte").unlink()
    says(refused(load_idx_folder, tmp_path), "1 of the 4", "emnist-letters-test-labels-idx1-ubyte.gz")


def test_labels_of_other_sets_are_left_as_they_are(tmp_path):
    mnist_like(tmp_path, **LETTERS)
    dataset = load_idx_folder(tmp_path)
    assert dataset.labels.tolist() == LETTERS["train_labels"].tolist()
    assert len(dataset.classes) == 27


def test_a_missing_folder_names_what_it_should_hold(tmp_path):
    message = refused(load_idx_folder, tmp_path / "nowhere")
    says(
        message,
        str(tmp_path / "nowhere"),
        "no such folder",
        "train-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )


def test_missing_files_name_all_that_was_looked_for(tmp_path):
    mnist_like(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    message = refused(load_idx_folder, tmp_path)
    says(message, str(tmp_path), "2 of the 4 files")
    for start, rank in (("train-images", 3), ("t10k-labels", 1)):
        says(message, *(f"{start}{dot}idx{rank}-ubyte{end}" for dot in "-." for end in ("", ".gz")))
    says(message, "the folder holds: t10k-images-idx3-ubyte, train-labels-idx1-ubyte")
    assert "looked for train-labels" not in message


def test_an_empty_folder_says_that_it_holds_nothing(tmp_path):
    says(refused(load_idx_folder, tmp_path), "4 of the 4 files", "the folder holds: nothing")


def test_a_crowded_folder_is_not_listed_in_full(tmp_path):
    for number in range(30):
        written(tmp_path, f"photo{number:02}.png", b"")
    message = refused(load_idx_folder, tmp_path)
    says(message, "photo00.png", "and 22 more")
    assert "photo20.png" not in message


def test_counts_of_images_and_labels_that_differ(tmp_path):
    mnist_like(tmp_path, t10k_labels=np.zeros(5, np.uint8))
    message = refused(load_idx_folder, tmp_path)
    says(message, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "4 x 5 x 6: 4 images", "5: 5 labels")


def test_labels_in_the_place_of_images(tmp_path):
    mnist_like(tmp_path)
    written(tmp_path, "train-images-idx3-ubyte", idx(np.zeros(7, np.uint8)))
    message = refused(load_idx_folder, tmp_path)
    says(
        message,
        "train-images-idx3-ubyte",
        "number of dimensions",
        "images are expected",
        "labels",
        "has 1: 7",
    )


def test_images_in_the_place_of_labels(tmp_path):
    mnist_like(tmp_path)
    written(tmp_path, "t10k-labels-idx1-ubyte", idx(pixels(4, 5, 6)))
    message = refused(load_idx_folder, tmp_path)
    says(message, "t10k-labels-idx1-ubyte", "labels are expected", "grey images", "has 3: 4 x 5 x 6")


@pytest.mark.parametrize(("kind", "code"), [("i1", "0x09"), ("i4", "0x0C"), ("f4", "0x0D")])
def test_pixels_and_labels_that_are_not_bytes(tmp_path, kind, code):
    mnist_like(tmp_path, train_images=np.zeros((7, 5, 6), kind))
    says(refused(load_idx_folder, tmp_path), "train-images-idx3-ubyte", "type code", "0x08 (uint8)", code)
    mnist_like(tmp_path, train_labels=np.zeros(7, kind))
    says(refused(load_idx_folder, tmp_path), "train-labels-idx1-ubyte", "type code", "0x08 (uint8)", code)


def test_training_and_test_images_of_different_sizes(tmp_path):
    mnist_like(tmp_path, t10k_images=pixels(4, 6, 6))
    message = refused(load_idx_folder, tmp_path)
    says(message, "train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "7 x 5 x 6 x 1", "4 x 6 x 6 x 1")


def test_a_damaged_file_of_a_folder_is_named_with_its_path(tmp_path):
    mnist_like(tmp_path)
    path = written(tmp_path, "t10k-images-idx3-ubyte", b"<html>Not Found</html>")
    says(refused(load_idx_folder, tmp_path), str(path), "magic", "HTML")


@pytest.mark.slow
@pytest.mark.skipif("GRAPHCNN_MNIST" not in os.environ, reason="GRAPHCNN_MNIST names no folder with MNIST")
def test_mnist_itself():
    mnist = load_idx_folder(os.environ["GRAPHCNN_MNIST"])
    assert repr(mnist) == "Dataset(60,000 training and 10,000 test images of 28x28x1, 10 classes)"
    published = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.labels).tolist() == published, "counts, for some copies are shuffled"
    assert mnist.images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert mnist.images.std() / 255 == pytest.approx(0.3081, abs=1e-4)
