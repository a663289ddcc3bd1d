"""Weights in the layout of PyTorch's modules: names, axes, statistics, and what does not fit."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import graphcnn as gcn
from graphcnn.errors import FileError, OptionError

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(size=(3, 6, 5, 2))


def network(**options):
    """Return a network of float64 with a layer of every kind that PyTorch stores in another way."""
    x = gcn.Input((6, 5, 2), name="image")
    y = gcn.relu(gcn.BatchNorm2d(name="bn1")(gcn.Conv2d(4, 3, padding=1, bias=False, name="conv1")(x)))
    y = gcn.Conv2d(4, 3, padding=1, groups=2, name="layer1.0.conv")(y)
    y = gcn.ConvTranspose2d(3, 2, name="up")(y)
    y = gcn.Conv2d(2, 2, flip=True, name="flipped")(y) * gcn.Parameter((6, 5, 2), "layer_scale")
    y = gcn.Dropout(0.5)(gcn.tanh(gcn.Flatten()(y)))
    y = gcn.Dense(7, name="classifier.1")(gcn.LayerNorm(name="norm")(y))
    y = gcn.Dense(3, name="classifier.4")(gcn.relu(y))
    return gcn.compile(gcn.Network(x, y), dtype="float64", backend="numpy", **options)


@pytest.fixture(scope="module")
def model():
    model = network(loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.01))
    for name, array in model.weights.items():
        model.weights[name] = RANDOM.uniform(0.5, 2.0, array.shape)
    return model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


@pytest.fixture
def state(model, path):
    model.save_weights(path, layout="torchvision")
    return load_file(path)


def test_names_and_shapes_are_those_of_pytorch_s_modules(state):
    assert {name: tensor.shape for name, tensor in state.items()} == {
        "conv1.weight": (4, 2, 3, 3),
        "bn1.weight": (4,),
        "bn1.bias": (4,),
        "bn1.running_mean": (4,),
        "bn1.running_var": (4,),
        "bn1.num_batches_tracked": (),
        "layer1.0.conv.weight": (4, 2, 3, 3),
        "layer1.0.conv.bias": (4,),
        "up.weight": (4, 3, 2, 2),
        "up.bias": (3,),
        "flipped.weight": (2, 3, 2, 2),
        "flipped.bias": (2,),
        "layer_scale": (2, 6, 5),
        "norm.weight": (60,),
        "norm.bias": (60,),
        "classifier.1.weight": (7, 60),
        "classifier.1.bias": (7,),
        "classifier.4.weight": (3, 7),
        "classifier.4.bias": (3,),
    }


def test_elements_are_where_pytorch_has_them(model, state):
    weights = model.weights
    assert state["conv1.weight"][3, 1, 2, 0] == weights["conv1.filters"][2, 0, 1, 3]
    assert state["up.weight"][3, 2, 1, 0] == weights["up.filters"][1, 0, 3, 2]
    assert state["flipped.weight"][1, 2, 0, 0] == weights["flipped.filters"][1, 1, 2, 1]
    assert state["layer_scale"][1, 4, 3] == weights["layer_scale"][4, 3, 1]
    assert state["bn1.running_var"][2] == weights["bn1.variance"][2]
    row, column, channel = 4, 3, 1
    here, there = (row * 5 + column) * 2 + channel, (channel * 6 + row) * 5 + column
    assert state["classifier.1.weight"][5, there] == weights["classifier.1.weights"][here, 5]
    assert state["norm.bias"][there] == weights["norm.shift"][here]
    assert state["classifier.4.weight"][2, 5] == weights["classifier.4.weights"][5, 2]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_written_can_be_read_again(model, state, path, dtype):
    save_file({k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in state.items()}, path)
    other = network(seed=5)
    other.load_weights(path, layout="torchvision")
    for name, array in model.weights.items():
        assert np.array_equal(other.weights[name], array.astype(dtype)), name
    if dtype is np.float64:
        assert np.array_equal(other.predict(IMAGES), model.predict(IMAGES))


def test_a_state_dict_of_an_old_pytorch_counts_no_batches(model, state, path):
    del state["bn1.num_batches_tracked"]
    save_file(state, path)
    other = network(seed=5)
    other.load_weights(path, layout="torchvision")
    assert np.array_equal(other.predict(IMAGES), model.predict(IMAGES))


def test_all_that_does_not_fit_is_named_at_once_and_changes_nothing(state, path):
    state["classifier.4.weight"] = np.zeros((1000, 7))
    state["fc.weight"] = state.pop("classifier.4.bias")
    state["conv1.num_batches_tracked"] = state.pop("bn1.running_mean")
    save_file(state, path)
    other = network(seed=5)
    before = other.state()
    with pytest.raises(FileError) as caught:
        other.load_weights(path, layout="torchvision")
    for said in (
        "missing classifier.4.bias: float64[3]",
        "missing bn1.running_mean: float64[4]",
        "unknown fc.weight",
        "unknown conv1.num_batches_tracked",
        "classifier.4.weight: the file has float64[1000, 7], the network float64[3, 7]",
        "name the layers as PyTorch names its modules",
    ):
        assert said in str(caught.value)
    assert all(np.array_equal(array, before[name]) for name, array in other.state().items())


def test_heads_that_training_alone_has_are_stored_too(path):
    x = gcn.Input((4, 4, 2), name="image")
    y = gcn.Dense(3, name="fc")(gcn.Flatten()(x))
    rows = gcn.Flatten()(gcn.BatchNorm2d(name="aux.bn")(x))
    z = gcn.Dense(3, name="aux.fc")(gcn.Dropout(0.5)(rows))
    model = gcn.compile(gcn.Network(x, y, auxiliary={"aux": z}), backend="numpy")
    model.save_weights(path, layout="torchvision")
    state = load_file(path)
    assert state["aux.fc.weight"].shape == (3, 32)
    assert state["aux.fc.weight"][1, 16] == model.weights["aux.fc.weights"][1, 1]
    assert state["aux.bn.running_var"].tolist() == [1, 1]
    state["aux.bn.running_mean"] = np.array([3, 4], np.float32)
    save_file(state, path)
    model.load_weights(path, layout="torchvision")
    assert model.weights["aux.bn.mean"].tolist() == [3, 4]


def test_two_weights_of_one_name_are_refused(path):

    x = gcn.Input((4,), name="image")
    y = x * gcn.Parameter((4,), "own.scale") + gcn.Parameter((4,), "own.slope")
    model = gcn.compile(gcn.Network(x, y), backend="numpy")
    with pytest.raises(OptionError, match=r"'own\.scale' and 'own\.slope' would both be 'own\.weight'"):
        model.save_weights(path, layout="torchvision")
    assert not path.exists()


def test_a_transposed_convolution_in_groups(path):
    """PyTorch has the channels of all groups in a row, and the filters of one; graphcnn the other way."""
    x = gcn.Input((4, 4, 6), name="image")
    rotated = gcn.apply_op(gcn.ops.Rot180(), gcn.Parameter((3, 2, 3, 4), "up.filters"))
    y = gcn.apply_op(gcn.ops.Correlate2d(padding=((2, 2), (1, 1)), groups=2), x, rotated)
    model = gcn.compile(gcn.Network(x, y), backend="numpy")
    model.weights["up.filters"] = RANDOM.normal(size=(3, 2, 3, 4))
    model.save_weights(path, layout="torchvision")
    stored, filters = load_file(path)["up.weight"], model.weights["up.filters"]
    assert (stored.shape, filters.shape) == ((6, 2, 3, 2), (3, 2, 3, 4))
    for channel, out in ((0, 1), (2, 0), (3, 1), (5, 0)):
        group = channel // 3
        assert np.array_equal(stored[channel, out], filters[:, :, channel % 3, group * 2 + out])
    other = gcn.compile(gcn.Network(x, y), backend="numpy")
    other.weights["up.filters"] = RANDOM.normal(size=filters.shape)
    other.load_weights(path, layout="torchvision")
    assert np.array_equal(other.weights["up.filters"], filters)


@pytest.mark.parametrize("method", ["save_weights", "load_weights"])
def test_a_layout_that_there_is_not_is_refused(model, path, method):
    with pytest.raises(OptionError, match="layout='flax' is not a layout") as caught:
        getattr(model, method)(path, layout="flax")
    assert "'graphcnn', 'torchvision'" in str(caught.value)
