"""The pass that rounds what products multiply: each value once, before it is moved, and nothing else."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.ir import Emitter, Graph, TensorType
from graphcnn.transform import bfloat16_products, differentiate


def network_graph(make, shape):
    x = gcn.Input(shape, name="image")
    return gcn.Network(x, make(x)).graph


def nodes(graph, kind):
    return [(key, node) for key, node in graph.items() if isinstance(node.op, kind)]


def roundings(graph):
    """Return what is rounded: the label of an input, or the op that made it."""
    found = []
    for _, node in nodes(graph, ops.RoundBfloat16):
        made = graph.node(node.operands[0].key).op
        found.append(getattr(made, "label", made.name))
    return found


def is_rounded(graph, value):
    """Whether a value has gone through a rounding, and since then through what only moves numbers."""
    node = graph.node(value.key)
    if isinstance(node.op, ops.RoundBfloat16):
        return True
    moves = ops.Reshape, ops.Transpose, ops.Rot180, ops.Pad, ops.Crop, ops.ZeroInsert, ops.Broadcast
    moves = *moves, ops.Concatenate, ops.RouteToWinner2d, ops.Subsample, ops.SpreadToBlock2d
    operands = [each for each in node.operands if each.type.is_float]
    return isinstance(node.op, moves) and all(is_rounded(graph, each) for each in operands)


def step_graphs():
    layers = {
        "dense": [gcn.Flatten(), gcn.Dense(7), gcn.Tanh()],
        "strides": [gcn.Conv2d(4, 3, stride=2), gcn.ReLU(), gcn.Conv2d(5, 2)],
        "pools": [gcn.Conv2d(4, 3), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Conv2d(5, 2), gcn.AvgPool2d(2)],
        "transposed": [gcn.ConvTranspose2d(4, 3, stride=2), gcn.ReLU(), gcn.Conv2d(3, 2, flip=True)],
        "groups": [gcn.Conv2d(4, 3, groups=2), gcn.BatchNorm2d(), gcn.DepthwiseConv2d(3), gcn.ReLU()],
    }
    for name, first in layers.items():
        model = gcn.compile(
            gcn.Sequential(*first, *([] if name == "dense" else [gcn.Flatten()]), gcn.Dense(3)),
            input_shape=(9, 9, 2),
            loss=gcn.CrossEntropy(),
            optimizer=gcn.SGD(0.1, momentum=0.9),
        )
        for kind in ("forward", "gradient", "step"):
            yield f"{name}, {kind}", model.graph(kind)


GRAPHS = dict(step_graphs())


@pytest.mark.parametrize("name", GRAPHS)
def test_every_operand_of_every_product_is_rounded_once(name):
    graph = bfloat16_products(GRAPHS[name])
    products = nodes(graph, (ops.Correlate2d, ops.Convolve2d, ops.Matmul))
    assert len(products) == len(nodes(GRAPHS[name], (ops.Correlate2d, ops.Convolve2d, ops.Matmul))) > 0
    for _, node in products:
        assert all(is_rounded(graph, operand) for operand in node.operands), node
    rounded = [node.operands[0] for _, node in nodes(graph, ops.RoundBfloat16)]
    assert len(rounded) == len(set(rounded))
    assert len(graph) == len(GRAPHS[name]) + len(rounded), "nothing else was added"
    for value in rounded:
        assert not is_rounded(graph, value), "a rounding of what is rounded"


@pytest.mark.parametrize("name", GRAPHS)
def test_what_goes_in_and_out_is_the_same(name):
    before, after = GRAPHS[name], bfloat16_products(GRAPHS[name])
    for part in ("inputs", "outputs", "updates"):
        kept = {label: value.type for label, value in getattr(before, part).items()}
        assert {label: value.type for label, value in getattr(after, part).items()} == kept


def test_a_value_is_rounded_before_it_is_moved():
    graph = GRAPHS["strides, step"]
    assert roundings(bfloat16_products(graph)) == [
        *("image", "conv1.filters", "relu", "conv2.filters", "add", "dense1.weights"),
        *("multiply", "reshape", "multiply"),
    ]


def test_what_something_else_reads_as_well_is_rounded_after_it_is_moved():
    def make(x):
        flat = gcn.flatten(x)
        return gcn.concatenate(flat, gcn.Dense(3)(flat))

    graph = bfloat16_products(network_graph(make, (4, 4, 1)))
    assert roundings(graph) == ["reshape", "dense1.weights"]


def test_padding_with_a_number_that_is_no_bfloat16_is_done_before():
    for value, expected in ((0.0, ["image", "conv1.filters"]), (0.1, ["pad", "conv1.filters"])):
        graph = network_graph(lambda x, v=value: gcn.Conv2d(2, 3)(gcn.pad(x, 1, value=v)), (4, 4, 1))
        assert roundings(bfloat16_products(graph)) == expected


def test_windows_that_overlap_add_up_before_the_rounding():
    layers = [gcn.Conv2d(4, 3, bias=False), gcn.MaxPool2d(3, stride=2), gcn.Flatten(), gcn.Dense(3)]
    model = gcn.compile(
        gcn.Sequential(*layers), input_shape=(9, 9, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1)
    )
    assert "route_to_winner2d" in roundings(bfloat16_products(model.step_graph))


def test_where_a_rounding_comes_from():
    graph = bfloat16_products(GRAPHS["dense, step"])
    found = [node.origin for _, node in nodes(graph, ops.RoundBfloat16)]
    assert {origin.rule for origin in found} == {"product of bfloat16"}
    assert {origin.layer for origin in found} == {"flatten1", "dense1", "dense2"}
    assert all(origin.file == __file__ for origin in found)
    assert [origin.forward is None for origin in found] == [True] * 4 + [False] * 2


def test_float64_stays_as_it_is():
    x = gcn.Input((4,), dtype="float64")
    graph = gcn.Network(x, gcn.Dense(3)(x)).graph
    assert bfloat16_products(graph) == graph


def test_a_rounding_that_is_there_is_not_rounded_again():
    graph = GRAPHS["pools, step"]
    once = bfloat16_products(graph)
    assert bfloat16_products(once) == once


def test_the_gradient_of_rounded_products_is_that_of_the_products():
    """Straight through: d(round(x) · w)/dx = round(w), which is not rounded again."""
    graph = Graph("product")
    x = graph.input("x", TensorType((2, 3)))
    w = graph.input("w", TensorType((3, 4)))
    graph.output("y", graph.add(ops.Sum((0, 1)), graph.add(ops.Matmul(), x, w)))
    rounded = bfloat16_products(graph)
    derived, found = differentiate(rounded, rounded.outputs["y"], {"w": rounded.inputs["w"]})
    derived.output("gradient", found["w"])
    arrays = {"x": np.full((2, 3), 1.01, np.float32), "w": np.ones((3, 4), np.float32)}
    gradient = gcn.evaluate(derived, **arrays)["gradient"]
    assert gradient.tolist() == [[2 * 1.0078125] * 4] * 3


def test_products_are_those_of_rounded_numbers():
    random = np.random.default_rng(2)
    graph = Graph("product")
    emit = Emitter(graph)
    x, w = graph.input("x", TensorType(("N", 70))), graph.input("w", TensorType((70, 9)))
    graph.output("y", emit(ops.Matmul(), x, w))
    arrays = {"x": random.standard_normal((5, 70)), "w": random.standard_normal((70, 9))}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    narrow = {
        name: (((array.view(np.uint32) + 0x8000) >> 16) << 16).view(np.float32).astype("f8")
        for name, array in arrays.items()
    }  # no tie is among them
    found = gcn.evaluate(bfloat16_products(graph), **arrays)["y"]
    assert np.abs(found - narrow["x"] @ narrow["w"]).max() < 1e-5
    assert np.abs(gcn.evaluate(graph, **arrays)["y"] - narrow["x"] @ narrow["w"]).max() > 1e-3
