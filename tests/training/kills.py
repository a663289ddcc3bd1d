"""Kills a training at random instants, lets others go on with it, and compares the last file.

    python tests/training/kills.py KILLS FOLDER [SEED] [PRECISION]

Each training runs in a process of its own, forked from this one, which has loaded all code and no more. It is
killed by SIGKILL, the next one goes on with another number of threads, and so on until one comes to its end.
The file that it then writes must have the SHA-256 of one that was never interrupted.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.training.graphs import Precision

RANDOM = np.random.default_rng(5)
IMAGES = RANDOM.integers(0, 256, (150, 8, 8, 1), np.uint8)
LABELS = RANDOM.integers(0, 10, 150)
TESTS = RANDOM.integers(0, 256, (40, 8, 8, 1), np.uint8)
TEST_LABELS = RANDOM.integers(0, 10, 40)
THREADS = (1, 2, 3, 4)
EVERY = (1, 4, 13)
"""Steps from checkpoint to checkpoint: nearly always, now and then, and once in an epoch of ten or so."""
EARLY = 0.1
"""The share of processes that may be killed before their first step, while they compile and read."""


class Memory(gcn.Callback):
    """Sets the learning rate by all losses that there have been."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def state(self) -> dict[str, object]:
        return {"losses": self.losses}

    def set_state(self, state: dict[str, object]) -> None:
        self.losses = state["losses"]  # type: ignore[assignment]

    def on_step_end(self, model: gcn.Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        self.losses.append(logs["loss"])
        model.learning_rate = 0.01 / (1 + sum(self.losses) / len(self.losses))


def train(folder: Path, threads: int, every: int, precision: Precision, tell: gcn.Callback) -> None:
    """Train, or go on, to the end, and save the model. every: steps from checkpoint to checkpoint."""
    checkpoint = gcn.Checkpoint(folder / "run", every, keep=2)
    if checkpoint.latest is None:
        network = gcn.Sequential(
            *(gcn.RandomFlip(), gcn.RandomCrop(8, padding=1), gcn.Cutout(3)),
            *(gcn.Conv2d(8, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.MaxPool2d(2)),
            *(gcn.Dropout(0.2), gcn.Flatten(), gcn.Dense(10)),
        )
        model = gcn.compile(
            network,
            input_shape=(8, 8, 1),
            loss=gcn.CrossEntropy(),
            optimizer=gcn.Adam(0.01),
            average=0.9,
            accumulate=2,
            threads=threads,
            precision=precision,
        )
    else:
        model = gcn.resume(folder / "run", threads=threads)
    model.fit(
        IMAGES,
        LABELS,
        epochs=6,
        batch_size=16,
        validation_data=(TESTS, TEST_LABELS),
        callbacks=[gcn.EarlyStopping("val_loss", patience=9), Memory(), gcn.CSVLog(folder / "log.csv"), tell],
        checkpoint=checkpoint,
        progress=False,
    )
    model.save(folder / "model.safetensors")


class Tell(gcn.Callback):
    """Tells the process that waits for it that a step is taken: until then, much is compiled and read."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self.has_told = False

    def on_step_end(self, model: gcn.Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        if not self.has_told:
            self.has_told = True
            os.write(self.pipe, b"!")


class Process:
    """A process that trains."""

    def __init__(self, folder: Path, threads: int, every: int, precision: Precision) -> None:
        self._began, pipe = os.pipe()
        self.number = os.fork()
        if self.number:
            os.close(pipe)
            return
        try:
            train(folder, threads, every, precision, Tell(pipe))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def wait_for_training(self) -> None:
        """Wait until the first step is taken, or the process has ended."""
        os.read(self._began, 1)

    def has_ended(self, seconds: float = 600.0) -> bool:
        """Wait so long at most; return whether it has come to its end. Raise where it has failed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found, status = os.waitpid(self.number, os.WNOHANG)
            if found:
                os.close(self._began)
                assert status == 0, f"the training failed: {status}"
                return True
            time.sleep(0.0002)
        return False

    def kill(self) -> None:
        os.kill(self.number, signal.SIGKILL)
        os.waitpid(self.number, 0)
        os.close(self._began)


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def parts(place: Path) -> set[Path]:
    """Return what is written, or is left of what was being written."""
    return set((place / "killed" / "run").glob(".*.part"))


def main(kills: int, place: Path, seed: int, precision: Precision) -> None:
    draw = random.Random(seed)
    assert Process(place / "first", 1, 1, precision).has_ended()  # and machine code is in the cache
    whole, start = Process(place / "whole", 1, 5, precision), time.monotonic()
    whole.wait_for_training()
    before = time.monotonic()
    assert whole.has_ended()
    compiling, training = before - start, time.monotonic() - before
    expected = digest(place / "whole")
    assert digest(place / "first") == expected
    killed = ended = attempts = while_saving = 0
    while killed < kills or attempts:
        threads, left = THREADS[(killed + ended) % len(THREADS)], parts(place)
        process = Process(place / "killed", threads, draw.choice(EVERY), precision)
        attempts += 1
        seconds = draw.uniform(0, compiling)
        if draw.random() > EARLY:
            process.wait_for_training()
            seconds = draw.uniform(0, training)
        if process.has_ended(seconds if killed < kills else 600):
            assert digest(place / "killed") == expected, f"another file after {attempts} processes"
            shutil.rmtree(place / "killed")
            ended, attempts = ended + 1, 0
            continue
        process.kill()
        killed += 1
        while_saving += bool(parts(place) - left)
        if killed % 20 == 0:
            print(f"{killed} kills, {while_saving} while saving, {ended} trainings", flush=True)
    print(f"{killed} kills, {while_saving} while saving, {ended} trainings, one SHA-256: {expected}")


if __name__ == "__main__":
    load_backend("native")  # all code is loaded once, and not by each of the processes
    _ = gcn.compile, gcn.resume, gcn.Checkpoint, gcn.Sequential, gcn.EarlyStopping, gcn.CSVLog
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    main(int(sys.argv[1]), Path(sys.argv[2]), seed, "bfloat16" if "bfloat16" in sys.argv else "float32")
