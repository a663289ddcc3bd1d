"""The builder: what a layer writes its nodes, parameters and state with while a network becomes a graph."""

from __future__ import annotations

import inspect
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from graphcnn.dsl.initializers import Constant, Given, Initializer
from graphcnn.errors import GraphcnnError, OptionError, ShapeError
from graphcnn.ir import BATCH, SAMPLE_KEYS, DType, Emitter, Graph, Origin, TensorType, Value
from graphcnn.sample_keys import SAMPLE_KEY

if TYPE_CHECKING:
    from graphcnn.dsl.layers.base import Layer

TARGET_SHARE = "target_share"
"""The output of a training graph that says what of each sample, and so of its target, is itself."""


@dataclass(slots=True)
class _Names:
    """The names given so far in one scope: a number per kind of layer, and every layer by identity."""

    counts: Counter[str] = field(default_factory=Counter)
    of_layer: dict[Layer, str] = field(default_factory=dict)
    scopes: dict[Layer, _Names] = field(default_factory=dict)

    def name(self, layer: Layer) -> str:
        known = self.of_layer.get(layer)
        if known is not None:
            return known
        name = layer.name or self._default(layer.kind)
        if name in self.of_layer.values():
            raise _same_name(name)
        self.of_layer[layer] = name
        return name

    def _default(self, kind: str) -> str:
        """Return the kind and the first number that no layer has yet: `relu1`, but `relu6_1`."""
        while True:
            self.counts[kind] += 1
            name = f"{kind}{'_' if kind[-1].isdigit() else ''}{self.counts[kind]}"
            if name not in self.of_layer.values():
                return name


def _same_name(name: str) -> OptionError:
    return OptionError(f"two layers have the name {name!r}", mend="give each layer a name of its own")


