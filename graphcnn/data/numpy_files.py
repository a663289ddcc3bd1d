"""NumPy's files: arrays by their names in one .npz, or in .npy files of a folder, which are memory-mapped.

Nothing is unpickled. A file's header is compared with its length before anything is allocated; of a
compressed file, nothing above 64 MB before all of it was decompressed once and counted.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.data.dataset import Dataset
from graphcnn.data.npy_header import read_header
from graphcnn.data.refusal import (
    BLOCK,
    DOWNLOAD,
    SMALL,
    WRONG_FILE,
    file_errors,
    held_by,
    refusal,
    shown_bytes,
    shown_sizes,
)
from graphcnn.errors import FileError

_CONTENTS: Final = {
    **dict.fromkeys(("images", "image", "imgs", "img", "x", "data"), "images"),
    **dict.fromkeys(("labels", "label", "y", "target", "targets"), "labels"),
    **dict.fromkeys(("classes", "names"), "classes"),
}
_PARTS: Final = {"test": "test", **dict.fromkeys(("val", "valid", "validation"), "validation")}
_WORD: Final = re.compile("[a-z]+")
_LOOKED_FOR: Final = (
    "images or x, labels or y, and of a test part test_images or x_test, test_labels or y_test; "
    "without a test part, that of val; classes or names is text, a name for each class"
)
_LARGEST_DIRECTORY: Final = 1 << 20
"""Bytes of an archive's directory, of which far more memory is made: ten thousand arrays."""
_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those of NumPy. Others take memory on the word of a member, before anything is decompressed."""


@known_arguments
def load_numpy(path: str | os.PathLike[str]) -> Dataset:
    """Images and labels from a .npz file, or from a folder of .npy or .npz files.

    Arrays are known by the words in their names, or in a folder by those of their files: `images`, `imgs`,
    `x` or `data`; `labels`, `y` or `targets`; with `test` or, where there is no such, `val` for the test
    part: `x_train`, `test_images`, `kmnist-train-labels`. `classes` or `names`, of text, names the classes.
    images: [N, H, W] or [N, H, W, C], bytes or integers from 0 to 255, or floating-point numbers, which
    become float32. labels: integers [N] or [N, 1].

    A .npy file is memory-mapped: the set may be larger than memory, and the file has to stay as it is.
    Raises FileError if arrays are missing, damaged, hold objects, or do not fit each other.
    """
    path = Path(path)
    with file_errors(path):
        if path.is_dir():
            return _dataset(path, _arrays_of_folder(path))
        if not path.is_file():
            raise FileError(f"{path}: there is no such file or folder.", mend="check the path.")
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                return _dataset(path, _arrays_of_archive(path))
        raise FileError(
            f"{path}: it is no .npz file.",
            facts=["a .npy file holds one array, and images need labels"] if path.suffix == ".npy" else [],
            mend=f"name the folder of images.npy and labels.npy: {path.parent}"
            if path.suffix == ".npy"
            else "np.savez(path, images=images, labels=labels) writes one.",
        )


def holds_numpy(path: Path) -> bool:
    """Whether a path is that of a .npz file, or of a folder with arrays of images."""
    if path.is_file():
        return path.suffix == ".npz"
    return path.is_dir() and any(
        entry.suffix in (".npy", ".npz") and _role(entry.stem) == ("images", "train")
        for entry in path.iterdir()
    )


def _role(name: str) -> tuple[str, str] | None:
    """Return what an array of this name holds, and of which part of the set; None where that is unknown."""
    words = _WORD.findall(name.lower())
    contents = {_CONTENTS[word] for word in words if word in _CONTENTS}
    parts = [_PARTS[word] for word in words if word in _PARTS]
    if "classes" in contents:
        return "classes", "train"
    return (contents.pop(), parts[0] if parts else "train") if len(contents) == 1 else None


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an array is: a file, or the member of an archive."""

    path: Path
    member: str = ""

    @property
    def name(self) -> str:
        return self.member or self.path.name

    def read(self, *, mapped: bool) -> Array:
        if self.member:
            return _read_member(self.path, self.member)
        if self.path.suffix == ".npz":
            return _read_member(self.path, _only_member(self.path))
        return _read_npy(self.path, mapped=mapped)


_Arrays = dict[tuple[str, str], _Source]


def _arrays_of_folder(folder: Path) -> _Arrays:
    entries = sorted(entry for entry in folder.iterdir() if entry.suffix in (".npy", ".npz"))
    return _by_role(folder, {_Source(entry): entry.stem for entry in entries})


