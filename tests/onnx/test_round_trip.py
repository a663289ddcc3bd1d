"""Networks that go out as files of ONNX and come back: the same nodes, the same weights, the same bits."""

import inspect
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.ir import Input
from graphcnn.zoo import PUBLISHED, ZOO

SMALL = {"resnet20": (16, 16, 3), "mobilenetv2": (32, 32, 3), "squeezenet": (35, 35, 3), "nin": (32, 32, 3)}
"""Published networks for images that a test has time for."""


def model_of(name):
    if name in ZOO:
        return gcn.compile(ZOO[name].make(), input_shape=ZOO[name].input_shape)
    make = PUBLISHED[name].make
    takes_shape = "input_shape" in inspect.signature(make).parameters and name in SMALL
    return gcn.compile(make(input_shape=SMALL[name]) if takes_shape else make())


def nodes_of(graph):
    """Return the ops of a graph and the types they make, as far as files of ONNX tell them.

    They have numbers in float32, no names of inputs, and do not say which slope clips have at their ends.
    Parameters come back without axes of size 1 in front, which broadcasting puts there again.
    """
    return Counter(_told(node) for _, node in gcn.simplify(graph).items())


def _told(node):
    op, types = node.op, node.types
    if isinstance(op, Input):
        shape = types[0].shape
        while shape[:1] == (1,):
            shape = shape[1:]
        return op.role, shape
    if isinstance(op, gcn.ops.Constant):
        return np.float32(op.value), types
    return (replace(op, closed=True) if isinstance(op, gcn.ops.Clip) else op), types


def returned(model, path, **options):
    model.export_onnx(path, **options)
    return gcn.from_onnx(path)


@pytest.mark.parametrize("name", [*ZOO, "lenet5_1998", *SMALL])
def test_networks_return_as_they_were(name, tmp_path):
    model = model_of(name)
    network = returned(model, tmp_path / "model.onnx")
    assert nodes_of(network.graph) == nodes_of(model.forward_graph)
    images = np.random.default_rng(1).normal(size=(3, *network.inputs[0].shape[1:])).astype(np.float32)
    np.testing.assert_array_equal(gcn.compile(network).predict(images), model.predict(images))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - set(SMALL)))
def test_large_networks_return_as_they_were(name, tmp_path):
    model = model_of(name)
    network = returned(model, tmp_path / "model.onnx")
    assert nodes_of(network.graph) == nodes_of(model.forward_graph)
    images = np.random.default_rng(1).normal(size=(1, *network.inputs[0].shape[1:])).astype(np.float32)
    np.testing.assert_array_equal(gcn.compile(network).predict(images), model.predict(images))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_either_order_of_axes_returns(layout, tmp_path):
    model = model_of("lenet5")
    network = returned(model, tmp_path / "model.onnx", layout=layout)
    assert nodes_of(network.graph) == nodes_of(model.forward_graph)


def test_parameters_return_by_their_names(tmp_path):
    model = model_of("resnet20")
    back = gcn.compile(returned(model, tmp_path / "model.onnx"))
    for name, array in model.weights.items():
        np.testing.assert_array_equal(back.weights[name], array)


def test_what_has_returned_is_trained_as_before(tmp_path):
    """The step of what has returned is the same graph, so that its losses are the same numbers."""
    network = gcn.Sequential(gcn.Conv2d(4, 3), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Flatten(), gcn.Dense(10))
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.05, momentum=0.9)}
    model = gcn.compile(network, input_shape=(8, 8, 1), **options)
    back = gcn.compile(returned(model, tmp_path / "model.onnx"), **options)
    digits = gcn.data.load_digits()
    for _ in range(5):
        batch = digits.images[:32], digits.labels[:32]
        assert model.train_step(*batch) == back.train_step(*batch)
