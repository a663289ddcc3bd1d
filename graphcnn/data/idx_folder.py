"""Folders of IDX files: MNIST, and its kin that is stored like it, such as KMNIST, EMNIST and QMNIST."""

from __future__ import annotations

import os
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphcnn.arguments import known_arguments
from graphcnn.data.dataset import Dataset
from graphcnn.data.idx import CODES, load_idx
from graphcnn.data.refusal import file_errors, held_by, refusal, shown_sizes
from graphcnn.errors import FileError


@known_arguments
def load_idx_folder(folder: str | os.PathLike[str]) -> Dataset:
    """The images and labels of a folder with the four files of MNIST, or of a set that is stored like it.

    The files are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
    t10k-labels-idx1-ubyte, or the same with a dot (train-images.idx3-ubyte), each as it is or with .gz;
    where several are there, the plain one and the one with the hyphen come first; t10k may be called test.
    Images are uint8 [N, H, W], or [N, H, W, C] for colour (idx4 in the name is fine), and stay uint8
    [N, H, W, C]: a model divides them by 255. Classes are named "0" to the largest label.

    The names may begin with that of the set: emnist-letters-train-images-idx3-ubyte. In a folder of several
    sets one is named behind it: FOLDER/emnist-letters. EMNIST's images, which lie on their side in the files,
    are put upright, and its labels from 1 become positions from 0 in the classes, "1" to the largest label;
    where emnist-letters-mapping.txt is there, too, they have the names that it gives: "A" to "Z". Of the
    extended labels of QMNIST, qmnist-train-labels-idx2-int, the class is the first number.

    Raises FileError if files are missing, damaged, or do not fit each other.
    """
    folder = Path(folder)
    with file_errors(folder):
        train_paths, test_paths, name = _find_pairs(folder)
    pixels, labels = _load_pair(*train_paths)
    test_pixels, test_labels = _load_pair(*test_paths)
    if pixels.shape[1:] != test_pixels.shape[1:]:
        raise FileError(
            f"{train_paths[0].name} and {test_paths[0].name}: training and test images differ in size.",
            facts=[
                f"{train_paths[0].name}: dimension sizes {shown_sizes(pixels.shape)} as [N, H, W, C]",
                f"{test_paths[0].name}: dimension sizes {shown_sizes(test_pixels.shape)} as [N, H, W, C]",
                f"folder: {folder}",
            ],
            mend="the files come from two different sets; take all four from one.",
        )
    first = 0
    if name.startswith("emnist"):
        pixels, test_pixels = (np.ascontiguousarray(array.swapaxes(1, 2)) for array in (pixels, test_pixels))
        first = min(1, int(labels.min()), int(test_labels.min()))
    last = int(max(labels.max(), test_labels.max()))
    mapping = train_paths[0].parent / f"{name}-mapping.txt"
    names = _read_mapping(mapping) if name.startswith("emnist") and mapping.is_file() else {}
    return Dataset(
        images=pixels,
        labels=labels - first,
        test_images=test_pixels,
        test_labels=test_labels - first,
        classes=tuple(names.get(label, str(label)) for label in range(first, last + 1)),
    )


def holds_idx(place: Path) -> bool:
    """Whether a path is that of a folder with training images in IDX files, or of one of the sets in it."""
    if place.is_dir():
        return bool(_sets(place))
    return place.parent.is_dir() and place.name in _sets(place.parent)


_PARTS = (("train", "images"), ("train", "labels"), ("t10k", "images"), ("t10k", "labels"))
_EXTENDED = "idx2-int"
_LONGEST_MAPPING = 1 << 16


_PREFIX = re.compile(r"(?:(.+)-)?train-images[-.]idx[34]-ubyte(?:\.gz)?")


def _names(split: str, content: str, name: str = "") -> list[str]:
    """Return the names that a file of a set may have, the preferred one first; name: that of the set."""
    if content == "images":
        kinds = ["idx3-ubyte", "idx4-ubyte"]
    else:
        kinds = ["idx1-ubyte", _EXTENDED] if name == "qmnist" else ["idx1-ubyte"]
    splits = [split] if split == "train" else [split, "test"]
    prefix = f"{name}-" if name else ""
    return [
        f"{prefix}{each}-{content}{dot}{kind}{suffix}"
        for each, kind, suffix, dot in product(splits, kinds, ("", ".gz"), "-.")
    ]


