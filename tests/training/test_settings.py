"""What results, histories, losses, optimisers and models are asked for, or set to, and what they answer."""

import copy
import json
import pickle
import re
from dataclasses import dataclass, fields

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import GraphcnnError, SettingError
from graphcnn.foreign_names import OF_HISTORIES, OF_LOSSES, OF_OPTIMIZERS, SETTABLE

IMAGES = np.random.default_rng(2).random((4, 6, 6, 1), np.float32)
LABELS = np.array([0, 1, 0, 1])


def network():
    return gcn.Sequential(gcn.Input((6, 6, 1)), gcn.Conv2d(2, 3), gcn.Flatten(), gcn.Dense(2))


def classifier(optimizer=None):
    return gcn.compile(
        network(), loss=gcn.CrossEntropy(), optimizer=optimizer or gcn.SGD(0.1), backend="numpy"
    )


def names(model):
    """What code in advice speaks of."""
    return {
        "gcn": gcn,
        "model": model,
        "network": network(),
        "x": IMAGES,
        "y": LABELS,
        "images": IMAGES,
        "labels": LABELS,
        "history": model.history,
        "parameters": dict(model.parameters),
        "weights": dict(model.weights),
    }


def code(advice):
    return advice.partition("; ")[0].replace("=...", "=None").replace("..., ", "")


# Results by name


def two_headed():
    x = gcn.Input((6, 6, 1))
    y = gcn.Flatten()(x)
    heads = gcn.Network(x, {"digit": gcn.Dense(2)(y), "angle": gcn.Dense(1)(y)})
    losses = {"digit": gcn.CrossEntropy(), "angle": gcn.SquaredError(reduction="mean")}
    return gcn.compile(heads, loss=losses, optimizer=gcn.SGD(0.1), backend="numpy")


def test_outputs_by_name_say_what_they_are():
    model = two_headed()
    found = model.predict(IMAGES)
    for place, name in ((0, "digit"), (1, "angle"), (-1, "angle"), (5, "digit"), ("digits", "digit")):
        with pytest.raises(
            GraphcnnError, match=r"test_settings\.py:\d+: model\.predict\(x\) is a dict"
        ) as caught:
            found[place]
        assert isinstance(caught.value, KeyError)
        assert repr(name) in caught.value.mend
        if isinstance(place, int):
            np.testing.assert_array_equal(eval(caught.value.mend, names(model)), found[name])
    with pytest.raises(AttributeError, match=r"\(x\)\['digit'\]\.argmax; it has digit, angle"):
        found.argmax(axis=1)


def test_results_by_name_say_what_they_are_and_are_dictionaries():
    model = classifier()
    for call in (model.evaluate, model.train_step):
        found = call(IMAGES, LABELS)
        with pytest.raises(GraphcnnError, match=rf"model\.{call.__name__}\(x, y\) is a dictionary") as caught:
            found[1]
        assert isinstance(eval(caught.value.mend, names(model)), float)
        with pytest.raises(GraphcnnError, match="did you mean 'accuracy'"):
            found["acuracy"]
        with pytest.raises(AttributeError, match=r"\(x, y\)\['accuracy'\]; it has loss, accuracy"):
            _ = found.accuracy
        assert found == dict(found) == json.loads(json.dumps(found)) == copy.deepcopy(found)
        assert pickle.loads(pickle.dumps(found)) == found
        assert found.get("acuracy") is None


def test_a_history_says_what_it_has():
    model = classifier()
    history = model.fit(IMAGES, LABELS, progress=False)
    for name in (*OF_HISTORIES, "loss", "accuracy"):
        with pytest.raises(AttributeError, match=f"a History has no attribute '{name}': ") as caught:
            getattr(history, name)
        assert eval(code(str(caught.value).partition(": ")[2]), names(model))
    for name, mend in (
        ("acuracy", "did you mean 'accuracy'?"),
        ("val_loss", "model.fit(..., validation_data=(images, labels)) records it"),
        (0, "history.epochs[0] has the numbers of one epoch"),
    ):
        with pytest.raises(GraphcnnError, match=r"test_settings\.py:\d+: .* was not recorded") as caught:
            history[name]
        assert isinstance(caught.value, KeyError)
        assert caught.value.mend == mend
    assert len(copy.deepcopy(history)) == len(pickle.loads(pickle.dumps(history))) == 1


# Settings that stay


