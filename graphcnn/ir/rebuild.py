"""One graph made out of another, node by node: what every copy, rewrite and clean-up is built on."""

from __future__ import annotations

from graphcnn.ir.graph import Graph, Value
from graphcnn.origin import Origin


class Rebuild:
    """A graph under construction, and what stands in it for the results of each node of the source.

    The source's nodes are taken in order, and each is copied, replaced by other values, or left out.
    """

    def __init__(self, source: Graph, name: str | None = None) -> None:
        self.source = source
        self.result = Graph(source.name if name is None else name)
        self._values: dict[int, tuple[Value, ...]] = {}

    def value(self, old: Value) -> Value:
        """Return what stands for a value of the source."""
        return self._values[old.key][old.index]

    def results(self, key: int) -> tuple[Value, ...]:
        """Return what stands for the results of a node of the source."""
        return self._values[key]

    def operands(self, key: int) -> tuple[Value, ...]:
        """Return what stands for the operands of a node of the source."""
        values = self._values
        return tuple(values[operand.key][operand.index] for operand in self.source.node(key).operands)

    def new_key(self, old: int) -> int | None:
        """Return the key of what stands for the first result of a node; None where nothing does."""
        values = self._values.get(old)
        return None if values is None else values[0].key

    def replace(self, key: int, values: tuple[Value, ...]) -> None:
        """Let values of the result stand for the results of a node of the source."""
        self._values[key] = values

    def copy(self, key: int, origin: Origin) -> None:
        """Append a node of the source to the result, on what stands for its operands."""
        self.replace(key, self.result.add_like(self.source.node(key), self.operands(key), origin))

    def name_roots(self, *, outputs: bool = True, updates: bool = True) -> None:
        """Name what stands for the source's outputs and updates as those of the result."""
        if outputs:
            for label, value in self.source.outputs.items():
                self.result.output(label, self.value(value))
        if updates:
            for label, value in self.source.updates.items():
                self.result.update(label, self.value(value))
