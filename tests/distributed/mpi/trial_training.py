"""A rank of a trial that trains a model: see faults.py, and trial_rank.py for its arguments.

Three ranks cut the optimiser's state.
"""

from __future__ import annotations

import os
import time

from trial_rank import EVERY, FOLDER, STEPS, moment

BATCH = 16


def main() -> None:
    moment("start-up")
    import numpy as np

    import graphcnn as gcn

    moment("start-up")

    class Moments(gcn.Callback):
        def on_step_end(self, model: gcn.Model, epoch: int, step: int, logs: dict[str, float]) -> None:
            moment("step" if step % EVERY else "checkpoint")
            time.sleep(0.01)

    random = np.random.default_rng(5)
    images, labels = (
        random.random((BATCH * STEPS, 8, 8, 1), np.float32),
        random.integers(0, 10, BATCH * STEPS),
    )
    network = gcn.Sequential(
        *(gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU()),
        *(gcn.Dropout(0.2), gcn.Flatten(), gcn.Dense(10)),
    )
    cut = int(os.environ["PMI_SIZE"]) == 3
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.Adam(0.01), "threads": 1, "ranks": "mpi"}
    options["shard_optimizer"] = cut
    model = gcn.compile(network, input_shape=(8, 8, 1), **options)
    moment("start-up")
    checkpoint = gcn.Checkpoint(FOLDER / "run", EVERY, keep=2)
    model.fit(
        *(images, labels),
        epochs=1,
        batch_size=BATCH,
        callbacks=[Moments()],
        checkpoint=checkpoint,
        progress=False,
    )
    moment("exit")
    if model.rank == 0 or cut:
        model.save(FOLDER / "model.safetensors")
    moment("exit")


if __name__ == "__main__":
    main()
