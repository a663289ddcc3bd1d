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


def in_training(layer, values, backend="numpy", steps=1, **options):
    """Return what the layer makes of values in each of some training steps."""
    model = gcn.compile(layer, input_shape=values.shape[1:], dtype=str(values.dtype), seed=3)
    run = load_backend(backend).compile(model.training_graph, **options)
    state, found = dict(model.state()), []
    for epoch in range(steps):
        keys = in_epoch(identities(3, np.arange(len(values))), epoch)
        given = {"sample_key": keys} if "sample_key" in model.training_graph.inputs else {}
        results = run(image=values, **state, **given)
        state.update((name, results[name]) for name in model.training_graph.updates)
        found.append(results["output"])
    return found


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
        assert np.unique(drawn, axis=0).shape[0] == len(drawn)  # each sample has a mask of its own


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


def test_a_sample_s_noise_is_the_same_in_every_batch():
    values = np.zeros((20, 3, 2, 1), np.float32)
    whole, part = (in_training(gcn.GaussianNoise(0.5), x)[0] for x in (values, values[:7]))
    np.testing.assert_array_equal(whole[:7], part)
    assert len(np.unique(whole)) == whole.size


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_parameters_get_noise_anew_in_each_step(backend):
    x, weight = gcn.Input((4,), "x"), gcn.Parameter((4,), "weight")
    graph = gcn.Network(x, x + gcn.GaussianNoise(1.0)(weight)).trace(training=True).graph
    run, state = load_backend(backend).compile(graph), np.array([3, 0])
    given = {"x": np.zeros((5, 4), np.float32), "weight": np.zeros(4, np.float32)}
    first = run(**given, **{"noise1.generator": state})
    second = run(**given, **{"noise1.generator": first["noise1.generator"]})
    assert first["noise1.generator"].tolist() == [3, 1]
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
    traced = network.trace(training=True)
    state = {
        name: make(np.random.default_rng(5), traced.graph.inputs[name].type)
        for name, make in traced.initializers.items()
    }
    slopes = gcn.gradient(traced.graph, of="output", wrt=["x"])
    found = load_backend(backend).compile(slopes)(x=np.ones((32, 3, 3, 2)), **state)["gradient(x)"]
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
