"""Where the time of a training step or of an inference goes: by kernel, by node, and outside of both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from graphcnn.arguments import known_methods
from graphcnn.arrays import Array
from graphcnn.backend import KernelReport, Memory, Report, State, Timeline
from graphcnn.errors import OptionError
from graphcnn.ir import Graph
from graphcnn.ops.attributes import is_int
from graphcnn.visible import visible

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from graphcnn.training.model import Model

SHORT = 2e-3
"""Before a call of fewer seconds there is one that nobody times, so that the threads are awake and the
caches as they are between two steps of a training."""
Mode: TypeAlias = Literal["train", "infer"]
EXPLAINED = 1 / 3
"""From which share of a kernel's time on it is what binds it."""


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One kernel of the step, in the order in which they run.

    nodes: the keys of the nodes of `Profile.graph` that it computes; layers, rules: where these come from.
    seconds: what it adds to the step: its time summed over the threads, divided by their number (a median).
    thread_seconds: its time on each thread, medians as well; () where the backend cannot tell.
    flops, bytes: its work for the whole batch. details: how the backend built it, in words.
    live: bytes that must be in memory while it runs, beside the caller's arrays, where the backend knows.
    limits: by "products" and "memory", the seconds that it would add at least, at the best that the machine
    can do; empty where the backend cannot tell.
    """

    name: str
    nodes: tuple[int, ...]
    layers: str
    rules: str
    seconds: float
    thread_seconds: tuple[float, ...]
    flops: int
    bytes: int
    details: str = ""
    live: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def limit(self) -> tuple[str, float] | None:
        """What binds the kernel, and which share of its time that takes; None where that is unknown.

        It is "latency" where neither products nor memory explain a third of the time: loops are short, sums
        wait for each other, or there are more calls than work.
        """
        if not self.limits or not self.seconds:
            return None
        name, least = max(self.limits.items(), key=lambda limit: limit[1])
        share = least / self.seconds
        return (name if share >= EXPLAINED else "latency"), share


@known_methods()
@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The time of a training step or an inference, and of its parts. All times are medians, in seconds.

    seconds: of the step as it runs when nobody measures its parts.
    kernels: in the order in which they run. Their times are shares of the step: time summed over the
        threads and divided by their number, so that `sum of kernels + other` is the step.
    nodes: the same time by node of `graph`. A kernel's time goes to the nodes that it covers in proportion
        to their FLOPs, or where none of them has any, to the bytes that they read and write. A node that
        several kernels compute gets the sum; one that no kernel computes (a reshape) is not in it.
    waiting: in which a thread has nothing to do, averaged over the threads: the others still work, or
        work is being handed out. python: before and after the backend computes: arrays are looked at.
    peak: FLOP/s that these threads can do at most, and bandwidth: bytes/s that they can load and store, where
        the backend knows. peak_of_bfloat16: FLOP/s of products of such numbers, if there are any.
    memory: what the step needs beside the caller's arrays, where the backend knows.
    timeline: of one typical step, for the trace; span: when this step was called and returned, in seconds on
        that timeline.
    prepared: the kernels that do not run in every call, as what they make of parameters is kept.
    """

    title: str
    graph: Graph
    mode: Mode
    backend: str
    batch: int
    threads: int
    repeats: int
    seconds: float
    kernels: tuple[KernelTime, ...]
    nodes: Mapping[int, float]
    waiting: float
    python: float
    peak: float | None = None
    memory: Memory | None = None
    timeline: Timeline | None = None
    span: tuple[float, float] = (0.0, 0.0)
    bandwidth: float | None = None
    prepared: tuple[str, ...] = ()
    peak_of_bfloat16: float | None = None

    @property
    def other(self) -> float:
        """Seconds of the step that belong to no kernel: threads that wait, and Python."""
        return self.waiting + self.python

    @property
    def parts(self) -> float:
        """The sum of all parts in seconds: kernels, waiting and Python, each measured on its own."""
        return sum(kernel.seconds for kernel in self.kernels) + self.other

    @property
    def layers(self) -> dict[str, tuple[float, float]]:
        """For each layer the seconds of its forward pass, and those of its gradient and its update."""
        found: dict[str, tuple[float, float]] = {}
        for key, seconds in self.nodes.items():
            origin = self.graph.node(key).origin
            forward, backward = found.get(origin.layer, (0.0, 0.0))
            if origin.forward is None:
                found[origin.layer] = forward + seconds, backward
            else:
                found[origin.layer] = forward, backward + seconds
        return found

    @property
    def flops(self) -> int:
        """Floating-point operations of one step."""
        return self.graph.cost(self.batch).flops

    def table(self, rows: int = 20) -> Table:
        """Return a rich table of the slowest kernels and of what belongs to none."""
        from graphcnn.inspection.profile_table import profile_table

        return profile_table(self, rows)

    def write_chrome_trace(self, path: str | PathLike[str]) -> None:
        """Write one typical step as a trace that https://ui.perfetto.dev and chrome://tracing show.

        There is a row for each thread with the kernels that ran on it, when they ran; and the time in Python.
        Raises OptionError where the backend does not tell when its kernels ran.
        """
        from graphcnn.inspection.trace import write_chrome_trace

        write_chrome_trace(self, path)

    def __str__(self) -> str:
        from graphcnn.inspection.profile_table import profile_text

        return profile_text(self)

    def __rich__(self) -> Group:
        from graphcnn.inspection.profile_table import profile_display

        return profile_display(self)

    def _repr_html_(self) -> str:
        from graphcnn.inspection.profile_table import profile_html

        return profile_html(self)


