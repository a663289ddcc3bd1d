"""Weights alone: parameters and statistics travel together, whole or not at all."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import graphcnn as gcn
from graphcnn.errors import FileError, GraphcnnError, OptionError

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
    if "unknown" in reason:
        eval(
            caught.value.mend.partition(": ")[2],
            {"model": network(), "path": tmp_path / "weights.safetensors"},
        )
    else:
        assert "model.load_weights(path, skip=['dense1'])" in caught.value.mend


def test_weights_that_are_assigned_take_the_networks_precision(trained):
    other = network(seed=5)
    for name, array in trained.weights.items():
        other.weights[name] = array.astype(np.float64)
    assert np.array_equal(other.predict(IMAGES), trained.predict(IMAGES))


def test_a_file_of_weights_is_no_model_and_says_so(trained, tmp_path):
    trained.save_weights(tmp_path / "weights.safetensors")
    with pytest.raises(FileError, match=r"model\.load_weights\(path\)"):
        gcn.load(tmp_path / "weights.safetensors")


# Advice, which is followed


def small(*layers):
    network = gcn.Sequential(*(layers or (gcn.Conv2d(2, 3), gcn.BatchNorm2d(), gcn.Flatten(), gcn.Dense(3))))
    return gcn.compile(network, input_shape=(8, 8, 1), backend="numpy")


def refusal(call):
    with pytest.raises(GraphcnnError, match=r"test_weights\.py:\d+: ") as caught:
        call()
    return caught.value


NUMBERS = np.random.default_rng(5)
GIVEN = {
    "a number": ("conv1.filters", 3),
    "PyTorch's filters": ("conv1.filters", NUMBERS.random((2, 1, 3, 3))),
    "other axes": ("conv1.filters", NUMBERS.random((3, 3, 2, 1))),
    "PyTorch's dense weights": ("dense1.weights", NUMBERS.random((3, 72))),
    "an axis too many": ("conv1.bias", np.zeros((1, 2), np.float32)),
    "integers": ("conv1.bias", np.array([1, 2])),
    "a list of integers": ("conv1.bias", [1, 2]),
}


@pytest.mark.parametrize(("name", "given"), GIVEN.values(), ids=GIVEN)
def test_arrays_that_do_not_fit_are_set_as_advised(name, given):
    model = small()
    for call in (
        lambda: model.parameters.__setitem__(name, given),
        lambda: model.weights.update({name: given}),
        lambda: (
            gcn.compile(gcn.Conv2d(2, 3, name="conv1"), input_shape=(8, 8, 1), weights={name: given})
            if name.startswith("conv1")
            else model.parameters.update({name: given})
        ),
    ):
        code = refusal(call).mend.removeprefix("convert it: ")
        model.parameters[name] = eval(code, {"np": np, "array": given})
    if "PyTorch" in str([key for key, each in GIVEN.items() if each[1] is given]):
        held = model.parameters[name]
        whole = held.transpose(3, 2, 0, 1) if held.ndim == 4 else held.T
        np.testing.assert_allclose(whole, given, rtol=1e-6)


def test_names_that_there_are_not_are_set_as_advised():
    model = small()
    for given, meant in (
        ("conv1.weight", "conv1.filters"),
        ("conv1.kernel", "conv1.filters"),
        ("conv1.filter", "conv1.filters"),
        ("dense1.weight", "dense1.weights"),
        ("batchnorm1.weight", "batchnorm1.scale"),
        ("batchnorm1.gamma", "batchnorm1.scale"),
        ("conv1", "conv1.filters"),
        (0, "conv1.filters"),
    ):
        for call in (
            lambda given=given: model.parameters[given],
            lambda given=given: model.parameters.__setitem__(given, 1.0),
        ):
            mend = refusal(call).mend
            np.testing.assert_array_equal(eval(mend, {"model": model}), model.parameters[meant])
    mend = refusal(lambda: model.weights["batchnorm1.running_var"]).mend
    np.testing.assert_array_equal(eval(mend, {"model": model}), np.ones(2))
    with pytest.raises(AttributeError, match=r"no attribute 'conv1': model\.parameters\['conv1\.filters'\]"):
        _ = model.parameters.conv1
    error = refusal(lambda: gcn.compile(gcn.Dense(2), input_shape=(3,), weights={"dense1.weight": 0}))
    weights = eval(f"dict({error.mend})", {"array": np.ones((3, 2))})["weights"]
    assert gcn.compile(gcn.Dense(2), input_shape=(3,), weights=weights).parameters["dense1.weights"].all()
    error = refusal(lambda: gcn.compile(gcn.Dense(2), input_shape=(3,), weights=model))
    assert error.mend == "weights=model.weights"


def test_weights_that_are_no_mapping_are_set_as_advised(tmp_path):
    model, other = small(), small()
    arrays = [array + 1 for array in other.weights.values()]
    mend = refusal(lambda: model.weights.update(arrays)).mend.partition(", in the order")[0]
    eval(mend, {"model": model, "arrays": arrays, "zip": zip})
    for name, array in other.weights.items():
        np.testing.assert_array_equal(model.weights[name], array + 1)
    weights = dict(other.weights)
    eval(refusal(lambda: model.load_weights(weights)).mend, {"model": model, "weights": weights})
    np.testing.assert_array_equal(model.weights["conv1.filters"], weights["conv1.filters"])
    for wrong in (3, [1]):
        assert refusal(lambda wrong=wrong: model.set_state(wrong)).mend == "set what model.state() returned"


def test_files_of_the_other_layout_are_loaded_as_advised(tmp_path):
    model, other = small(), small()
    for layout in ("graphcnn", "torchvision"):
        path = tmp_path / f"{layout}.safetensors"
        other.save_weights(path, layout=layout)
        wrong = "torchvision" if layout == "graphcnn" else "graphcnn"
        error = refusal(lambda path=path, wrong=wrong: model.load_weights(path, layout=wrong))
        eval(error.mend.partition("), ")[0].rstrip(")") + ")", {"model": model, "path": path})
        for name, array in other.weights.items():
            np.testing.assert_array_equal(model.weights[name], array)
    renamed = small(gcn.Conv2d(2, 3, name="first"), gcn.BatchNorm2d(), gcn.Flatten(), gcn.Dense(3))
    error = refusal(lambda: renamed.load_weights(tmp_path / "graphcnn.safetensors"))
    assert "skip=['first']" in error.mend
