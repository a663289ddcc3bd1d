"""Networks: where layers and values come together and become a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn, cast, overload

from graphcnn.arguments import known_arguments
from graphcnn.arrays import Array
from graphcnn.dsl.applied import AppliedNetwork, precision_of
from graphcnn.dsl.builder import TARGET_SHARE, Builder, retyped
from graphcnn.dsl.initializers import Constant, Given, Initializer
from graphcnn.dsl.layers.arguments import check_initializer, is_word
from graphcnn.dsl.layers.base import Layer, no_attribute
from graphcnn.dsl.misplaced import as_a_network, in_sequential
from graphcnn.dsl.tensor import Tensor, at_users_line
from graphcnn.errors import GraphcnnError, OptionError, ShapeError, UnknownPlaceError, meant
from graphcnn.ir import BATCH, DType, Graph, Origin, TensorType, Value, users_line, verify
from graphcnn.ops.attributes import is_int
from graphcnn.visible import visible

OUTPUT = "output"
"""The name of a network's output in its graph."""


ATTRIBUTES: Final = ("inputs", "outputs", "auxiliary", "name")
"""What a network has."""


@dataclass(eq=False)
class _InputLayer(Layer):
    """The source of a value: a batch, or what belongs to no other layer, a parameter or a constant."""

    type: TensorType
    initializer: Initializer | None = None
    is_trained: bool = True

    def build(self, build: Builder, *values: Value) -> Value:
        assert self.initializer is not None, "a network makes its data inputs itself, in the user's order"
        if self.is_trained:
            return build.parameter("", self.type, self.initializer)
        return build.state("", self.type, self.initializer)


@known_arguments
def Input(  # noqa: N802 - it reads like a layer
    shape: Sequence[int], name: str = "input", *, dtype: DType = "float32", batch: bool = True
) -> Tensor:
    """Return the value that stands for what the network is given.

    shape: the shape of one sample, for example (28, 28, 1). name: the input's name in the graph.
    batch: False for a single tensor that is shared by all samples, without the batch axis.
    """
    return _source(shape, name, dtype, batch=batch, initializer=None)


@known_arguments
def Parameter(  # noqa: N802
    shape: Sequence[int], name: str, *, initializer: Initializer | None = None, dtype: DType = "float32"
) -> Tensor:
    """Return a trained tensor of the user's own, for example a learned scale. It begins with zeros."""
    return _source(shape, name, dtype, batch=False, initializer=initializer or Constant(0.0))


def stored(array: Array, name: str, *, is_trained: bool) -> Tensor:
    """Return a value that is an array at first: a parameter of this name, or a constant.

    Raises ShapeError for an element type that graphs do not have, and for an axis without elements.
    """
    type = TensorType(array.shape, array.dtype.name)  # type: ignore[arg-type] # it is checked there
    return Tensor(_InputLayer(type, Given(array), is_trained, name=name), (), type, users_line())


def _source(
    shape: Sequence[int], name: str, dtype: DType, *, batch: bool, initializer: Initializer | None
) -> Tensor:
    origin = users_line()
    try:
        if not is_word(name):
            raise OptionError(f"name={name!r} is not a word", mend='gcn.Input(shape, name="image")')
        if name == OUTPUT:
            raise OptionError(f"the name {name!r} is the output's", mend='gcn.Input(shape, name="image")')
        sizes = sample_shape(shape)
        type = TensorType((BATCH, *sizes) if batch else sizes, dtype)
        if initializer is not None:
            check_initializer(initializer)
    except GraphcnnError as error:
        layer = name if isinstance(name, str) else ""
        raise error.located(layer=layer, file=origin.file, line=origin.line) from None
    return Tensor(_InputLayer(type, initializer, name=name), (), type, origin)


def sample_shape(shape: object) -> tuple[int, ...]:
    """Return the shape of one sample as a tuple. Raises ShapeError unless it is a sequence of sizes."""
    if not isinstance(shape, tuple | list):
        raise ShapeError(
            f"the shape {shape!r} is not a tuple of sizes",
            mend=(
                f"({shape}, {shape}, 1) for images: height, width, channels; ({shape},) for rows of numbers"
                if is_int(shape, 1)
                else "(28, 28, 1), for example: height, width, channels"
            ),
        )
    wrong = [size for size in shape if not is_int(size, 1)]
    if wrong:
        rest = tuple(shape[1:])
        is_batch = wrong[0] is None and len(wrong) == 1 and shape[0] is None and rest
        raise ShapeError(
            f"{wrong[0]!r} in the shape {tuple(shape)} is not a size of at least 1",
            facts=["the batch axis is not part of it"],
            mend=f"leave out the batch axis: {rest}"
            if is_batch
            else "give whole numbers, for example (28, 28, 1): height, width, channels",
        )
    return tuple(shape)


