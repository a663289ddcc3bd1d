"""LeCun et al., 1989, "Backpropagation Applied to Handwritten Zip Code Recognition", on MNIST at 16x16.

python examples/lecun1989.py FOLDER [EPOCHS]     (or set GRAPHCNN_MNIST to the folder)

The paper's setting: 7,291 digits to train on and 2,007 to test, of 16x16 and scaled to -1..1; a target of
+1 for the digit and -1 for the nine others; the squared error; a step after every digit; 23 epochs. The
paper reports errors of 0.14 % and 5.0 %, on zip codes of the U.S. Mail. Without a folder, 3 epochs of the
bundled digits show that it works.
"""

import os
import sys

import numpy as np

import graphcnn as gcn


def resized(images: np.ndarray) -> np.ndarray:
    """Return square images [n, size, size, 1] as [n, 16, 16, 1] of -1..1, interpolated linearly."""
    size, white = images.shape[1], np.float32(255 if images.dtype == np.uint8 else 1)
    places = np.clip((np.arange(16) + 0.5) * size / 16 - 0.5, 0, size - 1)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size))).astype(np.float32)
    return 2 * (weights @ (images[..., 0] / white) @ weights.T)[..., None] - 1


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("GRAPHCNN_MNIST")
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 23 if folder else 3
    data = gcn.data.load_idx_folder(folder) if folder else gcn.data.load_digits()
    random = np.random.default_rng(0)
    chosen = random.permutation(len(data.images))[:7291]
    tested = random.permutation(len(data.test_images))[:2007]
    images, labels = resized(data.images[chosen]), data.labels[chosen]
    targets = np.where(labels[:, None] == np.arange(10), 1, -1).astype(np.float32)

    network = gcn.Sequential(gcn.zoo.lecun1989(), gcn.Tanh())
    model = gcn.compile(
        network,
        input_shape=(16, 16, 1),
        loss=gcn.SquaredError(),
        optimizer=gcn.SGD(0.01),
        threads=1,
        seed=0,
    )
    model.fit(images, targets, epochs=epochs, batch_size=1)
    for name, x, y in (
        ("training", images, labels),
        ("test", resized(data.test_images[tested]), data.test_labels[tested]),
    ):
        print(f"error on {len(x)} {name} digits: {np.mean(model.predict(x).argmax(axis=1) != y):.2%}")


if __name__ == "__main__":
    main()