@dataclass(frozen=True, slots=True)
class _Held:
    """Whose a parameter or state is, and how it gets its first value.

    around: the layer that has it and those around that, the outermost one first.
    """

    layer: Layer | None
    initializer: Initializer
    around: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Builder(Emitter):
    """Appends nodes on behalf of the layer that is being built: `build(Relu(), x)`.

    training: whether the graph is for training; Dropout and BatchNorm2d differ in it.
    around: the layer and those around it, the outermost one first.
    """

    training: bool = False
    around: tuple[Layer, ...] = ()
    names: _Names = field(default_factory=_Names)
    prefix: str = ""
    layer: Layer | None = None
    held: dict[str, _Held] = field(default_factory=dict)
    replaced: dict[Value, Value] = field(default_factory=dict)
    shares: list[Value] = field(default_factory=list)
    uses: Counter[str] = field(default_factory=Counter)

    @property
    def initializers(self) -> dict[str, Initializer]:
        """What gives each parameter and state its first value, by name."""
        return {name: held.initializer for name, held in self.held.items()}

    @property
    def owners(self) -> dict[str, tuple[Layer, ...]]:
        """The layers that each parameter and state is in, by its name, the outermost one first."""
        return {name: held.around for name, held in self.held.items()}

    def apply(self, layer: Layer, values: Sequence[Value], origin: Origin | None = None) -> Value:
        """Build a layer on values. Applied again, the same layer uses the same parameters.

        origin: the line that applies it; without one, the line that made the layer.
        """
        place = origin or layer.origin
        try:
            if layer.operands is not None and layer.operands != len(values):
                raise _other_number(layer, layer.operands, len(values))
            inside = self._inside(layer, place)
            _require_arguments(layer, inside, *values)
            result = layer.build(inside, *values)
            if not isinstance(result, Value):
                raise OptionError(
                    f"{layer.title}.build returned {type(result).__name__}, not a value of the graph",
                    mend="end it with `return build(op, ...)`",
                )
            return self.graph.require(result, f"the result of {layer.title}.build")
        except GraphcnnError as error:
            raise error.located(layer=layer.title, file=place.file, line=place.line) from None

    def _inside(self, layer: Layer, place: Origin) -> Builder:
        """Return the builder that the layer itself gets."""
        around = (*self.around, layer)
        if layer.transparent:
            return replace(self, around=around)
        name = self.prefix + self.names.name(layer)
        inner = replace(self, origin=Origin(place.file, place.line, name), layer=layer, around=around)
        if not layer.is_scope:
            return inner
        return replace(inner, names=self.names.scopes.setdefault(layer, _Names()), prefix=f"{name}.")

    def parameter(self, label: str, type: TensorType, initializer: Initializer | None = None) -> Value:
        """Return the layer's parameter of this label, for example `filters` of `conv1`.

        Asked for again, also by the same layer applied again, it is the same parameter. initializer: what
        gives it its first value, which has to be said: there is none that suits all parameters.
        """
        return self._held(label, type, initializer, trained=True)

    def state(self, label: str, type: TensorType, initial: Initializer | None = None) -> Value:
        """Return a state of the layer that training replaces but no gradient changes; 0 at first.

        Where the layer was applied before and has replaced the state, that replacement is the state.
        """
        held = self._held(label, type, initial or Constant(0.0), trained=False)
        return self.replaced.get(held, held)

    def update(self, state: Value, replacement: Value) -> None:
        """Let a value replace a state after the step. A layer applied again updates on from there.

        Raises OptionError for what is no state, ShapeError for a replacement of another type.
        """
        if state not in self.replaced.values() and not any(
            state == value for label, value in self.graph.inputs.items() if label in self.held
        ):
            raise OptionError(
                f"what a layer updates is no state of its own, but a value of type {state.type}",
                mend="state = build.state(label, type), and build.update(state, value)",
            )
        if replacement.type != state.type:
            raise ShapeError(
                f"a state of type {state.type} cannot be replaced by {replacement.type}",
                mend="reduce or reshape the value, so that it has the type of the state",
            )
        held = next((old for old, new in self.replaced.items() if new == state), state)
        self.replaced[held] = replacement

    def sample_keys(self) -> Value:
        """Return the key of each sample, int64 [N], from which its random numbers are drawn.

        They are an input of the graph that training supplies. Raises OptionError where its name is taken.
        """
        known = self.graph.inputs.get(SAMPLE_KEY)
        if known is None:
            place = Origin(self.origin.file, self.origin.line)
            return self.graph.input(SAMPLE_KEY, SAMPLE_KEYS, role="sample", origin=place)
        if self.graph.role(SAMPLE_KEY) != "sample":
            raise OptionError(
                f"the name {SAMPLE_KEY!r} of an input is that of the keys that samples draw by",
                mend='give the input another name, for example gcn.Input(shape, name="image")',
            )
        return known

    def stream(self, label: str, *, of_use: bool = False) -> int:
        """Return what tells the numbers that the layer draws for a purpose from all others: 32 bits.

        They follow from the layer's name, so that other layers may come and go. A layer that is applied to
        several values draws the same for all of them, or others for each: of_use.
        """
        name = f"{self.origin.layer}.{label}"
        if of_use:
            self.uses[name] += 1
            if self.uses[name] > 1:
                name = f"{name}.{self.uses[name]}"
        return zlib.crc32(name.encode())

    def mix_targets(self, share: Value) -> None:
        """Say that each sample has been mixed with another one, from the batch in reverse order.

        share: what of a sample is itself, from 0 to 1, floats [N]. Its loss is that of its own target, times
        the share, and that of the other's target, times the rest.
        Raises OptionError where another layer has mixed the samples already.
        """
        if share.type.shape != (BATCH,) or not share.type.is_float:
            raise ShapeError(f"the share of each sample in a mixture is float32[N], not {share.type}")
        if self.shares:
            raise OptionError(
                "two layers mix the samples of a batch, and a target is mixed once",
                mend="leave out one of them, gcn.Mixup or gcn.CutMix",
            )
        self.shares.append(share)

    def finish(self) -> Graph:
        """Return the graph, with the replacement of each state as its update."""
        for share in self.shares:
            self.graph.output(TARGET_SHARE, share)
        for label, value in self.graph.inputs.items():
            if value in self.replaced:
                self.graph.update(label, self.replaced[value])
        return self.graph

    def _held(self, label: str, type: TensorType, initializer: Initializer | None, *, trained: bool) -> Value:
        if not isinstance(type, TensorType):
            raise OptionError(
                f"the type of {label!r} is {type!r:.60}", mend="gcn.TensorType((3, 3), x.type.dtype)"
            )
        if initializer is None or not callable(initializer) or inspect.isclass(initializer):
            raise OptionError(
                f"the parameter {label!r} has no initializer"
                if initializer is None
                else f"the initializer of {label!r} is {initializer!r:.60}",
                mend="gcn.Constant(0.5), gcn.Glorot(), or a function of a generator and a type",
            )
        full = f"{self.origin.layer}.{label}" if label else self.origin.layer
        known = self.graph.inputs.get(full)
        if known is None:
            if self.layer is not None and label in self.layer.first_values:
                initializer = Given(self.layer.first_values[label])
            self.held[full] = _Held(self.layer, initializer, self.around)
            role = "parameter" if trained else "state"
            return self.graph.input(full, type, role=role, origin=self.origin)  # type: ignore[arg-type]
        if full not in self.held:
            raise OptionError(
                f"the name {full!r} is taken by an input of the network", mend="give one of them another name"
            )
        if self.held[full].layer is not self.layer:
            raise _same_name(full)
        if known.type != type:
            raise OptionError(
                f"{full} is shared by two uses of the layer that need different shapes",
                facts=[f"first use {known.type}", f"this use {type}"],
                mend="make one layer for each input shape",
            )
        return known


def _other_number(layer: Layer, taken: int, given: int) -> OptionError:
    if not given:
        mend = "call it on a value: x = gcn.Input(shape); y = layer(x)"
        return OptionError(f"{layer.title} is applied to no value", mend=mend)
    if taken == 1:
        mend = "join values first, for example with + or gcn.concatenate(x, y)"
        return OptionError(f"{layer.title} takes 1 value, not {given}", mend=mend)
    values = ", ".join(f"x{number}" for number in range(1, taken + 1))
    return OptionError(f"{layer.title} takes {taken} values, not {given}", mend=f"layer({values})")


def _require_arguments(layer: Layer, *arguments: object) -> None:
    """Raise OptionError unless the layer's `build` takes these arguments."""
    try:
        inspect.signature(layer.build).bind(*arguments)
    except TypeError as error:
        raise OptionError(
            f"{layer.title}.build does not take the {len(arguments) - 1} values it is given: {error}",
            mend="def build(self, build, x), with a parameter for each value",
        ) from None


def retyped(type: TensorType, dtype: DType | None) -> TensorType:
    """Return the type with another floating-point precision, where one is asked for."""
    return type.with_dtype(dtype) if dtype and type.is_float else type
