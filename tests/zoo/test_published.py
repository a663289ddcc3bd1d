"""Networks as their papers have them: as many parameters, and they train; small ones too."""

import inspect

import numpy as np
import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn.cli import main
from graphcnn.errors import OptionError
from graphcnn.zoo import PUBLISHED

PARAMETERS = {
    "lenet5_1998": 60_000,
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
    "vgg16": 138_357_544,
    "nin": 966_986,
    "resnet18": 11_689_512,
    "resnet20": 269_722,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "wideresnet16": 10_961_370,
    "densenet121": 7_978_856,
    "googlenet": 13_004_888,
    "squeezenet": 1_248_424,
    "mobilenetv1": 4_231_976,
    "mobilenetv2": 3_504_872,
    "mobilenetv3_small": 2_542_856,
    "efficientnet_b0": 5_288_548,
    "unet": 31_030_658,
    "convnext_tiny": 28_589_128,
    "vit_tiny": 5_717_416,
}
"""For the classes and images of the papers; where each number is from is said in the network's docstring."""

SMALL = {
    "lenet5_1998": (0.2, (32, 32, 1)),
    "alexnet": (0.05, (64, 64, 3)),
    "vgg11": (0.05, (32, 32, 3)),
    "vgg16": (0.05, (32, 32, 3)),
    "nin": (0.1, (16, 16, 3)),
    "resnet18": (0.1, (32, 32, 3)),
    "resnet20": (0.25, (16, 16, 3)),
    "resnet34": (0.1, (32, 32, 3)),
    "resnet50": (0.1, (32, 32, 3)),
    "wideresnet16": (0.5, (16, 16, 3)),
    "densenet121": (0.1, (32, 32, 3)),
    "googlenet": (0.1, (64, 64, 3)),
    "squeezenet": (0.1, (32, 32, 3)),
    "mobilenetv1": (0.1, (32, 32, 3)),
    "mobilenetv2": (0.1, (32, 32, 3)),
    "mobilenetv3_small": (0.1, (32, 32, 3)),
    "efficientnet_b0": (0.1, (32, 32, 3)),
    "unet": (0.05, (188, 188, 1)),
    "convnext_tiny": (0.1, (32, 32, 3)),
    "vit_tiny": (0.1, (32, 32, 3)),
}
"""Width and images with which a network takes a moment."""

CLASSES = 5
LABELS = np.array([1, 3])


def count(network):
    """Return how many numbers the network trains, which its graph tells before any is drawn."""
    traced = network.trace(training=True)
    held = traced.graph.inputs_with_role("parameter").items()
    return sum(value.type.elements(1) for label, value in held if label not in traced.frozen)


def small(name, **options):
    width, shape = SMALL[name]
    return getattr(gcn.zoo, name)(classes=CLASSES, input_shape=shape, width=width, **options)


def compiled(name, backend, dtype="float32"):
    """Return a model, and two images for it."""
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(1e-4), "seed": 3}
    model = gcn.compile(small(name), backend=backend, dtype=dtype, **options)
    return model, np.random.default_rng(0).random((2, *SMALL[name][1]), np.float32)


def trained(name, backend, dtype="float32"):
    """Return a model after a step, with the losses of that step and the next."""
    model, images = compiled(name, backend, dtype)
    (output,) = model.forward_graph.outputs.values()
    labels = np.broadcast_to(LABELS.reshape(2, *[1] * (output.type.rank - 2)), (2, *output.type.shape[1:-1]))
    return model, images, [model.train_step(images, labels)["loss"] for _ in range(2)]


