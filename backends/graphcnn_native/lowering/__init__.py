"""From a graph to a program: a plan of kernels, and then a place in memory for all that they keep."""

from __future__ import annotations

import os

from graphcnn.errors import BackendError
from graphcnn.ir import Graph
from graphcnn.phases import phase
from graphcnn_native.lowering.canonical import canonical
from graphcnn_native.lowering.placing import place
from graphcnn_native.lowering.planning import plan
from graphcnn_native.lowering.program import Program
from graphcnn_native.lowering.verify import verify
from graphcnn_native.target import Target

MOST_BYTES = 2**62
"""Addresses are computed in integers of 64 bits."""


def lower(graph: Graph, target: Target, *, winograd: bool | int = True) -> Program:
    """Return the program of a graph for a processor. Its kernels name the nodes of the graph given.

    With GRAPHCNN_VERIFY=on, it is verified. Raises BackendError for a value of more bytes than 64 bits can
    count, and for a program that breaks a rule of `verify`.
    """
    _require_addressable(graph)
    with phase("lower"):
        normal, sources = canonical(graph, target, winograd=winograd)
        program = place(plan(normal, graph, sources, target))
    return verify(program) if is_verified() else program


def is_verified() -> bool:
    """Whether every program is verified."""
    return os.environ.get("GRAPHCNN_VERIFY") == "on"


def _require_addressable(graph: Graph) -> None:
    for _, node in graph.items():
        for type in node.types:
            if type.bytes(1) >= MOST_BYTES:
                raise BackendError(
                    f"{node.op.name} gives {type}, which no memory holds",
                    facts=[f"a single sample takes {type.bytes(1):.1e} bytes"],
                    mend="make the layer smaller",
                ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)


__all__ = ["Program", "is_verified", "lower"]
