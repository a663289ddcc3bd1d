"""Reverse-mode differentiation: a graph becomes a larger graph that also computes gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from graphcnn.arguments import known_arguments
from graphcnn.errors import DifferentiationError, GraphcnnError
from graphcnn.ir import Emitter, Gradients, Graph, Node, Origin, Value
from graphcnn.ops import Add, Broadcast, constant
from graphcnn.transform.simplify import prune

START, PATHS, ZERO = "dE/dE", "sum over the paths", "zero: the scalar does not depend on it"
"""The rules of differentiation itself: their nodes belong to a value, not to an op that is derived."""


def differentiate(graph: Graph, of: Value, wrt: Mapping[str, Value]) -> tuple[Graph, dict[str, Value]]:
    """Return a copy of the graph with gradient nodes behind it, and the gradient for each name in `wrt`.

    of: the scalar to differentiate, of shape []. wrt: the values to differentiate with respect to.
    A value that `of` does not depend on gets a gradient of zeros. The forward nodes keep their keys, and
    the copy keeps outputs and updates. Gradient nodes are nodes like any others, so the result can be
    differentiated again.

    Raises DifferentiationError where `of` is no scalar or an op on the way has no gradient rule, and
    GraphError for values of another graph.
    """
    of = graph.require(of, "what is differentiated")
    wrt = {name: graph.require(value, f"gradient with respect to {name!r}") for name, value in wrt.items()}
    if not of.type.is_scalar or not of.type.is_float:
        raise DifferentiationError(
            f"only a floating-point scalar can be differentiated, not {of.type}",
            mend="reduce it first, with gcn.sum or gcn.mean",
        )
    for name, value in wrt.items():
        if not value.type.is_float:
            raise DifferentiationError(
                f"{name!r} is {value.type}; only floating-point tensors have gradients"
            )
    result = graph.copy()
    needed = _between(graph, of, wrt.values())
    partial: dict[Value, list[Value]] = {}
    if of.key in needed:
        partial[of] = [constant(Emitter(result, _origin(graph, of.key)).by(START), 1.0, of.type)]
    for key in sorted(needed, reverse=True):
        node = graph.node(key)
        results = graph.results(key)
        emit = Emitter(result, _origin(graph, key))
        deltas = partial.get(results[0])
        if deltas is None or not any(operand.key in needed for operand in node.operands):
            continue
        delta = _total(emit, partial, results[0])
        try:
            gradients = _checked(result, node, node.op.gradient(emit, node.operands, results, delta))
        except GraphcnnError as error:
            raise error.located(
                layer=node.origin.layer, file=node.origin.file, line=node.origin.line
            ) from None
        for operand, gradient in zip(node.operands, gradients, strict=True):
            if gradient is not None and operand.key in needed:
                partial.setdefault(operand, []).append(gradient)
    return result, {name: _gradient_of(result, partial, name, value) for name, value in wrt.items()}


@known_arguments
def gradient(graph: Graph, of: str | Value, wrt: Sequence[str | Value]) -> Graph:
    """Return a graph whose outputs are the gradients of `of` with respect to each of `wrt`.

    of: the name of a scalar output, or a value of the graph. wrt: names of inputs or outputs, or values.
    The outputs are named after `wrt`: `gradient(x)` for the input `x`, `gradient(%7)` for an unnamed value.
    To compute them, hand the graph to `gcn.evaluate` or to a backend.

    Raises DifferentiationError for names that the graph does not have and for a non-scalar `of`, and
    GraphError for values of another graph.
    """
    targets = {_label(item): _resolve(graph, item) for item in wrt}
    result, gradients = differentiate(graph.copy(outputs=False, updates=False), _resolve(graph, of), targets)
    for label, value in gradients.items():
        result.output(f"gradient({label})", value)
    return prune(result)


def _checked(result: Graph, node: Node, gradients: object) -> Gradients:
    """Return what a gradient rule gave. Raises DifferentiationError unless it fits the operands."""
    rule = f"the gradient rule of {node.op.name}"
    if not isinstance(gradients, tuple) or len(gradients) != len(node.operands):
        raise DifferentiationError(
            f"{rule} returned {gradients!r:.100}",
            mend=f"return a tuple with a value or None for each operand: {len(node.operands)}",
        )
    for position, (operand, gradient) in enumerate(zip(node.operands, gradients, strict=True)):
        if gradient is None:
            continue
        type = result.require(gradient, f"{rule} for operand {position}").type
        if type != operand.type:
            raise DifferentiationError(
                f"{rule} gives {type} for operand {position}, which is {operand.type}",
                mend="sum over axes along which the operand was repeated, and reshape to its shape",
            )
    return gradients


def _between(graph: Graph, of: Value, wrt: Iterable[Value]) -> set[int]:
    """Return the keys of the nodes through which `of` depends on any of `wrt`."""
    sources = {value.key for value in wrt}
    downstream = set(sources)
    for key, node in graph.items():
        if any(operand.key in downstream for operand in node.operands):
            downstream.add(key)
    upstream = {of.key}
    for key, node in sorted(graph.items(), reverse=True):
        if key in upstream:
            upstream.update(operand.key for operand in node.operands)
    return downstream & upstream


def _origin(graph: Graph, key: int) -> Origin:
    """Return the origin of the gradient nodes that belong to a forward node."""
    node = graph.node(key)
    return Origin(
        node.origin.file, node.origin.line, node.origin.layer, f"{node.op.name} gradient", forward=key
    )


def _total(emit: Emitter, partial: dict[Value, list[Value]], value: Value) -> Value:
    """Emit the sum of the gradients that reach a value along different paths."""
    first, *rest = partial[value]
    for other in rest:
        first = emit.by(PATHS)(Add(), first, other)
    partial[value] = [first]
    return first


def _gradient_of(result: Graph, partial: dict[Value, list[Value]], name: str, value: Value) -> Value:
    emit = Emitter(result, _origin(result, value.key))
    if value in partial:
        return _total(emit, partial, value)
    zero = constant(emit.by(ZERO), 0.0, value.type)
    return zero if value.type.is_scalar else emit.by(ZERO)(Broadcast(value.type.shape), zero)


def _label(item: str | Value) -> str:
    return item if isinstance(item, str) else f"%{item.key}"


def _resolve(graph: Graph, item: str | Value) -> Value:
    if isinstance(item, Value):
        return item
    value = graph.inputs.get(item) or graph.outputs.get(item)
    if value is None:
        raise DifferentiationError(
            f"graph {graph.name!r} has no input or output {item!r}",
            facts=[f"inputs: {', '.join(graph.inputs)}", f"outputs: {', '.join(graph.outputs)}"],
        )
    return value
