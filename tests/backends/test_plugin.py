"""A third party's backend, installed from a folder of its own, as its users would install it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphcnn as gcn
import graphcnn_numpy
from graphcnn.errors import OptionError

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


# A backend that is handed over as an object


class Counting:
    """The reference backend, which counts what it compiles."""

    name = "counting"

    def __init__(self) -> None:
        self.compiled: list[gcn.Graph] = []

    @property
    def ops(self) -> frozenset[type[gcn.Op]]:
        return frozenset(graphcnn_numpy.backend.ops)

    def compile(self, graph: gcn.Graph) -> gcn.Executable:
        self.compiled.append(graph)
        return graphcnn_numpy.backend.compile(graph)


def test_a_model_is_compiled_and_loaded_with_a_backend_object(tmp_path: Path) -> None:
    backend, other = Counting(), Counting()
    options: dict[str, Any] = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1)}
    model = gcn.compile(gcn.Dense(2), input_shape=(3,), backend=backend, **options)
    images, labels = np.eye(3, dtype=np.float32), np.array([0, 1, 1])
    model.train_step(images, labels)
    assert backend.compiled == [model.step_graph]
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors", backend=other)
    assert again.backend is other
    np.testing.assert_array_equal(again.predict(images), model.predict(images))
    assert other.compiled == [again.forward_graph]


def test_options_that_a_backend_object_does_not_take() -> None:
    with pytest.raises(OptionError, match="backend 'counting' has no option 'threads'"):
        gcn.compile(gcn.Dense(2), input_shape=(3,), backend=Counting(), threads=2)


@pytest.mark.parametrize(
    ("backend", "problem", "mend"),
    [
        (Counting, "backend is the class Counting, not an object", "backend=Counting()"),
        (None, "backend=None is neither the name of a backend nor one itself", 'backend="native"'),
        (3, "it lacks compile(graph), a method", "gcn.Backend"),
        (type("Bare", (), {"name": "bare", "ops": ["add"]})(), "it lacks ops, the set of the", "gcn.Backend"),
    ],
)  # fmt: skip
def test_what_is_no_backend(backend: Any, problem: str, mend: str) -> None:
    for act in (
        lambda: gcn.compile(gcn.Dense(2), input_shape=(3,), backend=backend),
        lambda: gcn.load("model.safetensors", backend=backend),
        lambda: gcn.testing.check_backend(backend),
    ):
        with pytest.raises(OptionError) as caught:
            act()
        assert problem in str(caught.value)
        assert mend in str(caught.value)
