"""Whatever befalls a rank, all ranks end soon, and one message says which it was."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi

SECONDS = 5.0
"""In which all must be over."""

STEPS = r"""
import ctypes, os, signal, sys, time
import numpy as np

fault, rank = sys.argv[1], int(os.environ["PMI_RANK"])
is_victim = rank == int(sys.argv[2])

def befall(moment):
    if not is_victim or not fault.startswith(moment):
        return
    os.write(1, b"now\n")
    what = fault.removeprefix(moment)
    if what == "raises":
        raise ValueError("bad luck")
    if what == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "is stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "crashes":
        ctypes.string_at(0)
    if what == "leaves":
        sys.exit(0)
    if what == "is gone":
        os._exit(0)

befall("early ")
from graphcnn.distributed.mpi import mpi_transport

transport = mpi_transport()
if rank == 0:
    transport.monitor.note("checkpoint", "The last checkpoint is number 7.")

def step():
    others = [other for other in range(transport.size) if other != rank]
    sends = [(other, np.zeros(100)) for other in others]
    transport.begin(sends, [(other, np.empty(100)) for other in others]).wait()

for number in range(int(sys.argv[3])):
    if number == 5 and rank == 0 and fault == "nothing":
        os.write(1, b"begun\n")
    if number == 20:
        befall("step ")
    step()
    time.sleep(0.01)
if is_victim and fault == "computes alone":
    ctypes.PyDLL(None).sleep(7)  # and holds Python's lock meanwhile
if is_victim and fault == "takes long":
    time.sleep(4)
befall("end ")
if fault == "computes alone":
    step()