def _arrays_of_archive(path: Path) -> _Arrays:
    with _opened(path) as archive:
        members = [info.filename for info in archive.infolist() if info.filename.endswith(".npy")]
    return _by_role(path, {_Source(path, member): member.removesuffix(".npy") for member in members})


def _by_role(path: Path, names: Mapping[_Source, str]) -> _Arrays:
    """Return what is needed of the arrays by what they hold. Raises FileError where that is not clear."""
    found: _Arrays = {}
    for source, name in names.items():
        role = _role(name)
        if role is None:
            continue
        if role in found:
            raise FileError(
                f"{path}: two arrays may be the {' '.join(reversed(role))}.",
                facts=[f"{found[role].name} and {source.name}"],
                mend="leave one of them, or build a gcn.data.Dataset of the arrays.",
            )
        found[role] = source
    if ("images", "train") not in found or ("labels", "train") not in found:
        has = ", ".join(names.values())[:200]
        raise FileError(
            f"{path}: there are no images and labels to train on.",
            facts=[
                f"looked for {_LOOKED_FOR}",
                f"the arrays: {has}" if has or not path.is_dir() else held_by(path),
            ],
            mend="np.savez(path, images=images, labels=labels) writes such a file.",
        )
    return found


def _dataset(path: Path, sources: _Arrays) -> Dataset:
    part = "test" if ("images", "test") in sources else "validation"
    read = _part(sources, "train")
    images, labels = read
    tested = _part(sources, part) if ("images", part) in sources else (images[:0], labels[:0])
    if images.shape[1:] != tested[0].shape[1:] or images.dtype != tested[0].dtype:
        raise FileError(
            f"{path}: training and test images differ in shape or element type.",
            facts=[f"{array.dtype} of {shown_sizes(array.shape)}" for array in (images, tested[0])],
            mend="take all arrays from one set.",
        )
    last = max(int(each.max()) for each in (labels, tested[1]) if each.size)
    classes = tuple(map(str, range(last + 1)))
    if ("classes", "train") in sources:
        classes = _names(sources["classes", "train"], last)
    return Dataset(images, labels, *tested, classes)


