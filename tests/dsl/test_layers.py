"""What each layer computes, what its parameters are called, and how layers and values combine."""

import math

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError
from graphcnn.ops import Convolve2d, Correlate2d
from graphcnn.testing import check_gradients
from graphcnn.testing.naive import pools, sliding_product

IMAGES = np.random.default_rng(1).normal(size=(2, 7, 6, 4))


def compiled(network, shape=(7, 6, 4), **options):
    """Return a float64 model whose parameters are all random, so that biases count too."""
    if not isinstance(network, gcn.Network):
        options["input_shape"] = shape
    model = gcn.compile(network, dtype="float64", **options)
    generator = np.random.default_rng(2)
    for name, value in model.parameters.items():
        model.parameters[name] = generator.normal(size=value.shape)
    return model


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def training_step(layer, images, steps=1):
    """Return the model after training steps whose learning rate is too small to change a parameter."""
    network = gcn.Sequential(layer, gcn.Flatten(), gcn.Dense(1, name="last"))
    model = gcn.compile(
        network,
        input_shape=images.shape[1:],
        loss=gcn.SquaredError(),
        optimizer=gcn.SGD(1e-300),
        dtype="float64",
    )
    for _ in range(steps):
        model.train_step(images, np.zeros((len(images), 1)))
    return model


# Convolution


@pytest.mark.parametrize(
    ("layer", "op"),
    [
        (gcn.Conv2d(4, 3), Correlate2d()),
        (gcn.Conv2d(4, 3, flip=True), Convolve2d()),
        (gcn.Conv2d(6, (2, 3), (2, 1), 1), Correlate2d((2, 1), ((1, 1), (1, 1)))),
        (gcn.Conv2d(2, 3, padding=(2, 0)), Correlate2d(padding=((2, 2), (0, 0)))),
        (gcn.Conv2d(2, 3, padding=((0, 2), (1, 0))), Correlate2d(padding=((0, 2), (1, 0)))),
        (gcn.Conv2d(2, 3, padding="valid", dilation=2), Correlate2d(dilation=(2, 2))),
        (gcn.Conv2d(6, 3, stride=2, groups=2), Correlate2d((2, 2), groups=2)),
        (gcn.Conv2d(2, 3, padding="same"), Correlate2d(padding=((1, 1), (1, 1)))),
        (gcn.Conv2d(2, 4, padding="same"), Correlate2d(padding=((1, 2), (1, 2)))),
        (gcn.Conv2d(2, 2, stride=2, padding="same"), Correlate2d((2, 2), ((0, 1), (0, 0)))),
        (
            gcn.Conv2d(2, 3, dilation=2, padding="same"),
            Correlate2d(padding=((2, 2), (2, 2)), dilation=(2, 2)),
        ),
    ],
    ids=lambda case: f"{case!r:.90}",
)
def test_conv2d_equals_the_definition(layer, op):
    model = compiled(layer)
    expected = sliding_product(op, IMAGES, model.parameters["conv1.filters"]) + model.parameters["conv1.bias"]
    assert_equal(model.predict(IMAGES), expected)


