import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.inspection.recording import Recording
from graphcnn.ops import Relu

HERE = Path(__file__).name
RANDOM = np.random.default_rng(3)
X = RANDOM.random((6, 8, 8, 1), np.float32)
Y = np.arange(6) % 4


def line_of(text: str, function: Callable[..., Any]) -> int:
    """Return the line of this file on which a function's source has this text."""
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


def small(**options: Any) -> gcn.Model:
    network = gcn.Sequential(
        gcn.Conv2d(3, 3, padding="same"),
        gcn.ReLU(),
        gcn.MaxPool2d(2),
        gcn.Conv2d(5, 3),
        gcn.ReLU(),
        gcn.Flatten(),
        gcn.Dense(4),
    )
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1)} | options
    return gcn.compile(network, input_shape=(8, 8, 1), **options)


@pytest.fixture(scope="module")
def model() -> gcn.Model:
    return small()


@pytest.fixture(scope="module")
def recording(model: gcn.Model) -> Recording:
    return model.inspect(X, Y)


def test_values_are_those_that_training_computes(model: gcn.Model, recording: Recording) -> None:
    gradients = model.executable("gradient").step(model.state(), image=X, target=Y)
    for name, array in gradients.items():
        np.testing.assert_allclose(recording[name], array, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(recording["dense1"], model.predict(X), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(recording["image"], X)
    np.testing.assert_array_equal(recording["target"], Y)


def test_there_is_a_value_for_every_node_of_the_gradient_graph(
    model: gcn.Model, recording: Recording
) -> None:
    assert recording.graph == model.gradient_graph
    assert recording.values.keys() == {key for key, _ in model.gradient_graph.items()}
    for key, node in model.gradient_graph.items():
        assert recording[key].shape == node.types[0].concrete(6)
        for value in model.gradient_graph.results(key):
            assert recording[value].dtype == value.type.dtype


def test_a_layer_is_known_by_its_output(recording: Recording) -> None:
    assert recording["relu1"].min() == 0
    np.testing.assert_array_equal(recording["relu1"], np.maximum(recording["conv1"], 0))
    assert recording["pool1"].shape == (6, 4, 4, 3)
    np.testing.assert_array_equal(recording.gradient("conv1.filters"), recording["gradient(conv1.filters)"])


@pytest.mark.parametrize("name", ["image", "conv1", "relu1", "pool1", "relu2", "flatten1", "dense1"])
def test_the_gradient_of_a_layer_or_an_input_is_that_of_the_loss_by_its_values(
    model: gcn.Model, recording: Recording, name: str
) -> None:
    loss, value = model.gradient_graph.outputs["loss"], recording._found(name)
    wanted = gcn.gradient(model.gradient_graph, loss, [value])
    (expected,) = gcn.evaluate(wanted, **{label: recording[label] for label in wanted.inputs}).values()
    found = recording.gradient(name)
    assert found.shape == recording[name].shape
    np.testing.assert_array_equal(found, expected)
    assert recording.gradient(name) is found
    assert not found.flags.writeable


def test_the_delta_of_a_layer_gives_the_gradients_of_its_parameters(recording: Recording) -> None:
    for layer, axes in (("conv1", (0, 1, 2)), ("conv2", (0, 1, 2)), ("dense1", (0,))):
        bias = recording.gradient(f"{layer}.bias")
        np.testing.assert_allclose(recording.gradient(layer).sum(axes), bias, rtol=1e-4, atol=1e-6)
    passed = recording.gradient("relu1") * (recording["conv1"] > 0)
    np.testing.assert_array_equal(recording.gradient("conv1"), passed)


def test_gradients_that_do_not_exist_say_what_to_ask_for(model: gcn.Model, recording: Recording) -> None:
    with pytest.raises(gcn.OptionError, match="did you mean 'relu2'"):
        recording.gradient("rely2")
    with pytest.raises(gcn.OptionError, match="did you mean 'image'"):
        recording.gradient("Image")
    with pytest.raises(gcn.GraphcnnError, match="'target' is int64"):
        recording.gradient("target")
    with pytest.raises(gcn.GraphcnnError, match="does not follow from it"):
        recording.gradient("gradient(conv1.bias)")
    with pytest.raises(gcn.OptionError, match=r"model\.inspect\(x, y\)"):
        model.inspect(X).gradient("conv1")


def test_without_targets_it_is_an_inference() -> None:
    predictor = small(loss=None, optimizer=None)
    recording = predictor.inspect(X)
    assert recording.graph == predictor.forward_graph
    np.testing.assert_allclose(recording["output"], predictor.predict(X), rtol=1e-4, atol=1e-6)
    assert recording.layers[0].gradient_norm is None
    assert "gradient" not in str(recording)


@pytest.mark.parametrize("what", ["conv9", 10_000, -1, 1.5])
def test_what_there_is_not_is_named_with_what_there_is(recording: Recording, what: Any) -> None:
    with pytest.raises(gcn.GraphcnnError, match="layers: conv1, relu1, pool1, conv2"):
        recording[what]


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_the_model_stays_as_it_is(backend: str) -> None:
    model = small(backend=backend)
    model.train_step(X, Y)
    before = model.state()
    recording = model.inspect(X, Y)
    for name, array in model.state().items():
        assert array.tobytes() == before[name].tobytes(), name
    with pytest.raises(ValueError, match="read-only"):
        recording["conv1.filters"][...] = 0
    assert X.flags.writeable


def test_what_was_recorded_stays_when_the_data_changes() -> None:
    images = X.copy()
    recording = gcn.compile(gcn.Sequential(gcn.Flatten(), gcn.Dense(2)), input_shape=(8, 8, 1)).inspect(
        images
    )
    images[...] = 7
    np.testing.assert_array_equal(recording["flatten1"], X.reshape(6, 64))


def test_a_record_of_each_layer(model: gcn.Model, recording: Recording) -> None:
    records = {record.layer: record for record in recording.layers}
    assert [*records] == ["conv1", "relu1", "pool1", "conv2", "relu2", "flatten1", "dense1", "loss"]
    conv = records["conv1"]
    assert (conv.mean, conv.std) == pytest.approx((recording["conv1"].mean(), recording["conv1"].std()))
    both = [recording.gradient("conv1.filters").ravel(), recording.gradient("conv1.bias").ravel()]
    assert conv.gradient_norm == pytest.approx(np.linalg.norm(np.concatenate(both)))
    both = [model.parameters["conv1.filters"].ravel(), model.parameters["conv1.bias"].ravel()]
    assert conv.parameter_norm == pytest.approx(np.linalg.norm(np.concatenate(both)))
    assert (records["pool1"].gradient_norm, conv.dead, conv.nonfinite) == (None, None, 0)


def test_dead_relus_are_found() -> None:
    model = small()
    bias = np.full(5, 10, np.float32)
    bias[[1, 4]] = -1e3
    model.parameters["conv2.bias"] = bias
    recording = model.inspect(X, Y)
    record = next(record for record in recording.layers if record.layer == "relu2")
    assert record.dead_channels == (1, 4)
    assert recording.dead_relus["relu2"] == 2 / 5
    assert recording.dead_units("relu2").shape == (2, 2, 5)
    np.testing.assert_array_equal(recording.gradient("conv2.bias")[[1, 4]], 0)
    model.parameters["conv2.bias"] = np.full(5, -1e3, "f4")
    assert model.inspect(X, Y).dead_relus["relu2"] == 1
    assert "100%" in str(model.inspect(X, Y))
    with pytest.raises(gcn.GraphcnnError, match="ReLUs: relu1, relu2"):
        recording.dead_units("conv1")


def test_a_unit_that_is_zero_for_one_sample_is_not_dead() -> None:
    x = gcn.Input((2,), name="x")
    recording = gcn.compile(gcn.Network(x, gcn.ReLU()(x))).inspect(np.array([[-1, -1], [1, -1]], "f4"))
    assert recording.dead_units("relu1").tolist() == [False, True]
    assert recording.dead_relus == {"relu1": 0.5}


def test_histograms_count_every_finite_element(recording: Recording) -> None:
    counts, edges = recording.histogram("gradient(conv1.filters)", bins=7)
    assert counts.sum() == 27
    assert len(edges) == 8
    assert edges[0] == recording.gradient("conv1.filters").min()


# The first that is not finite


def exploding() -> gcn.Network:
    image = gcn.Input((8, 8, 1), name="image")
    h = gcn.relu(gcn.Conv2d(3, 3)(image))
    h = gcn.exp(h * 1e4)  # too large for float32
    return gcn.Network(image, gcn.Dense(4)(gcn.Flatten()(h)))


def test_a_forward_pass_that_explodes_is_blamed_on_its_line() -> None:
    recording = gcn.compile(exploding(), loss=gcn.CrossEntropy()).inspect(X, Y)
    found = recording.first_nonfinite
    assert found is not None
    assert (found.op, found.phase, found.kind) == ("exp", "forward", "infinity")
    assert Path(found.file).name == HERE
    assert found.line == line_of("too large for float32", exploding)
    assert "scale what goes in" in found.mend
    assert f"{HERE}:{found.line}" in str(found)
    assert f"{HERE}:{found.line}" in str(recording)
    assert np.isfinite(recording[found.key]).sum() == found.size - found.count


def rooted() -> gcn.Network:
    image = gcn.Input((8, 8, 1), name="image")
    h = gcn.Dense(4)(gcn.Flatten()(image))
    return gcn.Network(image, gcn.sqrt(gcn.relu(h) * 0.0))  # the slope of the root at 0 is infinite


def test_a_backward_pass_is_blamed_where_the_forward_pass_is_fine() -> None:
    model = gcn.compile(rooted(), loss=gcn.CrossEntropy())
    recording = model.inspect(X, Y)
    found = recording.first_nonfinite
    assert found is not None
    assert np.isfinite(recording["loss"])
    assert found.phase == "gradient"
    assert found.line == line_of("the slope of the root", rooted)
    assert model.gradient_graph.node(found.key).origin.forward is not None


@pytest.mark.parametrize("kind", ["NaN", "infinity"])
@pytest.mark.parametrize("name", ["image", "conv2.filters"])
def test_inputs_and_parameters_are_looked_at(name: str, kind: str) -> None:
    model, images = small(), X.copy()
    number = np.nan if kind == "NaN" else -np.inf
    if name == "image":
        images[4, 1, 2, 0] = number
    else:
        filters = model.parameters[name].copy()
        filters[1, 2, 0, 3] = number
        model.parameters[name] = filters
    found = model.inspect(images, Y).first_nonfinite
    assert found is not None
    assert (found.op, found.kind, found.phase, found.count) == (name, kind, "input", 1)
    assert found.place == ((4, 1, 2, 0) if name == "image" else (1, 2, 0, 3))


def divided() -> gcn.Network:
    image = gcn.Input((8, 8, 1), name="image")
    h = gcn.Flatten()(image)
    h = h / (h - h)  # 0 / 0 and 1 / 0
    return gcn.Network(image, gcn.Dense(4)(h))


def test_a_division_by_zero_is_named_with_what_may_mend_it() -> None:
    found = gcn.compile(divided(), loss=gcn.CrossEntropy()).inspect(X, Y).first_nonfinite
    assert found is not None
    assert (found.op, found.line) == ("divide", line_of("0 / 0", divided))
    assert "the divisor holds 0" in found.mend
    assert found.ranges[1].endswith("is from 0 to 0")


def test_images_that_are_too_large_are_to_be_scaled() -> None:
    model = small()
    model.parameters["conv1.filters"] = np.ones((3, 3, 1, 3), np.float32)
    found = model.inspect(X * np.float32(3e38), Y).first_nonfinite
    assert found is not None
    assert found.layer == "conv1"
    assert "scale the data first" in found.mend


def test_nothing_is_blamed_where_all_is_finite(recording: Recording) -> None:
    assert recording.first_nonfinite is None
    assert "Mend" not in str(recording)


# Images


def test_feature_maps_are_tiles_of_one_sample(recording: Recording) -> None:
    grid = recording.feature_maps("conv2", sample=2, columns=3)
    assert grid.tiles.shape == (5, 2, 2)
    np.testing.assert_array_equal(grid.tiles[4], recording["conv2"][2, ..., 4])
    assert grid.array.shape == (2 * 2 + 1, 3 * 2 + 2)
    np.testing.assert_array_equal(grid.array[3:5, 3:5], grid.tiles[4])
    assert np.isnan(grid.array[2]).all()
    with pytest.raises(gcn.GraphcnnError, match=r"layers with \[N, H, W, C\]: conv1, relu1, pool1"):
        recording.feature_maps("dense1")
    with pytest.raises(gcn.GraphcnnError, match="no sample 6 in a batch of 6"):
        recording.feature_maps("conv1", sample=6)


def test_filters_are_a_row_each_and_a_tile_a_channel(recording: Recording) -> None:
    grid = recording.filters("conv2")
    assert (len(grid.tiles), grid.columns, grid.is_signed) == (5 * 3, 3, True)
    np.testing.assert_array_equal(grid.tiles[3 * 4 + 1], recording["conv2.filters"][:, :, 1, 4])
    assert recording.filters("conv1").tiles.shape == (3, 3, 3)
    gradient = recording.filters("conv1", gradient=True)
    np.testing.assert_array_equal(gradient.tiles[2], recording.gradient("conv1.filters")[:, :, 0, 2])
    with pytest.raises(gcn.GraphcnnError, match="layers that do: conv1, conv2"):
        recording.filters("dense1")


def test_filters_of_three_channels_are_in_colour() -> None:
    model = gcn.compile(gcn.Sequential(gcn.Conv2d(7, 5)), input_shape=(8, 8, 3))
    grid = model.inspect(np.zeros((1, 8, 8, 3), np.float32)).filters("conv1")
    assert grid.tiles.shape == (7, 5, 5, 3)
    assert grid._repr_png_().startswith(b"\x89PNG")


def test_images_are_written(recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "maps.png"
    recording.feature_maps("conv1").save(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert recording.filters("conv2")._repr_png_().startswith(b"\x89PNG")


@pytest.mark.usefixtures("without_matplotlib")
def test_images_without_matplotlib_say_how_to_get_it(recording: Recording) -> None:
    with pytest.raises(gcn.GraphcnnError, match=r"pip install 'graphcnn\[plot\]'"):
        recording.feature_maps("conv1").plot()


def test_relus_inside_a_named_block_are_layers_too() -> None:
    block = gcn.Sequential(gcn.Conv2d(2, 3), gcn.ReLU(), name="block1")
    recording = gcn.compile(gcn.Sequential(block, gcn.ReLU()), input_shape=(5, 5, 1)).inspect(X[:, :5, :5])
    assert {"block1.relu1", "relu1"} <= recording.dead_relus.keys()
    key = next(record.key for record in recording.layers if record.layer == "block1.relu1")
    assert isinstance(recording.graph.node(key).op, Relu)
