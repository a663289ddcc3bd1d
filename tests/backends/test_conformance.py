"""Both backends pass the suite that every backend passes, and the suite finds careless backends."""

import numpy as np
import pytest

from graphcnn.backend import load_backend
from graphcnn.errors import BackendError
from graphcnn.ir import Input
from graphcnn.ops import Add, Correlate2d, MaxPool2d, Relu, UserFunction
from graphcnn.testing import backend_cases, check_backend, check_backend_case
from graphcnn.testing.cases import build_case
from graphcnn.testing.conformance import CONTRACT

BACKENDS = ("numpy", "native")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", backend_cases())
def test_every_case_passes(backend, name):
    assert check_backend_case(backend, name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("check", CONTRACT)
def test_the_contract_is_kept(backend, check):
    check(load_backend(backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_op_is_in_some_case(backend):
    covered = {type(node.op) for name in backend_cases() for _, node in build_case(name).graph.items()}
    # tests/dsl/test_pointwise_functions.py tests functions of the user's own: no case could print and parse.
    assert covered >= load_backend(backend).ops - {Input, UserFunction}


class Altered:
    """The NumPy backend with something done to its calls."""

    name = "altered"

    def __init__(self, *, alter=None, ops=None, compiled=None):
        self.ops = ops or load_backend("numpy").ops
        self.alter, self.compiled = alter, compiled

    def compile(self, graph):
        if not {type(node.op) for _, node in graph.items()} <= self.ops:
            raise BackendError("there is no such kernel")
        return AlteredExecutable(load_backend("numpy").compile(graph), self.alter)


class AlteredExecutable:
    def __init__(self, inner, alter):
        self.inner, self.alter = inner, alter

    def __call__(self, /, **inputs):
        return self.alter(self.inner(**inputs), inputs)

    def step(self, state, /, **inputs):
        return self.inner.step(state, **inputs)


def off_by_a_little(results, inputs):
    return {label: a * (1 + 1e-9) if a.dtype.kind == "f" else a for label, a in results.items()}


def different_each_time(results, inputs):
    different_each_time.calls = getattr(different_each_time, "calls", 0) + 1
    return {label: a * (1 + different_each_time.calls * 2e-16) for label, a in results.items()}


def write_to_an_input(results, inputs):
    next(iter(inputs.values()))[...] = 0
    return results


def hand_out_inputs(results, inputs):
    return {label: inputs.get("input0") for label in results}


def in_another_precision(results, inputs):
    return {label: a.astype(np.float32) for label, a in results.items()}


def transposed(results, inputs):
    return {label: a.T for label, a in results.items()}


def under_other_names(results, inputs):
    return {f"{label}'": a for label, a in results.items()}


ALTERATIONS = {
    off_by_a_little: "off the reference",
    different_each_time: "a second run gives other bits",
    write_to_an_input: "was modified",
    hand_out_inputs: "shares memory",
    in_another_precision: "is float32, not float64",
    transposed: "has the shape",
    under_other_names: "results",
}


@pytest.mark.parametrize("alter", ALTERATIONS, ids=lambda alter: alter.__name__)
def test_a_careless_backend_is_caught(alter):
    backend = Altered(alter=alter)
    name = "tanh: [15, 3, 1, 5], float64"
    with pytest.raises(AssertionError, match=ALTERATIONS[alter]) as caught:
        check_backend_case(backend, name)
    assert name in str(caught.value)


def test_a_wrong_kernel_of_the_reference_itself_is_caught(monkeypatch):
    from graphcnn_numpy.kernels import KERNELS

    right = KERNELS[Correlate2d]
    monkeypatch.setitem(KERNELS, Correlate2d, lambda op, operands, batch: -right(op, operands, batch))
    with pytest.raises(AssertionError, match="the definition"):
        check_backend_case("numpy", "correlate2d: stride, float64")


def test_a_state_that_is_replaced_is_caught():
    def step(state, /, **inputs):
        results = executable(**{**state, **inputs})
        state.update({label: results.pop(label) for label in executable.graph.updates})
        return results

    executable = load_backend("numpy").compile(build_case("training step: batch 1, float64").graph)
    backend = Altered(alter=lambda results, inputs: results)
    compile_altered = backend.compile

    def compile_replacing(graph):
        altered = compile_altered(graph)
        altered.step = step
        return altered

    backend.compile = compile_replacing
    with pytest.raises(AssertionError, match="replaced the array of the state"):
        check_backend_case(backend, "training step: batch 1, float64")


def test_ops_that_a_backend_lacks_are_reported_as_not_covered():
    backend = Altered(alter=lambda results, inputs: results, ops=frozenset({Input, Add, Relu}))
    assert check_backend_case(backend, "relu: [33, 70], float32")
    assert not check_backend_case(backend, "pools: overlapping, float64")
    assert MaxPool2d not in backend.ops


def test_the_report_lists_passed_and_uncovered_cases():
    class Two(Altered):
        def compile(self, graph):
            if not {type(node.op) for _, node in graph.items()} <= self.ops:
                raise BackendError("there is no such kernel")
            return load_backend("numpy").compile(graph)

    result = check_backend(Two(ops=frozenset({Input, Relu, *_of_the_contract()})))
    assert "relu: edges, float32" in result.passed
    assert "matmul: batch 1, float32" in result.uncovered
    assert len(result.passed) + len(result.uncovered) == len(backend_cases()) + len(CONTRACT)
    assert "altered" in str(result)


def _of_the_contract():
    from graphcnn.ops import Multiply

    return {Add, Multiply}
