"""CIFAR-10 in ten epochs, by the recipe of Keller Jordan's airbench94 (arXiv 2404.00498).

python examples/cifar10.py FOLDER [--epochs 10] [--seed 0] [--precision bfloat16]

FOLDER, or $GRAPHCNN_CIFAR10, holds CIFAR-10 in its binary version or the one for Python, or images as
train/CLASS/*.jpg and test/CLASS/*.jpg. Without it the bundled digits in three colours stand in.

What the recipe is made of: a first layer that whitens patches of 2x2 pixels and is not trained, filters that
begin as the identity, batch norm whose shifts learn 64 times as fast and whose scales do not, smoothed
labels, flips that alternate from epoch to epoch, shifts by two pixels, lookahead, and views in testing.
"""

import argparse
import os
import time

import numpy as np

import graphcnn as gcn

BATCH, RATE, DECAY, SHIFTS = 1024, 1.5, 0.00133, 64
WIDTHS = (64, 256, 256)


def load_images(folder: str | None) -> gcn.data.Dataset:
    """Return CIFAR-10 from the folder, or coloured digits of its size where there is none."""
    if folder:
        return gcn.data.load(folder)
    print("No CIFAR-10 folder given: the bundled digits, enlarged and coloured, stand in for it.")
    digits, colours = gcn.data.load_digits(), np.random.default_rng(0)

    def enlarged(images: np.ndarray) -> np.ndarray:
        colour = colours.uniform(100, 255, (len(images), 1, 1, 3))
        return (np.kron(images, np.ones((1, 4, 4, 1))) * colour).astype(np.uint8)

    return gcn.data.Dataset(
        enlarged(digits.images[:1024]), digits.labels[:1024],
        enlarged(digits.test_images), digits.test_labels, digits.classes,
    )  # fmt: skip


def whitening(images: np.ndarray) -> np.ndarray:
    """Return filters that make patches of images [N, H, W, C] uncorrelated  # [2, 2, C, 8 C]

    They are the principal components of the patches, each over its deviation, and all of these negated.
    """
    patches = np.lib.stride_tricks.sliding_window_view(images, (2, 2), axis=(1, 2))
    patches = np.moveaxis(patches, 3, -1).reshape(-1, 4 * images.shape[-1])
    variances, components = np.linalg.eigh(patches.T @ patches / len(patches))
    filters = components[:, ::-1] / np.sqrt(variances[::-1] + 5e-4)
    return np.concatenate([filters, -filters], 1).reshape(2, 2, images.shape[-1], -1)


def identity(generator: np.random.Generator, type: gcn.TensorType) -> np.ndarray:
    """First values of filters [3, 3, C, D]: the first C hand their channel on, the others are drawn."""
    height, width, channels, _ = type.shape
    filters = generator.uniform(-1, 1, type.shape) / np.sqrt(height * width * channels)
    filters[..., :channels] = 0
    filters[height // 2, width // 2, range(channels), range(channels)] = 1
    return filters


def fan_in(generator: np.random.Generator, type: gcn.TensorType) -> np.ndarray:
    """First values of weights [C, D], up to 1 / √C."""
    return generator.uniform(-1, 1, type.shape) / np.sqrt(type.shape[0])


def network(images: np.ndarray) -> gcn.Network:
    x = image = gcn.Input((32, 32, 3), name="image")
    x = gcn.RandomFlip(alternating=True)(gcn.Normalize.of(images)(x))
    x = gcn.RandomCrop(padding=2, padding_mode="reflect")(x)
    x = gcn.GELU()(gcn.Conv2d(24, 2, name="whiten")(x))
    for width in WIDTHS:
        x = gcn.Conv2d(width, 3, padding=1, bias=False, initializer=identity)(x)
        x = gcn.GELU()(gcn.BatchNorm2d(momentum=0.4)(gcn.MaxPool2d(2)(x)))
        x = gcn.Conv2d(width, 3, padding=1, bias=False, initializer=identity)(x)
        x = gcn.GELU()(gcn.BatchNorm2d(momentum=0.4)(x))
    x = gcn.Flatten()(gcn.MaxPool2d(3)(x))
    return gcn.Network(image, gcn.Dense(10, bias=False, initializer=fan_in, name="head")(x) / 9)


def main() -> None:
    parser = argparse.ArgumentParser(description="CIFAR-10 by the recipe of airbench94")
    parser.add_argument("folder", nargs="?", default=os.environ.get("GRAPHCNN_CIFAR10"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    given = parser.parse_args()
    epochs, batch = (given.epochs, BATCH) if given.folder else (2, 128)
    data = load_images(given.folder)
    print(data)
    mean, deviation = (np.float32(each) for each in (data.images.mean((0, 1, 2)), data.images.std((0, 1, 2))))
    model = gcn.compile(
        network(data.images),
        loss=gcn.CrossEntropy(label_smoothing=0.2),
        optimizer=gcn.SGD(RATE, momentum=0.85, nesterov=True, weight_decay=DECAY),
        groups={
            "whiten.filters": {"frozen": True},
            "batchnorm*.scale": {"frozen": True},
            "batchnorm*.shift": {"learning_rate": SHIFTS, "weight_decay": DECAY / SHIFTS},
        },
        lookahead=(5, 0.8),
        weights={"whiten.filters": whitening((data.images[:5000] - mean) / deviation)},
        seed=given.seed,
        precision=given.precision,
    )
    rate = gcn.triangular(RATE, epochs, start=0.2 * RATE, end=0.01 * RATE, rise=0.23)
    began = time.perf_counter()
    model.fit(data, epochs=epochs, batch_size=batch, callbacks=[rate])
    print(f"{epochs} epochs in {(time.perf_counter() - began) / 60:.1f} minutes")
    for name, views in (("as they are", None), ("in six views", gcn.Views(mirror=True, shift=1))):
        scores = model.evaluate(data, views=views)
        print(f"test accuracy of images {name}: {scores['accuracy']:.2%}")


if __name__ == "__main__":
    main()
