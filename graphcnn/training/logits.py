"""A warning of networks that end with what their loss does itself, or cannot take."""

from __future__ import annotations

from typing import Final

from graphcnn import ops
from graphcnn.ir import Graph, Node, Op
from graphcnn.training.losses import BinaryCrossEntropy, CrossEntropy, Dice, Focal, KLDivergence, Loss
from graphcnn.training.objective import Objective
from graphcnn.training.parts import title
from graphcnn.warned import advise

_RESHAPES: Final = (ops.Reshape, ops.Transpose)
_NAMES: Final[dict[type[Op], str]] = {ops.Sigmoid: "sigmoid", ops.Tanh: "tanh", ops.Relu: "ReLU"}
_LEAVES: Final = {
    "softmax": "those from 0 to 1",
    "sigmoid": "those from 0 to 1",
    "tanh": "those from -1 to 1",
    "ReLU": "none below 0",
}
"""What an activation leaves of all numbers."""


def warn_of_last_activations(graph: Graph, objective: Objective) -> None:
    """Warn of each output that is an activation's, where its loss takes numbers of any size and sign."""
    for head in objective.heads:
        own = _own_activation(head.loss)
        node = graph.node(graph.outputs[head.output].key)
        while isinstance(node.op, _RESHAPES):
            node = graph.node(node.operands[0].key)
        last = _activation(graph, node)
        if not own or not last:
            continue
        place, loss = node.origin, title(head.loss)
        if last == own:
            said = f"{loss} applies the {own} itself: this is a second one, which keeps the loss high"
        else:
            said = f"{loss} takes numbers of any size and sign, of which {last} leaves {_LEAVES[last]}"
        advise(said, mend=f"end the network without {place.layer}", layer=place.layer, place=place)


def _own_activation(loss: Loss) -> str:
    """Return the activation that a loss applies to the outputs, or "" where it takes them as they are."""
    if isinstance(loss, Dice):
        return loss.activation
    if isinstance(loss, CrossEntropy | KLDivergence):
        return "softmax"
    return "sigmoid" if isinstance(loss, BinaryCrossEntropy | Focal) else ""


def _activation(graph: Graph, node: Node) -> str:
    """Return the name of an activation that bounds what a node computes, or ""."""
    if isinstance(node.op, ops.Exp) and isinstance(graph.node(node.operands[0].key).op, ops.LogSoftmax):
        return "softmax"
    return _NAMES.get(type(node.op), "")