PARTS = {
    name: part()
    for name in gcn.__all__
    if isinstance(part := getattr(gcn, name), type)
    and (hasattr(part, "append_updates") or hasattr(part, "per_sample"))
    and name not in ("Loss", "Optimizer")
}


@pytest.mark.parametrize("name", PARTS)
def test_settings_of_losses_and_optimisers_are_had_anew_as_advised(name):
    part, model = PARTS[name], classifier()
    for field in (each.name for each in fields(part)):
        with pytest.raises(SettingError, match=rf"settings\.py:\d+: {name} keeps the settings") as caught:
            setattr(part, field, getattr(part, field))
        assert isinstance(caught.value, AttributeError)
        made = re.search(rf"gcn\.{name}\(.*?\)(?=, weights|$)", caught.value.mend)[0]
        assert eval(made, {"gcn": gcn}) == part
    with pytest.raises(SettingError, match=f"{name} has no attribute 'zzzzzz'"):
        part.zzzzzz = 1
    is_loss = hasattr(part, "per_sample")
    for wrong in OF_LOSSES if is_loss else OF_OPTIMIZERS:
        with pytest.raises(AttributeError, match=f"{name} has no attribute '{wrong}': ") as caught:
            getattr(part, wrong)
        if "computes" not in (advice := str(caught.value).partition(f"'{wrong}': ")[2]):
            eval(code(advice), names(model))
    if is_loss:
        with pytest.raises(GraphcnnError, match=r"test_settings\.py:\d+: .* is not called on arrays"):
            part(IMAGES, LABELS)
    assert copy.deepcopy(part) == pickle.loads(pickle.dumps(part)) == part
    assert not hasattr(part, "zzzzzz")


def test_the_learning_rate_of_an_optimiser_is_the_models():
    model = classifier(gcn.SGD(0.1, momentum=0.9))
    for name in ("learning_rate", "lr"):
        with pytest.raises(SettingError) as caught:
            setattr(model.optimizer, name, 0.02)
        rate, made = caught.value.mend.split("; or, before gcn.compile, ")
        exec(rate, names(model))
        assert model.learning_rate == 0.02
        assert eval(made, {"gcn": gcn}) == gcn.SGD(0.02, momentum=0.9)
    with pytest.raises(GraphcnnError) as caught:
        model.optimizer.momentum = 0.5
    again = eval(caught.value.mend.replace("...", "loss=gcn.CrossEntropy()"), names(model))
    assert again.optimizer == gcn.SGD(0.1, momentum=0.5)
    np.testing.assert_array_equal(again.parameters["conv1.bias"], model.parameters["conv1.bias"])


def test_a_class_of_ones_own_that_extends_one_has_attributes_of_its_own():
    class Counting(gcn.SGD):
        def __init__(self):
            super().__init__(0.5)
            self.count = 3

    @dataclass(frozen=True)
    class Fast(gcn.SGD):
        factor: float = 2.0

    assert (Counting().count, Counting().learning_rate, Fast(0.1).factor) == (3, 0.5, 2.0)


@pytest.mark.parametrize("rate", [gcn.cosine_decay(0.1, epochs=3), lambda epoch: 0.1])
def test_a_schedule_is_no_learning_rate(rate):
    with pytest.raises(GraphcnnError, match=r"test_settings\.py:\d+: learning_rate=") as caught:
        classifier().learning_rate = rate
    assert caught.value.mend.startswith("model.fit(..., callbacks=[schedule])")


@pytest.mark.parametrize("name", [*SETTABLE, "forward_graph", "step_graph"])
def test_what_a_model_has_and_cannot_be_set_is_had_as_advised(name):
    model = classifier()
    with pytest.raises(SettingError, match=rf"test_settings\.py:\d+: model\.{name} cannot be set") as caught:
        setattr(model, name, getattr(model, name))
    assert isinstance(caught.value, AttributeError)
    if name in SETTABLE:
        eval(code(caught.value.mend), names(model))


def test_values_of_a_network_are_named_where_they_are_made():
    x = gcn.Input((6, 6, 1))
    for name in ("name", "shape", "layer"):
        with pytest.raises(SettingError, match=r"test_settings\.py:\d+: a value of a network") as caught:
            setattr(x, name, "image")
    codes = re.findall(r"gcn\.\w+\(.*?\)", caught.value.mend)
    value, layer = (eval(code, {"gcn": gcn, "shape": (3,)}) for code in codes)
    assert (value.layer.name, layer.name) == ("image", "head")
    assert copy.copy(x).type == pickle.loads(pickle.dumps(x)).type
