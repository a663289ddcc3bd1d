"""Training: optimisers, schedules, repeatability, callbacks, history, and what a model gives back."""

import csv
import math

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.errors import DataError, GraphcnnError, OptionError

RANDOM = np.random.default_rng(5)
IMAGES = RANDOM.random((20, 6, 6, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20)
TESTS, TEST_LABELS = RANDOM.random((7, 6, 6, 1)).astype(np.float32), RANDOM.integers(0, 3, 7)


def classifier(*extra, optimizer=None, seed=0, **options):
    network = gcn.Sequential(gcn.Conv2d(4, 3), gcn.ReLU(), *extra, gcn.Flatten(), gcn.Dense(3))
    options = {"loss": gcn.CrossEntropy(), "input_shape": (6, 6, 1), **options}
    return gcn.compile(network, optimizer=optimizer or gcn.SGD(0.1, momentum=0.9), seed=seed, **options)


def assert_same_bits(model, other):
    for name, value in model.state().items():
        assert value.tobytes() == other.state()[name].tobytes(), name


# Optimisers against plain NumPy. The model is y = x·w with squared error, whose gradient is Σ (x·w - t) x.

X = RANDOM.normal(size=(8, 3))
T = RANDOM.normal(size=(8, 2))


def gradient(w):
    return X.T @ (X @ w - T)


def sgd(w, steps, rate=0.02, momentum=0.0, nesterov=False, weight_decay=0.0):
    velocity = np.zeros_like(w)
    for _ in range(steps):
        g = gradient(w) + weight_decay * w
        velocity = momentum * velocity + g
        w = w - rate * (g + momentum * velocity if nesterov else velocity)
    return w


def adam(w, steps, rate=0.02, beta1=0.9, beta2=0.999, epsilon=1e-8, l2=0.0, decoupled=0.0):
    mean, square = np.zeros_like(w), np.zeros_like(w)
    for step in range(1, steps + 1):
        g = gradient(w) + l2 * w
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * g**2
        unbiased = mean / (1 - beta1**step), square / (1 - beta2**step)
        w = w - rate * decoupled * w - rate * unbiased[0] / (np.sqrt(unbiased[1]) + epsilon)
    return w


OPTIMIZERS = {
    "SGD": (gcn.SGD(0.02), lambda w, n: sgd(w, n)),
    "momentum": (gcn.SGD(0.02, momentum=0.9), lambda w, n: sgd(w, n, momentum=0.9)),
    "Nesterov": (
        gcn.SGD(0.02, momentum=0.9, nesterov=True),
        lambda w, n: sgd(w, n, momentum=0.9, nesterov=True),
    ),
    "weight decay": (
        gcn.SGD(0.02, momentum=0.5, weight_decay=0.3),
        lambda w, n: sgd(w, n, momentum=0.5, weight_decay=0.3),
    ),
    "Adam": (gcn.Adam(0.02), lambda w, n: adam(w, n)),
    "Adam, other betas": (
        gcn.Adam(0.02, beta1=0.5, beta2=0.9, epsilon=1e-3),
        lambda w, n: adam(w, n, beta1=0.5, beta2=0.9, epsilon=1e-3),
    ),
    "Adam, L2": (gcn.Adam(0.02, weight_decay=0.1), lambda w, n: adam(w, n, l2=0.1)),
    "AdamW": (gcn.AdamW(0.02), lambda w, n: adam(w, n, decoupled=0.01)),
    "AdamW, more decay": (gcn.AdamW(0.02, weight_decay=0.5), lambda w, n: adam(w, n, decoupled=0.5)),
}


@pytest.mark.parametrize(("optimizer", "reference"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_follow_their_definition(optimizer, reference):
    model = gcn.compile(
        gcn.Dense(2, bias=False),
        input_shape=(3,),
        loss=gcn.SquaredError(),
        optimizer=optimizer,
        dtype="float64",
    )
    start = model.parameters["dense1.weights"]
    for step in range(1, 8):
        model.train_step(X, T)
        np.testing.assert_allclose(
            model.parameters["dense1.weights"], reference(start, step), rtol=0, atol=1e-12
        )


# Learning rates


class CountingBackend:
    """The NumPy backend, counting what it compiles."""

    name = "counting"

    def __init__(self):
        self.inner = load_backend("numpy")
        self.ops = self.inner.ops
        self.compiled = []

    def compile(self, graph):
        self.compiled.append(graph.name)
        return self.inner.compile(graph)


def test_a_schedule_changes_the_rate_without_compiling_again():
    model = classifier()
    model.backend = CountingBackend()
    schedule = gcn.step_decay(0.4, every=2, factor=0.5)
    history = model.fit(IMAGES, LABELS, epochs=5, callbacks=[schedule], progress=False)
    assert history["learning_rate"] == [0.4, 0.4, 0.2, 0.2, 0.1]
    assert len(model.backend.compiled) == 1


def test_a_rate_of_0_trains_nothing_and_a_new_rate_takes_effect_at_once():
    model = classifier(optimizer=gcn.SGD(0.1))
    before = model.parameters["dense1.weights"]
    model.learning_rate = 0.0
    model.train_step(IMAGES, LABELS)
    np.testing.assert_array_equal(model.parameters["dense1.weights"], before)
    model.learning_rate = 0.1
    model.train_step(IMAGES, LABELS)
    assert not np.array_equal(model.parameters["dense1.weights"], before)


def test_cosine_decay_falls_along_half_a_cosine():
    model = classifier()
    history = model.fit(
        IMAGES, LABELS, epochs=6, callbacks=[gcn.cosine_decay(0.2, epochs=5, end=0.1)], progress=False
    )
    expected = [0.1 + 0.05 * (1 + math.cos(math.pi * part)) for part in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    assert history["learning_rate"] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, "fast", None, True])
def test_a_rate_that_is_no_rate_is_refused(rate):
    model = classifier()
    with pytest.raises(OptionError, match="is not a finite number of at least 0"):
        model.learning_rate = rate
    assert model.learning_rate == 0.1


# The same seed gives the same bits


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    one, same, other = (classifier(gcn.Dropout(0.3), gcn.BatchNorm2d(), seed=seed) for seed in (1, 1, 2))
    for model in (one, same, other):
        model.fit(IMAGES, LABELS, epochs=2, batch_size=6, progress=False)
    assert_same_bits(one, same)
    assert not np.array_equal(one.parameters["dense1.weights"], other.parameters["dense1.weights"])


def test_several_models_do_not_disturb_each_other():
    alone = classifier(gcn.Dropout(0.3))
    alone.fit(IMAGES, LABELS, epochs=2, progress=False)
    one, other = classifier(gcn.Dropout(0.3)), classifier(gcn.Dropout(0.3), seed=1)
    for _ in range(2):
        one.fit(IMAGES, LABELS, progress=False)
        other.fit(IMAGES, LABELS, progress=False)
        np.random.random(3)
    assert_same_bits(one, alone)


def test_one_network_makes_several_models():
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    options = {"input_shape": (6, 6, 1), "loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1)}
    one, other = gcn.compile(network, **options), gcn.compile(network, **options)
    one.fit(IMAGES, LABELS, progress=False)
    assert not np.array_equal(one.parameters["dense1.weights"], other.parameters["dense1.weights"])


def test_shuffling_changes_the_order_each_epoch():
    seen = []

    class Watch(gcn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            seen.append(logs["loss"])

    model = classifier(optimizer=gcn.SGD(1e-30))
    rows = model.fit(IMAGES, LABELS, epochs=3, batch_size=1, callbacks=[Watch()], progress=False)
    assert rows["loss"] == seen
    assert rows["loss"] == pytest.approx([seen[0]] * 3, rel=1e-6)  # every epoch sees every sample once

    def after(shuffle):
        model = classifier()
        model.fit(IMAGES, LABELS, epochs=1, batch_size=4, shuffle=shuffle, progress=False)
        return model

    assert not np.array_equal(
        after(True).parameters["dense1.weights"], after(False).parameters["dense1.weights"]
    )


# Batches


def test_an_iterable_of_batches_equals_arrays_in_order():
    arrays, batches = classifier(), classifier()
    pieces = [(IMAGES[i : i + 8], LABELS[i : i + 8]) for i in (0, 8, 16)]  # the last one is ragged
    of_arrays = arrays.fit(IMAGES, LABELS, epochs=2, batch_size=8, shuffle=False, progress=False)
    of_batches = batches.fit(pieces, epochs=2, progress=False)
    assert_same_bits(arrays, batches)
    assert of_arrays["loss"] == of_batches["loss"]


def test_steps_one_by_one_equal_fit():
    whole, steps = classifier(), classifier()
    whole.fit(IMAGES, LABELS, batch_size=8, shuffle=False, progress=False)
    for i in (0, 8, 16):
        steps.train_step(IMAGES[i : i + 8], LABELS[i : i + 8])
    assert_same_bits(whole, steps)


@pytest.mark.parametrize("loss", [gcn.CrossEntropy(), gcn.CrossEntropy("sum")], ids=["mean", "sum"])
def test_evaluating_ragged_batches_equals_one_whole_batch(loss):
    model = classifier(loss=loss, dtype="float64")
    whole = model.evaluate(IMAGES, LABELS, batch_size=20)
    for size in (1, 6, 19, 100):
        assert model.evaluate(IMAGES, LABELS, batch_size=size) == pytest.approx(whole, rel=1e-12)
    pieces = [(IMAGES[:3], LABELS[:3]), (IMAGES[3:], LABELS[3:])]
    assert model.evaluate(pieces) == pytest.approx(whole, rel=1e-12)


def test_evaluate_says_what_predict_implies():
    model = classifier(dtype="float64")
    logits = model.predict(IMAGES)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(20), LABELS]
    expected = {"loss": losses.mean(), "accuracy": np.mean(logits.argmax(axis=1) == LABELS)}
    assert model.evaluate(IMAGES, LABELS) == pytest.approx(expected, rel=1e-12)


def test_squared_error_sums_or_averages_over_samples():
    outputs = X @ np.ones((3, 2))
    squares = ((T - outputs) ** 2).sum(axis=1) / 2
    for reduction, expected in (("sum", squares.sum()), ("mean", squares.mean())):
        network = gcn.Dense(2, initializer=gcn.Constant(1.0))
        model = gcn.compile(network, input_shape=(3,), loss=gcn.SquaredError(reduction), dtype="float64")
        for size in (3, 8):
            assert model.evaluate(X, T, batch_size=size) == {"loss": pytest.approx(expected, rel=1e-12)}


def test_a_sum_type_loss_is_a_sum_in_history_too():
    model = classifier(loss=gcn.CrossEntropy("sum"), optimizer=gcn.SGD(1e-30), dtype="float64")
    total = model.evaluate(IMAGES, LABELS)["loss"]
    assert model.fit(IMAGES, LABELS, batch_size=8, progress=False)["loss"] == [pytest.approx(total)]


@pytest.mark.parametrize("samples", [1, 5, 20])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_predict_gives_a_row_per_sample(samples, batch_size):
    model = classifier()
    rows = model.predict(IMAGES[:samples], batch_size=batch_size)
    assert rows.shape == (samples, 3)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, model.predict(IMAGES)[:samples], rtol=1e-5, atol=1e-6)


def test_a_train_step_returns_loss_and_accuracy_as_they_were_before_it():
    model = classifier()
    before = model.evaluate(IMAGES, LABELS)
    result = model.train_step(IMAGES, LABELS)
    assert list(result) == ["loss", "accuracy"]
    assert all(type(value) is float for value in result.values())
    assert result == pytest.approx(before, rel=1e-5)
    assert model.train_step(IMAGES, LABELS)["loss"] < before["loss"]


def test_the_users_arrays_stay_as_they_were():
    images, labels = IMAGES.copy(), LABELS.copy()
    images.flags.writeable = labels.flags.writeable = False
    model = classifier(gcn.Dropout(0.5))
    model.fit(images, labels, validation_data=(images, labels), progress=False)
    model.evaluate(images, labels)
    model.predict(images)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_labels_of_any_integer_type_train_alike(dtype):
    expected, found = classifier(), classifier()
    expected.fit(IMAGES, LABELS, progress=False)
    found.fit(IMAGES, LABELS.astype(dtype), progress=False)
    assert_same_bits(expected, found)


def test_float64_models_are_float64_throughout():
    model = classifier(gcn.BatchNorm2d(), dtype="float64", optimizer=gcn.Adam())
    model.fit(IMAGES, LABELS, progress=False)
    assert {value.dtype.name for value in model.state().values()} == {"float64"}
    assert model.predict(IMAGES).dtype == np.float64


def test_training_learns():
    model = classifier(optimizer=gcn.Adam(0.02))
    labels = (IMAGES.mean(axis=(1, 2, 3)) > np.median(IMAGES.mean(axis=(1, 2, 3)))).astype(int)
    model.fit(IMAGES, labels, epochs=60, progress=False)
    assert model.evaluate(IMAGES, labels)["accuracy"] == 1.0


# Parameters


def test_parameters_are_read_only_copies():
    model = classifier()
    weights = model.parameters["dense1.weights"]
    with pytest.raises(ValueError, match="read-only"):
        weights[0, 0] = 1
    before = weights.copy()
    model.train_step(IMAGES, LABELS)
    np.testing.assert_array_equal(weights, before)
    assert list(model.parameters) == ["conv1.filters", "conv1.bias", "dense1.weights", "dense1.bias"]
    assert len(model.parameters) == 4
    assert "dense1.weights: float32[64, 3]" in repr(model.parameters)
    assert "235 parameters" in repr(model.parameters)


def test_assigned_parameters_are_what_predict_uses():
    model = classifier()
    for name, value in model.parameters.items():
        model.parameters[name] = np.zeros(value.shape)
    model.parameters["dense1.bias"] = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(model.predict(IMAGES[:2]), [[1, 2, 3]] * 2)


def test_assigning_does_not_keep_hold_of_the_users_array():
    model = classifier()
    mine = np.ones(3, np.float32)
    model.parameters["dense1.bias"] = mine
    model.train_step(IMAGES, LABELS)
    assert mine.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("dense1.bias", np.zeros(4), r"'dense1.bias' has the shape \[4\], but \[3\] is needed"),
        ("dense1.bias", np.zeros(3, complex), "'dense1.bias' holds complex128, but float32 is needed"),
        (
            "dense2.bias",
            np.zeros(3),
            r"no parameter 'dense2.bias'\n.*\n  parameters: conv1.filters, .*dense1.bias",
        ),
    ],
)
def test_assigning_what_does_not_fit_is_refused(name, value, problem):
    model = classifier()
    before = model.state()
    with pytest.raises(GraphcnnError, match=problem):
        model.parameters[name] = value
    np.testing.assert_array_equal(model.parameters["dense1.bias"], before["dense1.bias"])


