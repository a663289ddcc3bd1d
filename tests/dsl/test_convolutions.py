"""Convolutions beside whose images there is no zero, and transposed ones with all their options."""

import itertools

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError, ShapeError

IMAGES = np.random.default_rng(1).normal(size=(2, 5, 4, 6))
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])

MODES = [
    *(("reflect", "reflect"), ("edge", "edge"), ("replicate", "edge")),
    *(("circular", "wrap"), ("zeros", "constant")),
]


def drawn(layer, images):
    """Return the graph of a layer, and random parameters for it by name."""
    x = gcn.Input(images.shape[1:], "x", dtype="float64")
    graph = gcn.Network(x, layer(x)).graph
    random = np.random.default_rng(2)
    shapes = {name: value.type.shape for name, value in graph.inputs.items() if name != "x"}
    return graph, {name: random.normal(size=shape) for name, shape in shapes.items()}


def applied(layer, images=IMAGES, backend="numpy"):
    graph, parameters = drawn(layer, images)
    found = load_backend(backend).compile(graph)(x=images, **parameters)["output"]
    return found, {name.partition(".")[2]: value for name, value in parameters.items()}


@BACKENDS
@pytest.mark.parametrize(
    ("mode", "in_numpy"),
    [
        ("reflect", "reflect"),
        ("edge", "edge"),
        ("replicate", "edge"),
        ("circular", "wrap"),
        ("zeros", "constant"),
    ],
)
@pytest.mark.parametrize("padding", [1, (2, 0), ((0, 2), (1, 0)), "same"])
@pytest.mark.parametrize("layer", [gcn.Conv2d, gcn.DepthwiseConv2d])
def test_what_is_beside_the_images(layer, padding, mode, in_numpy, backend):
    filters = (4,) if layer is gcn.Conv2d else ()
    found, own = applied(layer(*filters, (3, 2), padding=padding, padding_mode=mode), backend=backend)
    widths = {1: ((1, 1), (1, 1)), (2, 0): ((2, 2), (0, 0)), "same": ((1, 1), (0, 1))}.get(padding, padding)
    images = np.pad(IMAGES, ((0, 0), *widths, (0, 0)), mode=in_numpy)
    expected, again = applied(layer(*filters, (3, 2)), images)
    np.testing.assert_array_equal(own["filters"], again["filters"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_no_padding_needs_no_mode():
    x = gcn.Input((5, 5, 1))
    graphs = [gcn.Network(x, gcn.Conv2d(2, 3, padding_mode=mode)(x)).graph for mode in ("zeros", "circular")]
    assert str(graphs[0]) == str(graphs[1])


def test_a_mode_that_is_none_and_a_reflection_that_is_too_wide():
    with pytest.raises(OptionError, match=r"padding_mode='constant'(.*\n)*  Mend: padding_mode='zeros'"):
        gcn.Conv2d(2, 3, padding_mode="constant")
    with pytest.raises(ShapeError, match="cannot be padded by"):
        gcn.Conv2d(2, 3, padding=5, padding_mode="reflect")(gcn.Input((5, 5, 1)))


def scattered(images, filters, stride, padding, output_padding, dilation, groups):
    """Return the transposed convolution by its definition: each unit adds its copy of the filters."""
    batch, *size, channels = images.shape
    kernel, count = filters.shape[:2], filters.shape[3]
    reach = [dilation[a] * (kernel[a] - 1) for a in (0, 1)]
    full = np.zeros(
        (batch, *(stride[a] * (size[a] - 1) + reach[a] + 1 + output_padding[a] for a in (0, 1)), count)
    )
    for (i, j), (p, q), group in itertools.product(np.ndindex(*size), np.ndindex(*kernel), range(groups)):
        own = slice(group * channels // groups, (group + 1) * channels // groups)
        made = slice(group * count // groups, (group + 1) * count // groups)
        place = stride[0] * i + dilation[0] * p, stride[1] * j + dilation[1] * q
        full[:, place[0], place[1], made] += images[:, i, j, own] @ filters[p, q, :, made]
    (top, bottom), (left, right) = padding
    return full[:, top : full.shape[1] - bottom, left : full.shape[2] - right]


@BACKENDS
@pytest.mark.parametrize(
    ("options", "stride", "padding", "output_padding", "dilation", "groups"),
    [
        ({"stride": 2, "output_padding": 1}, (2, 2), (0, 0), (1, 1), (1, 1), 1),
        ({"stride": 2, "padding": 1, "output_padding": (1, 0)}, (2, 2), (1, 1), (1, 0), (1, 1), 1),
        ({"dilation": 2, "output_padding": 1}, (1, 1), (0, 0), (1, 1), (2, 2), 1),
        ({"dilation": (2, 1), "stride": (1, 3), "padding": 1}, (1, 3), (1, 1), (0, 0), (2, 1), 1),
        ({"groups": 2}, (1, 1), (0, 0), (0, 0), (1, 1), 2),
        (
            {"stride": (3, 2), "padding": (1, 0), "output_padding": 1, "dilation": 2, "groups": 3},
            (3, 2), (1, 0), (1, 1), (2, 2), 3,
        ),
        ({"groups": 6, "stride": 2}, (2, 2), (0, 0), (0, 0), (1, 1), 6),
    ],
)  # fmt: skip
def test_transposed_convolutions_equal_the_definition(
    options, stride, padding, output_padding, dilation, groups, backend
):
    found, own = applied(gcn.ConvTranspose2d(6, (3, 2), **options), backend=backend)
    assert own["filters"].shape == (3, 2, 6 // groups, 6)
    cropped = tuple((width, width) for width in padding)
    expected = scattered(IMAGES, own["filters"], stride, cropped, output_padding, dilation, groups)
    np.testing.assert_allclose(found, expected + own["bias"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [7, 8])
def test_output_padding_tells_the_sizes_that_a_stride_cannot_tell_apart(size):
    x = gcn.Input((size, size, 3))
    down = gcn.Conv2d(4, 3, stride=2, padding=1)(x)
    up = gcn.ConvTranspose2d(3, 3, stride=2, padding=1, output_padding=(size + 1) % 2)(down)
    assert up.shape == x.shape


def test_output_padding_is_below_stride_or_dilation():
    gcn.ConvTranspose2d(3, 3, dilation=3, output_padding=2)
    with pytest.raises(OptionError, match=r"output_padding=2 is not below(.*\n)*  Mend: .*=\(1, 1\)"):
        gcn.ConvTranspose2d(3, 3, stride=2, output_padding=2)
    with pytest.raises(ShapeError, match="groups=2 does not divide the 3 channels"):
        gcn.ConvTranspose2d(4, 3, groups=2)(gcn.Input((4, 4, 3)))


@BACKENDS
def test_gradients_of_a_transposed_convolution_are_those_of_the_definition(backend):
    layer = gcn.ConvTranspose2d(4, 3, 2, 1, output_padding=1, dilation=2, groups=2)
    graph, parameters = drawn(layer, IMAGES)
    direction = np.random.default_rng(3)
    x = gcn.Input(IMAGES.shape[1:], "x", dtype="float64")
    y = layer(x)
    delta = direction.normal(size=(2, *y.shape[1:]))
    weights = gcn.Input(delta.shape[1:], "weights", dtype="float64")
    total = gcn.Network((x, weights), gcn.sum(y * weights)).graph
    slopes = gcn.simplify(gcn.gradient(total, of="output", wrt=["x", *parameters]))
    found = load_backend(backend).compile(slopes)(x=IMAGES, weights=delta, **parameters)
    run = load_backend("numpy").compile(graph)
    for name, value in {"x": IMAGES, **parameters}.items():  # linear in each of them, so exact
        step = direction.normal(size=value.shape)
        moved, still = (
            run(**{"x": IMAGES, **parameters, name: value + sign * step})["output"] for sign in (1, -1)
        )
        slope = np.vdot(moved - still, delta) / 2
        assert np.vdot(found[f"gradient({name})"], step) == pytest.approx(slope, rel=1e-11)
