"""A rank of a trial: see faults.py. It says at which moment it is, and raises an error if it is to.

    python tests/distributed/mpi/trial_rank.py FOLDER [RANK MOMENT NUMBER]

Rank RANK raises an error when it comes to MOMENT the NUMBERth time.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections import Counter
from pathlib import Path

FOLDER = Path(sys.argv[1])
RANK = int(os.environ["PMI_RANK"])
RAISES = [*sys.argv[2:5], "", "", ""][:3]
STEPS = 60
EVERY = 5
"""Steps from checkpoint to checkpoint."""
_COUNTS: Counter[str] = Counter()
atexit.register((FOLDER / "over").touch)  # what is registered later comes before: all ranks have ended


def moment(name: str) -> None:
    """Say that this rank has come to a moment: start-up, step, checkpoint or exit."""
    _COUNTS[name] += 1
    part = FOLDER / f".{RANK}.part"
    part.write_text(f"{name} {os.getpid()}")
    part.rename(FOLDER / str(RANK))
    if RAISES[:2] == [str(RANK), name] and int(RAISES[2]) <= _COUNTS[name]:
        (FOLDER / "raised").touch()
        raise RuntimeError("the error of the trial")


def main() -> None:
    moment("start-up")
    import numpy as np

    from graphcnn.distributed.mpi import mpi_transport

    moment("start-up")
    transport = mpi_transport()
    moment("start-up")
    others = [rank for rank in range(transport.size) if rank != RANK]

    def meet(size: int) -> None:
        sends = [(rank, np.full(size, RANK, np.int64)) for rank in others]
        places = [(rank, np.empty(size, np.int64)) for rank in others]
        transport.begin(sends, places).wait()
        assert all((place == rank).all() for rank, place in places)

    for number in range(STEPS):
        moment("step")
        meet(20_000)
        time.sleep(0.004)
        meet(10)
        if number % EVERY == EVERY - 1:
            moment("checkpoint")
            if RANK == 0:
                part = FOLDER / "checkpoint.part"
                with part.open("wb") as file:
                    file.write(bytes([number]) * 1_000_000)
                    file.flush()
                    os.fsync(file.fileno())
                part.rename(FOLDER / "checkpoint")
            meet(1)
    moment("exit")
    if RANK == 0:
        time.sleep(0.1)
    moment("exit")


if __name__ == "__main__":
    main()
