"""What every backend must do, checked case by case against the reference backend and against definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import Backend, Executable, as_backend, bind_inputs, reference
from graphcnn.errors import BackendError, DataError
from graphcnn.ir import BATCH, Graph, Op, TensorType
from graphcnn.ops import Add, Multiply, Relu
from graphcnn.origin import is_internal
from graphcnn.testing.case import Case
from graphcnn.testing.cases import backend_cases, build_case
from graphcnn.testing.random_graphs import random_step
from graphcnn.transform import prune

TOLERANCES: Final = {"float32": 1e-5, "float64": 1e-12}


@dataclass(frozen=True, slots=True)
class Conformance:
    """What a backend was checked on: cases that passed, and cases with ops that the backend lacks."""

    backend: str
    passed: tuple[str, ...]
    uncovered: tuple[str, ...]

    def __str__(self) -> str:
        return f"backend {self.backend!r}: {len(self.passed)} cases passed, {len(self.uncovered)} not covered"


def check_backend(backend: str | Backend) -> Conformance:
    """Run the whole conformance suite on a backend, given as an object or by its installed name.

    Returns which cases passed and which need ops that the backend does not have. Raises AssertionError,
    which lists every failed case, where there is any; BackendError for an unknown name.
    """
    runner = as_backend(backend)
    passed: list[str] = []
    uncovered: list[str] = []
    failed: list[str] = []
    for name in backend_cases():
        try:
            (passed if check_backend_case(runner, name) else uncovered).append(name)
        except AssertionError as error:
            failed.append(str(error))
        except Exception as error:
            failed.append(f"case {name!r}: {error!r}")
    for check in CONTRACT:
        try:
            check(runner)
            passed.append(check.__name__)
        except AssertionError as error:
            failed.append(str(error))
        except Exception as error:
            failed.append(f"{check.__name__}: {error!r}")
    if failed:
        raise AssertionError(f"{len(failed)} cases failed\n" + "\n".join(failed))
    return Conformance(runner.name, tuple(passed), tuple(uncovered))


def check_backend_case(backend: str | Backend, name: str) -> bool:
    """Check one case of `backend_cases()`; return False where the backend lacks one of its ops.

    Raises what `check_case` raises, and KeyError for an unknown name.
    """
    return check_case(as_backend(backend), build_case(name))


def check_random_steps(backend: str | Backend, count: int, *, first: int = 0) -> None:
    """Check a backend on `count` random training steps (`random_step`), whose seeds go on from `first`.

    Raises AssertionError for the first one that does not compile or computes something else, with its seed
    and, as text, as little of its graph as still fails.
    """
    runner = as_backend(backend)
    allowed = runner.ops
    for seed in range(first, first + count):
        case = random_step(seed, allowed=allowed)
        error = _failure(runner, case)
        if error is not None:
            smallest = next((part for part in _parts(case) if _failure(runner, part) is not None), case)
            raise AssertionError(
                f"{case.name}: {_failure(runner, smallest) or error!r}\n{smallest.graph}"
            ) from error


def _failure(runner: Backend, case: Case) -> Exception | None:
    try:
        check_case(runner, case)
    except Exception as error:
        return error
    return None


def _parts(case: Case) -> list[Case]:
    """Return cases of a single output or update each, the shortest graph first."""
    parts = []
    for is_update, roots in ((False, case.graph.outputs), (True, case.graph.updates)):
        for label, value in roots.items():
            part = Case(case.name, case.inputs)
            part.graph = case.graph.copy(outputs=False, updates=False)
            (part.graph.update if is_update else part.graph.output)(label, value)
            part.graph = prune(part.graph)
            parts.append(part)
    return sorted(parts, key=lambda part: len(part.graph))


def check_case(runner: Backend, case: Case) -> bool:
    """Check a backend on any graph and inputs; return False where the backend lacks one of the graph's ops.

    Outputs must have the types of the graph and equal the reference's, and the definition's where the case
    has values of its own. Whole numbers and truth values are equal exactly. Floating-point outputs may
    differ by 1e-12 (float64) or 1e-5 (if the graph holds any float32) times max|expected| + n, where n is the
    greatest number of terms that one element of any node sums up: inputs are of size 1, so n bounds what
    rounding can do.
    Further: two runs give the same bits, inputs are unmodified, outputs share no memory with inputs or with
    each other, and `step` overwrites the state in place with what a call returns.

    Raises AssertionError, which names the case and the output.
    """
    if not {type(node.op) for _, node in case.graph.items()} <= runner.ops:
        _expect_error(case.name, BackendError, lambda: runner.compile(case.graph))
        return False
    executable = runner.compile(case.graph)
    given = {label: array.copy() for label, array in case.inputs.items()}
    first, second = executable(**given), executable(**given)
    _require_unmodified(case, given)
    _require_types(case, first)
    _require_same_bits(case, f"a second run gives other bits{_mixing(case)}", first, second)
    _require_fresh(case, given, first, second)
    expected = reference().compile(case.graph)(**case.inputs)
    _require_close(case, "the reference", first, expected)
    _require_close(case, "the definition", first, case.expected)
    _check_step(case, executable, first)
    return True


def check_input_errors(backend: Backend) -> None:
    """Assert that inputs which do not fit raise DataError: missing, unknown, wrong shape, type or batch."""
    executable = backend.compile(_small_graph())
    good = {"x": np.ones((2, 3)), "y": np.ones((2, 3))}
    bad: dict[str, dict[str, object]] = {
        "a missing input": {"x": good["x"]},
        "an unknown input": {**good, "z": 1.0},
        "a wrong size": {**good, "y": np.ones((2, 4))},
        "a wrong rank": {**good, "y": np.ones(3)},
        "an empty batch": {"x": np.ones((0, 3)), "y": np.ones((0, 3))},
        "two batch sizes": {**good, "y": np.ones((3, 3))},
        "integers for floating-point numbers": {**good, "y": np.ones((2, 3), np.int64)},
        "ragged rows": {**good, "y": [[1.0, 2.0], [3.0]]},
        "text": {**good, "y": "abc"},
    }
    for what, inputs in bad.items():
        _expect_error(what, DataError, lambda inputs=inputs: executable(**inputs))  # type: ignore[misc]
    _require(np.array_equal(executable(**good)["z"], np.full((2, 3), 2.0)), "after errors", "a call fails")


def check_unknown_op(backend: Backend) -> None:
    """Assert that an op which the backend has never heard of raises BackendError when compiled."""
    graph = _small_graph()
    graph.output("unheard", graph.add(_Unheard(), graph.inputs["x"]))
    _require(_Unheard not in backend.ops, "unknown op", "the backend claims an op that it cannot know")
    _expect_error("unknown op", BackendError, lambda: backend.compile(graph))


def check_batch_sizes(backend: Backend) -> None:
    """Assert that one executable serves every batch size, in any order."""
    executable = backend.compile(_small_graph())
    for size in (5, 1, 33, 16, 2):
        x, y = np.arange(size * 3.0).reshape(size, 3) - 4, np.ones((size, 3))
        found = executable(x=x, y=y)["z"]
        _require(np.array_equal(found, np.maximum(x * y, 0) + x), f"batch size {size}", "another value")


def check_state_of_another_graph(backend: Backend) -> None:
    """Assert that `step` leaves entries of the state alone that the graph does not have."""
    executable = backend.compile(_small_graph())
    inputs, foreign = {"x": np.ones((2, 3)), "y": np.ones((2, 3))}, np.arange(3.0)
    found = executable.step({"of another graph": foreign}, **inputs)["z"]
    _require(np.array_equal(found, np.full((2, 3), 2.0)), "state of another graph", "another value")
    _require(np.array_equal(foreign, np.arange(3.0)), "state of another graph", "it was modified")


@dataclass(frozen=True, slots=True)
class _Unheard(Op):
    """An op that no backend has."""

    name: ClassVar[str] = "unheard"
    equation: ClassVar[str] = "y = x"
    arity: ClassVar[int] = 1

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return operands


def _small_graph() -> Graph:
    """Return z = relu(x · y) + x on [N, 3]."""
    graph = Graph("small")
    x, y = (graph.input(label, TensorType((BATCH, 3), "float64")) for label in "xy")
    graph.output("z", graph.add(Add(), graph.add(Relu(), graph.add(Multiply(), x, y)), x))
    return graph


def _require(holds: bool, case: str, problem: str) -> None:
    if not holds:
        raise AssertionError(f"case {case!r}: {problem}")


def _expect_error(case: str, kind: type[Exception], act: Callable[[], object]) -> None:
    try:
        act()
    except kind:
        return
    except Exception as error:
        raise AssertionError(f"case {case!r}: {error!r} instead of {kind.__name__}") from error
    raise AssertionError(f"case {case!r}: no {kind.__name__} was raised")


def _require_unmodified(case: Case, given: Mapping[str, Array]) -> None:
    for label, array in case.inputs.items():
        _require(array.tobytes() == given[label].tobytes(), case.name, f"the input {label!r} was modified")


def _require_types(case: Case, results: Mapping[str, Array]) -> None:
    roots = {**case.graph.outputs, **case.graph.updates}
    _require(results.keys() == roots.keys(), case.name, f"results {sorted(results)}, not {sorted(roots)}")
    _, batch = bind_inputs(case.graph, case.inputs)
    for label, value in roots.items():
        wanted, found = value.type.concrete(batch), results[label].shape
        _require(found == wanted, case.name, f"{label!r} has the shape {found}, not {wanted}")
        dtype = str(results[label].dtype)
        _require(dtype == value.type.dtype, case.name, f"{label!r} is {dtype}, not {value.type.dtype}")


def _require_same_bits(
    case: Case, problem: str, first: Mapping[str, Array], second: Mapping[str, Array]
) -> None:
    for label, array in first.items():
        _require(array.tobytes() == second[label].tobytes(), case.name, f"{label!r}: {problem}")


def _require_fresh(case: Case, given: Mapping[str, Array], *runs: Mapping[str, Array]) -> None:
    arrays = [(label, array) for run in runs for label, array in run.items()]
    for position, (label, array) in enumerate(arrays):
        _require(array.flags.writeable, case.name, f"the output {label!r} cannot be written to")
        others = [*arrays[:position], *given.items()]
        twin = next((name for name, other in others if np.shares_memory(array, other)), None)
        _require(twin is None, case.name, f"the output {label!r} shares memory with {twin!r}")


def _require_close(case: Case, other: str, found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    if not expected:
        return
    terms, tolerance = _greatest_sum(case), _tolerance(case.graph)
    for label, wanted in expected.items():
        array = found[label]
        if array.dtype.kind != "f":
            _require(np.array_equal(array, wanted), case.name, f"{label!r} differs from {other}")
            continue
        exact, value = np.asarray(wanted, np.float64), np.asarray(array, np.float64)
        finite = np.isfinite(exact)
        _require(np.array_equal(value[~finite], exact[~finite], equal_nan=True), case.name,
                 f"{label!r}: infinities or NaNs differ from {other}")  # fmt: skip
        allowed = tolerance * (float(np.abs(exact[finite]).max(initial=0)) + terms)
        error = float(np.abs(value[finite] - exact[finite]).max(initial=0))
        if not error <= allowed:
            off = np.abs(np.where(finite, value - exact, 0.0))
            place = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
            shown = f"at {list(place)} it is {array[place]}, not {wanted[place]}"
            _require(False, case.name, f"{label!r} is {error:.3g} off {other}, allowed {allowed:.3g}: {shown}"
                     f"{_mixing(case)}")  # fmt: skip


def _mixing(case: Case) -> str:
    """Return what to look at where an op of the user's own may read other samples than its own."""
    own = {type(n.op).__name__ for _, n in case.graph.items() if not is_internal(type(n.op).__module__)}
    batch = max((array.shape[0] for array in case.inputs.values() if array.ndim), default=1)
    if not own or batch == 1:
        return ""
    return f" (is native code of {', '.join(sorted(own))} registered with by_sample=True, and mixes samples?)"


