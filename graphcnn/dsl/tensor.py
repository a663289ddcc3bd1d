"""A value in a network that is being written: the result of a layer or function, with operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.indexing import Index, indexed
from graphcnn.dsl.matrices import product
from graphcnn.dsl.mismatch import brought_together, sizes_along
from graphcnn.dsl.other_orders import say_of_channels_in_front
from graphcnn.errors import GraphcnnError, OptionError, SettingError, ShapeError, meant
from graphcnn.foreign_names import FOREIGN, OF_VALUES
from graphcnn.ir import Graph, Op, Origin, TensorType, Value, format_shape, require_op, users_line
from graphcnn.visible import visible

if TYPE_CHECKING:
    from graphcnn.dsl.layers.base import Layer


OPERATORS: Final = {
    "add": ("__add__", "__radd__"),
    "subtract": ("__sub__", "__rsub__"),
    "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"),
    "matmul": ("__matmul__", "__rmatmul__"),
    "power": ("__pow__", "__rpow__"),
    "greater": ("__gt__", "__lt__"),
    "greater_equal": ("__ge__", "__le__"),
    "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"),
}
"""NumPy's function, which it calls for an operator with an array or a number of its own on the left or right:
the method where a value of a network is on the left, and where it is on the right."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """What a layer makes of its operands. Nothing is computed: it has a type, and no elements yet."""

    layer: Layer
    operands: tuple[Tensor, ...]
    type: TensorType
    origin: Origin = field(repr=False)

    @property
    def shape(self) -> tuple[int | str, ...]:
        """The shape with the batch axis, for example `("N", 28, 28, 6)`."""
        return self.type.shape

    def __add__(self, other: Tensor | float) -> Tensor:
        return apply_elementwise(ops.Add(), self, other)

    def __radd__(self, other: float) -> Tensor:
        return apply_elementwise(ops.Add(), other, self)

    def __sub__(self, other: Tensor | float) -> Tensor:
        return apply_elementwise(ops.Subtract(), self, other)

    def __rsub__(self, other: float) -> Tensor:
        return apply_elementwise(ops.Subtract(), other, self)

    def __mul__(self, other: Tensor | float) -> Tensor:
        return apply_elementwise(ops.Multiply(), self, other)

    def __rmul__(self, other: float) -> Tensor:
        return apply_elementwise(ops.Multiply(), other, self)

    def __truediv__(self, other: Tensor | float) -> Tensor:
        return apply_elementwise(ops.Divide(), self, other)

    def __rtruediv__(self, other: float) -> Tensor:
        return apply_elementwise(ops.Divide(), other, self)

    def __matmul__(self, other: Tensor) -> Tensor:
        return apply_function(product, "matmul", self, other)

    def __rmatmul__(self, other: Tensor) -> Tensor:
        return apply_function(product, "matmul", other, self)

    def __pow__(self, exponent: float) -> Tensor:
        return apply_function(lambda build, x: build(ops.Power(_exponent(exponent)), x), ops.Power.name, self)

    def __rpow__(self, base: float) -> Tensor:
        return apply_function(lambda build, x: _power_of(build, base, x), ops.Power.name, self)

    def __abs__(self) -> Tensor:
        return apply_op(ops.Abs(), self)

    def __neg__(self) -> Tensor:
        return apply_op(ops.Negate(), self)

    def __gt__(self, other: Tensor | float) -> Tensor:
        return apply_elementwise(ops.Greater(), self, other)

    def __ge__(self, other: Tensor | float) -> Tensor:
        return apply_elementwise(ops.GreaterEqual(), self, other)

    def __lt__(self, other: Tensor | float) -> Tensor:
        return apply_elementwise(ops.Greater(), other, self)

    def __le__(self, other: Tensor | float) -> Tensor:
        return apply_elementwise(ops.GreaterEqual(), other, self)

    def __and__(self, other: Tensor) -> Tensor:
        return apply_elementwise(ops.LogicalAnd(), self, other)

    def __or__(self, other: Tensor) -> Tensor:
        return apply_elementwise(ops.LogicalOr(), self, other)

    def __invert__(self) -> Tensor:
        return apply_op(ops.LogicalNot(), self)

    def __getitem__(self, index: Index) -> Tensor:
        """Return x[:, 1:-1, ::2, 3]: NumPy's basic indexing. The batch, axis 0, is taken whole."""
        return apply_function(lambda build, x: indexed(build, x, index), "index", self)

    def __iter__(self) -> NoReturn:
        raise at_users_line(
            OptionError(
                "a value of a network cannot be gone through one by one",
                mend="gcn.split(x, parts, axis) returns its parts, and x[:, 0] one place of an axis",
            )
        )

    def __bool__(self) -> bool:
        if self.type.dtype == "bool":
            _no_elements(
                "so it is neither true nor false",
                "gcn.where(x > 0, a, b) chooses for each element; (x > 0) & (x < 1) joins two conditions",
            )
        _no_elements("so it is neither true nor false")

    def __array__(self, *_: object, **__: object) -> NoReturn:
        _no_elements("so it cannot become an array")

    def __float__(self) -> NoReturn:
        _no_elements("so it is no number", "gcn.exp(x), gcn.sqrt(x) and the like take values of a network")

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **_: object) -> Any:
        """Leave `array * tensor` to the operators above, and refuse functions of NumPy."""
        name = function.__name__
        if name in ("equal", "not_equal"):
            return name == "not_equal"  # a value of a network equals no number
        if method == "__call__" and name in OPERATORS:
            left, right = (each[()] if isinstance(each, np.ndarray) else each for each in inputs)
            on_left, on_right = OPERATORS[name]
            if isinstance(left, Tensor):
                return getattr(left, on_left)(right)
            return getattr(right, on_right)(left)
        raise _not_of_numpy(name)

    def __array_function__(self, function: Any, *_: object) -> NoReturn:
        raise _not_of_numpy(function.__name__)

    if not TYPE_CHECKING:  # type checkers know which attributes there are

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError, with the function that does what an array's method does."""
            said = f"a value of a network has no attribute {visible(name)!r}"
            mend = "" if name.startswith("_") else instead(name)
            raise AttributeError(f"{said}: {mend}" if mend else said)


