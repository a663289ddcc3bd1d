"""Compares graphcnn with other frameworks on this machine: a table, and a plot.

    python tests/bench/peers.py [--only lenet5 resnet20] [--random 20] [--rounds 7] [--avx2]

Every framework loads a network into a process of its own. Then they take turns of a quarter of a second each,
while the others are stopped, so that a machine whose speed drifts is unfair to nobody. "Best / ours" is the
median over the rounds of the time of the fastest other one, divided by that of graphcnn. "Share of peak" is
what graphcnn achieves of the FLOP/s that its threads can do at most on this machine, both as `graphcnn bench`
has them: Winograd takes fewer FLOPs than are counted, so it passes 100 %. The other frameworks are those that
the Python of `--peers` finds (`make bench-peers` sets them up); one that is there but fails is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from networks import NETWORKS, RANDOM

from graphcnn_native.peak import measured_peak

HERE = Path(__file__).parent
BURST = 0.25
"""Seconds of a turn."""
TRAINING = {
    "PyTorch": ["torch_worker.py"],
    "PyTorch, channels last": ["torch_worker.py", "--channels-last"],
    "JAX": ["jax_worker.py"],
}
INFERENCE = {
    **TRAINING,
    "ONNX Runtime": ["onnx_worker.py", "--runtime", "onnxruntime"],
    "OpenVINO": ["onnx_worker.py", "--runtime", "openvino"],
    "ncnn": ["ncnn_worker.py"],
}
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}
"""What keeps the other sides of a training step to AVX2. ONNX Runtime and ncnn cannot be kept to it."""
CASES = [("train", 64), ("infer", 64), ("infer", 1)]
LARGE_BATCH = {"cifar94": 512}
"""Networks that are trained with batches of another size than the others."""


@dataclass(frozen=True)
class Row:
    """Milliseconds of each side, and how many times as long the best of the others took.

    flops: of a call, as a plain convolution takes them.
    """

    network: str
    mode: str
    batch: int
    milliseconds: dict[str, float]
    ratio: float | None
    flops: int

    def share(self, peak: float) -> float:
        """Return what graphcnn achieves of the peak, in FLOP/s."""
        return self.flops / (self.milliseconds["graphcnn"] / 1e3) / peak


class Worker:
    """A process that times calls when it is asked, and is stopped meanwhile."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name, self.times = name, list[float]()
        # Not a pipe, which would fill up unread; the worker writes into it until it is closed.
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **environment},
        )
        ready = self._answer()
        self.is_there = ready is not None
        if ready is not None:
            self.flops: int = ready.get("flops", 0)
            self._calls = max(1, round(BURST / max(self._seconds_of(1), 1e-7)))
            self._process.send_signal(signal.SIGSTOP)

    def take_turn(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self.times.append(self._seconds_of(self._calls) / self._calls * 1e3)
        self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        with self._process, self._errors:
            self._process.kill()

    def failure(self) -> str:
        """Return in one line why the process has ended: the signal, or the last line of its errors."""
        status = self._process.wait()
        if status < 0:
            return signal.Signals(-status).name
        self._errors.seek(0)
        return ["it says nothing", *filter(None, map(str.strip, self._errors))][-1]

    def _seconds_of(self, calls: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer is None:
            raise SystemExit(f"{self.name} ended while it was timed: {self.failure()}")
        return float(answer["seconds"])

    def _answer(self) -> dict[str, Any] | None:
        """Return what the worker says next; None if it has ended. Frameworks print lines of their own."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        return None


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--peers", default=sys.executable, help="the Python that has the other frameworks")
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), help="of the networks with a name")
    parser.add_argument("--random", type=int, default=0, help="so many random networks as well")
    parser.add_argument("--modes", nargs="*", default=["train", "infer"], choices=["train", "infer"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--avx2", action="store_true", help="no wider instructions, on any side that can")
    parser.add_argument("--output", type=Path, default=Path("build/peers"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for row in measured(given, [*given.only, *(f"{RANDOM}{seed}" for seed in range(given.random))]):
        print(line_of(row, measured_peak(given.threads)), flush=True)
        rows.append(row)
    peak = measured_peak(given.threads)
    numbers = [asdict(row) | {"share": row.share(peak)} for row in rows]
    (given.output / "peers.json").write_text(json.dumps(numbers, indent=1) + "\n")
    (given.output / "peers.md").write_text(table(rows, peak))
    plot(rows, given.output / "peers.svg")
    print(f"{given.output}: peers.md, peers.svg, peers.json")


def measured(given: argparse.Namespace, networks: Sequence[str]) -> Iterator[Row]:
    """Yield a row for each network, mode and batch size."""
    for mode, usual in CASES:
        for network in networks if mode in given.modes else ():
            batch = LARGE_BATCH.get(network, usual) if mode == "train" else usual
            yield compared(given, network, mode, batch)


def compared(given: argparse.Namespace, network: str, mode: str, batch: int) -> Row:
    told = [network, "--batch", f"{batch}", "--mode", mode, "--threads", f"{given.threads}"]
    sides = {"graphcnn": [sys.executable, str(HERE / "step_worker.py"), *["--target=avx2"] * given.avx2]}
    for name, (file, *options) in (TRAINING if mode == "train" or given.avx2 else INFERENCE).items():
        sides[name] = [given.peers, str(HERE / file), *options]
    found: list[Worker] = []
    try:
        for name, (python, file, *options) in sides.items():
            found.append(Worker(name, [python, file, *told, *options], AVX2 if given.avx2 else {}))
        ours, *others = found
        if not ours.is_there:
            raise SystemExit(f"graphcnn does not run {network}: {ours.failure()}")
        for other in others:
            if not other.is_there and not (failure := other.failure()).startswith("ModuleNotFoundError"):
                print(f"{other.name} does not run {network}: {failure}", file=sys.stderr)
        workers = [worker for worker in found if worker.is_there]
        for _ in range(given.rounds):
            for worker in workers:
                worker.take_turn()
    finally:
        for worker in found:
            worker.close()
    rounds = [min(times) / mine for mine, *times in zip(*(w.times for w in workers), strict=True) if times]
    ratio = statistics.median(rounds) if rounds else None
    medians = {worker.name: statistics.median(worker.times) for worker in workers}
    return Row(network, mode, batch, medians, ratio, ours.flops)


def line_of(row: Row, peak: float) -> str:
    times = ", ".join(f"{name} {milliseconds:.3g}" for name, milliseconds in row.milliseconds.items())
    ratio = "" if row.ratio is None else f"; best / ours {row.ratio:.2f}"
    return (
        f"{row.network}, {row.mode}, batch {row.batch}: {times} ms{ratio}; {row.share(peak):.0%} of the peak"
    )


def table(rows: Sequence[Row], peak: float) -> str:
    """Return the rows as Markdown: milliseconds for one call. peak: the FLOP/s that are possible."""
    names = list(dict.fromkeys(name for row in rows for name in row.milliseconds))
    lines = [
        f"| network | batch | {' | '.join(names)} | best / ours | share of peak |",
        f"|---|---:|{'---:|' * len(names)}---:|---:|",
    ]
    for row in rows:
        cells = [f"{row.milliseconds[name]:.3g}" if name in row.milliseconds else "" for name in names]
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        cells += [ratio, f"{row.share(peak):.0%}"]
        lines.append(f"| {row.network}, {row.mode} | {row.batch} | {' | '.join(cells)} |")
    return "\n".join([*lines, *summaries(rows)]) + "\n"


def summaries(rows: Sequence[Row]) -> Iterator[str]:
    """Yield for random networks the least ratio, the tenth percentile and the median."""
    for mode, batch in dict.fromkeys((row.mode, row.batch) for row in rows):
        ratios = sorted(
            row.ratio
            for row in rows
            if row.network.startswith(RANDOM) and (row.mode, row.batch) == (mode, batch) and row.ratio
        )
        if ratios:
            tenth, middle = ratios[len(ratios) // 10], statistics.median(ratios)
            yield (
                f"\n{len(ratios)} random networks, {mode}, batch {batch}: best / ours at least "
                f"{ratios[0]:.2f}, tenth percentile {tenth:.2f}, median {middle:.2f}"
            )


def plot(rows: Sequence[Row], file: Path) -> None:
    """Draw a dot for each ratio, on a logarithmic axis, network by network."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if row.ratio is not None]
    names = list(dict.fromkeys(row.network for row in shown))
    figure = Figure(figsize=(7, 1.2 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    for mode, batch in dict.fromkeys((row.mode, row.batch) for row in shown):
        of_case = [row for row in shown if (row.mode, row.batch) == (mode, batch)]
        places = [len(names) - 1 - names.index(row.network) for row in of_case]
        axes.plot([row.ratio for row in of_case], places, "o", ms=5, label=f"{mode}, batch {batch}")
    axes.axvline(1, color="0.3", lw=1)
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 4, 8, 16]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), names[::-1])
    axes.grid(axis="x", color="0.9")
    axes.set_xlabel("time of the best other framework / time of graphcnn")
    axes.legend(fontsize="small")
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
