"""What the program that has started this process, such as mpiexec, says of the ranks in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Launched:
    """One rank of those that a launcher has started.

    launcher: what has started it, in words. rank, size: which one of how many. local_size: how many are on
    this machine; 0 where it is not said. rank_variable: what holds the rank in the environment.
    """

    launcher: str
    rank: int
    size: int
    local_size: int
    rank_variable: str


_VARIABLES: Final = (
    ("mpiexec of Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("mpiexec of MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", ""),
)
"""A launcher; where it says the rank, how many there are, and how many on this machine. A batch script of
Slurm's has a SLURM_PROCID, too; srun alone counts the tasks of a step."""
OPEN_MPI: Final = _VARIABLES[0][0]
MPICH: Final = _VARIABLES[1][0]
SRUN: Final = _VARIABLES[2][0]


def launched() -> Launched | None:
    """Return which rank this process is; None where no launcher of ranks has started it."""
    for launcher, rank, size, local_size in _VARIABLES:
        if _number(rank) is not None and _number(size) is not None:
            return Launched(launcher, _number(rank) or 0, _number(size) or 0, _number(local_size) or 0, rank)
    return None


def started_by_mpi() -> bool:
    """Return whether a launcher such as mpiexec has started several processes, of which this is one."""
    found = launched()
    return found is not None and found.size > 1


def _number(variable: str) -> int | None:
    value = os.environ.get(variable, "")
    return int(value) if value.isascii() and value.isdigit() else None
