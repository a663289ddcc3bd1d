"""Mistakes in a network are reported while it is built: what, where, why, and how to mend it."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import BackendError, OptionError, ShapeError

FILE = Path(__file__).name
IMAGE = (8, 8, 3)


def mistake(kind, layer, function):
    """Run a function whose line marked `# here` is wrong; return the message after checking its frame.

    The message begins with the layer, this file and that very line, shows the line, and ends with a mend.
    """
    lines, first = inspect.getsourcelines(function)
    (position,) = (i for i, line in enumerate(lines) if "# here" in line)
    with pytest.raises(kind) as caught:
        function()
    message = str(caught.value)
    place = f"{FILE}:{first + position}"
    begin = f"{layer} ({place}): " if layer else f"{place}: "
    assert message.startswith(begin), message
    assert message.splitlines()[1].strip() == lines[position].strip(), message
    assert message.splitlines()[-1].startswith("  Mend: "), message
    return message


# Shapes that do not fit


def test_a_residual_sum_of_unequal_shapes():
    def network():
        x = gcn.Input(IMAGE)
        return x + gcn.Conv2d(4, 3)(x)  # here

    message = mistake(ShapeError, "add", network)
    assert "cannot bring [N, 8, 8, 3] and [N, 6, 6, 4] to one shape" in message
    assert re.search(r"axis 1: 8 \(input, line \d+\) and 6 \(Conv2d, line \d+\)", message)
    assert re.search(r"axis 3: 3 \(input, line \d+\) and 4 \(Conv2d, line \d+\)", message)
    assert "1x1 Conv2d" in message


JOINED = {
    "a skip around an odd size": (
        lambda image: (gcn.Upsample2d(2)(gcn.MaxPool2d(2)(image)), image),
        lambda x, y: gcn.concatenate(x, y),
    ),
    "a skip around a valid convolution": (
        lambda image: (gcn.Conv2d(4, 4)(image), image),
        lambda x, y: gcn.concatenate(x, y),
    ),
    "a sum with the input": (lambda image: (gcn.Conv2d(3, 4)(image), image), lambda x, y: y + x),
    "a sum with other channels": (lambda image: (gcn.Conv2d(4, 4)(image), image), lambda x, y: y * x),
    "a shortcut past a stride": (
        lambda image: (gcn.Conv2d(4, 3, stride=2, padding=1)(image), image),
        lambda x, y: x + y,
    ),
    "channels alone": (lambda image: (gcn.Conv2d(4, 1)(image), image), lambda x, y: gcn.maximum(x, y)),
    "higher and narrower": (
        lambda image: (image[:, :, :3], image[:, :2]),
        lambda x, y: gcn.stack(*((x, y) if x.shape[1] * x.shape[2] < 17 else (y, x))),
    ),
    "a stack": (lambda image: (image[:, 1:], image), lambda x, y: gcn.stack(x, y)),
}


@pytest.mark.parametrize(("made", "join"), JOINED.values(), ids=JOINED)
def test_images_that_do_not_fit_are_brought_together_as_advised(made, join):
    image = gcn.Input((9, 7, 3), name="image")
    pair = made(image)
    x, y = sorted(pair, key=lambda value: value.shape[1] * value.shape[2])
    if x.shape[1:3] == y.shape[1:3]:
        x, y = pair
    with pytest.raises(ShapeError) as caught:
        join(x, y)
    said = str(caught.value)
    axes = [axis for axis in (1, 2) if x.shape[axis] != y.shape[axis]]
    for axis in axes:
        assert re.search(rf"axis {axis}: \d+ \(\w+, line \d+\) and \d+ \(\w+, line \d+\)", said)
    mend = caught.value.mend
    ways = re.findall(r"gcn\.\w+\(x[^;]*?\){1,3}(?=, gcn| or|;|$)|y\[[^\]]*\]|gcn\.Conv2d\(.*?\)\(y\)", mend)
    project = next((way for way in ways if "Conv2d" in way and "stride" not in way), None)
    sizes = [way for way in ways if way != project] or [None]
    for way in sizes:
        names = {"gcn": gcn, "x": x, "y": y}
        for step in filter(None, (way, project)):
            target = "x" if "(x" in step else "y"
            names[target] = eval(step, names)
        assert join(names["x"], names["y"]) is not None


def test_sizes_of_1_that_are_repeated_need_no_mend():
    def network():
        x = gcn.Input((1, 1, 5), name="squeezed")
        return x * gcn.Conv2d(4, 3)(gcn.Input(IMAGE))  # here

    message = mistake(ShapeError, "multiply", network)
    assert "axis 3: 5 (squeezed, line" in message
    assert "resize2d" not in message
    assert "gcn.Conv2d(5, 1)(y)" in message


def test_a_matrix_product_that_does_not_fit():
    def network():
        x = gcn.Input((5,))
        return x @ gcn.Parameter((6, 2), "weights")  # here

    message = mistake(ShapeError, "matmul", network)
    assert "float32[N, 5] and float32[6, 2]: 5 columns on the left, 6 rows on the right" in message
    assert "5 != 6" in message


def test_a_matrix_product_of_images():
    def network():
        return gcn.Input(IMAGE) @ gcn.Parameter((192, 2), "weights")  # here

    message = mistake(ShapeError, "matmul", network)
    assert "float32[N, 8, 8, 3] and float32[192, 2]: 3 columns on the left, 192 rows on the right" in message
    assert "gcn.flatten(x)" in message
    product = gcn.flatten(gcn.Input(IMAGE)) @ gcn.Parameter((192, 2), "weights")
    assert product.shape == ("N", 2)


def test_a_matrix_product_with_other_axes_in_front():
    def network():
        return gcn.Input((4, 2, 3)) @ gcn.Input((5, 3, 2), "other")  # here

    message = mistake(ShapeError, "matmul", network)
    assert "their axes in front of the matrices cannot be brought to one shape" in message
    assert "4 and 5: a pair of sizes must be equal or contain a 1" in message


def test_a_matrix_product_of_rows_with_a_matrix_per_sample():
    def network():
        return gcn.Input((3,)) @ gcn.Input((3, 2), "other")  # here

    message = mistake(ShapeError, "matmul", network)
    assert "would pair every sample with every sample" in message
    assert "gcn.reshape(x, (1, size)) @ y, of shape [N, 1, ...]" in message
    product = gcn.reshape(gcn.Input((3,)), (1, 3)) @ gcn.Input((3, 2), "other")
    assert product.shape == ("N", 1, 2)


def test_a_kernel_larger_than_its_input():
    def network():
        return gcn.compile(
            gcn.Sequential(
                gcn.Conv2d(4, 3),
                gcn.MaxPool2d(2),
                gcn.Conv2d(4, 5, padding=(0, 1)),  # here
            ),
            input_shape=IMAGE,
        )

    message = mistake(ShapeError, "conv2", network)
    assert "the 5x5 kernel is larger than its padded input [3, 5]" in message
    assert "input float32[N, 3, 3, 4]" in message
    assert "height: 3 + 0 + 0 = 3 < 5 = kernel 5" in message
    assert 'padding="same"' in message


def test_a_pooling_window_larger_than_its_input():
    def network():
        x = gcn.Input(IMAGE)
        return gcn.MaxPool2d(9, name="last_pool")(x)  # here

    message = mistake(ShapeError, "last_pool", network)
    assert "the 9x9 pooling window is larger than its input" in message
    assert "height: 8 + 0 + 0 = 8 < 9" in message


def test_groups_that_do_not_divide():
    def network():
        x = gcn.Input(IMAGE)
        return gcn.Conv2d(4, 3, groups=2)(x)  # here

    message = mistake(ShapeError, "Conv2d", network)
    assert "groups=2 does not divide the 3 channels and the 4 filters" in message
    assert "3 % 2 = 1" in message


def test_a_transposed_convolution_that_crops_everything_off():
    def network():
        x = gcn.Input((1, 4, 3))
        return gcn.ConvTranspose2d(2, 2, padding=1)(x)  # here

    message = mistake(ShapeError, "ConvTranspose2d", network)
    assert "height: 2 - 1 - 1 = 0, below 1" in message


def test_a_shared_layer_whose_uses_need_different_shapes():
    def network():
        dense = gcn.Dense(4)
        x = gcn.Input((3,))
        hidden = dense(x)
        y = dense(hidden)  # here
        gcn.compile(gcn.Network(x, y))

    message = mistake(OptionError, "Dense", network)
    assert "dense1.weights is shared by two uses" in message
    assert "first use float32[3, 4]" in message
    assert "this use float32[4, 4]" in message


# A layer after the wrong kind of layer


def test_convolution_after_flatten():
    def network():
        flatten = gcn.Flatten()
        conv = gcn.Conv2d(4, 3)  # here
        return gcn.compile(gcn.Sequential(flatten, conv), input_shape=IMAGE)

    message = mistake(ShapeError, "Conv2d", network)
    assert "takes images of shape [N, H, W, C], but its input is float32[N, 192]" in message
    assert "before Flatten" in message


def test_dense_after_convolution():
    def network():
        conv = gcn.Conv2d(4, 3)
        head = gcn.Dense(10, name="head")  # here
        return gcn.compile(gcn.Sequential(conv, head), input_shape=IMAGE)

    message = mistake(ShapeError, "head", network)
    assert "takes rows [N, C] or tokens [N, T, C], but its input is float32[N, 6, 6, 4]" in message
    assert "gcn.Flatten()" in message


def test_images_without_a_channel_axis():
    def network():
        conv = gcn.Conv2d(4, 3)  # here
        return gcn.compile(conv, input_shape=(28, 28))

    with pytest.raises(ShapeError) as caught:
        network()
    assert "its input is float32[N, 28, 28]" in str(caught.value)
    assert "Mend: give the images a channel axis: an input shape like (28, 28, 1)" in str(caught.value)


@pytest.mark.parametrize("loss", [gcn.CrossEntropy(), gcn.SquaredError()], ids=["cross-entropy", "squared"])
def test_a_network_whose_output_is_one_number_for_the_whole_batch(loss):
    def network():
        x = gcn.Input((5,))
        y = gcn.mean(x)  # here
        gcn.compile(gcn.Network(x, y), loss=loss)

    message = mistake(ShapeError, "mean1", network)
    assert "the network's output float32[] has no batch axis" in message


def test_hinge_of_images():
    def network():
        layer = gcn.Conv2d(10, 3)
        line = inspect.currentframe().f_lineno - 1
        with pytest.raises(ShapeError) as caught:
            gcn.compile(gcn.Sequential(layer), input_shape=IMAGE, loss=gcn.Hinge())
        return str(caught.value), line

    message, line = network()
    assert message.startswith(f"{FILE}:{line + 3}: Hinge takes outputs of shape [N, classes]")
    assert "float32[N, 6, 6, 10]" in message
    assert f"the output is made by conv1, {FILE}:{line}" in message
    assert "Mend: end the network with gcn.Flatten() and gcn.Dense(classes)" in message


def test_accuracy_of_a_regression():
    def network():
        gcn.compile(gcn.Dense(3), input_shape=(5,), loss=gcn.SquaredError(), metrics=["accuracy"])  # here

    message = mistake(OptionError, "", network)
    assert "accuracy needs outputs [N, classes] and labels [N]" in message
    assert "targets float32[N, 3]" in message


# Options


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: gcn.Conv2d(0, 3), "filters=0 is not an integer of at least 1"),
        (lambda: gcn.Conv2d(2.0, 3), "filters=2.0 is not an integer of at least 1"),
        (lambda: gcn.Conv2d(4, 0), "kernel=0 is neither an integer of at least 1 nor a pair"),
        (lambda: gcn.Conv2d(4, (3, 3, 3)), "kernel=(3, 3, 3) is neither"),
        (lambda: gcn.Conv2d(4, 3, stride=0), "stride=0 is neither"),
        (lambda: gcn.Conv2d(4, 3, stride=1.5), "stride=1.5 is neither"),
        (lambda: gcn.Conv2d(4, 3, dilation=(1, 0)), "dilation=(1, 0) is neither"),
        (lambda: gcn.Conv2d(4, 3, groups=0), "groups=0 is not an integer of at least 1"),
        (lambda: gcn.Conv2d(4, 3, padding="smae"), "unknown padding 'smae'"),
        (lambda: gcn.Conv2d(4, 3, padding=-1), "unknown padding -1"),
        (lambda: gcn.Conv2d(4, 3, padding=((1, 1), 1)), "unknown padding ((1, 1), 1)"),
        (lambda: gcn.Conv2d(4, 3, initializer="he"), "initializer='he' is not an initializer"),
        (lambda: gcn.Conv2d(4, 3, name=""), "name='' is not a word"),
        (lambda: gcn.ReLU(name="half \ud800"), "is not a word"),
        (lambda: gcn.Input(IMAGE, name="half \ud800"), "is not a word"),
        (lambda: gcn.DepthwiseConv2d(3, stride=0), "stride=0 is neither"),
        (lambda: gcn.DepthwiseConv2d(3, multiplier=0), "multiplier=0 is not an integer"),
        (lambda: gcn.ConvTranspose2d(4, 3, padding="same"), 'padding="same" is not defined'),
        (lambda: gcn.MaxPool2d(0), "size=0 is neither"),
        (lambda: gcn.AvgPool2d(2, stride=(2, -2)), "stride=(2, -2) is neither"),
        (lambda: gcn.Dense(-3), "units=-3 is not an integer of at least 1"),
        (lambda: gcn.Dropout(1.0), "rate=1.0 is not a number of at least 0 and below 1"),
        (lambda: gcn.Dropout("half"), "rate='half' is not a number"),
        (lambda: gcn.Dropout(float("nan")), "rate=nan is not a number"),
        (lambda: gcn.BatchNorm2d(momentum=2), "momentum=2 is not a number above 0 and at most 1"),
        (lambda: gcn.BatchNorm2d(epsilon=0), "epsilon=0 is not a number above 0"),
        (lambda: gcn.LayerNorm(-1e-5), "epsilon=-1e-05 is not a number above 0"),
        (lambda: gcn.Sequential(), "Sequential has no layers"),
        (lambda: gcn.Sequential(gcn.Flatten(), gcn.relu), "item 1 of Sequential is the function relu"),
        (lambda: gcn.Sequential(gcn.ReLU), "item 0 of Sequential is the class ReLU"),
        (lambda: gcn.Sequential([gcn.ReLU()]), "item 0 of Sequential is a list"),
        (lambda: gcn.Input(3), "the shape 3 is not a tuple of sizes"),
        (lambda: gcn.Input((3, None)), "None in the shape (3, None) is not a size"),
        (lambda: gcn.SGD(-0.1), "learning_rate=-0.1 is not a number above 0"),
        (lambda: gcn.SGD("fast"), "learning_rate='fast' is not a number above 0"),
        (lambda: gcn.SGD(0.1, momentum=1), "momentum=1 is not a number of at least 0 and below 1"),
        (lambda: gcn.SGD(0.1, nesterov=True), "momentum=0.0 is not a number above 0, which nesterov"),
        (lambda: gcn.Adam(beta2=1.0), "beta2=1.0 is not a number of at least 0 and below 1"),
        (lambda: gcn.AdamW(weight_decay=-1), "weight_decay=-1 is not a number of at least 0"),
        (lambda: gcn.CrossEntropy("max"), "reduction='max' is neither 'mean' nor 'sum'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_option_that_is_not_allowed(make, problem):
    with pytest.raises((OptionError, ShapeError)) as caught:
        make()
    message = str(caught.value)
    assert f"{FILE}:{make.__code__.co_firstlineno}" in message.splitlines()[0]
    assert problem in message
    assert "\n  Mend: " in message


def test_a_misspelt_function_says_which_class_to_use():
    def network():
        gcn.Sequential(gcn.Flatten(), gcn.relu)  # here

    assert "gcn.ReLU() rather than gcn.relu" in mistake(OptionError, "Sequential", network)


def test_an_unknown_padding_says_what_is_allowed():
    def network():
        gcn.MaxPool2d(2, padding="smae", name="pool")  # here

    message = mistake(OptionError, "pool", network)
    assert '((top, bottom), (left, right)), "same" or "valid"' in message


# Values in the wrong place


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda x: x + "a", "'a' is neither a value of the network nor a number"),
        (lambda x: x * np.ones(3), "an array of shape (3,) is neither a value of the network nor a number"),
        (lambda x: np.ones(3) * x, "an array of shape (3,) is neither a value of the network nor a number"),
        (lambda x: x**x, "the exponent of ** is a value of the network"),
        (lambda x: (-2) ** x, "the base -2 of ** is not positive"),
        (lambda x: x @ 2, "matmul multiplies two matrices"),
        (lambda x: 1 if x else 0, "it is neither true nor false"),
        (lambda x: np.asarray(x), "it cannot become an array"),
        (lambda x: gcn.relu(3.0), "relu takes values of a network, not float"),
        (lambda x: gcn.maximum(1, 2), "maximum takes values of a network, not int, int"),
        (lambda x: gcn.mean(np.ones(3)), "mean takes values of a network, not ndarray"),
        (lambda x: gcn.mean(x, axes=(4,)), "axes=(4,) are not distinct axes of float32[N, 8, 8, 3]"),
        (lambda x: gcn.sum(x, axes=(1, -3)), "axes=(1, -3) are not distinct axes"),
        (lambda x: gcn.max(x, axes=4), "axes=4 are not distinct axes"),
        (lambda x: x[0], "axis 0 of float32[N, 8, 8, 3] is the batch, and is taken whole"),
        (lambda x: x[1:], "axis 0 of float32[N, 8, 8, 3] is the batch, and is taken whole"),
        (lambda x: x[:, 8], "place 8 is beyond axis 1 of float32[N, 8, 8, 3]"),
        (lambda x: x[:, 5:5], "the slice 5:5 of axis 1 of float32[N, 8, 8, 3] is empty"),
        (lambda x: x[:, ::0], "slice step cannot be zero"),
        (lambda x: x[:, 0.5:], "slice indices must be integers"),
        (lambda x: x[:, [0, 1]], "[0, 1] cannot index axis 1 of float32[N, 8, 8, 3]"),
        (lambda x: x[:, True], "True cannot index axis 1"),
        (lambda x: x[:, 0, 0, 0, 0], "5 axes are indexed, of 4"),
        (lambda x: x[..., ...], "`...` stands twice"),
        (lambda x: list(x), "cannot be gone through one by one"),
        (lambda x: gcn.Upsample2d(2, mode="bicubic")(x), "mode='bicubic' is no way of upsampling"),
        (lambda x: gcn.Upsample2d(0)(x), "scale=0 is neither an integer of at least 1"),
        (lambda x: gcn.upsample2d(x, 1.5), "scale=1.5 is neither an integer of at least 1"),
        (
            lambda x: gcn.Upsample2d(2, align_corners=True)(x),
            "align_corners=True does not go with mode='nearest'",
        ),
        (lambda x: gcn.resize2d(x, 5, align_corners=1), "align_corners=1 is neither True nor False"),
        (lambda x: gcn.upsample2d(gcn.flatten(x), 2), "upsample2d takes images of shape [N, H, W, C]"),
        (lambda x: gcn.PixelShuffle(2)(x), "PixelShuffle by 2 makes pixels of 4 channels each"),
        (lambda x: gcn.pixel_shuffle(x, (2, 2)), "factor=(2, 2) is not an integer of at least 1"),
        (lambda x: gcn.pixel_unshuffle(x, 3), "takes images of whole blocks"),
        (lambda x: gcn.Pad2d("same")(x), "padding='same' depends on a kernel, and Pad2d has none"),
        (lambda x: gcn.Pad2d(1, mode="zeros")(x), "mode='zeros' is no way of padding"),
        (lambda x: gcn.Pad2d(1, mode="edge", value=1.0)(x), "value=1.0 goes with mode="),
        (
            lambda x: gcn.Reshape((-1, -1))(x),
            "shape=(-1, -1) is not a tuple of sizes, one of which may be -1",
        ),
        (lambda x: gcn.Reshape((5, -1))(x), "192 elements (a sample), which is no multiple of 5"),
        (lambda x: gcn.reshape(x, 192), "shape=192 is not a tuple of sizes"),
        (lambda x: gcn.split(x, 2), "an axis of 3 has no 2 equal parts"),
        (lambda x: gcn.split(x, (1, 3)), "parts=(1, 3) add up to 4, and the axis is 3 long"),
        (lambda x: gcn.split(x, 1.5), "parts=1.5 is neither a number of parts nor a tuple of their sizes"),
        (lambda x: gcn.split(x, 2, axis=0), "axis 0 of float32[N, 8, 8, 3] is the batch, which is not split"),
        (lambda x: gcn.stack(x, x, axis=0), "axis=0 is no place for a new axis"),
        (lambda x: gcn.stack(x, gcn.flatten(x)), "stack takes values of one type"),
        (lambda x: gcn.stack(), "stack takes at least one value"),
        (lambda x: gcn.pad(x, (1, 2, 3)), "widths=(1, 2, 3) do not fit float32[N, 8, 8, 3]"),
        (lambda x: gcn.pad(x, ((1, -2), (0, 0))), "widths=((1, -2), (0, 0)) do not fit"),
        (lambda x: gcn.pad(x, ((1, 0), (0, 0), (0, 0), (0, 0))), "pad axis 0 of float32[N, 8, 8, 3]"),
        (lambda x: gcn.pad(x, ((1, 0), *[(0, 0)] * 3), "edge"), "pad axis 0 of float32[N, 8, 8, 3]"),
        (lambda x: gcn.pad(x, 1, mode="replicate"), "mode='replicate' is no way of padding"),
        (lambda x: gcn.pad(x, 1, "edge", value=2.0), "value=2.0 goes with mode="),
        (lambda x: gcn.pad(x, 1, value="2"), "value='2' is not a number to pad with"),
        (lambda x: gcn.pad(x, 8, "reflect"), "it is 8 long, which allows widths of at most 7"),
        (lambda x: gcn.pad(x, 9, "circular"), "it is 8 long, which allows widths of at most 8"),
        (lambda x: gcn.sum(x, axes=1, keepdims=2), "keepdims=2 is neither True nor False"),
        (lambda x: gcn.var(x, axes=1, correction="n"), "correction='n' is not a number"),
        (lambda x: gcn.argmax(x, axis=None), "axis=None is not an axis of float32[N, 8, 8, 3]"),
        (lambda x: gcn.argmax(x, axis=0), "along the batch axis is not defined"),
        (lambda x: gcn.transpose(x, (0, 1)), "axes=(0, 1) is not an order of the 4 axes of float32"),
        (lambda x: gcn.transpose(x, (0, 1, 1, 2)), "axes=(0, 1, 1, 2) are not distinct axes"),
        (lambda x: gcn.transpose(gcn.sum(x)), "float32[] has no two axes to exchange"),
        (lambda x: gcn.matmul(x, 2), "matmul multiplies two matrices"),
        (lambda x: gcn.concatenate(x, x, axis=4), "axes=4 are not distinct axes"),
        (lambda x: gcn.concatenate([x, x]), "concatenate takes values of a network, not list"),
        (lambda x: gcn.concatenate(), "concatenate takes at least one value"),
        (lambda x: gcn.Conv2d(4, 3)(np.zeros((1, 8, 8, 3))), "Conv2d is applied to ndarray"),
        (lambda x: gcn.Conv2d(4, 3)(x, x), "Conv2d takes 1 value, not 2"),
        (lambda x: gcn.Network(x, 3), "a network goes from values to one value"),
        (lambda x: gcn.Network(x, x + gcn.Input((3,), "y")), "the output depends on input 'y'"),
        (lambda x: gcn.Network((x, gcn.relu(x)), x), "the result of relu is not an input"),
        (lambda x: gcn.Network((x, gcn.Input((3,))), x), "two inputs have one name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_that_is_used_wrongly(wrong, problem):
    x = gcn.Input(IMAGE)
    with pytest.raises((OptionError, ShapeError)) as caught:
        wrong(x)
    message = str(caught.value)
    assert f"{FILE}:{wrong.__code__.co_firstlineno}" in message.splitlines()[0]
    assert problem in message
    assert "\n  Mend: " in message


def test_a_layer_of_the_users_that_forgets_to_return():
    class Forgetful(gcn.Layer):
        def build(self, build, *values):
            pass

    def network():
        return Forgetful()(gcn.Input(IMAGE))  # here

    assert "Forgetful.build returned NoneType" in mistake(OptionError, "Forgetful", network)


# compile


@pytest.mark.parametrize(
    ("options", "problem", "mend"),
    [
        ({"input_shape": None}, "the input's shape of Dense is not known", "input_shape=(28, 28, 1)"),
        ({"input_shape": 5}, "the shape 5 is not a tuple of sizes", "(5,)"),
        ({"input_shape": (0,)}, "0 in the shape (0,) is not a size of at least 1", "whole numbers"),
        ({"dtype": "int8"}, "dtype='int8' is neither 'float32' nor 'float64'", 'dtype="float64"'),
        ({"dtype": "bfloat16"}, "dtype='bfloat16' is neither 'float32' nor", 'precision="bfloat16"'),
        ({"precision": "float16"}, "precision='float16' is neither 'float32' nor", 'precision="bfloat16"'),
        ({"loss": "mse"}, "loss is 'mse', not an object", 'loss=gcn.SquaredError(reduction="mean")'),
        ({"loss": gcn.SquaredError}, "loss is the class SquaredError", "loss=gcn.SquaredError()"),
        ({"optimizer": gcn.Adam}, "optimizer is the class Adam", "optimizer=gcn.Adam()"),
        ({"optimizer": gcn.SGD(0.1), "loss": None}, "an optimizer needs a loss", "loss=gcn.CrossEntropy()"),
        ({"metrics": "accuracy"}, "metrics='accuracy' is not a sequence", "metrics=['accuracy']"),
        ({"metrics": ["acc"]}, "unknown metric 'acc'", 'metrics=["accuracy"]'),
        ({"seed": "lucky"}, "seed='lucky' is not an integer", "seed=0"),
        ({"seed": -1}, "seed=-1 is not an integer from 0", "seed=0"),
        ({"seed": 2**64}, f"seed={2**64} is not an integer from 0", "seed=0"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_compile_with_a_wrong_argument(options, problem, mend):
    arguments = {"input_shape": (5,), "loss": gcn.CrossEntropy(), **options}
    with pytest.raises((OptionError, ShapeError)) as caught:
        gcn.compile(gcn.Dense(3), **arguments)
    message = str(caught.value)
    assert FILE in message.splitlines()[0]
    assert problem in message
    assert mend in message[message.index("Mend: ") :]


def test_an_unknown_backend():
    def network():
        gcn.compile(gcn.Dense(3), input_shape=(5,), backend="cuda")  # here

    message = mistake(BackendError, "", network)
    assert "there is no backend 'cuda'" in message
    assert "installed: " in message
    assert "numpy" in message


def test_an_input_with_the_outputs_name():
    def network():
        gcn.Input((3,), name="output")  # here

    assert "the name 'output' is the output's" in mistake(OptionError, "output", network)


@pytest.mark.parametrize("name", ["target", "loss", "accuracy", "learning_rate"])
def test_an_input_with_a_name_that_the_model_needs(name):
    x = gcn.Input((3,), name=name)
    with pytest.raises(OptionError) as caught:
        gcn.compile(gcn.Network(x, gcn.Dense(2)(x)), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))
    assert f"the name {name!r} of an input or parameter is taken by the model itself" in str(caught.value)
    assert "Mend: give it another name" in str(caught.value)


def test_an_initializer_that_makes_the_wrong_shape():
    def network():
        dense = gcn.Dense(3, initializer=lambda generator, type: np.zeros(5))
        gcn.compile(dense, input_shape=(2,))  # here

    message = mistake(OptionError, "", network)
    assert "the initializer of 'dense1.weights' made an array of shape (5,) for float32[2, 3]" in message


@pytest.mark.parametrize("initializer", [gcn.He, gcn.Glorot, gcn.LeCun])
def test_an_unknown_distribution(initializer):
    with pytest.raises(OptionError, match="distribution='cauchy' is neither 'normal' nor 'uniform'"):
        initializer("cauchy")


@pytest.mark.parametrize(
    "make",
    [
        lambda: gcn.Dense(64, 10),
        lambda: gcn.Conv2d(8, 3, 1, 1, 1, 1, 8),
        lambda: gcn.Conv1d(4, 3, bias=4),
        lambda: gcn.ConvTranspose2d(4, 3, bias=None),
        lambda: gcn.DepthwiseConv2d(3, bias=0),
    ],
)
def test_a_number_in_the_place_of_a_bias_is_the_order_of_others(make):
    with pytest.raises(OptionError, match="is neither True nor False") as caught:
        make()
    assert "is not given: it is the input's" in caught.value.mend
