"""A graph of one's own in the place of a network: which of it is inferred, which is trained."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from graphcnn.dsl.initializers import Constant, He, Initializer
from graphcnn.dsl.network import OUTPUT, Traced
from graphcnn.errors import GraphError
from graphcnn.ir import Graph, Value, verify


def traced_graph(graph: Graph) -> tuple[Traced, Traced]:
    """Return a graph for inference and for training, with what gives its parameters their first values.

    Its output is the one named `output`, or its only one; others are left out. Where several have names of
    their own, it has them all. Training has its updates as well, inference has not. Parameters of two and
    more axes start as those of `Conv2d` and `Dense` do, other parameters and states at 0.

    Raises GraphError for a graph that is not valid, that has no output, that has a setting, or that
    draws random numbers of samples.
    """
    verify(graph)
    outputs = _outputs(graph)
    settings = graph.inputs_with_role("setting")
    if settings:
        raise GraphError(
            f"graph {graph.name!r} has a setting among its inputs: {', '.join(settings)}",
            mend='give inputs the role "data", "parameter" or "state"',
        )
    if graph.inputs_with_role("sample"):
        raise GraphError(
            f"graph {graph.name!r} draws random numbers of samples, which inference does not",
            mend="compile the network that has its layers, or model.forward_graph, which draws none",
        )
    initializers = {
        label: _initializer(label, graph) for label in graph.inputs_with_role("parameter", "state")
    }
    inference, training = (
        Traced(_with_outputs(graph, outputs, updates), MappingProxyType(initializers))
        for updates in (False, True)
    )
    return inference, training


def _outputs(graph: Graph) -> Mapping[str, Value]:
    if OUTPUT in graph.outputs:
        return {OUTPUT: graph.outputs[OUTPUT]}
    if len(graph.outputs) == 1:
        return {OUTPUT: next(iter(graph.outputs.values()))}
    if graph.outputs:
        return graph.outputs
    raise GraphError(
        f"graph {graph.name!r} has no output that a model could predict",
        mend=f'name one: graph.output("{OUTPUT}", value)',
    )


def _with_outputs(graph: Graph, outputs: Mapping[str, Value], updates: bool) -> Graph:
    copy = graph.copy(outputs=False, updates=updates)
    for name, output in outputs.items():
        copy.output(name, output)
    return verify(copy)


def _initializer(label: str, graph: Graph) -> Initializer:
    is_weight = graph.role(label) == "parameter" and graph.inputs[label].type.rank > 1
    return He() if is_weight else Constant(0.0)
