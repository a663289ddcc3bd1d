"""Sequential: an Input in front, the protocol of sequences, and what stands where a layer belongs."""

import copy
import pickle
import re

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import GraphcnnError, OptionError, ShapeError
from graphcnn.foreign_names import OF_MODELS, OF_NETWORKS, OWN_OF_MODELS

IMAGES = np.random.default_rng(1).random((4, 28, 28, 1), np.float32)
LABELS = np.array([0, 1, 0, 1])


def layers():
    return gcn.Conv2d(2, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(2)


def compiled(network, **options):
    return gcn.compile(network, backend="numpy", **options)


# An Input in front


def test_an_input_in_front_says_the_shape_of_the_images():
    network = gcn.Sequential(gcn.Input((28, 28, 1), name="digit"), *layers())
    model = compiled(network)
    assert list(model.forward_graph.inputs_with_role("data")) == ["digit"]
    np.testing.assert_array_equal(
        model.predict(IMAGES), compiled(gcn.Sequential(*layers()), input_shape=(28, 28, 1)).predict(IMAGES)
    )
    assert compiled(network, input_shape=[28, 28, 1]).parameters.count == model.parameters.count
    assert [layer.title for layer in network.layers] == ["Conv2d", "ReLU", "Flatten", "Dense"]
    assert copy.deepcopy(network).input.shape == pickle.loads(pickle.dumps(network)).input.shape


def test_an_input_in_front_and_input_shape_have_to_agree():
    network = gcn.Sequential(gcn.Input((28, 28, 1)), *layers())
    with pytest.raises(ShapeError, match=r"test_sequential\.py:\d+: input_shape=\(8, 8, 1\), but") as caught:
        compiled(network, input_shape=(8, 8, 1))
    mended = eval(re.search(r"gcn\.Input\(.*\)", caught.value.mend)[0], {"gcn": gcn})
    assert compiled(gcn.Sequential(mended, *layers()), input_shape=(8, 8, 1)).parameters.count


def test_a_block_with_an_input_in_front_takes_such_images_alone():
    stem = gcn.Sequential(gcn.Input((28, 28, 1)), gcn.Conv2d(2, 3))
    whole = gcn.Sequential(stem, gcn.Flatten(), gcn.Dense(2))
    assert compiled(whole).predict(IMAGES).shape == (4, 2)
    assert stem(gcn.Input((28, 28, 1))).shape == ("N", 26, 26, 2)
    with pytest.raises(ShapeError, match=r"begins with gcn\.Input\(\(28, 28, 1\)\), but it is given"):
        stem(gcn.Input((8, 8, 1)))
    with pytest.raises(OptionError, match="Sequential has no layers"):
        gcn.Sequential(gcn.Input((28, 28, 1)))


# As a sequence


def test_a_sequential_is_a_sequence_of_its_layers():
    network = gcn.Sequential(*layers())
    assert (len(network), list(network)) == (4, list(network.layers))
    assert network[0] is network.layers[0]
    assert network[-1] is network.layers[3]
    assert list(network[:-1]) == list(network.layers[:3])
    for place in (4, -5, "conv1", 1.0):
        with pytest.raises(OptionError, match=r"test_sequential\.py:\d+: there is no layer") as caught:
            network[place]
        assert isinstance(caught.value, IndexError)
        for code in re.findall(r"network\[.*?\]", caught.value.mend):
            assert eval(code, {"network": network}) is not None


# What stands where a layer belongs


def advised(call, **names):
    """Return what the code in an error's advice computes."""
    with pytest.raises(GraphcnnError) as caught:
        call()
    code = re.search(r"gcn\..*\)", caught.value.mend.partition("; ")[0])[0].replace("..., ", "")
    return eval(code, {"gcn": gcn, **names})


def test_layers_in_another_container_are_unpacked_as_advised():
    for given in (list(layers()), layers(), (layer for layer in layers())):
        assert len(advised(lambda given=given: gcn.Sequential(given), layers=layers())) == 4
    named = dict(enumerate(layers()))
    assert len(advised(lambda: gcn.Sequential(named), layers=named)) == 4
    with pytest.raises(GraphcnnError) as caught:
        gcn.Sequential(("first", gcn.ReLU()))
    assert caught.value.mend == "name the layer: ReLU(..., name='first')"


def test_a_model_is_not_compiled_again_but_its_network_with_its_weights():
    network = gcn.Sequential(gcn.Input((28, 28, 1)), *layers())
    model = compiled(network)
    names = {"network": network, "model": model}
    longer = advised(lambda: gcn.Sequential(model, gcn.Dense(3)), **names)
    again = advised(lambda: gcn.compile(model, loss=gcn.CrossEntropy()), **names)
    for name, array in model.weights.items():
        np.testing.assert_array_equal(again.weights[name], array)
        np.testing.assert_array_equal(longer.weights[name], array)
    for wrong in (lambda: gcn.Dense(3)(model), lambda: gcn.Network(model, model)):
        with pytest.raises(GraphcnnError, match=r"test_sequential\.py:\d+") as caught:
            wrong()
        assert "gcn.Input(shape)" in caught.value.mend


def test_what_a_network_is_not_called_on_is_said():
    x = gcn.Input((28, 28, 1))
    network = gcn.Network(x, gcn.Sequential(*layers())(x))
    assert advised(lambda: network(IMAGES), network=network, images=IMAGES).shape == (4, 2)
    two = gcn.Network(x, {"left": network.output, "right": network.output})
    first = gcn.Input((28, 28, 1), name="first")
    whole = advised(lambda: gcn.Sequential(gcn.ReLU(), two), x=first, network=two, layers=gcn.ReLU())
    assert compiled(whole).predict(IMAGES)["right"].shape == (4, 2)
    for wrong in (lambda: network[0], lambda: list(network)):
        with pytest.raises(GraphcnnError, match=r"test_sequential\.py:\d+: a Network is a graph"):
            wrong()


def test_what_is_compiled_and_is_no_network_is_mended_as_advised():
    x = gcn.Input((28, 28, 1))

    def make():
        return gcn.Sequential(gcn.Input((28, 28, 1)), *layers())

    front = [gcn.Input((28, 28, 1)), *layers()]
    names = {"x": x, "y": gcn.Flatten()(x), "layers": front, "make": make}
    for given in (names["y"], front, make):
        model = advised(lambda given=given: gcn.compile(given, input_shape=(28, 28, 1)), **names)
        assert isinstance(model, gcn.Model)
    assert isinstance(advised(lambda: gcn.compile(gcn.Sequential)), gcn.Sequential)


def test_a_layer_on_arrays_or_on_nothing_says_how_it_is_used():
    network = gcn.Sequential(*layers())
    assert advised(lambda: network(IMAGES), network=network, images=IMAGES).shape == (4, 2)
    with pytest.raises(GraphcnnError, match="is applied to no value") as caught:
        network()
    assert "gcn.Input(shape)" in caught.value.mend


# Attributes


def of_a_function():
    x = gcn.Input((28, 28, 1))
    return gcn.Network(x, gcn.Sequential(*layers(), gcn.Reshape((2,)))(x))


@pytest.mark.parametrize("name", [*(n for n in OF_NETWORKS if "." not in n), *OWN_OF_MODELS, *OF_MODELS])
@pytest.mark.parametrize(
    "make",
    [
        of_a_function,
        lambda: gcn.Sequential(*layers()),
        lambda: gcn.Sequential(gcn.Input((28, 28, 1)), *layers()),
    ],
)
def test_attributes_of_models_and_other_frameworks_say_what_there_is(make, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = make()
    if name in ("graph", "build", "layers", "trainable") and hasattr(network, name):
        return
    with pytest.raises(AttributeError, match=f"has no attribute '{name}': ") as caught:
        getattr(network, name)
    advice = str(caught.value).partition(f"'{name}': ")[2]
    names = {"gcn": gcn, "network": network, "images": IMAGES, "labels": LABELS, "layers": layers()}
    if advice.startswith("model = "):
        code, _, advice = advice.partition("; ")
        exec(code, names)
    if name in OWN_OF_MODELS and "show" not in name and "load" not in name:
        eval(advice, names)
    elif name in OF_NETWORKS and advice and "batchnorm" not in advice:
        assert eval(advice.partition("; ")[0], names) is not None


def test_misspelt_attributes_and_those_of_python_are_as_they_were():
    network = gcn.Sequential(*layers())
    with pytest.raises(AttributeError, match="a Conv2d has no attribute 'kernal': did you mean 'kernel'"):
        _ = network[0].kernal
    with pytest.raises(AttributeError, match="a Network has no attribute 'outptus': did you mean 'outputs'"):
        _ = of_a_function().outptus
    assert not hasattr(network, "zzzzzz")
    assert not hasattr(network, "__array__")
    assert copy.deepcopy(of_a_function()).outputs
    assert len(pickle.loads(pickle.dumps(network))) == 4


def test_a_property_of_ones_own_says_itself_what_it_lacks():
    class Narrow(gcn.Dense):
        @property
        def width(self):
            return self.unitz

    with pytest.raises(AttributeError, match="a Narrow has no attribute 'unitz': did you mean 'units'"):
        _ = Narrow(3).width
