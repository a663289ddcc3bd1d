"""The rules that a valid graph obeys, as code that can be run on any graph at any time."""

from __future__ import annotations

from graphcnn.errors import GraphError
from graphcnn.ir.graph import Graph, Input, Node, batch_inputs
from graphcnn.ir.text import TOLD_BY_TYPE, format_call


def verify(graph: Graph) -> Graph:
    """Return the graph if it is valid; raise GraphError, which names the node and the rule, if not."""
    if graph.has_nx and list(graph.nx.nodes) != [key for key, _ in graph.items()]:
        raise GraphError(f"graph {graph.name!r}: networkx holds other nodes than the graph")
    for key, node in graph.items():
        _verify_node(graph, key, node)
        if graph.has_nx:
            _verify_edges(graph, key, node)
    _verify_roots(graph)
    return graph


def _verify_node(graph: Graph, key: int, node: Node) -> None:
    for operand in node.operands:
        if operand.key >= key:
            raise _broken(graph, key, f"its operand %{operand.key} is computed later: the graph has a cycle")
        if operand not in graph.results(operand.key):
            raise _broken(graph, key, f"its operand %{operand.key} is no result of that node")
    if node.types != node.op.result_types(*(operand.type for operand in node.operands)):
        raise _broken(graph, key, f"its types {', '.join(map(str, node.types))} break the op's shape rule")
    for attribute, told in TOLD_BY_TYPE.items():
        if attribute in node.op.__dataclass_fields__ and getattr(node.op, attribute) != told(node.types[0]):
            raise _broken(graph, key, f"its attribute {attribute!r} differs from its result's")
    if node.origin.forward is not None and node.origin.forward >= key:
        raise _broken(graph, key, f"its forward node %{node.origin.forward} comes after it")


def _verify_edges(graph: Graph, key: int, node: Node) -> None:
    if graph.nx.nodes[key].get("node") is not node:
        raise _broken(graph, key, "networkx holds another node under this key")
    edges = sorted(
        (position, source, result)
        for source, _, position, result in graph.nx.in_edges(key, keys=True, data="result")
    )
    expected = [(position, operand.key, operand.index) for position, operand in enumerate(node.operands)]
    if edges != expected:
        raise _broken(graph, key, "its edges differ from its operands; edges follow from Graph.add alone")


def _verify_roots(graph: Graph) -> None:
    inputs = {node.op.label for _, node in graph.items() if isinstance(node.op, Input)}
    if inputs != set(graph.inputs):
        raise GraphError(f"graph {graph.name!r}: its inputs are not its input nodes")
    both = graph.inputs.keys() & graph.outputs.keys()
    if both:
        raise GraphError(f"graph {graph.name!r}: {sorted(both)} name both an input and an output")
    if any(type.has_batch for _, node in graph.items() for type in node.types) and not batch_inputs(graph):
        raise GraphError(f"graph {graph.name!r} uses the batch size N, but no input has a batch axis")
    for label, value in graph.updates.items():
        if graph.inputs[label].type != value.type:
            raise GraphError(f"graph {graph.name!r}: the update of {label!r} has another type than the state")


def _broken(graph: Graph, key: int, rule: str) -> GraphError:
    error = GraphError(f"node %{key} of graph {graph.name!r}: {rule}", facts=[format_call(graph, key)])
    origin = graph.node(key).origin
    error.located(layer=origin.layer, file=origin.file, line=origin.line)
    return error
