"""Kills, stops or breaks one rank of a job at a random moment, and waits for all others to end.

    python tests/distributed/mpi/faults.py TRIALS [SEED [PROGRAM]]

Each trial is a job of two to four ranks that mpiexec starts on this machine. Nothing of it may be left five
seconds after what befell the rank, or after another one began to wait for it; one message must say which
rank it was, and the last checkpoint be whole.
PROGRAM: what the ranks run; trial_rank.py by default, which sends and waits; trial_training.py trains.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rank_jobs import Job, description

import graphcnn as gcn

SECONDS = 5.0
KINDS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "raised": None}
MOMENTS = {"start-up": 0.6, "step": 0.4, "checkpoint": 0.02, "exit": 0.15}
"""When, and up to how many seconds later: a rank is at a checkpoint or at its end for so long."""
PROGRAM = Path(__file__).with_name("trial_rank.py")
MESSAGE = re.compile(
    r"^graphcnn: (?:one of )?ranks? ([\d, to]+) of \d+\b.*(?:all ranks end|it is killed)$", re.MULTILINE
)


def trial(draw: random.Random, folder: Path, program: Path) -> tuple[str, float]:
    """Return how a trial has ended, and in how many seconds."""
    ranks = draw.randint(2, 4)
    victim, kind = draw.randrange(ranks), draw.choice(list(KINDS))
    moment = draw.choice(list(MOMENTS))
    number = draw.randint(1, {"start-up": 3, "step": 50, "checkpoint": 10, "exit": 2}[moment])
    what = f"rank {victim} of {ranks} {kind} at {moment}"
    arguments = [str(program), str(folder)]
    job = Job(arguments + [str(victim), moment, str(number)] * (kind == "raised"), ranks)
    try:
        if KINDS[kind] is None:
            wait_until(job, (folder / "raised").exists)
        else:
            if moment != "start-up":
                wait_until(job, lambda: _said(folder, victim).startswith(moment))
            time.sleep(draw.uniform(0, MOMENTS[moment]))
            process = _process(job, folder, victim)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, KINDS[kind])
        if moment == "start-up":
            wait_until(job, job.watchers)
        job.now()
        ended = job.ended(SECONDS)
        left = job.left_over(max(1.0, SECONDS - ended.seconds))
        assert not left, f"left over: {[description(process) for process in left]}\n{ended.output}"
        check_checkpoint(folder)
        if ended.code == 0:
            return "came too late", ended.seconds
        named = MESSAGE.findall(ended.output)
        if not named and moment == "start-up" and re.search("BAD TERMINATION|HYD", ended.output):
            return "told by mpiexec alone, before any rank was ready", ended.seconds
        if not named and (folder / "over").exists() and "BAD TERMINATION" in ended.output:
            return "told by mpiexec alone, when all ranks had come to their end", ended.seconds
        assert len(named) == 1, f"{len(named)} messages\n{ended.output}"
        assert victim in _numbers(named[0]), f"another is named\n{ended.output}"
        return f"{kind} at {moment}", ended.seconds
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None
    finally:
        job.close()


def _numbers(words: str) -> set[int]:
    """Return which ranks a message names: `1`, `0, 2`, or `0 to 2`."""
    named = [int(number) for number in re.findall(r"\d+", words)]
    return set(range(named[0], named[-1] + 1)) if " to " in words else set(named)


def _said(folder: Path, rank: int) -> str:
    """Return at which moment a rank is, and its process."""
    try:
        return (folder / str(rank)).read_text()
    except OSError:
        return ""


def _process(job: Job, folder: Path, rank: int) -> int:
    said = _said(folder, rank).split()
    if said:
        return int(said[1])
    wait_until(job, lambda: rank in job.ranks())
    return job.ranks()[rank]


def wait_until(job: Job, condition) -> None:
    while not condition() and job.process.poll() is None:
        time.sleep(0.001)


def check_checkpoint(folder: Path) -> None:
    """Raise an error unless the last checkpoint is whole, if there is one."""
    path = folder / "checkpoint"
    if path.exists():
        content = path.read_bytes()
        assert len(content) == 1_000_000 and len(set(content)) == 1, "a checkpoint is cut"
    if any((folder / "run").glob("[!.]*")):
        gcn.resume(folder / "run", threads=1)


def main(trials: int, seed: int, program: Path) -> None:
    draw, counts, longest, failed = random.Random(seed), Counter(), {}, 0
    for number in range(1, trials + 1):
        with tempfile.TemporaryDirectory(prefix="graphcnn-trial-") as folder:
            try:
                how, seconds = trial(draw, Path(folder), program)
            except AssertionError as error:
                failed += 1
                print(f"trial {number} of seed {seed} FAILED: {error}", flush=True)
                continue
        counts[how] += 1
        longest[how] = max(longest.get(how, 0.0), seconds)
        if number % 20 == 0:
            print(f"{number} trials, {failed} failed", flush=True)
    for how, count in sorted(counts.items()):
        print(f"{count:4}  {how}: at most {longest[how]:.1f} s")
    print(f"{trials} trials, {failed} failed, at most {max(longest.values(), default=0.0):.1f} s")
    sys.exit(failed > 0)


if __name__ == "__main__":
    given = sys.argv[3:4]
    main(int(sys.argv[1]), int((sys.argv[2:3] or ["0"])[0]), Path(given[0]) if given else PROGRAM)
