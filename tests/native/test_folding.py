"""Batch norm folded into the convolution before it, where inference leaves its parameters as they are."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import load_backend
from graphcnn.ir import BATCH, Emitter, Graph, TensorType
from graphcnn_native import NativeExecutable
from graphcnn_native.lowering.canonical import canonical
from graphcnn_native.target import named_target

RANDOM = np.random.default_rng(5)
TARGET = named_target("avx2")


def with_batch_norm():
    """Convolutions of all kinds with batch norm behind them, twice behind one of them."""
    layers = [gcn.Conv2d(32, 3, padding="same", bias=True), gcn.BatchNorm2d(), gcn.ReLU()]
    layers += [gcn.DepthwiseConv2d(3, padding="same"), gcn.BatchNorm2d(), gcn.BatchNorm2d(), gcn.ReLU6()]
    layers += [gcn.Conv2d(32, 3, padding=1), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Conv2d(8, 1, groups=2)]
    return gcn.Sequential(*layers, gcn.BatchNorm2d(), gcn.GlobalAvgPool2d(), gcn.Dense(3))


def compiled(backend="native", dtype="float32"):
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "dtype": dtype, "seed": 1}
    return gcn.compile(with_batch_norm(), input_shape=(9, 9, 16), backend=backend, **options)


def done_to_maps(graph):
    """Return the ops by which maps are multiplied, and by which something is added to them."""
    rewritten, _ = canonical(graph, TARGET, winograd=True)
    found = [
        node.op.name for _, node in rewritten.items() if node.types[0].rank == 4 and node.types[0].has_batch
    ]
    return [name for name in found if name in ("multiply", "add", "subtract")]


def test_one_addition_is_left_of_batch_norm():
    assert done_to_maps(compiled().forward_graph) == ["add"] * 4


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-11)])
def test_predictions_are_those_of_the_reference(dtype, tolerance):
    models = [compiled(backend, dtype) for backend in ("native", "numpy")]
    images = RANDOM.standard_normal((20, 9, 9, 16)).astype(dtype)
    for _ in range(3):  # statistics that differ from 0 and 1, and that change between predictions
        for model in models:
            model.train_step(3 * images + 1, np.arange(20) % 3)
        found, expected = (model.predict(images) for model in models)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def conv_and(follow):
    """Return a graph with a convolution, followed by what `follow(emit, maps, vector)` returns."""
    graph = Graph("maps")
    emit = Emitter(graph)
    images = graph.input("images", TensorType((BATCH, 5, 5, 2), "float32"))
    filters = graph.input("filters", TensorType((3, 3, 2, 4), "float32"), role="parameter")
    scale = graph.input("scale", TensorType((4,), "float32"), role="parameter")
    maps = emit(ops.Correlate2d(), images, filters)
    for number, value in enumerate(follow(emit, maps, emit(ops.Broadcast(maps.type.shape), scale))):
        graph.output(f"output {number}", value)
    return graph


def values_of(graph):
    draw = np.random.default_rng(2)
    return {
        name: draw.standard_normal([6 if size == BATCH else size for size in value.type.shape]).astype(
            "float32"
        )
        for name, value in graph.inputs.items()
    }


def shifted_first(emit, maps, vector):
    return [emit(ops.Multiply(), vector, emit(ops.Subtract(), maps, vector))]


def shifted_twice(emit, maps, vector):
    return [emit(ops.Subtract(), emit(ops.Add(), vector, maps), emit(ops.Negate(), vector))]


def scaled_twice(emit, maps, vector):
    return [emit(ops.Multiply(), emit(ops.Multiply(), maps, vector), vector)]


def read_twice(emit, maps, vector):
    return [emit(ops.Multiply(), maps, vector), emit(ops.Tanh(), maps)]


def subtracted_from(emit, maps, vector):
    return [emit(ops.Multiply(), emit(ops.Subtract(), vector, maps), vector)]


def scaled_by_images(emit, maps, vector):
    """By numbers that no parameter decides."""
    means = emit(ops.Mean((0, 1, 2)), maps)
    return [emit(ops.Multiply(), maps, emit(ops.Broadcast(maps.type.shape), means))]


FOLLOWING = {
    shifted_first: ["add"],
    shifted_twice: ["add", "subtract"],
    scaled_twice: [],
    read_twice: ["multiply"],
    subtracted_from: ["subtract", "multiply"],
    scaled_by_images: ["multiply"],
}


@pytest.mark.parametrize("follow", FOLLOWING)
def test_what_can_be_folded_is_and_all_compute_the_same(follow):
    graph = conv_and(follow)
    assert done_to_maps(graph) == FOLLOWING[follow]
    values = values_of(graph)
    found = NativeExecutable(graph)(**values)
    for name, expected in load_backend("numpy").compile(graph)(**values).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5)


def test_a_training_step_folds_nothing():
    graph = compiled().step_graph
    rewritten, _ = canonical(graph, TARGET, winograd=False)
    scaled = [node for _, node in rewritten.items() if node.op.name == "correlate2d"]
    of_parameters = [n for n in scaled if rewritten.node(n.operands[1].key).op.name == "multiply"]
    assert scaled
    assert not of_parameters
