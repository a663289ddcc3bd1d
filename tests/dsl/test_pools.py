"""Pools whose windows reach beyond maps, norms of windows, whole maps, and the way back to the maxima."""

import itertools
import math

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError, ShapeError

IMAGES = np.random.default_rng(1).normal(size=(2, 7, 6, 4))
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])
WINDOWS = pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [(2, 2, 0), (3, 2, 1), (2, 3, 0), ((3, 2), (2, 3), (1, 0)), (3, 3, 1), (1, 2, 0)],
)


def computed(network, backend="numpy", **arrays):
    return load_backend(backend).compile(network.graph)(**arrays)["output"]


def applied(layer, backend="numpy", images=IMAGES):
    x = gcn.Input(images.shape[1:], "x", dtype="float64")
    return computed(gcn.Network(x, layer(x)), backend, x=images)


def slope(layer, images, backend="numpy", delta=None):
    """Return the gradient of the sum of what the layer makes of images, weighted by `delta`."""
    x = gcn.Input(images.shape[1:], "x", dtype="float64")
    y = layer(x)
    weights = gcn.Input(y.shape[1:], "weights", dtype="float64")
    graph = gcn.Network((x, weights), gcn.sum(y * weights)).graph
    graph = gcn.simplify(gcn.gradient(graph, of="output", wrt=["x"]))
    given = np.ones((len(images), *y.shape[1:])) if delta is None else delta
    return load_backend(backend).compile(graph)(x=images, weights=given)["gradient(x)"]


def both(value):
    return value if isinstance(value, tuple) else (value, value)


def spans(extent, size, stride, pad, ceil_mode):
    """Return (first, past the last) unit of each window along one axis, which may lie beside the map."""
    steps = (extent + 2 * pad - size) / stride
    starts = [i * stride - pad for i in range((math.ceil if ceil_mode else math.floor)(steps) + 1)]
    return [(start, start + size) for start in starts if start < extent]


def pooled(images, size, stride, padding, ceil_mode, fold):
    """Return fold(units of the window, rows it spans, columns it spans) for every window."""
    rows, columns = (
        spans(images.shape[1 + axis], both(size)[axis], both(stride)[axis], both(padding)[axis], ceil_mode)
        for axis in (0, 1)
    )
    result = np.empty((len(images), len(rows), len(columns), images.shape[3]))
    for (i, down), (j, across) in itertools.product(enumerate(rows), enumerate(columns)):
        own = images[:, max(down[0], 0) : down[1], max(across[0], 0) : across[1]]
        result[:, i, j] = fold(own, down, across)
    return result


@BACKENDS
@WINDOWS
def test_sizes_are_rounded_up_in_ceil_mode(size, stride, padding, backend):
    found = applied(gcn.MaxPool2d(size, stride, padding, ceil_mode=True), backend)
    expected = pooled(IMAGES, size, stride, padding, True, lambda own, *_: own.max(axis=(1, 2)))
    np.testing.assert_array_equal(found, expected)


