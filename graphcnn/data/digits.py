"""The 1,797 handwritten digits of 8x8 pixels that come with graphcnn."""

from __future__ import annotations

from importlib import resources

import numpy as np

from graphcnn.arguments import known_arguments
from graphcnn.data.dataset import Dataset

_TEST_IMAGES = 360
_SPLIT_SEED = 0


@known_arguments
def load_digits() -> Dataset:
    """The handwritten digits: 1,437 images to train on and 360 to test on  # [N, 8, 8, 1]

    Each pixel counts the ink in a block of 4x4 scanned dots, 0 to 16, here divided by 16.

    The split is fixed. The source keeps the images in the order in which people wrote them, so its last
    fifth has other writers than the rest. A permutation with a fixed seed therefore shuffles them first;
    then the last 360 are the test images. Both parts hold the same writers: the test accuracy tells how
    well a network knows new images by known hands, and is higher than for strangers.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0; the 1,797 images which scikit-learn ships.
    """
    bundled = resources.files("graphcnn.data").joinpath("digits.npz")
    with bundled.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        pixels, labels = arrays["images"], arrays["labels"]  # uint8 [N, 8, 8] and [N]

    # RandomState, since NumPy promises that its stream never changes; default_rng's may.
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(labels))
    train, test = order[:-_TEST_IMAGES], order[-_TEST_IMAGES:]
    images = pixels[..., np.newaxis].astype(np.float32) / np.float32(16)
    labels = labels.astype(np.int64)
    return Dataset(
        images=images[train],
        labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        classes=tuple("0123456789"),
    )
