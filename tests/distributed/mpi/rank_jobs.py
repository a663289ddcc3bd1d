"""Jobs of ranks that mpiexec runs, as their processes look from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PROC = Path("/proc")
GAP = 0.25
"""Seconds between two looks at a job after which this process itself must have been stopped meanwhile."""


def mpiexec() -> str:
    """Return the mpiexec that the wheel of MPICH has brought along."""
    files = metadata.files("mpich") or ()
    return next(os.path.normpath(str(file.locate())) for file in files if file.name == "mpiexec")


@dataclass(frozen=True)
class Ended:
    """A job that is over. code: of mpiexec. seconds: how long it took after what was done to it."""

    code: int
    output: str
    seconds: float


class Job:
    """Ranks that run a Python program, and the processes that watch them."""

    def __init__(
        self, program: Sequence[str], ranks: int = 2, options: Sequence[str] = (), **variables: str
    ) -> None:
        self._mark = f"GRAPHCNN_JOB={os.getpid()}-{time.monotonic_ns()}"
        name, _, value = self._mark.partition("=")
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [mpiexec(), "-n", str(ranks), *options, sys.executable, *program],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | variables | {name: value},
        )
        self._since = self._looked = time.monotonic()

    def processes(self) -> list[int]:
        """Return all that belong to the job, but mpiexec itself and what it runs on each machine."""
        return [process for process in self._all() if b"hydra" not in _command(process)]

    def watchers(self) -> list[int]:
        return [process for process in self._all() if b"watching" in _command(process)]

    def ranks(self) -> dict[int, int]:
        """Return the processes of the ranks."""
        found = {}
        for process in self.processes():
            rank = _variables(process).get(b"PMI_RANK")
            if rank is not None and process not in self.watchers():
                found[int(rank)] = process
        return found

    def _all(self) -> Iterator[int]:
        for folder in PROC.glob("[0-9]*"):
            process = int(folder.name)
            if process != self.process.pid and self._mark.encode() in _environment(process):
                yield process

    def output(self) -> str:
        """Return what has been written so far."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def wait_for(self, words: str, seconds: float = 60.0) -> None:
        """Return when a rank has written some words."""
        end = time.monotonic() + seconds
        while words not in self.output():
            assert self.process.poll() is None, f"the job ended before: {self.output()}"
            assert time.monotonic() < end, f"waited in vain for {words!r}: {self.output()}"
            time.sleep(0.005)

    def now(self) -> None:
        """Let the seconds of the job's end be counted from now on."""
        self._since = self._looked = time.monotonic()

    def ended(self, seconds: float = 60.0) -> Ended:
        """Return how the job has ended, waiting so long at most. Raises AssertionError where it has not.

        Time for which this process itself was stopped does not count.
        """
        while self.process.poll() is None:
            took = self._seconds()
            if took > seconds:
                still = self.processes()
                self.kill()
                raise AssertionError(f"not ended after {took:.1f} s: {still}\n{self.output()}")
            time.sleep(0.01)
        return Ended(self.process.returncode, self.output(), self._seconds())

    def _seconds(self) -> float:
        now = time.monotonic()
        if now - self._looked > GAP:
            self._since += now - self._looked
        self._looked = now
        return now - self._since

    def left_over(self, seconds: float = 3.0) -> list[int]:
        """Return which processes are still there, waiting so long at most until none is."""
        self.now()
        while (left := self.processes()) and self._seconds() < seconds:
            time.sleep(0.02)
        return left

    def close(self) -> None:
        """End what is left of the job."""
        self.kill()
        self._output.close()

    def kill(self) -> None:
        for process in (*self._all(), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


def description(process: int) -> str:
    """Return what a process runs, and its state."""
    state = _read(process, "stat").rpartition(b")")[2].split()[:1]
    return b" ".join([str(process).encode(), *state, _command(process)[-60:]]).decode(errors="replace")


def _read(process: int, name: str) -> bytes:
    try:
        return (PROC / str(process) / name).read_bytes()
    except OSError:
        return b""


def _command(process: int) -> bytes:
    return _read(process, "cmdline")


def _environment(process: int) -> list[bytes]:
    return _read(process, "environ").split(b"\0")


def _variables(process: int) -> dict[bytes, bytes]:
    pairs = (entry.partition(b"=") for entry in _environment(process))
    return {name: value for name, _, value in pairs}