def test_parameters_cannot_be_deleted():
    with pytest.raises(OptionError, match="cannot be deleted"):
        del classifier().parameters["dense1.bias"]


def test_a_state_that_does_not_fit_is_refused_whole():
    model = classifier()
    before = model.state()
    wrong = {**{name: value + 1 for name, value in before.items()}, "dense1.bias": np.zeros(5, np.float32)}
    with pytest.raises(DataError, match=r"'dense1.bias' is float32\[5\], but float32\[3\] is needed"):
        model.set_state(wrong)
    np.testing.assert_array_equal(model.parameters["conv1.filters"], before["conv1.filters"])


def test_a_state_that_lacks_something_is_refused():
    with pytest.raises(DataError, match=r"the state lacks conv1.filters, .*velocity"):
        classifier().set_state({})


# Callbacks and history


class Script(gcn.Callback):
    """Sets the bias after each epoch so that the validation loss takes a known course."""

    def __init__(self, course):
        self.course = course
        self.ended = 0

    def on_train_begin(self, model):
        self.done = model.epochs_done

    def on_epoch_end(self, model, epoch, logs):
        logs["val_loss"] = self.course[epoch - self.done - 1]
        model.parameters["dense1.bias"] = np.full(3, float(epoch))

    def on_train_end(self, model):
        self.ended += 1


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_ends_and_restores_the_best_epoch(restore):
    model = classifier()
    script = Script([5, 3, 4, 4, 1])
    stop = gcn.EarlyStopping(patience=2, restore_best=restore)
    history = model.fit(IMAGES, LABELS, epochs=5, callbacks=[script, stop], progress=False)
    assert len(history) == 4
    assert stop.best_epoch == 2
    assert model.parameters["dense1.bias"].tolist() == [2.0 if restore else 4.0] * 3
    assert script.ended == 1