@pytest.mark.parametrize("layer", [gcn.Conv2d, gcn.MaxPool2d], ids=["conv", "pool"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_gives_size_over_stride_rounded_up(layer, kernel, stride):
    arguments = (2, kernel) if layer is gcn.Conv2d else (kernel,)
    x = gcn.Input((7, 6, 2))
    y = layer(*arguments, stride=stride, padding="same")(x)
    assert y.shape[1:3] == (math.ceil(7 / stride), math.ceil(6 / stride))


def test_conv2d_without_bias_has_no_bias():
    assert list(compiled(gcn.Conv2d(3, 2, bias=False)).parameters) == ["conv1.filters"]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolution_is_one_convolution_per_channel(multiplier):
    model = compiled(gcn.DepthwiseConv2d(3, 2, padding=1, multiplier=multiplier))
    filters, bias = model.parameters["depthwise1.filters"], model.parameters["depthwise1.bias"]
    assert filters.shape == (3, 3, 1, 4 * multiplier)
    op = Correlate2d((2, 2), ((1, 1), (1, 1)))
    for channel in range(4):
        mine = slice(channel * multiplier, (channel + 1) * multiplier)
        alone = sliding_product(op, IMAGES[..., channel : channel + 1], filters[..., mine])
        assert_equal(model.predict(IMAGES)[..., mine], alone + bias[mine])


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 0), (3, 2, 1), ((2, 3), (3, 2), (0, 1))])
def test_transposed_convolution_is_the_input_gradient_of_a_convolution(kernel, stride, padding):
    """<conv(x), delta> = <x, conv_transpose(delta)> for all x and delta, with filters' channels swapped."""
    images = IMAGES[:, :, :5]
    down = compiled(gcn.Conv2d(5, kernel, stride, padding, bias=False), images.shape[1:])
    delta = np.random.default_rng(3).normal(size=down.predict(images).shape)
    up = compiled(gcn.ConvTranspose2d(4, kernel, stride, padding, bias=False), delta.shape[1:])
    up.parameters["conv_transpose1.filters"] = down.parameters["conv1.filters"].transpose(0, 1, 3, 2)
    image = up.predict(delta)
    reached = images[:, : image.shape[1], : image.shape[2]]  # the stride skips the rest
    assert np.vdot(down.predict(images), delta) == pytest.approx(np.vdot(reached, image), abs=1e-11)


def test_transposed_convolution_upsamples_and_adds_a_bias():
    model = compiled(gcn.ConvTranspose2d(3, 2, stride=2))
    spread = np.einsum("nhwc,pqcd->nhpwqd", IMAGES, model.parameters["conv_transpose1.filters"])
    expected = spread.reshape(2, 14, 12, 3) + model.parameters["conv_transpose1.bias"]
    assert_equal(model.predict(IMAGES), expected)


# Pooling and shapes


@pytest.mark.parametrize(
    ("layer", "name"), [(gcn.MaxPool2d, "max"), (gcn.AvgPool2d, "average"), (gcn.L2Pool2d, "l2")]
)
@pytest.mark.parametrize(
    ("arguments", "size", "stride", "padding"),
    [
        ((2,), (2, 2), (2, 2), ((0, 0), (0, 0))),
        ((3, 2), (3, 3), (2, 2), ((0, 0), (0, 0))),
        (((2, 3), 1, 1), (2, 3), (1, 1), ((1, 1), (1, 1))),
    ],
)
def test_pools_equal_the_definition(layer, name, arguments, size, stride, padding):
    expected = pools(IMAGES, size, stride, padding)[name]
    assert_equal(compiled(layer(*arguments)).predict(IMAGES), expected)


def test_global_average_pool_and_flatten():
    assert_equal(compiled(gcn.GlobalAvgPool2d()).predict(IMAGES), IMAGES.mean(axis=(1, 2)))
    assert_equal(compiled(gcn.Flatten()).predict(IMAGES), IMAGES.reshape(2, -1))


def test_dense_and_activations():
    rows = IMAGES.reshape(2, -1)
    model = compiled(gcn.Dense(3), rows.shape[1:])
    z = rows @ model.parameters["dense1.weights"] + model.parameters["dense1.bias"]
    assert_equal(model.predict(rows), z)
    expected = {gcn.ReLU: np.maximum(rows, 0), gcn.Tanh: np.tanh(rows), gcn.Sigmoid: 1 / (1 + np.exp(-rows))}
    for layer, values in expected.items():
        assert_equal(compiled(layer(), rows.shape[1:]).predict(rows), values)


def test_dense_on_tokens_takes_each_alike():
    tokens = IMAGES.reshape(2, 42, 4)
    for bias in (True, False):
        model = compiled(gcn.Dense(3, bias=bias), tokens.shape[1:])
        parameters = model.parameters
        assert parameters["dense1.weights"].shape == (4, 3)
        assert_equal(
            model.predict(tokens),
            tokens @ parameters["dense1.weights"] + (parameters["dense1.bias"] if bias else 0.0),
        )


# Normalisation


