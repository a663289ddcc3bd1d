"""The builder: what a layer writes its nodes, parameters and state with while a network becomes a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from graphcnn.dsl.initializers import Constant, Initializer
from graphcnn.errors import GraphcnnError, OptionError
from graphcnn.ir import DType, Graph, Op, Origin, TensorType, Value

if TYPE_CHECKING:
    from graphcnn.dsl.layers import Layer


@dataclass(slots=True)
class _Names:
    """The names given so far in one scope: a number per kind of layer, and every layer by identity."""

    counts: Counter[str] = field(default_factory=Counter)
    of_layer: dict[int, str] = field(default_factory=dict)
    scopes: dict[int, _Names] = field(default_factory=dict)

    def name(self, layer: Layer) -> str:
        known = self.of_layer.get(id(layer))
        if known is not None:
            return known
        name = layer.name
        if name is None:
            self.counts[layer.kind] += 1
            name = f"{layer.kind}{self.counts[layer.kind]}"
        if name in self.of_layer.values():
            raise OptionError(f"two layers have the name {name!r}", mend="give each layer a name of its own")
        self.of_layer[id(layer)] = name
        return name


@dataclass(frozen=True, slots=True)
class Builder:
    """Appends nodes on behalf of the layer that is being built: `build(Relu(), x)`.

    training: whether the graph is for training; Dropout and BatchNorm2d differ in it.
    """

    graph: Graph
    training: bool = False
    origin: Origin = field(default_factory=Origin)
    initializers: dict[str, Initializer] = field(default_factory=dict)
    names: _Names = field(default_factory=_Names)
    prefix: str = ""

    def __call__(self, op: Op, *operands: Value) -> Value:
        return self.graph.add(op, *operands, origin=self.origin)

    def all(self, op: Op, *operands: Value) -> tuple[Value, ...]:
        """Append a node and return all of its results."""
        return self.graph.add_all(op, *operands, origin=self.origin)

    def by(self, rule: str) -> Builder:
        """Return a builder whose nodes name this equation."""
        return replace(self, origin=replace(self.origin, rule=rule))

    def apply(self, layer: Layer, values: Sequence[Value], origin: Origin | None = None) -> Value:
        """Build a layer on values. Applied again, the same layer uses the same parameters.

        origin: the line that applies it; without one, the line that made the layer.
        """
        place = origin or layer.origin
        try:
            if layer.transparent:
                return layer.build(self, *values)
            name = self.prefix + self.names.name(layer)
            inner = replace(self, origin=Origin(place.file, place.line, name))
            if layer.is_scope:
                names = self.names.scopes.setdefault(id(layer), _Names())
                inner = replace(inner, names=names, prefix=f"{name}.")
            return layer.build(inner, *values)
        except GraphcnnError as error:
            raise error.located(
                layer=layer.name or type(layer).__name__, file=place.file, line=place.line
            ) from None

    def parameter(self, label: str, type: TensorType, initializer: Initializer) -> Value:
        """Return the layer's parameter of this label, for example `filters` of `conv1`."""
        return self._held(label, type, initializer, trained=True)

    def state(self, label: str, type: TensorType, initial: Initializer | None = None) -> Value:
        """Return a state of the layer that training replaces but no gradient changes; 0 at first."""
        return self._held(label, type, initial or Constant(0.0), trained=False)

    def update(self, state: Value, replacement: Value) -> None:
        """Let a value replace a state after the step. A layer applied again updates on from there."""
        label = next(label for label, value in self.graph.inputs.items() if value == state)
        self.graph.update(label, replacement)

    def _held(self, label: str, type: TensorType, initializer: Initializer, *, trained: bool) -> Value:
        full = f"{self.origin.layer}.{label}" if label else self.origin.layer
        known = self.graph.inputs.get(full)
        if known is None:
            self.initializers[full] = initializer
            role = "parameter" if trained else "state"
            return self.graph.input(full, type, role=role, origin=self.origin)  # type: ignore[arg-type]
        if known.type != type:
            raise OptionError(
                f"{full} is shared by two uses of the layer that need different shapes",
                facts=[f"first use {known.type}", f"this use {type}"],
                mend="make one layer for each input shape",
            )
        return known


def retyped(type: TensorType, dtype: DType | None) -> TensorType:
    """Return the type with another floating-point precision, where one is asked for."""
    return type.with_dtype(dtype) if dtype and type.is_float else type
