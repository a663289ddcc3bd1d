"""3x3 convolutions of many channels on tiles: right at every size, as exact as product by product."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError
from graphcnn_native import NativeExecutable
from graphcnn_native.target import named_target, runs_here

SIZES = [
    # height, width, channels, filters, padding, batch
    (4, 4, 16, 16, 0, 1),
    (5, 8, 16, 33, 1, 17),
    (7, 6, 40, 16, "same", 3),
    (9, 11, 24, 70, ((0, 2), (1, 0)), 16),
    (16, 3, 17, 31, ((2, 2), (2, 2)), 33),
    (32, 32, 32, 32, 1, 2),
]
TARGETS = [name for name in ("avx512", "avx2", "baseline", "neon") if runs_here(named_target(name))]


def gradient_graph(height, width, channels, filters, padding):
    """Return the gradient of a network whose second convolution has all three passes."""
    network = gcn.Sequential(
        gcn.Conv2d(channels, 1),
        gcn.Tanh(),
        gcn.Conv2d(filters, 3, padding=padding),
        gcn.ReLU(),
        gcn.GlobalAvgPool2d(),
        gcn.Dense(3),
    )
    options = {"input_shape": (height, width, 2), "loss": gcn.CrossEntropy(), "backend": "numpy"}
    return gcn.compile(network, **options).gradient_graph


def inputs_of(graph, batch):
    random = np.random.default_rng(batch)
    return {
        label: random.standard_normal(value.type.concrete(batch)).astype(value.type.dtype)
        if value.type.is_float
        else random.integers(3, size=batch)
        for label, value in graph.inputs.items()
    }


def uses_winograd(executable):
    return {name for name in ("winograd", "winograd_gradient")
            if any(kernel.name.startswith(name) for kernel in executable.report().kernels)}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_three_passes_agree_with_numpy(size, target):
    *shape, batch = size
    graph = gradient_graph(*shape)
    inputs = inputs_of(graph, batch)
    executable = NativeExecutable(graph, target=named_target(target))
    assert len(uses_winograd(executable)) == 2
    expected, found = load_backend("numpy").compile(graph)(**inputs), executable(**inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5 * (1 + np.abs(array).max()))


def test_what_it_loses_is_about_a_bit():
    """Measured against float64: on tiles, errors are of the size that summing up product by product has."""
    graph = gradient_graph(16, 16, 64, 64, 1)
    inputs = inputs_of(graph, 16)
    options = {"input_shape": (16, 16, 2), "loss": gcn.CrossEntropy(), "backend": "numpy", "dtype": "float64"}
    network = gcn.Sequential(
        gcn.Conv2d(64, 1), gcn.Tanh(), gcn.Conv2d(64, 3, padding=1), gcn.ReLU(), gcn.GlobalAvgPool2d(),
        gcn.Dense(3),
    )  # fmt: skip
    exact = load_backend("numpy").compile(gcn.compile(network, **options).gradient_graph)
    expected = exact(**{k: v.astype("float64") if v.dtype == "float32" else v for k, v in inputs.items()})
    tiled = NativeExecutable(graph)(**inputs)
    plain = NativeExecutable(graph, winograd=False)(**inputs)
    for name in ("gradient(conv1.filters)", "gradient(conv2.filters)"):
        scale = np.abs(expected[name]).max()
        error, usual = (np.abs(found[name] - expected[name]).max() / scale for found in (tiled, plain))
        assert error < max(4 * usual, 1e-6), name


def test_it_can_be_switched_off():
    graph = gradient_graph(8, 8, 16, 16, 1)
    assert uses_winograd(NativeExecutable(graph, winograd=False)) == set()
    network = gcn.Sequential(gcn.Conv2d(16, 1), gcn.Conv2d(16, 3))
    images = np.random.default_rng(0).random((3, 8, 8, 2), np.float32)
    models = [gcn.compile(network, input_shape=(8, 8, 2), winograd=choice) for choice in (None, False)]
    assert [bool(uses_winograd(model.executable("forward"))) for model in models] == [True, False]
    np.testing.assert_allclose(*(model.predict(images) for model in models), rtol=0, atol=1e-5)


def test_double_precision_takes_every_product_as_it_is():
    options = {"input_shape": (8, 8, 16), "dtype": "float64"}
    model = gcn.compile(gcn.Sequential(gcn.Conv2d(16, 3)), **options)
    assert uses_winograd(model.executable("forward")) == set()


def test_another_backend_says_that_it_has_no_such_option():
    with pytest.raises(OptionError, match="has no option 'winograd'"):
        gcn.compile(
            gcn.Sequential(gcn.Conv2d(16, 3)), input_shape=(8, 8, 16), backend="numpy", winograd=False
        )


def test_any_order_of_work_gives_the_same_bits(native_in_any_order):
    graph = gradient_graph(9, 8, 16, 24, 1)
    inputs = inputs_of(graph, 40)
    expected = NativeExecutable(graph, threads=1)(**inputs)
    for backend in native_in_any_order:
        found = backend.compile(graph)(**inputs)
        assert all(np.isfinite(array).all() for array in found.values())
        if "Backwards" not in backend.kind.__name__:
            assert all(found[name].tobytes() == array.tobytes() for name, array in expected.items())


@pytest.fixture(scope="module")
def three_passes():
    """Return a convolution of x with filters and both gradients, with and without Winograd."""
    graph = gcn.Graph("passes")
    x = graph.input("x", gcn.TensorType(("N", 16, 16, 32)))
    filters = graph.input("filters", gcn.TensorType((3, 3, 32, 32)))
    delta = graph.input("delta", gcn.TensorType(("N", 16, 16, 32)))
    output = graph.add(gcn.ops.Correlate2d(padding=((1, 1), (1, 1))), x, filters)
    graph.output("output", output)
    graph.output("loss", graph.add(gcn.ops.Sum((0, 1, 2, 3)), graph.add(gcn.ops.Multiply(), output, delta)))
    forward = graph.copy(outputs=False)
    forward.output("output", output)
    passes = [forward, gcn.simplify(gcn.gradient(graph, "loss", ["x", "filters"]))]
    random = np.random.default_rng(0)
    inputs = {
        name: random.standard_normal(value.type.concrete(2), np.float32)
        for name, value in graph.inputs.items()
    }
    executables = [
        [NativeExecutable(each, winograd=winograd) for each in passes] for winograd in (True, False)
    ]
    assert all(map(uses_winograd, executables[0]))
    assert not any(map(uses_winograd, executables[1]))

    def computed(changed):
        given = inputs | changed
        for both in executables:
            results = {}
            for graph, executable in zip(passes, both, strict=True):
                results |= executable(**{name: given[name] for name in graph.inputs})
            yield results

    return inputs, computed


@pytest.mark.parametrize("place", [(0, 0), (0, 7), (15, 15), (5, 5), (4, 5), (8, 3)], ids=str)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "delta"])
def test_what_is_not_finite_reaches_what_the_guide_says(three_passes, where, number, place):
    inputs, computed = three_passes
    changed = inputs[where].copy()
    changed[0, *place, 3] = number
    found, products = computed({where: changed})
    for name in ("output", "gradient(x)"):  # the same pixels
        np.testing.assert_array_equal(np.isfinite(found[name]), np.isfinite(products[name]))
    broken, expected = (~np.isfinite(each["gradient(filters)"]) for each in (found, products))
    np.testing.assert_array_equal(broken.any((0, 1)), expected.any((0, 1)))  # the same channels and filters
    assert broken.all((0, 1)).any() or not expected.any()  # all nine taps
    assert (broken >= expected).all()
    assert is_border(place) == (broken > expected).any()


def is_border(place):
    return bool({0, 15} & set(place))
