"""Arguments and attributes that there are not: what was meant, or what to do instead."""

import copy
import pickle

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError

IMAGES = np.zeros((4, 4, 4, 1), np.float32)
LABELS = np.zeros(4, np.int64)


def network():
    return gcn.Sequential(gcn.Flatten(), gcn.Dense(2))


def classifier():
    return gcn.compile(network(), input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("validation_steps", "the whole validation data are evaluated"),
        ("val_check_interval", "validate_every=100"),
        ("epoch", "did you mean 'epochs'"),
        ("batchsize", "did you mean 'batch_size'"),
        ("callback", "did you mean 'callbacks'"),
        ("verbose", "progress=False"),
        ("learning_rate", "model.learning_rate = 0.01"),
        ("qqq", "leave it out"),
    ],
)
def test_an_argument_that_fit_does_not_have(name, mend):
    model = classifier()
    with pytest.raises(
        OptionError, match=rf"test_names.py:\d+: fit has no argument '{name}'(.*\n)+  Mend: .*{mend}"
    ):
        model.fit(IMAGES, LABELS, **{name: 1})
    assert model.epochs_done == 0


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("optimiser", "'optimizer'"),
        ("losses", "'loss'"),
        ("lr", "gcn.SGD"),
        ("device", "CPU"),
        ("thread", "'threads'"),
        ("mixed_precision", 'precision="bfloat16"'),
    ],
)
def test_an_argument_that_compile_does_not_have(name, mend):
    with pytest.raises(
        OptionError, match=rf"test_names.py:\d+: compile has no argument '{name}'(.*\n)+  Mend: .*{mend}"
    ):
        gcn.compile(network(), input_shape=(4, 4, 1), **{name: 1})


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.evaluate(IMAGES, LABELS, batchsize=2),
        lambda model: model.predict(IMAGES, batchsize=2),
        lambda model: gcn.load("model.safetensors", thread=2),
    ],
)
def test_others_name_what_was_meant_too(call):
    with pytest.raises(OptionError, match=r"has no argument '(batchsize|thread)'(.*\n)+  Mend: did you mean"):
        call(classifier())


@pytest.mark.parametrize("name", ["frozen", "requires_grad"])
def test_what_others_call_freezing_names_what_it_is_called_here(name):
    layer = gcn.Dense(3, name="last")
    with pytest.raises(
        OptionError, match=rf"last \(test_names.py:\d+\): a Dense has no attribute '{name}'"
    ) as caught:
        setattr(layer, name, False)
    assert "layer.trainable = False" in caught.value.mend


def test_attributes_that_a_layer_has_can_be_set_and_copies_are_layers():
    layer = gcn.Dense(3)
    layer.name = "other"
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert copied.name == "other"
        with pytest.raises(OptionError):
            copied.frozen = True


@pytest.mark.parametrize("name", ["lr", "trainable", "layers"])
def test_a_model_takes_no_names_of_others(name):
    with pytest.raises(AttributeError, match=f"a Model has no attribute '{name}': "):
        setattr(classifier(), name, 0.1)
