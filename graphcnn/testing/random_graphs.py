"""Random training steps: graphs that no network was written for, to find what a backend cannot compile.

A step computes some tensors from data and parameters, a loss from several of them, its gradients, and the
updates of all its state. Values are shared, reduced over any axes with the batch among them, and used again
as scalars and vectors, linearly and not: norms, normalisation, clipping by a global norm. Layers that draw
drop elements and augment images by the keys of samples. Element types are mixed.

What is computed stays of size 1, and what decides something (the sign of a relu's operand, a pool's winner)
is never a tie: rounding changes the results by little, so that two backends can be compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.dsl.builder import Builder
from graphcnn.errors import GraphcnnError, ShapeError
from graphcnn.ir import BATCH, SAMPLE_KEYS, Dim, DType, Emitter, Op, TensorType, Value
from graphcnn.ops.sample_warp import UNITS
from graphcnn.sample_keys import SAMPLE_KEY
from graphcnn.testing.case import Case
from graphcnn.testing.random_growth import GROWTH, MOST_RANK, Grow, parameter
from graphcnn.transform import differentiate, simplify

BATCHES: Final = (1, 2, 3, 8, 15, 16, 17, 33)
SIZES: Final = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33)
MOST_ELEMENTS: Final = 20_000
"""Of any tensor at the batch size of the case, so that one case takes milliseconds."""


def random_step(seed: int, *, allowed: Collection[type[Op]] | None = None) -> Case:
    """Return a random training step with inputs for it; the same for the same seed.

    allowed: the ops that the graph may hold, such as a backend's `ops`; by default all.
    """
    for attempt in itertools.count():
        builder = StepBuilder(f"random step {seed}", [seed, attempt])
        case = builder.finish(simplified=bool(builder.random.integers(2)))
        if allowed is None or {type(node.op) for _, node in case.graph.items()} <= set(allowed):
            return case
        if attempt == TRIES:
            raise ValueError(f"no random step of these {len(allowed)} ops was found in {TRIES} attempts")
    raise AssertionError("unreachable")


TRIES: Final = 500


class StepBuilder:
    """A step under construction. `values` are what further nodes may use."""

    def __init__(self, name: str, seed: Sequence[int]) -> None:
        self.random = np.random.default_rng(seed)
        self.case = Case(name)
        self.emit = Emitter(self.case.graph)
        self.build = Builder(self.case.graph, training=True)
        self.batch: int = self.pick(BATCHES)
        self.dtype: DType = self.pick(("float64", "float64", "float32"))
        self.sizes = [self.pick(SIZES) for _ in range(2)]
        self.values: list[Value] = []
        for _ in range(self.between(1, 2)):
            x = self.data()
            self.values += [x, *parameter(self, x)]
        for _ in range(self.between(3, 16)):
            self.grow()

    # Choices

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def between(self, least: int, most: int) -> int:
        return int(self.random.integers(least, most + 1))

    def chance(self) -> bool:
        return bool(self.random.integers(2))

    def axes(self, rank: int) -> tuple[int, ...]:
        return tuple(axis for axis in range(rank) if self.chance())

    def pair(self, most: int) -> tuple[int, int]:
        return self.between(1, most), self.between(1, most)

    def margins(self) -> tuple[int, int]:
        return self.between(0, 2), self.between(0, 2)

    def like(self, x: Value) -> Value:
        """Return a value of the same type, often another one."""
        found: Value = self.pick([y for y in self.values if y.type == x.type] or [x])
        return found

    # Inputs

    def numbers(self, type: TensorType, *, state: bool = False, scale: float = 1.0) -> Value:
        """Append an input of this type, filled with random numbers."""
        array = scale * self.random.standard_normal(type.concrete(self.batch))
        return self.input(type, np.asarray(array, type.dtype), state=state)

    def input(self, type: TensorType, array: Array, *, state: bool = False) -> Value:
        label = f"{'state' if state else 'input'}{len(self.case.inputs)}"
        self.case.inputs[label] = array
        return self.case.graph.input(label, type, role="state" if state else "data")

    def data(self) -> Value:
        rank: int = self.pick((1, 2, 2, 3, MOST_RANK, MOST_RANK, MOST_RANK))
        sizes = [self.pick(self.sizes) for _ in range(rank - 1)]
        while self.batch * math.prod(sizes) > MOST_ELEMENTS:
            sizes[sizes.index(max(sizes))] //= 2
        return self.numbers(TensorType((BATCH, *sizes), self.dtype))

    def whole(self, low: int, high: int) -> Value:
        """Append a whole number of each sample, from low to high."""
        numbers = self.random.integers(low, high + 1, self.batch)
        return self.input(TensorType((BATCH,), "int32"), numbers.astype(np.int32))

    def map_numbers(self, middle: float) -> Value:
        """Append a number of each sample, near this one, as a map of `WarpSamples` has it."""
        numbers = middle + self.random.uniform(-0.25, 0.25, self.batch)
        return self.input(SAMPLE_KEYS, np.round(numbers * 2.0**UNITS).astype(np.int64))

    def parameter(self, shape: tuple[Dim, ...], dtype: DType) -> Value:
        type = TensorType(shape, dtype)
        depth = type.elements(1) / type.static(type.rank - 1) if shape else 1
        return self.numbers(type, state=True, scale=1 / math.sqrt(depth))

    def fitting(self, type: TensorType) -> TensorType:
        """Return the type, or raise ShapeError where a tensor of it is large."""
        if type.elements(self.batch) > MOST_ELEMENTS:
            raise ShapeError(f"{type} is larger than a random graph needs")
        return type

    # Growth

    def grow(self) -> None:
        """Append a few nodes behind a value; where they do not fit together, none is used again."""
        grow: Grow = self.pick(GROWTH)
        x = self.pick(self.values[-4:] if self.chance() else self.values)
        try:
            new = grow(self, x)
        except GraphcnnError:
            return
        self.values += [value for value in new if value.type.elements(self.batch) <= MOST_ELEMENTS]

    def constant(self, number: float, like: Value) -> Value:
        return ops.constant(self.emit, number, like.type)

    def bounded(self, x: Value) -> Value:
        """Append a smooth function that keeps numbers of size 1."""
        smooth = [ops.Tanh(), ops.Tanh(), ops.Sigmoid(), ops.Sin(), ops.Cos(), ops.Erf()]
        return self.emit(self.pick(smooth), x)

    def untied(self, x: Value) -> Value:
        """Append a shift of each element by a number of its own, so that nothing decides by a tie."""
        return self.emit(ops.Add(), x, self.numbers(x.type))

    def broadcast(self, x: Value, like: Value) -> Value:
        if x.type.is_scalar or x.type.shape == like.type.shape:
            return x
        return self.emit(ops.Broadcast(self.fitting(like.type).shape), x)

    def nonlinear(self, x: Value) -> Value:
        """Append a positive function of any number that is no product with a constant."""
        emit, square = self.emit, self.emit(ops.Multiply(), x, x)
        kind = self.between(0, 4)
        if kind == 0:
            return emit(ops.Sqrt(), emit(ops.Add(), square, self.constant(0.1, x)))
        if kind == 1:
            return emit(ops.Power(-1.0), emit(ops.Add(), square, self.constant(1.0, x)))
        if kind == 2:
            return emit(ops.Exp(), emit(ops.Tanh(), x))
        if kind == 3:
            return emit(ops.Log(), emit(ops.Add(), square, self.constant(1.5, x)))
        return emit(ops.Add(), emit(ops.Tanh(), x), self.constant(1.5, x))

    # The step

    def finish(self, *, simplified: bool) -> Case:
        """Append loss, gradients and updates, and return the case."""
        graph = self.build.finish()
        for label, initializer in self.build.initializers.items():
            self.case.inputs[label] = initializer(self.random, graph.inputs[label].type)
        if SAMPLE_KEY in graph.inputs:
            self.case.inputs[SAMPLE_KEY] = self.random.integers(-(2**63), 2**63 - 1, self.batch)
        unread = [value for value in self.values[:-1] if not graph.users(value)]
        total = self.loss_of(self.values[-1])
        for value in unread:
            if self.chance():
                total = self.emit(ops.Add(), total, self.as_type(self.loss_of(value), total))
        graph.output("loss", total)
        for number in range(self.between(0, 3)):
            graph.output(f"output{number}", self.pick(self.values))
        states = {
            label: value
            for label, value in graph.inputs_with_role("state").items()
            if value.type.is_float and label not in graph.updates
        }
        step, gradients = differentiate(graph, total, states)
        self.case.graph, self.emit = step, Emitter(step)
        self.append_updates(states, gradients)
        if simplified:
            self.case.graph = simplify(step)
        return self.case

    def as_type(self, x: Value, like: Value) -> Value:
        return x if x.type.dtype == like.type.dtype else self.emit(ops.Cast(like.type.dtype), x)

    def loss_of(self, x: Value) -> Value:
        """Append a scalar of a value: a mean or a sum of squares, sometimes over the batch last."""
        emit, rank = self.emit, x.type.rank
        if rank == 2 and x.type.shape[0] == BATCH and self.chance():
            labels = self.random.integers(0, x.type.static(1), self.batch)
            target = self.input(TensorType((BATCH,), "int64"), labels)
            each = emit(ops.SoftmaxCrossEntropy(), x, target)
            return emit(ops.Mean((0,)), each)
        if rank and x.type.shape[0] == BATCH and self.chance():
            return emit(ops.Mean((0,)), emit(ops.SquaredError(), x, self.numbers(x.type)))
        kind: type[ops.Mean | ops.Sum] = self.pick([ops.Mean, ops.Mean, ops.Sum])
        total = emit(kind(tuple(range(rank))), emit(ops.Multiply(), x, x))
        if kind is ops.Sum:  # of thousands, a cosine would depend on the last bits
            total = emit(ops.Multiply(), self.constant(1 / x.type.elements(self.batch), total), total)
        return self.bounded(total)

    def append_updates(self, states: dict[str, Value], gradients: dict[str, Value]) -> None:
        """Append an update of every state: plain, with momentum, or by Adam; perhaps clipped by the norm."""
        emit, kind = self.emit, self.between(0, 2)
        scale = self.global_norm(list(gradients.values())) if self.chance() and gradients else None
        for label, state in states.items():
            direction = gradients[label]
            if scale is not None:
                direction = emit(ops.Multiply(), direction, self.as_type(scale, direction))
            if kind:
                velocity = self.numbers(state.type, state=True)
                name = list(self.case.graph.inputs)[-1]
                half = emit(ops.Multiply(), self.constant(0.5, velocity), velocity)
                direction = emit(ops.Add(), half, direction)
                self.case.graph.update(name, direction)
            if kind == 2:
                square = emit(ops.Multiply(), direction, direction)
                root = emit(ops.Sqrt(), emit(ops.Add(), square, self.constant(1.0, square)))
                direction = emit(ops.Divide(), direction, root)
            moved = emit(ops.Multiply(), self.constant(0.1, direction), direction)
            self.case.graph.update(label, emit(ops.Subtract(), state, moved))

    def global_norm(self, gradients: Sequence[Value]) -> Value:
        """Append 1 / sqrt(1 + the sum of all squares): what every update may be scaled by."""
        total: Value | None = None
        for gradient in gradients:
            square = self.emit(ops.Multiply(), gradient, gradient)
            part = self.emit(ops.Sum(tuple(range(gradient.type.rank))), square)
            total = part if total is None else self.emit(ops.Add(), total, self.as_type(part, total))
        assert total is not None
        return self.emit(ops.Power(-0.5), self.emit(ops.Add(), total, self.constant(1.0, total)))