os.write(1, b"well\n")
"""


def befallen(start, fault: str, victim: int = 1, ranks: int = 3, options: tuple[str, ...] = ()):
    """Return how a job has ended in which this fault befell a rank."""
    job = start(STEPS, fault, str(victim), "40", ranks=ranks, options=options)
    job.wait_for("now")
    job.now()
    ended = job.ended(SECONDS)
    assert ended.code != 0
    assert not job.left_over()
    return ended


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("step raises", "raised ValueError; all ranks end"),
        ("step is killed", "was killed"),
        ("step is stopped", "is stopped, as by SIGSTOP; all ranks end"),
        ("step leaves", "has come to its end, and rank"),
        ("step crashes", ""),
        ("step is gone", ""),
        ("end raises", "raised ValueError; all ranks end"),
        ("end is killed", "was killed"),
        ("end is stopped", "is stopped, as by SIGSTOP; all ranks end"),
    ],
)
def test_one_message_says_what_has_befallen_which_rank(start, fault: str, said: str, victim: int) -> None:
    ended = befallen(start, fault, victim)
    messages = [line for line in ended.output.splitlines() if line.startswith("graphcnn: ")]
    assert len(messages) == 1, ended.output
    assert messages[0].startswith(f"graphcnn: rank {victim} of 3 ")
    assert said in messages[0]
    assert "  The last checkpoint is number 7." in ended.output.splitlines()
    assert ended.output.count("Traceback") == fault.endswith("raises")
    assert fault.endswith("raises") == ("ValueError: bad luck" in ended.output)


@pytest.mark.parametrize("fault", ["early raises", "early is stopped", "early leaves"])
def test_ranks_that_never_come_are_missed(start, fault: str) -> None:
    ended = befallen(start, fault)
    assert "graphcnn: rank 1 of 3 on " in ended.output or "graphcnn: rank 1 of 3 (process" in ended.output
    assert ended.output.count("graphcnn: ") == 1


def test_the_same_error_on_all_ranks_is_told_once(start) -> None:
    code = "from graphcnn.distributed.mpi import mpi_transport\nmpi_transport()\nopen('/no/such')\n"
    ended = start(code, ranks=3).ended(20)
    assert ended.output.count("Traceback") == 1
    assert ended.output.count("The same error ended ranks") == 1
    assert ended.code == 1


@pytest.mark.parametrize("fault", ["computes alone", "takes long"])
def test_a_rank_that_is_busy_has_not_failed(start, fault: str) -> None:
    job = start(STEPS, fault, "1", "25", ranks=3)
    ended = job.ended(40)
    assert ended.code == 0, ended.output
    assert ended.output.split() == ["well"] * 3
    assert not job.left_over()


def test_all_may_be_stopped_and_go_on(start) -> None:
    job = start(STEPS, "nothing", "1", "150", ranks=2)
    job.wait_for("begun")
    there = job.processes()
    for process in there:
        os.kill(process, signal.SIGSTOP)
    time.sleep(3.0)
    for process in there:
        os.kill(process, signal.SIGCONT)
    assert job.ended(30).output.split() == ["begun", "well", "well"]


def test_ctrl_c_ends_all_without_a_traceback(start) -> None:
    job = start(STEPS + "os.write(1, b'now\\n'); time.sleep(60)", "nothing", "1", "5", ranks=3)
    job.wait_for("now")
    job.now()
    os.kill(job.process.pid, signal.SIGINT)
    ended = job.ended(SECONDS)
    assert ended.code == 130
    assert "Traceback" not in ended.output
    assert ended.output.count("graphcnn: all ranks end: Ctrl-C") == 1
    assert not job.left_over()


def test_without_its_mpiexec_nothing_stays(start) -> None:
    job = start(STEPS, "nothing", "1", "10000", ranks=2)
    job.wait_for("begun")
    os.kill(job.process.pid, signal.SIGKILL)
    job.process.wait()
    assert not job.left_over(SECONDS)


def test_a_watcher_that_is_killed_ends_all(start) -> None:
    job = start(STEPS + "os.write(1, b'now\\n'); time.sleep(60)", "nothing", "1", "5", ranks=3)
    job.wait_for("now")
    job.now()
    os.kill(job.watchers()[0], signal.SIGKILL)
    ended = job.ended(SECONDS)
    assert ended.code != 0
    assert ended.output.count("graphcnn: ") == 1
    assert not job.left_over()


MACHINES = ("-launcher", "fork", "-hosts", f"{os.uname().nodename}:2,localhost:2")
"""Two machines, as mpiexec sees it, of which this one is both."""


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("step raises", "raised ValueError; all ranks end"),
        ("step is killed", "was killed"),
        ("step is stopped", "is stopped, as by SIGSTOP; all ranks end"),
    ],
)
def test_ranks_of_other_machines_are_missed_as_well(start, fault: str, said: str) -> None:
    for victim in (1, 3):
        ended = befallen(start, fault, victim, 4, MACHINES)
        messages = [line for line in ended.output.splitlines() if line.startswith("graphcnn: ")]
        assert len(messages) == 1, ended.output
        assert messages[0].startswith(f"graphcnn: rank {victim} of 4 ")
        assert said in messages[0]


@pytest.mark.parametrize("first", [0, 2])
def test_a_machine_that_is_silent_is_missed(start, first: int) -> None:
    """Rank 0's, where another one takes over, and another's."""
    job = start(STEPS, "nothing", "1", "10000", ranks=4, options=MACHINES)
    job.wait_for("begun")
    ranks = job.ranks()
    launchers = {rank: _parent(process) for rank, process in ranks.items()}
    machine = [process for rank, process in ranks.items() if launchers[rank] == launchers[first]]
    silent = machine + [watcher for watcher in job.watchers() if _parent(watcher) in machine]
    for process in silent:
        os.kill(process, signal.SIGSTOP)
    job.now()
    ended = job.ended(SECONDS)
    assert ended.output.count("graphcnn: ") == 1, ended.output
    assert f"with ranks {first} to {first + 1}, does not answer; all ranks end" in ended.output
    for process in silent:  # that machine is still frozen
        os.kill(process, signal.SIGCONT)
    assert not job.left_over()


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
