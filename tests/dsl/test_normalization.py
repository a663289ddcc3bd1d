"""Normalisation of groups, instances, channels and neighbours, on both backends."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError, ShapeError

IMAGES = np.random.default_rng(1).normal(size=(2, 5, 6, 12))
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def applied(layer, values, backend="numpy", dtype="float64", **parameters):
    """Return what the layer makes of values, with random parameters but for those that are given."""
    x = gcn.Input(values.shape[1:], "x", dtype=dtype)
    graph = gcn.Network(x, layer(x)).graph
    random = np.random.default_rng(2)
    state = {
        label: random.normal(size=value.type.shape).astype(dtype)
        for label, value in graph.inputs.items()
        if label != "x"
    }
    found = load_backend(backend).compile(graph)(x=values.astype(dtype), **state | parameters)["output"]
    return found, {label.partition(".")[2]: value for label, value in (state | parameters).items()}


def normal(x, axes, epsilon):
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + epsilon)


@BACKENDS
@pytest.mark.parametrize("groups", [1, 3, 12])
@pytest.mark.parametrize("places", [(5, 6), (5,), ()])
def test_groupnorm_normalises_the_channels_of_each_group_together(groups, places, backend):
    values = np.random.default_rng(3).normal(size=(2, *places, 12))
    found, own = applied(gcn.GroupNorm(groups, epsilon=0.1), values, backend)
    grouped = values.reshape(2, -1, groups, 12 // groups)
    expected = normal(grouped, (1, 3), 0.1).reshape(values.shape) * own["scale"] + own["shift"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@BACKENDS
def test_instancenorm_normalises_each_map(backend):
    found, own = applied(gcn.InstanceNorm2d(), IMAGES, backend)
    np.testing.assert_allclose(found, normal(IMAGES, (1, 2), 1e-5), rtol=0, atol=1e-12)
    assert not own
    found, own = applied(gcn.InstanceNorm2d(epsilon=0.1, affine=True), IMAGES, backend)
    expected = normal(IMAGES, (1, 2), 0.1) * own["scale"] + own["shift"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@BACKENDS
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_layernorm_normalises_over_its_last_axes(axes, backend):
    found, own = applied(gcn.LayerNorm(0.1, axes=axes), IMAGES, backend)
    assert own["scale"].shape == IMAGES.shape[-axes:]
    expected = normal(IMAGES, tuple(range(-axes, 0)), 0.1) * own["scale"] + own["shift"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@BACKENDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rmsnorm_divides_by_the_root_of_the_mean_square(dtype, backend):
    found, own = applied(gcn.RMSNorm(0.1), IMAGES, backend, dtype)
    expected = IMAGES / np.sqrt(np.square(IMAGES).mean(axis=-1, keepdims=True) + 0.1) * own["scale"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if dtype == "float32" else 1e-12)
    tiny = np.full((1, 3), 1e-5)
    epsilon = np.finfo(dtype).eps  # what is added to the mean square by default
    found, own = applied(gcn.RMSNorm(), tiny, backend, dtype)
    expected = tiny / np.sqrt(1e-10 + epsilon) * own["scale"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@BACKENDS
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_response_is_divided_by_that_of_the_channels_around(size, backend):
    found, _ = applied(gcn.LocalResponseNorm(size, alpha=0.3, beta=0.5, k=2.0), IMAGES, backend)
    squares = np.pad(IMAGES**2, ((0, 0), (0, 0), (0, 0), (size // 2, (size - 1) // 2)))
    around = np.lib.stride_tricks.sliding_window_view(squares, size, axis=-1).mean(axis=-1)
    np.testing.assert_allclose(found, IMAGES / np.sqrt(2 + 0.3 * around), rtol=0, atol=1e-12)


@BACKENDS
@pytest.mark.parametrize(
    "layer",
    [gcn.GroupNorm(3), gcn.InstanceNorm2d(), gcn.LayerNorm(), gcn.LayerNorm(axes=3)],
    ids=["group", "instance", "layer", "sample"],
)
def test_numbers_far_from_zero_are_normalised_as_those_near_it(layer, backend):
    """Statistics from sums of squares would lose all digits: 1e4² is beyond what float32 tells apart by 1."""
    ones = {f"{layer.kind}1.scale": 1.0, f"{layer.kind}1.shift": 0.0}
    steps = (
        np.random.default_rng(4).integers(-8, 8, size=(2, 5, 6, 12)) / 8.0
    )  # exact in float32, shifted too
    x = gcn.Input(steps.shape[1:], "x", dtype="float32")
    graph = gcn.Network(x, layer(x)).graph
    state = {
        label: np.full(value.type.shape, ones[label], "float32")
        for label, value in graph.inputs.items()
        if label != "x"
    }
    run = load_backend(backend).compile(graph)
    near, far = (run(x=(steps + shift).astype("float32"), **state)["output"] for shift in (0, 10_000))
    np.testing.assert_allclose(far, near, rtol=0, atol=2e-3)
    constant = run(x=np.full(steps.shape, 12345.5, "float32"), **state)["output"]
    np.testing.assert_array_equal(constant, 0)


@BACKENDS
@pytest.mark.parametrize("shape", [(4,), (9, 4)])
def test_batchnorm_of_rows_and_signals(shape, backend):
    values = 3 + 2 * np.random.default_rng(5).normal(size=(8, *shape))
    axes = tuple(range(values.ndim - 1))
    model = gcn.compile(gcn.BatchNorm1d(epsilon=0.1), input_shape=shape, dtype="float64", backend=backend)
    run = load_backend(backend).compile(model.training_graph)
    found = run(image=values, **model.state())
    np.testing.assert_allclose(found["output"], normal(values, axes, 0.1), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["batchnorm1.mean"], 0.1 * values.mean(axes), rtol=1e-12)
    statistics = {"batchnorm1.mean": np.arange(4.0), "batchnorm1.variance": np.arange(1.0, 5)}
    model.set_state(model.state() | statistics)
    expected = (values - np.arange(4)) / np.sqrt(np.arange(1, 5) + 0.1)
    np.testing.assert_allclose(model.predict(values), expected, rtol=0, atol=1e-12)


def test_what_cannot_be_normalised_is_refused():
    x = gcn.Input((4, 4, 6))
    with pytest.raises(ShapeError, match=r"groups=4 does not divide the 6 channels"):
        gcn.GroupNorm(4)(x)
    with pytest.raises(ShapeError, match=r"BatchNorm1d takes rows .*\n.*\n?  Mend: gcn\.BatchNorm2d\(\)"):
        gcn.BatchNorm1d()(x)
    with pytest.raises(ShapeError, match="at least 4 more axes"):
        gcn.LayerNorm(axes=4)(x)
    with pytest.raises(OptionError, match="epsilon=0 is not a number above 0"):
        gcn.RMSNorm(0)
    with pytest.raises(OptionError, match="beta=nan is not a number that is finite"):
        gcn.LocalResponseNorm(5, beta=float("nan"))
