"""The first node of a computation that produced NaN or infinity: where that began, and what may mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, TypeAlias

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import observe
from graphcnn.ir import Graph, Input, Node, Value
from graphcnn.visible import visible

Phase: TypeAlias = Literal["input", "forward", "gradient"]


@dataclass(frozen=True, slots=True)
class NonFinite:
    """A node whose operands are finite and whose result is not.

    key: in the graph that was computed. op: its name; the input's label for an input. layer, file, line:
    of the user's script. rule: the equation or rule that made the node. phase: whether it was given,
    computed in the forward pass, or for the gradient or the update. kind: "NaN", "infinity" or both. count,
    size: how many of how many elements. place: the index of the first. ranges: what the operands hold.
    mend: what the user can do about it.
    """

    key: int
    op: str
    layer: str
    file: str
    line: int
    rule: str
    phase: Phase
    kind: str
    count: int
    size: int
    place: tuple[int, ...]
    ranges: tuple[str, ...]
    mend: str

    @property
    def facts(self) -> tuple[str, ...]:
        """Lines that show the evidence."""
        where = f", at first at {list(self.place)}" if self.place else ""
        return (f"{self.count:,} of {self.size:,} elements{where}", *self.ranges)

    @property
    def problem(self) -> str:
        """What happened, in one sentence without the place."""
        rule = f" ({self.rule})" if self.rule else ""
        if self.phase == "input":
            return f"{self.op!r} holds {self.kind}"
        passes = {"forward": "in the forward pass", "gradient": "in the backward pass"}[self.phase]
        return f"the first {self.kind} comes from %{self.key} {self.op}{rule}, {passes}"

    def __str__(self) -> str:
        place = f"{PurePath(self.file).name}:{self.line}" if self.file else ""
        where = f"{self.layer} ({place})" if self.layer and place else self.layer or place
        lines = [f"{where}: {self.problem}" if where else self.problem]
        lines += [*(f"  {fact}" for fact in self.facts), f"  Mend: {self.mend}"]
        return "\n".join(map(visible, lines))


def first_nonfinite(graph: Graph, values: Mapping[Value, Array]) -> NonFinite | None:
    """Return the first node, in the order of computation, of which any element is not finite.

    Whatever comes before it is finite, its operands too; so it is there that NaN or infinity began.
    """
    for key, node in graph.items():
        operands = [values[operand] for operand in node.operands]
        found = nonfinite_at(graph, key, operands, [values[value] for value in graph.results(key)])
        if found is not None:
            return found
    return None


def first_nonfinite_computed(graph: Graph, inputs: Mapping[str, object]) -> NonFinite | None:
    """Return the same for a graph that the reference backend computes up to there, and keeps no values of."""
    found: list[NonFinite] = []

    def look(key: int, operands: Sequence[Array], results: Sequence[Array]) -> bool:
        node = nonfinite_at(graph, key, operands, results)
        if node is not None:
            found.append(node)
        return node is not None

    with np.errstate(all="ignore"):
        observe(graph, look, **inputs)
    return found[0] if found else None


def nonfinite_at(
    graph: Graph, key: int, operands: Sequence[Array], results: Sequence[Array]
) -> NonFinite | None:
    """Return what there is to say about a node with results that are not finite; None where they are."""
    for array in results:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            node = graph.node(key)
            return _described(key, node, array, operands, _mend(graph, node, operands))
    return None


def _described(key: int, node: Node, array: Array, operands: Sequence[Array], mend: str) -> NonFinite:
    broken = ~np.isfinite(array)
    kinds = (("NaN", np.isnan(array).any()), ("infinity", np.isinf(array).any()))
    phase: Phase = "forward" if node.origin.forward is None else "gradient"
    is_input = isinstance(node.op, Input)
    return NonFinite(
        key=key,
        op=node.op.label if isinstance(node.op, Input) else node.op.name,
        layer=node.origin.layer,
        file=node.origin.file,
        line=node.origin.line,
        rule=node.origin.rule,
        phase="input" if is_input else phase,
        kind=" and ".join(name for name, found in kinds if found),
        count=int(broken.sum()),
        size=array.size,
        place=tuple(map(int, np.argwhere(broken)[0])) if array.ndim else (),
        ranges=tuple(
            f"its operand %{value.key} is from {_number(given.min())} to {_number(given.max())}"
            for value, given in zip(node.operands, operands, strict=True)
            if given.size
        ),
        mend=mend,
    )


def _number(value: object) -> str:
    return f"{float(value):.4g}" if isinstance(value, np.floating) else str(value)


def _mend(graph: Graph, node: Node, operands: Sequence[Array]) -> str:
    """Return what is most likely to help, by the kind of node and by what it was given."""
    if isinstance(node.op, Input):
        return _GIVEN[node.op.role]
    name = node.op.name
    if name == "divide" and (operands[1] == 0).any():
        return "the divisor holds 0: add a small constant to it, such as 1e-6"
    if name == "log" and (operands[0] <= 0).any():
        return "the logarithm is taken of 0 or less: add a small constant, or gcn.maximum(x, 1e-6)"
    if name == "sqrt" and (operands[0] < 0).any():
        return "the root is taken of negative numbers: square them, or gcn.maximum(x, 0.0)"
    if name == "power" and (operands[0] <= 0).any():
        return "the power is taken of 0 or less: keep the base above 0, for example with gcn.maximum(x, 1e-6)"
    if name == "exp":
        return "the exponent is too large: scale what goes in, or use gcn.softmax or gcn.log_softmax"
    huge = [
        graph.node(operand.key).op
        for operand, array in zip(node.operands, operands, strict=True)
        if array.dtype.kind == "f" and np.abs(array).max(initial=0) > _HUGE
    ]
    if any(isinstance(op, Input) and op.role == "data" for op in huge):
        return "scale the data first, for example images to 0..1: it is too large to compute with"
    if huge:
        return (
            "compile with a lower learning rate; scale the images to 0..1, draw smaller first parameters, or "
            "normalise with gcn.BatchNorm2d: numbers have grown beyond the precision"
        )
    return "look at the operands' values: model.inspect(x, y)"


_HUGE = 1e12
_GIVEN = {
    "data": "drop these samples, or replace the values: np.nan_to_num(images)",
    "parameter": "the parameter was not finite before the step: load or assign finite numbers, or train "
    "anew with a lower learning rate",
    "state": "this state of the training was not finite before the step: load or train it anew",
    "frozen": "the frozen parameter is not finite: load or assign finite numbers",
    "setting": "give a finite number",
    "sample": "these are whole numbers",
}
