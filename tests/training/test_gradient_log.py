import math
from typing import Any

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import TrainingError
from graphcnn.training.bars import BAR, log_bar, log_trend
from graphcnn.training.gradient_log import EDGES

DIGITS = gcn.data.load_digits()
X, Y = DIGITS.images[:256], DIGITS.labels[:256]


def deep(activation: type[gcn.Layer], layers: int = 6, **options: Any) -> gcn.Model:
    hidden = [layer for _ in range(layers) for layer in (gcn.Conv2d(4, 3, padding="same"), activation())]
    options = {"optimizer": gcn.SGD(0.05, momentum=0.9)} | options
    return gcn.compile(
        gcn.Sequential(*hidden, gcn.Flatten(), gcn.Dense(10)),
        input_shape=(8, 8, 1),
        loss=gcn.CrossEntropy(),
        **options,
    )


def logged(model: gcn.Model, **options: Any) -> gcn.GradientLog:
    log = gcn.GradientLog(**options)
    model.fit(X, Y, epochs=2, batch_size=64, progress=False, callbacks=[log])
    return log


def test_norms_are_those_of_the_gradient_before_the_step() -> None:
    model = deep(gcn.ReLU, 1)
    log = gcn.GradientLog()
    recording = model.inspect(X[:64], Y[:64])
    model.fit(X[:64], Y[:64], batch_size=64, shuffle=False, progress=False, callbacks=[log])
    assert log.layers == ("conv1", "dense1")
    for record in recording.layers:
        if record.gradient_norm is not None:
            assert log.norms(record.layer) == [pytest.approx(record.gradient_norm, rel=1e-4)]


def test_steps_are_counted_over_epochs_and_recorded_every_so_many() -> None:
    log = logged(deep(gcn.ReLU, 1), every=3)
    assert log.steps == [1, 4, 7]
    assert len(log.norms("conv1")) == 3
    assert log.histograms("conv1").shape == (3, len(EDGES) - 1)


def test_training_is_the_same_with_it() -> None:
    plain, watched = deep(gcn.ReLU, 2), deep(gcn.ReLU, 2)
    plain.fit(X, Y, epochs=2, batch_size=64, progress=False)
    logged(watched)
    for name, array in watched.state().items():
        assert array.tobytes() == plain.state()[name].tobytes(), name


def test_running_statistics_and_dropout_are_not_disturbed() -> None:
    def model() -> gcn.Model:
        network = gcn.Sequential(
            gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Dropout(0.5), gcn.Flatten(), gcn.Dense(10)
        )
        return gcn.compile(
            network, input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.Adam(), seed=4
        )

    plain, watched = model(), model()
    plain.fit(X, Y, epochs=2, batch_size=64, progress=False)
    logged(watched)
    for name, array in watched.state().items():
        assert array.tobytes() == plain.state()[name].tobytes(), name


def test_every_number_is_in_a_histogram_by_its_size() -> None:
    log = logged(deep(gcn.Sigmoid, 1))
    counts = log.histograms("dense1")
    assert (counts.sum(1) == 4 * 8 * 8 * 10 + 10).all()
    middle = EDGES[counts[0].argmax()]
    assert 10 ** (middle - 2) < log.norms("dense1")[0] / math.sqrt(counts[0].sum()) < 10 ** (middle + 2)


def test_vanishing_gradients_are_seen() -> None:
    log = logged(deep(gcn.Sigmoid, 8))
    assert log.verdict("conv1") == "vanishing"
    assert log.verdict("dense1") == ""
    lines = {line.split()[0]: line for line in str(log).splitlines() if line.strip()}
    assert "vanishing" in lines["conv1"]
    assert lines["conv1"].count("█") < lines["conv8"].count("█") < lines["dense1"].count("█")


def test_healthy_gradients_are_not_blamed() -> None:
    log = logged(deep(gcn.ReLU))
    assert [log.verdict(layer) for layer in log.layers] == [""] * 7
    assert "vanishing" not in str(log)


