"""Layers that are random in training: what they draw, for whom, and with which bits."""

import math

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError, ShapeError
from graphcnn.sample_keys import identities, in_epoch

ONES = np.ones((64, 6, 5, 16))
KINDS = pytest.mark.parametrize(
    ("layer", "alike"),
    [(gcn.Dropout(0.25), ()), (gcn.Dropout2d(0.25), (1, 2)), (gcn.StochasticDepth(0.25), (1, 2, 3))],
    ids=["elements", "channels", "samples"],
)


def in_training(layer, values, backend="numpy", steps=1, seed=3, **options):
    """Return what the layer makes of values in the same step of each of some epochs."""
    model = gcn.compile(layer, input_shape=values.shape[1:], dtype=str(values.dtype), seed=seed)
    run = load_backend(backend).compile(model.training_graph, **options)
    return [run(image=values, sample_key=keys(len(values), epoch, seed))["output"] for epoch in range(steps)]


def keys(samples, epoch=0, seed=3):
    return in_epoch(identities(seed, np.arange(samples)), epoch)


@KINDS
def test_what_is_dropped_is_dropped_whole_and_the_rest_is_scaled(layer, alike):
    first, second = in_training(layer, ONES, steps=2)
    assert set(np.unique(first)) == {0, 1 / 0.75}
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first.min(axis=alike), first.max(axis=alike))
    drawn = first.min(axis=alike)
    spread = np.sqrt(0.25 * 0.75 / drawn.size)
    assert np.mean(drawn == 0) == pytest.approx(0.25, abs=3 * spread)
    if drawn.ndim > 1:
        assert np.unique(drawn, axis=0).shape[0] > 0.9 * len(drawn)  # each sample has a mask of its own


@KINDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_backends_drop_the_same_on_any_number_of_threads(layer, alike, dtype):
    values = np.random.default_rng(4).normal(size=(9, 5, 7, 3)).astype(dtype)
    expected = in_training(layer, values, steps=2)
    for threads in (1, 2, 3):
        found = in_training(layer, values, "native", steps=2, threads=threads)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_is_normal_and_has_the_same_bits_everywhere(dtype):
    values = np.ones((40, 20, 20, 5), dtype)
    first, second = in_training(gcn.GaussianNoise(0.5), values, steps=2)
    assert not np.array_equal(first, second)
    noise = np.sort((first - 1).ravel().astype(float) / 0.5)
    normal = np.array([math.erf(z / math.sqrt(2)) for z in noise]) / 2 + 0.5
    distance = np.abs(normal - (np.arange(noise.size) + 0.5) / noise.size).max()
    assert distance < 1.63 / math.sqrt(noise.size)  # Kolmogorov and Smirnov's test, at 1 in 100
    for threads in (1, 2, 3):
        found = in_training(gcn.GaussianNoise(0.5), values, "native", steps=2, threads=threads)
        np.testing.assert_array_equal(found, [first, second])


@pytest.mark.parametrize(
    "layer", [gcn.Dropout(0.5), gcn.Dropout2d(0.5), gcn.StochasticDepth(0.5), gcn.GaussianNoise(0.5)], ids=str
)
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_what_a_sample_draws_is_the_same_in_every_batch_and_follows_from_the_seed(layer, backend):
    values = np.ones((20, 3, 2, 4), np.float32)
    whole, part, other = (
        in_training(layer, x, backend, seed=seed)[0]
        for x, seed in ((values, 3), (values[:7], 3), (values, 4))
    )
    np.testing.assert_array_equal(whole[:7], part)
    assert not np.array_equal(whole, other)


def test_layers_and_the_uses_of_one_draw_apart():
    x = gcn.Input((8, 8, 4), name="image", dtype="float64")
    shared = gcn.Dropout(0.5)
    parts = gcn.concatenate(shared(x), shared(x), gcn.Dropout(0.5)(x), gcn.Dropout(0.5, name="dropout1.2")(x))
    graph = gcn.Network(x, parts).trace(training=True).graph
    result = gcn.evaluate(graph, image=np.ones((1, 8, 8, 4)), sample_key=keys(1))["output"]
    assert len({part.tobytes() for part in np.split(result, 4, axis=-1)}) == 4


@pytest.mark.parametrize(
    "layer", [gcn.Dropout(0.5), gcn.StochasticDepth(0.5), gcn.GaussianNoise(1.0)], ids=str
)
def test_samples_draw_wherever_their_axis_is(layer):
    x = gcn.Input((4, 5), "x", dtype="float64")
    y = gcn.transpose(layer(gcn.transpose(x, (1, 0, 2))), (1, 0, 2))
    found, expected = (
        gcn.evaluate(gcn.Network(x, out).trace(training=True).graph, x=np.ones((9, 4, 5)), sample_key=keys(9))
        for out in (y, layer(x))
    )
    np.testing.assert_array_equal(found["output"], expected["output"])


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("layer", [gcn.Dropout(0.5), gcn.GaussianNoise(1.0)], ids=str)
def test_parameters_have_numbers_drawn_anew_in_each_step(layer, backend):
    x, weight = gcn.Input((40,), "x"), gcn.Parameter((40,), "weight")
    layer.name = "noise"
    graph = gcn.Network(x, x + layer(weight)).trace(training=True).graph
    run, state = load_backend(backend).compile(graph), np.array([3, 0])
    given = {"x": np.zeros((5, 40), np.float32), "weight": np.ones(40, np.float32)}
    first = run(**given, **{"noise.generator": state})
    second = run(**given, **{"noise.generator": first["noise.generator"]})
    assert first["noise.generator"].tolist() == [3, 1]
    assert not np.array_equal(first["output"], second["output"])
    assert (first["output"] == first["output"][0]).all()


@KINDS
def test_predictions_are_not_random(layer, alike):
    model = gcn.compile(
        gcn.Sequential(layer, gcn.GaussianNoise(2.0)), input_shape=ONES.shape[1:], dtype="float64"
    )
    np.testing.assert_array_equal(model.predict(ONES), ONES)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_branch_that_is_left_out_has_no_gradient(backend):
    x = gcn.Input((3, 3, 2), "x", dtype="float64")
    network = gcn.Network(x, gcn.sum(gcn.StochasticDepth(0.5)(x * x)))
    graph = network.trace(training=True).graph
    slopes = gcn.gradient(graph, of="output", wrt=["x"])
    given = {"x": np.ones((32, 3, 3, 2)), "sample_key": keys(32)}
    found = load_backend(backend).compile(slopes)(**given)["gradient(x)"]
    assert set(found.ravel()) == {0.0, 4.0}  # 2x, twice for what is kept
    assert all(len(set(sample.ravel())) == 1 for sample in found)


def test_noise_has_a_deviation_of_at_least_0():
    with pytest.raises(OptionError, match=r"deviation=-1 is not a number of at least 0"):
        gcn.GaussianNoise(-1)


def test_only_what_has_maps_or_samples_can_lose_them():
    with pytest.raises(ShapeError, match="Dropout2d takes images"):
        gcn.Dropout2d(0.5)(gcn.Input((4,)))
    with pytest.raises(ShapeError, match="StochasticDepth drops samples"):
        gcn.StochasticDepth(0.5)(gcn.Input((4,), batch=False))
