import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import Memory, load_backend
from graphcnn.ir import TensorType, live_bytes
from graphcnn.ops import Add, Relu
from graphcnn.zoo import ZOO

KILOBYTE = 1024


def a_chain_beside_a_long_life() -> gcn.Graph:
    """Values of a kilobyte a sample: the first is read once more at the end, the others by the next."""
    graph = gcn.Graph("chain")
    first = value = graph.add(Relu(), graph.input("x", TensorType(("N", 256))))
    for _ in range(4):
        value = graph.add(Relu(), value)
    graph.output("y", graph.add(Add(), value, first))
    return graph


def test_bytes_that_are_alive_node_by_node() -> None:
    live = live_bytes(a_chain_beside_a_long_life(), 3)
    assert [size / 3 / KILOBYTE for size in live.values()] == [0, 1, 2, 3, 3, 3, 3]
    assert max(live_bytes(a_chain_beside_a_long_life(), 3).values()) == 3 * 3 * KILOBYTE


def test_what_nobody_reads_is_forgotten_at_once_and_outputs_stay() -> None:
    graph = gcn.Graph("outputs")
    x = graph.input("x", TensorType((256,)))
    graph.output("y", graph.add(Relu(), x))
    graph.add(Relu(), x)
    graph.output("z", graph.add(Relu(), x))
    assert [size / KILOBYTE for size in live_bytes(graph, 1).values()] == [0, 1, 2, 2]


def test_a_graph_without_nodes_needs_nothing() -> None:
    assert live_bytes(gcn.Graph("empty"), 1) == {}


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("stage", ["forward", "step"])
def test_the_native_backend_has_room_for_all_that_is_alive(name: str, stage: str) -> None:
    entry = ZOO[name]
    model = gcn.compile(
        entry.make(), input_shape=entry.input_shape, loss=gcn.CrossEntropy(), optimizer=gcn.Adam(), threads=2
    )
    executable = model.executable(stage)
    for batch in (1, 16, 64):
        memory = memory_after_a_call(model, executable, stage, (batch, *entry.input_shape))
        really = sum(array.nbytes for array in executable._workspace.memory.values())  # type: ignore[attr-defined]
        assert memory.allocated == pytest.approx(really, abs=3 * 2 * 64)
        assert 0 < memory.peak <= memory.allocated


def memory_after_a_call(model: gcn.Model, executable: object, stage: str, shape: tuple[int, ...]) -> Memory:
    images = np.zeros(shape, np.float32)
    if stage == "step":
        model.train_step(images, np.zeros(len(images), np.int64))
    else:
        model.predict(images)
    memory = executable.report().memory  # type: ignore[attr-defined]
    assert isinstance(memory, Memory)
    return memory


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("stage", ["forward", "evaluation", "step"])
@pytest.mark.parametrize("threads", [1, 4])
def test_what_is_allocated_is_within_5_percent_of_what_must_be_alive(
    name: str, stage: str, threads: int
) -> None:
    entry = ZOO[name]
    model = gcn.compile(
        entry.make(),
        input_shape=entry.input_shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1, momentum=0.9),
        threads=threads,
    )
    executable = model.executable(stage)
    for batch in (1, 16, 64, 256):
        executable._workspace_for(batch)  # type: ignore[attr-defined]
        really = sum(array.nbytes - 2 * 64 for array in executable._workspace.memory.values())  # type: ignore[attr-defined]
        memory = executable.report().memory
        assert memory is not None
        assert memory.peak <= really <= 1.05 * memory.peak


def test_memory_does_not_grow_where_a_batch_goes_through_in_parts() -> None:
    model = gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy())
    executable = model.executable("evaluation")
    peaks = []
    for batch in (256, 4096):
        model.evaluate(np.zeros((batch, 8, 8, 1), "f4"), np.zeros(batch, int), batch_size=batch)
        peaks.append(executable.report().memory.peak)  # type: ignore[union-attr]
    assert peaks[0] == peaks[1]


def test_a_kernel_in_the_middle_of_a_chain_of_equal_layers_needs_two_values_of_a_block() -> None:
    network = gcn.Sequential(*[gcn.MaxPool2d(3, stride=1, padding=1) for _ in range(6)])
    model = gcn.compile(network, input_shape=(16, 16, 4), threads=1)
    model.predict(np.zeros((2, 16, 16, 4), np.float32))
    report = model.executable("forward").report()
    value = 16 * 16 * 4 * 4
    block = model.executable("forward").program.block  # type: ignore[attr-defined]
    assert report.memory is not None
    assert report.memory.peak == pytest.approx(2 * block * value, rel=0.02)
    assert [kernel.live for kernel in report.kernels][2:4] == [report.memory.peak] * 2


def test_the_numpy_backend_needs_what_the_graph_keeps_alive() -> None:
    graph = a_chain_beside_a_long_life()
    executable = load_backend("numpy").compile(graph)
    executable(x=np.zeros((3, 256), np.float32))
    assert executable.report().memory == Memory(max(live_bytes(graph, 3).values()))


def test_a_profile_tells_the_memory() -> None:
    model = gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), threads=2)
    profile = model.profile(np.zeros((4, 8, 8, 1), np.float32), repeats=1)
    assert profile.memory == model.executable("forward").report().memory
    assert "must be alive at a time" in str(profile)
    assert all(kernel.live is not None for kernel in profile.kernels)
