"""Schedules are functions of the position: what they return, that no epoch is wasted, and that they go on."""

import math
import warnings

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError

RANDOM = np.random.default_rng(8)
IMAGES = RANDOM.random((20, 4, 4, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20)


def classifier(rate=0.3):
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    return gcn.compile(
        network, input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(rate, momentum=0.9)
    )


class Rates(gcn.Callback):
    """Notes the rate of each step."""

    def __init__(self):
        self.rates = []

    def on_step_end(self, model, epoch, step, logs):
        self.rates.append(model.learning_rate)


def rates_of(schedule, epochs, batch_size=5):
    """Return the rates of all steps, four of them in an epoch."""
    rates = Rates()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier().fit(
            IMAGES,
            LABELS,
            epochs=epochs,
            batch_size=batch_size,
            callbacks=[schedule, rates],
            progress=False,
        )
    return rates.rates


ALL = {
    "cosine": lambda epochs, **options: gcn.cosine_decay(0.2, epochs, **options),
    "polynomial": lambda epochs, **options: gcn.polynomial_decay(0.2, epochs, power=2.0, **options),
    "exponential": lambda epochs, **options: gcn.exponential_decay(0.2, 0.5, **options),
    "step": lambda epochs, **options: gcn.step_decay(0.2, 2, **options),
    "triangular": lambda epochs, **options: gcn.triangular(0.2, epochs, **options),
    "one cycle": lambda epochs, **options: gcn.one_cycle(0.2, epochs, **options),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("by", ["epoch", "step"])
@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_every_step_trains_and_none_beyond_the_highest_rate(name, by, epochs):
    rates = rates_of(ALL[name](epochs, by=by), epochs)
    assert len(rates) == 4 * epochs
    assert min(rates) > 0
    assert max(rates) <= 0.2 * (1 + 1e-12)
    if by == "epoch":
        assert all(len(set(rates[place : place + 4])) == 1 for place in range(0, len(rates), 4))
    elif name != "step":
        assert len(set(rates)) > epochs


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("by", ["epoch", "step"])
def test_training_in_two_sittings_has_the_rates_of_one(name, by):
    whole, parts = classifier(), classifier()
    of_whole, of_parts = Rates(), Rates()
    options = {"batch_size": 5, "progress": False}
    whole.fit(IMAGES, LABELS, epochs=5, callbacks=[ALL[name](5, by=by), of_whole], **options)
    for epochs in (2, 3):
        parts.fit(IMAGES, LABELS, epochs=epochs, callbacks=[ALL[name](5, by=by), of_parts], **options)
    assert of_parts.rates == of_whole.rates
    for key, array in whole.state().items():
        assert array.tobytes() == parts.state()[key].tobytes()
    assert parts.learning_rate == whole.learning_rate == 0.3


def test_a_cosine_by_step_falls_in_each_step():
    expected = [0.1 * (1 + math.cos(math.pi * done / 12)) for done in range(12)]
    assert rates_of(gcn.cosine_decay(0.2, 3, by="step"), 3) == pytest.approx(expected, rel=1e-12)


def test_a_warm_up_rises_evenly_and_the_decay_takes_what_is_left():
    rates = rates_of(gcn.cosine_decay(0.2, 3, warmup=1, by="step"), 3)
    assert rates[:4] == pytest.approx([0.2 * k / 5 for k in (1, 2, 3, 4)])
    falling = [0.1 * (1 + math.cos(math.pi * done / 8)) for done in range(8)]
    assert rates[4:] == pytest.approx(falling, rel=1e-12)
    by_epoch = rates_of(gcn.polynomial_decay(0.2, 4, warmup=2), 4, batch_size=20)
    assert by_epoch == pytest.approx([0.2 / 3, 0.4 / 3, 0.2, 0.1])
    constant = rates_of(gcn.step_decay(0.2, 10, warmup=0.5, by="step"), 2)
    assert constant == pytest.approx([0.2 / 3, 0.4 / 3, *[0.2] * 6])


def test_exponential_and_polynomial_decay_are_what_they_say():
    assert rates_of(gcn.exponential_decay(0.2, 0.5), 3, 20) == pytest.approx([0.2, 0.1, 0.05])
    assert rates_of(gcn.exponential_decay(0.2, 0.5, by="step"), 1) == pytest.approx(
        [0.2 * 0.5 ** (step / 4) for step in range(4)]
    )
    squares = [0.1 + 0.1 * (1 - done / 4) ** 2 for done in range(4)]
    assert rates_of(gcn.polynomial_decay(0.2, 4, end=0.1, power=2), 4, 20) == pytest.approx(squares)


def test_steps_of_a_third_of_an_epoch_begin_a_stage_where_the_epoch_does():
    rates = rates_of(gcn.step_decay(0.2, 1, 0.5, by="step"), 3, batch_size=7)
    assert rates == pytest.approx([0.2] * 3 + [0.1] * 3 + [0.05] * 3)


def test_a_triangle_rises_to_its_peak_and_falls_to_its_end():
    rates = rates_of(gcn.triangular(0.2, 4, start=0.04, rise=0.25), 4)
    assert rates[:5] == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2])
    assert rates[4:] == pytest.approx([0.2 * (1 - done / 12) for done in range(12)])


