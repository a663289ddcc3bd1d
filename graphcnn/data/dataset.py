"""A labelled set of images, already split into a part to train on and a part to test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphcnn.arguments import known_methods
from graphcnn.data.batches import permutation
from graphcnn.data.mapping import chosen_rows
from graphcnn.displays import display
from graphcnn.errors import DataError, OptionError, meant
from graphcnn.foreign_names import OF_DATASETS
from graphcnn.rendering import as_html
from graphcnn.visible import visible

MOST_CLASSES = 20
"""So many classes are listed with their counts."""


@known_methods()
@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Dataset:
    """Training and test images with their labels.

    images, test_images: pixels, channels last: bytes, which a model divides by 255, or numbers from 0 to 1
    # uint8 or float32 [N, H, W, C]
    labels, test_labels: positions in `classes`, any integers  # int64 [N], for example
    classes: the name of each class.
    left_out: the files that were not loaded, and why, where a loader leaves any out.
    files, test_files: the path of each image, where each is a file of its own; else ().
    resize: how images got their size, "crop" or "stretch": see `load_image_folder`.

    There may be no test images, [0, H, W, C]; `split` makes some of the training images test images.
    Raises DataError if the arrays do not fit each other.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    test_images: NDArray[Any]
    test_labels: NDArray[Any]
    classes: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    resize: str = "crop"

    def __post_init__(self) -> None:
        check_resize(self.resize)
        _check_images("images", self.images)
        _check_images("test_images", self.test_images)
        _check_labels("labels", self.labels, "images", len(self.images), len(self.classes))
        _check_labels(
            "test_labels", self.test_labels, "test_images", len(self.test_images), len(self.classes)
        )
        _check_files("files", self.files, len(self.images))
        _check_files("test_files", self.test_files, len(self.test_images))
        if self.images.shape[1:] != self.test_images.shape[1:] or self.images.dtype != self.test_images.dtype:
            raise DataError(
                "Training and test images differ in shape or element type.",
                facts=[
                    f"{name}: {images.dtype} of shape {list(images.shape)}"
                    for name, images in (("images", self.images), ("test_images", self.test_images))
                ],
                mend="bring both to the same height, width and number of channels, and to one element type.",
            )

    # Parts

    def split(self, train: float, test: float | None = None, *, seed: int = 0) -> Dataset:
        """Return a set whose training and test images are both drawn from this set's training images.

        train, test: how many: a number of images, 50_000, or a share of them below 1, 0.9; by default all
        that are not trained on are test images. seed: which are drawn; the same for the same seed.

        So what is chosen while training is measured on images apart: `model.fit(dataset.split(0.9))`. This
        set's own test images are not among them: `model.evaluate(dataset)` is a test that nothing was chosen
        by. Raises OptionError for numbers that the set does not have.
        """
        samples = len(self.images)
        first = self._count("train", train)
        second = samples - first if test is None else self._count("test", test)
        if second < 1 or first + second > samples:
            raise OptionError(
                f"{first:,} images to train on and {second:,} to test on cannot be drawn from {samples:,}",
                mend="dataset.split(0.9), nine tenths of them to train on",
            )
        order = permutation(samples, seed)
        chosen, tested = np.sort(order[:first]), np.sort(order[first : first + second])
        return replace(
            self,
            images=chosen_rows(self.images, chosen),
            labels=self.labels[chosen],
            test_images=chosen_rows(self.images, tested),
            test_labels=self.labels[tested],
            files=self._files(chosen),
            test_files=self._files(tested),
        )

    def take(self, count: float, *, seed: int = 0) -> Dataset:
        """Return a set with so many of the training images, drawn by the seed, and all test images.

        count: a number of images, or a share of them below 1. They keep their order.
        Raises OptionError for more than there are.
        """
        chosen = np.sort(permutation(len(self.images), seed)[: self._count("count", count)])
        return self._trained_on(chosen)

    def balanced(self, per_class: int | None = None, *, seed: int = 0) -> Dataset:
        """Return a set with as many training images of each class, drawn by the seed, and all test images.

        per_class: how many; by default as many as the rarest class has. Classes without images stay without.
        Raises OptionError where a class has fewer.
        """
        counts = self._counts(self.labels)
        rarest = min((count for count in counts if count), default=0)
        wanted = rarest if per_class is None else self._count("per_class", per_class)
        if wanted > rarest:
            name = self.classes[counts.index(rarest)]
            raise OptionError(
                f"there are no {wanted:,} training images of the class {visible(name)!r:.60}",
                facts=[f"it has {rarest:,}"],
                mend=f"balanced({rarest}), or balanced(), which takes as many as the rarest class has",
            )
        order = permutation(len(self.labels), seed)
        drawn = [order[self.labels[order] == label][:wanted] for label in range(len(self.classes))]
        return self._trained_on(np.sort(np.concatenate(drawn)))

    def _trained_on(self, chosen: NDArray[np.int64]) -> Dataset:
        return replace(
            self,
            images=chosen_rows(self.images, chosen),
            labels=self.labels[chosen],
            files=self._files(chosen),
        )

    def _files(self, chosen: NDArray[np.int64]) -> tuple[str, ...]:
        """Return the files of some of the training images."""
        return tuple(self.files[number] for number in chosen) if self.files else ()

    def _count(self, name: str, given: object) -> int:
        """Return how many training images are meant by a number or a share of them."""
        samples = len(self.images)
        if isinstance(given, int | np.integer) and not isinstance(given, bool):
            count = int(given)
        elif isinstance(given, float) and 0 < given < 1:
            count = round(given * samples)
        else:
            raise OptionError(
                f"{name}={given!r:.60} is neither a number of images nor a share of them below 1",
                mend=f"{name}={max(1, samples * 9 // 10)}, or {name}=0.9",
            )
        if not 1 <= count <= samples:
            raise OptionError(
                f"{name}={given!r:.60}: {count:,} of {samples:,} training images cannot be drawn",
                mend=f"{name}={samples}, which are all",
            )
        return count

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError, with what others call what a set has here."""
            said = f"a Dataset has no attribute {visible(name)!r}"
            known = [each for each in dir(type(self)) if not each.startswith("_")]
            found = "" if name.startswith("_") else OF_DATASETS.get(name) or meant(name, known)
            raise AttributeError(f"{said}: {found}" if found else said)

    # Displays

    def _counts(self, labels: NDArray[Any]) -> list[int]:
        """Return how many labels there are of each class."""
        counts: list[int] = np.bincount(labels.astype(np.int64), minlength=len(self.classes)).tolist()
        return counts

    def show(
        self,
        path: str | PathLike[str] | None = None,
        *,
        per_class: int = 12,
        test: bool = False,
        seed: int = 0,
        open: bool = True,
    ) -> Path:
        """Write a page with pictures of each class, open it in the browser, and return its path.

        path: the file to write, atomically; by default one in a new folder for temporary files. per_class:
        how many training images of each class, drawn by the seed. test: test images instead. open: whether to
        open the page; in a notebook it is displayed there instead. The page loads nothing.
        Raises OptionError for a path that cannot be one, and OSError where the file cannot be written.
        """
        written: Path = display("show_dataset")(
            self, path, per_class=per_class, test=test, seed=seed, open=open
        )
        return written

    def __repr__(self) -> str:
        height, width, channels = self.images.shape[1:]
        tested = f" and {len(self.test_images):,} test" if len(self.test_images) else ""
        return (
            f"Dataset({len(self.images):,} training{tested} images "
            f"of {height}x{width}x{channels}, {len(self.classes)} classes)"
        )

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def __str__(self) -> str:
        """Return the numbers of images, class by class."""
        counts = zip(self.classes, self._counts(self.labels), self._counts(self.test_labels), strict=True)
        rows = [
            (visible(name), f"{train:,}", f"{test:,}") for name, train, test in list(counts)[:MOST_CLASSES]
        ]
        table = [("class", "training", "test"), *rows]
        columns = 3 if len(self.test_images) else 2
        widths = [max(len(row[column]) for row in table) for column in range(columns)]
        lines = [repr(self), *(_aligned(row[:columns], widths) for row in table)]
        if len(self.classes) > MOST_CLASSES:
            lines.append(f"  and {len(self.classes) - MOST_CLASSES} classes more")
        if self.left_out:
            files = "1 file is" if len(self.left_out) == 1 else f"{len(self.left_out):,} files are"
            lines.append(f"  {files} left out; dataset.left_out says why")
        return "\n".join(lines)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = row
    first, *others = widths
    cells = (f"{number:>{width}}" for number, width in zip(numbers, others, strict=True))
    return "  ".join([f"  {name:{first}}", *cells])


def _check_images(name: str, images: NDArray[Any]) -> None:
    if images.ndim == 4 and images.dtype in (np.uint8, np.float32):
        return
    raise DataError(
        f"{name} must be uint8 or float32 of shape [N, H, W, C].",
        facts=[f"{name}: {images.dtype} of shape {list(images.shape)}"],
        mend="pixels from 0 to 255 as uint8, or from 0 to 1 as float32; give grey images a last axis of 1.",
    )


def _check_files(name: str, files: Sequence[str], images: int) -> None:
    if files and len(files) != images:
        raise DataError(
            f"{name} are not as many as the images.",
            facts=[f"{name}: {len(files):,}", f"images: {images:,}"],
            mend="give the path of each image, or none.",
        )


def check_resize(resize: object) -> None:
    """Raise OptionError for what is no way to give images a size."""
    if resize not in ("crop", "stretch"):
        raise OptionError(f"resize={resize!r:.60} is neither 'crop' nor 'stretch'", mend='resize="crop"')


def _check_labels(name: str, labels: NDArray[Any], images_name: str, images: int, classes: int) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{name} must be integers of shape [N], such as int64.",
            facts=[f"{name}: {labels.dtype} of shape {list(labels.shape)}"],
            mend="give one class number for each image, not a one-hot row.",
        )
    if len(labels) != images:
        raise DataError(
            f"{name} and {images_name} differ in number.",
            facts=[f"{name}: {len(labels):,}", f"{images_name}: {images:,}"],
            mend="give exactly one label for each image.",
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(
            f"{name} holds a label that is no class.",
            facts=[f"{name}[{wrong[0]}] = {labels[wrong[0]]}", f"{classes} classes: 0 to {classes - 1}"],
            mend="number the labels from 0, and name every class in `classes`.",
        )
