"""Where the time of compiling goes."""

import os

import pytest
from click.testing import CliRunner

from graphcnn.cli import main
from graphcnn.phases import measured_phases, phase


def test_phases_add_up_where_somebody_measures():
    with phase("before"), phase("nobody asks"):
        pass
    with measured_phases() as seconds:
        for name in ("first", "second", "first"):
            with phase(name):
                pass
    assert list(seconds) == ["first", "second"]
    assert all(spent >= 0 for spent in seconds.values())


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_bench_tells_the_phases_of_a_compilation(mode, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_CACHE", "off")
    result = CliRunner().invoke(main, ["bench", "digits", "--compile", "--mode", mode])
    assert result.exit_code == 0, result.output
    for name in ("trace", "lower", "generate", "machine code", "in all", "from the cache"):
        assert name in result.output
    assert os.environ["GRAPHCNN_CACHE"] == "off"
