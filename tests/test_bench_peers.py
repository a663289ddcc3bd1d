"""The comparison with other frameworks: who takes part, who is left out, and who is reported."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import peers
import pytest

OTHERS = {
    "works": "from protocol import answer; answer('works', lambda: None)",
    "absent": "import a_framework_that_nobody_has",
    "broken": "raise ValueError('no such layer')",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
}


def test_a_framework_that_fails_is_reported_and_an_absent_one_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(peers.HERE))
    for name, text in OTHERS.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(peers, "INFERENCE", {name: [str(tmp_path / f"{name}.py")] for name in OTHERS})
    monkeypatch.setattr(peers, "BURST", 0.001)
    row = peers.compared(
        Namespace(threads=1, rounds=1, avx2=False, peers=peers.sys.executable), "digits", "infer", 1
    )
    assert list(row.milliseconds) == ["graphcnn", "works"]
    assert capsys.readouterr().err.splitlines() == [
        "broken does not run digits: ValueError: no such layer",
        "killed does not run digits: SIGKILL",
    ]


def test_a_network_that_graphcnn_does_not_run_ends_the_comparison_with_the_reason() -> None:
    given = Namespace(threads=1, rounds=1, avx2=False, peers=peers.sys.executable)
    with pytest.raises(SystemExit, match="graphcnn does not run lenet6: KeyError: 'lenet6'"):
        peers.compared(given, "lenet6", "infer", 1)


def test_the_table_gives_the_share_of_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "INFERENCE", {})
    monkeypatch.setattr(peers, "BURST", 0.001)
    row = peers.compared(Namespace(threads=1, rounds=1, avx2=False, peers=""), "digits", "infer", 2)
    plain = 2 * (6 * 6 * 9 * 8 + 72 * 32 + 32 * 10)  # FLOPs of the products for an image
    assert 2 * plain < row.flops < 1.2 * 2 * plain
    header, _, cells = peers.table([row], peak=1e3).splitlines()
    assert header.endswith("| best / ours | share of peak |")
    assert cells.endswith(f"|  | {row.flops / row.milliseconds['graphcnn']:.0%} |")
