"""Every op in ONNX Runtime against the NumPy backend, and draws in ONNX's own evaluator as well."""

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import reference
from graphcnn.errors import ExportError
from graphcnn.interchange.onnx import EMITTERS
from graphcnn.ir import BATCH, SAMPLE_KEYS, Graph, Input, TensorType
from graphcnn.ops import GENERATOR_STATE, OPS
from graphcnn.testing.case import Case
from graphcnn.testing.cases import backend_cases, build_case
from graphcnn.testing.conformance import check_case, check_random_steps
from tests.interchange.onnx_runtimes import Runtime, in_onnxruntime, in_reference

ONNXRUNTIME = Runtime("onnxruntime", in_onnxruntime)
EVALUATOR = Runtime("onnx.reference", in_reference)
CASES = list(backend_cases())


def first_of_each_kind(names, count):
    kinds = {}
    for name in names:
        kinds.setdefault((name.partition(":")[0], name.rpartition(", ")[2]), []).append(name)
    return [name for each in kinds.values() for name in each[:count]]


def check(name):
    assert check_case(ONNXRUNTIME, build_case(name))


def test_every_op_but_the_user_s_functions_has_operators():
    assert set(OPS.values()) - EMITTERS.keys() == {Input, ops.UserFunction}


@pytest.mark.parametrize("name", first_of_each_kind(CASES, 2))
def test_a_few_cases_of_each_op(name):
    check(name)


@pytest.mark.slow
def test_all_cases():
    for name in CASES:
        check(name)


@pytest.mark.slow
def test_random_training_steps():
    """But for float64 rounded to bfloat16, which ONNX Runtime rounds to float32 before."""
    runner = Runtime("onnxruntime", in_onnxruntime)
    runner.ops -= {ops.RoundBfloat16}
    check_random_steps(runner, 300)


# Random numbers


def drawn(op, inputs, runtime):
    """Return what an op draws here and there."""
    graph = Graph("draw")
    operands = [graph.input(label, type, role=role) for label, (type, role, _) in inputs.items()]
    for place, result in enumerate(graph.add_all(op, *operands)):
        graph.output(f"y{place}", result)
    arrays = {label: array for label, (_, _, array) in inputs.items()}
    return tuple(each.compile(graph)(**arrays) for each in (reference(), runtime))


KEYS = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 40)
SAMPLES = {"sample_key": (SAMPLE_KEYS, "sample", KEYS)}
DRAWS = [
    *(ops.SampleUniform((BATCH, 5, 3), 7, dtype) for dtype in ("float32", "float64")),
    *(ops.SampleNormal((BATCH, 500), 2**32 - 1, dtype) for dtype in ("float32", "float64")),
    ops.SampleUniform((BATCH, 4), 7, "float32", alternating=True),
    ops.SampleIntegers((BATCH, 9), 3, -(2**31), 2**31 - 1),
    ops.SampleIntegers((BATCH,), 3, -4, 4, alternating=True),
]


@pytest.mark.parametrize("runtime", [ONNXRUNTIME, EVALUATOR], ids=["onnxruntime", "evaluator"])
@pytest.mark.parametrize("op", DRAWS, ids=str)
def test_draws_of_samples_have_the_same_bits(op, runtime):
    here, there = drawn(op, SAMPLES, runtime)
    assert here["y0"].tobytes() == there["y0"].tobytes()
    assert len(np.unique(here["y0"])) > 1


@pytest.mark.parametrize("op", [ops.RandomUniform(), ops.RandomNormal()], ids=str)
@pytest.mark.parametrize("state", [(0, 0), (-1, 2**62), (2**63 - 1, 2**33)])
def test_draws_of_a_generator_have_the_same_bits(op, state):
    like = TensorType((BATCH, 60), "float32")
    inputs = {
        "state": (GENERATOR_STATE, "state", np.array(state)),
        "like": (like, "data", np.zeros((30, 60), np.float32)),
    }
    here, there = drawn(op, inputs, ONNXRUNTIME)
    for name in ("y0", "y1"):
        assert here[name].tobytes() == there[name].tobytes()


def test_draws_need_a_newer_opset():
    with pytest.raises(ExportError, match="1 of 2 nodes") as raised:
        drawn(DRAWS[0], SAMPLES, Runtime("old", in_onnxruntime, opset=17))
    assert "needs opset 18" in raised.value.facts[0]
    drawn(DRAWS[0], SAMPLES, Runtime("newer", in_onnxruntime, opset=18))


# What the reference backend's cases do not hold


def test_winners_that_an_input_names():
    """A graph that is handed the winning units, which no max pool of its own has found."""
    window = ((2, 3), (1, 2), ((1, 0), (1, 1)))
    case = Case("winners", {})
    x = case.normal("float32", 2, 5, 7, 3, batch=True)
    pooled = ops.MaxPool2d(*window).pooled(x.type)
    units = case.random.integers(0, 6, pooled.concrete(2)).astype(np.uint8)
    inside = np.array(units)
    inside[:, 0] = 3 + units[:, 0] % 3  # the row above the image is padding
    inside[:, :, 0] = inside[:, :, 0] // 3 * 3 + 1 + inside[:, :, 0] % 2
    inside[:, :, -1] = inside[:, :, -1] // 3 * 3
    index = case.input(inside, batch=True)
    delta = case.normal("float32", *pooled.concrete(2), batch=True)
    size, stride, padding = window
    case.apply(ops.RouteToWinner2d(size, stride, padding, x.type.shape), delta, index)
    case.apply(ops.GatherWinner2d(*window), x, index)
    assert check_case(ONNXRUNTIME, case)
