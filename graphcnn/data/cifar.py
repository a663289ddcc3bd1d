"""CIFAR-10 and CIFAR-100, in their binary version and in that for Python.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from graphcnn.arguments import known_arguments
from graphcnn.data.dataset import Dataset
from graphcnn.data.pickled import UnreadablePickle, read_pickle
from graphcnn.data.refusal import DOWNLOAD, WRONG_FILE, file_errors, held_by, refusal
from graphcnn.errors import FileError, OptionError

SIDE: Final = 32
PIXELS: Final = 3 * SIDE * SIDE
"""Bytes of an image: all of its red, then all of its green, then all of its blue, each row by row."""
_LONGEST_NAMES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Version:
    """How one of the sets is stored.

    train, test: files with images. names: the file with the names of classes. labels: bytes of labels in
    front of each image, of a binary version; which of them is the class and which the coarse one. keys: what
    a pickle calls the labels, and the names.
    """

    title: str
    train: tuple[str, ...]
    test: str
    names: tuple[str, str]
    labels: int = 0
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def is_binary(self) -> bool:
        return self.labels > 0


_BATCHES: Final = tuple(f"data_batch_{number}" for number in range(1, 6))
_FINE, _COARSE = 0, 1
_VERSIONS: Final = (
    _Version(
        "CIFAR-10, binary",
        tuple(f"{name}.bin" for name in _BATCHES),
        "test_batch.bin",
        ("batches.meta.txt", ""),
        labels=1,
    ),
    _Version(
        "CIFAR-100, binary", ("train.bin",), "test.bin", ("fine_label_names.txt", "coarse_label_names.txt"), 2
    ),
    _Version(
        "CIFAR-10 for Python",
        _BATCHES,
        "test_batch",
        ("batches.meta", ""),
        keys=(("labels", "label_names"),),
    ),
    _Version(
        "CIFAR-100 for Python",
        ("train",),
        "test",
        ("meta", "meta"),
        keys=(("fine_labels", "fine_label_names"), ("coarse_labels", "coarse_label_names")),
    ),
)


@known_arguments
def load_cifar(folder: str | os.PathLike[str], *, coarse: bool = False) -> Dataset:
    """CIFAR-10 or CIFAR-100, from the folder with its files  # uint8 [N, 32, 32, 3]

    The binary version or the one for Python, unpacked. Of the latter, whose files are pickles, nothing but
    arrays, dictionaries, lists, text and numbers is read, and nothing is executed. coarse: label CIFAR-100 by
    its 20 superclasses.

    Raises FileError if files are missing, damaged, or do not fit each other; OptionError for superclasses of
    a set that has none.
    """
    folder = Path(folder)
    with file_errors(folder):
        version = _version_in(folder)
        which = _COARSE if coarse else _FINE
        if coarse and not version.names[_COARSE]:
            raise OptionError("CIFAR-10 has no superclasses", mend="leave out coarse=True")
        classes = _names(folder, version, which)
        images, labels = _joined([_read(folder / name, version, which, classes) for name in version.train])
        test_images, test_labels = _read(folder / version.test, version, which, classes)
    return Dataset(images, labels, test_images, test_labels, classes)


def holds_cifar(folder: Path) -> bool:
    """Whether a folder holds training images of one of the sets: other files may be called `train`, too."""
    return any(
        (folder / version.train[0]).is_file()
        and (len(version.train) > 1 or (folder / version.names[_FINE]).is_file())
        for version in _VERSIONS
    )


def _version_in(folder: Path) -> _Version:
    """Return the version all of whose files are in a folder. Raises FileError where there is none."""
    if not folder.is_dir():
        raise FileError(
            f"{folder}: there is no such folder.",
            mend="name the folder with the unpacked files: tar xzf cifar-10-binary.tar.gz",
        )
    needed = {version: [*version.train, version.test, version.names[_FINE]] for version in _VERSIONS}
    missing = {
        version: [name for name in names if not (folder / name).is_file()]
        for version, names in needed.items()
    }
    found = next((version for version in _VERSIONS if not missing[version]), None)
    if found is not None:
        return found
    raise FileError(
        f"{folder}: files of CIFAR-10 or CIFAR-100 are missing.",
        facts=[
            *(f"{version.title}: there is no {', '.join(names)}" for version, names in missing.items()),
            held_by(folder),
        ],
        mend="name the folder that holds the files themselves, such as cifar-10-batches-bin.",
    )


def _names(folder: Path, version: _Version, which: int) -> tuple[str, ...]:
    """Return the names of the classes."""
    path = folder / version.names[which]
    if not version.is_binary:
        names = _member(path, _unpickled(path), version.keys[which][1], list)
        if not all(isinstance(name, str) for name in names):
            raise refusal(path, version.keys[which][1], "it is no list of names", mend=WRONG_FILE)
        return tuple(names)
    with path.open("rb") as file:
        text = file.read(_LONGEST_NAMES + 1)
    if len(text) > _LONGEST_NAMES:
        raise refusal(path, "length", f"a list of names has no {len(text):,} bytes", mend=WRONG_FILE)
    return tuple(name for line in text.decode("utf-8", "replace").splitlines() if (name := line.strip()))


def _read(
    path: Path, version: _Version, which: int, classes: Sequence[str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images of a file and their labels."""
    if version.is_binary:
        pixels, labels = _read_records(path, version.labels, version.labels - 1 if which == _FINE else 0)
    else:
        pixels, labels = _read_pickled(path, version.keys[which][0])
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if wrong.size:
        raise refusal(
            path,
            "labels",
            f"label {labels[wrong[0]]} of image {wrong[0]:,} is no class",
            f"there are {len(classes)} classes",
            mend=DOWNLOAD,
        )
    images = pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


