"""Axes of any length: code does not grow with them, and memory that cannot be had is a clear error."""

import math

import numpy as np
import pytest

from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.errors import BackendError
from graphcnn.ir import BATCH, Graph, Origin, TensorType
from graphcnn_native.codegen.module import generate
from graphcnn_native.lowering import lower
from graphcnn_native.target import host_target

LONG = 3 * 5 * 7 * 2**10
LONGEST = LONG * 2**24
"""The same number modulo any vector's length, and as divisible by small numbers."""


def images(n):
    return {"x": (BATCH, 4, 6, n)}


OPS = {
    "broadcast": lambda n: (ops.Broadcast((BATCH, n)), {"x": (n,)}),
    "relu": lambda n: (ops.Relu(), {"x": (BATCH, n)}),
    "sum of samples": lambda n: (ops.Sum((0,)), {"x": (BATCH, n)}),
    "sum along": lambda n: (ops.Sum((1,)), {"x": (BATCH, n)}),
    "sum before": lambda n: (ops.Sum((1,)), {"x": (BATCH, 3, n)}),
    "sum without a batch": lambda n: (ops.Mean((1,)), {"x": (2, 3, n)}),
    "softmax": lambda n: (ops.LogSoftmax(), {"x": (BATCH, n)}),
    "argmax": lambda n: (ops.ArgMax(1), {"x": (BATCH, n)}),
    "crop": lambda n: (ops.Crop(((0, 0), (1, 2))), {"x": (BATCH, n + 3)}),
    "pad": lambda n: (ops.Pad(((0, 0), (1, n - 1))), {"x": (BATCH, n)}),
    "pad at the sides": lambda n: (ops.Pad(((0, 0), (0, 0), (n, n), (0, 0))), {"x": (BATCH, 2, n, 2)}),
    "turn": lambda n: (ops.Rot180((1,)), {"x": (BATCH, n)}),
    "transpose": lambda n: (ops.Transpose((1, 0)), {"x": (9, n)}),
    "join": lambda n: (ops.Concatenate(1), {"x": (BATCH, n), "y": (BATCH, n)}),
    "insert zeros": lambda n: (ops.ZeroInsert((2, 2)), {"x": (BATCH, 4, n, 3)}),
    "wide product": lambda n: (ops.Matmul(), {"x": (BATCH, 3), "y": (3, n)}),
    "deep product": lambda n: (ops.Matmul(), {"x": (BATCH, n), "y": (n, 5)}),
    "filters": lambda n: (ops.Correlate2d(), {**images(16), "w": (3, 3, 16, n)}),
    "channels": lambda n: (ops.Correlate2d(), {**images(n), "w": (3, 3, n, 8)}),
    "width": lambda n: (ops.Correlate2d(), {"x": (BATCH, 4, n, 3), "w": (3, 3, 3, 6)}),
    "filter gradient": lambda n: (ops.Correlate2d(sum_over="batch"), {**images(n), "d": (BATCH, 3, 4, 5)}),
    "large filter": lambda n: (ops.Correlate2d(), {"x": (BATCH, 4, n + 9, 3), "w": (3, n, 3, 6)}),
    "max pool": lambda n: (ops.MaxPool2d((2, 2), (2, 2)), images(n)),
    "large pool": lambda n: (ops.AveragePool2d((2, n), (1, 1)), {"x": (BATCH, 4, n + 1, 3)}),
}


def code(name, n):
    op, shapes = OPS[name](n)
    graph = Graph("long")
    operands = [graph.input(label, TensorType(shape, "float32")) for label, shape in shapes.items()]
    graph.output("y", graph.add(op, *operands))
    return str(generate(lower(graph, host_target()), host_target()))


@pytest.mark.parametrize("name", OPS)
def test_code_does_not_grow_with_an_axis(name):
    assert len(code(name, LONGEST)) < 1.1 * len(code(name, LONG))


def huge(elements, *then):
    graph = Graph("huge")
    graph.input("x", TensorType((BATCH, 1), "float32"))
    value = graph.inputs["x"]
    origin = Origin(layer="spread", file="net.py", line=7)
    value = graph.add(ops.Broadcast((BATCH, elements)), value, origin=origin)
    for op in then:
        value = graph.add(op, value)
    graph.output("y", value)
    return graph


@pytest.mark.parametrize("then", [(), (ops.LogSoftmax(), ops.Sum((1,)))])
def test_memory_that_cannot_be_had_names_the_layer(then, native):
    """More than the address space of any processor has."""
    executable = native().compile(huge(2**46, *then))
    with pytest.raises(BackendError, match=r"spread \(net.py:7\): there is no memory") as error:
        executable(x=np.ones((3, 1), np.float32))
    assert "float32[N, 70368744177664], 844,424.9 GB for this batch" in str(error.value)


def test_the_interpreter_names_the_layer_as_well():
    graph = huge(2**46, ops.Relu())
    with pytest.raises(BackendError, match="no memory for relu"):
        load_backend("numpy").compile(graph)(x=np.ones((3, 1), np.float32))


def test_a_value_beyond_all_addresses_is_refused(native):
    with pytest.raises(BackendError, match=r"spread \(net.py:7\): broadcast gives .* no memory holds"):
        native().compile(huge(2**61))


def test_a_call_after_one_without_memory_is_right(native):
    """What was known of the memory still holds."""
    graph = Graph("mean")
    x = graph.input("x", TensorType((BATCH, 3), "float32"))
    graph.output("y", graph.add(ops.LogSoftmax(), x))
    executable, rows = native().compile(graph), np.zeros((2, 3), np.float32)
    for _ in range(2):
        assert np.allclose(executable(x=rows)["y"], -math.log(3))
        with pytest.raises(BackendError, match="no memory"):
            executable(x=np.broadcast_to(rows[:1], (2**47, 3)))
