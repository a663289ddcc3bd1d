"""Layers on signals [N, L, C]: each equals its definition, and together they learn."""

import itertools

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import OptionError, ShapeError

SIGNALS = np.random.default_rng(1).normal(size=(2, 11, 4))
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def applied(layer, backend="numpy", signals=SIGNALS):
    """Return what the layer makes of signals, and the random parameters that it has."""
    x = gcn.Input(signals.shape[1:], "x", dtype="float64")
    graph = gcn.Network(x, layer(x)).graph
    random = np.random.default_rng(2)
    own = {name: random.normal(size=value.type.shape) for name, value in graph.inputs.items() if name != "x"}
    found = load_backend(backend).compile(graph)(x=signals, **own)["output"]
    return found, {name.partition(".")[2]: value for name, value in own.items()}


def correlated(signals, filters, stride=1, dilation=1, groups=1):
    """Return Σ over taps and channels of signals [N, L, C] times filters [k, C / groups, D]."""
    kernel, own, count = filters.shape
    places = range(0, signals.shape[1] - dilation * (kernel - 1), stride)
    result = np.zeros((len(signals), len(places), count))
    for (i, place), tap, group in itertools.product(enumerate(places), range(kernel), range(groups)):
        made = slice(group * count // groups, (group + 1) * count // groups)
        read = signals[:, place + dilation * tap, group * own : (group + 1) * own]
        result[:, i, made] += read @ filters[tap, :, made]
    return result


@BACKENDS
@pytest.mark.parametrize(
    ("options", "widths", "mode", "rest"),
    [
        ({}, (0, 0), "constant", {}),
        ({"stride": 2, "padding": 1}, (1, 1), "constant", {"stride": 2}),
        ({"padding": (2, 0), "dilation": 2}, (2, 0), "constant", {"dilation": 2}),
        ({"padding": "same", "groups": 2}, (1, 1), "constant", {"groups": 2}),
        ({"padding": "same", "padding_mode": "circular"}, (1, 1), "wrap", {}),
        ({"padding": 2, "padding_mode": "reflect"}, (2, 2), "reflect", {}),
    ],
)
def test_a_convolution_of_signals_equals_the_definition(options, widths, mode, rest, backend):
    found, own = applied(gcn.Conv1d(6, 3, **options), backend)
    assert own["filters"].shape == (3, 4 // rest.get("groups", 1), 6)
    padded = np.pad(SIGNALS, ((0, 0), widths, (0, 0)), mode=mode)
    expected = correlated(padded, own["filters"], **rest) + own["bias"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_a_true_convolution_rotates_its_filters():
    found, own = applied(gcn.Conv1d(2, 3, flip=True, bias=False))
    np.testing.assert_allclose(found, correlated(SIGNALS, own["filters"][::-1]), rtol=0, atol=1e-12)


@BACKENDS
@pytest.mark.parametrize(
    ("stride", "crop", "more", "dilation", "groups"), [(1, 0, 0, 1, 1), (2, 1, 1, 1, 2), (3, 2, 2, 2, 4)]
)
def test_a_transposed_convolution_of_signals_adds_up_copies_of_its_filters(
    stride, crop, more, dilation, groups, backend
):
    layer = gcn.ConvTranspose1d(8, 3, stride, crop, output_padding=more, dilation=dilation, groups=groups)
    found, own = applied(layer, backend)
    full = np.zeros((2, 10 * stride + 2 * dilation + 1 + more, 8))
    for place, tap, group in itertools.product(range(11), range(3), range(groups)):
        made = slice(group * 8 // groups, (group + 1) * 8 // groups)
        read = SIGNALS[:, place, group * 4 // groups : (group + 1) * 4 // groups]
        full[:, stride * place + dilation * tap, made] += read @ own["filters"][tap, :, made]
    expected = full[:, crop : full.shape[1] - crop] + own["bias"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def windows(size, stride, before, after):
    """Return the places of each window that are within the signals."""
    starts = range(-before, 11 + after - size + 1, stride)
    return [slice(max(start, 0), min(start + size, 11)) for start in starts]


@BACKENDS
@pytest.mark.parametrize(
    ("arguments", "spans"),
    [
        ((2,), windows(2, 2, 0, 0)),
        ((3, 2, 1), windows(3, 2, 1, 1)),
        ((3, 1, "same"), windows(3, 1, 1, 1)),
        ((4, 3, (1, 0)), windows(4, 3, 1, 0)),
        ((2, 2, 0, True), [*windows(2, 2, 0, 0), slice(10, 11)]),
    ],
)
def test_pools_of_signals(arguments, spans, backend):
    found, _ = applied(gcn.MaxPool1d(*arguments), backend)
    np.testing.assert_array_equal(found, np.stack([SIGNALS[:, s].max(axis=1) for s in spans], axis=1))
    found, _ = applied(gcn.AvgPool1d(*arguments, count_include_pad=False), backend)
    expected = np.stack([SIGNALS[:, s].mean(axis=1) for s in spans], axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_padding_counts_as_zeros_in_a_mean():
    found, _ = applied(gcn.AvgPool1d(3, 2, 1))
    expected = np.stack([SIGNALS[:, s].sum(axis=1) / 3 for s in windows(3, 2, 1, 1)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@BACKENDS
@pytest.mark.parametrize("size", [1, 4, 11, 13])
def test_adaptive_and_global_pools_of_signals(size, backend):
    spans = [slice(i * 11 // size, -(-(i + 1) * 11 // size)) for i in range(size)]
    for layer, fold in ((gcn.AdaptiveMaxPool1d, np.max), (gcn.AdaptiveAvgPool1d, np.mean)):
        expected = np.stack([fold(SIGNALS[:, s], axis=1) for s in spans], axis=1)
        np.testing.assert_allclose(applied(layer(size), backend)[0], expected, rtol=0, atol=1e-14)
    for layer, fold in ((gcn.GlobalMaxPool1d(), np.max), (gcn.GlobalAvgPool1d(), np.mean)):
        found = applied(layer, backend)[0]
        np.testing.assert_allclose(found, fold(SIGNALS, axis=1), rtol=0, atol=1e-14)


@BACKENDS
def test_a_network_learns_to_tell_rising_tones_from_falling_ones(backend):
    random = np.random.default_rng(3)
    time = np.linspace(0, 1, 64)
    rises = random.integers(0, 2, 128)
    speed = np.where(rises[:, None] == 1, time, 1 - time)
    tones = np.sin(2 * np.pi * (3 + random.random((128, 1)) + 6 * speed) * time)[..., None]
    network = gcn.Sequential(
        gcn.Conv1d(8, 7, stride=2, padding="same"), gcn.BatchNorm1d(), gcn.ReLU(), gcn.MaxPool1d(2),
        gcn.Conv1d(16, 5, padding="same"), gcn.GroupNorm(4), gcn.ReLU(), gcn.AdaptiveAvgPool1d(3),
        gcn.Flatten(), gcn.Dense(2),
    )  # fmt: skip
    model = gcn.compile(
        network,
        input_shape=(64, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.Adam(0.01),
        backend=backend,
        seed=0,
    )
    assert model.parameters["conv1.filters"].shape == (7, 1, 8)
    model.fit(tones, rises, epochs=8, batch_size=32, progress=False)
    assert model.evaluate(tones, rises)["accuracy"] > 0.95


def test_what_is_no_signal_is_refused():
    for layer in (gcn.Conv1d(2, 3), gcn.MaxPool1d(2), gcn.GlobalAvgPool1d()):
        with pytest.raises(ShapeError, match=r"takes signals of shape \[N, L, C\](.*\n)*  Mend: .*\(11, 1\)"):
            layer(gcn.Input((11,)))
    with pytest.raises(ShapeError, match=r"Mend: for images, gcn\.MaxPool2d"):
        gcn.MaxPool1d(2)(gcn.Input((8, 8, 1)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: gcn.Conv1d(2, (3, 3)), r"kernel=\(3, 3\) is not an integer"),
        (lambda: gcn.Conv1d(2, 3, padding=((1, 1), (1, 1))), "is no padding of a signal"),
        (lambda: gcn.MaxPool1d(2, padding=-1), "padding=-1 is no padding of a signal"),
        (lambda: gcn.ConvTranspose1d(2, 3, padding="same"), "is not defined for a transposed"),
        (lambda: gcn.ConvTranspose1d(2, 3, 2, output_padding=2), r"(.*\n)*  Mend: .*output_padding=1$"),
        (lambda: gcn.ConvTranspose1d(2, 3, 2, output_padding=-1), "is not an integer of at least 0"),
    ],
)
def test_arguments_that_do_not_fit_signals(layer, message):
    with pytest.raises(OptionError, match=message):
        layer()
