"""What may be given to an executable, and what is refused before anything is computed."""

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import bind_inputs, evaluate, load_backend, require_ops
from graphcnn.errors import BackendError, DataError
from graphcnn.ir import Graph, Origin, TensorType
from graphcnn.ops import Add, Multiply, Relu, SoftmaxCrossEntropy


def graph_of(type, label="x"):
    graph = Graph("one input")
    graph.output("y", graph.input(label, type))
    return graph


def bound(type, given):
    return bind_inputs(graph_of(type), {"x": given})[0]["x"]


@pytest.mark.parametrize(
    ("dtype", "given"),
    [
        ("float64", np.ones(3, np.float32)),
        ("float32", [1.0, 2.0, 3.0]),
        ("int64", np.ones(3, np.uint8)),
        ("int32", [1, 2, 2**31 - 1]),
        ("bool", [True, False, True]),
    ],
)
def test_arrays_are_converted_where_nothing_is_lost(dtype, given):
    array = bound(TensorType((3,), dtype), given)
    assert array.dtype == dtype
    assert np.array_equal(array, given)


@pytest.mark.parametrize(
    ("type", "given", "part"),
    [
        (TensorType((3,)), np.ones(3, np.int64), "holds int64, but float32 is needed"),
        (TensorType((3,)), np.full(3, 200, np.uint8), "/ 255"),
        (TensorType((3,), "int64"), np.ones(3), "holds float64, but int64 is needed"),
        (TensorType((), "int64"), 3.7, "holds float64, but int64 is needed"),
        (TensorType((), "uint8"), -1, "uint8"),
        (TensorType((), "bool"), 2, "bool"),
        (TensorType((2,), "int32"), [0, 2**31], "found 0 to 2147483648"),
        (TensorType(("N", 4, 5, 1)), np.ones((2, 4, 5)), "images[..., None]"),
        (TensorType(("N", 4, 5, 3)), np.ones((4, 5, 3)), "image[None]"),
        (TensorType(("N", 4, 5, 3)), np.ones((2, 3, 4, 5)), "transpose(0, 2, 3, 1)"),
        (TensorType(("N", 4)), [[1.0], [2.0, 3.0]], "is not an array"),
    ],
)
def test_what_does_not_fit_is_named_with_a_way_to_mend_it(type, given, part):
    with pytest.raises(DataError) as caught:
        bound(type, given)
    assert "input 'x'" in str(caught.value)
    assert part in str(caught.value)


@pytest.mark.parametrize("label", ["self", "graph", "inputs", "state", "two words", "conv1.filters"])
def test_any_name_can_be_given(label):
    graph = graph_of(TensorType(()), label)
    assert evaluate(graph, **{label: 2.0})["y"] == 2
    assert load_backend("numpy").compile(graph).step({}, **{label: 2.0})["y"] == 2


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_named(label):
    graph = Graph("loss")
    logits, labels = graph.input("x", TensorType(("N", 3))), graph.input("t", TensorType(("N",), "int64"))
    graph.output("loss", graph.add(SoftmaxCrossEntropy(), logits, labels))
    with pytest.raises(DataError, match="do not fit 3 classes"):
        evaluate(graph, x=np.zeros((2, 3)), t=[1, label])


def counter():
    """Return an executable that adds x to the state."""
    graph = Graph("counter")
    total = graph.input("total", TensorType((2,), "float64"), role="state")
    x = graph.input("x", TensorType((2,), "float64"))
    graph.update("total", graph.add(Add(), total, x))
    graph.output("product", graph.add(Multiply(), total, x))
    return load_backend("numpy").compile(graph)


def test_a_step_overwrites_the_state_in_place():
    total = np.zeros(2)
    state = {"total": total, "of another graph": np.ones(7)}
    for _ in range(3):
        results = counter().step(state, x=np.array([1.0, 2.0]))
    assert total.tolist() == [3.0, 6.0]
    assert results.keys() == {"product"}
    assert results["product"].tolist() == [2.0, 8.0]


def read_only():
    array = np.zeros(2)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("state", "inputs"),
    [
        ({}, {"x": np.ones(2)}),
        ({}, {"x": np.ones(2), "total": np.zeros(2)}),
        ({"total": np.zeros(2)}, {}),
        ({"total": np.zeros(2)}, {"x": np.ones(3)}),
        ({"total": np.zeros(3)}, {"x": np.ones(2)}),
        ({"total": np.zeros(2)}, {"x": np.ones(2), "total": np.ones(2)}),
        ({"total": [0.0, 0.0]}, {"x": np.ones(2)}),
        ({"total": np.zeros(2, np.float32)}, {"x": np.ones(2)}),
        ({"total": read_only()}, {"x": np.ones(2)}),
    ],
)
def test_a_step_that_cannot_be_done_leaves_the_state_alone(state, inputs):
    before = {label: np.array(array) for label, array in state.items()}
    with pytest.raises(DataError):
        counter().step(state, **inputs)
    assert all(np.array_equal(state[label], array) for label, array in before.items())


def test_a_missing_kernel_is_named_with_line_and_with_backends_that_have_it():
    class Poor:
        name = "poor"
        ops = frozenset()

    graph = Graph("network")
    x = graph.input("x", TensorType((3,)), origin=Origin("/home/me/train.py", 3, "image"))
    graph.add(Relu(), x)
    with pytest.raises(
        BackendError, match=r"image \(train.py:3\): backend 'poor' has no kernel for input"
    ) as caught:
        require_ops(Poor(), graph)
    assert "numpy" in str(caught.value)


def test_an_unknown_backend_is_named_with_the_installed_ones():
    with pytest.raises(BackendError, match="there is no backend 'cuda'") as caught:
        load_backend("cuda")
    assert "numpy" in str(caught.value)


@pytest.mark.parametrize("name", ["numpy", "native"])
def test_a_step_reads_inputs_as_they_were_before_it(name):
    """An input may be a state's own array, or a part of one: it is read before that is overwritten."""
    graph = Graph("aliases")
    type = TensorType((1000,), "float32")
    w, v = (graph.input(label, type, role="state") for label in "wv")
    x = graph.input("x", type)
    total = graph.add(ops.Sum((0,)), graph.add(ops.Add(), w, x))
    graph.update("w", graph.add(ops.Add(), w, x))
    graph.update("v", graph.add(ops.Multiply(), v, x))
    graph.output("y", graph.add(ops.Multiply(), x, total))
    executable = load_backend(name).compile(graph)
    memory = np.arange(1001, dtype=np.float32)
    for given in (memory[:1000], memory[1:]):
        apart = {"w": memory[:1000].copy(), "v": np.ones(1000, np.float32)}
        wanted = executable.step(apart, x=given.copy())
        together = {"w": memory[:1000], "v": np.ones(1000, np.float32)}
        found = executable.step(together, x=given)
        assert np.array_equal(found["y"], wanted["y"])
        for label in "wv":
            assert np.array_equal(together[label], apart[label])
    shared = np.ones(1500, np.float32)
    for v_array in (shared[:1000], shared[500:]):
        with pytest.raises(DataError, match="share memory"):
            executable.step({"w": shared[:1000], "v": v_array}, x=memory[:1000])
