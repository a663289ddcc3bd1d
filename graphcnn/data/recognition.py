"""One door to all sets on disk: what is there is recognised, and read by whoever knows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graphcnn.arguments import known_arguments
from graphcnn.data.cifar import holds_cifar, load_cifar
from graphcnn.data.dataset import Dataset
from graphcnn.data.idx_folder import holds_idx, load_idx_folder
from graphcnn.data.image_files import holds_images, unpacked_by
from graphcnn.data.image_folder import load_image_folder
from graphcnn.data.label_table import TABLES, tables_in
from graphcnn.data.numpy_files import holds_numpy, load_numpy
from graphcnn.data.refusal import file_errors, held_by
from graphcnn.errors import FileError


@dataclass(frozen=True, slots=True)
class _Reader:
    """A kind of set: how it is recognised, read, and described."""

    holds: Callable[[Path], bool]
    load: Callable[[Path], Dataset]
    looks_for: str


_STORED: Final = (
    _Reader(holds_idx, load_idx_folder, "IDX files: train-images-idx3-ubyte, as MNIST and its kin have them"),
    _Reader(
        holds_cifar, load_cifar, "CIFAR-10 or CIFAR-100: data_batch_1.bin, data_batch_1, train.bin, train"
    ),
    _Reader(
        holds_numpy, load_numpy, "NumPy's arrays: a .npz file, or images.npy and labels.npy; x_train, y_train"
    ),
)
_WITHIN: Final = (
    *("raw", "MNIST/raw"),
    *("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-100-binary", "cifar-100-python"),
)
"""Where archives and other programs put the files, in the folder that they are given."""
_PICTURES: Final = (
    "images by class: CLASS/*.jpg or *.png, or train/CLASS/*.jpg and test/CLASS/*.jpg; or a CSV file"
)


@known_arguments
def load(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
) -> Dataset:
    """The set of images that is at a path, whatever of these it is:

    IDX files as of MNIST (`load_idx_folder`), CIFAR-10 or CIFAR-100 (`load_cifar`), NumPy's arrays
    (`load_numpy`), a folder of images by class (`load_image_folder`), or a CSV file of the classes of the
    images that are in its folder.
    size, channels: for a folder of images, what height and width they get, and whether they become grey, 1,
    or RGB, 3; other sets have theirs.

    Raises FileError where nothing of it is there, with what was looked for, and what the loaders raise.
    """
    path = Path(path)
    with file_errors(path):
        for place in (path, *(path / each for each in _WITHIN)):
            for reader in _STORED:
                if reader.holds(place):
                    return reader.load(place)
        if path.suffix.lower() in TABLES and path.is_file():
            return load_image_folder(path.parent, labels=path, size=size, channels=channels)
        if holds_images(path):
            return load_image_folder(path, size=size, channels=channels)
        looked_for = [f"looked for {reader.looks_for}" for reader in _STORED]
        facts = [*looked_for, f"looked for {_PICTURES}", *([held_by(path)] if path.is_dir() else [])]
    is_there = "holds no set of images that is known" if path.exists() else "there is no such file or folder"
    raise FileError(f"{path}: {is_there}.", facts=facts, mend=_mend(path))


def _mend(path: Path) -> str:
    if path.is_file():
        return unpacked_by(path)
    tables = tables_in(path) if path.is_dir() else []
    if tables:
        return f"name the table that says the classes of the images: {path / tables[0]}."
    return "check the path; put the images of each class into a folder with its name."