def _read_records(path: Path, before: int, which: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the pixels and labels of a binary file: records of so many labels and an image."""
    record = before + PIXELS
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if not length or length % record:
            raise refusal(
                path,
                "data length",
                f"{length:,} bytes are no whole number of images",
                f"an image has {before} + 3 x {SIDE} x {SIDE} = {record:,} bytes",
                mend=DOWNLOAD,
            )
        records = np.fromfile(file, np.uint8, length)
    if len(records) != length:
        raise refusal(path, "data length", f"{len(records):,} of {length:,} bytes were read", mend=DOWNLOAD)
    records = records.reshape(-1, record)
    return records[:, before:], records[:, which].astype(np.int64)


def _read_pickled(path: Path, key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the pixels and labels of a file for Python."""
    batch = _unpickled(path)
    pixels, labels = _member(path, batch, "data", np.ndarray), _member(path, batch, key, list)
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != PIXELS or not len(pixels):
        raise refusal(
            path,
            "data",
            f"it is {pixels.dtype} of shape {list(pixels.shape)}, and uint8 [N, {PIXELS}] is needed",
            mend=WRONG_FILE,
        )
    is_label = [type(label) is int and 0 <= label < 1 << 31 for label in labels]
    if len(labels) != len(pixels) or not all(is_label):
        raise refusal(
            path,
            key,
            f"{len(pixels):,} whole numbers are needed, one for each image",
            f"it has {len(labels):,} elements, {sum(is_label):,} of them such numbers",
            mend=WRONG_FILE,
        )
    return pixels, np.array(labels, np.int64)


def _unpickled(path: Path) -> object:
    with path.open("rb") as file:
        try:
            return read_pickle(file, os.fstat(file.fileno()).st_size)
        except UnreadablePickle as error:
            raise refusal(path, "pickle", str(error), mend=DOWNLOAD) from None


def _member(path: Path, held: object, key: str, kind: type[Any]) -> Any:
    """Return what a file's dictionary has under a key, which may be in bytes."""
    found: Any = None
    if isinstance(held, dict):
        found = held.get(key, held.get(key.encode()))
    if isinstance(found, kind):
        return [_text(each) for each in found] if kind is list else found
    has = "it is no dictionary"
    if isinstance(held, dict):
        has = f"it holds {', '.join(str(key) for key in held if not isinstance(key, int))[:200]}"
    raise refusal(path, key, f"there is no such {kind.__name__}", has, mend=WRONG_FILE)


def _text(found: object) -> object:
    return found.decode("latin1") if isinstance(found, bytes) else found


def _joined(
    parts: Iterable[tuple[NDArray[np.uint8], NDArray[np.int64]]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = zip(*parts, strict=True)
    return (images[0], labels[0]) if len(images) == 1 else (np.concatenate(images), np.concatenate(labels))
