"""What `ranks=` names: a way between ranks that is installed, or one that is given."""

from __future__ import annotations

from typing import TypeAlias

from graphcnn.distributed.transport import Transport
from graphcnn.errors import OptionError

GivenRanks: TypeAlias = str | Transport | None
"""`"mpi"`, a transport, or None for one process."""


def as_transport(ranks: GivenRanks) -> Transport | None:
    """Return the way to the other ranks; None for one process.

    Raises OptionError for what is neither, and where the package of an engine is missing.
    """
    if ranks is None or (not isinstance(ranks, str) and all(hasattr(ranks, name) for name in _PARTS)):
        return ranks
    if ranks == "mpi":
        from graphcnn.distributed.mpi import mpi_transport

        return mpi_transport()
    raise OptionError(
        f"ranks={ranks!r:.60} is neither the name of an engine nor a Transport",
        facts=[f"a Transport has {', '.join(_PARTS)}"],
        mend='ranks="mpi", in a script that `mpiexec -n 4 python script.py` starts',
    )


_PARTS = ("rank", "size", "begin")
