"""Draw two pictures under each layer of augmentation: python examples/augmentation.py [FILE.png]

It needs matplotlib (pip install 'graphcnn[plot]'). With your own pictures in place of these, it shows what a
network will be trained on.
"""

import sys

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np

import graphcnn as gcn

SIDE = 32
LAYERS = {
    "as they are": gcn.ReLU(),
    "RandomFlip()": gcn.RandomFlip(),
    "RandomCrop(padding=4)": gcn.RandomCrop(padding=4),
    "RandomCrop(20)": gcn.RandomCrop(20),
    "RandomAffine(degrees=25, scale=(0.8, 1.2))": gcn.RandomAffine(degrees=25, scale=(0.8, 1.2)),
    "Cutout(10)": gcn.Cutout(10),
    "RandomErasing(rate=1)": gcn.RandomErasing(rate=1),
    "ColorJitter(0.5, 0.5, 0.8)": gcn.ColorJitter(0.5, 0.5, 0.8),
    "GaussianNoise(0.1)": gcn.GaussianNoise(0.1),
    "Mixup(alpha=1)": gcn.Mixup(alpha=1),
    "CutMix()": gcn.CutMix(),
    "Normalize(0.5, 0.25)": gcn.Normalize(0.5, 0.25),
}


def house() -> np.ndarray:
    """Return a house beside a tree, [SIDE, SIDE, 3], of numbers from 0 to 1."""
    row, column = np.mgrid[:SIDE, :SIDE]
    picture = np.stack([0.5 + row / 90, 0.75 + row / 160, np.full(row.shape, 0.95)], -1)
    picture[row > 24] = 0.45, 0.7, 0.3
    picture[(row - 6) ** 2 + (column - 6) ** 2 < 14] = 1.0, 0.85, 0.2
    picture[(abs(column - 12) < 7) & (row > 14) & (row < 27)] = 0.9, 0.8, 0.65
    picture[(abs(column - 12) < row - 7) & (row > 7) & (row <= 15) & (abs(column - 12) < 9)] = 0.75, 0.25, 0.2
    picture[(abs(column - 9) < 2) & (row > 17) & (row < 22)] = 0.35, 0.5, 0.75
    picture[(abs(column - 15) < 2) & (row > 18) & (row < 27)] = 0.5, 0.3, 0.15
    picture[(abs(column - 26) < 2) & (row > 17) & (row < 28)] = 0.45, 0.3, 0.15
    picture[(row - 13) ** 2 + (column - 26) ** 2 < 27] = 0.2, 0.5, 0.2
    return picture


def flower() -> np.ndarray:
    """Return a flower, [SIDE, SIDE, 3]."""
    row, column = np.mgrid[:SIDE, :SIDE]
    picture = np.stack([0.25 + column / 90, 0.3 + column / 110, np.full(row.shape, 0.4)], -1)
    picture[(abs(column - 16 - (row - 12) / 5) < 1.2) & (row > 12)] = 0.3, 0.65, 0.3
    angle, radius = np.arctan2(row - 12, column - 16), np.hypot(row - 12, column - 16)
    picture[radius < 6.5 + 3 * np.cos(5 * angle)] = 0.95, 0.55, 0.75
    picture[radius < 3.2] = 1.0, 0.85, 0.3
    return picture


def augmented(layer: gcn.Layer, pictures: np.ndarray) -> np.ndarray:
    """Return what a layer makes of pictures in training."""
    network = gcn.Sequential(layer, gcn.Flatten(), gcn.Dense(2))
    model = gcn.compile(
        network, input_shape=pictures.shape[1:], loss=gcn.CrossEntropy(), backend="numpy", seed=8
    )
    recording = model.inspect(pictures, np.arange(len(pictures)) % 2)
    return recording[recording.layers[0].layer]


def main() -> None:
    """Write a figure with a panel for each layer: what becomes of both pictures, twice."""
    pictures = np.array([house(), house(), flower(), flower()], np.float32)
    figure, panels = plt.subplots(4, 3, figsize=(9, 4.3), layout="constrained")
    for (code, layer), panel in zip(LAYERS.items(), panels.flat, strict=True):
        shown = augmented(layer, pictures)
        if isinstance(layer, gcn.Normalize):
            code, shown = f"{code}: black is -2, white 2", shown / 4 + 0.5
        gap = np.ones((shown.shape[1], 2, 3))
        row = [each for picture in shown for each in (picture, gap)][:-1]
        panel.imshow(np.clip(np.concatenate(row, axis=1), 0, 1), interpolation="nearest")
        panel.set_title(code, fontsize=8, family="monospace" if "(" in code else None)
        panel.axis("off")
    figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "augmentation.png", dpi=110)


if __name__ == "__main__":
    main()
