"""A whole network among layers: the same parameters under the same names, and the same bits."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError, ShapeError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((6, 8, 8, 3), dtype=np.float32)
LABELS = np.arange(6) % 3


def small(classes=3):
    return gcn.zoo.resnet20(classes=classes, input_shape=(8, 8, 3), width=0.25)


def compiled(network, **options):
    return gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), **options)


def test_behind_augmentation_a_network_has_the_weights_that_it_has_alone(tmp_path):
    alone = compiled(small())
    behind = compiled(gcn.Sequential(gcn.RandomFlip(), gcn.RandomCrop(padding=1), small()))
    assert list(behind.weights) == list(alone.weights)
    behind.train_step(IMAGES, LABELS)
    behind.save_weights(tmp_path / "weights.safetensors")
    alone.load_weights(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(alone.predict(IMAGES), behind.predict(IMAGES))


def test_the_last_network_gives_its_name_and_the_shape_of_the_images():
    model = compiled(gcn.Sequential(gcn.Sequential(gcn.RandomFlip()), gcn.Sequential(small())))
    assert str(model).startswith("<Model resnet20: image: float32[N, 8, 8, 3] -> float32[N, 3]")
    assert compiled(gcn.Sequential(gcn.RandomCrop(8), small()), input_shape=(9, 9, 3)).predict(
        RANDOM.random((2, 9, 9, 3), dtype=np.float32)
    ).shape == (2, 3)
    with pytest.raises(OptionError, match="input's shape of Sequential is not known"):
        compiled(gcn.Sequential(small(), gcn.Dense(2)))


def test_layers_go_on_from_a_network():
    deeper = compiled(gcn.Sequential(small(), gcn.Dense(5, name="more")), input_shape=(8, 8, 3))
    assert deeper.predict(IMAGES).shape == (6, 5)
    assert set(deeper.parameters) == {*compiled(small()).parameters, "more.weights", "more.bias"}


def test_a_network_is_called_on_values_and_shares_its_parameters_with_itself():
    left, right = (gcn.Input((8, 8, 3), name) for name in ("left", "right"))
    network = small()
    twins = compiled(gcn.Network((left, right), network(left) - network(right)))
    assert list(twins.parameters) == list(compiled(small()).parameters)
    assert not twins.predict({"left": IMAGES, "right": IMAGES}).any()


def test_several_outputs_are_a_dictionary():
    x, other = gcn.Input((4,)), gcn.Input((4,), "other")
    scale = gcn.Parameter((4,), "scale", initializer=gcn.Constant(2.0))
    both = gcn.Network(x, {"twice": x * scale, "sum": gcn.sum(x * scale, axes=1, keepdims=True)})
    found = gcn.compile(gcn.Network(other, both(other + 1.0))).predict(np.ones((1, 4), np.float32))
    np.testing.assert_array_equal(found["twice"], [[4, 4, 4, 4]])
    np.testing.assert_array_equal(found["sum"], [[16]])


def test_auxiliary_outputs_help_to_train_behind_other_layers():
    def with_help():
        image = gcn.Input((8, 8, 3), name="image")
        features = gcn.Conv2d(4, 3, name="conv")(image)
        head = gcn.Sequential(gcn.GlobalAvgPool2d(), gcn.Dense(3), name="head")
        helper = gcn.Sequential(gcn.Flatten(), gcn.Dense(3), name="helper")
        return gcn.Network(image, head(features), auxiliary={"help": helper(features)})

    alone, behind = (compiled(each) for each in (with_help(), gcn.Sequential(gcn.Pad2d(0), with_help())))
    results = [model.train_step(IMAGES, LABELS) for model in (alone, behind)]
    assert results[0] == results[1]
    assert "help_loss" in results[1]
    assert list(behind.forward_graph.outputs) == ["output"]


def test_the_precision_of_the_whole_is_the_networks():
    scale = gcn.Parameter((3,), "scale", initializer=gcn.Constant(0.1))
    x = gcn.Input((8, 8, 3))
    network = gcn.Network(x, gcn.GlobalAvgPool2d()(x * scale))
    model = gcn.compile(gcn.Sequential(gcn.RandomFlip(), network), dtype="float64")
    assert model.predict(IMAGES).dtype == np.float64


def test_values_that_do_not_fit_are_refused_with_the_line_and_the_mend():
    network = small()
    with pytest.raises(ShapeError, match=r"resnet20 \(test_applied\.py:\d+\): the network takes") as caught:
        compiled(gcn.Sequential(gcn.RandomFlip(), network), input_shape=(12, 8, 3))
    assert caught.value.mend == "make the network for it: input_shape=(12, 8, 3)"
    with pytest.raises(ShapeError, match="is applied to float32"):
        network(gcn.Input((8,)))
    with pytest.raises(OptionError, match="has 1 inputs, and is applied to 2 values"):
        network(gcn.Input((8, 8, 3)), gcn.Input((8, 8, 3), "other"))
    x = gcn.Input((4,))
    with pytest.raises(ShapeError, match=r"test_applied\.py:\d+: the network takes"):
        gcn.Network(x, {"a": gcn.relu(x), "b": gcn.tanh(x)})(gcn.Input((5,)))
