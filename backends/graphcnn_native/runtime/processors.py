"""How many threads to use."""

from __future__ import annotations

import os
import re
from numbers import Integral
from pathlib import Path, PurePosixPath

from graphcnn.distributed.launcher import launched
from graphcnn.errors import OptionError

MOST_THREADS = 512


def thread_count(asked: int | None = None) -> int:
    """Return how many threads to use: what is asked for, or else $GRAPHCNN_THREADS, or else all processors.

    All are those that this process may run on, or fewer if its control group has a quota of processor time.
    Raises OptionError, which says where the number is from, for anything but 1 to 512.
    """
    if asked is not None:
        return _checked(asked, "the argument threads", asked)
    chosen = os.environ.get("GRAPHCNN_THREADS", "").strip()
    if chosen:
        number = int(chosen) if re.fullmatch("[0-9]{1,9}", chosen) else None
        return _checked(number, "the environment variable GRAPHCNN_THREADS", chosen)
    return min(processors(), MOST_THREADS)


def _checked(number: object, place: str, given: object) -> int:
    if number is not True and isinstance(number, Integral) and 1 <= int(number) <= MOST_THREADS:
        return int(number)
    raise OptionError(
        f"{place} is {given!r}, which is no number of threads",
        facts=[f"allowed: 1 to {MOST_THREADS}"],
        mend=f"Without it, there are {min(processors(), MOST_THREADS)}: one for each processor.",
    )


def processors() -> int:
    """Return how many processors this process may keep busy.

    Ranks that a launcher such as mpiexec has started on this machine share them, unless it has given each its
    own.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    allowed = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    quota = _quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    # Rounded down: a group that has used its share up stands still, spinning threads and working ones alike.
    return max(1, int(allowed if quota is None else min(allowed, quota)) // _sharers())


def _sharers() -> int:
    """Return how many ranks run on the same processors: their launcher runs on those as well, then."""
    found = launched()
    if found is None:
        return 1
    try:
        is_bound = os.sched_getaffinity(0) != os.sched_getaffinity(os.getppid())
    except (AttributeError, OSError):
        is_bound = False
    return 1 if is_bound else max(1, found.local_size)


def _quota(membership: Path, root: Path) -> float | None:
    """Return the processors' worth of time that the process's control groups (version 2) allow, if bounded.

    membership: lines such as "0::/user.slice"; root: where the tree of groups is mounted.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    groups = [PurePosixPath(line[3:]) for line in lines if line.startswith("0::/")]
    quotas = [
        quota
        for group in groups
        for folder in (group, *group.parents)
        if (quota := _quota_of(root / str(folder).lstrip("/") / "cpu.max")) is not None
    ]
    return min(quotas, default=None)


def _quota_of(file: Path) -> float | None:
    """Return the microseconds per period of a line such as "150000 100000", as a fraction; None for "max"."""
    try:
        share, period = file.read_text(encoding="utf-8").split()
        return int(share) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
