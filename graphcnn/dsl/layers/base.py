"""The base of all layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from graphcnn.arguments import call, known_arguments, misfit, without_self
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.arguments import is_word
from graphcnn.dsl.tensor import Tensor, apply_layer, at_users_line
from graphcnn.errors import ArgumentError, GraphcnnError, OptionError, meant
from graphcnn.foreign_names import of_network
from graphcnn.ir import Origin, Value, users_line
from graphcnn.origin import is_internal
from graphcnn.visible import visible


class _LayerType(type):
    """Makes layers: says what is wrong with the arguments, and notes what a layer was made with."""

    is_made_with_values: bool

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        is_applied = bool(arguments) and _is_value(arguments[0]) and not cls.is_made_with_values
        if is_applied and is_internal(cls.__module__):
            raise _not_made(cls, arguments[0], arguments[1:], keywords)
        try:
            layer = super().__call__(*arguments, **keywords)
        except TypeError as error:
            wrong = misfit(error, cls.__name__, cls.__init__, arguments, keywords)  # type: ignore[misc]
            if wrong is None:
                raise
            raise _not_made(cls, arguments[0], arguments[1:], keywords) if is_applied else wrong from None
        layer.__dict__ |= {"_is_made": True, "_given": (arguments, keywords)}
        return layer

    @property
    def __signature__(cls) -> inspect.Signature:
        """What the class takes: without it, that of `__call__` would be shown."""
        return without_self(inspect.signature(cls.__init__))  # type: ignore[misc]


@dataclass(eq=False)
class Layer(metaclass=_LayerType):
    """Base of all layers. A subclass defines `kind` and `build`, and is itself a `dataclass(eq=False)`.

    name: the layer's name in graphs and parameters; by default its kind and a number, such as `conv1`.
    trainable: False freezes the layer, and all inside of it, in models that are compiled from then on: its
    parameters and batch norm's statistics stay as they are, and have no gradient.
    first_values: arrays by label, such as "filters", which its parameters and states have at first in models
    that are compiled from then on, instead of what their initializers draw; at first there are none.
    Calling a layer on a value applies it; called twice, it uses the same parameters twice.
    """

    name: str | None = field(default=None, kw_only=True)
    trainable: bool = field(default=True, kw_only=True, repr=False)
    origin: Origin = field(init=False, repr=False)
    first_values: dict[str, Array] = field(init=False, repr=False)

    kind: ClassVar[str] = "layer"
    is_scope: ClassVar[bool] = False
    """Whether the names of layers inside begin with this layer's name."""

    operands: ClassVar[int | None] = None
    """How many values the layer takes; None for any number."""

    is_made_with_values: ClassVar[bool] = False
    """Whether values may be among what the layer is made with; otherwise it was to be applied to them."""

    transparent = False
    """Whether the layer leaves no trace of itself, only of the layers inside."""

    def __new__(cls, *_: object, **__: object) -> Self:
        layer = super().__new__(cls)
        layer.origin, layer.first_values = users_line(), {}
        try:
            _check_class(cls)
        except GraphcnnError as error:
            raise error.located(file=layer.origin.file, line=layer.origin.line) from None
        return layer

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __setattr__(self, name: str, value: object) -> None:
            """Raise OptionError, at the user's line, for an attribute that the layer does not have."""
            if "_is_made" in self.__dict__ and not hasattr(self, name):
                raise _no_attribute(self, name)
            if name == "trainable" and not isinstance(value, bool):
                raise _no_truth_value(self, value)
            super().__setattr__(name, value)

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError, with what has a name of another framework, or of a model, here."""
            known = getattr(type(self), name, None)
            if isinstance(known, property) and known.fget is not None:
                return known.fget(self)  # it has failed once, and is to say itself what it lacks
            raise no_attribute(self, name)

    def __post_init__(self) -> None:
        try:
            if self.name is not None and not is_word(self.name):
                raise OptionError(f"name={self.name!r} is not a word", mend='leave it out, or name="edges"')
            self.check()
        except GraphcnnError as error:
            raise error.located(layer=self.title, file=self.origin.file, line=self.origin.line) from None

    @property
    def title(self) -> str:
        """What errors call the layer: its name, or else its class."""
        return self.name if self.name and isinstance(self.name, str) else type(self).__name__

    def check(self) -> None:
        """Raise OptionError for arguments that are not allowed."""

    def build(self, build: Builder, *values: Value) -> Value:
        """Append the layer's nodes and return its result.

        build: appends a node with `build(op, ...)`, has the layer's parameters (`build.parameter`) and states
        (`build.state`, `build.update`), and says whether the graph is for training (`build.training`).
        """
        raise NotImplementedError

    @known_arguments
    def __call__(self, *tensors: Tensor) -> Tensor:
        return apply_layer(self, *tensors)


def _is_value(given: object) -> bool:
    """Whether this is what layers compute with; short arrays may be meant as a pair of sizes."""
    return isinstance(given, Tensor) or (isinstance(given, np.ndarray) and given.ndim > 1)


def _not_made(
    cls: type, value: object, arguments: tuple[object, ...], keywords: dict[str, Any]
) -> GraphcnnError:
    """Return the error for a class of layers that is called on a value, as a function would be."""
    home = "gcn." if is_internal(cls.__module__) else ""
    made = call(f"{home}{cls.__name__}", arguments, keywords)
    what = "a value of a network" if isinstance(value, Tensor) else "an array"
    return at_users_line(
        ArgumentError(f"the class {cls.__name__} is given {what}; it makes a layer first", mend=f"{made}(x)")
    )


def no_attribute(asked: object, name: str) -> AttributeError:
    """Return the error for an attribute of a layer or a network that it does not have."""
    has_inputs = any(vars(asked).get(each) is not None for each in ("input", "inputs"))
    title = type(asked).__name__
    said = f"a {title} has no attribute {visible(name)!r}"
    known = [each for each in (*vars(asked), *dir(type(asked))) if not each.startswith("_")]
    found = ""
    if not name.startswith("_"):
        found = of_network(title, name, has_inputs=has_inputs) or meant(name, known)
    return AttributeError(f"{said}: {found}" if found else said)


_FREEZING = ("requires_grad", "frozen", "requires_grad_", "freeze")


def _no_truth_value(layer: Layer, value: object) -> OptionError:
    error = OptionError(f"trainable={value!r:.60} is neither True nor False", mend="layer.trainable = False")
    place = users_line()
    error.located(layer=layer.title, file=place.file, line=place.line)
    return error


def _no_attribute(layer: Layer, name: str) -> OptionError:
    """Return the error for an attribute that would be set and never read."""
    known = [each.name for each in fields(layer) if each.init]
    mend = meant(name, known, "declare it in the class, as a field of the dataclass or with a first value")
    if name in _FREEZING:
        mend = 'layer.trainable = False, before gcn.compile; model.freeze("conv*") afterwards'
    error = OptionError(
        f"a {type(layer).__name__} has no attribute {visible(name)!r}",
        facts=[f"it has: {', '.join(known)}"],
        mend=mend,
    )
    place = users_line()
    error.located(layer=layer.title, file=place.file, line=place.line)
    return error


def _check_class(cls: type[Layer]) -> None:
    """Raise OptionError for a class of layers that cannot work."""
    if cls.build is Layer.build:
        raise OptionError(
            f"{cls.__name__} does not say what it computes",
            mend="def build(self, build, x): return build(gcn.ops.Relu(), x)",
        )
    if not isinstance(cls.kind, str) or not cls.kind.isidentifier():
        raise OptionError(f"{cls.__name__}.kind={cls.kind!r:.60} is not a word", mend='kind = "squeeze"')
    if cls.__eq__ is not object.__eq__:
        raise OptionError(
            f"{cls.__name__} has layers that equal each other, but each has parameters of its own",
            mend=f"put @dataclass(eq=False) above class {cls.__name__}",
        )


class OneValue(Layer):
    """A layer that takes one value."""

    operands: ClassVar[int | None] = 1


@dataclass(eq=False)
class Function(Layer):
    """A function of values without parameters, under the name of its op."""

    function: Callable[..., Value]
    label: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kind = self.label  # type: ignore[misc]

    @property
    def title(self) -> str:
        return self.label

    def build(self, build: Builder, *values: Value) -> Value:
        return self.function(build, *values)