def test_batchnorm_in_training_has_mean_0_and_variance_1_and_keeps_running_averages():
    images = 3 + 2 * IMAGES
    mean, variance = images.mean(axis=(0, 1, 2)), images.var(axis=(0, 1, 2))
    layer = gcn.compile(gcn.BatchNorm2d(epsilon=1e-12), input_shape=(7, 6, 4), dtype="float64")
    normal = gcn.evaluate(layer.training_graph, image=images, **layer.state())["output"]
    assert_equal(normal.mean(axis=(0, 1, 2)), 0)
    np.testing.assert_allclose(normal.var(axis=(0, 1, 2)), 1, atol=1e-10)

    model = training_step(gcn.BatchNorm2d(momentum=0.25), images, steps=2)
    state = model.state()
    assert_equal(state["batchnorm1.mean"], (1 - 0.75**2) * mean)
    assert_equal(state["batchnorm1.variance"], 0.75**2 + (1 - 0.75**2) * variance)


def test_batchnorm_at_inference_uses_the_running_averages_and_each_sample_alone():
    layer = gcn.BatchNorm2d(epsilon=0.5)
    model = gcn.compile(layer, input_shape=(7, 6, 4), dtype="float64")
    statistics = {"batchnorm1.mean": np.arange(4.0), "batchnorm1.variance": np.arange(1.0, 5)}
    model.set_state(model.state() | statistics)
    model.parameters["batchnorm1.scale"] = np.full(4, 2.0)
    model.parameters["batchnorm1.shift"] = np.full(4, 7.0)
    expected = 2 * (IMAGES - np.arange(4)) / np.sqrt(np.arange(1, 5) + 0.5) + 7
    assert_equal(model.predict(IMAGES), expected)
    assert_equal(model.predict(IMAGES[:1]), expected[:1])


def test_layernorm_normalises_each_position_over_its_channels():
    model = compiled(gcn.LayerNorm(epsilon=0.1))
    centred = IMAGES - IMAGES.mean(axis=-1, keepdims=True)
    normal = centred / np.sqrt(IMAGES.var(axis=-1, keepdims=True) + 0.1)
    expected = normal * model.parameters["layernorm1.scale"] + model.parameters["layernorm1.shift"]
    assert_equal(model.predict(IMAGES), expected)


# Names


def test_default_names_count_each_kind_of_layer():
    network = gcn.Sequential(
        gcn.Conv2d(2, 3), gcn.ReLU(), gcn.Conv2d(2, 3), gcn.Flatten(), gcn.Dense(3), gcn.Dense(2)
    )
    assert list(compiled(network).parameters) == [
        f"{layer}.{part}"
        for layer, weights in (
            ("conv1", "filters"),
            ("conv2", "filters"),
            ("dense1", "weights"),
            ("dense2", "weights"),
        )
        for part in (weights, "bias")
    ]


def test_a_users_name_stands_and_default_names_step_aside():
    network = gcn.Sequential(gcn.Conv2d(2, 1, name="conv1", bias=False), gcn.Conv2d(2, 1, bias=False))
    assert list(compiled(network).parameters) == ["conv1.filters", "conv2.filters"]


def test_a_named_sequential_is_a_prefix_and_numbers_its_layers_afresh():
    def block(name):
        return gcn.Sequential(
            gcn.Conv2d(4, 1, bias=False), gcn.ReLU(), gcn.Conv2d(4, 1, bias=False), name=name
        )

    network = gcn.Sequential(
        block("left"), gcn.Sequential(block("inner"), name="outer"), block(None), gcn.Conv2d(4, 1, bias=False)
    )
    assert list(compiled(network).parameters) == [
        f"{name}.filters"
        for name in (
            "left.conv1",
            "left.conv2",
            "outer.inner.conv1",
            "outer.inner.conv2",
            "conv1",
            "conv2",
            "conv3",
        )
    ]


def test_a_shared_layer_has_one_set_of_parameters_used_twice():
    layer = gcn.Conv2d(4, 3, padding="same")
    model = compiled(gcn.Sequential(layer, layer))
    assert list(model.parameters) == ["conv1.filters", "conv1.bias"]
    once = compiled(gcn.Sequential(gcn.Conv2d(4, 3, padding="same")))
    assert_equal(model.predict(IMAGES), once.predict(once.predict(IMAGES)))


