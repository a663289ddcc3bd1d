"""A labelled set of images, already split into a part to train on and a part to test on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphcnn.errors import DataError


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Dataset:
    """Training and test images with their labels.

    images, test_images: pixels from 0 to 1, channels last  # float32 [N, H, W, C]
    labels, test_labels: positions in `classes`  # int64 [N]
    classes: the name of each class.

    Raises DataError if the arrays do not fit each other.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_images("images", self.images)
        _check_images("test_images", self.test_images)
        _check_labels("labels", self.labels, "images", len(self.images), len(self.classes))
        _check_labels(
            "test_labels", self.test_labels, "test_images", len(self.test_images), len(self.classes)
        )
        if self.images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(
                "Training and test images differ in shape.",
                facts=[f"images: {list(self.images.shape)}", f"test_images: {list(self.test_images.shape)}"],
                mend="bring both to the same height, width and number of channels.",
            )

    def __repr__(self) -> str:
        height, width, channels = self.images.shape[1:]
        return (
            f"Dataset({len(self.images):,} training and {len(self.test_images):,} test images "
            f"of {height}x{width}x{channels}, {len(self.classes)} classes)"
        )


def _check_images(name: str, images: NDArray[Any]) -> None:
    if images.ndim == 4 and images.dtype == np.float32:
        return
    raise DataError(
        f"{name} must be float32 of shape [N, H, W, C].",
        facts=[f"{name}: {images.dtype} of shape {list(images.shape)}"],
        mend="convert the pixels with `.astype(np.float32) / 255`; give grey images a last axis of 1.",
    )


def _check_labels(name: str, labels: NDArray[Any], images_name: str, images: int, classes: int) -> None:
    if labels.ndim != 1 or labels.dtype != np.int64:
        raise DataError(
            f"{name} must be int64 of shape [N].",
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
