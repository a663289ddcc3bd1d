"""A whole network as a layer: applied to values, after other layers; its own layers keep their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.base import Layer
from graphcnn.errors import OptionError, ShapeError
from graphcnn.ir import DType, TensorType, Value

if TYPE_CHECKING:
    from graphcnn.dsl.network import Network


@dataclass(eq=False)
class AppliedNetwork(Layer):
    """A network of one output, applied. Its auxiliary outputs are outputs of the training graph with it."""

    network: Network
    _retyped: dict[tuple[Layer, DType], Layer] = field(default_factory=dict, init=False, repr=False)

    kind: ClassVar[str] = "network"
    transparent = True

    def check(self) -> None:
        if len(self.network.outputs) > 1:
            raise OptionError(
                "the network has several outputs, and a layer has one",
                mend="gcn.Network(x, network(layers(x))); x = gcn.Input(shape), layers are those in front",
            )

    @property
    def title(self) -> str:
        return self.network.name

    def build(self, build: Builder, *values: Value) -> Value:
        dtype = precision_of(self.network, [value.type for value in values])
        held = dict(zip(self.network.inputs, values, strict=True))
        for tensor in self.network.order(training=build.training):
            if tensor not in held:
                layer = self._in_precision(tensor.layer, dtype)
                held[tensor] = build.apply(layer, [held[each] for each in tensor.operands], tensor.origin)
        for name, output in self.network.auxiliary.items() if build.training else ():
            build.graph.output(name, held[output])
        result: Value = held[self.network.output]
        return result

    def _in_precision(self, layer: Layer, dtype: DType | None) -> Layer:
        """Return the layer, of a parameter of the user's own one that makes it in this precision."""
        from graphcnn.dsl.network import retyped_layer

        return self._retyped.setdefault((layer, dtype), retyped_layer(layer, dtype)) if dtype else layer


def precision_of(network: Network, types: Sequence[TensorType]) -> DType | None:
    """Return what a network computes in where it is applied to such values; None where it is its own.

    Raises OptionError for another number of values than it has inputs, ShapeError for other shapes.
    """
    taken = network.inputs
    if len(types) != len(taken):
        raise OptionError(
            f"the network has {len(taken)} inputs, and is applied to {len(types)} values",
            mend=f"network({', '.join(source.layer.title for source in taken)})",
        )
    dtype: DType | None = None
    for source, type in zip(taken, types, strict=True):
        wanted = source.type.with_dtype(type.dtype) if source.type.is_float and type.is_float else source.type
        if type != wanted:
            raise ShapeError(
                f"the network takes {source.type}, and is applied to {type}",
                mend=f"make the network for it: input_shape={type.shape[1:]}"
                if len(type.shape) == len(source.shape)
                else "bring the values to the shape that it takes",
            )
        dtype = type.dtype if type != source.type else dtype
    return dtype
