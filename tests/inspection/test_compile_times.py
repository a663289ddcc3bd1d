"""Where the time of compiling goes."""

import os

import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn.cli import main
from graphcnn.inspection.compile_times import compile_times
from graphcnn.phases import count, counted, measured_phases, phase


def test_phases_add_up_where_somebody_measures():
    with phase("before"), phase("nobody asks"):
        pass
    with measured_phases() as seconds:
        for name in ("first", "second", "first"):
            with phase(name):
                pass
    assert list(seconds) == ["first", "second"]
    assert all(spent >= 0 for spent in seconds.values())


def test_numbers_add_up_where_somebody_counts():
    count("before", 1)
    with counted() as numbers:
        for name, number in (("first", 2), ("second", 0), ("first", 3)):
            count(name, number)
    count("after", 1)
    assert numbers == {"first": 5, "second": 0}


def test_what_the_users_own_cache_holds_of_a_network_is_told(monkeypatch, tmp_path):
    def made(*units):
        layers = [gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Flatten(), *map(gcn.Dense, units)]
        return gcn.compile(gcn.Sequential(*layers), input_shape=(8, 8, 1))

    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path))
    made(5).executable("forward")
    times = compile_times(lambda: made(5, 3), "forward")
    compiled, kept = "modules compiled", "modules from the cache"
    total = times.cold.counts[compiled]
    assert times.cold.counts == {compiled: total, kept: 0}
    assert times.cached.counts == {compiled: 0, kept: total}
    assert times.own.counts[compiled] + times.own.counts[kept] == total
    assert 2 <= times.own.counts[compiled] < total
    for seconds in (times.cold.seconds, times.cached.seconds, times.own.seconds):
        assert all(spent >= 0 for spent in seconds.values())


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_bench_tells_the_phases_of_a_compilation(mode, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_CACHE", "off")
    result = CliRunner().invoke(main, ["bench", "digits", "--compile", "--mode", mode])
    assert result.exit_code == 0, result.output
    for name in (
        "trace",
        "lower",
        "generate",
        "machine code",
        "in all",
        "from the cache",
        "modules compiled",
    ):
        assert name in result.output
    assert os.environ["GRAPHCNN_CACHE"] == "off"
