"""Pictures of a set, class by class."""

from __future__ import annotations

from os import PathLike
from pathlib import Path, PurePath

import numpy as np

from graphcnn.data.batches import permutation
from graphcnn.data.dataset import Dataset
from graphcnn.errors import OptionError
from graphcnn.inspection.picture_sheet import Picture, PictureSheet
from graphcnn.ops.attributes import is_int


def show_dataset(
    dataset: Dataset,
    path: str | PathLike[str] | None = None,
    *,
    per_class: int = 12,
    test: bool = False,
    seed: int = 0,
    open: bool = True,
) -> Path:
    """Write a page with pictures of each class and return its path; see `Dataset.show`."""
    if not is_int(per_class, 1):
        raise OptionError(f"per_class={per_class!r:.60} is not an integer of at least 1", mend="per_class=12")
    return dataset_sheet(dataset, per_class, test=test, seed=seed).show(path, open=open)


def dataset_sheet(dataset: Dataset, per_class: int, *, test: bool = False, seed: int = 0) -> PictureSheet:
    """Return pictures of each class, drawn by the seed: of the training images, or of the test images."""
    images, labels = (dataset.test_images, dataset.test_labels) if test else (dataset.images, dataset.labels)
    files = dataset.test_files if test else dataset.files
    order = permutation(len(labels), seed)
    sections = []
    for label, name in enumerate(dataset.classes):
        of_class = order[labels[order] == label]
        drawn = np.sort(of_class[:per_class])
        pictures = [
            Picture(np.asarray(images[number]), PurePath(files[number]).name if files else f"{number}")
            for number in drawn
        ]
        sections.append((f"{name}: {len(of_class):,}", pictures))
    return PictureSheet(repr(dataset), sections)
