"""What tests of several folders need."""

import builtins
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import graphcnn_numpy
from graphcnn import ops
from graphcnn.interchange.onnx import EMITTERS
from graphcnn_native import op_code

TABLES_OF_OPS: tuple[Any, ...] = (
    *(ops.OPS, graphcnn_numpy.kernels.KERNELS, graphcnn_numpy.kernels.SUMS_OF_SAMPLES, EMITTERS),
    *(op_code.POINTWISE, op_code.LANES, op_code.EMITTERS, op_code.SHIPPED),
)
"""What registering an op or a kernel changes."""


@pytest.fixture(scope="session", autouse=True)
def verified_programs() -> Iterator[None]:
    """Let the native backend verify what it makes of every graph."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHCNN_VERIFY", "on")
        yield


@pytest.fixture(autouse=True)
def own_tables_of_ops() -> Iterator[tuple[Any, ...]]:
    """Return all tables of ops and kernels, and leave them as they were, whatever a test registers."""
    before = [table.copy() for table in TABLES_OF_OPS]
    yield TABLES_OF_OPS
    for table, known in zip(TABLES_OF_OPS, before, strict=True):
        if table != known:
            table.clear()
            table.update(known)


@pytest.fixture
def signals_of_a_terminal() -> Iterator[None]:
    """Let signals be as in a program that a user starts: shells let background jobs ignore some."""
    usual = {signal.SIGINT: signal.default_int_handler}
    usual |= {
        getattr(signal, name): signal.SIG_DFL for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every import of matplotlib fail, as where the extra `plot` was not installed."""
    ordinary = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return ordinary(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
