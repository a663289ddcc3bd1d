"""Valid small files of images and labels of every kind, and how each is read."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from trying import in_memory, written

from graphcnn.data import load_numpy
from graphcnn.data.decoded import Entry
from graphcnn.data.decoding import NotDecoded, Wanted, decoded, is_grey
from graphcnn.data.image_folder import quiet_decoders
from graphcnn.data.label_table import labelled_files
from graphcnn.errors import FileError
from graphcnn.interchange import weights

if TYPE_CHECKING:
    from PIL import Image

# Sets of images


def idx(array: np.ndarray, code: int = 0x08) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def idx_files() -> list[bytes]:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)
    plain = [idx(images), idx(images[:, 0, 0]), idx(np.linspace(0, 1, 6, dtype=np.float32), 0x0D)]
    return [*plain, gzip.compress(plain[0], mtime=0), gzip.compress(plain[1], mtime=0)]


def cifar_records() -> list[bytes]:
    records = np.random.default_rng(0).integers(0, 2, (3, 3074), np.uint8)
    return [records.tobytes(), records[:1].tobytes()]


def binary_cifar(folder: Path) -> None:
    (folder / "test.bin").write_bytes(cifar_records()[1])
    (folder / "fine_label_names.txt").write_bytes(b"apple\nray\n")


def _batch(**changed: object) -> dict[str, object]:
    return {
        "data": np.zeros((2, 3072), np.uint8),
        "fine_labels": [0, 1],
        "coarse_labels": [0, 0],
        "filenames": ["a", "b"],
        **changed,
    }


def cifar_pickles() -> list[bytes]:
    in_bytes = {key.encode(): value for key, value in _batch().items()}
    # by columns, and of one byte an element: short, so that changes meet what is no pixel
    small = {"data": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)), "fine_labels": [0, 1]}
    return [
        *(pickle.dumps(_batch(), protocol) for protocol in (0, 2, 4, 5)),
        pickle.dumps(in_bytes, 2),
        *(pickle.dumps(small, protocol) for protocol in (0, 2, 5)),
    ]


def pickled_cifar(folder: Path) -> None:
    (folder / "test").write_bytes(pickle.dumps(_batch(), 2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "ray"]}, 2))


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_files() -> list[bytes]:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)
    return [_npy(images), _npy(np.asfortranarray(images.astype(np.float64))), _npy(images[..., None] > 5)]


def labels_beside(folder: Path) -> None:
    (folder / "labels.npy").write_bytes(_npy(np.array([0, 1, 2])))


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return stream.getvalue()


def npz_files() -> list[bytes]:
    members = {"images.npy": npy_files()[0], "labels.npy": _npy(np.array([0, 1, 2]))}
    named = {**members, "classes.npy": _npy(np.array(["a", "b", "c"]))}
    return [npz(members), npz(members, zipfile.ZIP_DEFLATED), npz(named, zipfile.ZIP_DEFLATED)]


def _with_right_sums(content: bytes) -> bytes:
    """Return an archive whose members have the checksums that their bytes ask for, where they are stored."""
    held = bytearray(content)
    place = 0
    sums: dict[bytes, bytes] = {}
    while (place := held.find(b"PK\x03\x04", place)) >= 0:
        size, name = int.from_bytes(held[place + 18 : place + 22], "little"), held[place + 26 : place + 28]
        extra = int.from_bytes(held[place + 28 : place + 30], "little")
        begin = place + 30 + int.from_bytes(name, "little") + extra
        if held[place + 8 : place + 10] != b"\0\0":  # compressed
            place += 4
            continue
        crc = weights._crc(bytes(held[begin : begin + size])).to_bytes(4, "little")
        sums[bytes(held[place + 14 : place + 18])] = crc
        held[place + 14 : place + 18] = crc
        place += 4
    place = 0
    while (place := held.find(b"PK\x01\x02", place)) >= 0:
        old = bytes(held[place + 16 : place + 20])
        held[place + 16 : place + 20] = sums.get(old, old)
        place += 4
    return bytes(held)


def read_archive(path: Path) -> object:
    written(path, _with_right_sums(path.read_bytes()))
    return load_numpy(path)


# Decoded images: an input is the note, a line's end, and the images.


def entries() -> list[bytes]:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 1), np.uint8)
    found = []
    for left_out in ({}, {1: "it is cut off"}):
        with in_memory() as name:
            folder = Path(name)
            room = Entry(folder, "n", "k").room(2, (3, 4, 1))
            for number in range(2):
                room.put(number, images[number])
            room.finished(left_out)
            found.append((folder / "n-k.json").read_bytes() + b"\n" + (folder / "n-k.npy").read_bytes())
    return found


def read_entry(folder: Path, content: bytes) -> object:
    note, _, images = content.partition(b"\n")
    for name, part in (("n-k.json", note), ("n-k.npy", images)):
        written(folder / name, part)
    found = Entry(folder, "n", "k").read()
    if found is None:
        raise FileError("there is no entry")
    return found[0].sum(), sorted(found[1])


# Tables of labels


def label_tables() -> list[bytes]:
    return [
        b"file,label\none.jpg,cat\ntwo.jpg,dog\nin/three.png,cat\n",
        b"id;x;class\n1;one;9\n2;two;10\n3;three;9\n",
        b'"one.jpg"\t"a ""b"""\r\n"two.jpg"\t"c\nd"\r\n',
    ]


def images_of_tables(folder: Path) -> None:
    (folder / "in").mkdir()
    for name in ("one.jpg", "two.jpg", "in/three.png"):
        (folder / name).write_bytes(b"x")


def read_table(path: Path) -> object:
    return labelled_files(path.parent, path)


# Images


def images() -> list[bytes]:
    from PIL import Image

    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12), np.uint8))
    deep = Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000)
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (grey, "JPEG", {"exif": turned}),
        (grey.convert("RGB"), "JPEG", {"progressive": True}),
        (grey.convert("CMYK"), "JPEG", {}),
        (grey, "PNG", {}),
        (deep, "PNG", {}),
        (grey.convert("P"), "PNG", {"transparency": 3}),
        (grey.convert("P"), "GIF", {}),
        (grey, "BMP", {}),
        (grey, "TIFF", {"compression": "tiff_lzw"}),
        (grey.convert("1"), "TIFF", {"compression": "group4"}),
        (grey.convert("RGB"), "WEBP", {}),
        (grey.convert("RGB"), "PPM", {}),
    ]
    return [_image(image, format, options) for image, format, options in kinds]


def _image(image: Image.Image, format: str, options: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def read_image(path: Path) -> object:
    with quiet_decoders():
        with suppress(NotDecoded):
            is_grey(path)
        return decoded(path, Wanted((8, 6), 3))
