"""Files of every known class of attacks are refused, for what they are, within a second and 512 MB."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")
if sys.platform == "linux":
    from attacks import ATTACKS
else:
    ATTACKS = {}

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def outcomes():
    environment = {**os.environ, "GRAPHCNN_CACHE": "off", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "attack_worker.py"), "512"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {line.split("\t")[0]: line.split("\t")[1:] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("title", ATTACKS)
def test_an_attack_is_refused_for_what_it_is(title, outcomes):
    seconds, became = outcomes[title]
    assert became.startswith("refused: ")
    assert ATTACKS[title].said in became
    assert float(seconds) <= 1


def test_the_page_on_loading_lists_them_all():
    page = (HERE.parents[1] / "docs" / "loading.md").read_text(encoding="utf-8")
    for title, attack in ATTACKS.items():
        assert f"| {title} | {attack.known} |" in page
