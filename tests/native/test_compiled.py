"""A graph that was compiled before is not lowered again, if nothing that decides its code differs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphcnn as gcn
import graphcnn_native
from graphcnn.phases import counted
from graphcnn_native import NativeExecutable, compiled
from graphcnn_native.codegen.module import generate
from graphcnn_native.op_code import EMITTERS, LANES, POINTWISE, SHIPPED
from graphcnn_native.runtime import cache


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """A cache of its own, for programs that are not verified: those that are, are always made."""
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRAPHCNN_VERIFY", "off")
    return tmp_path / "cache"


@pytest.fixture
def lowered(monkeypatch):
    """The names of the graphs that are lowered."""
    names = []

    def lower(graph, *arguments, **options):
        names.append(graph.name)
        return actual(graph, *arguments, **options)

    actual = compiled.lower
    monkeypatch.setattr(compiled, "lower", lower)
    return names


def network(filters=3, name="conv"):
    return gcn.Sequential(gcn.Conv2d(filters, 3, name=name), gcn.ReLU(), gcn.Flatten(), gcn.Dense(2))


def model(made=None, **options):
    return gcn.compile(
        made or network(),
        **{"input_shape": (5, 5, 1), "loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), **options},
    )


def images(count=8):
    return np.random.default_rng(0).standard_normal((count, 5, 5, 1), dtype=np.float32)


def trained(made):
    labels = np.arange(8) % 2
    losses = [made.train_step(images(), labels)["loss"] for _ in range(3)]
    return losses, made.predict(images())


def test_the_second_time_nothing_is_lowered_and_all_bits_are_the_same(lowered):
    first = trained(model())
    made = len(lowered)
    second = trained(model())
    assert made == len(lowered) == 2
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])


def test_another_place_in_the_users_files_is_no_other_graph(lowered):
    def elsewhere():
        return gcn.Sequential(gcn.Conv2d(3, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(2))

    model(gcn.Sequential(gcn.Conv2d(3, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(2))).executable("step")
    model(elsewhere()).executable("step")
    assert len(lowered) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda: model(network(filters=4)),
        lambda: model(network(name="other")),
        lambda: model(input_shape=(6, 5, 1)),
        lambda: model(dtype="float64"),
        lambda: model(optimizer=gcn.SGD(0.1, momentum=0.5)),
        lambda: model(winograd=False),
        lambda: model(metrics=[]),
    ],
)
def test_what_decides_the_code_is_told_apart(lowered, other):
    model().executable("step")
    other().executable("step")
    assert len(lowered) == 2


def test_programs_that_are_verified_are_made_every_time(lowered, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_VERIFY", "on")
    for _ in range(2):
        model().executable("step")
    assert len(lowered) == 2


def test_the_kernels_of_code_from_the_disk_can_be_read_and_measured(lowered):
    first, second = (model().executable("step") for _ in range(2))
    assert len(lowered) == 1
    assert first.report().kernels == second.report().kernels
    assert first.llvm_ir() == second.llvm_ir()


def test_a_function_for_numba_comes_from_the_disk_as_well(lowered):
    first, second = (model().numba_function()(images()) for _ in range(2))
    assert len(lowered) == 1
    np.testing.assert_array_equal(first, second)


def test_only_what_is_missing_or_damaged_is_compiled_again(folder):
    def damage(path):
        path.write_bytes(path.read_bytes()[:-9])

    first = model()
    expected = trained(first)
    graphs = [first.executable(name) for name in ("step", "forward")]
    total = len({text for each in graphs for text in generate(each.program, each.target).modules})
    for spoil in (Path.unlink, damage):
        made = []
        for path in sorted(folder.iterdir()):
            spoil(path)
            with counted() as numbers:
                again = trained(model())
            made.append(numbers["modules compiled"])
            assert expected[0] == again[0]
            np.testing.assert_array_equal(expected[1], again[1])
        assert set(made) == {0, 1}
        assert sum(made) == total


def deep(blocks, first=16, units=10):
    """Return a network of alike layers: convolution, batch norm, relu, and a way around them."""
    image = gcn.Input((5, 5, 1))
    x = gcn.Conv2d(16, 1)(gcn.relu(gcn.Conv2d(first, 3, padding="same")(image)))
    for _ in range(blocks):
        x = gcn.relu(x + gcn.BatchNorm2d()(gcn.Conv2d(16, 3, padding="same", bias=False)(x)))
    return gcn.Network(image, gcn.Dense(units)(gcn.Flatten()(x)))


def step_of(made, **options):
    return model(made, input_shape=None, **options).executable("step")


@pytest.mark.parametrize(
    ("other", "most"),
    [
        (lambda: step_of(deep(4)), 0.05),  # its tables
        (lambda: step_of(deep(2, units=3)), 0.5),
        (lambda: step_of(deep(2, first=8)), 0.5),
        (lambda: step_of(deep(2), optimizer=gcn.SGD(0.1, momentum=0.9)), 0.4),
    ],
    ids=["deeper", "another last layer", "another first layer", "another optimizer"],
)
def test_kernels_that_two_networks_share_are_compiled_once(other, most):
    def modules(executable):
        texts = generate(executable.program, executable.target).modules
        return {re.sub("\n *;.*", "", text) for text in texts}

    known = modules(step_of(deep(2)))
    with counted() as numbers:
        executable = other()
    kept, new = modules(executable) & known, modules(executable) - known
    assert numbers == {"modules compiled": len(new), "modules from the cache": len(kept)}
    assert len(new) <= most * len(kept | new)


def test_processes_that_compile_at_once_share_what_they_make(folder):
    """Two networks of the same kernels, in two processes that begin with an empty cache."""
    code = """if True:
        import json, sys
        import numpy as np
        import graphcnn as gcn

        image = gcn.Input((8, 8, 3))
        x = gcn.Conv2d(16, 1)(image)
        for _ in range(int(sys.argv[1])):
            x = gcn.relu(x + gcn.BatchNorm2d()(gcn.Conv2d(16, 3, padding="same", bias=False)(x)))
        network = gcn.Network(image, gcn.Dense(10)(gcn.Flatten()(x)))
        model = gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), threads=2)
        images = np.random.default_rng(0).standard_normal((8, 8, 8, 3), dtype=np.float32)
        with gcn.phases.counted() as numbers:
            losses = [model.train_step(images, np.arange(8))["loss"] for _ in range(3)]
        print(json.dumps([losses, numbers["modules compiled"]]))
    """

    def together(*blocks):
        processes = [
            subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(number)], stdout=subprocess.PIPE)
            for number in blocks
        ]
        outputs = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * len(blocks)
        return [json.loads(output) for output in outputs]

    at_once = together(2, 3)
    later = together(2), together(3), together(4)
    assert [losses for losses, _ in at_once] == [losses for ((losses, _),) in later[:2]]
    assert [compiled for ((_, compiled),) in later] == [0, 0, 1]
    assert all(path.suffix == ".object" for path in folder.iterdir())


def test_a_change_of_the_projects_code_makes_other_keys(tmp_path, monkeypatch):
    def stamps():
        compiled._sources.cache_clear()
        return compiled._sources()

    copy = tmp_path / "graphcnn_native"
    shutil.copytree(Path(compiled.__file__).parent, copy)
    monkeypatch.setattr(compiled, "__file__", str(copy / "compiled.py"))
    try:
        before = stamps()
        assert before is not None
        assert "/ops/convolution.py" in before
        with (copy / "kernels" / "dot.py").open("a") as file:
            file.write("# changed\n")
        assert stamps() != before
        monkeypatch.setattr(compiled, "__file__", str(tmp_path / "archive.zip" / "compiled.py"))
        assert stamps() is None
    finally:
        compiled._sources.cache_clear()


def double(x):
    return 2.0 * x


def triple(x):
    return 3.0 * x


def test_functions_of_the_users_own_are_never_taken_from_the_disk(lowered):
    def outputs(function):
        made = gcn.Network(image := gcn.Input((5, 5, 1), name="image"), gcn.pointwise(function)(image))
        return gcn.compile(made).predict(images())

    triple.__name__ = "double"
    np.testing.assert_allclose(outputs(double), 2 * images())
    np.testing.assert_allclose(outputs(triple), 3 * images())
    assert len(lowered) == 2


def test_native_code_of_the_users_own_is_never_taken_from_the_disk(lowered):
    def outputs():
        made = gcn.Network(image := gcn.Input((5, 5, 1), name="image"), gcn.tanh(image))
        return gcn.compile(made).predict(images())

    before = [dict(table) for table in (POINTWISE, LANES, EMITTERS)], set(SHIPPED)
    expected = outputs()
    try:
        graphcnn_native.register(gcn.ops.Tanh, pointwise=lambda op: double)
        np.testing.assert_allclose(outputs(), 2 * images())
    finally:
        for table, content in zip((POINTWISE, LANES, EMITTERS), before[0], strict=True):
            table.clear()
            table.update(content)
        SHIPPED.update(before[1])
    np.testing.assert_array_equal(outputs(), expected)
    assert len(lowered) == 2


def test_an_entry_that_cannot_be_used_here_is_passed_over(folder, lowered, monkeypatch):
    model().executable("step")
    monkeypatch.setattr(cache, "load", lambda key: None)
    model().executable("step")
    assert len(lowered) == 2


def test_executables_from_the_disk_can_be_built_for_any_number_of_threads(lowered):
    graph = model().forward_graph
    given = {label: images() for label in graph.inputs_with_role("data")}
    state = {
        label: np.ones(v.type.shape, v.type.dtype) for label, v in graph.inputs_with_role("parameter").items()
    }
    results = [NativeExecutable(graph, threads=threads)(**given, **state)["output"] for threads in (1, 2, 3)]
    assert len(lowered) == 1
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
