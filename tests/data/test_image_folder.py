"""Folders of images: every file of every odd kind is loaded or named, and nothing else is lost."""

import io
import os
import shlex
import shutil
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graphcnn as gcn
from graphcnn.data import decoded, decoding, image_folder, load_image_folder
from graphcnn.data.mapping import is_mapped
from graphcnn.errors import FileError, GraphcnnWarning, OptionError

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GRAPHCNN_CACHE", str(folder))
    return folder / "images"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def gradient(height=24, width=32, channels=3):
    """Return an image that is another one however it is turned: brighter to the right, and downwards."""
    rows, columns = np.mgrid[0:height, 0:width]
    grey = (rows * 160 // height + columns * 90 // width).astype(np.uint8)
    return grey if channels == 1 else np.stack([grey, 255 - grey, grey // 2], axis=-1)


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    made = (
        image if isinstance(image, Image.Image) else Image.fromarray(gradient() if image is None else image)
    )
    made.save(path, **options)
    return path


def loaded(folder, **options):
    """Return the set, and what was said of files that are left out."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_image_folder(folder, **options)
    assert {each.category for each in caught} <= {GraphcnnWarning}
    return dataset, "\n".join(str(each.message) for each in caught)


# What becomes of images


def test_classes_are_folders_and_images_the_files_in_them(photos):
    for number, name in enumerate(["dog", "cat", "cat/deep/inside", "an owl"]):
        save(photos / name / f"{number}.png", gradient() // (number + 1))
    dataset, said = loaded(photos)
    assert said == ""
    assert dataset.classes == ("an owl", "cat", "dog")
    assert dataset.labels.tolist() == [0, 1, 1, 2]
    for image, divisor in zip(dataset.images, (4, 2, 3, 1), strict=True):
        np.testing.assert_array_equal(image, gradient() // divisor)
    assert len(dataset.test_images) == 0
    assert repr(dataset) == "Dataset(4 training images of 24x32x3, 3 classes)"
    assert gcn.data.load(photos).classes == dataset.classes


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation", "Testing"])
@pytest.mark.parametrize("train", ["train", "Training"])
def test_a_folder_may_have_both_parts(photos, train, name):
    for part in (train, name):
        for label in ("cat", "dog"):
            save(photos / part / label / f"{part}.png", gradient() // (1 + (part == train)))
    dataset, _ = loaded(photos)
    assert dataset.labels.tolist() == dataset.test_labels.tolist() == [0, 1]
    np.testing.assert_array_equal(dataset.images[0], gradient() // 2)
    np.testing.assert_array_equal(dataset.test_images[0], gradient())
    save(photos / name / "yak" / "a.png")
    with pytest.raises(FileError, match="a class is tested that") as caught:
        load_image_folder(photos)
    assert "yak" in str(caught.value)


def test_a_class_may_be_called_train(photos):
    for name in ("train", "bus"):
        save(photos / name / "a.png")
    dataset, _ = loaded(photos)
    assert dataset.classes == ("bus", "train")
    assert len(dataset.images) == 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_exif_says(photos, orientation):
    upright = gradient()
    # how a camera stores it that is held so: the inverse of the turn that makes it upright
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(photos / "a" / "turned.png", np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_array_equal(loaded(photos)[0].images[0], upright)
    small = loaded(photos, size=(12, 16))[0].images[0].astype(int)
    assert np.abs(small - upright.reshape(12, 2, 16, 2, 3).mean(axis=(1, 3))).max() < 12


def test_no_size_is_one_that_images_cannot_be_cropped_to(photos):
    for side in range(20, 60):
        save(photos / "a" / f"{side}.png", gradient(side, 33, 1))
    dataset, said = loaded(photos, size=28)
    assert said == ""
    assert len(dataset.images) == 40


def test_images_are_cropped_or_stretched_to_a_size(photos):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200  # the middle third
    save(photos / "a" / "wide.png", wide)
    cropped = loaded(photos, size=20)[0].images[0]
    assert cropped.shape == (20, 20, 3)
    assert (cropped == 200).all()
    stretched = loaded(photos, size=(20, 20), resize="stretch")[0].images[0]
    assert stretched.shape == (20, 20, 3)
    assert (stretched[:, 0] == 0).all()
    assert (stretched[:, 10] == 200).all()
    tall = loaded(photos, size=[40, 10])[0].images[0]
    assert tall.shape == (40, 10, 3)


def test_a_large_photograph_is_made_small_without_losing_its_means(photos):
    save(photos / "a" / "large.jpg", gradient(1200, 1600), quality=95)
    small = loaded(photos, size=(24, 32))[0].images[0].astype(int)
    assert np.abs(small - gradient(24, 32).astype(int)).max() < 10


def test_images_of_different_sizes_need_a_size(photos):
    save(photos / "a" / "1.png", gradient(10, 12))
    save(photos / "b" / "2.png", gradient(11, 12))
    with pytest.raises(FileError, match="not all of one size") as caught:
        load_image_folder(photos)
    for part in ("a/1.png: 10x12", "b/2.png: 11x12", "size=128", "--input-shape 128 128 3"):
        assert part in str(caught.value)
    assert loaded(photos, size=(10, 12))[0].images.shape == (2, 10, 12, 3)


def test_grey_images_have_one_channel_unless_some_are_coloured(photos):
    for number in range(200):
        save(photos / "a" / f"{number:03}.png", gradient(6, 8, channels=1))
    assert loaded(photos)[0].images.shape == (200, 6, 8, 1)
    assert loaded(photos, channels=3)[0].images.shape == (200, 6, 8, 3)
    save(photos / "a" / "101.png", gradient(6, 8))  # none of those that are looked at first
    found = loaded(photos)[0].images
    assert found.shape == (200, 6, 8, 3)
    np.testing.assert_array_equal(found[101], gradient(6, 8))
    grey = loaded(photos, channels=1)[0].images
    red, green, blue = gradient(6, 8).astype(float).transpose(2, 0, 1)
    assert np.abs(grey[101, ..., 0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 1


# Odd files


def png_of_size(width, height):
    """Return the begin of a PNG file that says it is so large, and holds nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def as_bytes(format, image=None, **options):
    file = io.BytesIO()
    (image or Image.fromarray(gradient())).save(file, format, **options)
    return file.getvalue()


def sixteen():
    return Image.fromarray(gradient(channels=1).astype(np.uint16) * 257)


def transparent():
    return Image.fromarray(np.dstack([gradient(), np.full((24, 32), 100, np.uint8)]))


def floats():
    return Image.fromarray(gradient(channels=1).astype(np.float32))


WHOLE = {
    "grey.png": lambda: as_bytes("PNG", Image.fromarray(gradient(channels=1))),
    "grey.jpg": lambda: as_bytes("JPEG", Image.fromarray(gradient(channels=1))),
    "colour.jpg": lambda: as_bytes("JPEG"),
    "progressive.jpg": lambda: as_bytes("JPEG", progressive=True),
    "cmyk.jpg": lambda: as_bytes("JPEG", Image.fromarray(gradient()).convert("CMYK")),
    "cmyk.tif": lambda: as_bytes("TIFF", Image.fromarray(gradient()).convert("CMYK")),
    "palette.png": lambda: as_bytes("PNG", Image.fromarray(gradient()).quantize()),
    "palette.gif": lambda: as_bytes("GIF"),
    "one bit.png": lambda: as_bytes("PNG", Image.fromarray(gradient(channels=1)).convert("1")),
    "16 bits.png": lambda: as_bytes("PNG", sixteen()),
    "16 bits.tif": lambda: as_bytes("TIFF", sixteen()),
    "transparent.png": lambda: as_bytes("PNG", transparent()),
    "grey and transparent.png": lambda: as_bytes("PNG", transparent().convert("LA")),
    "bitmap.bmp": lambda: as_bytes("BMP"),
    "map.ppm": lambda: as_bytes("PPM"),
    "web.webp": lambda: as_bytes("WEBP", lossless=True),
    "UPPER.JPG": lambda: as_bytes("JPEG"),
    "png called.jpg": lambda: as_bytes("PNG"),
    "jpeg called.txt": lambda: as_bytes("JPEG"),
    "without suffix": lambda: as_bytes("PNG"),
    "Größe 数字 🐈.png": lambda: as_bytes("PNG"),
    "new\nline.png": lambda: as_bytes("PNG"),
    "\x1b[2Jescape.png": lambda: as_bytes("PNG"),
    "-rf *.png": lambda: as_bytes("PNG"),
    "moving.gif": lambda: as_bytes("GIF", save_all=True, append_images=[Image.fromarray(255 - gradient())]),
    "damaged exif.jpg": lambda: as_bytes("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
}
REFUSED = {
    "empty.jpg": (lambda: b"", "it is empty"),
    "cut off.jpg": (lambda: as_bytes("JPEG")[:500], "damaged"),
    "cut off.png": (lambda: as_bytes("PNG")[:-60], "damaged"),
    "header.jpg": (lambda: as_bytes("JPEG")[:20], "it is"),
    "text.jpg": (lambda: b"this is no image", "it begins with 74 68 69 73"),
    "page.png": (lambda: b"<html>Not Found</html>", "it is no image"),
    "notes.txt": (lambda: b"cats", "it is no image"),
    "bomb.png": (lambda: png_of_size(50_000, 50_000), "bomb"),
    "large bomb.png": (lambda: png_of_size(12_000, 10_000), "bomb"),
    "nothing in it.png": (lambda: png_of_size(32, 24), "damaged"),
    "floats.tif": (lambda: as_bytes("TIFF", floats()), "floating-point"),
    "program.eps": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(evil) run\n",
        "it is no image",
    ),
    "bad\nname\x1b.jpg": (lambda: b"x", "it is no image"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_hundreds_of_odd_files_are_each_loaded_or_named(photos, tmp_path):
    expected, named = {}, {}
    for label in ("first", "second", "größer\n"):
        for copy in range(8):
            folder = photos / label / f"{copy}"
            folder.mkdir(parents=True)
            for name, make in WHOLE.items():
                (folder / name).write_bytes(make())
                expected[f"{label}/{copy}/{name}"] = label
            for name, (make, reason) in REFUSED.items():
                (folder / name).write_bytes(make())
                named[f"{label}/{copy}/{name}"] = reason
        folder = photos / label
        outside = save(tmp_path / "outside" / f"{label}.png")
        (folder / "link.png").symlink_to(outside)
        (folder / "linked folder").symlink_to(outside.parent)
        expected[f"{label}/link.png"] = label
        (folder / "broken.png").symlink_to(tmp_path / "nowhere")
        named[f"{label}/broken.png"] = "a link to nothing"
        (folder / "around").symlink_to(folder)
        named[f"{label}/around"] = "a link to a folder that it is in"
        os.mkfifo(folder / "pipe.png")
        named[f"{label}/pipe.png"] = "a pipe"
        (folder / ".hidden.png").write_bytes(b"x")
    for label in ("first", "second", "größer\n"):  # all links lead to all files that are there by now
        for each in ("first", "second", "größer\n"):
            expected[f"{label}/linked folder/{each}.png"] = label
    before = threading.active_count()
    dataset, said = loaded(photos, size=(24, 32))
    assert threading.active_count() == before
    assert len(dataset.images) == len(dataset.labels) == len(expected) > 600
    counts = np.bincount(dataset.labels).tolist()
    assert dataset.classes == ("first", "größer\n", "second")
    assert counts == [sum(label == each for each in expected.values()) for label in dataset.classes]
    for name, reason in named.items():
        found = [line for line in dataset.left_out if line.startswith(f"{name}: ")]
        assert len(found) == 1, name
        assert reason in found[0]
    assert len(dataset.left_out) == len(named)
    assert "\x1b" not in said
    assert f"{len(named)} of {len(named) + len(expected)} files are left out" in said
    again, _ = loaded(photos, size=(24, 32))
    assert again.left_out == dataset.left_out
    np.testing.assert_array_equal(again.images, dataset.images)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "one bit.png"])
def test_what_is_whole_is_loaded_as_it_looks(photos, name):
    (photos / "a").mkdir()
    (photos / "a" / name).write_bytes(WHOLE[name]())
    image = loaded(photos, channels=3)[0].images[0].astype(int)
    is_grey = (image[..., 0] == image[..., 1]).all()
    wanted = np.repeat(gradient(channels=1)[..., None], 3, -1) if is_grey else gradient()
    if name == "grey and transparent.png":
        wanted = np.repeat(np.asarray(Image.fromarray(gradient()).convert("L"))[..., None], 3, -1)
    assert is_grey == name.startswith(("grey", "16"))
    assert np.abs(image - wanted).mean() < 12
    assert np.abs(image - wanted).max() < 80


def test_files_that_cannot_be_loaded_are_refused_where_that_is_asked_for(photos):
    save(photos / "a" / "whole.png")
    (photos / "a" / "bad\nname.png").write_bytes(b"x")
    (photos / "a" / "empty.png").write_bytes(b"")
    for _ in range(2):  # from the cache as well
        with pytest.raises(FileError, match="2 of 3 files cannot be loaded") as caught:
            load_image_folder(photos, strict=True)
        assert "bad\\x0aname.png: it is no image" in str(caught.value)
        assert "empty.png: it is empty" in str(caught.value)


@pytest.mark.parametrize("load", [load_image_folder, gcn.data.load])
def test_the_warning_of_files_that_are_left_out_names_the_line_that_loads(photos, load):
    save(photos / "a" / "whole.png")
    (photos / "a" / "empty.png").write_bytes(b"")
    with pytest.warns(GraphcnnWarning, match="1 of 2 files are left out") as caught:
        load(photos)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_folder_in_which_nothing_can_be_loaded_names_the_files(photos):
    (photos / "a").mkdir()
    for number in range(12):
        (photos / "a" / f"{number:02}.jpg").write_bytes(b"x")
    for size in (None, 8):
        with pytest.raises(FileError, match="none of the 12 files can be loaded") as caught:
            load_image_folder(photos, size=size)
        assert "a/00.jpg: it is no image" in str(caught.value)
        assert "and 4 more" in str(caught.value)
    for each in (photos / "a").iterdir():
        each.unlink()
    with pytest.raises(FileError, match="no files in the folders"):
        load_image_folder(photos)


def test_a_folder_that_holds_nothing_but_the_set_stands_for_it(photos):
    for name in ("cat/kitchen", "cat/garden", "dog"):
        save(photos / "archive" / "pets" / name / "a.png")
    dataset, _ = loaded(photos)
    assert dataset.classes == ("cat", "dog")
    assert dataset.files[2] == str(photos / "archive" / "pets" / "dog" / "a.png")
    for name in ("train", "val"):
        save(photos / "parts" / name / "cat" / "a.png")
        save(photos / "parts" / name / "dog" / "a.png")
    parts, _ = loaded(photos / "parts")
    assert (len(parts.images), len(parts.test_images)) == (2, 2)


def test_a_folder_without_images_is_no_class(photos):
    for name in ("ant", "cat"):
        save(photos / name / "a.png")
    (photos / "bee").mkdir()
    dataset, said = loaded(photos)
    assert dataset.classes == ("ant", "cat")
    assert dataset.labels.tolist() == [0, 1]
    assert "bee: it is a folder without images, and no class" in said


def test_the_files_of_images_stay_beside_them(photos):
    for number in range(20):
        save(photos / "ab"[number % 2] / f"{number:02}.png", np.full((4, 4), number, np.uint8))
    (photos / "a" / "00.png").write_bytes(b"x")
    whole, _ = loaded(photos)
    parts = whole.split(0.5, seed=3)
    few, same = parts.take(4, seed=1), parts.balanced(3, seed=2)
    for dataset in (whole, parts, few, same):
        for images, files in ((dataset.images, dataset.files), (dataset.test_images, dataset.test_files)):
            assert [int(image[0, 0, 0]) for image in images] == [int(file[-6:-4]) for file in files]
    with pytest.raises(gcn.GraphcnnError, match="files are not as many as the images"):
        gcn.data.Dataset(*[getattr(few, name) for name in few.__slots__][:5], files=("a",))


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz", "photos.csv", "photos.jpg"])
def test_a_file_in_the_place_of_a_folder_is_unpacked_as_advised(tmp_path, name, monkeypatch):
    save(tmp_path / "photos" / "a" / "1.png")
    save(tmp_path / "photos" / "b" / "2.png")
    monkeypatch.chdir(tmp_path)
    file = Path(name)
    file.write_bytes(b"")
    if "csv" not in name and "jpg" not in name:
        shutil.make_archive("photos", "zip" if "zip" in name else "gztar", root_dir=".", base_dir="photos")
        shutil.rmtree("photos")
    for load in (load_image_folder, gcn.data.load):
        with pytest.raises(FileError) as caught:
            load(file)
        if caught.value.mend.startswith("unpack it: python "):
            subprocess.run([sys.executable, *shlex.split(caught.value.mend)[3:]], check=True)
            assert len(load("photos").images) == 2
            shutil.rmtree("photos")


def test_folders_without_classes_say_what_was_looked_for(photos):
    save(photos / "a.png")
    for path, said in ((photos, "no folders of classes"), (photos / "nowhere", "no such folder")):
        with pytest.raises(FileError, match=said):
            load_image_folder(path)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": (10,)},
        {"size": (10, 0)},
        {"size": "10"},
        {"size": 10.5},
        {"size": True},
        {"size": 1 << 20},
        {"channels": 2},
        {"channels": True},
        {"resize": "pad"},
        {"threads": 0},
        {"threads": 1.5},
    ],
    ids=str,
)
def test_options_that_are_not_allowed(photos, options):
    save(photos / "a" / "1.png")
    (name,) = options
    with pytest.raises(OptionError, match=rf"test_image_folder\.py:\d+: {name}=") as caught:
        load_image_folder(photos, **options)
    assert caught.value.mend.startswith(f"{name}=")


def test_without_pillow_it_says_how_to_install_it(photos, monkeypatch):
    save(photos / "a" / "1.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(OptionError, match="decoded by Pillow") as caught:
        load_image_folder(photos)
    assert 'pip install "graphcnn[images]"' in caught.value.mend


# The cache


def counted(monkeypatch):
    """Count the files that are decoded."""
    counts = []

    def decoded(path, wanted):
        counts.append(path)
        return decoding.decoded(path, wanted)

    monkeypatch.setattr(image_folder, "decoded", decoded)
    return counts


def test_images_are_decoded_once(photos, own_cache, monkeypatch):
    for number in range(5):
        save(photos / "a" / f"{number}.png", gradient() // (number + 1))
    counts = counted(monkeypatch)
    first, _ = loaded(photos, size=(12, 16))
    assert len(counts) == 5
    assert is_mapped(first.images)
    second, _ = loaded(photos, size=(12, 16))
    assert len(counts) == 5
    np.testing.assert_array_equal(first.images, second.images)
    assert {path.suffix for path in own_cache.iterdir()} == {".npy", ".json"}
    memory, _ = loaded(photos, size=(12, 16), cache=False)
    assert len(counts) == 10
    assert not is_mapped(memory.images)
    np.testing.assert_array_equal(memory.images, first.images)
    loaded(photos, size=(12, 16), threads=1, cache=photos.parent / "elsewhere" / "deep")
    assert len(counts) == 15
    assert len(list((photos.parent / "elsewhere" / "deep").iterdir())) == 2


def change(photos, how):
    path = photos / "a" / "1.png"
    status = path.stat()
    if how == "written":
        save(path, 255 - gradient())
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif how == "added":
        save(photos / "a" / "2.png")
    elif how == "removed":
        path.unlink()
    elif how == "renamed":
        path.rename(photos / "a" / "3.png")
    elif how == "another class":
        save(photos / "b" / "1.png")
    elif how == "damaged":
        path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("how", ["written", "added", "removed", "renamed", "another class", "damaged"])
def test_what_decides_has_them_decoded_again(photos, own_cache, monkeypatch, how):
    for number in range(2):
        save(photos / "a" / f"{number}.png", gradient() // (number + 1))
    first, _ = loaded(photos)
    kept = first.images.copy()
    change(photos, how)
    counts = counted(monkeypatch)
    second, _ = loaded(photos)
    assert counts
    third, _ = loaded(photos, cache=False)
    np.testing.assert_array_equal(second.images, third.images)
    np.testing.assert_array_equal(second.labels, third.labels)
    np.testing.assert_array_equal(first.images, kept)  # its file is still there for whoever has it
    assert len(list(own_cache.iterdir())) == 2  # the entry of the others is gone


@pytest.mark.parametrize(
    "options", [{"size": (12, 16)}, {"channels": 1}, {"size": (24, 24), "resize": "stretch"}], ids=str
)
def test_other_options_are_other_entries(photos, own_cache, monkeypatch, options):
    save(photos / "a" / "1.png")
    loaded(photos)
    counts = counted(monkeypatch)
    loaded(photos, **options)
    assert counts
    assert len(list(own_cache.iterdir())) == 4
    counts.clear()
    monkeypatch.setattr(decoding, "VERSION", decoding.VERSION + 1)
    loaded(photos)
    assert counts


@pytest.mark.parametrize("damage", ["cut", "no note", "no images", "note", "shape", "other type", "empty"])
def test_an_entry_that_is_not_whole_is_made_again(photos, own_cache, damage):
    save(photos / "a" / "1.png")
    expected = loaded(photos)[0].images.copy()
    images, note = next(own_cache.glob("*.npy")), next(own_cache.glob("*.json"))
    if damage == "cut":
        content = images.read_bytes()
        images.unlink()
        images.write_bytes(content[:-1])
    elif damage == "no note":
        note.unlink()
    elif damage == "no images":
        images.unlink()
    elif damage == "note":
        note.write_text("[")
    elif damage == "shape":
        note.write_text('{"shape": [2, 24, 32, 3], "left_out": {}}')
    elif damage == "other type":
        images.unlink()
        np.save(images, np.zeros((1, 24, 32, 3), np.float32))
    elif damage == "empty":
        images.unlink()
        images.write_bytes(b"")
    np.testing.assert_array_equal(loaded(photos)[0].images, expected)


def test_a_full_disk_is_named_and_leaves_nothing(photos, own_cache, monkeypatch):
    save(photos / "a" / "1.png")

    def full(file, content, place):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(decoded.os, "pwrite", full)
        with pytest.raises(FileError, match=r"cannot be kept in .*No space left on device") as caught:
            load_image_folder(photos)
        assert "cache=False" in caught.value.mend
        assert list(own_cache.iterdir()) == []
        patch.setattr(decoded.shutil, "disk_usage", lambda path: decoded.shutil._ntuple_diskusage(9, 9, 9))
        with pytest.raises(FileError, match=r"GiB are needed, and 0\.0 GiB are free"):
            load_image_folder(photos)
    assert len(loaded(photos)[0].images) == 1


def test_without_a_cache_images_are_decoded_to_memory(photos, tmp_path, monkeypatch):
    save(photos / "a" / "1.png")
    monkeypatch.setenv("GRAPHCNN_CACHE", "off")
    assert not is_mapped(loaded(photos)[0].images)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path / "file"))
    assert not is_mapped(loaded(photos)[0].images)
    with pytest.raises(FileError, match="cannot be kept there"):
        load_image_folder(photos, cache=tmp_path / "file" / "images")


def test_what_nobody_uses_is_removed(photos, own_cache):
    save(photos / "a" / "1.png")
    own_cache.mkdir()
    old = [own_cache / "0-1.npy", own_cache / "0-1.json", own_cache / ".0.1.part"]
    new = own_cache / ".0.2.part"
    for path in (*old, new):
        path.write_text("")
    for path in old:
        os.utime(path, (1e9, 1e9))
    loaded(photos)
    assert not any(path.exists() for path in old)
    assert new.exists()


def test_an_interrupt_ends_all_threads_and_leaves_nothing(photos, own_cache, monkeypatch):
    for number in range(30):
        save(photos / "a" / f"{number}.png")
    calls = []

    def interrupted(path, wanted):
        calls.append(path)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return decoding.decoded(path, wanted)

    before = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(image_folder, "decoded", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_image_folder(photos)
    assert threading.active_count() == before
    assert list(own_cache.iterdir()) == []
    assert len(loaded(photos)[0].images) == 30


def test_a_folder_of_images_is_trained_on_by_the_command(photos, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from graphcnn.cli import main
    from graphcnn.cli.networks import dataset_named

    for label in ("cat", "dog"):
        for number in range(6):
            save(photos / label / f"{number}.png", gradient(40, 60) // (1 + (label == "cat")))
    saved = tmp_path / "run" / "model.safetensors"
    for network in ("digits", str(saved)):  # the network says what images become
        arguments = ["train", network, "--data", str(photos), "--epochs", "1", "--output", str(saved.parent)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert "Dataset(11 training and 1 test images of 8x8x1, 2 classes)" in result.output
        assert saved.exists()
    assert dataset_named(str(photos), "resnet20").images.shape == (12, 32, 32, 3)
    assert dataset_named(str(photos), "script.py:network").images.shape == (12, 40, 60, 3)


@pytest.mark.parametrize("name", image_folder.OF_FOLDERS)
def test_arguments_of_others_are_said_as_they_are_here(photos, name):
    save(photos / "a" / "1.png")
    with pytest.raises(gcn.GraphcnnError, match=f"no argument '{name}'") as caught:
        load_image_folder(photos, **{name: 1})
    assert caught.value.mend == image_folder.OF_FOLDERS[name]
