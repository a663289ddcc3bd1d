"""Training that goes on: numbers of epochs, schedules, logs, and what is saved on the way."""

import csv
import warnings

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.data.batches import Batches
from graphcnn.errors import OptionError
from graphcnn.training.callbacks import StopTraining

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.random((20, 4, 4, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20)


def classifier(rate=0.1):
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    optimizer = gcn.SGD(rate, momentum=0.9)
    return gcn.compile(network, input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=optimizer)


def train(model, epochs, *callbacks, **options):
    options = {"batch_size": 8, "progress": False, **options}
    return model.fit(IMAGES, LABELS, epochs=epochs, callbacks=callbacks, **options)


def assert_same_bits(model, other):
    for name, value in model.state().items():
        assert value.tobytes() == other.state()[name].tobytes(), name


class Watch(gcn.Callback):
    def __init__(self):
        self.epochs, self.states, self.rates = [], [], []

    def on_epoch_end(self, model, epoch, logs):
        self.epochs.append(epoch)
        self.rates.append(model.learning_rate)
        self.states.append(model.state())


# Schedules


@pytest.mark.parametrize("epochs", [1, 2, 3, 7])
def test_every_epoch_of_a_cosine_trains(epochs):
    model, watch = classifier(), Watch()
    before = model.state()
    train(model, epochs, gcn.cosine_decay(0.1, epochs), watch)
    for earlier, later in zip([before, *watch.states], watch.states, strict=False):
        assert not np.array_equal(earlier["dense1.weights"], later["dense1.weights"])
    assert watch.rates[0] == 0.1
    assert min(watch.rates) > 0


@pytest.mark.parametrize("kind", ["ends", "is stopped", "fails"])
def test_after_a_schedule_the_rate_of_the_model_is_back(kind):
    class End(gcn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            if kind == "fails":
                raise ZeroDivisionError
            if kind == "is stopped":
                raise KeyboardInterrupt

    model, watch = classifier(0.3), Watch()
    try:
        train(model, 2, gcn.cosine_decay(0.1, 2), watch, End())
    except (ZeroDivisionError, KeyboardInterrupt):
        assert kind != "ends"
    assert watch.rates[0] == 0.1
    assert model.learning_rate == 0.3


def test_a_file_saved_under_a_schedule_holds_the_rate_of_the_model_and_all_that_counts(tmp_path):
    class Save(gcn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            model.save(tmp_path / f"{epoch}.safetensors")

    whole = classifier(0.3)
    train(whole, 4, gcn.cosine_decay(0.1, 4), Save())
    again = gcn.load(tmp_path / "2.safetensors")
    assert (again.epochs_done, len(again.history), again.learning_rate) == (2, 2, 0.3)
    train(again, 2, gcn.cosine_decay(0.1, 4))
    assert again.history["learning_rate"] == whole.history["learning_rate"]
    assert_same_bits(again, whole)


def test_a_rate_of_0_warns_once_at_the_line_that_trains():
    model = classifier()
    model.learning_rate = 0.0
    with pytest.warns(gcn.GraphcnnWarning, match="the learning rate of epoch 1 is 0") as caught:
        model.fit(IMAGES, LABELS, epochs=3, progress=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_beyond_its_end_a_schedule_that_ends_at_0_warns_and_the_advice_works():
    model = classifier()
    train(model, 2, gcn.cosine_decay(0.1, 2))
    with pytest.warns(gcn.GraphcnnWarning, match=r"epoch 3 is 0: .* Mend: .* initial_epoch=0"):
        train(model, 1, gcn.cosine_decay(0.1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = train(model, 2, gcn.cosine_decay(0.1, 2), initial_epoch=0)
        assert history["learning_rate"][0] == 0.1
        train(model, 5, gcn.cosine_decay(0.1, 2, end=0.01))
    assert model.history["learning_rate"][-1] == 0.01


def test_a_callback_that_sets_the_rate_is_obeyed():
    class Halve(gcn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            model.learning_rate *= 0.5

    model = classifier(0.4)
    assert train(model, 3, Halve())["learning_rate"] == [0.4, 0.2, 0.1]
    assert model.learning_rate == 0.05


def test_a_rate_set_within_an_epoch_ends_what_the_schedule_said_for_it():
    class Set(gcn.Callback):
        def on_step_begin(self, model, epoch, step, batch):
            if (epoch, step) == (1, 2):
                model.learning_rate = 0.7

    model = classifier()
    assert train(model, 2, gcn.step_decay(0.2, 5), Set())["learning_rate"] == [0.7, 0.2]
    assert model.learning_rate == 0.7


@pytest.mark.parametrize(
    "make",
    [
        lambda: gcn.cosine_decay(0.0, 3),
        lambda: gcn.cosine_decay(0.1, 0),
        lambda: gcn.cosine_decay(0.1, 2.5),
        lambda: gcn.cosine_decay(0.1, 3, end=-0.1),
        lambda: gcn.cosine_decay(float("nan"), 3),
        lambda: gcn.cosine_decay(10**400, 3),
        lambda: gcn.step_decay(0.1, 0),
        lambda: gcn.step_decay(0.1, 2, factor=0.0),
        lambda: gcn.LearningRateSchedule(0.1),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_where_it_is_made(make):
    with pytest.raises(OptionError, match=r"is not (.*\n)+  Mend: "):
        make()


# Numbers of epochs


def test_epochs_are_numbered_through_all_training():
    model, watch = classifier(), Watch()
    for epochs in (2, 1, 2):
        train(model, epochs, watch)
    assert watch.epochs == [1, 2, 3, 4, 5]
    assert model.epochs_done == len(model.history) == 5


def test_initial_epoch_says_where_epochs_begin_and_the_last_one_is_named():
    whole, watch = classifier(), Watch()
    train(whole, 5, gcn.cosine_decay(0.1, 5))
    model = classifier()
    train(model, 3, gcn.cosine_decay(0.1, 5))
    train(model, 5, gcn.cosine_decay(0.1, 5), watch, initial_epoch=3)
    assert watch.epochs == [4, 5]
    assert_same_bits(model, whole)


@pytest.mark.parametrize(("epochs", "initial"), [(3, 3), (3, 5), (3, -1), (3, 1.0), (3, True), (0, None)])
def test_numbers_of_epochs_that_cannot_be(epochs, initial):
    model = classifier()
    with pytest.raises(OptionError, match=r"epoch"):
        train(model, epochs, initial_epoch=initial)
    assert model.epochs_done == 0


def test_progress_shows_the_numbers_of_all_training(capsys):
    model = classifier()
    train(model, 2)
    train(model, 1, progress=True)
    assert "epoch 3/3" in capsys.readouterr().out


def test_early_stopping_goes_on_counting_from_the_epochs_done():
    model = classifier()
    train(model, 6)

    class Hopeless(gcn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            logs["hope"] = float("nan")

    stop = gcn.EarlyStopping("hope", patience=2, restore_best=False)
    assert len(train(model, 5, Hopeless(), stop)) == 2


def test_an_epoch_counts_and_is_recorded_though_its_evaluation_is_interrupted():
    def images():
        yield IMAGES, LABELS
        raise KeyboardInterrupt

    model = classifier()
    with pytest.raises(KeyboardInterrupt):
        train(model, 2, validation_data=images())
    assert model.epochs_done == len(model.history) == 1


# Positions within an epoch


@pytest.mark.parametrize("seed", [None, 5])
def test_an_epoch_is_gone_through_from_any_of_its_batches_on(seed):
    batches = Batches(np.arange(20), np.arange(20) * 2, size=8, seed=seed)
    whole = list(batches.epoch(3))
    assert len(whole) == 3
    for begin in range(5):
        rest = list(batches.epoch(3, begin))
        assert len(rest) == max(3 - begin, 0)
        for batch, expected in zip(rest, whole[begin:], strict=True):
            assert all(map(np.array_equal, batch, expected))


def test_a_model_knows_the_steps_of_the_epoch_under_way():
    seen = []

    class Look(gcn.Callback):
        def on_epoch_begin(self, model, epoch):
            seen.append(model.steps_done)

        def on_step_begin(self, model, epoch, step, batch):
            seen.append(model.steps_done)
            if (epoch, step) == (2, 3):
                raise StopTraining

        def on_epoch_end(self, model, epoch, logs):
            seen.append((model.epochs_done, model.steps_done))

    model = classifier()
    assert (model.epochs_done, model.steps_done) == (0, 0)
    train(model, 5, Look())
    assert seen == [0, 0, 1, 2, (1, 0), 0, 0, 1, 2]
    assert (model.epochs_done, model.steps_done) == (1, 2)
    train(model, 1)
    assert (model.epochs_done, model.steps_done) == (2, 0)


# What callbacks keep


def test_early_stopping_goes_on_with_the_best_epoch_it_knew():
    class Scores(gcn.Callback):
        scores = (3.0, 1.0, 2.0, 2.0)

        def on_epoch_end(self, model, epoch, logs):
            logs["score"] = self.scores[epoch - 1]

    class TakeOver(gcn.Callback):
        def on_train_begin(self, model):
            second.set_state(first.state())

    model = classifier()
    first, second = (gcn.EarlyStopping("score", patience=2, mode="min") for _ in range(2))
    train(model, 2, Scores(), first)
    best = model.state()
    assert len(train(model, 9, Scores(), second, TakeOver())) == 2
    assert second.best_epoch == 2
    assert all(np.array_equal(array, best[name]) for name, array in model.state().items())


def test_a_log_of_gradients_goes_on_with_what_it_recorded():
    class TakeOver(gcn.Callback):
        def on_train_begin(self, model):
            second.set_state(first.state())

    whole, first, second = (gcn.GradientLog(every=2) for _ in range(3))
    train(classifier(), 3, whole)
    model = classifier()
    train(model, 2, first)
    train(model, 1, second, TakeOver())
    assert second.steps == whole.steps == [1, 3, 5, 7, 9]
    assert second.norms("dense1") == whole.norms("dense1")
    assert np.array_equal(second.histograms("dense1"), whole.histograms("dense1"))


# Logs


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_log_goes_on_with_training_and_begins_anew_with_it(tmp_path):
    path, model = tmp_path / "log.csv", classifier()
    for epochs in (3, 2):
        train(model, epochs, gcn.CSVLog(path))
    assert [row["epoch"] for row in rows(path)] == ["1", "2", "3", "4", "5"]
    assert [float(row["loss"]) for row in rows(path)] == model.history["loss"]
    train(classifier(), 2, gcn.CSVLog(path))
    assert [row["epoch"] for row in rows(path)] == ["1", "2"]
    train(model, 1, gcn.CSVLog(path), initial_epoch=0)
    assert [row["epoch"] for row in rows(path)] == ["1"]


def test_epochs_that_are_trained_again_are_in_the_log_once(tmp_path):
    path, model = tmp_path / "log.csv", classifier()
    train(model, 2, gcn.CSVLog(path))
    model.save(tmp_path / "model.safetensors")
    train(model, 3, gcn.CSVLog(path))
    with path.open("a") as file:
        file.write("6,0.")  # as a kill would leave it
    train(gcn.load(tmp_path / "model.safetensors"), 2, gcn.CSVLog(path))
    assert [row["epoch"] for row in rows(path)] == ["1", "2", "3", "4"]


def test_numbers_that_come_in_later_get_columns(tmp_path):
    path, model = tmp_path / "log.csv", classifier()
    train(model, 1, gcn.CSVLog(path))
    train(model, 1, gcn.CSVLog(path), validation_data=(IMAGES, LABELS))
    train(model, 1, gcn.CSVLog(path))
    assert [bool(row["val_loss"]) for row in rows(path)] == [False, True, False]
    assert all(row["loss"] for row in rows(path))


def test_a_log_does_not_go_on_in_a_file_that_is_none(tmp_path):
    path, model = tmp_path / "notes.txt", classifier()
    train(model, 1)
    path.write_text("my notes")
    with pytest.raises(OptionError, match="is not a log of epochs"):
        train(model, 1, gcn.CSVLog(path))
    assert path.read_text() == "my notes"


# Hooks


def test_a_callback_hears_of_each_step_what_train_step_returns():
    heard = []

    class Hear(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            heard.append((epoch, step, logs))

    model, other = classifier(), classifier()
    train(model, 2, Hear(), shuffle=False)
    assert [place[:2] for place in heard] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert heard[0][2] == other.train_step(IMAGES[:8], LABELS[:8])


def test_a_callback_ends_training_after_a_step():
    class End(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            if (epoch, step) == (2, 2):
                raise StopTraining

    model = classifier()
    assert len(train(model, 5, End())) == 1
    assert model.epochs_done == 1


def test_the_epoch_that_ends_training_is_told_to_all_callbacks(tmp_path):
    class End(gcn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            if epoch == 2:
                raise StopTraining

    model, path = classifier(), tmp_path / "log.csv"
    train(model, 5, End(), gcn.CSVLog(path))
    assert [row["epoch"] for row in rows(path)] == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_batch_end", "on_step_end"),
        ("on_train_batch_begin", "on_step_begin"),
        ("on_train_epoch_start", "on_epoch_begin"),
        ("on_fit_end", "on_train_end"),
        ("on_epch_end", "on_epoch_end"),
        ("on_training_start", "on_train_begin"),
    ],
)
def test_a_method_that_is_never_called_is_refused_before_training(name, meant):
    callback = type("Mine", (gcn.Callback,), {name: lambda self, *_: None})()
    with pytest.raises(
        OptionError, match=rf"Mine.{name} is never called(.*\n)+  Mend: did you mean '{meant}'"
    ):
        train(classifier(), 1, callback)


def test_a_hook_of_the_users_own_invention_is_refused_with_the_list_of_hooks():
    class Mine(gcn.Callback):
        def on_lunch(self):
            pass

    with pytest.raises(
        OptionError, match="hooks: on_train_begin, on_epoch_begin, on_step_begin, on_step_end"
    ):
        train(classifier(), 1, Mine())


def test_a_hook_that_cannot_take_what_it_is_handed_is_refused_before_training():
    class Mine(gcn.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pass

    model = classifier()
    with pytest.raises(
        OptionError, match=r"fit hands over model, epoch, logs\n.*\n  Mend: def on_epoch_end\(self, model"
    ):
        train(model, 1, Mine())
    assert model.epochs_done == 0
