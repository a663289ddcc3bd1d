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


def run_guarded(*names):
    """Run graphs in a process of their own, which a wrong address ends."""
    command = [sys.executable, "-W", "error", str(WORKER), *names]
    result = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    reached = result.stdout.splitlines()[-1:]
    assert result.returncode == 0, f"{reached}: exit code {result.returncode}\n{result.stderr[-3000:]}"
    assert reached == ["done"]


def test_conformance_cases_stay_within_their_memory():
    run_guarded(*backend_cases()[::29])


def test_programs_stay_within_their_memory():
    own = "numbers_of_samples_are_padded_by_nothing", "errors_go_back_through_pools_of_the_callers"
    tiles = [name for name in PROGRAMS if name.startswith("tiles")]
    run_guarded(*own, *tiles, *PROGRAMS[::3])


@pytest.mark.parametrize("name", ["digits@300", "lenet5", "vgg_small@3"])
def test_networks_stay_within_their_memory(name):
    run_guarded(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ZOO, "lecun1989@17", "mnist_cnn@270"])
def test_all_networks_stay_within_their_memory(name):
    run_guarded(name)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_all_conformance_cases_stay_within_their_memory(part):
    run_guarded(*backend_cases()[part::4])


@pytest.mark.slow
def test_all_programs_stay_within_their_memory():
    run_guarded(*PROGRAMS)
