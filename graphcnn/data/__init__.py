"""Labelled images to learn from: a small set of digits that is always there, and sets on disk."""

from typing import TYPE_CHECKING

from graphcnn.data.cifar import load_cifar
from graphcnn.data.dataset import Dataset
from graphcnn.data.digits import load_digits
from graphcnn.data.idx import load_idx
from graphcnn.data.idx_folder import load_idx_folder
from graphcnn.data.image_folder import load_image_folder
from graphcnn.data.image_list import load_images
from graphcnn.data.numpy_files import load_numpy
from graphcnn.data.recognition import load
from graphcnn.foreign_names import OF_DATA
from graphcnn.unknown_names import unknown_name

__all__ = [
    "Dataset",
    "load",
    "load_cifar",
    "load_digits",
    "load_idx",
    "load_idx_folder",
    "load_image_folder",
    "load_images",
    "load_numpy",
]


if not TYPE_CHECKING:  # type checkers know which names there are

    def __getattr__(name: str) -> object:
        raise unknown_name(__name__, name, __all__, OF_DATA)
