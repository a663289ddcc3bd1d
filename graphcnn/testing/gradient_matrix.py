"""The matrix of gradients: every op with every attribute, in every element type, on every backend.

Its cases are those of the conformance suite, so that an op which computes the right values in a case has
its gradient checked in the same case: random multiples of the outputs, summed up, are differentiated with
respect to all inputs, and random multiples of these gradients once more.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import Backend, as_backend, bind_inputs, reference
from graphcnn.ir import Emitter, Graph, Op, Rebuild, TensorType, Value
from graphcnn.ops import Add, Multiply, Sum
from graphcnn.testing.case import Case, Fill
from graphcnn.testing.cases import backend_cases, build_case
from graphcnn.testing.conformance import check_case
from graphcnn.testing.gradients import check_gradients, projected
from graphcnn.testing.pointwise_cases import users_functions
from graphcnn.transform import differentiate, prune

LEAST, GREATEST = 0.25, 1.75
"""Between which sizes inputs are drawn: away from 0, where many slopes jump or grow beyond all bounds."""

ORDERS: Final = (1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class GradientCase:
    """A graph with one scalar to be differentiated, and the arrays at which that is done.

    wrt: the inputs to differentiate with respect to, by name.
    """

    name: str
    graph: Graph
    scalar: Value
    wrt: tuple[str, ...]
    arrays: dict[str, Array]

    def in_float64(self) -> GradientCase:
        """Return the same case with all of its floating-point numbers, inputs as well, in float64."""
        rebuild = Rebuild(self.graph)
        for key, node in self.graph.items():
            operands = rebuild.operands(key)
            rebuild.replace(key, rebuild.result.add_all(_in_float64(node.op), *operands, origin=node.origin))
        arrays = {
            label: array.astype(np.float64) if array.dtype.kind == "f" else array
            for label, array in self.arrays.items()
        }
        return replace(self, graph=rebuild.result, scalar=rebuild.value(self.scalar), arrays=arrays)

    def gradients(self) -> Case:
        """Return the gradients of first and second order as a case, for a backend to compute."""
        case = Case(f"gradients of {self.name}", dict(self.arrays))
        multiples = random_multiples(self)
        graph, scalar = self.graph, self.scalar
        named: dict[str, Value] = {}
        for order in ORDERS:
            graph, found = differentiate(graph, scalar, {label: graph.inputs[label] for label in self.wrt})
            named.update({f"{label}, order {order}": value for label, value in found.items()})
            if order != ORDERS[-1]:
                graph, scalar = _summed(graph, found, multiples)
                case.inputs.update({_multiples_of(label): array for label, array in multiples.items()})
        for label, value in named.items():
            graph.output(label, value)
        case.graph = prune(graph)
        case.inputs = {label: case.inputs[label] for label in case.graph.inputs}
        return case


@cache
def gradient_cases() -> tuple[str, ...]:
    """Return the names of all cases of the matrix: those of the conformance suite that have a gradient.

    Of cases that differ in nothing but the batch size, the first one stands for all.
    """
    names: dict[str, str] = {}
    for name in (*backend_cases(), *_users_functions()):
        case = _built(name)
        if _sources(case.graph):
            text = str(case.graph).partition("\n")[2]
            names.setdefault(text, name)
    return tuple(names.values())


def build_gradient_case(name: str) -> GradientCase:
    """Return the case of the matrix of this name. Raises KeyError where there is none."""
    case = _built(name)
    sources = _sources(case.graph)
    if not sources:
        raise KeyError(name)
    _, batch = bind_inputs(case.graph, case.inputs)
    graph = case.graph.copy(outputs=False, updates=False)
    random = np.random.default_rng(zlib.crc32(name.encode()))
    arrays = {label: _redrawn(array, random) for label, array in case.inputs.items()}
    scalar = projected(graph, _finite(case, arrays), arrays, random, batch)
    graph.output("scalar", scalar)
    kept = prune(graph)
    arrays = {label: array for label, array in arrays.items() if label in kept.inputs}
    wrt = tuple(label for label in sources if label in kept.inputs)
    return GradientCase(name, kept.copy(outputs=False), kept.outputs["scalar"], wrt, arrays)


def check_gradient_case(name: str, backends: Sequence[str | Backend] = ("numpy", "native")) -> int:
    """Check one case of `gradient_cases()`; return on how many backends.

    In float64, the gradients of first and second order are compared with central differences of the scalar
    and of the gradients of first order (`check_gradients`). Every backend must then compute the same
    gradients in the case's own element type, as `check_case` has it.

    Raises AssertionError, which names the case, and KeyError for an unknown name.
    """
    case = build_gradient_case(name)
    exact = case.in_float64()
    try:
        check_gradients(exact.graph, exact.scalar, exact.wrt, exact.arrays, order=2)
    except AssertionError as error:
        raise AssertionError(f"case {name!r}: {error}") from error
    found = case.gradients()
    found.expected.update(evaluated(exact))
    for backend in backends:
        if not check_case(as_backend(backend), found):
            raise AssertionError(f"case {name!r}: backend {as_backend(backend).name!r} lacks an op of it")
    return len(backends)


def random_multiples(case: GradientCase) -> dict[str, Array]:
    """Return what each gradient of first order is multiplied by, to have one scalar to derive again."""
    random = np.random.default_rng(zlib.crc32(case.name.encode()) + 1)
    return {
        label: np.asarray(random.standard_normal(case.arrays[label].shape), case.arrays[label].dtype)
        for label in case.wrt
    }


def evaluated(case: GradientCase) -> dict[str, Array]:
    """Return the gradients of first and second order by name, as the reference computes them."""
    gradients = case.gradients()
    return reference().compile(gradients.graph)(**gradients.inputs)


@cache
def _users_functions() -> Mapping[str, Fill]:
    return dict(users_functions())


def _built(name: str) -> Case:
    if name not in _users_functions():
        return build_case(name)
    case = Case(name)
    _users_functions()[name](case)
    return case


def forward_graphs() -> Iterator[Graph]:
    """Yield the graphs of all conformance cases, and of functions of the user's own."""
    for name in (*backend_cases(), *_users_functions()):
        yield forward_graph(name)


