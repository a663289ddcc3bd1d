"""What watchers see and tell: here without ranks; with them in mpi/."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphcnn.distributed.watching.links import Link
from graphcnn.distributed.watching.processes import (
    has_ended,
    how_ended,
    is_stopped,
    launcher_of,
    start_of,
    started_by,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux says what other processes do")


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"], env=os.environ | {"SOME_RANK": "3"})
    wait_until(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes())
    yield process
    process.kill()
    process.wait()


def wait_until(condition) -> None:
    for _ in range(10_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("waited in vain")


def test_a_process_is_seen_to_be_stopped_and_to_have_ended(sleeper) -> None:
    assert not is_stopped(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(sleeper.pid))
    os.kill(sleeper.pid, signal.SIGCONT)
    wait_until(lambda: not is_stopped(sleeper.pid))
    assert not has_ended(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGTERM)
    wait_until(lambda: has_ended(sleeper.pid))
    assert how_ended(sleeper.pid) == "was killed by SIGTERM"
    sleeper.wait()
    assert has_ended(sleeper.pid)
    assert how_ended(sleeper.pid) == "was killed, or has crashed"


def test_an_exit_code_is_seen() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import os; os._exit(7)"])
    wait_until(lambda: has_ended(process.pid))
    assert how_ended(process.pid) == "has ended at once, with exit code 7"
    process.wait()


def test_ranks_are_known_by_their_launcher(sleeper) -> None:
    assert started_by(os.getpid(), "SOME_RANK") == {3: sleeper.pid}
    assert launcher_of(sleeper.pid, "SOME_RANK") == os.getpid()
    assert start_of(sleeper.pid) != start_of(os.getpid())
    assert started_by(os.getpid(), "") is None


def test_a_link_tells_whole_lines_only() -> None:
    one, other = socket.socketpair()
    first, second = Link(one), Link(other)
    first.send({"kind": "a", "text": "x" * 300_000})
    first.send({"kind": "b"})
    heard = []
    while not first.flush() or len(heard) < 2:
        heard += second.receive()
    assert [said["kind"] for said in heard] == ["a", "b"]
    assert len(heard[0]["text"]) == 300_000
    first.connection.send(b'nonsense\n[1]\n{"kind": 1}\n{"kind": "c"}\n{"kind": "cut')
    assert second.receive() == [{"kind": "c"}]
    first.close()
    assert second.receive() == []
    assert not second.is_open
    second.send({"kind": "to nobody"})
    assert second.flush()
    second.close()


def test_a_link_does_not_take_endless_lines() -> None:
    one, other = socket.socketpair()
    link, told = Link(one), 0
    other.settimeout(0.1)
    while link.is_open:
        told += other.send(b"x" * 100_000)
        link.receive()
    assert told < 3_000_000
    link.close()
    other.close()


class Watched:
    """A process that stands for a rank of two, and its watcher, which writes to a file."""

    def __init__(self, rank: int, output: Path) -> None:
        self.rank, self.output = rank, output
        reader, writer = os.pipe()
        self.process = subprocess.Popen(["sleep", "60"], pass_fds=[writer])
        os.close(writer)
        self.lifeline, self.link = reader, None

    def watch(self) -> None:
        own, other = socket.socketpair()
        code = "from graphcnn.distributed.watching.watcher import main; main()"
        with other, self.output.open("ab") as output:
            self.watcher = subprocess.Popen(
                [sys.executable, "-c", code, str(other.fileno()), str(self.lifeline)],
                pass_fds=[other.fileno(), self.lifeline],
                stderr=output,
            )
        self.link = Link(own)
        settings = {"kind": "settings", "rank": self.rank, "size": 2, "process": self.process.pid}
        job = {"variable": "SOME_RANK", "local_size": 2, "launcher": os.getpid()}
        self.link.send(settings | job | {"launcher_began": start_of(os.getpid())})

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.lifeline)
        if self.link is not None:
            self.link.close()
            self.watcher.kill()
            self.watcher.wait()


def test_a_watcher_that_comes_when_its_rank_is_gone_leaves_the_word_to_its_leader(tmp_path) -> None:
    output = tmp_path / "said"
    ranks = [Watched(rank, output) for rank in range(2)]
    try:
        ranks[1].watch()
        ranks[1].link.send({"kind": "ask"})
        wait_until(lambda: any(said["kind"] == "place" for said in ranks[1].link.receive()))
        for rank in (1, 0):
            ranks[rank].process.kill()
            ranks[rank].process.wait()
        wait_until(output.read_text)
        ranks[0].watch()
        assert ranks[0].watcher.wait(30) == 0
        assert ranks[1].watcher.wait(30) == 0
    finally:
        for rank in ranks:
            rank.close()
    assert output.read_text().count("all ranks end") == 1


def test_a_rank_is_named_that_has_ended_before_its_watcher_came(tmp_path) -> None:
    output = tmp_path / "said"
    ranks = [Watched(rank, output) for rank in range(2)]
    try:
        ranks[0].process.kill()
        ranks[0].process.wait()
        ranks[1].watch()
        watcher = ranks[1].watcher.pid
        ranks[1].link.send({"kind": "ask"})
        wait_until(lambda: any(said["kind"] == "place" for said in ranks[1].link.receive()))
        os.kill(watcher, signal.SIGSTOP)
        wait_until(lambda: is_stopped(watcher))
        ranks[1].process.kill()
        ranks[0].watch()
        wait_until(lambda: Path("/proc/net/unix").read_text().count(f"-{os.getpid()}-") == 2)
        os.kill(watcher, signal.SIGCONT)
        wait_until(output.read_text)
    finally:
        for rank in ranks:
            rank.close()
    assert re.search(r"(?m)^graphcnn: (one of )?ranks? 0 ", output.read_text())
