"""The graph as a data structure: ordered operands, append-only, and nothing foreign."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

from graphcnn.backend import evaluate
from graphcnn.errors import GraphError, ShapeError
from graphcnn.ir import Graph, Origin, TensorType, Value
from graphcnn.ops import Add, MaxPool2d, Multiply, Relu, RouteToWinner2d, Subtract, Sum, parse
from graphcnn.transform import differentiate, gradient, simplify

ROW = TensorType(("N", 3), "float64")


def test_a_square_keeps_two_edges():
    graph = Graph()
    x = graph.input("x", ROW)
    square = graph.add(Multiply(), x, x)
    assert graph.nx.number_of_edges(x.key, square.key) == 2
    assert graph.node(square.key).operands == (x, x)
    assert graph.users(x) == [square.key]


def test_networkx_grows_with_the_graph_once_it_was_asked_for():
    graph = Graph()
    x = graph.input("x", ROW)
    y = graph.add(Relu(), x)
    assert not graph.has_nx
    nx = graph.nx
    z = graph.add(Add(), x, y)
    assert graph.nx is nx
    assert list(nx.nodes) == [0, 1, 2]
    assert sorted(nx.in_edges(z.key, keys=True, data="result")) == [(0, 2, 0, 0), (1, 2, 1, 0)]
    assert nx.nodes[z.key]["node"] is graph.node(z.key)
    assert not graph.copy().has_nx


def test_readers_are_found_as_the_graph_grows():
    graph = Graph()
    x = graph.input("x", TensorType(("N", 4, 4, 1), "float64"))
    pooled, index = graph.add_all(MaxPool2d((2, 2), (2, 2)), x)
    assert (graph.users(x), graph.users(pooled)) == ([1], [])
    first = graph.add(Add(), pooled, pooled)
    last = graph.add(RouteToWinner2d((2, 2), (2, 2), shape=x.type.shape), first, index)
    assert (graph.users(pooled), graph.users(index)) == ([first.key], [last.key])
    assert graph.users(last) == []
    assert not graph.has_nx


def test_operands_keep_their_order():
    graph = Graph()
    x, y = graph.input("x", ROW), graph.input("y", ROW)
    graph.output("z", graph.add(Subtract(), y, x))
    positions = {position: source for source, _, position in graph.nx.in_edges(2, keys=True)}
    assert positions == {0: y.key, 1: x.key}
    result = evaluate(graph, x=np.full((1, 3), 1.0), y=np.full((1, 3), 5.0))
    assert result["z"].tolist() == [[4.0, 4.0, 4.0]]


def test_creation_order_is_a_schedule():
    graph = Graph()
    x = graph.input("x", ROW)
    for _ in range(5):
        x = graph.add(Relu(), graph.add(Add(), x, x))
    assert all(operand.key < key for key, node in graph.items() for operand in node.operands)
    assert [key for key, _ in graph.items()] == list(range(len(graph)))


@pytest.mark.parametrize(
    "foreign",
    [Value(99, 0, ROW), Value(0, 1, ROW), Value(0, -1, ROW), Value(0, 0, TensorType((3,))), "x", None],
)
def test_foreign_values_are_refused(foreign):
    graph = Graph("mine")
    x = graph.input("x", ROW)
    for act in (
        lambda: graph.add(Relu(), foreign),
        lambda: graph.add(Add(), x, foreign),
        lambda: graph.output("y", foreign),
    ):
        with pytest.raises(GraphError):
            act()
    assert len(graph) == 1


def test_a_failed_node_leaves_the_graph_as_it_was():
    graph = Graph()
    x, y = graph.input("x", ROW), graph.input("y", TensorType(("N", 4), "float64"))
    before = str(graph)
    with pytest.raises(ShapeError):
        graph.add(Add(), x, y)
    with pytest.raises(GraphError, match="add takes 2 operands, not 1"):
        graph.add(Add(), x)
    assert str(graph) == before
    assert graph.nx.number_of_nodes() == 2


def test_an_error_names_the_layer_and_the_line():
    graph = Graph()
    x, y = graph.input("x", ROW), graph.input("y", TensorType(("N", 4), "float64"))
    with pytest.raises(ShapeError, match=r"sum1 \(train.py:7\): "):
        graph.add(Add(), x, y, origin=Origin("/nowhere/train.py", 7, "sum1"))


def test_names_are_unique():
    graph = Graph()
    x = graph.input("x", ROW)
    state = graph.input("state", ROW, role="state")
    graph.output("y", x)
    graph.update("state", x)
    with pytest.raises(GraphError, match="input 'x' already"):
        graph.input("x", ROW)
    with pytest.raises(GraphError, match="output 'y' already"):
        graph.output("y", state)
    with pytest.raises(GraphError, match="update of 'state' already"):
        graph.update("state", x)


@pytest.mark.parametrize("shape", [None, 3, "N", [2, 3], {}, b"x", 1.5])
def test_a_shape_is_a_tuple(shape):
    with pytest.raises(ShapeError, match="is not a tuple of sizes"):
        TensorType(shape)


def test_only_state_of_the_same_type_can_be_updated():
    graph = Graph()
    x = graph.input("x", ROW)
    graph.input("count", TensorType((3,), "float64"), role="state")
    with pytest.raises(GraphError, match="no parameter or state input"):
        graph.update("x", x)
    with pytest.raises(GraphError, match="no parameter or state input"):
        graph.update("nobody", x)
    with pytest.raises(GraphError, match=r"float64\[3\], its replacement float64\[N, 3\]"):
        graph.update("count", x)


def test_views_of_the_graph_cannot_be_written_to():
    graph = Graph()
    x = graph.input("x", ROW)
    for mapping in (graph.inputs, graph.outputs, graph.updates):
        with pytest.raises(TypeError):
            mapping["y"] = x


def test_a_copy_is_equal_and_independent():
    graph = Graph()
    x = graph.input("x", TensorType(("N", 4, 4, 1), "float64"))
    pooled, index = graph.add_all(MaxPool2d((2, 2), (2, 2)), x)
    graph.output("y", pooled)
    other = graph.copy()
    assert other == graph
    other.output("index", index)
    other.add(Relu(), pooled)
    assert "index" not in graph.outputs
    assert len(graph) == 2
    assert graph.users(pooled) == []


def test_cost_counts_a_multiply_add_as_two():
    graph = Graph()
    x = graph.input("x", ROW)
    graph.add(Add(), x, x)
    assert graph.cost(batch=5).flops == 15
    assert graph.node(1).cost(5).bytes == 3 * 15 * 8


def chain(name="chain"):
    graph = Graph(name)
    x = graph.input("x", ROW)
    state = graph.input("state", ROW, role="state")
    y = graph.add(Relu(), graph.add(Relu(), x))
    graph.output("y", y)
    return graph, x, state, y


@pytest.mark.parametrize(
    "other",
    [
        lambda graph: chain()[0],
        lambda graph: simplify(graph),
        lambda graph: parse(str(graph)),
        lambda graph: pickle.loads(pickle.dumps(graph)),
    ],
)
def test_values_of_another_graph_are_refused(other):
    graph, x, _, y = chain()
    foreign = other(graph)
    before = str(foreign)
    for act in (
        lambda: foreign.add(Relu(), y),
        lambda: foreign.add(Add(), foreign.inputs["x"], x),
        lambda: foreign.output("z", y),
        lambda: foreign.update("state", y),
        lambda: foreign.users(x),
        lambda: differentiate(foreign, y, {"x": foreign.inputs["x"]}),
        lambda: differentiate(foreign, foreign.add(Sum((0, 1)), foreign.outputs["y"]), {"x": x}),
        lambda: gradient(foreign, y, ["x"]),
    ):
        with pytest.raises(GraphError, match="is a value of another graph than 'chain'") as caught:
            act()
        assert "graph.inputs[name]" in str(caught.value)
    assert str(foreign).startswith(before.split("\n\n")[0])


def test_the_mend_for_a_foreign_value_works():
    graph, _, _, y = chain()
    other = simplify(graph)
    with pytest.raises(GraphError, match="another graph"):
        other.output("negated", y)
    other.output("again", other.outputs["y"])
    other.output("state", other.inputs["state"])
    other.output("first", other.results(2)[0])


def test_a_copy_takes_the_values_that_the_original_had():
    graph, x, _, y = chain()
    first = graph.copy()
    second = first.copy("second", outputs=False)
    late = graph.add(Relu(), y)
    for each in (first, second, copy.copy(graph), copy.deepcopy(graph)):
        assert each.node(each.add(Add(), x, y).key).operands == (x, y)
    for each in (first, second):
        with pytest.raises(GraphError, match="another graph"):
            each.add(Relu(), late)
    with pytest.raises(GraphError, match="another graph"):
        graph.output("z", first.results(0)[0])


def test_pickled_together_a_graph_and_its_values_stay_together():
    graph, _, _, y = chain()
    held = pickle.loads(pickle.dumps({"graph": graph, "value": y}))
    again = copy.deepcopy(held)
    for pair in (held, again):
        pair["graph"].output("z", pair["value"])
        assert pair["graph"].outputs["z"] == y
    assert "z" not in graph.outputs


def test_a_deep_copy_is_independent():
    for duplicate in (copy.copy, copy.deepcopy):
        graph, _, _, y = chain()
        other = duplicate(graph)
        assert other == graph
        other.output("z", other.add(Relu(), y))
        assert len(graph) == 4
        assert "z" not in graph.outputs


def test_a_value_does_not_keep_its_graph_alive():
    graph, _, _, y = chain()
    known = weakref.ref(graph)
    other = graph.copy()
    del graph
    gc.collect()
    assert known() is None
    other.output("z", y)