def test_gradients_that_explode_on_their_way_back_are_seen() -> None:
    model = deep(gcn.Tanh, 6)
    for name in model.parameters:
        # A small signal stays where tanh is steep; the error grows with each layer that hands it back.
        scale = 1e-4 if name == "conv1.filters" else 8.0 if name.endswith("filters") else 1.0
        model.parameters[name] = model.parameters[name] * np.float32(scale)
    log = gcn.GradientLog()
    model.fit(X[:64], Y[:64], batch_size=64, progress=False, callbacks=[log])
    assert log.verdict("conv1") == "exploding"
    assert log.verdict("dense1") == ""
    assert "exploding" in str(log)


def test_gradients_that_explode_with_time_are_seen_before_the_training_ends() -> None:
    model = deep(gcn.ReLU, 1, optimizer=gcn.SGD(0.05))
    log = gcn.GradientLog()

    class Falls(gcn.Callback):
        def on_step_begin(self, model: gcn.Model, epoch: int, step: int, batch: Any) -> None:
            if step == 3:
                model.parameters["dense1.weights"] = model.parameters["dense1.weights"] * np.float32(1e5)
            if step == 4:
                model.parameters["dense1.weights"] = model.parameters["dense1.weights"] * np.float32(1e34)

    with np.errstate(all="ignore"), pytest.raises(TrainingError):
        model.fit(X, Y, batch_size=64, progress=False, callbacks=[Falls(), log])
    norms = log.norms("conv1")
    assert norms[2] > 1e3 * norms[0]
    assert not math.isfinite(norms[3])
    assert log.verdict("conv1") == "exploding"
    assert "!" in str(log)


def test_a_log_begins_anew_with_each_fit() -> None:
    log = logged(deep(gcn.ReLU, 1))
    deep(gcn.ReLU, 2).fit(X[:64], Y[:64], batch_size=64, progress=False, callbacks=[log])
    assert log.steps == [1]
    assert log.layers == ("conv1", "conv2", "dense1")


def test_a_figure_has_a_panel_for_every_layer() -> None:
    figure = logged(deep(gcn.ReLU, 4)).plot()
    titles = [axes.get_title() for axes in figure.get_axes() if axes.axison]
    assert titles == ["gradient norm", "conv1", "conv2", "conv3", "conv4", "dense1"]


def test_mistakes_have_named_errors() -> None:
    with pytest.raises(gcn.GraphcnnError, match="every=0"):
        gcn.GradientLog(every=0)
    log = gcn.GradientLog()
    assert "nothing is recorded yet" in str(log)
    with pytest.raises(gcn.GraphcnnError, match="nothing to plot"):
        log.plot()
    with pytest.raises(gcn.GraphcnnError, match="no gradients of 'conv1' were recorded"):
        log.norms("conv1")


@pytest.mark.usefixtures("without_matplotlib")
def test_a_figure_without_matplotlib_says_how_to_get_it() -> None:
    with pytest.raises(gcn.GraphcnnError, match=r"pip install 'graphcnn\[plot\]'"):
        gcn.GradientLog().plot()


def test_a_callback_of_ones_own_sees_every_step() -> None:
    seen: list[tuple[int, int, int]] = []

    class Watch(gcn.Callback):
        def on_step_begin(self, model: gcn.Model, epoch: int, step: int, batch: Any) -> None:
            assert batch.keys() == {"image", "target"}
            seen.append((epoch, step, len(batch["image"])))

    deep(gcn.ReLU, 1).fit(X[:100], Y[:100], epochs=2, batch_size=64, progress=False, callbacks=[Watch()])
    assert seen == [(1, 1, 64), (1, 2, 36), (2, 1, 64), (2, 2, 36)]


def test_bars_and_courses() -> None:
    assert log_bar(1.0, 1.0) == "█" * BAR
    assert log_bar(1e-3, 1.0) == "█" * (BAR // 2)
    assert log_bar(1e-9, 1.0) == log_bar(0.0, 1.0) == ""
    assert log_bar(math.nan, 1.0) == "!" * BAR
    assert log_trend([1e-4, 1e-2, 1.0]) == "▁▄█" or log_trend([1e-4, 1e-2, 1.0]) == "▁▅█"
    assert log_trend([1.0, math.inf]).endswith("!")
    assert len(log_trend(list(np.geomspace(1, 1e6, 500)))) == BAR
    assert log_trend(list(np.geomspace(1, 1e6, 500)))[-1] == "█"
    assert log_trend([]) == ""
