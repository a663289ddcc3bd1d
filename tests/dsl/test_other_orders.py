"""Arguments and images in PyTorch's order, channels first, are told apart, and the advice is followed."""

import re
import warnings

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import GraphcnnError, GraphcnnWarning, ShapeError

SHAPES = {"1d": (40, 2), "2d": (40, 40, 2)}


def compiled(layer, shape=None):
    shape = shape or SHAPES[type(layer).__name__[-2:]]
    return gcn.compile(gcn.Sequential(layer), input_shape=shape, backend="numpy")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("Conv2d(2, 16, 3)", "Conv2d(16, 3)"),
        ("Conv2d(2, 6, 5)", "Conv2d(6, 5)"),
        ("Conv2d(2, 16, 3, 1, 1)", "Conv2d(16, 3, 1, 1)"),
        ("Conv2d(2, 32, 1)", "Conv2d(32, 1)"),
        ("Conv2d(2, 16, 3, padding='same', bias=False)", "Conv2d(16, 3, padding='same', bias=False)"),
        ("ConvTranspose2d(2, 16, 2, 2)", "ConvTranspose2d(16, 2, 2)"),
        ("Conv1d(2, 16, 3)", "Conv1d(16, 3)"),
        ("ConvTranspose1d(2, 16, 3)", "ConvTranspose1d(16, 3)"),
    ],
)
def test_channels_that_come_in_are_left_out_as_advised(given, meant):
    layer = eval(f"gcn.{given}", {"gcn": gcn})
    with pytest.warns(GraphcnnWarning, match=r"test_other_orders\.py|<string>") as caught:
        compiled(layer)
    assert len(caught) == 1, "each layer is warned of once, however often it is traced"
    said = str(caught[0].message)
    advised = re.search(r"leave out the channels that come in: gcn\.(.*?)(;|$)", said)[1]
    assert advised == meant
    compiled(eval(f"gcn.{meant}", {"gcn": gcn}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(eval(said.partition("name the stride: ")[2], {"gcn": gcn}))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: gcn.Conv2d(2, 16),
        lambda: gcn.Conv2d(2, 16, stride=3),
        lambda: gcn.Conv2d(2, 7, 2),
        lambda: gcn.Conv2d(2, 3, 1, 1),
        lambda: gcn.Conv2d(2, 11, 4),
        lambda: gcn.Conv2d(16, 16, 3),
        lambda: gcn.Conv2d(2, 16, 16),
        lambda: gcn.ConvTranspose2d(2, 4, 2, 1),
        lambda: gcn.ConvTranspose2d(2, 16, 8),
        lambda: gcn.DepthwiseConv2d(16, 3),
        lambda: gcn.DepthwiseConv2d(7, 1, 3),
    ],
)
def test_honest_convolutions_pass(layer):
    compiled(layer())


def test_a_kernel_that_is_too_large_names_the_channels_in_front():
    for given, shape in (("Conv2d(1, 32, 3)", (28, 28, 1)), ("Conv1d(1, 64, 3)", (40, 1))):
        with pytest.raises(GraphcnnError) as caught:
            compiled(eval(f"gcn.{given}", {"gcn": gcn}), shape)
        assert 'padding="same"' in caught.value.mend
        advised = caught.value.mend.partition("or leave out the channels that come in: ")[2]
        compiled(eval(advised, {"gcn": gcn}), shape)
    with pytest.raises(GraphcnnError) as caught:
        compiled(gcn.Conv2d(8, 32), (28, 28, 1))
    assert "come in" not in caught.value.mend


@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_the_channels_first_are_warned_of(channels):
    network = gcn.Sequential(gcn.Conv2d(4, 3, padding="same"), gcn.GlobalAvgPool2d())
    with pytest.warns(GraphcnnWarning, match=r"channels last") as caught:
        gcn.compile(network, input_shape=(channels, 32, 32), backend="numpy")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    code = re.search(r"the shape (\(.*?\)), and (images.*)", str(caught[0].message))
    images = np.zeros((2, channels, 32, 32), np.float32)
    model = gcn.compile(network, input_shape=eval(code[1]), backend="numpy")
    assert model.predict(eval(code[2], {"images": images})).shape == (2, 4)


def test_other_images_are_not_warned_of():
    network = gcn.Sequential(gcn.Conv2d(4, 3, padding="same"), gcn.GlobalAvgPool2d())
    for shape in ((32, 32, 3), (3, 32, 16), (3, 7, 7), (2, 32, 32), (1, 64, 12)):
        gcn.compile(network, input_shape=shape, backend="numpy")
    gcn.compile(gcn.Sequential(gcn.Flatten(), gcn.Dense(2)), input_shape=(3, 32, 32), backend="numpy")


FIRST = {
    "a norm in front": (gcn.BatchNorm2d(), gcn.Conv2d(4, 1)),
    "a pool": (gcn.MaxPool2d(2),),
    "a convolution that does not fit": (gcn.Conv2d(4, 5), gcn.ReLU()),
    "one that does not fit, later": (gcn.ReLU(), gcn.MaxPool2d(2), gcn.Conv2d(4, 3)),
}


@pytest.mark.parametrize("layers", FIRST.values(), ids=FIRST)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 64, 48), (4, 32, 32)])
def test_one_rule_tells_channels_in_front_in_warnings_and_errors(layers, shape):
    def applied(x):
        for layer in layers:
            x = layer(x)
        return x

    def in_a_row(shape):
        return gcn.Sequential(gcn.Input(shape), *layers)

    def on_values(shape):
        x = gcn.Input(shape)
        return gcn.Network(x, applied(x))

    for make in (in_a_row, on_values, lambda shape: gcn.Sequential(*layers)):
        options = {} if make in (in_a_row, on_values) else {"input_shape": shape}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                gcn.compile(make(shape), **options, backend="numpy")
            except ShapeError as error:
                assert "look like channels, height, width" in str(error)
                said = error.mend
            else:
                said = str(caught[0].message)
        mended = eval(re.search(r"the shape (\(.*?\))", said)[1])
        assert mended == (*shape[1:], shape[0])
        options = dict.fromkeys(options, mended)
        assert gcn.compile(make(mended), **options, backend="numpy").forward_graph


def test_errors_of_other_images_do_not_speak_of_channels_in_front():
    for shape in ((3, 7, 7), (2, 32, 32), (3, 64, 12)):
        with pytest.raises(ShapeError) as caught:
            gcn.Conv2d(4, 9)(gcn.Input(shape))
        assert "channels" not in caught.value.mend
