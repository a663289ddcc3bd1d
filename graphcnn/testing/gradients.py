"""Gradient graphs against central differences, by random projection and element by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import Backend, Executable, as_backend, bind_inputs
from graphcnn.errors import DifferentiationError
from graphcnn.ir import Emitter, Graph, Rebuild, Value
from graphcnn.ops import Add, Cast, Multiply, RoundBfloat16, StopGradient, Subtract, Sum
from graphcnn.transform import differentiate

ELEMENTS = 6
"""How many single elements of each input are checked besides the projection."""

WORST_OF = 200
"""Among how many elements the worst is looked for once a check has failed."""


def check_gradients(
    graph: Graph,
    of: str | Value,
    wrt: Sequence[str],
    inputs: Mapping[str, Array],
    *,
    backend: str | Backend = "numpy",
    tolerance: float = 1e-7,
    step: float = 1e-5,
    order: Literal[1, 2] = 1,
    seed: int = 0,
) -> None:
    """Assert that the gradient graph of `of` agrees with central differences.

    of: an output's name or a value, of any shape; its inner product with a fixed random tensor is
    differentiated, so that no rule is given a delta of 1. wrt: names of float64 inputs. inputs: every input's
    array, away from kinks such as relu's at 0. step: half the width of the difference, in units of the input.
    order: 2 also differentiates the inner product of the gradients with random tensors, and compares that
    with the differences of the first-order gradient graph.

    Compared are the derivative along one random direction of length 1 for each input, and a few single
    elements. The error of an analytic a and a numeric b is |a - b| / max(1, |a|, |b|): absolute for small
    derivatives, relative for large ones.

    Raises AssertionError, which names the op, the input and the worst element, where an error exceeds the
    tolerance or an input's array was modified; DifferentiationError where there is no gradient.
    Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., 2008, on testing by projection.
    """
    runner = as_backend(backend)
    value = _resolve(graph, of)
    rng = np.random.default_rng(seed)
    arrays = {label: np.array(array) for label, array in inputs.items()}
    _, batch = bind_inputs(graph, arrays)

    work = graph.copy(outputs=False, updates=False)
    scalar = projected(work, [value], arrays, rng, batch)
    what = f"{graph.node(value.key).op.name} ({of if isinstance(of, str) else f'%{of.key}'})"
    for current in range(1, order + 1):
        differences, held = _with_stops_held(work, scalar, arrays, runner)
        work, gradients = differentiate(work, scalar, {label: work.inputs[label] for label in wrt})
        name = f"order {current}, {what}"
        scalar_of = runner.compile(differences)
        check = _Check(scalar_of, held, work, gradients, arrays, name, tolerance, step)
        check.run(runner, rng)
        if current < order:
            scalar = projected(work, list(gradients.values()), arrays, rng, batch)


def _resolve(graph: Graph, of: str | Value) -> Value:
    if isinstance(of, Value):
        return graph.require(of, "what is checked")
    if of not in graph.outputs:
        raise DifferentiationError(
            f"graph {graph.name!r} has no output {of!r}", facts=[f"outputs: {', '.join(graph.outputs)}"]
        )
    return graph.outputs[of]


def _with_stops_held(
    work: Graph, scalar: Value, arrays: Mapping[str, Array], backend: Backend
) -> tuple[Graph, dict[str, Array]]:
    """Return the graph of a scalar with inputs for what stays as it is, and the arrays of those.

    That is what `stop_gradient` stops, and by how much a rounding whose gradient is passed straight through
    moves its operand.
    """
    found = work.copy("stopped", outputs=False, updates=False)
    for key, node in work.items():
        (result,) = found.results(key)[:1]
        if isinstance(node.op, StopGradient):
            found.output(f"stopped %{key}", result)
        elif isinstance(node.op, RoundBfloat16):
            found.output(f"stopped %{key}", found.add(Subtract(), result, node.operands[0]))
    held = backend.compile(found)(**arrays) if found.outputs else {}
    rebuild = Rebuild(work, "differences")
    for key, node in work.items():
        if not isinstance(node.op, StopGradient | RoundBfloat16):
            rebuild.copy(key, node.origin)
            continue
        stopped = rebuild.result.input(f"stopped %{key}", node.types[0], role="setting")
        if isinstance(node.op, RoundBfloat16):
            stopped = rebuild.result.add(Add(), *rebuild.operands(key), stopped)
        rebuild.replace(key, (stopped,))
    rebuild.result.output("checked scalar", rebuild.value(scalar))
    return rebuild.result, held


def projected(
    work: Graph, values: Sequence[Value], arrays: dict[str, Array], rng: np.random.Generator, batch: int
) -> Value:
    """Append the inner products of the values with random tensors, summed; their arrays join `arrays`.

    The sum is of the first value's element type.
    """
    emit = Emitter(work)
    total: Value | None = None
    for value in values:
        label = next(name for n in count(len(work)) if (name := f"projection {n}") not in work.inputs)
        arrays[label] = np.asarray(rng.standard_normal(value.type.concrete(batch)), value.type.dtype)
        weights = work.input(label, value.type, role="setting")
        product = emit(Multiply(), value, weights)
        term = product if value.type.is_scalar else emit(Sum(tuple(range(value.type.rank))), product)
        if total is not None and term.type != total.type:
            term = emit(Cast(total.type.dtype), term)
        total = term if total is None else emit(Add(), total, term)
    assert total is not None
    return total


@dataclass
class _Check:
    """An executable of a scalar, a graph with its gradients, and the arrays at which to compare them.

    held: further inputs of the scalar, which stay as they are: what `_with_stops_held` returns.
    """

    scalar: Executable
    held: dict[str, Array]
    graph: Graph
    gradients: dict[str, Value]
    arrays: dict[str, Array]
    what: str
    tolerance: float
    step: float

    def run(self, backend: Backend, rng: np.random.Generator) -> None:
        backward = self.graph.copy("gradients", outputs=False)
        for label, value in self.gradients.items():
            backward.output(f"gradient of {label}", value)
        before = {label: array.copy() for label, array in self.arrays.items()}
        analytic = backend.compile(backward)(**self.arrays)
        self.scalar(**self.arrays, **self.held)
        for label, array in self.arrays.items():
            if array.tobytes() != before[label].tobytes():
                raise AssertionError(f"{self.what}: backend {backend.name!r} modified the input {label!r}")
        for label in self.gradients:
            self._compare(label, analytic[f"gradient of {label}"], rng)

    def _compare(self, label: str, analytic: Array, rng: np.random.Generator) -> None:
        array = self.arrays[label]
        if analytic.shape != array.shape or analytic.dtype != np.float64 or array.dtype != np.float64:
            raise AssertionError(
                f"{self.what}: the input {label!r} is {array.dtype}{list(array.shape)}, "
                f"its gradient {analytic.dtype}{list(analytic.shape)}; both must be float64 of one shape"
            )
        direction: Array = np.asarray(rng.standard_normal(array.shape))
        direction = direction / max(1.0, float(np.linalg.norm(direction)))
        projected = float(np.sum(analytic * direction))
        self._require(label, "along a random direction", projected, direction, analytic)
        for flat in rng.permutation(array.size)[:ELEMENTS]:
            index = tuple(int(i) for i in np.unravel_index(int(flat), array.shape))
            which, exact = f"of element {list(index)}", float(analytic[index])
            self._require(label, which, exact, _unit(array, index), analytic)

    def _require(self, label: str, which: str, exact: float, direction: Array, analytic: Array) -> None:
        numeric = self._difference(label, direction)
        error = _error(exact, numeric)
        if error <= self.tolerance:
            return
        rule = self.graph.node(self.gradients[label].key).origin.rule or "unnamed"
        raise AssertionError(
            f"{self.what}: the derivative with respect to {label!r} {which} is wrong\n"
            f"  analytic {exact:.12g}, numeric {numeric:.12g}, error {error:.3g} > {self.tolerance:.3g}\n"
            f"  rule of its last node: {rule}\n"
            f"  {self._worst(label, analytic)}"
        )

    def _difference(self, label: str, direction: Array) -> float:
        ends = []
        for sign in (1, -1):
            moved = {**self.arrays, label: self.arrays[label] + sign * self.step * direction}
            ends.append(float(self.scalar(**moved, **self.held)["checked scalar"]))
        return (ends[0] - ends[1]) / (2 * self.step)

    def _worst(self, label: str, analytic: Array) -> str:
        found: list[tuple[float, str]] = []
        for index in list(np.ndindex(analytic.shape))[:WORST_OF]:
            numeric = self._difference(label, _unit(analytic, index))
            exact = float(analytic[index])
            text = f"worst element {label}{list(index)}: analytic {exact:.12g}, numeric {numeric:.12g}"
            found.append((_error(exact, numeric), text))
        return max(found)[1]


def _unit(like: Array, index: tuple[int, ...]) -> Array:
    direction = np.zeros(like.shape)
    direction[index] = 1
    return direction


def _error(analytic: float, numeric: float) -> float:
    """Return |a - b| / max(1, |a|, |b|), and infinity where either is not finite."""
    if not np.isfinite([analytic, numeric]).all():
        return float("inf")
    return abs(analytic - numeric) / max(1.0, abs(analytic), abs(numeric))