def _find_pairs(place: Path) -> tuple[tuple[Path, Path], tuple[Path, Path], str]:
    """Return the files of images and labels, to train on and to test on, and the name of the set, or "".

    place: the folder, or with the name of one of its sets, folder/name.
    """
    if place.is_dir():
        folder, name = place, _only_set(place)
    elif place.parent.is_dir() and place.name in _sets(place.parent):
        folder, name = place.parent, place.name
    else:
        raise FileError(
            f"{place}: there is no such folder.",
            facts=[f"it should hold {', '.join(_names(*part)[0] for part in _PARTS)}"],
            mend="check the path; files that torchvision fetched are in its folder MNIST/raw.",
        )
    looked_for = [_names(*part, name) for part in _PARTS]
    found = [next((folder / n for n in names if (folder / n).is_file()), None) for names in looked_for]
    train_images, train_labels, test_images, test_labels = found
    if train_images and train_labels and test_images and test_labels:
        return (train_images, train_labels), (test_images, test_labels), name
    missing = [(part, names) for part, names, path in zip(_PARTS, looked_for, found, strict=True) if not path]
    raise FileError(
        f"{folder}: {len(missing)} of the {len(_PARTS)} files of an MNIST-like set are missing.",
        facts=[
            *(f"{' '.join(part)}: looked for {', '.join(names)}" for part, names in missing),
            held_by(folder),
        ],
        mend="name the folder that holds the files themselves; rename files that are there by other names.",
    )


def _sets(folder: Path) -> list[str]:
    """Return the names of the sets whose training images are in a folder; "" is that of a set without one."""
    matches = (_PREFIX.fullmatch(entry.name) for entry in folder.iterdir())
    return sorted({match[1] or "" for match in matches if match})


def _only_set(folder: Path) -> str:
    """Return the name of the set in a folder. Raises FileError where there are several that have names."""
    sets = _sets(folder)
    if "" in sets or not sets:
        return ""
    if len(sets) > 1:
        raise FileError(
            f"{folder}: the folder holds {len(sets)} sets.",
            facts=[f"their names: {', '.join(sets)}"],
            mend=f"name one of them: {folder / sets[0]}",
        )
    return sets[0]


def _load_pair(images: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    pixels, classes = load_idx(images), load_idx(labels)
    is_extended = _EXTENDED in labels.name
    _check_content(images, pixels, "images")
    _check_content(labels, classes, "extended labels" if is_extended else "labels")
    if is_extended:
        classes = classes[:, 0]
    if len(pixels) != len(classes):
        raise FileError(
            f"{images.name} and {labels.name}: the numbers of images and labels differ.",
            facts=[
                f"{images.name}: dimension sizes {shown_sizes(pixels.shape)}: {len(pixels):,} images",
                f"{labels.name}: dimension sizes {shown_sizes(classes.shape)}: {len(classes):,} labels",
                f"folder: {images.parent}",
            ],
            mend="take both files from the same set, and from the same part of it (train or t10k).",
        )
    if pixels.ndim == 3:
        pixels = pixels[..., np.newaxis]
    return pixels, classes.astype(np.int64)


def _check_content(path: Path, array: NDArray[Any], content: str) -> None:
    ranks = {"images": (3, 4), "labels": (1,), "extended labels": (2,)}[content]
    if array.ndim not in ranks:
        seems = {1: "labels", 3: "grey images", 4: "colour images"}.get(array.ndim, "something else")
        raise refusal(
            path,
            "number of dimensions",
            f"{content} are expected, but the file seems to hold {seems}",
            f"{content} have {' or '.join(map(str, ranks))} dimensions; "
            f"this file has {array.ndim}: {shown_sizes(array.shape)}",
            mend="check whether files were swapped or renamed.",
        )
    wanted = np.dtype(np.int32 if content == "extended labels" else np.uint8)
    if array.dtype != wanted:
        raise refusal(
            path,
            "type code",
            f"{content} must be 0x{CODES[wanted]:02X} ({wanted}), "
            f"and are 0x{CODES[array.dtype]:02X} ({array.dtype})",
            mend="load the file with `load_idx`, convert it, and build a `Dataset` from the arrays.",
        )


def _read_mapping(path: Path) -> dict[int, str]:
    """Return the names of labels: of each line, the label and the first of the characters that it is."""
    with path.open("rb") as file:
        text = file.read(_LONGEST_MAPPING + 1).decode("ascii", "replace")
    try:
        lines = [[int(number) for number in line.split()] for line in text.splitlines() if line.strip()]
        if len(text) > _LONGEST_MAPPING or not all(len(line) > 1 and 32 < line[1] < 127 for line in lines):
            raise ValueError
    except ValueError:
        raise refusal(
            path,
            "lines",
            "it is no table of labels and characters",
            "a line is a label and the codes of its characters: 1 65 97",
            mend="fetch the file again, or take it away: classes are then named by their labels.",
        ) from None
    return {line[0]: chr(line[1]) for line in lines}