def test_a_shared_layer_gets_the_sum_of_both_gradients():
    layer = gcn.Dense(1, bias=False)
    x, y = gcn.Input((2,), name="x"), gcn.Input((2,), name="y")
    network = gcn.Network((x, y), layer(x) + layer(y))
    model = gcn.compile(network, loss=gcn.SquaredError(), optimizer=gcn.SGD(0.5), dtype="float64")
    model.parameters["dense1.weights"] = np.zeros((2, 1))
    model.train_step({"x": [[1.0, 2.0]], "y": [[10.0, 20.0]]}, [[1.0]])
    assert_equal(model.parameters["dense1.weights"], [[5.5], [11.0]])


def test_a_shared_batchnorm_updates_its_averages_once_per_use():
    shared = gcn.BatchNorm2d(momentum=0.25)
    x = gcn.Input((7, 6, 4), name="image")
    network = gcn.Network(x, shared(shared(x) * 2 + 3))
    model = gcn.compile(network, dtype="float64")
    after = gcn.evaluate(model.training_graph, image=IMAGES, **model.state())
    first = 0.25 * IMAGES.mean(axis=(0, 1, 2))  # the second use sees the mean 3
    assert_equal(after["batchnorm1.mean"], 0.75 * first + 0.25 * 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_of_the_users_own_stay_apart(dtype):
    x = gcn.Input((3,), name="x")
    terms = [gcn.Parameter((3,), f"term{i}", initializer=gcn.Constant(10.0**i)) for i in range(4)]
    y = x
    for term in terms:
        y = y + term
    model = gcn.compile(gcn.Network(x, y), dtype=dtype)
    assert list(model.parameters) == ["term0", "term1", "term2", "term3"]
    assert model.predict(np.zeros((1, 3))).tolist() == [[1111.0] * 3]


@pytest.mark.parametrize(
    "network",
    [
        lambda x: gcn.Conv2d(2, 1, name="a")(gcn.Conv2d(4, 1, name="a")(x)),
        lambda x: x * gcn.Parameter((4,), "a") + gcn.Parameter((4,), "a"),
        lambda x: gcn.Conv2d(4, 1, name="a.b")(gcn.Sequential(gcn.Conv2d(4, 1, name="b"), name="a")(x)),
    ],
    ids=["layers", "parameters", "scopes"],
)
def test_one_name_for_two_layers_is_refused(network):
    x = gcn.Input((7, 6, 4))
    with pytest.raises(
        OptionError, match=r"two layers have the name 'a[^']*'\n(.*\n)*  Mend: give each layer"
    ):
        gcn.compile(gcn.Network(x, network(x)))


def test_a_parameter_cannot_pass_for_an_input():
    x = gcn.Input((4,), name="x")
    with pytest.raises(OptionError, match="the name 'x' is taken by an input"):
        gcn.compile(gcn.Network(x, x * gcn.Parameter((4,), "x")))


# Values


def run(function, *arrays):
    inputs = [gcn.Input(array.shape[1:], name=f"x{i}") for i, array in enumerate(arrays)]
    return compiled(gcn.Network(inputs, function(*inputs))).predict(
        list(arrays) if len(arrays) > 1 else arrays[0]
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 2,
        lambda x: 2 + x,
        lambda x: x - 2.5,
        lambda x: 2.5 - x,
        lambda x: x * 3,
        lambda x: 3 * x,
        lambda x: x / 4,
        lambda x: 4 / x,
        lambda x: x**3,
        lambda x: x**-1,
        lambda x: 2**x,
        lambda x: -x,
        lambda x: np.float32(2) * x + np.float64(3),
        lambda x: x - np.int64(2),
    ],
)
def test_operators_with_numbers_mean_what_they_mean_in_numpy(function):
    np.testing.assert_allclose(run(function, IMAGES), function(IMAGES), rtol=1e-12)


