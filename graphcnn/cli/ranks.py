"""The ranks that a command runs on: those that mpiexec or another launcher has started."""

from __future__ import annotations

from graphcnn.distributed.engines import as_transport
from graphcnn.distributed.launcher import started_by_mpi
from graphcnn.distributed.transport import Transport


def started_ranks() -> Transport | None:
    """Return the way to the other processes that were started with this one; None where there are none."""
    return as_transport("mpi") if started_by_mpi() else None
