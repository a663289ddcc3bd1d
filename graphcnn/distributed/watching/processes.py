"""What Linux says of other processes; elsewhere, that nothing is known."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_PROC = Path("/proc")


def state_of(process: int) -> str:
    """Return the letter of a process's state: R, S, D, T when stopped, Z when ended; "" when it is gone."""
    fields = _stat(process)
    return fields[0] if fields else ""


def is_stopped(process: int) -> bool:
    return state_of(process) == "T"


def has_ended(process: int) -> bool:
    """Return whether a process is gone, where that is known."""
    return _PROC.exists() and state_of(process) in ("", "Z", "X")


def how_ended(process: int) -> str:
    """Return in words how a process has ended, as long as nobody has asked before; else what can be said."""
    fields = _stat(process)
    if not fields or fields[0] != "Z":
        return "was killed, or has crashed"
    status = int(fields[-1])
    if os.WIFSIGNALED(status):
        try:
            return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
        except ValueError:
            return f"was killed by signal {os.WTERMSIG(status)}"
    return f"has ended at once, with exit code {os.WEXITSTATUS(status)}"


def launcher_of(process: int, rank_variable: str) -> int:
    """Return which process has started a rank, perhaps by way of others: the first one that is no rank."""
    parent = _parent(process)
    while parent > 1 and rank_variable and _variable(parent, rank_variable) is not None:
        parent = _parent(parent)
    return parent


def start_of(process: int) -> str:
    """Return when a process began, in a number that no other process of this number has."""
    fields = _stat(process)
    return fields[19] if fields else ""


def started_by(launcher: int, rank_variable: str) -> dict[int, int] | None:
    """Return the processes of the ranks that a launcher has started here; None where nobody knows."""
    if not rank_variable:
        return None
    try:
        lists = [path.read_text() for path in (_PROC / str(launcher) / "task").glob("*/children")]
    except OSError:
        return None
    found = {}
    for process in map(int, " ".join(lists).split()):
        rank = _variable(process, rank_variable)
        if rank is not None and rank.isdigit() and not has_ended(process):
            found[int(rank)] = process
    return found if lists else None


def _stat(process: int) -> list[str]:
    """Return the fields of a process's line behind its name: state, parent and so on."""
    try:
        line = (_PROC / str(process) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return line.rpartition(")")[2].split()


def _parent(process: int) -> int:
    if process == os.getpid():
        return os.getppid()
    fields = _stat(process)
    return int(fields[1]) if fields else 1


def _variable(process: int, name: str) -> str | None:
    """Return what a variable of another process's environment was at its beginning."""
    try:
        content = (_PROC / str(process) / "environ").read_bytes()
    except OSError:
        return None
    for entry in content.split(b"\0"):
        key, _, value = entry.partition(b"=")
        if key.decode(errors="replace") == name:
            return value.decode(errors="replace")
    return None
