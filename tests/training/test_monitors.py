"""Callbacks that watch a number: what they keep, stop and lower, and that they go on in another process."""

import json
import math

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError

RANDOM = np.random.default_rng(9)
IMAGES = RANDOM.random((20, 4, 4, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20)


def classifier(rate=0.1):
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    return gcn.compile(network, input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(rate))


class Course(gcn.Callback):
    """Lets a number take a known course, and the bias tell the epoch."""

    def __init__(self, *numbers, name="val_loss"):
        self.numbers, self.name, self.rates = numbers, name, []

    def on_epoch_end(self, model, epoch, logs):
        logs[self.name] = self.numbers[epoch - 1]
        self.rates.append(model.learning_rate)
        model.parameters["dense1.bias"] = np.full(3, float(epoch))


class TakeOver(gcn.Callback):
    """Gives a callback the state that another one had, as it is after a file."""

    def __init__(self, before, after):
        self.before, self.after = before, after

    def on_train_begin(self, model):
        self.after.set_state(self.before.state())


def fit(model, epochs, *callbacks):
    return model.fit(IMAGES, LABELS, epochs=epochs, callbacks=callbacks, progress=False)


def test_the_best_weights_are_those_of_the_model_after_training():
    model, best = classifier(), gcn.BestWeights()
    history = fit(model, 5, Course(5, 3, math.nan, 4, 3.5), best)
    assert len(history) == 5
    assert (best.best, best.best_epoch) == (3, 2)
    assert model.parameters["dense1.bias"].tolist() == [2.0] * 3
    assert model.epochs_done == 5


@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [
        ("val_f1", "", 2),
        ("val_top5_accuracy", "", 2),
        ("val_mean_iou", "", 2),
        ("val_r2", "", 2),
        ("val_rmse", "", 3),
        ("val_f1", "min", 3),
    ],
)
def test_more_is_better_of_scores_and_less_of_all_else(monitor, mode, best):
    watched = gcn.BestWeights(monitor, mode=mode)
    fit(classifier(), 3, Course(0.5, 0.9, 0.1, name=monitor), watched)
    assert watched.best_epoch == best


def test_best_weights_look_at_validations_within_epochs():
    class Worse(gcn.Callback):
        def on_validation_end(self, model, epoch, step, logs):
            seen.append((epoch, step))
            logs["val_loss"] = -1.0 if (epoch, step) == (2, 2) else 9.0
            model.parameters["dense1.bias"] = np.full(3, 10.0 * epoch + step)

    seen = []
    model = classifier()
    model.fit(
        IMAGES,
        LABELS,
        epochs=2,
        batch_size=4,
        validation_data=(IMAGES, LABELS),
        validate_every=2,
        callbacks=[Worse(), gcn.BestWeights()],
        progress=False,
    )
    assert seen == [(1, 2), (1, 4), (2, 2), (2, 4)]
    assert model.parameters["dense1.bias"].tolist() == [22.0] * 3


@pytest.mark.parametrize("kind", [gcn.BestWeights, gcn.EarlyStopping])
def test_what_was_best_is_known_in_another_process(kind):
    model, first, second = classifier(), kind(), kind()
    fit(model, 2, Course(1, 2), first)
    best = model.state()
    fit(model, 2, Course(1, 2, 3, 4), second, TakeOver(first, second))
    assert (second.best, second.best_epoch) == (1, 1)
    assert all(np.array_equal(array, best[name]) for name, array in model.state().items())


def test_early_stopping_wants_to_see_by_how_much_it_is_better():
    stop = gcn.EarlyStopping(patience=2, min_delta=0.5, restore_best=False)
    assert len(fit(classifier(), 9, Course(5, 4.8, 4.4, 4.3, 4.2, 1), stop)) == 5
    assert stop.best_epoch == 3


def test_the_rate_is_lowered_where_nothing_gets_better():
    model, course = classifier(0.8), Course(5, 5, 5, 4, 4, 4, 4, 4)
    plateau = gcn.ReduceOnPlateau(factor=0.5, patience=2, min_rate=0.15)
    fit(model, 8, course, plateau)
    assert course.rates == [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2]
    assert model.learning_rate == 0.15


def test_the_rate_is_lowered_at_the_same_epoch_in_two_sittings():
    whole, parts = classifier(), classifier()
    numbers = (5, 4, 4, 4, 4, 4, 4)
    fit(whole, 7, Course(*numbers), gcn.ReduceOnPlateau(patience=2))
    first, second = (gcn.ReduceOnPlateau(patience=2) for _ in range(2))
    fit(parts, 3, Course(*numbers), first)
    json.dumps(first.state())
    fit(parts, 4, Course(*numbers), second, TakeOver(first, second))
    assert parts.learning_rate == whole.learning_rate
    assert parts.history["learning_rate"] == whole.history["learning_rate"]


def test_a_schedule_and_a_plateau_do_not_both_set_the_rate():
    callbacks = [gcn.ReduceOnPlateau("loss"), gcn.cosine_decay(0.1, 3)]
    with pytest.raises(OptionError, match=r"both set the learning rate(.*\n)+  Mend: .*one of them"):
        fit(classifier(), 3, *callbacks)
    fit(classifier(), 3, callbacks[0])


def test_a_rate_below_the_least_is_left_alone():
    model = classifier(0.01)
    fit(model, 4, Course(1, 1, 1, 1), gcn.ReduceOnPlateau(patience=1, min_rate=0.1))
    assert model.learning_rate == 0.01


def test_the_best_epoch_alone_is_saved_where_it_is_asked_for(tmp_path):
    path = tmp_path / "best.safetensors"
    fit(classifier(), 3, Course(2, 1, 3), gcn.ModelCheckpoint(path, save_best_only=True))
    assert gcn.load(path).epochs_done == 2
    fit(classifier(), 3, Course(2, 1, 3), gcn.ModelCheckpoint(path))
    assert gcn.load(path).epochs_done == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: gcn.BestWeights("val_losses"),
        lambda: gcn.ReduceOnPlateau("val_losses"),
        lambda: gcn.ModelCheckpoint("best.safetensors", "val_losses", save_best_only=True),
    ],
)
def test_what_is_not_recorded_is_refused_before_training(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = classifier()
    with pytest.raises(OptionError, match="watches 'val_losses', which is not recorded") as caught:
        fit(model, 1, make())
    assert "did you mean 'val_loss'" in caught.value.mend
    assert model.epochs_done == 0


@pytest.mark.parametrize(
    ("make", "mend"),
    [
        (lambda: gcn.BestWeights(3), 'monitor="val_loss"'),
        (lambda: gcn.ReduceOnPlateau(factor=1.0), "factor=0.1"),
        (lambda: gcn.ReduceOnPlateau(factor=2.0), "factor=0.1"),
        (lambda: gcn.ReduceOnPlateau(patience="3"), "patience=3"),
        (lambda: gcn.ReduceOnPlateau(min_rate=-1), "min_rate=0.1"),
        (lambda: gcn.EarlyStopping(min_delta=-1), "min_delta=0.001"),
        (lambda: gcn.EarlyStopping(5), "gcn.EarlyStopping(patience=5)"),
        (lambda: gcn.ModelCheckpoint("best.safetensors", save_best_only="yes"), "save_best_only=True"),
    ],
)
def test_options_that_cannot_be(make, mend):
    with pytest.raises(OptionError) as caught:
        make()
    assert caught.value.mend == mend
