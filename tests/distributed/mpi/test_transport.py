"""Arrays go between processes as they are."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.mpi

EXCHANGE = r"""
import os
import numpy as np
from graphcnn.distributed.mpi import mpi_transport

transport = mpi_transport()
assert mpi_transport() is transport
others = [rank for rank in range(transport.size) if rank != transport.rank]

def numbers(sender, reader, dtype, size):
    return (np.arange(size) * 7 + 31 * sender + reader).astype(dtype)

for dtype in ("float32", "float64", "int64", "uint8", "bool"):
    for size in (0, 1, 13, 300_000):  # the last one does not fit into what MPI sends at once
        sends = [(rank, numbers(transport.rank, rank, dtype, size)) for rank in others for _ in range(2)]
        places = [(rank, np.empty(size, dtype)) for rank in others for _ in range(2)]
        pending = transport.begin(sends, places)
        pending.wait()
        assert pending.done()
        for rank, place in places:
            np.testing.assert_array_equal(place, numbers(rank, transport.rank, dtype, size))

first, second = np.empty(1), np.empty(1)  # in the order in which they were begun
ahead = (transport.rank + 1) % transport.size
behind = (transport.rank - 1) % transport.size
if transport.size > 1:
    begun = [transport.begin([(ahead, np.array([n]))], []) for n in (1.0, 2.0)]
    transport.begin([], [(behind, first)]).wait()
    transport.begin([], [(behind, second)]).wait()
    for each in begun:
        each.wait()
    assert (first[0], second[0]) == (1, 2)
os.write(1, f"{transport.rank} of {transport.size} is well\n".encode())
"""

SUMS = r"""
import hashlib
import os
import numpy as np
from graphcnn.distributed.collectives import all_reduce, tree_sum
from graphcnn.distributed.mpi import mpi_transport
from graphcnn.distributed.tree import shards_of

transport = mpi_transport()
parts = np.random.default_rng(1).standard_normal((16, 1000)).astype(np.float32)
owned = shards_of(transport.rank, transport.size, 16)
own = tree_sum(lambda shard: parts[shard], owned, 16)
os.write(1, hashlib.sha256(all_reduce(transport, own, parts[0], 16)).hexdigest().encode() + b"\n")
"""


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_arrays_arrive_as_they_were_sent(start, ranks: int) -> None:
    job = start(EXCHANGE, ranks=ranks)
    ended = job.ended()
    assert ended.code == 0, ended.output
    assert sorted(ended.output.splitlines()) == [f"{rank} of {ranks} is well" for rank in range(ranks)]
    assert not job.left_over()


def test_any_number_of_ranks_adds_up_to_the_same_bits(start) -> None:
    sums = set()
    for ranks in (1, 2, 3, 8):
        ended = start(SUMS, ranks=ranks).ended()
        assert ended.code == 0, ended.output
        found = ended.output.splitlines()
        assert len(found) == ranks
        sums.update(found)
    assert len(sums) == 1


def test_a_single_process_needs_no_mpiexec() -> None:
    result = subprocess.run([sys.executable, "-c", EXCHANGE], capture_output=True, text=True, timeout=60)
    assert result.stdout == "0 of 1 is well\n", result.stderr


@pytest.mark.parametrize(
    ("rank", "size", "launcher", "mend"),
    [
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "mpiexec of Open MPI", "start them with /"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "srun", "start them with `srun --mpi=pmi2`, or with /"),
    ],
)
def test_a_launcher_of_another_mpi_is_told(start, rank: str, size: str, launcher: str, mend: str) -> None:
    """As each says who its ranks are, which MPICH does not understand."""
    code = f"import os; os.environ.update({rank}=os.environ['PMI_RANK'], {size}='2')\n"
    code += "for name in [name for name in os.environ if name.startswith('PMI')]: del os.environ[name]\n"
    ended = start(code + EXCHANGE, ranks=2).ended(10)
    assert ended.code != 0
    assert ended.output.count("belongs to another MPI than mpi4py has") == 1
    assert f"started by: {launcher}, 2 ranks" in ended.output
    assert f"Mend: {mend}" in ended.output
