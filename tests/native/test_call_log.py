"""When each kernel ran: what the machine code notes."""

import numpy as np
import pytest

import graphcnn as gcn

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def network():
    model = gcn.compile(
        gcn.zoo.digits(),
        input_shape=(8, 8, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1, momentum=0.9),
    )
    return model.step_graph, model.state()


def inputs(batch):
    return {
        "image": RANDOM.random((batch, 8, 8, 1), np.float32),
        "target": RANDOM.integers(10, size=batch),
        "learning_rate": 0.1,
    }


def measured(executable, state, batch):
    executable.profile(True)
    executable.step({name: array.copy() for name, array in state.items()}, **inputs(batch))
    return executable.report()


@pytest.mark.parametrize("batch", [1, 15, 64, 100, 600])
def test_every_call_of_every_kernel_is_noted(native_in_any_order, network, batch):
    graph, state = network
    for backend in native_in_any_order:
        executable = backend.compile(graph)
        report = measured(executable, state, batch)
        times = np.bincount(report.timeline.calls["kernel"], minlength=len(report.kernels))
        sizes = {kernel.title: times[kernel.number] for kernel in executable.program.kernels}
        assert (times > 0).all(), sizes
        by_sample = [k.number for k in executable.program.kernels if k.domain.value == "samples"]
        assert len(set(times[by_sample])) == 1, "each block of samples goes through all of them"
        assert times[by_sample[0]] >= batch / executable.program.block


def test_moments_are_in_order_and_within_the_step(native, network):
    graph, state = network
    timeline = measured(native(threads=2).compile(graph), state, 64).timeline
    calls = timeline.calls
    assert (calls["begin"] >= 0).all()
    assert (calls["begin"] <= calls["end"]).all()
    assert (calls["end"] <= timeline.seconds).all()
    for thread in (0, 1):
        mine = calls[calls["thread"] == thread]
        assert (mine["end"][:-1] <= mine["begin"][1:]).all()


def test_a_kernels_time_is_that_of_its_calls(native, network):
    graph, state = network
    report = measured(native(threads=2).compile(graph), state, 64)
    for number, kernel in enumerate(report.kernels):
        calls = report.timeline.calls[report.timeline.calls["kernel"] == number]
        assert kernel.seconds == pytest.approx((calls["end"] - calls["begin"]).sum())


def test_a_larger_batch_finds_room(native, network):
    graph, state = network
    executable = native(threads=2).compile(graph)
    counts = [len(measured(executable, state, batch).timeline.calls) for batch in (8, 4096, 8)]
    assert counts[1] > 20 * counts[0]
    assert counts[2] == counts[0]


def test_times_are_those_of_a_call_that_was_measured(native, network):
    graph, state = network
    executable = native(threads=1).compile(graph)
    assert executable.report().timeline is None
    measured(executable, state, 8)
    executable.profile(False)
    executable.step(state, **inputs(8))
    report = executable.report()
    assert report.timeline is None
    assert all(kernel.seconds is None for kernel in report.kernels)


def test_measuring_changes_no_bit(native, network):
    graph, state = network
    executable, given = native(threads=2).compile(graph), inputs(64)
    plain, watched = ({name: array.copy() for name, array in state.items()} for _ in range(2))
    executable.step(plain, **given)
    executable.profile(True)
    executable.step(watched, **given)
    assert all(plain[name].tobytes() == watched[name].tobytes() for name in plain)


def test_labels_that_do_not_fit_leave_nothing_behind(native, network):
    graph, state = network
    executable = native(threads=2).compile(graph)
    measured(executable, state, 8)
    with pytest.raises(gcn.GraphcnnError, match="labels do not fit"):
        executable.step(state, **inputs(8) | {"target": np.full(8, 99)})
    assert executable.report().timeline is None