@pytest.mark.parametrize(
    "function", [lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y]
)
def test_operators_broadcast_as_in_numpy(function):
    other = np.random.default_rng(4).uniform(1, 2, size=(2, 7, 1, 4))
    np.testing.assert_allclose(run(function, IMAGES, other), function(IMAGES, other), rtol=1e-12)
    np.testing.assert_allclose(run(function, other, IMAGES + 9), function(other, IMAGES + 9), rtol=1e-12)


def test_matmul_with_a_parameter():
    x = gcn.Input((3,), name="x")
    w = gcn.Parameter((3, 2), "w", initializer=lambda generator, type: np.arange(6.0).reshape(3, 2))
    model = gcn.compile(gcn.Network(x, x @ w), dtype="float64")
    assert_equal(model.predict(np.eye(3)), np.arange(6.0).reshape(3, 2))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("N", 5, 7, 4), ("N", 5, 4, 3)),
        (("N", 5, 7, 4), (5, 4, 3)),
        (("N", 5, 7, 4), ("N", 1, 4, 3)),
        ((5, 7, 4), ("N", 5, 4, 3)),
        ((2, 1, 7, 4), (2, 5, 4, 3)),
        (("N", 2, 1, 7, 4), (5, 4, 3)),
        (("N", 7, 4), (4, 3)),
        (("N", 5, 7, 4), (4, 3)),
        ((5, 7, 4), (4, 3)),
        ((7, 4), ("N", 4, 3)),
        (("N", 4), (4, 3)),
        (("N", 4), (5, 4, 3)),
        (("N", 7, 4), (4,)),
        (("N", 4), (4,)),
        ((4,), ("N", 4, 3)),
        ((4,), (4,)),
    ],
)
def test_matmul_broadcasts_as_in_numpy(left, right):
    random = np.random.default_rng(0)
    arrays = {
        name: random.standard_normal([2 if size == "N" else size for size in shape])
        for name, shape in (("x", left), ("y", right))
    }
    inputs = [
        gcn.Input(shape[int(shape[0] == "N") :], name, dtype="float64", batch=shape[0] == "N")
        for name, shape in (("x", left), ("y", right))
    ]
    graph = gcn.Network(tuple(inputs), inputs[0] @ inputs[1]).graph
    found = gcn.evaluate(graph, **arrays)["output"]
    np.testing.assert_allclose(found, arrays["x"] @ arrays["y"], rtol=1e-12, atol=1e-12)


def test_one_matrix_for_all_samples_has_no_gradient_per_sample():
    """[N, T, C] @ [C, D] is a 1x1 correlation: the gradient of its weights is summed up as it goes."""
    x = gcn.Input((7, 4), "x", dtype="float64")
    w = gcn.Parameter((4, 3), "w", dtype="float64")
    graph = gcn.Network(x, gcn.sum((x @ w) ** 2)).graph
    gradient = gcn.simplify(gcn.gradient(graph, of="output", wrt=["w"]))
    assert gradient.outputs["gradient(w)"].type.shape == (4, 3)
    assert all(node.types[0].shape[-2:] != (4, 3) for _, node in gradient.items() if node.types[0].has_batch)


def lines(row, size, aligned):
    """Return a row read at `size` places on the lines between its numbers."""
    if aligned:
        places = np.linspace(0, len(row) - 1, size)
    else:  # the middles of pixels
        places = (np.arange(size) + 0.5) * len(row) / size - 0.5
    return np.interp(places, np.arange(len(row)), row)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("size", [(14, 12), (7, 18), (3, 4), (1, 1), (20, 5)])
