"""A third party's backend, installed from a folder of its own, as its users would install it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "examples" / "backend_plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example backend with pip, offline, into a folder that is nobody else's."""
    target = tmp_path_factory.mktemp("plugin")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(PLUGIN)], check=True, timeout=120)
    return target


def run_beside(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_is_listed_without_a_line_of_core(installed: Path) -> None:
    listing = run_beside(installed, "-m", "graphcnn", "backends").stdout
    assert "einsum" in listing
    assert "numpy" in listing


def test_passes_the_conformance_suite_for_the_ops_it_has(installed: Path) -> None:
    script = (
        "from graphcnn.testing import check_backend; result = check_backend('einsum');"
        "assert len(result.passed) > 100 and result.uncovered; print(result)"
    )
    result = run_beside(installed, "-c", script)
    assert result.returncode == 0, result.stderr
    assert "cases passed" in result.stdout


def test_trains_like_the_reference(installed: Path) -> None:
    script = """
import numpy as np
import graphcnn as gcn

digits = gcn.data.load_digits()
models = [
    gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy(),
                optimizer=gcn.SGD(0.1, momentum=0.9), backend=name, dtype="float64")
    for name in ("numpy", "einsum")
]
for model in models:
    model.fit(digits.images[:200], digits.labels[:200], epochs=2, progress=False)
for name in models[0].parameters:
    np.testing.assert_allclose(models[1].parameters[name], models[0].parameters[name], rtol=1e-9, atol=1e-12)
"""
    result = run_beside(installed, "-c", script)
    assert result.returncode == 0, result.stderr


def test_an_op_it_lacks_is_named_with_the_users_line_and_who_has_it(installed: Path) -> None:
    script = """
import graphcnn as gcn

model = gcn.compile(
    gcn.Sequential(
        gcn.Conv2d(2, 3),
        gcn.Tanh(),
    ),
    input_shape=(8, 8, 1), backend="einsum",
)
model.predict([[[[0.0]] * 8] * 8])
"""
    path = installed / "network.py"
    path.write_text(script)
    message = run_beside(installed, str(path)).stderr
    assert "backend 'einsum' has no kernel for tanh" in message
    assert "tanh1 (network.py:7)" in message
    assert "backends that have it: native, numpy" in message
