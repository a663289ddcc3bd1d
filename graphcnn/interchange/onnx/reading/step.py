"""One node of a file while it is read: its operands and attributes, and how its layers are named."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.dsl.layers.base import Function, Layer
from graphcnn.dsl.network import stored
from graphcnn.dsl.tensor import Tensor, apply_op, broadcast_together
from graphcnn.interchange.onnx.reading.names import Names
from graphcnn.interchange.onnx.reading.table import UnknownYetError, in_the_way
from graphcnn.interchange.onnx.reading.values import Held, Known, Order, Variable, as_in_file, channels_last
from graphcnn.ir import BATCH, Dim, DType, Op, TensorType, Value
from graphcnn.ir.types import DTYPES


@dataclass(frozen=True, slots=True, eq=False)
class Making:
    """What is shared by all nodes of a file: names, layers and values of initializers.

    batch: what the file has for the batch, where it is a number there and "N" in the network.
    """

    names: Names
    batch: int | None
    layers: dict[object, Layer]
    stored: dict[tuple[object, Order, int], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A node. version: of the operators that it is one of. inputs: None for one that is left out.

    wanted: which of its results are used.
    """

    node: Any
    version: int
    inputs: Sequence[Held | None]
    attributes: dict[str, Any]
    wanted: Sequence[bool]
    making: Making

    def __getitem__(self, position: int) -> Held:
        """Return an operand. Raises InterchangeError where the node has none."""
        found = self.optional(position)
        if found is None:
            raise in_the_way(f"it lacks its input {position}")
        return found

    def optional(self, position: int) -> Held | None:
        return self.inputs[position] if position < len(self.inputs) else None

    def variable(self, position: int = 0) -> Variable:
        """Return an operand as a value of the network; what is known becomes a parameter or a constant."""
        return self.as_variable(self[position])

    def as_variable(self, held: Held) -> Variable:
        if isinstance(held, Variable):
            return held
        order = channels_last(held.rank) if held.rank == 4 else as_in_file(held.rank)
        return Variable.of(self.stored(held, order), order)

    def known(self, position: int, what: str) -> Array:
        """Return an operand that has to be known when the file is read. Raises InterchangeError."""
        found = self[position]
        if isinstance(found, Variable):
            raise UnknownYetError(found, what)
        return found.array

    def setting(self, name: str, position: int | None = None, default: Any = None) -> Any:
        """Return an attribute, or what became an operand in later versions, as numbers or a list of them."""
        if name in self.attributes:
            return self.attributes[name]
        if position is None or self.optional(position) is None:
            return default
        array = self.known(position, name)
        if BATCH in array.reshape(-1).tolist():
            raise in_the_way(f"its {name} depends on the batch size")
        return array.tolist()

    def axis(self, rank: int, default: int = 0, name: str = "axis") -> int:
        """Return the attribute that is an axis, counted from the front."""
        return positive(self.setting(name, default=default), rank)

    # What the node becomes

    def apply(self, layer: Layer, *tensors: Tensor, weight: str = "") -> Tensor:
        """Return what a layer makes of values; it gets a name where it has none."""
        if layer.name is None:
            parameters = layer.first_values
            layer.name = self.making.names.of_layer(self.node, layer.kind, weight, parameters)
        return layer(*tensors)

    def shared(self, layer: Layer, weights: Sequence[Held | None], made_with: object) -> Layer:
        """Return the layer, or the one before it that was made alike and has the same weights."""
        key = (type(layer), made_with, *(id(each) for each in weights))
        return self.making.layers.setdefault(key, layer)

    def emit(self, label: str, function: Callable[..., Value], *tensors: Tensor) -> Tensor:
        """Return `function(build, *values)` of values, as a layer without parameters."""
        return self.apply(Function(function, label), *tensors)

    def map(self, layer: Layer, x: Variable) -> Variable:
        """Return what a layer makes of each element of a value, in whatever order its axes are."""
        order = x.any_order
        return Variable.of(self.apply(layer, x.at(order)), order)

    def each(self, label: str, function: Callable[..., Value], *operands: Held) -> Variable:
        """Return a function of single elements; shapes are broadcast together by NumPy's rule.

        `function(build, *values)` gets values of one shape, or scalars.
        """
        rank = max(operand.rank for operand in operands)
        full = [operand for operand in operands if isinstance(operand, Variable) and operand.rank == rank]
        order = common_order(full) if full else as_in_file(rank)
        like = next((operand for operand in operands if isinstance(operand, Variable)), None)
        dtypes = {operand.dtype for operand in operands if isinstance(operand, Variable)} - {"bool"}
        placed = [self._placed(operand, rank, order) for operand in operands]
        tensors = [each for each in placed if isinstance(each, Tensor)]
        dtype = next(iter(dtypes), "bool" if like is not None else "float32")

        def apply(build: Builder, *values: Value) -> Value:
            remaining = iter(values)
            alike = broadcast_together(
                build,
                label,
                *(next(remaining) if isinstance(p, Tensor) else _number(build, p, dtype) for p in placed),
            )
            return function(build, *alike)

        return Variable.of(self.emit(label, apply, *tensors), order)

    def _placed(self, operand: Held, rank: int, order: Order) -> Tensor | Array:
        """Return an operand of an element-wise function, with its axes in this order; or a single number."""
        if isinstance(operand, Known) and operand.array.size == 1:
            number = operand.array.reshape(())
            if number == number:
                return number
        shape = (1,) * (rank - operand.rank) + tuple(operand.shape)
        if isinstance(operand, Known):
            flat = Known(operand.array.reshape(shape), operand.name)
            return self.stored(flat, order, operand)
        if operand.rank == rank:
            return operand.at(order)
        if all(size == 1 for size in operand.shape):
            return reshaped(operand.at(operand.any_order), ())
        return Variable.of(reshaped(operand.in_file, shape)).at(order)

    def stored(self, held: Known, order: Order, source: Known | None = None) -> Tensor:
        """Return a parameter, of an initializer, or else a constant, with its axes in this order.

        Axes of size 1 in front, which broadcasting puts there again, are left out.
        """
        key = (source or held, order, held.rank)
        if key not in self.making.stored:
            require_dtype(held.array.dtype)
            array = held.array.transpose(order)
            front = next((axis for axis, size in enumerate(array.shape) if size != 1), array.ndim)
            if source is not None:
                array = array.reshape(array.shape[front:])
            is_trained = bool(held.name) and array.dtype.kind == "f"
            name = self.making.names.free(held.name or "constant")
            self.making.stored[key] = stored(array, name, is_trained=is_trained)
        return self.making.stored[key]


