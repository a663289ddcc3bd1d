"""Native code writes to its own memory alone, and reads nothing behind the arrays of the caller."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from graphcnn.testing import backend_cases
from graphcnn.zoo import ZOO

WORKER = Path(__file__).with_name("guard_worker.py")
PROGRAMS = list(runpy.run_path(str(Path(__file__).with_name("test_programs.py")))["GRAPHS"])
SLOW_PROGRAMS = {"an_expression_is_a_thousand_ops_deep"}


def run_guarded(*names):
    """Run graphs in a process of their own, which a wrong address ends."""
    command = [sys.executable, "-W", "error", str(WORKER), *names]
    result = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    reached = result.stdout.splitlines()[-1:]
    assert result.returncode == 0, f"{reached}: exit code {result.returncode}\n{result.stderr[-3000:]}"
    assert reached == ["done"]


@pytest.mark.parametrize("part", range(3))
def test_conformance_cases_stay_within_their_memory(part):
    run_guarded(*backend_cases()[part * 11 :: 37])


def test_programs_stay_within_their_memory():
    run_guarded(*[name for name in PROGRAMS if name not in SLOW_PROGRAMS])


@pytest.mark.parametrize("name", ["digits@300", "lenet5", "lecun1989@17"])
def test_networks_stay_within_their_memory(name):
    run_guarded(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_all_networks_stay_within_their_memory(name):
    run_guarded(name)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_all_conformance_cases_stay_within_their_memory(part):
    run_guarded(*backend_cases()[part::4])
