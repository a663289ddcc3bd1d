"""Graphs that were edited behind the back of `Graph.add` are found out."""

import dataclasses

import pytest

from graphcnn.errors import GraphError
from graphcnn.ir import Graph, Input, Node, Origin, TensorType, Value, verify
from graphcnn.ops import Add, Broadcast, MaxPool2d, Multiply, Relu, RouteToWinner2d
from graphcnn.testing.cases import backend_cases, build_case

ROW = TensorType(("N", 3), "float64")


def graph_of_three() -> Graph:
    graph = Graph("three")
    x = graph.input("x", ROW)
    graph.output("z", graph.add(Add(), graph.add(Multiply(), x, x), x))
    return graph


def replace_node(graph: Graph, key: int, **changes: object) -> None:
    """Change a node in networkx and in the graph alike."""
    node = dataclasses.replace(graph.node(key), **changes)
    graph.nx.nodes[key]["node"] = node
    graph._nodes[key] = node


@pytest.mark.parametrize("name", backend_cases()[::9])
def test_graphs_that_add_built_are_valid(name):
    graph = build_case(name).graph
    assert verify(graph) is graph


def test_a_dropped_edge():
    graph = graph_of_three()
    graph.nx.remove_edge(0, 1, key=1)
    with pytest.raises(GraphError, match=r"node %1 .*edges differ from its operands"):
        verify(graph)


def test_an_added_edge():
    graph = graph_of_three()
    graph.nx.add_edge(2, 1, key=2, result=0)
    with pytest.raises(GraphError, match="edges differ"):
        verify(graph)


def test_edges_in_another_order():
    graph = graph_of_three()
    graph.nx.remove_edges_from([(1, 2, 0), (0, 2, 1)])
    graph.nx.add_edge(0, 2, key=0, result=0)
    graph.nx.add_edge(1, 2, key=1, result=0)
    with pytest.raises(GraphError, match=r"node %2 .*edges differ"):
        verify(graph)


def test_an_edge_from_another_result():
    graph = graph_of_three()
    graph.nx.edges[0, 1, 0]["result"] = 1
    with pytest.raises(GraphError, match="edges differ"):
        verify(graph)


def test_a_cycle():
    graph = graph_of_three()
    late = graph.results(2)[0]
    replace_node(graph, 1, operands=(late, late))
    with pytest.raises(GraphError, match=r"node %1 .*the graph has a cycle"):
        verify(graph)


def test_a_dropped_node():
    graph = graph_of_three()
    graph.nx.remove_node(1)
    with pytest.raises(GraphError, match="other nodes than the graph"):
        verify(graph)


def test_a_node_changed_in_networkx_alone():
    graph = graph_of_three()
    graph.nx.nodes[2]["node"] = Node(Multiply(), graph.node(2).operands, (ROW,))
    with pytest.raises(GraphError, match=r"node %2 .*networkx holds another node"):
        verify(graph)


def test_a_type_that_breaks_the_shape_rule():
    graph = graph_of_three()
    replace_node(graph, 1, types=(TensorType(("N", 4), "float64"),))
    with pytest.raises(GraphError, match=r"float64\[N, 4\] break the op's shape rule"):
        verify(graph)


def test_an_operand_that_is_no_result():
    graph = graph_of_three()
    replace_node(graph, 1, operands=(Value(0, 1, ROW), Value(0, 0, ROW)))
    with pytest.raises(GraphError, match="is no result of that node"):
        verify(graph)


def test_an_attribute_that_the_type_contradicts():
    graph = Graph()
    x = graph.input("x", TensorType(("N", 4, 4, 1), "float64"))
    pooled, index = graph.add_all(MaxPool2d((2, 2), (2, 2)), x)
    graph.add(RouteToWinner2d((2, 2), (2, 2), shape=x.type.shape), pooled, index)
    verify(graph)
    replace_node(graph, 2, op=RouteToWinner2d((2, 2), (2, 2), shape=("N", 5, 5, 1)))
    with pytest.raises(GraphError, match="node %2"):
        verify(graph)


def test_a_forward_node_that_comes_later():
    graph = graph_of_three()
    replace_node(graph, 1, origin=Origin("train.py", 3, "layer", forward=2))
    with pytest.raises(GraphError, match=r"layer \(train.py:3\): .*forward node %2 comes after it"):
        verify(graph)


def test_an_input_that_is_not_listed():
    graph = graph_of_three()
    replace_node(graph, 0, op=Input("y", ROW))
    with pytest.raises(GraphError, match="its inputs are not its input nodes"):
        verify(graph)


def test_one_name_for_an_input_and_an_output():
    graph = graph_of_three()
    graph.output("x", graph.add(Relu(), graph.inputs["x"]))
    with pytest.raises(GraphError, match="both an input and an output"):
        verify(graph)


def test_a_batch_that_no_input_tells():

    graph = Graph()
    graph.output("y", graph.add(Broadcast(("N", 3)), graph.input("x", TensorType((3,)))))
    with pytest.raises(GraphError, match="no input has a batch axis"):
        verify(graph)
