"""3x3 convolutions of many channels on tiles: right at every size, as exact as product by product."""

import math
import re

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError
from graphcnn.ir import BATCH, TensorType
from graphcnn.zoo import ZOO
from graphcnn_native import NativeExecutable
from graphcnn_native.codegen.module import generate
from graphcnn_native.lowering import lower
from graphcnn_native.lowering.canonical import canonical
from graphcnn_native.lowering.winograd import Form, WinogradCorrelation, register_tile
from graphcnn_native.target import named_target, runs_here

SIZES = [
    # height, width, channels, filters, padding, batch
    (4, 4, 16, 16, 0, 1),
    (5, 8, 16, 33, 1, 17),
    (7, 6, 40, 16, "same", 3),
    (9, 11, 24, 70, ((0, 2), (1, 0)), 16),
    (16, 3, 17, 31, ((2, 2), (2, 2)), 33),
    (32, 32, 32, 32, 1, 2),
    (16, 12, 13, 13, 1, 16),
    (12, 16, 40, 10, 1, 5),
    (24, 24, 9, 26, 0, 2),
    (5, 4, 100, 112, 1, 3),  # its mapped filters go past the caches
    (5, 4, 96, 112, 1, 3),  # those of its input gradient as well, and are turned on their way
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


def tiles_of(executable):
    """Return the rows of results, or of deltas, of the tiles that are in use."""
    details = " ".join(kernel.details for kernel in executable.report().kernels)
    return {int(size) for size in re.findall(r"tile (\d)x\d (?:results|deltas)", details)}


def uses_winograd(executable):
    return {name for name in ("winograd", "winograd_gradient")
            if any(kernel.name.startswith(name) for kernel in executable.report().kernels)}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_three_passes_agree_with_numpy(size, target, inputs_of):
    *shape, batch = size
    graph = gradient_graph(*shape)
    inputs = inputs_of(graph, batch)
    executable = NativeExecutable(graph, target=named_target(target))
    assert len(uses_winograd(executable)) == 2
    expected, found = load_backend("numpy").compile(graph)(**inputs), executable(**inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5 * (1 + np.abs(array).max()))


@pytest.mark.parametrize("results", [2, 4])
def test_what_it_loses_is_about_a_bit(results, inputs_of):
    """Measured against float64: errors are of the size that summing up product by product has, or twice."""
    graph = gradient_graph(16, 16, 64, 64, 1)
    inputs = inputs_of(graph, 16)
    options = {"input_shape": (16, 16, 2), "loss": gcn.CrossEntropy(), "backend": "numpy", "dtype": "float64"}
    network = gcn.Sequential(
        gcn.Conv2d(64, 1), gcn.Tanh(), gcn.Conv2d(64, 3, padding=1), gcn.ReLU(), gcn.GlobalAvgPool2d(),
        gcn.Dense(3),
    )  # fmt: skip
    exact = load_backend("numpy").compile(gcn.compile(network, **options).gradient_graph)
    expected = exact(**{k: v.astype("float64") if v.dtype == "float32" else v for k, v in inputs.items()})
    tiled = NativeExecutable(graph, winograd=results)(**inputs)
    plain = NativeExecutable(graph, winograd=False)(**inputs)
    for name in ("gradient(conv1.filters)", "gradient(conv2.filters)"):
        scale = np.abs(expected[name]).max()
        error, usual = (np.abs(found[name] - expected[name]).max() / scale for found in (tiled, plain))
        assert error < max(4 * usual, 1e-6), name


@pytest.mark.parametrize(
    ("channels", "size", "training", "inference"), [(128, 8, 4, 4), (256, 8, 4, 4), (512, 4, 2, 2)]
)
def test_inference_takes_tiles_that_suit_a_single_sample_too(channels, size, training, inference):
    """Filters mapped for larger tiles take more memory, which a single sample waits for, and each shard.

    Nor does a register tile multiply more tiles than the sample has.
    """
    image = gcn.Input((size, size, channels))
    network = gcn.Network(
        image, gcn.GlobalAvgPool2d()(gcn.Conv2d(channels, 3, padding="same", bias=False)(image))
    )
    model = gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), backend="numpy")
    for graph, results in ((model.step_graph, training), (model.forward_graph, inference)):
        lowered, _ = canonical(graph, named_target("avx512"), winograd=True)
        ops = [node.op for _, node in lowered.items() if isinstance(node.op, WinogradCorrelation)]
        assert {op.form.results for op in ops} == {results}
        tiles = math.ceil(size / results) ** 2
        assert all(tiles % op.tile[0] == 0 for op in ops) == (graph is model.forward_graph)


