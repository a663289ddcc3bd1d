"""Weights that Keras saved: what it computed with them, names, and what does not fit."""

import numpy as np
import pytest
from keras_files import FILE, network

import graphcnn as gcn
from graphcnn.errors import FileError, OptionError

HERE = FILE.parent


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_outputs_are_those_of_keras(backend):
    model = gcn.compile(network(), backend=backend)
    model.load_weights(FILE, layout="keras")
    made = np.load(HERE / "outputs.npz")
    np.testing.assert_allclose(model.predict(made["images"]), made["outputs"], rtol=1e-5, atol=1e-5)


def test_a_layer_may_be_left_as_it_is_or_be_the_only_one():
    model = gcn.compile(network(head="new", units=7), backend="numpy")
    before = {name: array.copy() for name, array in model.weights.items()}
    model.load_weights(FILE, layout="keras", skip="new")
    assert not np.array_equal(model.weights["conv1.filters"], before["conv1.filters"])
    np.testing.assert_array_equal(model.weights["new.weights"], before["new.weights"])
    whole = gcn.compile(network(), dtype="float64", backend="numpy")
    whole.load_weights(FILE, layout="keras", only="bn1")
    np.testing.assert_array_equal(whole.weights["bn1.variance"], model.weights["bn1.variance"])
    assert np.array_equal(whole.weights["bn1.mean"], model.weights["bn1.mean"])
    assert not np.array_equal(whole.weights["up.bias"], model.weights["up.bias"])
    first = gcn.Sequential(gcn.Conv2d(4, 3, bias=False, name="conv1"))
    other = gcn.compile(first, input_shape=(6, 5, 2), backend="numpy")
    other.load_weights(FILE, layout="keras", only="*")
    np.testing.assert_array_equal(other.weights["conv1.filters"], model.weights["conv1.filters"])


def test_all_that_does_not_fit_is_told_at_once():
    model = gcn.compile(network(head="new", slope_of_each=False), backend="numpy")
    before = {name: array.copy() for name, array in model.weights.items()}
    with pytest.raises(FileError) as caught:
        model.load_weights(FILE, layout="keras")
    said = str(caught.value)
    for part in (
        "missing new.weights: float32[60, 3]",
        "unknown head, variable 0",
        "slopes.slope: the file has float32[1, 1, 4], the network float32[]",
        'skip="head"',
    ):
        assert part in said
    for name, array in model.weights.items():
        np.testing.assert_array_equal(array, before[name])


def test_other_files_are_told_what_to_do(tmp_path):
    model = gcn.compile(network(), backend="numpy")
    with pytest.raises(FileError, match=r"save_weights\(\"name.weights.h5\"\)"):
        model.load_weights(HERE / "outputs.npz", layout="keras")
    with pytest.raises(FileError, match="does not exist"):
        model.load_weights(tmp_path / "nothing.weights.h5", layout="keras")
    with pytest.raises(FileError, match='layout="keras"'):
        model.load_weights(FILE)
    with pytest.raises(FileError, match=r"safetensors.torch.save_file"):
        model.load_weights(HERE / "outputs.npz")
    with pytest.raises(OptionError, match="is read, and not written"):
        model.save_weights(tmp_path / "name.weights.h5", layout="keras")


@pytest.mark.parametrize("length", [0, 9, 96, 2_000, 20_000, 30_000])
def test_a_file_that_is_cut_off_leaves_the_model_as_it_is(length, tmp_path):
    model = gcn.compile(network(), backend="numpy")
    before = {name: array.copy() for name, array in model.weights.items()}
    cut = tmp_path / "cut.weights.h5"
    cut.write_bytes(FILE.read_bytes()[:length])
    with pytest.raises(FileError, match="not a whole file of Keras's weights"):
        model.load_weights(cut, layout="keras")
    for name, array in model.weights.items():
        np.testing.assert_array_equal(array, before[name])
