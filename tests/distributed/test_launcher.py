"""What launchers say of the ranks."""

from __future__ import annotations

import pytest

from graphcnn.distributed.launcher import launched, started_by_mpi

KNOWN = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "SLURM_PROCID")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KNOWN, "SLURM_STEP_NUM_TASKS", "MPI_LOCALNRANKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("said", "rank", "size"),
    [
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, 2, 4),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "16"}, 0, 16),
        ({"SLURM_PROCID": "7", "SLURM_STEP_NUM_TASKS": "8"}, 7, 8),
    ],
)
def test_a_rank_knows_its_number(
    said: dict[str, str], rank: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    found = launched()
    assert found is not None
    assert (found.rank, found.size) == (rank, size)
    assert started_by_mpi()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"PMI_RANK": "0", "PMI_SIZE": "1"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "8"},  # a batch script is one process
        {"PMI_RANK": "first", "PMI_SIZE": "4"},
    ],
)
def test_one_process_is_not_several_ranks(said: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert not started_by_mpi()
