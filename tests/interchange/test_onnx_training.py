"""Gradients and training steps as files of ONNX: losses in ONNX Runtime are those of the model here."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphcnn as gcn
from graphcnn.sample_keys import identities
from tests.interchange.onnx_runtimes import session

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_in_onnxruntime.py"
FILTERS = (3, 2, 0, 1)


@pytest.fixture(scope="module")
def training():
    """The class of the example, which knows nothing of graphcnn."""
    assert "import graphcnn" not in EXAMPLE.read_text(encoding="utf-8")
    spec = importlib.util.spec_from_file_location("train_in_onnxruntime", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Training


def lenet5():
    return gcn.zoo.lenet5()


def depthwise():
    return gcn.Sequential(
        *(gcn.Conv2d(8, 3, padding="same"), gcn.BatchNorm2d(), gcn.ReLU6()),
        *(gcn.DepthwiseConv2d(3, stride=2, padding=1), gcn.BatchNorm2d(), gcn.ReLU6()),
        *(gcn.Conv2d(12, 1, groups=4), gcn.ReLU(), gcn.AvgPool2d(2), gcn.Flatten(), gcn.Dense(10)),
    )


def model_of(network, shape, **options):
    options = {"optimizer": gcn.SGD(0.02, momentum=0.9), "loss": gcn.CrossEntropy(), **options}
    return gcn.compile(network, input_shape=shape, **options)


def batches(shape, count, size, dtype="float32", classes=10):
    random = np.random.default_rng(0)
    patterns = random.standard_normal((classes, *shape))
    for _ in range(count):
        labels = random.integers(0, classes, size)
        yield (patterns[labels] + random.standard_normal((size, *shape))).astype(dtype), labels


def channels_first(images):
    return np.array(images.transpose(0, 3, 1, 2), order="C")


def in_file(name, array):
    """Return a state of the model as the file has it."""
    return array.transpose(FILTERS) if array.ndim == 4 else array


def worst_losses(training, model, path, given):
    """Return the greatest difference of any result of these steps, and what trains in ONNX Runtime."""
    model.export_onnx(path, "step")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    there, worst = training(path), 0.0
    for images, labels in given:
        expected = model.train_step(images, labels)
        found = there.step(channels_first(images), labels)
        assert found.keys() == expected.keys()
        worst = max(worst, *(abs(found[name] - expected[name]) for name in expected))
    return worst, there


STEPS = {
    "lenet5": (lenet5, (28, 28, 1), "float32", 100, 1e-4),
    "lenet5 in float64": (lenet5, (28, 28, 1), "float64", 100, 1e-9),
    "a depthwise network": (depthwise, (8, 8, 3), "float32", 100, 1e-4),
    "a depthwise network in float64": (depthwise, (8, 8, 3), "float64", 100, 1e-9),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_hundred_steps(name, training, tmp_path):
    make, shape, dtype, count, tolerance = STEPS[name]
    model = model_of(make(), shape, dtype=dtype)
    before = model.state()
    given = batches(shape, count, 8, dtype)
    worst, there = worst_losses(training, model, tmp_path / "step.onnx", given)
    assert worst < tolerance
    for name, array in model.state().items():
        assert np.abs(there.state[name] - in_file(name, array)).max() < 100 * tolerance
        assert not np.array_equal(array, before[name])


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "rate", "tolerance"), [("float64", 0.02, 1e-9), ("float32", 2e-5, 1e-4)])
def test_a_hundred_steps_of_resnet20(dtype, rate, tolerance, training, tmp_path):
    """In float32 at a rate at which rounding does not grow: else two backends of graphcnn part as well."""
    shape = (16, 16, 3)
    network = gcn.zoo.resnet20(input_shape=shape, classes=10)
    optimizer = gcn.SGD(rate, momentum=0.9)
    model = gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=optimizer, dtype=dtype)
    worst, _ = worst_losses(training, model, tmp_path / "step.onnx", batches(shape, 100, 16, dtype))
    assert worst < tolerance


@pytest.mark.slow
def test_a_runtime_parts_no_more_than_a_rounding_does(training, tmp_path):
    """In a deep network with batch norm, at a usual rate: as one weight does that is one unit larger."""
    shape = (16, 16, 3)

    def compiled():
        network = gcn.zoo.resnet20(input_shape=shape, classes=10)
        return gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(1e-3, momentum=0.9))

    model, other = compiled(), compiled()
    state = {name: np.array(array) for name, array in other.state().items()}
    weight = next(iter(other.parameters))
    state[weight].flat[0] = np.nextafter(state[weight].flat[0], np.float32(np.inf))
    other.set_state(state)
    model.export_onnx(tmp_path / "step.onnx", "step")
    there, of_runtime, of_rounding = training(tmp_path / "step.onnx"), 0.0, 0.0
    for images, labels in batches(shape, 20, 16):
        here = model.train_step(images, labels)["loss"]
        of_rounding = max(of_rounding, abs(other.train_step(images, labels)["loss"] - here))
        of_runtime = max(of_runtime, abs(there.step(channels_first(images), labels)["loss"] - here))
    assert of_runtime < 10 * of_rounding
    assert of_rounding > 1e-4


def test_a_step_transposes_for_filter_gradients_alone(tmp_path):
    """Of each convolution its images and deltas, whose samples become channels, and the filters' gradient."""
    network = gcn.Sequential(
        *(gcn.Conv2d(4, 3, stride=2, padding=1), gcn.BatchNorm2d(), gcn.ReLU(), gcn.MaxPool2d(2)),
        *(gcn.Conv2d(5, 3, padding=1), gcn.BatchNorm2d(), gcn.ReLU(), gcn.GlobalAvgPool2d(), gcn.Dense(10)),
    )
    model_of(network, (12, 12, 3)).export_onnx(tmp_path / "step.onnx", "step")
    nodes = onnx.load(tmp_path / "step.onnx").graph.node
    found = [node.name for node in nodes if node.op_type == "Transpose"]
    images = [f"{layer}/gradient/Transpose{number}" for layer in ("conv2", "conv1") for number in ("", ".2")]
    assert sorted(found) == sorted([*images, "conv1/SGD/Transpose", "conv2/SGD/Transpose"])