def _part(sources: _Arrays, part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the images and labels of one part of the set."""
    source = sources["images", part]
    images = _images(source)
    if ("labels", part) not in sources:
        raise FileError(
            f"{source.path}: {source.name} has no labels.",
            facts=[f"looked for {_LOOKED_FOR}"],
            mend="put an array of its labels beside it.",
        )
    return images, _labels(sources["labels", part], len(images))


def _images(source: _Source) -> NDArray[Any]:
    array = source.read(mapped=True)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or not array.size or array.dtype.kind == "U":
        raise refusal(
            source.path,
            source.name,
            f"{array.dtype} of shape {list(array.shape)} are no images",
            "images are numbers of shape [N, H, W] or [N, H, W, C]",
            mend="build a gcn.data.Dataset of arrays of that shape.",
        )
    if array.dtype == np.uint8 or array.dtype == np.float32:
        return array
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinite afterwards, as of a file that says so
            return array.astype(np.float32)
    least, greatest = int(array.min()), int(array.max())
    if least < 0 or greatest > 255:
        raise refusal(
            source.path,
            source.name,
            f"images of integers are from 0 to 255, and these from {least} to {greatest}",
            mend="scale them to numbers from 0 to 1 in float32.",
        )
    return array.astype(np.uint8)


def _labels(source: _Source, images: int) -> NDArray[Any]:
    labels = source.read(mapped=False)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise refusal(
            source.path,
            source.name,
            f"{labels.dtype} of shape {list(labels.shape)} are no labels",
            "labels are integers of shape [N] or [N, 1]",
            mend="of one-hot rows take labels.argmax(axis=1).",
        )
    if len(labels) != images:
        raise refusal(
            source.path,
            source.name,
            f"there are {len(labels):,} labels and {images:,} images",
            mend=WRONG_FILE,
        )
    if int(labels.min()) < 0 or int(labels.max()) >= 1 << 20:
        raise refusal(
            source.path,
            source.name,
            f"labels are from 0 on, and these from {labels.min()} to {labels.max()}",
            mend="number the classes: classes, labels = np.unique(labels, return_inverse=True)",
        )
    return labels


def _names(source: _Source, last: int) -> tuple[str, ...]:
    names = source.read(mapped=False)
    if names.ndim != 1 or names.dtype.kind != "U" or len(names) <= last:
        raise refusal(
            source.path,
            source.name,
            f"{names.dtype} of shape {list(names.shape)} are no names of classes",
            f"labels are up to {last}, so that {last + 1} names are needed, as text",
            mend='np.array(["cat", "dog"])',
        )
    return tuple(map(str, names))


# Files


def _header(path: Path, name: str, file: Any, length: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and element type from the header of a file of this length, which they fit."""
    try:
        header = read_header(file)
    except ValueError as error:
        raise refusal(
            path, name, "its header is none of a NumPy array", str(error)[:200], mend=WRONG_FILE
        ) from None
    shape, dtype = header.shape, header.dtype
    if dtype is None:
        pickled = ["Python objects in a file are a pickle, which graphcnn never opens"]
        raise refusal(
            path,
            name,
            f"its elements are {header.elements:.60}, and numbers or text are read",
            *(pickled if header.elements in ("O", "|O") else []),
            mend="save arrays of numbers.",
        )
    # Python's integers do not overflow
    promised = dtype.itemsize
    for size in shape:
        promised *= size
    found = length - header.length
    if promised != found:
        raise refusal(
            path,
            name,
            "its length is not the one that its header asks for",
            f"{shown_sizes(shape)} x {shown_bytes(dtype.itemsize)} ({dtype}) = {shown_bytes(promised)}",
            f"behind the header there are {shown_bytes(found)}",
            mend=DOWNLOAD,
        )
    return shape, header.is_by_column, dtype


def _read_npy(path: Path, *, mapped: bool) -> Array:
    with path.open("rb") as file:
        shape, is_by_column, dtype = _header(path, "array", file, os.fstat(file.fileno()).st_size)
        order: Any = "F" if is_by_column else "C"
        if mapped and 0 not in shape:
            return np.asarray(np.memmap(file, dtype, "r", file.tell(), shape, order))
        flat = np.fromfile(file, dtype, -1)
    return flat.reshape(shape, order=order)


def _only_member(path: Path) -> str:
    with _opened(path) as archive:
        members = [info.filename for info in archive.infolist()]
    if len(members) == 1:
        return members[0]
    raise refusal(
        path,
        "arrays",
        f"there are {len(members)}, and one is needed in a folder of files",
        ", ".join(members)[:200],
        mend=f"name the file itself: {path}",
    )


def _read_member(path: Path, member: str) -> Array:
    """Return an array of an archive, which is decompressed twice where it is large: first to count."""
    with _opened(path) as archive:
        info = archive.getinfo(member)
        if info.compress_type not in _COMPRESSIONS:
            raise refusal(
                path, member, "it is compressed by another method than NumPy's", mend="np.savez_compressed"
            )
        with archive.open(info) as stream:
            shape, is_by_column, dtype = _header(path, member, stream, info.file_size)
            begin = stream.tell()
        length = info.file_size - begin
        if length > SMALL:
            with archive.open(info) as stream:
                _receive(path, member, stream, begin, length, None)
        data = np.empty(length, np.uint8)
        with archive.open(info) as stream:
            _receive(path, member, stream, begin, length, data)
    return data.view(dtype).reshape(shape, order="F" if is_by_column else "C")


def _receive(
    path: Path, member: str, stream: Any, begin: int, length: int, target: NDArray[np.uint8] | None
) -> None:
    """Read so many bytes behind the header, and see that they are all, and are whole."""
    stream.read(begin)
    arrived = 0
    while block := stream.read(BLOCK):  # never more than the archive says that the member has
        if target is not None:
            target[arrived : arrived + len(block)] = np.frombuffer(block, np.uint8)
        arrived += len(block)
    if arrived != length:
        raise refusal(
            path, member, f"it has {shown_bytes(arrived)} and not {shown_bytes(length)}", mend=DOWNLOAD
        )


class _Bounded(FileIO):
    """The file of an archive, which is read in blocks but for its directory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory would have {shown_bytes(size)}")
        return super().read(size) or b""


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Give an archive, and name it in the errors of damage."""
    try:
        with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except (
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError),
        *(ValueError, OverflowError),
    ) as error:
        if isinstance(error, FileError):
            raise
        raise refusal(path, "archive", "it is damaged", str(error)[:200], mend=DOWNLOAD) from None
