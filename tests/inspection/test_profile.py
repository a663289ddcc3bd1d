import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import graphcnn as gcn
from graphcnn.backend import Report, load_backend, step_by_calling
from graphcnn.cli import main
from graphcnn.inspection.profile import Profile

BATCH = 48
X = np.random.default_rng(1).random((BATCH, 28, 28, 1), np.float32)
Y = np.arange(BATCH) % 10


def lenet5(backend: str = "native", **options: Any) -> gcn.Model:
    return gcn.compile(
        gcn.zoo.lenet5(),
        input_shape=(28, 28, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.Adam(),
        backend=backend,
        **options,
    )


@pytest.fixture(scope="module")
def profile() -> Profile:
    return lenet5(threads=2).profile(X, Y, repeats=5)


@pytest.mark.slow  # it compares times, which a busy machine can spoil twenty times in a row
@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_the_parts_add_up_to_the_step(backend: str) -> None:
    model = lenet5(backend)
    # A neighbour on the machine can slow down either side of the comparison, so one quiet moment is enough.
    ratios = []
    for _ in range(20):
        profile = model.profile(X, Y, repeats=5)
        ratios.append(profile.parts / profile.seconds)
        if abs(ratios[-1] - 1) <= 0.1:
            return
    pytest.fail(f"sum of the parts, as a multiple of the step: {ratios}")


def test_the_time_of_the_nodes_is_the_time_of_the_kernels(profile: Profile) -> None:
    in_kernels = sum(kernel.seconds for kernel in profile.kernels)
    assert sum(profile.nodes.values()) == pytest.approx(in_kernels)
    assert in_kernels + profile.other == pytest.approx(profile.parts)
    assert profile.nodes.keys() == {key for kernel in profile.kernels for key in kernel.nodes}


def test_a_kernels_time_goes_to_its_nodes_by_flops(profile: Profile) -> None:
    costs = {key: profile.graph.node(key).cost(BATCH).flops for key in profile.nodes}
    convolution = next(key for key in costs if profile.graph.node(key).op.name == "correlate2d")
    kernels = [kernel for kernel in profile.kernels if convolution in kernel.nodes]
    assert any(len(kernel.nodes) > 1 for kernel in kernels)
    shares = (costs[convolution] / sum(costs[key] for key in kernel.nodes) for kernel in kernels)
    expected = sum(kernel.seconds * share for kernel, share in zip(kernels, shares, strict=True))
    assert profile.nodes[convolution] == pytest.approx(expected, rel=1e-6)


def test_a_kernel_names_its_layers_and_rules(profile: Profile) -> None:
    places = {(kernel.name, kernel.layers, kernel.rules) for kernel in profile.kernels}
    assert ("correlate2d_relu", "conv1, relu1", "Eq. 7, Eq. 8") in places
    assert ("correlate2d", "conv1", "Eq. 14") in places
    assert all(kernel.nodes for kernel in profile.kernels)


def test_the_time_of_the_layers_is_the_time_of_the_nodes(profile: Profile) -> None:
    layers = profile.layers
    assert sum(map(sum, layers.values())) == pytest.approx(sum(profile.nodes.values()))
    assert {"conv1", "pool1", "dense3", "loss"} <= layers.keys()
    forward, backward = layers["conv2"]
    assert forward > 0
    assert backward > 0


def test_time_by_thread_adds_up_to_the_time_of_the_kernel() -> None:
    profile = lenet5(threads=3).profile(X, Y, repeats=1)
    assert profile.threads == 3
    for kernel in profile.kernels:
        assert sum(kernel.thread_seconds) == pytest.approx(3 * kernel.seconds)


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_the_model_is_not_changed_by_it(backend: str) -> None:
    model = lenet5(backend)
    model.train_step(X, Y)
    before, rate = model.state(), model.learning_rate
    model.profile(X, Y, repeats=2)
    model.profile(X, repeats=2)
    for name, array in model.state().items():
        assert array.tobytes() == before[name].tobytes(), name
    assert model.learning_rate == rate
    twin = lenet5(backend)
    twin.train_step(X, Y)
    assert model.train_step(X, Y) == twin.train_step(X, Y)


def test_without_targets_it_is_an_inference() -> None:
    model = gcn.compile(gcn.zoo.lenet5(), input_shape=(28, 28, 1))
    profile = model.profile(X, repeats=2)
    assert profile.mode == "infer"
    assert profile.graph == model.forward_graph
    assert profile.kernels
    with pytest.raises(gcn.GraphcnnError, match="compiled without a loss"):
        model.profile(X, Y)


def test_what_is_prepared_once_is_named_and_not_measured() -> None:
    layers = gcn.Conv2d(16, 3), gcn.ReLU(), gcn.Conv2d(32, 3), gcn.Flatten(), gcn.Dense(10)
    model = gcn.compile(gcn.Sequential(*layers), input_shape=(12, 12, 3), backend="native")
    measured = model.profile(X[:4, :12, :12].repeat(3, -1), repeats=2, warmup=0)
    assert measured.prepared == ("winograd_filters",)
    assert not {kernel.name for kernel in measured.kernels} & set(measured.prepared)
    assert "prepared once" in str(measured)
    assert "winograd_filters" in str(measured).rpartition("prepared once")[2]


def test_data_and_options_are_checked() -> None:
    model = lenet5("numpy")
    with pytest.raises(gcn.GraphcnnError, match="label 10 of sample 0"):
        model.profile(X, np.full(BATCH, 10))
    with pytest.raises(gcn.GraphcnnError, match=r"shape \[48, 27, 28, 1\]"):
        model.profile(X[:, 1:], Y)
    with pytest.raises(gcn.GraphcnnError, match="repeats=0"):
        model.profile(X, Y, repeats=0)


def test_a_kernel_says_what_binds_it(profile: Profile) -> None:
    assert profile.peak and profile.bandwidth
    for kernel in profile.kernels:
        assert kernel.limit is not None
        name, share = kernel.limit
        at_best = {"products": kernel.flops / profile.peak, "memory": kernel.bytes / profile.bandwidth}
        assert kernel.limits["products"] <= at_best["products"] * 2  # the peak is measured again and again
        assert share == max(kernel.limits.values()) / kernel.seconds
        assert name == ("latency" if share < 1 / 3 else max(kernel.limits, key=kernel.limits.__getitem__))
    pooled = next(kernel for kernel in profile.kernels if kernel.layers == "conv1, relu1")
    assert pooled.limits["memory"] < pooled.bytes / profile.bandwidth / 2, "its maps stay in a cache"
    assert (
        gcn.compile(gcn.zoo.lenet5(), input_shape=(28, 28, 1), backend="numpy").profile(X).kernels[0].limit
        is None
    )


def test_winograds_tiles_are_measured_by_the_products_that_they_take() -> None:
    network = gcn.Sequential(gcn.Conv2d(16, 1), gcn.Conv2d(16, 3), gcn.Flatten(), gcn.Dense(10))
    model = gcn.compile(network, input_shape=(10, 10, 16), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))
    model.train_step(X[:, :10, :10].repeat(16, -1), Y)
    tiled = [
        k for k in model.executable("step").report().kernels if k.name.startswith("winograd") and k.flops
    ]
    forward = tiled[0]
    assert forward.performed == round(forward.flops * 4 * 36 / (64 * 9)), (
        "4 tiles of 36 products, not 64 of 9"
    )
    assert all(kernel.performed is not None and kernel.performed < kernel.flops for kernel in tiled)