OPTIMIZERS = {
    "adam": {"optimizer": gcn.Adam(0.01)},
    "adamw, averaged and clipped": {"optimizer": gcn.AdamW(0.01), "average": 0.9, "clip_norm": 1.0},
    "lookahead, accumulated": {"optimizer": gcn.SGD(0.1), "lookahead": (2, 0.5), "accumulate": 2},
    "muon": {"optimizer": gcn.Muon(0.01)},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_whatever_trains_it(name, training, tmp_path):
    network = gcn.Sequential(
        *(gcn.Conv2d(6, 3), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Flatten(), gcn.Dense(10)),
    )
    model = model_of(network, (8, 8, 3), **OPTIMIZERS[name])
    worst, _ = worst_losses(training, model, tmp_path / "step.onnx", batches((8, 8, 3), 12, 16))
    assert worst < 1e-4


def test_dropout_draws_the_same_bits(training, tmp_path):
    network = gcn.Sequential(gcn.Flatten(), gcn.Dropout(0.5), gcn.Dense(10))
    model = model_of(network, (4, 4, 1), seed=3)
    model.export_onnx(tmp_path / "step.onnx", "step")
    running = session(onnx.load(tmp_path / "step.onnx"))
    (images, labels), *_ = batches((4, 4, 1), 1, 8)
    batch = model.as_batch(images, labels)
    expected = model.step_on(batch)["loss"]
    there = {"image": channels_first(images), "target": labels, "sample_key": batch["sample_key"]}
    assert running.run(["loss"], there)[0] == pytest.approx(expected, abs=1e-6)
    there["sample_key"] = batch["sample_key"] + 2**30
    assert running.run(["loss"], there)[0] != pytest.approx(expected, abs=1e-4)


def test_augmentation_moves_the_same_pixels(tmp_path):
    """All that is drawn for samples, in five steps: a bit of a draw that differed would show in the loss."""
    network = gcn.Sequential(
        *(gcn.RandomFlip(), gcn.RandomCrop(padding=2), gcn.RandomAffine(15), gcn.ColorJitter(0.2, 0.2, 0.2)),
        *(gcn.Cutout(3), gcn.Mixup(0.2), gcn.Conv2d(4, 3), gcn.ReLU(), gcn.Dropout2d(0.2)),
        *(gcn.GaussianNoise(0.1), gcn.Flatten(), gcn.Dense(10)),
    )
    model = model_of(network, (12, 12, 3))
    model.export_onnx(tmp_path / "step.onnx", "step")
    proto = onnx.load(tmp_path / "step.onnx")
    running, state = session(proto), {}
    names = [output.name for output in proto.graph.output]
    for first, (images, labels) in enumerate(batches((12, 12, 3), 5, 8)):
        keys = identities(0, np.arange(8 * first, 8 * first + 8))
        expected = model.step_on({"image": images, "target": labels, "sample_key": keys})["loss"]
        there = {"image": channels_first(images), "target": labels, "sample_key": keys}
        found = dict(zip(names, running.run(names, {**state, **there}), strict=True))
        assert found["loss"] == pytest.approx(expected, abs=2e-6)
        state = {name.removesuffix(".next"): found[name] for name in names if name.endswith(".next")}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_gradients_by_the_names_of_parameters(layout, tmp_path):
    model = model_of(depthwise(), (8, 8, 3))
    model.export_onnx(tmp_path / "gradient.onnx", "gradient", layout=layout)
    proto = onnx.load(tmp_path / "gradient.onnx")
    onnx.checker.check_model(proto, full_check=True)
    (images, labels), *_ = batches((8, 8, 3), 1, 16)
    names = [output.name for output in proto.graph.output]
    assert names == list(model.gradient_graph.outputs)
    there = {"image": channels_first(images) if layout == "NCHW" else images, "target": labels}
    found = dict(zip(names, session(proto).run(names, there), strict=True))
    held = {name: array for name, array in model.state().items() if name in model.gradient_graph.inputs}
    expected = gcn.evaluate(model.gradient_graph, image=images, target=labels, **held)
    for name in names:
        wanted = in_file(name, expected[name])
        assert found[name].shape == wanted.shape
        assert np.abs(found[name] - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())


def test_parameters_of_a_gradient_are_inputs(tmp_path):
    model = model_of(gcn.Sequential(gcn.Conv2d(2, 3), gcn.Flatten(), gcn.Dense(10)), (5, 5, 1))
    model.export_onnx(tmp_path / "gradient.onnx", "gradient")
    running = session(onnx.load(tmp_path / "gradient.onnx"))
    (images, labels), *_ = batches((5, 5, 1), 1, 4)
    there = {"image": channels_first(images), "target": labels}
    zero = {name: np.zeros_like(in_file(name, array)) for name, array in model.parameters.items()}
    assert running.run(["loss"], {**there, **zero})[0] == pytest.approx(np.log(10), abs=1e-6)
    assert running.run(["loss"], there)[0] != pytest.approx(np.log(10), abs=1e-3)


def test_the_learning_rate_is_an_input(tmp_path, training):
    model = model_of(gcn.Sequential(gcn.Flatten(), gcn.Dense(10)), (4, 4, 1))
    model.learning_rate = 0.125
    model.export_onnx(tmp_path / "step.onnx", "step")
    (images, labels), *_ = batches((4, 4, 1), 1, 4)
    steps = {}
    for name, settings in {
        "default": {},
        "same": {"learning_rate": 0.125},
        "none": {"learning_rate": 0},
    }.items():
        there = training(tmp_path / "step.onnx")
        there.step(channels_first(images), labels, **settings)
        steps[name] = there.state["dense1.weights"]
    assert np.array_equal(steps["default"], steps["same"])
    assert np.array_equal(steps["none"], model.parameters["dense1.weights"])
