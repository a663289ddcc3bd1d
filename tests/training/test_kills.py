"""Whenever training is killed, another process goes on with it to the same file, bit by bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that are forked")


def kill(times, folder):
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("kills.py")), str(times), str(folder)],
        env={**os.environ, "GRAPHCNN_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=60 + 10 * times,
    )
    assert result.returncode == 0, result.stderr
    assert f"{times} kills, " in result.stdout


def test_a_few_kills(tmp_path):
    kill(3, tmp_path)


@pytest.mark.slow
def test_many_kills(tmp_path):
    kill(20, tmp_path)
