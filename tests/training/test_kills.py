"""Whenever training is killed, another process goes on with it to the same file, bit by bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that are forked")


def kill(times, folder, precision="float32"):
    script = Path(__file__).with_name("kills.py")
    result = subprocess.run(
        [sys.executable, str(script), str(times), str(folder), "0", precision],
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
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_many_kills(tmp_path, precision):
    kill(20, tmp_path, precision)
