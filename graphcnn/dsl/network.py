"""Networks: where layers and values come together and become a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from graphcnn.dsl.builder import Builder, retyped
from graphcnn.dsl.initializers import Constant, Initializer
from graphcnn.dsl.layers import Layer
from graphcnn.dsl.tensor import Tensor
from graphcnn.errors import GraphcnnError, OptionError
from graphcnn.ir import BATCH, Dim, DType, Graph, Origin, TensorType, Value, users_line, verify


@dataclass(eq=False)
class _InputLayer(Layer):
    """The source of a value: a batch from outside, or a parameter that belongs to no other layer."""

    type: TensorType
    initializer: Initializer | None = None

    def build(self, build: Builder, *values: Value) -> Value:
        if self.initializer is not None:
            return build.parameter("", self.type, self.initializer)
        return build.graph.input(self.name or "input", self.type, origin=build.origin)


def Input(  # noqa: N802 - it reads like a layer
    shape: tuple[int, ...], name: str = "input", *, dtype: DType = "float32", batch: bool = True
) -> Tensor:
    """Return the value that stands for what the network is given.

    shape: the shape of one sample, for example (28, 28, 1). name: the input's name in the graph.
    batch: False for a single tensor that is shared by all samples, without the batch axis.
    """
    return _source(shape, name, dtype, batch=batch, initializer=None)


def Parameter(  # noqa: N802
    shape: tuple[int, ...], name: str, *, initializer: Initializer | None = None, dtype: DType = "float32"
) -> Tensor:
    """Return a trained tensor of the user's own, for example a learned scale. It begins with zeros."""
    return _source(shape, name, dtype, batch=False, initializer=initializer or Constant(0.0))


def _source(
    shape: tuple[int, ...], name: str, dtype: DType, *, batch: bool, initializer: Initializer | None
) -> Tensor:
    origin = users_line()
    sizes: tuple[Dim, ...] = (BATCH, *shape) if batch else tuple(shape)
    try:
        type = TensorType(sizes, dtype)
    except GraphcnnError as error:
        raise error.located(layer=name, file=origin.file, line=origin.line) from None
    return Tensor(_InputLayer(type, initializer, name=name), (), type, origin)


@dataclass(frozen=True, slots=True)
class Traced:
    """A network as a graph, with what gives its parameters and state their first values."""

    graph: Graph
    initializers: Mapping[str, Initializer] = field(default_factory=lambda: MappingProxyType({}))


class Network:
    """A network from input values to an output value.

    inputs, output: values made by `Input` and by layers; several inputs are given as a sequence.
    Raises OptionError where the output depends on an input that is not listed.
    """

    def __init__(self, inputs: Tensor | Sequence[Tensor], output: Tensor, *, name: str = "network") -> None:
        self.inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        self.output = output
        self.name = name
        place = users_line()
        if not isinstance(output, Tensor) or not all(isinstance(x, Tensor) for x in self.inputs):
            raise OptionError(
                "a network goes from values to one value",
                mend="Network(x, y), where x = gcn.Input(shape) and y = layers applied to x",
            ).located(file=place.file, line=place.line)
        self._order = _in_order(output)
        for tensor in self._order:
            if _is_data(tensor) and tensor not in self.inputs:
                raise OptionError(
                    f"the output depends on input {tensor.layer.name!r}, which the network does not list"
                ).located(file=tensor.origin.file, line=tensor.origin.line)

    @property
    def graph(self) -> Graph:
        """The network as a graph for inference; its output is named `output`."""
        return self.trace().graph

    def trace(self, *, training: bool = False, dtype: DType | None = None) -> Traced:
        """Return the network as a graph.

        training: whether Dropout and BatchNorm2d behave as in training.
        dtype: the precision of all floating-point inputs and parameters, instead of that of `Input`.
        """
        build = Builder(Graph(self.name), training=training)
        values: dict[Tensor, Value] = {}
        for source in self.inputs:
            values[source] = self._input(build, source, dtype)
        for tensor in self._order:
            if tensor not in values:
                operands = [values[operand] for operand in tensor.operands]
                values[tensor] = build.apply(_retyped(tensor.layer, dtype), operands, tensor.origin)
        build.graph.output("output", values[self.output])
        return Traced(verify(build.graph), build.initializers)

    @staticmethod
    def _input(build: Builder, source: Tensor, dtype: DType | None) -> Value:
        layer = source.layer
        assert isinstance(layer, _InputLayer)
        place = Origin(source.origin.file, source.origin.line)
        return build.graph.input(layer.name or "input", retyped(layer.type, dtype), origin=place)

    def __repr__(self) -> str:
        inputs = ", ".join(str(x.type) for x in self.inputs)
        return f"<Network {self.name}: {inputs} -> {self.output.type}>"


def _is_data(tensor: Tensor) -> bool:
    return isinstance(tensor.layer, _InputLayer) and tensor.layer.initializer is None


def _retyped(layer: Layer, dtype: DType | None) -> Layer:
    if isinstance(layer, _InputLayer) and dtype:
        return _InputLayer(retyped(layer.type, dtype), layer.initializer, name=layer.name)
    return layer


def _in_order(output: Tensor) -> list[Tensor]:
    """Return all values that the output depends on, operands first. No recursion: networks can be deep."""
    order: list[Tensor] = []
    seen: set[Tensor] = set()
    stack = [(output, False)]
    while stack:
        tensor, finished = stack.pop()
        if finished:
            order.append(tensor)
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            stack += [(operand, False) for operand in reversed(tensor.operands)]
    return order


class Sequential(Layer):
    """Layers one after the other. It is a layer itself, so that blocks can be nested and called.

    name: with a name, the names of the layers inside begin with it: `block1.conv1.filters`.
    """

    kind: ClassVar[str] = "sequential"
    is_scope: ClassVar[bool] = True

    def __init__(self, *layers: Layer, name: str | None = None) -> None:
        self.layers = layers
        self.name = name
        self.transparent = name is None
        self.__post_init__()

    def check(self) -> None:
        if not self.layers:
            raise OptionError(
                "Sequential has no layers", mend="gcn.Sequential(gcn.Conv2d(6, 5), gcn.ReLU(), ...)"
            )
        for position, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise OptionError(
                    f"item {position} of Sequential is {layer!r}, not a layer",
                    mend="use the layer classes, for example gcn.ReLU() rather than gcn.relu",
                )

    def build(self, build: Builder, *values: Value) -> Value:
        for layer in self.layers:
            values = (build.apply(layer, values),)
        return values[0]

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


def as_network(
    network: Network | Layer, input_shape: tuple[int, ...] | None, name: str = "network"
) -> Network:
    """Return a network of a layer (such as a Sequential) and the shape of one sample, or the network itself.

    Raises OptionError where the shape is missing, or given for a network that has inputs of its own.
    """
    if isinstance(network, Network):
        if input_shape is not None:
            raise OptionError("a Network has its inputs' shapes already", mend="leave out input_shape")
        return network
    if not isinstance(network, Layer):
        raise OptionError(
            f"{network!r} is not a network", mend="use gcn.Sequential(...) or gcn.Network(x, y)"
        )
    if input_shape is None:
        raise OptionError(
            f"the input's shape of {type(network).__name__} is not known",
            mend="compile(..., input_shape=(28, 28, 1)): height, width, channels",
        )
    x = Input(tuple(input_shape), name="image")
    return Network(x, network(x), name=network.name or name)