def profile(model: Model, x: object, y: object = None, *, repeats: int = 30, warmup: int = 3) -> Profile:
    """Return where the time of one call goes, on a batch of the user's data; see `Model.profile`."""
    mode: Mode = "infer" if y is None else "train"
    return measure(model, model.as_batch(x, y), mode=mode, repeats=repeats, warmup=warmup)


def measure(
    model: Model, inputs: Mapping[str, Array], *, mode: Mode, repeats: int = 30, warmup: int = 3
) -> Profile:
    """Return where the time of a training step or an inference goes, for inputs that are known to fit.

    Raises OptionError where the model was compiled without a loss or optimizer and `mode` is "train".
    """
    for name, count, least in (("repeats", repeats, 1), ("warmup", warmup, 0)):
        if not is_int(count, least):
            raise OptionError(f"{name}={count!r} is not an integer of at least {least}", mend=f"{name}=30")
    executable = model.executable("step" if mode == "train" else "forward")
    graph, state = executable.graph, model.state()
    if mode == "infer":
        state = State(state)  # what a backend prepares of it once is there in every call that is measured
    # Without a step along the gradient the copy of the state stays as it is, however many steps are measured.
    arguments = {**inputs, **dict.fromkeys(graph.inputs_with_role("setting"), 0.0)}

    def timed() -> tuple[float, float]:
        start = time.perf_counter()
        executable.step(state, **arguments)
        return start, time.perf_counter()

    def measured() -> _Call:
        executable.profile(True)
        try:
            return _Call(*timed(), executable.report())
        finally:
            executable.profile(False)

    begin, end = timed()
    for _ in range(warmup):
        begin, end = timed()
    is_short = end - begin < SHORT
    plain, calls = [], []
    for number in range(repeats):
        for is_measured in (False, True) if number % 2 else (True, False):
            if is_short:
                timed()
            if is_measured:
                calls.append(measured())
            else:
                begin, end = timed()
                plain.append(end - begin)
    return _summed_up(model, graph, mode, statistics.median(plain), calls)


@dataclass(frozen=True, slots=True)
class _Call:
    """One measured call: when it began and ended, and what the backend says about it."""

    begin: float
    end: float
    report: Report

    @property
    def waiting(self) -> float:
        """Thread time between the kernels, divided by the number of threads."""
        if self.report.timeline is None:
            return 0.0
        return self.report.timeline.seconds - self._in_kernels()

    @property
    def python(self) -> float:
        """Seconds in which the backend does not compute."""
        timeline = self.report.timeline
        computing = self._in_kernels() if timeline is None else timeline.seconds
        return self.end - self.begin - computing

    def _in_kernels(self) -> float:
        return sum(kernel.seconds or 0.0 for kernel in self.report.kernels) / self.report.threads

    def thread_seconds(self) -> Array | None:
        """Return the time of each kernel on each thread, [kernels, threads]."""
        timeline, threads = self.report.timeline, self.report.threads
        if timeline is None:
            return None
        calls, kernels = timeline.calls, len(self.report.kernels)
        places = calls["kernel"].astype(np.int64) * threads + calls["thread"]
        spent = np.bincount(places, calls["end"] - calls["begin"], kernels * threads)
        return spent.reshape(kernels, threads)