def _refuse_to_set(self: Tensor, name: str, _: object) -> NoReturn:
    raise at_users_line(
        SettingError(
            f"a value of a network stays as it is made, and has no {visible(name)!r} to be set",
            mend='gcn.Input(shape, name="image"), and gcn.Dense(10, name="head"), name what they make',
        )
    )


# frozen dataclasses define it themselves, and with slots theirs fails
setattr(Tensor, "__setattr__", _refuse_to_set)  # noqa: B010 - type checkers take it for an assignment


def instead(name: str) -> str:
    """Return what to write instead of a function or method that values of a network do not have."""
    return OF_VALUES.get(name) or FOREIGN.get(name, "") or meant(name, ("shape", "type", "layer"))


def _not_of_numpy(name: str) -> OptionError:
    """Return the error, at the user's line, for a function of NumPy that is given a value of a network."""
    error = OptionError(
        f"np.{name} computes with arrays, and a value of a network has no elements yet",
        mend=instead(name) or "a function of gcn, or of your own: @gcn.pointwise",
    )
    at_users_line(error)
    return error


def _no_elements(
    consequence: str, mend: str = "compile the network, and look at what model.predict(images) returns"
) -> NoReturn:
    raise at_users_line(OptionError(f"a value of a network has no elements yet, {consequence}", mend=mend))


def at_users_line(error: GraphcnnError, *, layer: str = "") -> GraphcnnError:
    """Return the error with the line of the user's that is running as its place."""
    place = users_line()
    return error.located(layer=layer, file=place.file, line=place.line)


def _exponent(exponent: object) -> float:
    if isinstance(exponent, Tensor):
        raise OptionError(
            "the exponent of ** is a value of the network, not a number", mend="gcn.exp(y * gcn.log(x))"
        )
    return as_float(exponent)


def _power_of(build: Builder, base: object, x: Value) -> Value:
    """Append base ** x as e^(x · ln base)."""
    number_of_base = as_float(base)
    if number_of_base <= 0:
        raise OptionError(f"the base {base!r} of ** is not positive", mend="take a base above 0")
    logarithm = ops.constant(build, math.log(number_of_base), x.type)
    return build(ops.Exp(), build(ops.Multiply(), x, logarithm))


def apply_layer(layer: Layer, *operands: Tensor) -> Tensor:
    """Return the result of a layer on tensors, with its type checked now, at the user's line."""
    origin = users_line()
    for operand in operands:
        if not isinstance(operand, Tensor):
            raise _not_a_value(layer, operand).located(file=origin.file, line=origin.line)
    build = Builder(Graph("types"), training=True)
    build.names.of_layer[layer] = layer.title  # its number is known only once the network is whole
    values = [
        build.graph.input(f"x{i}", operand.type, origin=_made(operand)) for i, operand in enumerate(operands)
    ]
    try:
        result = build.apply(layer, values, origin)
    except ShapeError as error:
        say_of_channels_in_front(error, operands)
        raise
    return Tensor(layer, operands, result.type, origin)


