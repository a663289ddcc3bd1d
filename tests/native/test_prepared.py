"""What depends on parameters alone is prepared once, and anew whenever they change."""

import copy

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import State
from graphcnn_native import NativeExecutable

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((40, 8, 8, 16)).astype(np.float32)
LABELS = np.arange(40) % 3


def network():
    layers = [gcn.Conv2d(32, 3, padding="same", name="wide"), gcn.BatchNorm2d(), gcn.ReLU(), gcn.MaxPool2d(2)]
    return gcn.Sequential(*layers, gcn.Conv2d(16, 3, name="deep"), gcn.Flatten(), gcn.Dense(3))


def compiled(backend="native", **options):
    options = {
        "loss": gcn.CrossEntropy(),
        "optimizer": gcn.SGD(0.1),
        "backend": backend,
        "seed": 4,
        **options,
    }
    return gcn.compile(network(), input_shape=(8, 8, 16), **options)


def fresh(model):
    """Return what the model predicts where nothing can have been prepared."""
    executable = NativeExecutable(model.forward_graph)
    return executable(
        image=IMAGES, **{name: model.weights[name] for name in executable.graph.inputs if name != "image"}
    )["output"]


def test_the_stages_that_read_parameters_alone_are_prepared():
    model = compiled()
    program = model.executable("forward").program
    assert program.prepared > 0
    prepared = [kernel for kernel in program.kernels if kernel.stage < program.prepared]
    assert any("winograd_filters" in kernel.title for kernel in prepared)
    assert not any(value.type.has_batch for kernel in prepared for value in kernel.loads)
    assert model.executable("step").program.prepared == 0


def test_what_is_prepared_stays_until_the_state_has_changed():
    graph = compiled().forward_graph
    executable = NativeExecutable(graph)
    state = State({name: array.copy() for name, array in compiled().weights.items()})
    first = executable.step(state, image=IMAGES)["output"]
    state["wide.filters"] *= 2  # nobody says so
    np.testing.assert_array_equal(executable.step(state, image=IMAGES)["output"], first)
    state.changed()
    second = executable.step(state, image=IMAGES)["output"]
    np.testing.assert_array_equal(second, executable(image=IMAGES, **state)["output"])
    assert not np.array_equal(first, second)


def test_a_plain_dictionary_tells_nothing_so_nothing_is_kept():
    executable = NativeExecutable(compiled().forward_graph)
    state = {name: array.copy() for name, array in compiled().weights.items()}
    executable.step(state, image=IMAGES)
    state["wide.filters"] *= 2
    np.testing.assert_array_equal(
        executable.step(state, image=IMAGES)["output"], executable(image=IMAGES, **state)["output"]
    )


def train(model):
    model.train_step(IMAGES, LABELS)


def train_on_weighted(model):
    model.train_step(IMAGES, LABELS, np.ones(40))


def fit(model):
    model.fit(IMAGES, LABELS, epochs=2, batch_size=16, progress=False)


def assign(model):
    model.parameters["deep.filters"] = model.parameters["deep.filters"] * 3


def set_statistics(model):
    model.weights["batchnorm1.variance"] = model.weights["batchnorm1.variance"] + 1


def set_state(model):
    state = model.state()
    state["wide.filters"] += 1
    model.set_state(state)


def stop_early(model):
    stop = gcn.EarlyStopping("loss", patience=0, mode="max")
    model.fit(IMAGES, LABELS, epochs=4, batch_size=16, callbacks=[stop], progress=False)


def freeze(model):
    model.freeze("wide")
    train(model)


CHANGES = (train, train_on_weighted, fit, assign, set_statistics, set_state, stop_early, freeze)


@pytest.mark.parametrize("change", CHANGES)
def test_predictions_follow_every_change(change):
    model = compiled()
    before = model.predict(IMAGES)
    np.testing.assert_array_equal(model.predict(IMAGES), before)
    change(model)
    after = model.predict(IMAGES)
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(after, fresh(model))
    np.testing.assert_array_equal(model.predict(IMAGES), after)


def test_batches_of_other_sizes_in_turn():
    model = compiled()
    expected = {size: model.predict(IMAGES[:size]) for size in (1, 7, 40)}
    for size in (40, 1, 7, 1, 40, 40, 7):
        np.testing.assert_array_equal(model.predict(IMAGES[:size]), expected[size])
    train(model)
    for size in (1, 7, 40):
        np.testing.assert_array_equal(model.predict(IMAGES[:size]), fresh(model)[:size])


def test_loaded_weights_and_copies(tmp_path):
    model, other = compiled(), compiled(seed=5)
    model.predict(IMAGES)
    other.save_weights(tmp_path / "other.safetensors")
    model.load_weights(tmp_path / "other.safetensors")
    np.testing.assert_array_equal(model.predict(IMAGES), other.predict(IMAGES))
    twin = copy.deepcopy(model)
    train(twin)
    np.testing.assert_array_equal(model.predict(IMAGES), other.predict(IMAGES))
    np.testing.assert_array_equal(twin.predict(IMAGES), fresh(twin))


def test_an_input_that_all_samples_share_is_no_parameter():
    """It may change from call to call: what is made of it is not prepared."""
    graph = gcn.Graph("shared")
    x = graph.input("image", gcn.TensorType(("N", 8, 8, 16)))
    window = graph.input("window", gcn.TensorType((3, 3, 16, 16)))
    graph.output("output", graph.add(gcn.ops.Correlate2d(), x, window))
    assert NativeExecutable(graph).program.prepared == 0