def test_images_are_read_between_pixels(size, aligned):
    expected = np.apply_along_axis(
        lines, 1, np.apply_along_axis(lines, 2, IMAGES, size[1], aligned), size[0], aligned
    )
    found = run(lambda x: gcn.resize2d(x, size, aligned), IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    if size[0] % 7 == size[1] % 6 == 0:
        scale = (size[0] // 7, size[1] // 6)
        layer = gcn.Upsample2d(scale, mode="bilinear", align_corners=aligned)
        np.testing.assert_allclose(run(layer, IMAGES), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        gcn.Upsample2d(2),
        gcn.Upsample2d((2, 3), mode="bilinear"),
        gcn.Upsample2d(2, mode="bilinear", align_corners=True),
        gcn.PixelShuffle(2),
        gcn.Pad2d(((2, 1), (0, 3)), mode="reflect"),
        gcn.Pad2d(2, mode="edge"),
        gcn.Pad2d(2, mode="circular"),
        gcn.Reshape((-1, 2)),
    ],
    ids=str,
)
def test_gradients_of_layers_that_change_the_size(layer):
    x = gcn.Input((3, 4, 4), "x", dtype="float64")
    y = layer(x)
    graph = gcn.Network(x, gcn.sum(y * y * y)).graph
    images = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    check_gradients(graph, of="output", wrt=["x"], inputs={"x": images})


@pytest.mark.parametrize("sizes", [(7,), (3, 4)])
def test_signals_and_rows_are_padded(sizes):
    rows = np.random.default_rng(0).standard_normal((2, *sizes))
    widths = ((2, 1),) * len(sizes)
    for mode, other in (
        ("constant", "constant"),
        ("reflect", "reflect"),
        ("edge", "edge"),
        ("circular", "wrap"),
    ):
        found = run(lambda x, m=mode: gcn.pad(x, widths, mode=m), rows)
        np.testing.assert_array_equal(found, np.pad(rows, ((0, 0), *widths), mode=other))


def test_places_that_are_taken_twice_have_both_gradients():
    x = gcn.Input((4,), "x", dtype="float64")
    padded = gcn.pad(x, ((2, 1),), mode="reflect")  # 2 1 | 0 1 2 3 | 2
    graph = gcn.Network(x, gcn.sum(padded * gcn.Parameter((7,), "w", dtype="float64"))).graph
    slope = gcn.evaluate(
        gcn.gradient(graph, of="output", wrt=["x"]),
        x=np.zeros((1, 4)),
        w=np.array([1.0, 2, 4, 8, 16, 32, 64]),
    )
    np.testing.assert_array_equal(slope["gradient(x)"], [[4, 2 + 8, 1 + 16 + 64, 32]])


def test_a_slice_of_neighbours_is_a_crop_and_no_reshape():
    x = gcn.Input((6, 7, 3), "x")
    graph = gcn.Network(x, x[:, 1:-1, 2:, :]).graph
    (crop,) = (node.op for _, node in graph.items() if node.operands)
    assert crop == gcn.ops.Crop(((0, 0), (1, 1), (2, 0), (0, 0)))


def test_extremes_over_the_batch_and_over_everything():
    x = gcn.Input(IMAGES.shape[1:], "x", dtype="float64")
    for function, expected in ((gcn.max, np.max), (gcn.min, np.min), (gcn.var, np.var)):
        for axes in (None, 0, (0, 2)):
            graph = gcn.Network(x, function(x, axes)).graph
            found = gcn.evaluate(graph, x=IMAGES)["output"]
            np.testing.assert_allclose(found, expected(IMAGES, axis=axes), rtol=1e-12)


def test_equal_extremes_share_the_gradient_alike():
    x = gcn.Input((4,), "x", dtype="float64")
    for function, sign in ((gcn.max, 1), (gcn.min, -1)):
        graph = gcn.Network(x, gcn.sum(function(x, 1) * 6.0)).graph
        slope = gcn.gradient(graph, of="output", wrt=["x"])
        rows = sign * np.array([[1.0, 3, 3, 2], [5, 5, 5, 4], [0, 1, 2, 3]])
        found = gcn.evaluate(slope, x=rows)["gradient(x)"]
        np.testing.assert_array_equal(found, [[0, 3, 3, 0], [2, 2, 2, 0], [0, 0, 0, 6]])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (gcn.exp, np.exp),
        (lambda x: gcn.log(gcn.exp(x)), lambda x: x),
        (lambda x: gcn.sqrt(x * x), np.abs),
        (lambda x: gcn.maximum(x, 0.5), lambda x: np.maximum(x, 0.5)),
        (lambda x: gcn.maximum(0.5, x), lambda x: np.maximum(x, 0.5)),
        (lambda x: gcn.sum(x, axes=(1, -1)), lambda x: x.sum(axis=(1, 3))),
        (lambda x: gcn.mean(x, axes=2), lambda x: x.mean(axis=2)),
        (lambda x: gcn.sum(x, axes=(1, 3), keepdims=True), lambda x: x.sum(axis=(1, 3), keepdims=True)),
        (lambda x: gcn.mean(x, axes=-1, keepdims=True), lambda x: x.mean(axis=-1, keepdims=True)),
        (lambda x: gcn.max(x, axes=(1, 2)), lambda x: x.max(axis=(1, 2))),
        (lambda x: gcn.max(x, axes=(1, 3), keepdims=True), lambda x: x.max(axis=(1, 3), keepdims=True)),
        (lambda x: gcn.min(x, axes=(-1, 1)), lambda x: x.min(axis=(-1, 1))),
        (lambda x: gcn.min(x, axes=2, keepdims=True), lambda x: x.min(axis=2, keepdims=True)),
        (lambda x: gcn.var(x, axes=(1, 2)), lambda x: x.var(axis=(1, 2))),
        (
            lambda x: gcn.var(x, axes=(1, 3), keepdims=True, correction=1),
            lambda x: x.var(axis=(1, 3), keepdims=True, ddof=1),
        ),
        (gcn.argmax, lambda x: x.argmax(axis=-1)),
        (lambda x: gcn.argmax(x, axis=1, keepdims=True), lambda x: x.argmax(axis=1, keepdims=True)),
        (lambda x: x[:, 1], lambda x: x[:, 1]),
        (lambda x: x[:, -1, 2:-1], lambda x: x[:, -1, 2:-1]),
        (lambda x: x[:, ::2, 1::3, 3], lambda x: x[:, ::2, 1::3, 3]),
        (lambda x: x[:, ::-1, 5:1:-2], lambda x: x[:, ::-1, 5:1:-2]),
        (lambda x: x[..., np.int64(2)], lambda x: x[..., 2]),
        (lambda x: x[:, ..., 1:2], lambda x: x[:, ..., 1:2]),
        (lambda x: x[:, None, 2, :, None, 1], lambda x: x[:, None, 2, :, None, 1]),
        (lambda x: x[:], lambda x: x),
        (lambda x: x[...], lambda x: x),
        (lambda x: x[:, 6:3:-1, 99:2:-1], lambda x: x[:, 6:3:-1, 99:2:-1]),
        (lambda x: gcn.reshape(x, (-1, 28)), lambda x: x.reshape(2, -1, 28)),
        (gcn.Reshape((6, -1)), lambda x: x.reshape(2, 6, -1)),
        (gcn.Pad2d(((1, 2), (0, 1))), lambda x: np.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)))),
        (
            gcn.Pad2d(2, mode="reflect"),
            lambda x: np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect"),
        ),
        (lambda x: gcn.upsample2d(x, 2), lambda x: x.repeat(2, axis=1).repeat(2, axis=2)),
        (gcn.Upsample2d((1, 3)), lambda x: x.repeat(3, axis=2)),
        (
            lambda x: gcn.pixel_shuffle(x, 2),
            lambda x: x.reshape(2, 7, 6, 2, 2).swapaxes(2, 3).reshape(2, 14, 12, 1),
        ),
        (lambda x: gcn.pixel_unshuffle(gcn.pixel_shuffle(x, 2), 2), lambda x: x),
        (gcn.PixelShuffle(1), lambda x: x),
        (lambda x: gcn.split(x, 2)[1], lambda x: np.split(x, 2, axis=-1)[1]),
        (lambda x: gcn.split(x, (1, 4, 2), axis=1)[1], lambda x: x[:, 1:5]),
        (lambda x: gcn.stack(x, -x), lambda x: np.stack([x, -x], axis=-1)),
        (lambda x: gcn.stack(x, -x, x, axis=1), lambda x: np.stack([x, -x, x], axis=1)),
        (lambda x: gcn.stack(x, -x, axis=-2), lambda x: np.stack([x, -x], axis=-2)),
        (
            lambda x: gcn.pad(x, ((1, 2), (0, 3)), value=-1.5),
            lambda x: np.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=-1.5),
        ),
        (lambda x: gcn.pad(x, 1), lambda x: np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))),
        (lambda x: gcn.pad(x, (2, 1)), lambda x: np.pad(x, ((0, 0), (2, 2), (1, 1), (0, 0)))),
        (
            lambda x: gcn.pad(x, ((5, 1), (2, 5), (3, 0)), mode="reflect"),
            lambda x: np.pad(x, ((0, 0), (5, 1), (2, 5), (3, 0)), mode="reflect"),
        ),
        (
            lambda x: gcn.pad(x, ((0, 0), (9, 1), (0, 6), (2, 0)), mode="edge"),
            lambda x: np.pad(x, ((0, 0), (9, 1), (0, 6), (2, 0)), mode="edge"),
        ),
        (
            lambda x: gcn.pad(x, ((6, 1), (2, 6)), mode="circular"),
            lambda x: np.pad(x, ((0, 0), (6, 1), (2, 6), (0, 0)), mode="wrap"),
        ),
        (gcn.transpose, lambda x: x.swapaxes(-1, -2)),
        (lambda x: gcn.transpose(x, (0, -1, 1, 2)), lambda x: x.transpose(0, 3, 1, 2)),
        (lambda x: gcn.reshape(x, (6, 28)), lambda x: x.reshape(2, 6, 28)),
        (gcn.flatten, lambda x: x.reshape(2, -1)),
        (gcn.softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        (gcn.log_softmax, lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
        (lambda x: gcn.concatenate(x, -x, axis=1), lambda x: np.concatenate([x, -x], axis=1)),
    ],
)
def test_functions_mean_what_they_mean_in_numpy(function, expected):
    np.testing.assert_allclose(run(function, IMAGES), expected(IMAGES), rtol=0, atol=1e-12)