def _summed_up(model: Model, graph: Graph, mode: Mode, seconds: float, calls: Sequence[_Call]) -> Profile:
    report = calls[0].report
    by_thread = [spent for call in calls if (spent := call.thread_seconds()) is not None]
    threads = np.median(by_thread, axis=0) if by_thread else np.zeros((len(report.kernels), 0))
    kernels = [
        _kernel_time(graph, kernel, report, times, tuple(map(float, on_threads)))
        for kernel, times, on_threads in zip(report.kernels, _times_by_kernel(calls), threads, strict=True)
        if times
    ]
    middle = statistics.median(call.end - call.begin for call in calls)
    typical = min(calls, key=lambda call: abs(call.end - call.begin - middle))
    timeline = typical.report.timeline
    began = typical.begin if timeline is None else timeline.began
    where = f"backend {model.backend.name}"
    if model.precision != "float32":
        where += f", products of {model.precision}"
    return Profile(
        title=visible(f"{model.forward_graph.name}, {mode}, batch {report.batch}, {where}"),
        graph=graph,
        mode=mode,
        backend=model.backend.name,
        batch=report.batch,
        threads=report.threads,
        repeats=len(calls),
        seconds=seconds,
        kernels=tuple(kernels),
        nodes=_by_node(graph, report.batch, kernels),
        waiting=statistics.median(call.waiting for call in calls),
        python=statistics.median(call.python for call in calls),
        peak=_most(call.report.peak for call in calls),
        memory=report.memory,
        timeline=timeline,
        span=(typical.begin - began, typical.end - began),
        bandwidth=_most(call.report.bandwidth for call in calls),
        prepared=tuple(kernel.name for kernel in report.kernels if kernel.seconds is None),
        peak_of_bfloat16=_most(call.report.peak_of_bfloat16 for call in calls),
    )


def _times_by_kernel(calls: Sequence[_Call]) -> list[list[float]]:
    """Return for each kernel its time in each call, summed over the threads; nothing where it is unknown."""
    return [
        [version.seconds for version in versions if version.seconds is not None]
        for versions in zip(*(call.report.kernels for call in calls), strict=True)
    ]


def _kernel_time(
    graph: Graph, kernel: KernelReport, report: Report, times: list[float], on_threads: tuple[float, ...]
) -> KernelTime:
    origins = [graph.node(key).origin for key in kernel.nodes]
    limits = {}
    if report.peak and report.bandwidth and kernel.streamed is not None:
        flops = kernel.flops if kernel.performed is None else kernel.performed
        peak = (kernel.is_bfloat16 and report.peak_of_bfloat16) or report.peak
        limits = {"products": flops / peak, "memory": kernel.streamed / report.bandwidth}
    return KernelTime(
        kernel.name,
        kernel.nodes,
        _listed(origin.layer for origin in origins),
        _listed(origin.rule for origin in origins),
        statistics.median(times) / report.threads,
        on_threads,
        kernel.flops,
        kernel.bytes,
        kernel.details,
        kernel.live,
        limits,
    )


def _most(measured: Iterable[float | None]) -> float | None:
    return max((each for each in measured if each), default=None)


def _by_node(graph: Graph, batch: int, kernels: Sequence[KernelTime]) -> dict[int, float]:
    nodes: dict[int, float] = {}
    for kernel in kernels:
        costs = [graph.node(key).cost(batch) for key in kernel.nodes]
        weights = [cost.flops for cost in costs]
        if not any(weights):
            weights = [cost.bytes for cost in costs]
        total = sum(weights)
        for key, weight in zip(kernel.nodes, weights, strict=True):
            share = weight / total if total else 1 / len(weights)
            nodes[key] = nodes.get(key, 0.0) + kernel.seconds * share
    return dict(sorted(nodes.items()))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(filter(None, dict.fromkeys(names)))