def forward_graph(name: str) -> Graph:
    """Return the graph of the conformance case of this name. Raises KeyError where there is none."""
    return _built(name).graph


def _multiples_of(label: str) -> str:
    return f"multiples of the gradient of {label}"


def _summed(
    graph: Graph, gradients: Mapping[str, Value], multiples: Mapping[str, Array]
) -> tuple[Graph, Value]:
    """Return a copy of a graph with the sum of random multiples of its gradients, as inputs."""
    result = graph.copy()
    emit = Emitter(result)
    total: Value | None = None
    for label, gradient in gradients.items():
        factors = result.input(_multiples_of(label), gradient.type, role="setting")
        term = emit(Sum(tuple(range(gradient.type.rank))), emit(Multiply(), gradient, factors))
        total = term if total is None else emit(Add(), total, term)
    assert total is not None
    return result, total


def _differentiated(graph: Graph) -> list[Value]:
    """Return the outputs that have a gradient: of the results of an op, the first one alone has."""
    return [value for value in graph.outputs.values() if value.type.is_float and value.index == 0]


def _finite(case: Case, arrays: Mapping[str, Array]) -> list[Value]:
    """Return the outputs that have a gradient, without those that hold infinities: padding by -∞, say."""
    with np.errstate(all="ignore"):
        found = reference().compile(case.graph)(**arrays)
    labels = {value: label for label, value in case.graph.outputs.items()}
    return [value for value in _differentiated(case.graph) if np.isfinite(found[labels[value]]).all()]


def _sources(graph: Graph) -> tuple[str, ...]:
    """Return the floating-point inputs from which the outputs that have a gradient are computed."""
    needed: set[int] = {value.key for value in _differentiated(graph)}
    for key, node in sorted(graph.items(), reverse=True):
        if key in needed:
            needed.update(operand.key for operand in node.operands)
    return tuple(
        label for label, value in graph.inputs.items() if value.type.is_float and value.key in needed
    )


def _redrawn(array: Array, random: np.random.Generator) -> Array:
    """Return other floating-point numbers, none of them near a kink at 0; positive ones where all were."""
    if array.dtype.kind != "f":
        return array
    sizes = random.uniform(LEAST, GREATEST, array.shape)
    signs = np.where(random.random(array.shape) < 0.5, -1.0, 1.0)
    return np.asarray(sizes if np.all(array > 0) else sizes * signs, array.dtype)


def _in_float64(op: Op) -> Op:
    changed: dict[str, Any] = {}
    for field in fields(op):
        value = getattr(op, field.name)
        if value == "float32":
            changed[field.name] = "float64"
        elif isinstance(value, TensorType) and value.is_float:
            changed[field.name] = value.with_dtype("float64")
    return replace(op, **changed) if changed else op