@BACKENDS
@WINDOWS
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_a_mean_counts_padding_or_not_and_never_what_is_beyond(
    size, stride, padding, ceil_mode, count_include_pad, backend
):
    def mean(own, down, across):
        sizes = own.shape[1:3]
        if count_include_pad:
            sizes = [
                min(last, IMAGES.shape[1 + axis] + both(padding)[axis]) - first
                for axis, (first, last) in enumerate((down, across))
            ]
        return own.sum(axis=(1, 2)) / math.prod(sizes)

    layer = gcn.AvgPool2d(size, stride, padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
    expected = pooled(IMAGES, size, stride, padding, ceil_mode, mean)
    np.testing.assert_allclose(applied(layer, backend), expected, rtol=0, atol=1e-14)


def test_a_mean_of_full_windows_is_one_node():
    x = gcn.Input((8, 8, 3))
    layer = gcn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
    assert [node.op.name for _, node in gcn.Network(x, layer(x)).graph.items()] == ["input", "average_pool2d"]


def test_a_mean_with_a_divisor_of_its_own():
    np.testing.assert_allclose(
        applied(gcn.AvgPool2d(3, 2, 1, divisor_override=5)),
        applied(gcn.AvgPool2d(3, 2, 1)) * 9 / 5,
        rtol=1e-14,
    )


@BACKENDS
def test_the_gradient_of_a_mean_is_shared_by_the_units_that_count(backend):
    layer = gcn.AvgPool2d(3, 3, 1, count_include_pad=False)  # windows of 2, 3, ... rows and columns
    found = slope(layer, np.zeros((1, 6, 6, 1)), backend)[0, :, :, 0]
    rows = np.array([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3, 0])
    np.testing.assert_allclose(found, np.outer(rows, rows), rtol=1e-14)


@BACKENDS
@WINDOWS
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_a_norm_of_each_window(size, stride, padding, p, backend):
    def norm(own, *_):
        return (np.abs(own) ** p).sum(axis=(1, 2)) ** (1 / p)

    found = applied(gcn.LPPool2d(p, size, stride, padding, ceil_mode=True), backend)
    np.testing.assert_allclose(found, pooled(IMAGES, size, stride, padding, True, norm), rtol=1e-13)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_the_gradient_of_a_norm_is_its_slope_and_0_where_the_norm_is_0(p):
    images = IMAGES.copy()
    images[:, :2, :2] = 0
    layer = gcn.LPPool2d(p, 2)
    found = slope(layer, images)
    norms = np.repeat(np.repeat(applied(layer, images=images), 2, axis=1), 2, axis=2)
    inside = images[:, :6]
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(norms > 0, np.sign(inside) * (np.abs(inside) / norms) ** (p - 1), 0)
    np.testing.assert_allclose(found[:, :6], expected, rtol=1e-12, atol=1e-13)
    assert not found[:, 6:].any()


def test_a_norm_is_of_at_least_1():
    with pytest.raises(OptionError, match=r"p=0\.5 is not a number of at least 1"):
        gcn.LPPool2d(0.5, 2)


@BACKENDS
def test_a_global_maximum_sends_its_gradient_to_the_first_of_equals(backend):
    images = np.zeros((2, 17, 17, 3))
    images[:, 3, 4] = images[:, 5, 2] = 7
    np.testing.assert_array_equal(applied(gcn.GlobalMaxPool2d(), backend, images), np.full((2, 3), 7))
    expected = np.zeros_like(images)
    expected[:, 3, 4] = 1
    np.testing.assert_array_equal(slope(gcn.GlobalMaxPool2d(), images, backend), expected)


def parts(size, count):
    return [(i * size // count, math.ceil((i + 1) * size / count)) for i in range(count)]


@BACKENDS
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, (7, 6), (3, 2), (5, 1), (9, 12)])
def test_adaptive_pools_divide_a_map_into_parts(size, backend):
    rows, columns = (parts(extent, n) for extent, n in zip((7, 6), both(size), strict=True))
    windows = [[IMAGES[:, a:b, c:d] for c, d in columns] for a, b in rows]
    for layer, fold in ((gcn.AdaptiveMaxPool2d(size), np.max), (gcn.AdaptiveAvgPool2d(size), np.mean)):
        expected = [[fold(window, axis=(1, 2)) for window in row] for row in windows]
        found = applied(layer, backend)
        np.testing.assert_allclose(found, np.moveaxis(expected, 2, 0), rtol=0, atol=1e-14)


@BACKENDS
def test_parts_that_overlap_add_up_their_gradients(backend):
    delta = np.random.default_rng(6).normal(size=(2, 4, 4, 4))
    expected = {"max": np.zeros_like(IMAGES), "mean": np.zeros_like(IMAGES)}
    for (i, (a, b)), (j, (c, d)) in itertools.product(enumerate(parts(7, 4)), enumerate(parts(6, 4))):
        window, error = IMAGES[:, a:b, c:d], delta[:, i : i + 1, j : j + 1]
        expected["max"][:, a:b, c:d] += error * (window == window.max(axis=(1, 2), keepdims=True))
        expected["mean"][:, a:b, c:d] += error / ((b - a) * (d - c))
    for kind, layer in (("max", gcn.AdaptiveMaxPool2d(4)), ("mean", gcn.AdaptiveAvgPool2d(4))):
        np.testing.assert_allclose(slope(layer, IMAGES, backend, delta), expected[kind], rtol=0, atol=1e-13)


def test_the_first_of_equals_wins_a_part():
    expected = np.zeros((1, 5, 5, 1))
    expected[0, [[0], [2]], [0, 2]] = 1
    np.testing.assert_array_equal(slope(gcn.AdaptiveMaxPool2d(2), np.ones((1, 5, 5, 1))), expected)
    expected = np.zeros((1, 4, 4, 1))
    for i, j in itertools.product((0, 1, 2), (0, 1, 2)):
        expected[0, i, j] += 1
    np.testing.assert_array_equal(slope(gcn.AdaptiveMaxPool2d(3), np.ones((1, 4, 4, 1))), expected)


@pytest.mark.parametrize(("extent", "size"), [(8, 4), (8, 1), (8, 8), (5, 2)])
def test_parts_equally_far_apart_are_one_node(extent, size):
    x = gcn.Input((extent, extent, 3))
    for layer in (gcn.AdaptiveAvgPool2d(size), gcn.AdaptiveMaxPool2d(size)):
        assert len(list(gcn.Network(x, layer(x)).graph.items())) == 2


def unpooling(pool, unpool, backend, change=1.0):
    """Return what unpooling makes of the maxima of IMAGES, each times `change`."""
    x = gcn.Input(IMAGES.shape[1:], "x", dtype="float64")
    return computed(gcn.Network(x, unpool(pool(x) * change, x)), backend, x=IMAGES)


@BACKENDS
@pytest.mark.parametrize("arguments", [(2,), (3, 2, 1), ((3, 2), (2, 3), (1, 0))])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_unpooling_puts_numbers_to_where_the_maxima_were(arguments, ceil_mode, backend):
    pool = gcn.MaxPool2d(*arguments, ceil_mode=ceil_mode)
    found = unpooling(pool, gcn.MaxUnpool2d(*arguments, ceil_mode=ceil_mode), backend, 10.0)
    times = slope(pool, IMAGES, backend)  # how many windows each unit wins
    np.testing.assert_allclose(found, 10 * IMAGES * times, rtol=1e-14)


def test_unpooling_shares_the_winners_of_the_pool_and_has_its_gradient():
    x = gcn.Input((4, 4, 1), "x", dtype="float64")
    y = gcn.MaxPool2d(2)(x)
    graph = gcn.Network(x, gcn.sum(gcn.MaxUnpool2d(2)(y * y, x))).graph
    assert sum(node.op.name == "max_pool2d" for _, node in gcn.simplify(graph).items()) == 1
    found = gcn.evaluate(gcn.gradient(graph, of="output", wrt=["x"]), x=IMAGES[:1, :4, :4, :1])["gradient(x)"]
    maxima = slope(gcn.MaxPool2d(2), IMAGES[:1, :4, :4, :1])
    np.testing.assert_allclose(found, 2 * IMAGES[:1, :4, :4, :1] * maxima, rtol=1e-14)


def test_what_is_unpooled_has_the_shape_of_what_was_pooled():
    x = gcn.Input((8, 8, 3))
    with pytest.raises(ShapeError, match=r"\[N, 4, 4, 3\].*\n(.*\n)*  Mend: give the value"):
        gcn.MaxUnpool2d(4)(gcn.MaxPool2d(2)(x), x)
    with pytest.raises(OptionError, match=r"2 values, not 1\n(.*\n)*  Mend: layer\(x1, x2\)"):
        gcn.MaxUnpool2d(2)(x)


def test_a_pool_is_rounded_up_or_not():
    with pytest.raises(OptionError, match="ceil_mode='yes' is neither True nor False"):
        gcn.MaxPool2d(2, ceil_mode="yes")
