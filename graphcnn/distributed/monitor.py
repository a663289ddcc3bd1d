"""How ranks that are processes learn that one of them has failed, and end together."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final

from graphcnn.distributed.launcher import Launched
from graphcnn.distributed.watching.links import Link, Said
from graphcnn.distributed.watching.processes import launcher_of, start_of
from graphcnn.errors import GraphcnnError, RankError

fcntl: ModuleType | None = None
with contextlib.suppress(ImportError):
    import fcntl
_PACKAGES: Final = Path(__file__).resolve().parent.parent.parent
_WATCHER: Final = (
    "import sys; sys.path.insert(0, {!r}); from graphcnn.distributed.watching.watcher import main; main()"
)
_IN_FLIGHT: Final = 1.0
"""Seconds in which a message may yet arrive of a rank that has come to its end."""
_ANSWERING: Final = 30.0
"""Seconds in which a watcher must be there."""
_LONGEST_DETAILS: Final = 20_000
_INTERRUPTED: Final = 130
"""What ranks end with after Ctrl-C: 128 and the number of the signal."""
_HIGH: Final = 800
"""A number of open files that few processes have, and that all may have."""
_MONITORS: Final[dict[int, Monitor]] = {}


class Monitor:
    """Tells the watcher of this rank what befalls it, and is told what befalls the others.

    From now on an error that nobody catches ends all ranks, and a rank that comes to its end waits for the
    others. stop: ends this process without a word and, as far as MPI can, all others; takes the exit code.
    """

    def __init__(self, found: Launched) -> None:
        self._rank, self._size, self._process = found.rank, found.size, os.getpid()
        self.stop: Callable[[int], None] = os._exit
        self.finish: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        self._failure: Said | None = None
        self._end: Said | None = None
        self._left: dict[int, float] = {}
        self._may_go = self._has_parted = False
        self._place: Said | None = None
        lifeline, self._alive = _lifeline()
        own, other = socket.socketpair()
        code = _WATCHER.format(str(_PACKAGES))
        with other:
            try:
                subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", code, str(other.fileno()), str(lifeline)],
                    pass_fds=[other.fileno(), lifeline],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # what kills a rank's group leaves its watcher
                ).returncode = 0  # nobody waits for it: it outlives this process
            except OSError as error:
                raise RankError(
                    f"rank {self._rank} cannot start the process that watches it: {error}",
                    mend="allow the user more processes: ulimit -u",
                ) from None
            finally:
                os.close(lifeline)
        self._link = Link(own)
        launcher = launcher_of(self._process, found.rank_variable)
        self._link.send(
            {
                "kind": "settings",
                "rank": found.rank,
                "size": found.size,
                "process": self._process,
                "variable": found.rank_variable,
                "local_size": found.local_size,
                "launcher": launcher,
                "launcher_began": start_of(launcher),  # asked here: a watcher may come when all are gone
            }
        )
        self._earlier_hook = sys.excepthook
        sys.excepthook = self._excepthook
        atexit.register(self._leave)
        _MONITORS[self._process] = self

    def place(self) -> Said:
        """Return where the watchers of this machine are reached from others."""
        self._say({"kind": "ask"})
        self._listen(lambda: self._place is not None, _ANSWERING)
        if self._place is None:
            raise RankError(f"the process that watches rank {self._rank} does not answer")
        return self._place

    def connect(self, places: list[Said], token: str) -> None:
        """Let the watchers of all machines meet.

        places: of each machine; that of rank 0 first. token: a secret that they know each other by.
        """
        self._say({"kind": "table", "places": places, "token": token})

    def note(self, about: str, text: str) -> None:
        """Let the message of a failure say something more, such as where the last checkpoint is.

        about: what it is about, of which the latest is said.
        """
        self._say({"kind": "note", "about": about, "text": text})

    def check(self, others: Collection[int] = ()) -> None:
        """Return if all is well. others: ranks that this one has been exchanging messages with for a while.

        Raises RankError where a rank has failed, or one of `others` has ended; KeyboardInterrupt where ranks
        end because a user wants it.
        """
        self._take()
        if self._failure is not None:
            raise RankError(f"{self._failure['text']}; all ranks end")
        if self._end is not None:
            raise KeyboardInterrupt(self._end["text"])
        for other in others:
            if time.monotonic() - self._left.get(other, time.monotonic()) > _IN_FLIGHT:
                self._miss(other)

    def _miss(self, other: int) -> None:
        """Let all ranks end because one has come to its end, for which this one waits."""
        text = f"rank {other} of {self._size} has come to its end, and rank {self._rank} waits for it"
        mend = "call the same methods in the same order on all ranks: none may leave a loop before the others"
        self._fail(other, text, f"Mend: {mend}")
        raise RankError(text, mend=mend)

    def await_failure(self, seconds: float = 1.0) -> None:
        """Return when it is known which rank has failed, but wait so long at most."""
        self._listen(lambda: self._failure is not None or self._end is not None, seconds)

    def tell(self, error: BaseException, details: str) -> bool:
        """Tell all ranks of an error that ends this one, in which case they end, too.

        details: what is said of it. Returns False if it is none of this rank's own: then it has been told.
        """
        self._take()
        if self._failure is not None or self._end is not None:
            return False
        if isinstance(error, KeyboardInterrupt):
            self.end("Ctrl-C", _INTERRUPTED)
            return True
        summary = traceback.format_exception_only(error)[-1].strip().splitlines()[-1:]
        host, name = socket.gethostname(), type(error).__name__
        where = f"rank {self._rank} of {self._size} on {host} (process {self._process})"
        self._fail(self._rank, f"{where} raised {name}", details, "".join(summary) or name)
        return True

    def _fail(self, rank: int, text: str, details: str, error: str = "") -> None:
        said: Said = {"kind": "failed", "rank": rank, "text": text, "details": details[-_LONGEST_DETAILS:]}
        said["error"] = error[-_LONGEST_DETAILS:]
        self._say(said | {"gone": [], "at": time.monotonic()})
        self.await_failure(2.0)

    def end(self, reason: str, code: int = 0) -> None:
        """Let all ranks end in order: the others where they next wait for a message, by KeyboardInterrupt.

        code: what mpiexec ends with.
        """
        self._say({"kind": "ended", "rank": self._rank, "text": reason, "code": code})
        self._listen(lambda: self._end is not None, 2.0)

    def _excepthook(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:
            self._earlier_hook(kind, error, trace)
            return
        self.tell(error, "".join(traceback.format_exception(kind, error, trace)))

    def _leave(self) -> None:
        """Wait at this rank's end until all others have come to theirs, or one has failed."""
        if os.getpid() != self._process:
            return
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        self._say({"kind": "left", "ranks": [self._rank]})
        try:
            self._listen(lambda: self._may_go)
        except KeyboardInterrupt:
            self.stop(_INTERRUPTED)
        if self._failure is not None or not self._may_go:
            self.stop(1)
        elif self._end is not None:
            self.stop(int(self._end["code"]))
        self.finish()
        self._say({"kind": "bye", "rank": self._rank})
        self._listen(lambda: self._has_parted, 2.0)

    def _listen(self, is_enough: Callable[[], bool], seconds: float | None = None) -> None:
        """Wait for what the watcher says, at most so long, or until it is gone."""
        end = None if seconds is None else time.monotonic() + seconds
        while not is_enough() and self._link.is_open and (end is None or time.monotonic() < end):
            select.select([self._link], [], [], 0.5 if end is None else max(0.0, end - time.monotonic()))
            self._take()

    def _say(self, said: Said) -> None:
        with self._lock:
            self._link.send(said)

    def _take(self) -> None:
        """Take what the watcher has said."""
        with self._lock:
            self._link.flush()
            for said in self._link.receive():
                self._hear(said)
            if not self._link.is_open and not self._may_go and self._failure is None:
                self._failure = {"text": f"the process that watches rank {self._rank} is gone"}

    def _hear(self, said: Said) -> None:
        kind = said["kind"]
        if kind == "failed":
            self._failure = said
        elif kind == "ended":
            self._end = said
        elif kind == "left":
            for rank in said["ranks"]:
                self._left.setdefault(rank, time.monotonic())
        elif kind == "go":
            self._may_go = True
        elif kind == "place":
            self._place = said
        elif kind == "farewell":
            self._has_parted = True


def _lifeline() -> tuple[int, int]:
    """Return both ends of a pipe, of which the second one stays open as long as this process.

    Linux closes what a process had open by falling numbers. Of a high number, this is closed before the
    connection with mpiexec, which kills all others then: so it is seen which rank was the first.
    """
    reader, writer = os.pipe()
    if fcntl is None:
        return reader, writer
    try:
        high = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    except OSError:  # so many are not allowed
        return reader, writer
    os.close(writer)
    return reader, high


def told(error: BaseException) -> bool:
    """Return whether ranks are told of an error that ends this one, so that nobody else need say it.

    Then all of them end; this one when it comes to its end, for which it should be on its way. False in a
    process that is no rank among several.
    """
    monitor = _MONITORS.get(os.getpid())
    if monitor is None:
        return False
    notes = [f"  {note}" for note in getattr(error, "__notes__", ())]
    said = str(error) if isinstance(error, GraphcnnError) else f"{type(error).__name__}: {error}"
    monitor.tell(error, "\n".join([said, *notes]))
    return True
