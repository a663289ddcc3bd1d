"""A training that takes no time, on any number of ranks."""

from __future__ import annotations

import hashlib

import numpy as np

import graphcnn as gcn
from graphcnn.distributed.in_process import run_ranks

BACKENDS = ["numpy", "native"]
RANKS = [1, 2, 4, 8, 16]

RANDOM = np.random.default_rng(14)
IMAGES = RANDOM.random((90, 8, 8, 3)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 90)
TESTS = RANDOM.random((21, 8, 8, 3)).astype(np.float32), RANDOM.integers(0, 4, 21)


def network():
    return gcn.Sequential(
        gcn.RandomFlip(),
        gcn.RandomCrop(padding=1),
        gcn.Conv2d(6, 3, padding="same"),
        gcn.BatchNorm2d(),
        gcn.ReLU(),
        gcn.MaxPool2d(2),
        gcn.Flatten(),
        gcn.Dropout(0.3),
        gcn.Dense(4),
    )


def model(transport, backend, **options):
    given = {"optimizer": gcn.SGD(0.05, momentum=0.9), "seed": 3, **options}
    if backend == "native":
        given.setdefault("threads", 1)
    return gcn.compile(
        network(), input_shape=(8, 8, 3), loss=gcn.CrossEntropy(), backend=backend, ranks=transport, **given
    )


def digest(trained):
    content = b"".join(array.tobytes() for array in trained.state().values())
    return hashlib.sha256(content).hexdigest()


def fit(trained, images=IMAGES, labels=LABELS, **options):
    given = {"epochs": 3, "batch_size": 20, "progress": False, **options}
    return trained.fit(images, labels, **given)


def same_of_all(ranks, function):
    """Return what each of so many ranks returns, which is the same."""
    found = run_ranks(ranks, function)
    assert all(each == found[0] for each in found)
    return found[0]


def numbers(history):
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history]


def trained_on(ranks, backend, compiled=None, **options):
    def train(transport):
        found = model(transport, backend, **(compiled or {}))
        history = fit(found, **{name: make() if callable(make) else make for name, make in options.items()})
        return digest(found), numbers(history)

    return same_of_all(ranks, train)


class Fails(gcn.Callback):
    """Fails on one rank at a step, before it is taken."""

    def __init__(self, rank, epoch, step):
        self.place = rank, epoch, step

    def on_step_begin(self, model, epoch, step, batch):
        if (min(self.place[0], model.ranks - 1), *self.place[1:]) == (model.rank, epoch, step):
            raise ZeroDivisionError("the power is gone")
