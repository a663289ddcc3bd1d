"""The name of every value of a graph in the article's notation.

Filters and weights are w, biases b, what a convolution or a dense layer computes x (Eq. 7), what any other
layer hands on o (Eq. 8), the error E (Eq. 9); their layer stands above. The gradient of x is its delta
(Eq. 15), any other one ∂E/∂o. A value without such a role is v with its node's key above.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from graphcnn.inspection.labels import shown
from graphcnn.ir import BATCH, Graph, Input, Node, Value
from graphcnn.ops import (
    Add,
    Broadcast,
    Cast,
    ClipMask,
    Constant,
    Convolve2d,
    Correlate2d,
    Count,
    Matmul,
    ReluMask,
    Rot180,
    Transpose,
)
from graphcnn.ops.notation import ROT180, as_text, number
from graphcnn.transform.differentiate import PATHS, START, ZERO

LONGEST_SYMBOL = 160
LETTERS = {"filters": "w", "weights": "w", "bias": "b", "scale": r"\gamma", "shift": r"\beta"}
DELTA_BASE = "x"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A quantity in LaTeX, in two halves: an index stands between them."""

    before: str
    after: str = ""

    def __str__(self) -> str:
        return self.before + self.after

    def at(self, index: str) -> str:
        return f"{self.before}_{{{index}}}{self.after}"


def named(letter: str, name: str) -> Symbol:
    """Return a letter with a name above it, as in w^conv1."""
    return Symbol(rf"{letter}^{{\text{{{_shortened(name)}}}}}")


def _shortened(name: str) -> str:
    return as_text(shown(name))


