"""The learning-rate range test: what it finds, and that it leaves the model alone."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import DataError, OptionError

RANDOM = np.random.default_rng(3)
IMAGES = RANDOM.random((60, 6, 6, 1)).astype(np.float32)
LABELS = (IMAGES.mean(axis=(1, 2, 3)) > 0.5).astype(int)


def classifier(**options):
    network = gcn.Sequential(
        gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Dropout(0.2), gcn.Flatten(), gcn.Dense(2)
    )
    options = {"optimizer": gcn.SGD(0.1, momentum=0.9), **options}
    return gcn.compile(network, input_shape=(6, 6, 1), loss=gcn.CrossEntropy(), **options)


def test_the_model_is_left_as_it_was():
    model, other = classifier(), classifier()
    state = model.state()
    gcn.find_learning_rate(model, IMAGES, LABELS, steps=40, batch_size=10)
    assert all(array.tobytes() == model.state()[name].tobytes() for name, array in state.items())
    assert (model.epochs_done, len(model.history), model.learning_rate) == (0, 0, 0.1)
    for each in (model, other):
        each.fit(IMAGES, LABELS, epochs=2, batch_size=10, progress=False)
    assert all(array.tobytes() == other.state()[name].tobytes() for name, array in model.state().items())


def test_rates_grow_by_the_same_factor_and_the_test_ends_where_the_loss_runs_away():
    curve = gcn.find_learning_rate(classifier(), IMAGES, LABELS, start=1e-5, end=1e5, steps=100)
    ratios = np.divide(curve.rates[1:], curve.rates[:-1])
    np.testing.assert_allclose(ratios, (1e10) ** (1 / 99), rtol=1e-9)
    assert curve.rates[0] == 1e-5
    assert len(curve.rates) == len(curve.losses) < 100
    assert curve.suggestion <= curve.highest < curve.rates[-1] * 1.0001
    assert 1e-4 < curve.suggestion < 100
    assert np.isfinite(curve.losses).all()


def test_all_steps_are_taken_where_nothing_runs_away():
    curve = gcn.find_learning_rate(classifier(), IMAGES, LABELS, start=1e-8, end=1e-7, steps=25)
    assert len(curve.rates) == 25
    assert curve.rates[-1] == pytest.approx(1e-7)


def test_it_says_what_it_found_and_draws_it(tmp_path):
    curve = gcn.find_learning_rate(classifier(), IMAGES, LABELS, steps=30)
    said = str(curve)
    assert f"falls fastest at {curve.suggestion:.2g}" in said
    assert f"least at {curve.highest:.2g}" in said
    assert curve._repr_html_().startswith("<pre")
    curve.plot().savefig(tmp_path / "rates.png")
    (axes,) = curve.plot().axes
    assert axes.get_xscale() == "log"


def test_batches_are_gone_through_again_as_often_as_it_takes():
    batches = [(IMAGES[:20], LABELS[:20]), (IMAGES[20:40], LABELS[20:40])]
    assert len(gcn.find_learning_rate(classifier(), batches, end=0.1, steps=30).rates) == 30
    with pytest.raises(DataError, match="the batches ended after 2 of 30 steps"):
        gcn.find_learning_rate(classifier(), iter(batches), end=0.1, steps=30)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_no_number_from_the_first_step_on():
    model = classifier()
    model.parameters["dense1.bias"] = [np.nan, 0.0]
    with pytest.raises(OptionError, match=r"the loss is nan already in step 1(.*\n)+  Mend: "):
        gcn.find_learning_rate(model, IMAGES, LABELS)


@pytest.mark.parametrize("options", [{"start": 0}, {"end": 1e-7}, {"steps": 3}, {"steps": 20.5}])
def test_a_range_that_is_none_is_refused(options):
    with pytest.raises(OptionError, match=r"test_rate_finder.py(.*\n)+  Mend: "):
        gcn.find_learning_rate(classifier(), IMAGES, LABELS, **options)
