"""The watcher of a rank: a process of its own. `main` is what it runs.

Ranks and watchers tell one another, in order of their lives:
    "ask", "place"    where a watcher's leader listens for those of other machines; ranks exchange it by MPI
    "table"           who leads where, and a secret that the leaders know each other by
    "note"            what is to be said should a rank fail, such as where the last checkpoint is
    "left"            ranks that have come to their end, and wait until all others have
    "bye", "farewell" a rank has done with MPI, and may be gone; and that this is known
    "failed"          which rank has failed, and how; decided by one watcher, and then told to all
    "ended"           that training ends in order, because a user wants it to
    "go"              to a rank that waits in its end: end now
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from graphcnn.distributed.watching.circle import Circle
from graphcnn.distributed.watching.links import Link, Said
from graphcnn.distributed.watching.processes import has_ended, how_ended, is_stopped, started_by

TICK: Final = 0.1
LOOKING: Final = 0.3
"""Seconds from one look at ranks that have not come yet to the next."""
MISSING: Final = 1.5
"""Seconds after which a rank that mpiexec has not started yet counts as failed."""
STOPPED: Final = 1.5
"""Seconds after which a process that is stopped counts as failed."""
BEAT: Final = 0.5
SILENT: Final = 3.0
"""Seconds without a heartbeat of another machine, after which its ranks count as failed."""
GATHERING: Final = 0.15
"""Seconds in which others may say that they have failed as well, before it is decided which was the first."""
ENDING: Final = 1.2
"""Seconds that ranks have, once one has failed, to close their files."""
PARTING: Final = 0.4
"""Seconds after which ranks are killed that are stopped, or begin; mpiexec is silent if others end before."""
KILLING: Final = 1.6
"""Seconds after which those are killed that have not ended by themselves."""
WELCOMING: Final = 2.0
"""Seconds in which watchers that come late are told that a rank has failed before they were there."""
LINGERING: Final = 2.0
"""Seconds for which a watcher whose rank is gone waits to hear why, at most."""


@dataclass(frozen=True)
class _Ending:
    """What is seen of a rank's end: that its files are closed, a lifeline among them, or that it is gone."""

    rank: int
    is_lifeline: bool