class Quantities:
    """The symbols of a graph's values.

    targets: for the value that is the gradient of a forward node's operand, that node's key and the position.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._symbols: dict[Value, Symbol] = {}
        self.targets: dict[Value, tuple[int, int]] = {}
        self._name_forward()
        self._name_gradients()
        for label, value in graph.updates.items():
            held = self.result(graph.inputs[label])
            self._symbols.setdefault(value, Symbol(rf"{held}_{{\text{{new}}}}"))

    def result(self, value: Value) -> Symbol:
        """Return the symbol of a value where it is computed."""
        known = self._symbols.get(value)
        if known is not None:
            return known
        key = f"{value.key}.{value.index}" if value.index else f"{value.key}"
        return Symbol(f"v^{{({key})}}")

    def operand(self, value: Value) -> Symbol:
        """Return the symbol of a value where it is used: what hardly computes is written out."""
        node = self._graph.node(value.key)
        if value in self._symbols and not isinstance(node.op, Constant):
            return self._symbols[value]
        symbol = self._written_out(node)
        return symbol if symbol and len(str(symbol)) <= LONGEST_SYMBOL else self.result(value)

    def _written_out(self, node: Node) -> Symbol | None:
        if isinstance(node.op, Constant):
            text = number(node.op.value)
            return Symbol(f"({text})" if text.startswith("-") else text)
        if isinstance(node.op, Count):
            return Symbol(node.op.latex(node.operands[0].type).removeprefix("$y = "))
        if not isinstance(node.op, Broadcast | Cast | Rot180 | Transpose | ReluMask | ClipMask):
            return None
        operand = self.operand(node.operands[0])
        if isinstance(node.op, Rot180):
            return Symbol(rf"{ROT180}\{{{operand}\}}")
        if isinstance(node.op, Transpose):
            return Symbol(rf"({operand})^{{\mathsf{{T}}}}") if node.op.turns_matrices else None
        return Symbol(f"f'({operand})") if isinstance(node.op, ReluMask | ClipMask) else operand

    def _name_forward(self) -> None:
        last: dict[str, int] = {}
        contracting = set()
        for key, node in self._graph.items():
            layer = node.origin.layer
            if isinstance(node.op, Input):
                self._symbols[self._graph.results(key)[0]] = _of_input(node.op)
            elif node.origin.forward is None and layer and layer != "loss":
                last[layer] = key
                if isinstance(node.op, Correlate2d | Convolve2d | Matmul):
                    contracting.add(layer)
        for layer, key in last.items():
            letter = DELTA_BASE if layer in contracting else "o"
            result, *others = self._graph.results(key)
            if not isinstance(self._graph.node(key).op, Constant):
                self._symbols[result] = named(letter, layer)
            for other in others:
                if other.type.shape == result.type.shape:
                    self._symbols[other] = named(r"\text{winner}", layer)
        if "loss" in self._graph.outputs:
            self._symbols.setdefault(self._graph.outputs["loss"], Symbol("E"))

    def _name_gradients(self) -> None:
        """Name each gradient; of a value that is used along several paths, their sum alone."""
        found = list(self._found_gradients())
        totals = {target: value for value, target, is_total in found if is_total}
        shares = Counter(target for _, target, is_total in found if not is_total)
        for value, target, _ in found:
            is_whole = totals[target] == value if target in totals else shares[target] == 1
            if is_whole and value not in self._symbols:
                self._symbols[value] = self.gradient(target)

    def gradient(self, target: Value) -> Symbol:
        """Return the symbol of the gradient of the error with respect to a value.

        What is only added to something has the gradient of the sum.
        """
        while (total := self._sum_of(target)) is not None:
            target = total
        symbol = self.result(target)
        letter, _, rest = symbol.before.partition("^")
        if letter == DELTA_BASE:
            return replace(symbol, before=rf"\delta^{rest}")
        return Symbol(rf"\frac{{\partial E}}{{\partial {symbol.before}", symbol.after + "}")

    def _sum_of(self, value: Value) -> Value | None:
        """Return the sum that a value goes into, if it goes nowhere else in the forward pass."""
        users = [key for key in self._graph.users(value) if self._graph.node(key).origin.forward is None]
        if len(users) != 1 or not isinstance(self._graph.node(users[0]).op, Add):
            return None
        total = self._graph.results(users[0])[0]
        return total if total.type == value.type else None

    def _found_gradients(self) -> Iterator[tuple[Value, Value, bool]]:
        """Yield each value that is a gradient, of which value, and whether it is the sum over all paths.

        A rule's nodes belong to one forward node; those that others use are the gradients of its operands.
        (A rule that leaves a gradient to its operands as it is, such as that of `add`, has no nodes.)
        """
        if self._is_differentiated_again():
            return
        groups: dict[int, list[int]] = {}
        for key, node in self._graph.items():
            if node.origin.forward is None:
                continue
            if node.origin.rule in (START, PATHS, ZERO):
                forward = self._graph.results(node.origin.forward)[0]
                if node.types[0] == forward.type:
                    yield self._graph.results(key)[0], forward, True
            else:
                groups.setdefault(node.origin.forward, []).append(key)
        depends = self._trained()
        for forward_key, keys in groups.items():
            operands = list(enumerate(self._graph.node(forward_key).operands))
            operands = [(p, operand) for p, operand in operands if operand.key in depends] or operands
            leaving = self._leaving(set(keys))
            for kind in dict.fromkeys(value.type for value in leaving):
                gradients = [value for value in leaving if value.type == kind]
                fitting = [(p, operand) for p, operand in operands if operand.type == kind]
                # What others share comes before the gradient that it is a step of.
                for value, (position, operand) in zip(gradients[-len(fitting) :], fitting, strict=False):
                    self.targets[value] = forward_key, position
                    yield value, operand, False

    def _is_differentiated_again(self) -> bool:
        """Whether there are gradients of gradients: a forward node then has those of several passes."""
        origins = (node.origin.forward for _, node in self._graph.items())
        return any(self._graph.node(key).origin.forward is not None for key in origins if key is not None)

    def _trained(self) -> set[int]:
        """Return the keys of the nodes that depend on what the gradients are with respect to."""
        labels = [label for label in self._graph.inputs if f"gradient({label})" in self._graph.outputs]
        sources = labels or list(self._graph.inputs_with_role("parameter"))
        found = {self._graph.inputs[label].key for label in sources}
        for key, node in self._graph.items():
            if any(operand.key in found for operand in node.operands):
                found.add(key)
        return found

    def _leaving(self, keys: set[int]) -> list[Value]:
        """Return the values of a rule's nodes that are used outside of it, in order."""
        roots = set(self._graph.roots())
        return [
            value
            for key in sorted(keys)
            for value in self._graph.results(key)[:1]
            if value in roots or not keys.issuperset(self._graph.users(value))
        ]


def _of_input(op: Input) -> Symbol:
    layer, _, part = op.label.rpartition(".")
    if layer and part in LETTERS:
        return named(LETTERS[part], layer)
    if layer and op.role == "state":
        return named(rf"\text{{{_shortened(part)}}}", layer)
    if op.label == "target":
        return Symbol("t")
    if op.label.startswith("target."):
        return named("t", op.label.removeprefix("target."))
    if op.role == "setting" and op.label == "learning_rate":
        return Symbol(r"\eta")
    if op.role == "data" and BATCH in op.type.shape:
        return named("o", op.label)
    return Symbol(rf"\text{{{_shortened(op.label)}}}")
