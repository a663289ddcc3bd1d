"""Weights alone: parameters and statistics travel together, whole or not at all."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import graphcnn as gcn
from graphcnn.errors import FileError, OptionError

RANDOM = np.random.default_rng(4)
IMAGES = RANDOM.random((24, 6, 6, 2)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 24)


def network(seed=0, **options):
    layers = gcn.Sequential(
        gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Dropout(0.2), gcn.Flatten(), gcn.Dense(3)
    )
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.Adam(0.01), **options}
    return gcn.compile(layers, input_shape=(6, 6, 2), seed=seed, backend="numpy", **options)


@pytest.fixture(scope="module")
def trained():
    model = network()
    model.fit(IMAGES, LABELS, epochs=2, batch_size=8, progress=False)
    return model


def test_weights_are_parameters_and_statistics(trained):
    statistics = {"batchnorm1.mean", "batchnorm1.variance"}
    assert trained.weights.keys() - trained.parameters.keys() == statistics
    assert trained.weights.count == trained.parameters.count + 8
    assert repr(trained.weights).startswith(f"{trained.weights.count} weights\n")


def test_names_can_be_asked_for(trained):
    assert "dense1.bias" in trained.parameters
    assert "batchnorm1.mean" not in trained.parameters
    assert trained.parameters.get("no.such") is None


@pytest.mark.parametrize("way", ["save_weights", "save", "update", "another program"])
def test_another_model_of_the_network_predicts_the_same(trained, tmp_path, way):
    path, other = tmp_path / "weights.safetensors", network(seed=5, loss=None, optimizer=None)
    assert not np.array_equal(other.predict(IMAGES), trained.predict(IMAGES))
    if way == "update":
        other.weights.update(trained.weights)
    elif way == "another program":
        save_file(dict(trained.weights), path)
        other.load_weights(path)
    else:
        getattr(trained, way)(path)
        other.load_weights(str(path))
    assert np.array_equal(other.predict(IMAGES), trained.predict(IMAGES))


def test_a_file_of_parameters_alone_is_refused_and_changes_nothing(trained, tmp_path):
    path, other = tmp_path / "parameters.safetensors", network(seed=5)
    save_file(dict(trained.parameters), path)
    before = other.state()
    with pytest.raises(FileError, match=r"parameters\.safetensors") as caught:
        other.load_weights(path)
    assert "missing batchnorm1.mean: float32[4]" in str(caught.value)
    assert all(np.array_equal(array, before[name]) for name, array in other.state().items())


def test_parameters_refuse_a_file_of_weights_and_say_what_takes_it(trained, tmp_path):
    trained.save_weights(tmp_path / "weights.safetensors")
    other = network(seed=5)
    before = other.state()
    with pytest.raises(OptionError, match=r"batchnorm1\.mean' is state of the model") as caught:
        other.parameters.update(load_file(tmp_path / "weights.safetensors"))
    assert "Mend: model.weights holds parameters and statistics" in str(caught.value)
    assert all(np.array_equal(array, before[name]) for name, array in other.state().items())


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("dense1.bias", np.zeros(4, np.float32), "the file has float32[4], the network float32[3]"),
        ("dense1.bias", np.zeros(3), "the file has float64[3], the network float32[3]"),
        ("dense7.bias", np.zeros(3, np.float32), "unknown dense7.bias"),
    ],
)
def test_weights_of_another_network_are_refused(trained, tmp_path, name, array, reason):
    save_file({**trained.weights, name: array}, tmp_path / "weights.safetensors")
    with pytest.raises(FileError) as caught:
        network().load_weights(tmp_path / "weights.safetensors")
    assert reason in str(caught.value)
    assert "model.load_weights(path, only=['conv1', 'batchnorm1'" in caught.value.mend


def test_weights_that_are_assigned_take_the_networks_precision(trained):
    other = network(seed=5)
    for name, array in trained.weights.items():
        other.weights[name] = array.astype(np.float64)
    assert np.array_equal(other.predict(IMAGES), trained.predict(IMAGES))


def test_a_file_of_weights_is_no_model_and_says_so(trained, tmp_path):
    trained.save_weights(tmp_path / "weights.safetensors")
    with pytest.raises(FileError, match=r"model\.load_weights\(path\)"):
        gcn.load(tmp_path / "weights.safetensors")
