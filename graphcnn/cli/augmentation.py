"""`train --augment` and `--normalize`: the layers that a network gets in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from graphcnn.data import Dataset
from graphcnn.dsl.layers import (
    ColorJitter,
    CutMix,
    Cutout,
    Layer,
    Mixup,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomFlip,
)

AUGMENTATIONS: Final[dict[str, Callable[[int], Layer]]] = {
    "color": lambda side: ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
    "flip": lambda side: RandomFlip(),
    "affine": lambda side: RandomAffine(degrees=10, translate=1 / 16, scale=(0.9, 1.1)),
    "crop": lambda side: RandomCrop(padding=max(1, side // 8)),
    "cutout": lambda side: Cutout(max(1, side // 4)),
    "erasing": lambda side: RandomErasing(),
    "mixup": lambda side: Mixup(),
    "cutmix": lambda side: CutMix(),
}
"""Layers by what they are called, in the order in which images go through them; of the shorter side."""


def layers_in_front(dataset: Dataset, augmentations: Sequence[str], *, normalize: bool) -> list[Layer]:
    """Return the layers that were asked for. Colours are changed before they are normalised."""
    side = min(dataset.images.shape[1:3])
    chosen = {name: make(side) for name, make in AUGMENTATIONS.items() if name in augmentations}
    first = [chosen.pop("color")] if "color" in chosen else []
    return [*first, *([Normalize.of(dataset)] if normalize else []), *chosen.values()]
