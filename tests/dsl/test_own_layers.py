"""Layers of the user's own: what the base class asks of them, and errors at the line that makes them."""

from dataclasses import dataclass

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import GraphcnnError


@dataclass(eq=False)
class Scale(gcn.Layer):
    """x · a, where a is trained, and a count of the steps."""

    first: float = 2.0

    kind = "scale"
    operands = 1

    def check(self):
        if self.first == 0:
            raise gcn.OptionError("first=0 stays 0", mend="first=1.0")

    def build(self, build, x):
        a = build.parameter("a", gcn.TensorType((), x.type.dtype), gcn.Constant(self.first))
        if build.training:
            steps = build.state("steps", gcn.TensorType((), "float64"))
            build.update(steps, build(ops.Add(), steps, ops.constant(build, 1.0, steps.type)))
        return build(ops.Multiply(), x, a)


def compiled(layer, **options):
    network = gcn.Sequential(layer, gcn.Flatten(), gcn.Dense(2))
    given = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1), "backend": "numpy"}
    return gcn.compile(network, input_shape=(2, 3), **(given | options))


X = np.ones((4, 2, 3), np.float32)


def test_parameters_and_states(tmp_path):
    model = compiled(Scale(3.0))
    assert model.parameters["scale1.a"] == 3.0
    for _ in range(3):
        model.train_step(X, [0, 1, 0, 1])
    assert model.parameters["scale1.a"] != 3.0
    assert model.state()["scale1.steps"] == 3
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors", backend="numpy")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_layer_with_a_constructor_of_its_own():
    class Doubled(gcn.Layer):
        kind = "doubled"

        def __init__(self, times):
            self.times = times

        def build(self, build, x):
            for _ in range(self.times):
                x = build(ops.Add(), x, x)
            return x

    x = gcn.Input((3,))
    network = gcn.Network(x, Doubled(3)(x))
    assert gcn.compile(network, backend="numpy").predict(np.ones((1, 3), np.float32)).tolist() == [[8, 8, 8]]
    assert "doubled1" in str(network.graph)


def test_an_argument_that_check_refuses():
    with pytest.raises(gcn.OptionError) as caught:
        Scale(0)
    assert str(caught.value).startswith("Scale (test_own_layers.py:")


def layer_of(build, **attributes):
    return type("Mine", (gcn.Layer,), {"build": build, **attributes})


def foreign(self, build, x):
    return gcn.Graph().input("x", x.type)


def parameter_of(*arguments):
    return lambda self, build, x: build(ops.Multiply(), x, build.parameter("a", *arguments))


SCALAR = gcn.TensorType(())


@pytest.mark.parametrize(
    ("make", "problem", "mend"),
    [
        (type("Mine", (gcn.Layer,), {}), "Mine does not say what it computes", "def build"),
        (layer_of(Scale.build, kind=3), "Mine.kind=3 is not a word", "kind ="),
        (layer_of(Scale.build, kind="a|b"), "Mine.kind='a|b' is not a word", "kind ="),
        (dataclass(layer_of(Scale.build)), "Mine has layers that equal each other", "@dataclass(eq=False)"),
        (
            layer_of(lambda self, build: None),
            "Mine.build does not take the 1 values it is given",
            "def build",
        ),
        (layer_of(lambda self, build, x: None), "Mine.build returned NoneType", "return build"),
        (
            layer_of(foreign),
            "the result of Mine.build: %0 of type float32[N, 2, 3] is a value of another",
            "graph",
        ),
        (layer_of(parameter_of((1,), gcn.Constant(1.0))), "the type of 'a' is (1,)", "gcn.TensorType"),
        (
            layer_of(lambda self, build, x: build.parameter("a", SCALAR)),
            "the parameter 'a' has no initializer",
            "gcn.Constant(0.5), gcn.Glorot()",
        ),
        (layer_of(parameter_of(SCALAR, 0.5)), "the initializer of 'a' is 0.5", "gcn.Constant(0.5)"),
        (layer_of(parameter_of(SCALAR, gcn.He)), "the initializer of 'a' is <class", "gcn.Glorot()"),
        (
            layer_of(lambda self, build, x: build.update(x, x)),
            "no state of its own, but a value of",
            "build.state",
        ),
        (
            layer_of(lambda self, build, x: build.update(build.state("s", SCALAR), x)),
            "a state of type float32[] cannot be replaced by float32[N, 2, 3]",
            "the type of the state",
        ),
    ],
)
def test_what_is_refused(make, problem, mend):
    with pytest.raises(GraphcnnError) as caught:
        compiled(make())
    assert problem in str(caught.value)
    assert mend in str(caught.value).partition("Mend:")[2]
    assert "test_own_layers.py:" in str(caught.value).splitlines()[0]


def test_a_class_in_the_place_of_a_layer():
    with pytest.raises(GraphcnnError) as caught:
        gcn.Sequential(Scale)
    assert "item 0 of Sequential is the class Scale, not a layer" in str(caught.value)
    assert "Mend: make a layer of it: Scale(...)" in str(caught.value)
    with pytest.raises(GraphcnnError, match=r"make a layer of it: gcn.ReLU\(...\)"):
        gcn.Sequential(gcn.ReLU)
