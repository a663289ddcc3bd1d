"""What tests of several folders need."""

import builtins
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def verified_programs() -> Iterator[None]:
    """Let the native backend verify what it makes of every graph."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHCNN_VERIFY", "on")
        yield


@pytest.fixture
def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every import of matplotlib fail, as where the extra `plot` was not installed."""
    ordinary = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return ordinary(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