def operands_of(step: Step, count: int) -> list[Held]:
    """Return the operands of an element-wise operator. Before version 7, the second may begin at an axis."""
    operands = [step[position] for position in range(count)]
    axis = step.setting("axis") if step.version < 7 and step.setting("broadcast", default=0) else None
    if axis is None:
        return operands
    first, second = operands
    behind = first.rank - positive(axis, first.rank) - second.rank
    if behind < 0:
        raise in_the_way(f"its axis {axis} leaves no place for its second operand")
    shape = (*second.shape, *[1] * behind)
    if isinstance(second, Known):
        return [first, Known(second.array.reshape(shape), second.name)]
    return [first, Variable.of(reshaped(second.in_file, shape))]


def reshaped(x: Tensor, shape: tuple[Dim, ...]) -> Tensor:
    return x if x.type.shape == shape else apply_op(ops.Reshape(shape), x)


def positive(axis: int, rank: int) -> int:
    """Return an axis that may be counted from the end, counted from the front."""
    if not isinstance(axis, int) or not -rank <= axis < max(rank, 1):
        raise in_the_way(f"its axis {axis!r} is none of a value of {rank} axes")
    return axis % max(rank, 1)


def require_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.name not in DTYPES:
        raise in_the_way(f"graphcnn has no tensors of {dtype.name}, but of {', '.join(DTYPES)}")


def op(kind: Op) -> Callable[..., Value]:
    """Return the function that appends this op."""
    return functools.partial(_emitted, kind)


def _emitted(kind: Op, build: Builder, *values: Value) -> Value:
    result: Value = build(kind, *values)
    return result


def _number(build: Builder, number: Array, dtype: Any) -> Value:
    """Append a single number, of the element type of what it is combined with."""
    own = number.dtype.name
    chosen = dtype if own == dtype or (number.dtype.kind in "fiu" and dtype != "bool") else own
    require_dtype(np.dtype(chosen))
    shown = float(str(number)) if own == "float32" else number.item()  # 0.1 as it was meant
    value: Value = build(ops.Constant(shown, TensorType((), cast(DType, chosen))))
    return value


def common_order(values: Sequence[Variable]) -> Order:
    """Return the order of axes that most values of one rank are in already."""
    last = channels_last(values[0].rank)
    orders = [order for value in values for order in value.tensors]
    return max(orders, key=lambda order: (orders.count(order), order == last))