class Watcher:
    """Watches one rank.

    own: the link to it. lifeline: a pipe that ends with it, before its connection with mpiexec does and all
    others are killed. said: what it has said already, first of all who it is.
    """

    def __init__(self, own: Link, lifeline: int, said: list[Said]) -> None:
        settings, *self._said = said
        self._own = own
        self._rank, self._size, self._process = settings["rank"], settings["size"], settings["process"]
        self._variable, self._local_size = settings["variable"], settings["local_size"]
        self._host = socket.gethostname()
        self._began = self._beaten = self._looped = time.monotonic()
        self._looked = 0.0
        self._selector = selectors.DefaultSelector()
        self._selector.register(own, selectors.EVENT_READ)
        self._launcher = settings["launcher"]
        user = os.getuid() if hasattr(os, "getuid") else 0
        name = f"\0graphcnn-{user}-{self._launcher}-{settings['launcher_began']}"
        introduction = {"rank": self._rank, "process": self._process, "host": self._host}
        self._circle = Circle(self._selector, introduction, name, lifeline)
        self._lifeline = lifeline
        self._is_asked = False

        self._left: set[int] = set()
        self._unsent_left: set[int] = set()
        self._gone: dict[int, float] = {}
        self._byes: set[int] = set()
        self._failures: list[Said] = []
        self._failure: Said | None = None
        self._failing_since = self._failed_at = 0.0
        self._end: Said | None = None
        self._notes: dict[str, str] = {}
        self._is_silent = self._is_let_go = self._has_gone = False
        self._stopped_since: dict[int, float] = {}
        self._seen: set[int] = set()
        self._processes: dict[int, int] = {}
        self._dying: dict[int, float] = {}

    def run(self) -> None:
        self._circle.find_leader()
        self._watch_process(self._rank, self._process, self._lifeline)  # it may be gone: the leader decides
        for said in self._said:
            self._be_told(self._own, said)
        while not self._is_over():
            for key, _ in self._selector.select(TICK):
                if isinstance(key.data, _Ending):
                    self._note_ending(key.data, key.fd)
                elif isinstance(key.fileobj, Link):
                    self._read(key.fileobj)
                elif isinstance(key.fileobj, socket.socket):
                    self._circle.accept(key.fileobj)
            self._tick()
        end = time.monotonic() + 1.0
        while time.monotonic() < end and not all(link.flush() for link in self._links()):
            time.sleep(0.01)

    def _links(self) -> Iterator[Link]:
        yield self._own
        yield from self._circle.below()
        if self._circle.above is not None:
            yield self._circle.above

    def _known(self) -> set[int]:
        """Return the ranks of this machine whose watchers are there."""
        return {self._rank, *(said["rank"] for said in self._circle.members.values())}

    # What is told

    def _read(self, link: Link) -> None:
        for said in link.receive():
            if self._circle.is_stranger(link):
                self._meet(link, said)
            elif link is self._circle.above:
                self._hear(said)
            else:
                self._be_told(link, said)
        if not link.is_open:
            self._lose(link)

    def _meet(self, link: Link, said: Said) -> None:
        if not self._circle.meet(link, said):
            return
        if link in self._circle.members:
            if not has_ended(said["process"]):
                self._seen.add(said["rank"])
            self._watch_process(said["rank"], said["process"], *link.handles[:1])
        if self._left:
            link.send({"kind": "left", "ranks": sorted(self._left)})
        for known in (self._failure, self._end):
            if known is not None:
                link.send(known)

    def _be_told(self, link: Link, said: Said) -> None:
        """Take what the own rank says, or a watcher below."""
        kind = said["kind"]
        if kind == "ask":
            self._is_asked = True
            self._answer()
        elif kind == "table":
            for early, introduction in self._circle.know_table(said).items():
                self._meet(early, introduction)
        elif kind == "bye":
            self._part(link, said)
        elif kind == "beat":
            link.behind = min(link.behind, time.monotonic() - said["at"])
        elif kind in ("failed", "left", "ended", "note"):
            if kind == "failed" and link in self._circle.branches:
                said["at"] += link.behind  # by the clock of this machine
            self._tell(said)

    def _part(self, link: Link, said: Said) -> None:
        """Let a rank go that has done with MPI, once the leader of its machine knows."""
        self._byes.add(said["rank"])
        if self._circle.is_leader or self._circle.above is None:
            link.send({"kind": "farewell"})
        else:
            self._circle.above.send(said)

    def _tell(self, said: Said) -> None:
        """Tell the one above; where nobody is, decide."""
        kind = said["kind"]
        if self._circle.above is not None and self._circle.above.is_open:
            self._circle.above.send(said)
        elif kind == "note":
            self._notes[said["about"]] = said["text"]
        elif kind == "left":
            self._unsent_left.update(said["ranks"])
        elif self._failure is not None:
            return
        elif kind == "ended":
            if self._end is None:
                _write([f"graphcnn: all ranks end: {said['text']}"])
            self._hear(said)
        elif self._end is not None:
            self._unsent_left.add(said["rank"])
        else:
            self._failures.append(said)

    def _hear(self, said: Said) -> None:
        """Take what is decided, and pass it on."""
        kind = said["kind"]
        if kind == "place":
            self._circle.place = said
            self._answer()
            return
        if kind == "farewell":
            self._own.send(said)
            return
        if kind == "left":
            self._left.update(said["ranks"])
        elif kind == "failed" and self._failure is None:
            self._failure, self._failed_at = said, time.monotonic()
        elif kind == "ended" and self._end is None:
            self._end = said
        else:
            return
        for link in (self._own, *self._circle.below()):
            link.send(said)

    def _answer(self) -> None:
        if self._is_asked and self._circle.place is not None:
            self._own.send(self._circle.place)
            self._is_asked = False

    # Who is above, and who is lost

    def _rise(self, link: Link) -> None:
        """Tell another leader all that has been told to this one."""
        self._circle.above = link
        link.heard = time.monotonic()
        link.send({"kind": "left", "ranks": sorted(self._left | self._unsent_left)})
        self._unsent_left.clear()
        for about, text in self._notes.items():
            link.send({"kind": "note", "about": about, "text": text})
        for said in (*self._failures, self._failure, self._end):
            if said is not None:
                link.send(said)
        self._failures.clear()

    def _lose(self, link: Link) -> None:
        """Do without a link whose other end is closed, or silent."""
        self._circle.drop(link)
        if link in self._circle.members:
            self._lose_member(self._circle.members.pop(link))
        elif link in self._circle.branches:
            self._lose_branch(self._circle.branches.pop(link))
        elif link is self._circle.above:
            self._circle.above = None
            if self._rank in self._byes:
                self._own.send({"kind": "farewell"})
            if not self._is_settled() and len(self._left) < self._size:
                self._take_over()

    def _lose_member(self, said: Said) -> None:
        rank = said["rank"]
        if rank in self._processes and rank not in self._byes:
            self._tell(self._failed(rank, f"the process that watches rank {rank} on {self._host} is gone"))

    def _lose_branch(self, said: Said) -> None:
        missing = sorted(set(said["ranks"]) - self._left)
        if missing and not self._is_settled():
            who = f"the machine {said['host']}, with {_in_words(said['ranks'])},"
            self._tell(self._failed(missing[0], f"{who} does not answer", said["ranks"]))

    def _take_over(self) -> None:
        """Tell the next leader, or decide, where the one above is silent or gone."""
        table = self._circle.table
        if not self._circle.is_leader or table is None:
            self._is_silent = not self._circle.take_last_name()
            text = f"the process that watches this machine's ranks for all, {self._host}, is gone"
            self._tell(self._failed(0, text))
            return
        link = self._circle.successor()
        if link is not None:
            self._rise(link)
        center = table["places"][0]
        text = f"the machine {center['host']}, with {_in_words(center['ranks'])}, does not answer"
        self._tell(self._failed(0, text, center["ranks"]))

    # What is seen

    def _watch_process(self, rank: int, process: int, lifeline: int | None = None) -> None:
        """Be told when a process ends, in the order in which several do."""
        if lifeline is not None:
            self._selector.register(lifeline, selectors.EVENT_READ, _Ending(rank, is_lifeline=True))
        if rank in self._processes:
            return
        self._processes[rank] = process
        try:
            handle = os.pidfd_open(process)
        except ProcessLookupError:
            self._note_end(rank)
        except (AttributeError, OSError):
            del self._processes[rank]
        else:
            self._selector.register(handle, selectors.EVENT_READ, _Ending(rank, is_lifeline=False))

    def _note_ending(self, ending: _Ending, handle: int) -> None:
        self._selector.unregister(handle)
        os.close(handle)
        self._dying.setdefault(ending.rank, time.monotonic())
        if not ending.is_lifeline:
            self._note_end(ending.rank)

    def _note_end(self, rank: int) -> None:
        """Take note that a process of this machine has ended."""
        self._has_gone = self._has_gone or rank == self._rank
        self._gone.setdefault(rank, time.monotonic())
        process = self._processes.pop(rank, None)
        is_for_leader = rank == self._rank and not self._circle.is_leader
        if process is None or rank in self._byes or (is_for_leader and self._circle.above is not None):
            return
        if rank in self._known() or self._circle.table is not None:
            self._tell(self._died(rank, process))
        else:
            self._tell(self._ended_early(rank, f"rank {rank} of {self._size} (process {process})"))

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._looped > 5 * TICK:  # this watcher did not run itself: others are not to blame
            self._stopped_since.clear()
            for link in self._circle.remote():
                link.heard = now
        self._looped = now
        center = self._circle.found_center()
        if center is not None:
            self._rise(center)
        if self._unsent_left and self._circle.above is None:
            said = {"kind": "left", "ranks": sorted(self._unsent_left | self._left)}
            self._unsent_left.clear()
            self._hear(said)
        self._look_at(self._rank, self._process)
        if self._circle.is_leader and self._circle.table is None and now - self._looked > LOOKING:
            self._looked = now
            self._look_for_missing(now)
        self._beat(now)
        self._look_back(now)
        if self._failures:
            self._failing_since = self._failing_since or now
            if now - self._failing_since > GATHERING:
                self._decide()
        self._let_go(now)
        for link in self._links():
            link.flush()

    def _look_at(self, rank: int, process: int) -> None:
        """Let a process that stays stopped count as failed."""
        now = time.monotonic()
        if self._failure is not None or not is_stopped(process):
            self._stopped_since.pop(rank, None)
            return
        since = self._stopped_since.setdefault(rank, now)
        if now - since < STOPPED:
            return
        text = f"rank {rank} of {self._size} on {self._host} (process {process}) is stopped, as by SIGSTOP"
        if rank in self._byes:  # the others need it no more
            _write([f"graphcnn: {text}, at its end; it is killed"])
        else:
            self._tell(self._failed(rank, text, gone=[rank]))
        if rank in self._byes or rank != self._rank:  # one that has come has a watcher of its own
            self._kill(process)

    def _look_for_missing(self, now: float) -> None:
        """Look at the ranks of this machine that have not come yet."""
        known, found = self._known(), started_by(self._launcher, self._variable)
        if found is None or self._is_settled():
            return
        if not self._is_any_ending():
            self._seen |= known | set(found)
        if now - self._began > MISSING:
            for said in self._missing():
                self._tell(said)
        for rank, process in found.items():
            if rank not in known:
                self._watch_process(rank, process)
                self._look_at(rank, process)

    def _is_any_ending(self) -> bool:
        """Return whether a rank ends just now, whereupon mpiexec kills others, which have not failed."""
        ready = self._selector.select(0)
        return bool(self._dying) or any(isinstance(key.data, _Ending) for key, _ in ready)

    def _missing(self) -> list[Said]:
        """Return that a rank has failed, if one has ended that nobody here has seen alive."""
        alive = self._known() - self._gone.keys()
        if self._circle.table is not None or len(self._seen | alive) >= self._local_size:
            return []
        missing = sorted(set(range(self._size)) - self._seen)  # any, if all ended before they were seen
        who = "a rank"
        if self._local_size == self._size:
            who = ("one of " if len(missing) > 1 else "") + f"{_in_words(missing)} of {self._size}"
        return [self._ended_early(missing[0], who) | {"at": self._began}]

    def _look_back(self, now: float) -> None:
        """Tell of the own rank's end, should nobody have seen it."""
        if self._rank not in self._processes and not self._has_gone and os.getppid() != self._process:
            self._note_end(self._rank)
        if not self._has_gone or self._is_settled() or self._rank in self._byes:
            return
        if now - self._gone[self._rank] > 0.3 and not self._failures:
            self._tell(self._died(self._rank, self._process))

    def _ended_early(self, rank: int, who: str) -> Said:
        return self._failed(rank, f"{who} on {self._host} has ended before it met the others", gone=[rank])

    def _died(self, rank: int, process: int) -> Said:
        where = f"on {self._host} (process {process})"
        said = self._failed(rank, f"rank {rank} of {self._size} {where} {how_ended(process)}", gone=[rank])
        return said | {"at": self._dying.get(rank, said["at"])}

    def _failed(self, rank: int, text: str, gone: Sequence[int] = ()) -> Said:
        """Return that a rank has failed. gone: ranks that will not end by themselves."""
        said: Said = {"kind": "failed", "rank": rank, "text": text, "details": "", "error": ""}
        return said | {"gone": list(gone), "at": time.monotonic()}

    def _beat(self, now: float) -> None:
        """Let other machines hear this one, and find those that are silent."""
        if now - self._beaten >= BEAT:
            self._beaten = now
            for link in self._circle.remote():
                link.send({"kind": "beat", "at": now})
        for link in list(self._circle.remote()):
            if now - link.heard > SILENT and not self._is_settled():
                self._lose(link)

    # The end

    def _is_settled(self) -> bool:
        """Return whether all ranks end anyway, whatever else befalls them."""
        return self._failure is not None or self._end is not None

    def _decide(self) -> None:
        """Find out which rank was the first to fail, say so once for all ranks, and tell them."""
        self._failures += self._missing()
        first = min(self._failures, key=lambda said: float(said["at"]))
        same = {each["rank"] for each in self._failures if each["error"] and each["error"] == first["error"]}
        self._failures.clear()
        lines = [f"graphcnn: {first['text']}; all ranks end", *first["details"].splitlines()]
        if same - {first["rank"]}:
            lines.append(f"The same error ended {_in_words(sorted(same - {first['rank']}))}.")
        lines += self._notes.values()
        if not self._is_silent:
            _write(lines)  # before anyone ends: mpiexec does not wait for this once a rank has aborted
        self._hear(first)

    def _let_go(self, now: float) -> None:
        """Let the own rank end when all others have come to their end, or time is up."""
        failure = self._failure
        away = self._left.union(self._gone, failure["gone"] if failure is not None else ())
        is_time = failure is not None and now - self._failed_at > ENDING
        if not self._is_let_go and (is_time or len(away) >= self._size):
            self._is_let_go = True
            self._own.send({"kind": "go"})
        if failure is None:
            return
        is_stuck = self._rank in failure["gone"] or self._circle.table is None  # where MPI begins, it waits
        if now - self._failed_at > (PARTING if is_stuck else KILLING):
            self._kill(self._process)

    def _kill(self, process: int) -> None:
        if process != self._process or (not self._has_gone and os.getppid() == self._process):
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)

    def _is_over(self) -> bool:
        if not self._has_gone or self._failures:
            return False
        is_early = self._circle.is_leader and self._circle.table is None
        if self._failure is not None and is_early and len(self._known()) < self._local_size:
            return time.monotonic() - self._failed_at > WELCOMING
        is_said = self._is_settled() or self._rank in self._byes
        return is_said or time.monotonic() - self._gone[self._rank] > LINGERING


def _write(lines: list[str]) -> None:
    """Say something on the terminal of all ranks; what they have written may not have ended a line."""
    with contextlib.suppress(OSError):
        os.write(2, ("\n" + "\n  ".join(lines) + "\n").encode())


def _in_words(ranks: list[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if ranks == list(range(ranks[0], ranks[-1] + 1)):
        return f"ranks {ranks[0]} to {ranks[-1]}"
    return f"ranks {', '.join(map(str, ranks))}"


def main() -> None:
    """Watch the process that has started this one, over the socket that it says."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGTSTP", "SIGPIPE"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    own = Link(socket.socket(fileno=int(sys.argv[1])))
    said: list[Said] = []
    while not said and own.is_open:
        select.select([own], [], [], 1.0)
        said = own.receive()
    if said:
        Watcher(own, int(sys.argv[2]), said).run()
