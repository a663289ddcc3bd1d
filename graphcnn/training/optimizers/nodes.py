"""Nodes that several optimisers are made of."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.ir import Emitter, Graph, Origin, Value


def emitter(graph: Graph, parameter: Value, rule: str) -> Emitter:
    """Return an emitter for the update of one parameter, which belongs to its layer."""
    place = graph.node(parameter.key).origin
    return Emitter(graph, Origin(place.file, place.line, place.layer, rule, forward=parameter.key))


def scaled(emit: Emitter, factor: float, value: Value) -> Value:
    return emit(ops.Multiply(), ops.constant(emit, factor, value.type), value)


def decayed(emit: Emitter, weight_decay: float, parameter: Value, gradient: Value) -> Value:
    """Append the gradient of the loss plus an L2 penalty of ½ weight_decay · w²."""
    return emit(ops.Add(), gradient, scaled(emit, weight_decay, parameter)) if weight_decay else gradient


def shrunk(emit: Emitter, rate: Value, weight_decay: float, parameter: Value) -> Value:
    """Append w - rate · weight_decay · w: decay that does not go through the gradient."""
    if not weight_decay:
        return parameter
    return emit(ops.Subtract(), parameter, emit(ops.Multiply(), rate, scaled(emit, weight_decay, parameter)))


def state(emit: Emitter, label: str, like: Value) -> Value:
    """Append a state of the type of a value."""
    return emit.graph.input(label, like.type, role="state", origin=emit.origin)


def averaged(emit: Emitter, label: str, share: float, new: Value) -> Value:
    """Append share · old + (1 - share) · new as what replaces the state `label`, and return it."""
    old = state(emit, label, new)
    average = emit(ops.Add(), scaled(emit, share, old), scaled(emit, 1.0 - share, new))
    emit.graph.update(label, average)
    return average


def squared(emit: Emitter, value: Value) -> Value:
    return emit(ops.Multiply(), value, value)


def moved(emit: Emitter, name: str, parameter: Value, rate: Value, direction: Value) -> None:
    """Append w - rate · direction as what replaces the parameter."""
    emit.graph.update(name, emit(ops.Subtract(), parameter, emit(ops.Multiply(), rate, direction)))
