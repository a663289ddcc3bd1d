"""From a graph to a program: which kernels there are, in which order they run, and where values live."""

from __future__ import annotations

from graphcnn.errors import BackendError
from graphcnn.ir import Graph
from graphcnn.ops import SoftmaxCrossEntropy
from graphcnn_native.lowering.canonical import canonical
from graphcnn_native.lowering.program import Kernel, Program, base
from graphcnn_native.lowering.schedule import Schedule
from graphcnn_native.lowering.storage import assign_buffers
from graphcnn_native.target import Target

MOST_BYTES = 2**62
"""Addresses are computed in integers of 64 bits."""


def lower(graph: Graph, target: Target, *, winograd: bool = True) -> Program:
    """Return the program of a graph for a processor. Its kernels name the nodes of the graph given.

    Raises BackendError for a value of more bytes than 64 bits can count.
    """
    _require_addressable(graph)
    normal, sources = canonical(graph, target, winograd=winograd)
    schedule = Schedule(normal)
    program = assign_buffers(schedule, target)
    last = {source: key for key, source in sorted(sources.items())}
    for number, kernel in enumerate(program.kernels):
        kernel.title = _title(program, kernel)
        kernel.name = f"k{number}_{kernel.title}"
        kernel.work = tuple(sorted(schedule.nodes(kernel)))
        kernel.nodes = tuple(sorted({sources[key] for key in kernel.work or _carried_on(kernel)}))
        finished = [sources[key] for key in kernel.work if last[sources[key]] == key]
        kernel.counted = tuple(graph.node(key) for key in finished)
    program.labels = _labels(normal)
    return program


def _require_addressable(graph: Graph) -> None:
    for _, node in graph.items():
        for type in node.types:
            if type.bytes(1) >= MOST_BYTES:
                raise BackendError(
                    f"{node.op.name} gives {type}, which no memory holds",
                    facts=[f"a single sample takes {type.bytes(1):.1e} bytes"],
                    mend="make the layer smaller",
                ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)


def _carried_on(kernel: Kernel) -> list[int]:
    """Return the node of which a kernel only adds up the partial sums, or copies the value."""
    if kernel.given is not None:
        return [kernel.given.key]
    return [] if kernel.copies is None else [kernel.copies.key]


def _labels(graph: Graph) -> dict[str, int]:
    """Return the inputs that are labels, and of how many classes."""
    names = {value: label for label, value in graph.inputs.items()}
    found: dict[str, int] = {}
    for _, node in graph.items():
        if isinstance(node.op, SoftmaxCrossEntropy):
            label, classes = names.get(base(graph, node.operands[1])), node.operands[0].type.static(1)
            if label is not None:
                found[label] = min(classes, found.get(label, classes))
    return found


def _title(program: Program, kernel: Kernel) -> str:
    if kernel.copies is not None:
        return "copy"
    root = [] if kernel.root is None else [kernel.root]
    keys = list(dict.fromkeys([*root, *(value.key for value in kernel.values)]))
    names = [program.graph.node(key).op.name for key in keys]
    if kernel.sums is not None:
        names[0] = "total"
    return "_".join([*names[:2], *names[2:][-1:]])


__all__ = ["Program", "lower"]