def _tolerance(graph: Graph) -> float:
    """Return the tolerance of the coarsest element type that anything in the graph is computed in."""
    found = {type.dtype for _, node in graph.items() for type in node.types}
    return max((TOLERANCES[dtype] for dtype in found & TOLERANCES.keys()), default=0.0)


def _greatest_sum(case: Case) -> int:
    """Return the greatest number of terms that one element of any node sums up."""
    batch = max((array.shape[0] for array in case.inputs.values() if array.ndim), default=1)
    return max(node.cost(batch).flops // node.types[0].elements(batch) + 1 for _, node in case.graph.items())


def _check_step(case: Case, executable: Executable, results: Mapping[str, Array]) -> None:
    """Require that `step` gives the outputs of a call and writes the updates into the arrays of the state."""
    updates = case.graph.updates
    held = {label: case.inputs[label].copy() for label in updates}
    state = dict(held)
    inputs = {label: array.copy() for label, array in case.inputs.items() if label not in updates}
    outputs = executable.step(state, **inputs)
    _require(outputs.keys() == case.graph.outputs.keys(), case.name, f"step returned {sorted(outputs)}")
    _require_same_bits(case, "step gives other bits than a call", outputs, results)
    for label in updates:
        _require(state[label] is held[label], case.name, f"step replaced the array of the state {label!r}")
    _require_same_bits(case, "step leaves another state than a call", held, results)
    for label, array in inputs.items():
        same = array.tobytes() == case.inputs[label].tobytes()
        _require(same, case.name, f"step modified the input {label!r}")


CONTRACT: Final = (check_input_errors, check_unknown_op, check_batch_sizes, check_state_of_another_graph)
"""What every backend must do that no single case shows."""