def test_it_prints_a_table(profile: Profile) -> None:
    text = str(profile)
    for part in ("48", "ms of step", "conv2, relu2", "Eq. 14", "threads wait", "Python", "sum"):
        assert part in text
    assert "time summed over the 2 threads, divided by 2" in text
    assert max(map(len, text.splitlines())) <= 110


def test_it_fits_a_narrow_terminal(profile: Profile) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(profile)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    assert any("GB/s" in line for line in lines)


def test_markup_in_names_is_inert() -> None:
    network = gcn.Sequential(
        gcn.Conv2d(2, 3, name="<script>alert(1)</script>[bold]"), gcn.Flatten(), gcn.Dense(3)
    )
    profile = gcn.compile(network, input_shape=(5, 5, 1)).profile(np.zeros((1, 5, 5, 1), "f4"), repeats=1)
    assert "<script>" not in profile._repr_html_()
    assert "&lt;script&gt;" in profile._repr_html_()
    assert "<script>" in str(profile)


def test_the_trace_is_one_step_by_thread(tmp_path: Path) -> None:
    model = lenet5(threads=2)
    profile = model.profile(X, Y, repeats=3)
    path = tmp_path / "trace.json"
    profile.write_chrome_trace(path)
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert names == ["thread 0 (the caller)", "thread 1"]
    spans = [event for event in events if event["ph"] == "X"]
    assert {event["tid"] for event in spans} <= {0, 1}
    assert {event["name"] for event in spans} >= {kernel.name for kernel in profile.kernels}
    for thread in (0, 1):
        mine = sorted((e for e in spans if e["tid"] == thread), key=lambda e: e["ts"])
        for first, second in itertools.pairwise(mine):
            assert first["ts"] + first["dur"] <= second["ts"] + 0.01, "a thread does one thing at a time"
    whole = profile.span[1] - profile.span[0]
    assert min(event["ts"] for event in spans) == 0
    assert max(event["ts"] + event["dur"] for event in spans) == pytest.approx(whole * 1e6, abs=0.01)


def test_the_trace_shows_that_the_forward_pass_comes_before_the_gradient(tmp_path: Path) -> None:
    profile = lenet5("numpy").profile(X, Y, repeats=1)
    profile.write_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    begin = {
        (e["args"]["layer"], e["args"]["rule"], e["name"]): e["ts"] for e in events if "layer" in e["args"]
    }
    assert begin["conv1", "Eq. 7", "correlate2d"] < begin["conv2", "Eq. 7", "correlate2d"]
    assert begin["conv2", "Eq. 7", "correlate2d"] < begin["conv2", "Eq. 14", "correlate2d"]


class Silent:
    """A backend that computes, and tells nothing."""

    name = "silent"
    ops = load_backend("numpy").ops

    def compile(self, graph: gcn.Graph) -> "SilentExecutable":
        return SilentExecutable(graph)


class SilentExecutable:
    step = step_by_calling

    def __init__(self, graph: gcn.Graph) -> None:
        self.graph = graph

    def __call__(self, /, **inputs: object) -> Any:
        return gcn.evaluate(self.graph, **inputs)

    def report(self) -> Report:
        return Report("silent", BATCH, ())

    def profile(self, on: bool) -> None: ...


def test_a_backend_that_tells_nothing_has_a_profile_without_kernels(tmp_path: Path) -> None:
    model = lenet5("numpy")
    model.backend = Silent()
    profile = model.profile(X, Y, repeats=2)
    assert profile.kernels == ()
    assert profile.parts == profile.other > 0
    assert "no kernel" in str(profile)
    with pytest.raises(gcn.GraphcnnError, match="'silent' does not tell when its kernels ran"):
        profile.write_chrome_trace(tmp_path / "trace.json")


def test_bench_writes_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "digits.json"
    result = CliRunner().invoke(
        main, ["bench", "digits", "--batch-size", "8", "--repeats", "2", "--trace", str(path)]
    )
    assert result.exit_code == 0, result.output
    assert "perfetto" in result.output
    assert json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