@pytest.mark.parametrize(("size", "filters", "results"), [(32, 64, 4), (8, 256, 4), (4, 512, 2), (16, 32, 4)])
def test_two_threads_share_a_sample_evenly(size, filters, results):
    target = named_target("avx512")
    maps = TensorType((BATCH, size, size, filters), "float32")
    tiles, panel = register_tile(maps, Form(results, 3), target, (1, 64))
    times = math.ceil((size // results) ** 2 / tiles)
    panels = math.ceil(filters / panel)
    assert (panels if times == 1 else times) % 2 == 0


def test_maps_that_leave_the_cache_are_asked_for_ahead():
    layers = [gcn.Conv2d(16, 3, padding=1, bias=False), gcn.BatchNorm2d(), gcn.ReLU()] * 2
    network = gcn.Sequential(*layers, gcn.GlobalAvgPool2d(), gcn.Dense(10))
    options = {"input_shape": (32, 32, 16), "backend": "numpy", "loss": gcn.CrossEntropy()}
    model = gcn.compile(network, optimizer=gcn.SGD(0.1), **options)
    target, name = named_target("avx512"), r"winograd_(?!filters|gradient)\w+"
    for graph, asks in ((model.step_graph, {True}), (model.forward_graph, {False})):
        text = str(generate(lower(graph, target), target))
        kernels = re.findall(rf"^define void @{name}\(.*?^}}", text, re.M | re.S)
        assert {"@llvm.prefetch" in kernel for kernel in kernels} == asks


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


@pytest.mark.parametrize("winograd", [1, 3, 6, "4", 2.5, None])
def test_tiles_of_no_such_size_are_refused(winograd):
    with pytest.raises(OptionError, match="neither True, False, 2 nor 4"):
        load_backend("native").compile(gradient_graph(8, 8, 16, 16, 1), winograd=winograd)


def test_another_backend_says_that_it_has_no_such_option():
    with pytest.raises(OptionError, match="has no option 'winograd'"):
        gcn.compile(
            gcn.Sequential(gcn.Conv2d(16, 3)), input_shape=(8, 8, 16), backend="numpy", winograd=False
        )


def test_any_order_of_work_gives_the_same_bits(native_in_any_order, inputs_of):
    graph = gradient_graph(9, 8, 16, 24, 1)
    inputs = inputs_of(graph, 40)
    expected = NativeExecutable(graph, threads=1)(**inputs)
    for backend in native_in_any_order:
        found = backend.compile(graph)(**inputs)
        assert all(np.isfinite(array).all() for array in found.values())
        if "Backwards" not in backend.kind.__name__:
            assert all(found[name].tobytes() == array.tobytes() for name, array in expected.items())


@pytest.fixture(scope="module", params=[2, 4])
def three_passes(request, passes_of):
    """Return a convolution of x with filters and both gradients, with tiles of one size and without tiles."""
    passes = passes_of(16, 32, 32, 3)
    random = np.random.default_rng(0)
    inputs = {
        name: random.standard_normal(value.type.concrete(2), np.float32)
        for name, value in passes[1].inputs.items()
    }
    executables = [
        [NativeExecutable(each, winograd=winograd) for each in passes] for winograd in (request.param, False)
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

    return request.param, inputs, computed


@pytest.mark.parametrize("name", ["vgg_small", "resnet20"])
def test_errors_of_networks_are_of_the_size_of_plain_sums(name):
    """Of all gradients of filters, against float64: at most four times as large."""
    network = gcn.zoo.resnet20() if name == "resnet20" else ZOO[name].make()
    shape = None if name == "resnet20" else ZOO[name].input_shape
    options = {"input_shape": shape, "loss": gcn.CrossEntropy(), "seed": 2}
    rng = np.random.default_rng(3)
    images, labels = rng.random((8, 32, 32, 3), np.float32), np.arange(8) % 10
    exact = gcn.compile(network, **options, dtype="float64", winograd=False)
    single = gcn.compile(network, **options)
    weights = {label: array.astype(np.float32) for label, array in exact.state().items()}
    inputs = {"image": images, "target": labels, **weights}
    wide = {k: array.astype("float64") if array.dtype == "float32" else array for k, array in inputs.items()}
    expected = exact.backend.compile(exact.gradient_graph)(**wide)
    errors = {}
    for winograd in (False, True):
        found = NativeExecutable(single.gradient_graph, winograd=winograd)(**inputs)
        errors[winograd] = {
            name: np.sqrt(np.mean((found[name] - array) ** 2)) / (np.sqrt(np.mean(array**2)) + 1e-12)
            for name, array in expected.items()
        }
    ratios = [errors[True][name] / errors[False][name] for name in expected if name.endswith("filters)")]
    assert max(ratios) < 4


@pytest.mark.parametrize("place", [(0, 0), (0, 7), (15, 15), (5, 5), (4, 5), (8, 3)], ids=str)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "delta"])
def test_what_is_not_finite_reaches_what_the_guide_says(three_passes, where, number, place):
    results, inputs, computed = three_passes
    changed = inputs[where].copy()
    changed[0, *place, 3] = number
    found, products = computed({where: changed})
    for name in ("output", "gradient(x)"):
        broken, expected = (~np.isfinite(each[name]) for each in (found, products))
        assert (broken >= expected).all()
        if results == 2:  # the same pixels
            np.testing.assert_array_equal(broken, expected)
        elif expected.any():  # those of the same tiles
            rows, columns = (np.unique(places // results) for places in np.nonzero(expected.any((0, 3))))
            tiles = np.zeros((4, 4), bool)
            tiles[np.ix_(rows, columns)] = True
            assert (broken.any((0, 3)) <= np.kron(tiles, np.ones((4, 4), bool))).all()
    broken, expected = (~np.isfinite(each["gradient(filters)"]) for each in (found, products))
    np.testing.assert_array_equal(broken.any((0, 1)), expected.any((0, 1)))  # the same channels and filters
    assert broken.all((0, 1)).any() or not expected.any()  # all nine taps
    assert (broken >= expected).all()
    if results == 2:
        assert is_border(place) == (broken > expected).any()


def is_border(place):
    return bool({0, 15} & set(place))