def test_one_cycle_is_that_of_pytorch_but_for_where_it_ends():
    rates = rates_of(gcn.one_cycle(0.2, 5, rise=0.4), 5)
    assert rates[0] == pytest.approx(0.2 / 25)
    assert rates[4] == pytest.approx((0.2 / 25 + 0.2) / 2)
    assert rates[8] == pytest.approx(0.2)
    assert rates[14] == pytest.approx((0.2 + 0.2 / 25 / 10_000) / 2)


def test_a_function_of_the_step_is_called_with_the_position():
    seen = []

    def rate(epoch, step, steps):
        seen.append((epoch, step, steps))
        return 0.1

    rates_of(gcn.LearningRateSchedule(rate, by="step"), 2, batch_size=8)
    steps = [(epoch, step, 3) for epoch in (1, 2) for step in (1, 2, 3)]
    assert list(dict.fromkeys(seen)) == steps


def test_a_schedule_by_step_needs_to_know_how_many_steps_there_are():
    batches = [(IMAGES[:8], LABELS[:8]), (IMAGES[8:], LABELS[8:])]
    options = {"callbacks": [gcn.one_cycle(0.1, 2)], "progress": False}
    model = classifier()
    with pytest.raises(OptionError, match="steps_per_epoch=") as caught:
        model.fit(batches, **options)
    assert "by step needs to know how many steps" in str(caught.value)
    assert model.steps_per_epoch is None
    model.fit(batches, steps_per_epoch=2, **options)
    assert model.steps_per_epoch == 2


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: gcn.cosine_decay(0.1, 3, warmup=3), "no epoch is left after a warm-up of 3"),
        (lambda: gcn.cosine_decay(0.1, 3, warmup=-1), "warmup=-1 is not a number of at least 0"),
        (lambda: gcn.cosine_decay(0.1, 3, warmup=0.5), 'warmup=0.5, by="step"'),
        (lambda: gcn.cosine_decay(0.1, 3, warmup=math.inf), "warmup=inf"),
        (lambda: gcn.cosine_decay(0.1, 3, by="batch"), "neither 'epoch' nor 'step'"),
        (lambda: gcn.polynomial_decay(0.1, 3, power=0), "power=0 is not a number above 0"),
        (lambda: gcn.exponential_decay(0.1, 0), "factor=0 is not a number above 0"),
        (lambda: gcn.triangular(0.1, 3, start=0), "start=0 is not a number above 0"),
        (lambda: gcn.triangular(None, 3), "peak=None is not a number above 0"),
        (lambda: gcn.one_cycle(0.1, 3, rise=1.5), "no share from 0 to 1"),
        (lambda: gcn.one_cycle("fast", 3), "peak='fast' is not a number above 0"),
        (lambda: gcn.LearningRateSchedule(lambda epoch, step, steps: 0.1), r"with by='step' it is called"),
        (lambda: gcn.LearningRateSchedule(lambda epoch: 0.1, by="step"), r"not \(epoch, step, steps\)"),
        (lambda: gcn.LearningRateSchedule(lambda epoch: 0.1, by="day"), "neither 'epoch' nor 'step'"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_where_it_is_made(make, problem):
    with pytest.raises(OptionError, match=problem) as caught:
        make()
    assert "Mend: " in str(caught.value)