@dataclass(frozen=True, slots=True)
class Traced:
    """A network as a graph, with what gives its parameters and state their first values.

    owners: the layers that each parameter and state is in, by its name, the outermost one first.
    """

    graph: Graph
    initializers: Mapping[str, Initializer] = field(default_factory=lambda: MappingProxyType({}))
    owners: Mapping[str, tuple[Layer, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def frozen(self) -> frozenset[str]:
        """The names of parameters and states that a layer around them does not let be trained, as of now."""
        return frozenset(
            name for name, layers in self.owners.items() if not all(layer.trainable for layer in layers)
        )


@known_arguments
class Network:
    """A network from input values to an output value, or to several.

    inputs: a value made by `Input`, or a sequence of them. output: a value that layers made, or several by
    name: {"digit": y, "angle": z}; a sequence of them is named `output1`, `output2` and so on.
    auxiliary: further outputs by name that only training has, on the way to the only output; their targets
    are its own, and their losses weigh 0.3.
    Raises OptionError where an output depends on an input that is not listed.
    """

    def __init__(
        self,
        inputs: Tensor | Sequence[Tensor],
        output: Tensor | Mapping[str, Tensor] | Sequence[Tensor],
        *,
        auxiliary: Mapping[str, Tensor] | None = None,
        name: str = "network",
    ) -> None:
        self.inputs = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        self.outputs = _named_outputs(output)
        self.auxiliary = dict(auxiliary or {})
        self.name = name
        values = [*self.inputs, *self.outputs.values(), *self.auxiliary.values()]
        if not all(isinstance(value, Tensor) for value in values) or not self.outputs:
            raise at_users_line(
                OptionError(
                    "a network goes from values to one value, or to several by name",
                    mend="gcn.Network(x, y), where x = gcn.Input(shape) and y = layers applied to x",
                )
            )
        _check_output_names([*self.outputs, *self.auxiliary], has_auxiliary=bool(self.auxiliary))
        for tensor in self.inputs:
            if not _is_data(tensor):
                raise at_users_line(
                    OptionError(
                        f"the result of {tensor.layer.title} is not an input",
                        mend="list values that gcn.Input made",
                    )
                )
        names = [tensor.layer.name for tensor in self.inputs]
        if len(set(names)) < len(names):
            raise at_users_line(
                OptionError(
                    f"two inputs have one name: {', '.join(map(repr, names))}",
                    mend='name them: gcn.Input(shape, name="left")',
                )
            )
        self._order = _in_order(list(self.outputs.values()))
        self._training_order = _in_order([*self.outputs.values(), *self.auxiliary.values()])
        for tensor in self._training_order:
            if _is_data(tensor) and tensor not in self.inputs:
                raise OptionError(
                    f"the output depends on input {tensor.layer.name!r}, which the network does not list",
                    facts=[f"listed: {', '.join(map(repr, names)) or 'none'}"],
                    mend="gcn.Network((x, y), output): list every input",
                ).located(file=tensor.origin.file, line=tensor.origin.line)

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __setattr__(self, name: str, value: object) -> None:
            """Raise OptionError, at the user's line, for an attribute that would be set and never read."""
            if not name.startswith("_") and name not in ATTRIBUTES:
                mend = meant(name, ATTRIBUTES, "leave it out: a network has no settings")
                if name in ("trainable", "requires_grad", "frozen"):
                    mend = 'layer.trainable = False before gcn.compile, or model.freeze("conv*")'
                raise at_users_line(
                    OptionError(
                        f"a Network has no attribute {visible(name)!r}",
                        facts=[f"it has: {', '.join(ATTRIBUTES)}"],
                        mend=mend,
                    )
                )
            super().__setattr__(name, value)

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError, with what has a name of another framework, or of a model, here."""
            raise no_attribute(self, name)

    def __call__(self, *values: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the network's output for other values than its inputs, of the same shapes.

        Of several outputs, a dictionary by name. Its layers have the same names as in the network alone, so
        that its weights fit. Raises ShapeError for values of other shapes, OptionError for what is no value.
        """
        if not values or not all(isinstance(value, Tensor) for value in values):
            raise at_users_line(
                OptionError(
                    "a Network is called on values of a network, not on arrays",
                    mend="gcn.compile(network).predict(images)",
                )
            )
        if len(self.outputs) == 1:
            return AppliedNetwork(self)(*values)
        try:
            if precision_of(self, [value.type for value in values]) is not None:
                raise OptionError(
                    f"the network {self.name!r} has several outputs, in another precision than the values",
                    mend="leave their precision to gcn.compile(dtype=)",
                )
        except GraphcnnError as error:
            raise at_users_line(error) from None
        held = dict(zip(self.inputs, values, strict=True))
        for tensor in self._order:
            operands = tuple(held[operand] for operand in tensor.operands)
            held.setdefault(tensor, Tensor(tensor.layer, operands, tensor.type, tensor.origin))
        return {name: held[output] for name, output in self.outputs.items()}

    def __getitem__(self, index: object) -> NoReturn:
        """Raise OptionError, at the user's line: a network is no sequence of layers."""
        raise at_users_line(
            OptionError(
                "a Network is a graph, and has no layers in an order",
                mend="network.inputs and network.outputs; gcn.compile(network).summary() lists the layers",
            )
        )

    @property
    def output(self) -> Tensor:
        """The only output. Raises OptionError where there are several, which are in `outputs`."""
        if len(self.outputs) > 1:
            raise at_users_line(
                OptionError(
                    "this network has several outputs", mend=f"network.outputs[{next(iter(self.outputs))!r}]"
                )
            )
        return next(iter(self.outputs.values()))

    @property
    def graph(self) -> Graph:
        """The network as a graph for inference; an only output is named `output`."""
        return self.trace().graph

    def order(self, *, training: bool) -> list[Tensor]:
        """Return all values that the outputs depend on, operands first; in training auxiliary ones, too."""
        return self._training_order if training else self._order

    def trace(self, *, training: bool = False, dtype: DType | None = None) -> Traced:
        """Return the network as a graph.

        training: whether Dropout and BatchNorm2d behave as in training.
        dtype: the precision of all floating-point inputs and parameters, instead of that of `Input`.
        """
        build = Builder(Graph(self.name), training=training)
        values: dict[Tensor, Value] = {}
        for source in self.inputs:
            values[source] = self._input(build, source, dtype)
        for tensor in self.order(training=training):
            if tensor not in values:
                operands = [values[operand] for operand in tensor.operands]
                values[tensor] = build.apply(retyped_layer(tensor.layer, dtype), operands, tensor.origin)
        for name, output in (self.outputs | self.auxiliary if training else self.outputs).items():
            build.graph.output(name, values[output])
        return Traced(verify(build.finish()), build.initializers, build.owners)

    @staticmethod
    def _input(build: Builder, source: Tensor, dtype: DType | None) -> Value:
        layer = source.layer
        assert isinstance(layer, _InputLayer)
        assert layer.name is not None
        place = Origin(source.origin.file, source.origin.line)
        return build.graph.input(layer.name, retyped(layer.type, dtype), origin=place)

    def __repr__(self) -> str:
        inputs = ", ".join(str(x.type) for x in self.inputs)
        outputs = ", ".join(
            str(output.type) if name == OUTPUT else f"{name}: {output.type}"
            for name, output in self.outputs.items()
        )
        return f"<Network {visible(self.name)}: {inputs} -> {visible(outputs)}>"


def _is_data(tensor: Tensor) -> bool:
    return isinstance(tensor.layer, _InputLayer) and tensor.layer.initializer is None


def retyped_layer(layer: Layer, dtype: DType | None) -> Layer:
    """Return a layer; where it makes a parameter of the user's own, one that makes it in this precision."""
    if isinstance(layer, _InputLayer) and dtype:
        return _InputLayer(retyped(layer.type, dtype), layer.initializer, layer.is_trained, name=layer.name)
    return layer


def _named_outputs(output: object) -> dict[str, Tensor]:
    """Return the outputs by name; an only one is `output`."""
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(output, tuple | list) and len(output) > 1:
        return {f"{OUTPUT}{number}": each for number, each in enumerate(output, 1)}
    (only,) = output if isinstance(output, tuple | list) and output else (output,)
    return {OUTPUT: only}


def _check_output_names(names: Sequence[object], *, has_auxiliary: bool) -> None:
    """Raise OptionError for names of outputs that are no words or taken, and for too many main outputs."""
    for name in names:
        if not is_word(name) or name in ("loss", TARGET_SHARE) or names.count(name) > 1:
            raise at_users_line(
                OptionError(
                    f"an output cannot have the name {name!r:.60}",
                    mend='give each output a word of its own: {"digit": y, "angle": z}',
                )
            )
    if has_auxiliary and names[0] != OUTPUT:
        raise at_users_line(
            OptionError(
                "auxiliary outputs help to train one output, and this network has others",
                mend="gcn.Network(x, y, auxiliary={...}), or make all of them outputs",
            )
        )


def _in_order(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Return all values that the outputs depend on, operands first. No recursion: networks can be deep."""
    order: list[Tensor] = []
    seen: set[Tensor] = set()
    stack = [(output, False) for output in reversed(outputs)]
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

    layers: the first may be `gcn.Input(shape)`, which says the shape of one sample; it is then in `input`,
    and not in `layers`. Of a first layer that is such a `Sequential`, it is that one's. A `Network` of one
    output may be among them, such as one of the zoo behind layers of augmentation.
    name: with a name, the names of the layers inside begin with it: `block1.conv1.filters`.
    trainable: as of any layer; it holds for all inside.
    As of any sequence there are `len(network)`, `network[0]`, `network[:-1]`, and going through its layers.
    """

    kind: ClassVar[str] = "sequential"
    is_scope: ClassVar[bool] = True
    is_made_with_values: ClassVar[bool] = True

    def __init__(
        self, *layers: Layer | Network | Tensor, name: str | None = None, trainable: bool = True
    ) -> None:
        first = layers[0] if layers else None
        self.input = first if isinstance(first, Tensor) and _is_data(first) else None
        given = layers if self.input is None else layers[1:]
        applied = (AppliedNetwork(each) if isinstance(each, Network) else each for each in given)
        self.layers = cast(tuple[Layer, ...], tuple(applied))
        if isinstance(first, Sequential):
            self.input = first.input
        self.name = name
        self.trainable = trainable
        self.transparent = name is None
        self.__post_init__()

    def check(self) -> None:
        if not self.layers:
            raise OptionError(
                "Sequential has no layers", mend="gcn.Sequential(gcn.Conv2d(6, 5), gcn.ReLU(), ...)"
            )
        items: tuple[object, ...] = self.layers
        is_after_input = self.input is not None and not isinstance(self.layers[0], Sequential)
        for position, item in enumerate(items, int(is_after_input)):
            if not isinstance(item, Layer):
                what, mend = in_sequential(item)
                raise OptionError(f"item {position} of Sequential is {what}, not a layer", mend=mend)

    def build(self, build: Builder, *values: Value) -> Value:
        if self.input is not None and values and values[0].type.shape != self.input.shape:
            raise ShapeError(
                f"{self.title} begins with gcn.Input({_sizes(self.input)}), but it is given {values[0].type}",
                mend="leave out the gcn.Input, so that it takes any images; or give it such",
            )
        for layer in self.layers:
            values = (build.apply(layer, values),)
        return values[0]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        """Return one layer, or with a slice a `Sequential` of the same layers."""
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        if not isinstance(index, int) or not -len(self) <= index < len(self):
            raise at_users_line(
                UnknownPlaceError(
                    f"there is no layer {index!r:.60} in a Sequential of {len(self)}",
                    facts=[f"layers: {', '.join(layer.title for layer in self.layers)}"],
                    mend=f"network[0] to network[{len(self) - 1}]; network[:-1] is all but the last",
                )
            )
        return self.layers[index]

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


def _sizes(value: Tensor) -> tuple[int | str, ...]:
    return value.shape[1:] if value.type.has_batch else value.shape


def as_network(network: object, input_shape: tuple[int, ...] | None, name: str = "network") -> Network:
    """Return a network of a layer (such as a Sequential) and the shape of one sample, or the network itself.

    Raises OptionError where the shape is missing, or given for a network that has inputs of its own.
    """
    if isinstance(network, Network):
        if input_shape is not None:
            raise OptionError("a Network has its inputs' shapes already", mend="leave out input_shape")
        return network
    if not isinstance(network, Layer):
        problem, mend = as_a_network(network)
        raise OptionError(problem, mend=mend)
    x = network.input if isinstance(network, Sequential) else None
    if x is not None and input_shape is not None and sample_shape(input_shape) != _sizes(x):
        raise ShapeError(
            f"input_shape={input_shape}, but the network begins with gcn.Input({_sizes(x)})",
            mend=f"say it once: leave out input_shape, or write gcn.Input({input_shape})",
        )
    within = _network_within(network)
    if x is None and input_shape is None and within is not None and len(within.inputs) == 1:
        input_shape = _sizes(within.inputs[0])  # type: ignore[assignment] # only the batch has no size
    if x is None and input_shape is None:
        raise OptionError(
            f"the input's shape of {type(network).__name__} is not known",
            mend="compile(..., input_shape=(28, 28, 1)): height, width, channels",
        )
    if x is None:
        x = Input(input_shape, name="image")  # type: ignore[arg-type] # it is checked there
    return Network(x, network(x), name=network.name or (name if within is None else within.name))


def _network_within(layer: Layer) -> Network | None:
    """Return the network that a `Sequential` ends with, if it is one: the others lead to it."""
    last = layer
    while isinstance(last, Sequential):
        last = last.layers[-1]
    return last.network if isinstance(last, AppliedNetwork) else None