def _not_a_value(layer: Layer, given: object) -> OptionError:
    from graphcnn.dsl.misplaced import applied_to

    return OptionError(
        f"{layer.title} is applied to {type(given).__name__}, not to a value of a network",
        mend=applied_to(given, layer.title),
    )


def _made(value: Tensor) -> Origin:
    return Origin(value.origin.file, value.origin.line, value.layer.title)


@known_arguments
def apply_op(op: Op, *operands: Tensor | float) -> Tensor:
    """Return the result of one op, such as one of your own, on values of a network; numbers become constants.

    Raises ShapeError, at the user's line, where they do not fit.
    """
    require_op(op)
    return apply_function(lambda build, *values: build(op, *values), op.name, *operands)


def apply_function(
    function: Callable[..., Value], name: str, *operands: Tensor | float, rule: str = ""
) -> Tensor:
    """Return the result of `function(build, *values)` on tensors; numbers become constants."""
    from graphcnn.dsl.layers.base import Function

    tensors = tuple(operand for operand in operands if isinstance(operand, Tensor))
    if not tensors:
        found = ", ".join(type(operand).__name__ for operand in operands) or "nothing"
        raise at_users_line(
            OptionError(
                f"{name} takes values of a network, not {found}",
                mend="begin with x = gcn.Input(shape); for arrays, use NumPy's own function",
            )
        )

    def with_constants(build: Builder, *values: Value) -> Value:
        remaining = iter(values)
        like = _type_of_numbers(build, values)
        build = build.by(rule) if rule else build
        return function(
            build,
            *(
                next(remaining) if isinstance(operand, Tensor) else number(build, operand, like)
                for operand in operands
            ),
        )

    return apply_layer(Function(with_constants, name), *tensors)


def _type_of_numbers(build: Builder, values: tuple[Value, ...]) -> TensorType:
    """Return the type of numbers beside these values: theirs, or that of what truth values compare."""
    for value in values:
        if value.type.dtype != "bool":
            return value.type
    compared = list(values)
    for value in compared:
        if value.type.is_float:
            return value.type
        if value.type.dtype == "bool":
            compared += build.graph.node(value.key).operands
    return TensorType((), "float32")


def number(build: Builder, value: object, like: TensorType) -> Value:
    """Append a constant of the element type of `like`."""
    return ops.constant(build, as_float(value), like)


def as_float(value: object) -> float:
    """Return a number of the user's. Raises OptionError for anything else."""
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return float(value)
    shown = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
    raise OptionError(
        f"{shown} is neither a value of the network nor a number",
        mend="for an array, use gcn.Parameter(shape, name) or gcn.Input(shape, name, batch=False)",
    )


def apply_elementwise(op: Op, left: Tensor | float, right: Tensor | float) -> Tensor:
    """Return the result of an op of two operands, whose shapes are broadcast together."""
    return apply_function(
        lambda build, x, y: build(op, *broadcast_together(build, op.name, x, y)), op.name, left, right
    )


_brought_together = partial(brought_together, is_broadcast=True, channels=True)


def _has_more_than_one(value: Value, axis: int) -> bool:
    return value.type.rank >= -axis and value.type.shape[axis] != 1


def broadcast_together(build: Builder, name: str, *values: Value) -> tuple[Value, ...]:
    """Append broadcasts that bring values to one shape, by NumPy's rule; scalars stay scalars."""
    shapes = [value.type.shape for value in values if not value.type.is_scalar]
    if len(set(shapes)) <= 1:
        return values
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    sizes = [list(dict.fromkeys(size for size in axis if size != 1)) for axis in zip(*padded, strict=True)]
    if any(len(different) > 1 for different in sizes):
        raise ShapeError(
            f"{name} cannot bring {' and '.join(map(format_shape, shapes))} to one shape",
            facts=[
                *(
                    sizes_along(build, axis - rank, [v for v in values if _has_more_than_one(v, axis - rank)])
                    for axis, different in enumerate(sizes)
                    if len(different) > 1
                ),
                "aligned at the last axis, each pair of sizes must be equal or contain a 1",
            ],
            mend=(len(shapes) == 2 and _brought_together(*(v.type for v in values if not v.type.is_scalar)))
            or "change padding or stride so that the shapes agree, or project one side with a 1x1 Conv2d",
        )
    shape = tuple(different[0] if different else 1 for different in sizes)
    return tuple(
        value if value.type.is_scalar or value.type.shape == shape else build(ops.Broadcast(shape), value)
        for value in values
    )