def test_early_stopping_begins_anew_with_each_fit():
    model, stop = classifier(), gcn.EarlyStopping(patience=1)
    for course, epochs in (([1, 2], 2), ([9, 8, 8], 3)):
        history = model.fit(IMAGES, LABELS, epochs=5, callbacks=[Script(course), stop], progress=False)
        assert len(history) == epochs


def test_early_stopping_of_accuracy_looks_for_the_greatest():
    model = classifier()
    stop = gcn.EarlyStopping("accuracy", patience=50)
    history = model.fit(IMAGES, LABELS, epochs=10, callbacks=[stop], progress=False)
    assert history["accuracy"][stop.best_epoch - 1] == max(history["accuracy"])


@pytest.mark.parametrize(
    ("monitor", "mend"),
    [
        ("val_loss", "pass validation_data"),
        ("acuracy", "did you mean 'accuracy'"),
        ("val_acuracy", "did you mean 'val_accuracy'"),
        ("happiness", "watch another number"),
    ],
)
def test_early_stopping_of_what_is_not_recorded_is_refused_before_training(monitor, mend):
    model = classifier()
    with pytest.raises(OptionError, match=r"which is not recorded\n.*\n  recorded: loss, accuracy") as caught:
        model.fit(IMAGES, LABELS, callbacks=[gcn.EarlyStopping(monitor)], progress=False)
    assert mend in str(caught.value)
    assert model.epochs_done == 0


