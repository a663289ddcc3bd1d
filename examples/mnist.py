"""Train LeNet-5 on MNIST from a folder with its four IDX files, gzipped or not.

python examples/mnist.py FOLDER [EPOCHS]     (or set GRAPHCNN_MNIST to the folder)

Without a folder it trains on the bundled digits, enlarged to 28x28, to show that it works.
"""

import os
import sys

import numpy as np

import graphcnn as gcn


def load_images(folder: str | None) -> gcn.data.Dataset:
    """Return MNIST from the folder, or enlarged digits where there is none."""
    if folder:
        return gcn.data.load(folder)
    print("No MNIST folder given: the bundled 8x8 digits, enlarged, stand in for it.")
    digits = gcn.data.load_digits()
    images, tests = (
        np.pad(np.kron(each, np.ones((1, 3, 3, 1), np.float32)), ((0, 0), (2, 2), (2, 2), (0, 0)))
        for each in (digits.images, digits.test_images)
    )
    return gcn.data.Dataset(images, digits.labels, tests, digits.test_labels, digits.classes)


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("GRAPHCNN_MNIST")
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    data = load_images(folder)
    print(data)
    model = gcn.compile(
        gcn.zoo.lenet5(),
        input_shape=(28, 28, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.05, momentum=0.9),
        seed=0,
    )
    model.fit(data, epochs=epochs, batch_size=64, callbacks=[gcn.cosine_decay(0.05, epochs, end=0.005)])
    scores = model.evaluate(data)
    print(f"test accuracy {scores['accuracy']:.2%}")


if __name__ == "__main__":
    main()