def test_a_residual_network_with_branches():
    x = gcn.Input((7, 6, 4), name="image")
    body = gcn.Sequential(
        gcn.Conv2d(8, 3, padding="same"), gcn.ReLU(), gcn.Conv2d(8, 3, padding=1), name="body"
    )
    shortcut = gcn.Conv2d(8, 1, bias=False, name="shortcut")
    model = compiled(gcn.Network(x, gcn.relu(body(x) + shortcut(x))))
    p = model.parameters
    padded = Correlate2d(padding=((1, 1), (1, 1)))
    hidden = np.maximum(sliding_product(padded, IMAGES, p["body.conv1.filters"]) + p["body.conv1.bias"], 0)
    main = sliding_product(padded, hidden, p["body.conv2.filters"]) + p["body.conv2.bias"]
    assert_equal(model.predict(IMAGES), np.maximum(main + IMAGES @ p["shortcut.filters"][0, 0], 0))


def test_several_inputs_are_given_by_name_or_in_order():
    left, right = gcn.Input((3,), name="left"), gcn.Input((3,), name="right")
    model = gcn.compile(gcn.Network((left, right), left - 2 * right), dtype="float64")
    a, b = np.ones((4, 3)), np.full((4, 3), 5.0)
    for given in ({"right": b, "left": a}, [a, b]):
        assert_equal(model.predict(given, batch_size=3), np.full((4, 3), -9.0))


def test_an_input_without_batch_axis_is_shared_by_all_samples():
    x, mask = gcn.Input((3,), name="x"), gcn.Input((3,), name="mask", batch=False)
    model = gcn.compile(gcn.Network((x, mask), x * mask), dtype="float64")
    found = model.predict({"x": np.ones((5, 3)), "mask": np.arange(3.0)}, batch_size=2)
    assert_equal(found, np.tile(np.arange(3.0), (5, 1)))


def test_a_layer_of_the_users_own():
    class Scale(gcn.Layer):
        kind = "scale"

        def build(self, build, *values):
            from graphcnn import ops

            (x,) = values
            factor = build.parameter("factor", x.type.with_shape(()), gcn.Constant(3.0))
            return build(ops.Multiply(), x, factor)

    model = gcn.compile(gcn.Sequential(Scale(), Scale()), input_shape=(2,))
    assert list(model.parameters) == ["scale1.factor", "scale2.factor"]
    assert model.predict(np.ones((1, 2))).tolist() == [[9.0, 9.0]]
