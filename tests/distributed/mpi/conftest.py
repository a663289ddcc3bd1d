"""Jobs that tests start, and of which nothing stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from rank_jobs import Job

Start = Callable[..., Job]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return what starts ranks of a program, given as code: `start(code, ranks=2)`."""
    jobs: list[Job] = []

    def start_job(code: str, *arguments: str, ranks: int = 2, options: tuple[str, ...] = ()) -> Job:
        jobs.append(Job(["-c", code, *arguments], ranks, options, GRAPHCNN_CACHE="off"))
        return jobs[-1]

    yield start_job
    for job in jobs:
        job.close()
