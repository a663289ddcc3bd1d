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
}
"""For the classes and images of the papers; where each number is from is said in the network's docstring."""

SMALL = {
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
}
"""Width and images with which a network takes a moment."""

CLASSES = 5
LABELS = np.array([1, 3])


def count(network):
    """Return how many numbers the network trains, which its graph tells before any is drawn."""
    return sum(value.type.elements(1) for value in network.graph.inputs_with_role("parameter").values())


def small(name, **options):
    width, shape = SMALL[name]
    return getattr(gcn.zoo, name)(classes=CLASSES, input_shape=shape, width=width, **options)


def trained(name, backend):
    """Return a model after a step, with the losses of that step and the next."""
    model = gcn.compile(
        small(name), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(1e-4), backend=backend, seed=3
    )
    images = np.random.default_rng(0).random((2, *SMALL[name][1]), np.float32)
    return model, images, [model.train_step(images, LABELS)["loss"] for _ in range(2)]


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
    assert model.predict(images).shape == (2, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_small_network_trains_alike_on_both_backends(name):
    (model, images, losses), (other, _, expected) = (trained(name, each) for each in ("native", "numpy"))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(model.predict(images), other.predict(images), rtol=0, atol=1e-3)


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
