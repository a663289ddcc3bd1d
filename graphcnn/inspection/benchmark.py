"""How long a model's step or inference takes, and each of its kernels, on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import Executable, KernelReport
from graphcnn.inspection.tables import scaled
from graphcnn.ir import Graph
from graphcnn.training.model import Model

if TYPE_CHECKING:
    from rich.table import Table

Mode: TypeAlias = Literal["train", "infer"]


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One kernel, the layers and rules that its nodes come from, and the median time of a call in seconds."""

    kernel: KernelReport
    layers: str
    rules: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The median time of a call in seconds, its FLOPs, and the kernels, slowest first.

    Kernels are there where the backend reports their times: sums over its threads, without what lies between
    kernels. peak: FLOP/s that these threads can do at most on this machine, where the backend knows.
    """

    title: str
    batch: int
    seconds: float
    flops: int
    kernels: tuple[KernelTime, ...]
    threads: int = 1
    peak: float | None = None


def benchmark(model: Model, *, mode: Mode = "train", batch: int = 64, repeats: int = 30) -> Benchmark:
    """Time training steps (on a copy of the model's state) or inference on random data.

    batch: samples per call. repeats: timed calls; three more warm up. Medians are given.
    Raises OptionError where the model was compiled without a loss or optimizer and `mode` is "train".
    """
    executable = model.executable("step" if mode == "train" else "forward")
    graph = executable.graph
    state = model.state()
    inputs = _random_inputs(graph, model, batch)
    times, kernels = [], []
    for _ in range(3 + repeats):
        start = time.perf_counter()
        executable.step(state, **inputs)
        times.append(time.perf_counter() - start)
    executable.profile(True)
    for _ in range(repeats):
        executable.step(state, **inputs)
        report = executable.report()
        kernels.append(report.kernels)
    executable.profile(False)
    return Benchmark(
        f"{model.forward_graph.name}, {mode}, batch {batch}, backend {model.backend.name}",
        batch,
        statistics.median(times[3:]),
        graph.cost(batch).flops,
        _kernel_times(executable, kernels),
        report.threads,
        report.peak,
    )


def _random_inputs(graph: Graph, model: Model, batch: int) -> dict[str, Array | float]:
    """Return random data for every input that is no state; labels are within the classes."""
    random = np.random.default_rng(0)
    inputs: dict[str, Array | float] = {}
    for label, value in graph.inputs_with_role("data").items():
        shape = value.type.concrete(batch)
        if value.type.is_float:
            inputs[label] = random.standard_normal(shape).astype(value.type.dtype)
        else:
            inputs[label] = random.integers(model.forward_graph.outputs["output"].type.static(1), size=shape)
    return inputs | dict.fromkeys(graph.inputs_with_role("setting"), model.learning_rate)


def _kernel_times(executable: Executable, calls: list[tuple[KernelReport, ...]]) -> tuple[KernelTime, ...]:
    timed = []
    for versions in zip(*calls, strict=True):
        seconds = [kernel.seconds for kernel in versions if kernel.seconds is not None]
        if seconds:
            origins = [executable.graph.node(key).origin for key in versions[0].nodes]
            layers, rules = (
                _listed(origin.layer for origin in origins),
                _listed(origin.rule for origin in origins),
            )
            timed.append(KernelTime(versions[0], layers, rules, statistics.median(seconds)))
    return tuple(sorted(timed, key=lambda kernel: -kernel.seconds))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(filter(None, dict.fromkeys(names)))


def benchmark_table(result: Benchmark, rows: int = 20) -> Table:
    """Return a rich table of the slowest kernels: time, share of it, FLOP/s of a thread, bytes per second."""
    from rich import box
    from rich.table import Table

    table = Table(title=f"{result.title}\n{_summary(result)}", box=box.SIMPLE_HEAD, collapse_padding=True)
    for header, width in (("kernel", 19), ("layer", 8), ("rule", 9)):
        table.add_column(header, no_wrap=True, max_width=width)
    for header, width in (("ms", 6), ("share", 5), ("GFLOP/s", 7), ("peak", 5), ("GB/s", 5)):
        table.add_column(header, justify="right", no_wrap=True, min_width=width)
    total = sum(timed.seconds for timed in result.kernels)
    for timed in result.kernels[:rows]:
        table.add_row(
            timed.kernel.name,
            timed.layers,
            timed.rules,
            f"{timed.seconds * 1e3:.3f}",
            f"{timed.seconds / total:.0%}",
            f"{timed.kernel.flops / timed.seconds / 1e9:.1f}",
            _share_of_peak(timed, result),
            f"{timed.kernel.bytes / timed.seconds / 1e9:.1f}",
        )
    hidden = len(result.kernels) - rows
    if hidden > 0:
        rest = sum(timed.seconds for timed in result.kernels[rows:])
        table.add_row(f"{hidden} more", "", "", f"{rest * 1e3:.3f}", f"{rest / total:.0%}", "", "", "")
    return table


def _share_of_peak(timed: KernelTime, result: Benchmark) -> str:
    if result.peak is None:
        return ""
    return f"{timed.kernel.flops / timed.seconds / (result.peak / result.threads):.0%}"


def _summary(result: Benchmark) -> str:
    rate = result.flops / result.seconds
    share = f", {rate / result.peak:.0%} of {result.peak / 1e9:.0f}" if result.peak else ""
    return (
        f"{result.seconds * 1e3:.3f} ms a call (median), {result.batch / result.seconds:,.0f} images/s, "
        f"{scaled(result.flops)}FLOP, {rate / 1e9:.1f} GFLOP/s{share}"
    )
