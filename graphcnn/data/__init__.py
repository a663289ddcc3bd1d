"""Labelled images to learn from: a small set of digits that is always there, and MNIST-like folders."""

from graphcnn.data.dataset import Dataset
from graphcnn.data.digits import load_digits
from graphcnn.data.idx import load_idx
from graphcnn.data.idx_folder import load_idx_folder

__all__ = ["Dataset", "load_digits", "load_idx", "load_idx_folder"]