def test_a_callback_of_ones_own_may_add_what_is_watched():
    class Ink(gcn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            logs["ink"] = -epoch

    stop = gcn.EarlyStopping("ink", patience=3)
    model = classifier()
    model.fit(IMAGES, LABELS, epochs=3, callbacks=[Ink(), stop], progress=False)
    assert (model.epochs_done, stop.best_epoch) == (3, 3)


@pytest.mark.parametrize("options", [{"mode": "low"}, {"patience": -1}, {"patience": 1.5}])
def test_early_stopping_with_a_wrong_option(options):
    with pytest.raises(OptionError, match=r"is (neither|not)(.*\n)+  Mend: "):
        gcn.EarlyStopping(**options)


def test_a_csv_log_grows_with_each_epoch(tmp_path):
    path = tmp_path / "logs" / "run.csv"
    lengths = []

    class Watch(gcn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            lengths.append(len(path.read_text().splitlines()))

    history = classifier().fit(
        IMAGES, LABELS, epochs=3, callbacks=[gcn.CSVLog(path), Watch()], progress=False
    )
    assert lengths == [2, 3, 4]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == history["loss"]


@pytest.mark.parametrize(
    ("callbacks", "problem"),
    [
        (gcn.EarlyStopping(), "callbacks is EarlyStopping, not a sequence"),
        ([gcn.EarlyStopping], "the class EarlyStopping is not a callback"),
    ],
)
def test_callbacks_that_are_none(callbacks, problem):
    with pytest.raises(OptionError, match=problem):
        classifier().fit(IMAGES, LABELS, callbacks=callbacks, progress=False)


def test_callbacks_are_called_in_order_and_ended_after_an_error():
    calls = []

    class Watch(gcn.Callback):
        def on_train_begin(self, model):
            calls.append("begin")

        def on_epoch_begin(self, model, epoch):
            calls.append(f"epoch {epoch}")

        def on_epoch_end(self, model, epoch, logs):
            calls.append(f"end {epoch}")
            if epoch == 2:
                raise RuntimeError("the callback's own")

        def on_train_end(self, model):
            calls.append("end")

    with pytest.raises(RuntimeError, match="the callback's own"):
        classifier().fit(IMAGES, LABELS, epochs=3, callbacks=[Watch()], progress=False)
    assert calls == ["begin", "epoch 1", "end 1", "epoch 2", "end 2", "end"]


def test_an_error_of_a_callback_at_the_beginning_is_not_covered_up():
    class Broken(gcn.Callback):
        def on_train_begin(self, model):
            raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        classifier().fit(IMAGES, LABELS, callbacks=[Broken(), gcn.EarlyStopping()], progress=False)


def test_an_interruption_leaves_a_usable_model():
    class Interrupt(gcn.Callback):
        ended = False

        def on_epoch_end(self, model, epoch, logs):
            raise KeyboardInterrupt

        def on_train_end(self, model):
            self.ended = True

    model, callback = classifier(), Interrupt()
    with pytest.raises(KeyboardInterrupt):
        model.fit(IMAGES, LABELS, epochs=9, callbacks=[callback], progress=False)
    assert callback.ended
    assert len(model.history) == 1
    assert np.isfinite(model.predict(IMAGES)).all()
    whole = classifier()
    whole.fit(IMAGES, LABELS, epochs=2, progress=False)
    model.fit(IMAGES, LABELS, progress=False)
    assert_same_bits(model, whole)


def test_an_interruption_between_two_batches_leaves_a_usable_model():
    def batches():
        yield IMAGES[:8], LABELS[:8]
        raise KeyboardInterrupt

    model, one_step = classifier(), classifier()
    with pytest.raises(KeyboardInterrupt):
        model.fit(batches(), progress=False)
    one_step.train_step(IMAGES[:8], LABELS[:8])
    assert_same_bits(model, one_step)


def test_history_holds_a_number_per_epoch():
    history = classifier().fit(IMAGES, LABELS, epochs=3, validation_data=(TESTS, TEST_LABELS), progress=False)
    names = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "images_per_second"]
    assert history.names == names
    assert all(len(history[name]) == len(history) == 3 for name in names)
    assert [row["loss"] for row in history] == history["loss"]
    with pytest.raises(KeyError, match=r"'f1' was not recorded\n.*\n  recorded: loss, acc"):
        history["f1"]
    lines = repr(history).splitlines()
    assert lines[0].split() == ["epoch", *names]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3"]
    assert lines[1].split()[1] == f"{history['loss'][0]:.4g}"


def test_validation_numbers_are_those_of_evaluate():
    model = classifier(gcn.Dropout(0.5))
    history = model.fit(IMAGES, LABELS, validation_data=(TESTS, TEST_LABELS), progress=False)
    final = model.evaluate(TESTS, TEST_LABELS)
    assert history["val_loss"] == pytest.approx([final["loss"]])
    assert history["val_accuracy"] == pytest.approx([final["accuracy"]])
    batches = [(TESTS[:3], TEST_LABELS[:3]), (TESTS[3:], TEST_LABELS[3:])]
    for validation in (batches, [TESTS, TEST_LABELS], [(TESTS, TEST_LABELS)]):
        again = classifier(gcn.Dropout(0.5)).fit(IMAGES, LABELS, validation_data=validation, progress=False)
        assert again["val_loss"] == pytest.approx([final["loss"]])


def test_a_models_history_spans_all_runs(tmp_path):
    model = classifier()
    model.fit(IMAGES, LABELS, progress=False)
    model.fit(IMAGES, LABELS, epochs=2, validation_data=(TESTS, TEST_LABELS), progress=False)
    history = model.history
    assert len(history["loss"]) == 3
    assert np.isnan(history["val_loss"]).tolist() == [True, False, False]
    assert len(repr(history).splitlines()) == 4
    history.to_csv(tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["val_loss"] == "" for row in rows] == [True, False, False]
    assert float(rows[2]["loss"]) == history["loss"][2]


def test_history_plots_losses_and_metrics_without_a_display(tmp_path):
    history = classifier().fit(IMAGES, LABELS, epochs=2, validation_data=(TESTS, TEST_LABELS), progress=False)
    figure = history.plot()
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    training, validation = figure.axes[0].lines
    np.testing.assert_array_equal(training.get_ydata(), history["loss"])
    np.testing.assert_array_equal(validation.get_ydata(), history["val_loss"])
    figure.savefig(tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 1000


def test_a_loss_that_begins_high_is_drawn_by_its_logarithm():
    high = [{"loss": loss, "accuracy": 0.5, "val_loss": 8000 * loss} for loss in (2.0, 1.0, 0.5)]
    losses, accuracies = gcn.History(high).plot().axes
    assert (losses.get_yscale(), accuracies.get_yscale()) == ("log", "linear")
    below_zero = [{"loss": loss} for loss in (200.0, 1.0, -0.5)]
    assert gcn.History(below_zero).plot().axes[0].get_yscale() == "linear"


def test_an_empty_history():
    assert repr(gcn.History()) == "History(no epochs)"
    with pytest.raises(OptionError, match="nothing to plot"):
        gcn.History().plot()


def test_progress_prints_a_line_per_epoch_where_there_is_no_terminal(capsys):
    classifier().fit(IMAGES, LABELS, epochs=2, validation_data=(TESTS, TEST_LABELS))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    for name in ("loss ", "accuracy ", "val_loss ", "val_accuracy ", " images/s"):
        assert name in lines[0]


def test_no_progress_prints_nothing(capsys):
    classifier().fit(IMAGES, LABELS, epochs=2, progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_diverges_ends_training_with_an_explanation():
    from graphcnn.errors import TrainingError

    model = gcn.compile(gcn.Dense(2), input_shape=(3,), loss=gcn.SquaredError(), optimizer=gcn.SGD(1e30))
    with pytest.raises(TrainingError, match=r"the loss became (inf|nan) in step 2 of epoch 1") as caught:
        model.fit(X, T, batch_size=4, progress=False)
    assert "learning rate 1e+30" in str(caught.value)
    assert "Mend: compile with a lower learning rate" in str(caught.value)


def test_a_metric_and_a_loss_of_the_users_own():
    from graphcnn import ops

    class Average:
        name = "average"

        def append(self, emit, output, target):
            return emit(ops.Mean((0,)), emit(ops.Mean((1,)), output))

    class Absolute:
        reduction = "mean"

        def target_type(self, output):
            return output

        def per_sample(self, emit, output, target):
            difference = emit(ops.Subtract(), output, target)
            squares = emit(ops.Multiply(), difference, difference)
            return emit(ops.Sum((1,)), emit(ops.Sqrt(), squares))

    model = gcn.compile(
        gcn.Dense(2),
        input_shape=(3,),
        loss=Absolute(),
        optimizer=gcn.SGD(0.1),
        metrics=[Average()],
        dtype="float64",
    )
    outputs = model.predict(X)
    result = model.train_step(X, T)
    assert result["loss"] == pytest.approx(np.abs(outputs - T).sum(axis=1).mean())
    assert result["average"] == pytest.approx(outputs.mean())


def test_a_model_tells_what_it_is():
    text = repr(classifier())
    for part in ("image: float32[N, 6, 6, 1] -> float32[N, 3]", "235 parameters", "backend native"):
        assert part in text
