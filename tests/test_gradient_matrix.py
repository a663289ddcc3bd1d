"""Every op, attribute, element type and backend: gradients agree with differences, and with PyTorch."""

import dataclasses
import itertools
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import reference
from graphcnn.ir import Graph, Input, TensorType
from graphcnn.testing import check_gradients
from graphcnn.testing.gradient_matrix import (
    build_gradient_case,
    check_gradient_case,
    forward_graphs,
    gradient_cases,
)
from graphcnn.testing.pytorch import MEANINGS, check_gradient_case_in_pytorch

CASES = gradient_cases()
GRAPHS = list(forward_graphs())
EVERY_OP = [op for op in ops.OPS.values() if op is not Input and op.__module__.startswith("graphcnn.")]


@pytest.fixture(scope="module")
def attributes():
    """Return which values every attribute of every op takes in some case."""
    taken = {op: {field.name: set() for field in fields_of(op)} for op in EVERY_OP}
    for graph in GRAPHS:
        for _, node in graph.items():
            if type(node.op) is not Input:
                for field in fields_of(type(node.op)):
                    taken[type(node.op)][field.name].add(getattr(node.op, field.name))
    return taken


@pytest.fixture(scope="module")
def pairs():
    """Return which two attributes of an op differ from their defaults in one and the same case."""
    found = {op: set() for op in EVERY_OP}
    for graph in GRAPHS:
        for _, node in graph.items():
            if type(node.op) is not Input:
                found[type(node.op)].update(itertools.combinations(changed(node.op), 2))
    return found


def fields_of(op):
    return [field for field in dataclasses.fields(op) if field.compare]


def changed(op):
    return [field.name for field in optional(type(op)) if getattr(op, field.name) != field.default]


def optional(op):
    return [field for field in fields_of(op) if field.default is not dataclasses.MISSING]


@pytest.mark.parametrize("op", EVERY_OP, ids=lambda op: op.name)
def test_every_attribute_of_an_op_takes_several_values(op, attributes):
    for name, values in attributes[op].items():
        declared = get_type_hints(op)[name]
        wanted = get_args(declared) if get_origin(declared) is Literal else ()
        wanted = (True, False) if declared is bool else wanted
        if name == "dtype":
            wanted = ("float32", "float64")
        missing = set(wanted) - values
        assert not missing, (
            f"no case has {op.name} with {name} in {missing}: add one to the conformance suite"
        )
        assert len(values) > 1, f"all cases have {op.name} with {name}={values}: add one with another"


@pytest.mark.parametrize("op", EVERY_OP, ids=lambda op: op.name)
def test_every_two_attributes_of_an_op_differ_from_their_defaults_together(op, pairs):
    for pair in itertools.combinations([field.name for field in optional(op)], 2):
        assert pair in pairs[op], f"no case has {op.name} with both {' and '.join(pair)}: add one"


def test_every_op_is_in_some_case():
    seen = {type(node.op) for graph in GRAPHS for _, node in graph.items()}
    assert set(EVERY_OP) <= seen


def test_the_page_says_how_many_cases_there_are():
    page = Path(__file__).parents[1] / "docs" / "gradients.md"
    assert page.read_text(encoding="utf-8").count(f"| {len(CASES):,} |") == 2, f"there are {len(CASES):,}"


def test_every_op_has_a_meaning_in_pytorch():
    assert set(EVERY_OP) == MEANINGS.keys()


@pytest.mark.parametrize("case", CASES[:: len(CASES) // 50])
def test_gradients_of_some_cases(case):
    assert check_gradient_case(case, ["numpy"]) == 1


@pytest.mark.parametrize("case", CASES[5 :: len(CASES) // 12])
def test_gradients_of_some_cases_on_both_backends(case):
    assert check_gradient_case(case) == 2


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_every_case_on_both_backends(case):
    assert check_gradient_case(case) == 2


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_every_case_are_those_of_pytorch(case):
    pytest.importorskip("torch")
    check_gradient_case_in_pytorch(case)


def test_cases_that_differ_in_the_batch_alone_are_one():
    assert "correlate2d: batch 1, float32" in CASES
    assert "correlate2d: batch 15, float32" not in CASES
    assert "argmax: axis 1, float32" not in CASES, "whole numbers have no gradient"
    with pytest.raises(KeyError):
        build_gradient_case("argmax: axis 1, float32")
    with pytest.raises(KeyError):
        build_gradient_case("no case")


def test_a_case_says_which_gradient_is_wrong(monkeypatch):
    monkeypatch.setattr(ops.Tanh, "gradient", lambda self, emit, x, y, delta: (delta,))
    with pytest.raises(AssertionError, match=r"^case 'tanh: \[1\], float64': order 1"):
        check_gradient_case("tanh: [1], float64")


def test_a_wrong_backend_is_caught(monkeypatch):
    class Careless:
        name = "careless"
        ops = frozenset(ops.OPS.values())

        def compile(self, graph):
            right = reference().compile(graph)

            def run(**inputs):
                return {label: np.asarray(array * 1.001) for label, array in right(**inputs).items()}

            return run

    with pytest.raises(AssertionError, match="off the reference"):
        check_gradient_case("tanh: [1], float64", [Careless()])


def test_what_a_gradient_stops_at_is_held_fixed_by_differences():
    graph = Graph()
    x = graph.input("x", TensorType((3,), "float64"))
    stopped = graph.add(ops.StopGradient(), graph.add(ops.Exp(), x))
    graph.output("product", graph.add(ops.Multiply(), stopped, x))
    check_gradients(graph, "product", ["x"], {"x": np.array([-1.0, 0.5, 2.0])}, order=2)