def test_every_network_is_tested():
    assert PARAMETERS.keys() == SMALL.keys() == PUBLISHED.keys()
    assert set(PUBLISHED) <= set(gcn.zoo.__all__)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_has_as_many_parameters_as_published(name):
    assert count(getattr(gcn.zoo, name)()) == PARAMETERS[name]
    assert f"{PARAMETERS[name]:,}" in inspect.getdoc(getattr(gcn.zoo, name))


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_small_network_trains_on_its_classes(name):
    model, images, losses = trained(name, "numpy")
    assert np.isfinite(losses).all()
    assert model.predict(images).shape[:: 3 if name == "unet" else 1] == (2, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_small_network_trains_alike_on_both_backends(name):
    """In float64: batch norm over two samples of 1x1 maps amplifies rounding a million times in a step."""
    found, expected = (trained(name, each, "float64") for each in ("native", "numpy"))
    (model, images, losses), (other, _, expected_losses) = found, expected
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    outputs, expected_outputs = model.predict(images), other.predict(images)
    np.testing.assert_allclose(outputs, expected_outputs, rtol=0, atol=1e-3 * abs(expected_outputs).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_small_network_predicts_alike_on_both_backends(name):
    found, expected = (
        model.predict(images) for model, images in (compiled(name, "native"), compiled(name, "numpy"))
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * abs(expected).max())


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_takes_other_images_by_name(name):
    parameters = inspect.signature(getattr(gcn.zoo, name)).parameters
    assert list(parameters)[:3] == ["classes", "input_shape", "width"]
    assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters.values())
    (image,) = small(name).inputs
    assert image.shape == ("N", *SMALL[name][1])


@pytest.mark.parametrize("width", [0, -1.0, "wide", True, float("inf")])
def test_a_width_that_is_none_is_refused(width):
    with pytest.raises(OptionError, match="is not a number above 0"):
        gcn.zoo.resnet18(width=width)


def test_the_command_line_lists_all_and_takes_them():
    listed = CliRunner().invoke(main, ["zoo"])
    assert listed.exit_code == 0, listed.output
    rows = {line.split()[0]: line for line in listed.output.splitlines()[1:]}
    assert rows.keys() == {*gcn.zoo.ZOO, *PUBLISHED}
    assert rows["resnet18"].split()[1:5] == ["11,689,512", "3.64", "G", "224x224x3"]
    for name, published in PUBLISHED.items():
        assert f"{PARAMETERS[name]:,}" in rows[name]
        assert rows[name].endswith(published.paper)
    shown = CliRunner().invoke(
        main, ["show", "resnet20", "--stage", "forward", "--as", "table", "--input-shape", "28", "28", "1"]
    )
    assert shown.exit_code == 0, shown.output
    assert "layer3.2.conv2" in shown.output


def test_lenet5_has_the_parts_of_its_paper():
    """Parameters of each layer as Section II.B counts them, and outputs that are distances to +1 and -1."""
    model = gcn.compile(
        gcn.zoo.lenet5_1998(), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(1e-4), dtype="float64"
    )
    trained = {name: array for name, array in model.parameters.items() if name not in model.frozen}
    sizes = dict.fromkeys(("c1", "s2", "c3", "s4", "c5", "f6"), 0)
    for name, array in trained.items():
        sizes[name.partition(".")[0]] += array.size
    assert sizes == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    centres = model.parameters["output.centres"]
    assert model.frozen == {"output.centres"}
    assert centres.shape == (10, 84)
    assert set(np.unique(centres)) == {-1.0, 1.0}
    image = np.random.default_rng(0).random((1, 32, 32, 1))
    units = model.inspect(image)["scaled_tanh6"][0]
    np.testing.assert_allclose(model.predict(image)[0], -((units - centres) ** 2).sum(1), rtol=1e-12)


def test_maps_of_lenet5_see_the_maps_that_its_table_names():
    seen = [set(maps) for group in gcn.zoo.lenet.C3 for maps in group]
    assert len(seen) == 16
    assert [len(maps) for maps in seen] == [3] * 6 + [4] * 9 + [6]
    assert len({frozenset(maps) for maps in seen}) == 16
    assert all(sum(number in maps for maps in seen) == 10 for number in range(6))


def test_googlenet_without_its_heads():
    assert count(gcn.zoo.googlenet(auxiliary=False)) == 6_624_904
    assert "6,624,904" in inspect.getdoc(gcn.zoo.googlenet)
    assert gcn.zoo.googlenet().auxiliary.keys() == {"aux1", "aux2"}


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_the_classifier_is_as_large_for_images_of_other_sizes(name):
    assert count(getattr(gcn.zoo, name)(input_shape=(96, 64, 3))) == PARAMETERS[name]
