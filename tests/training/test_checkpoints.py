"""Checkpoints: whatever ends training, it goes on to the bits of a run that never stopped."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import DataError, FileError, OptionError
from graphcnn.interchange.weights import read_weights, write_weights
from graphcnn.training import saving
from graphcnn.training.callbacks import StopTraining
from graphcnn_native.backend import NativeBackend
from tests.interrupts import interrupted_at, lines_of

pytestmark = pytest.mark.usefixtures("signals_of_a_terminal")

RANDOM = np.random.default_rng(9)
IMAGES = RANDOM.random((20, 6, 6, 2)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20)
TESTS = RANDOM.random((7, 6, 6, 2)).astype(np.float32)
TEST_LABELS = RANDOM.integers(0, 3, 7)
STEPS = 4
"""Of an epoch: three batches of six and one of two."""


def rich_model(backend="numpy", threads=None):
    """Return a model with state of every kind."""
    network = gcn.Sequential(
        gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Dropout(0.25), gcn.Flatten(), gcn.Dense(3)
    )
    return gcn.compile(
        network,
        input_shape=(6, 6, 2),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.Adam(0.01),
        accumulate=2,
        average=0.9,
        lookahead=(3, 0.5),
        seed=3,
        backend=backend,
        **({} if threads is None else {"threads": threads}),
    )


def plain_model():
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    optimizer = gcn.SGD(0.1, momentum=0.9)
    return gcn.compile(
        network, input_shape=(6, 6, 2), loss=gcn.CrossEntropy(), optimizer=optimizer, backend="numpy"
    )


class Memory(gcn.Callback):
    """Sets the learning rate by all losses that there have been, so that it must know the past."""

    def __init__(self):
        self.losses, self.sums, self.state_of_mind = [], np.zeros(3), "calm"

    def state(self):
        return {"losses": self.losses, "sums": self.sums.copy(), "by name": {"a": self.sums.copy()}}

    def set_state(self, state):
        self.losses, self.sums = state["losses"], state["sums"]
        assert np.array_equal(self.sums, state["by name"]["a"])

    def on_epoch_begin(self, model, epoch):
        model.learning_rate *= 0.9

    def on_step_end(self, model, epoch, step, logs):
        self.losses.append(logs["loss"])
        self.sums += logs["loss"]
        model.learning_rate = 0.01 / (1 + np.mean(self.losses))


def callbacks():
    return [Memory(), gcn.EarlyStopping("val_loss", patience=9), gcn.step_decay(0.02, 1, 0.7)]


def fit(model, *others, given=None, **options):
    options = {"validation_data": (TESTS, TEST_LABELS), "progress": False, **options}
    given = callbacks() if given is None else given
    return model.fit(IMAGES, LABELS, callbacks=[*given, *others], **options)


def whole(model=None, epochs=3, **options):
    model = model or rich_model()
    history = fit(model, epochs=epochs, batch_size=6, **options)
    return model, history


def assert_same(model, history, other, other_history):
    assert model.state().keys() == other.state().keys()
    for name, value in model.state().items():
        assert value.tobytes() == other.state()[name].tobytes(), name
    numbers = [name for name in history.names if name not in ("seconds", "images_per_second")]
    assert numbers
    for name in numbers:
        assert history[name] == other_history[name], name
        assert model.history[name] == other.history[name], name
    assert (model.epochs_done, model.steps_done) == (other.epochs_done, other.steps_done)


class At(gcn.Callback):
    """Does something at one moment: hook, epoch, step."""

    def __init__(self, act, hook, epoch, step=0):
        self.act, self.moment = act, (hook, epoch, step)

    def _look(self, *moment):
        if moment == self.moment:
            self.act()

    def on_epoch_begin(self, model, epoch):
        self._look("epoch begin", epoch, 0)

    def on_step_begin(self, model, epoch, step, batch):
        self._look("step begin", epoch, step)

    def on_step_end(self, model, epoch, step, logs):
        self._look("step end", epoch, step)

    def on_epoch_end(self, model, epoch, logs):
        self._look("epoch end", epoch, 0)


class Wait(gcn.Callback):
    """Waits for what is being written, so that every checkpoint that is due comes to be."""

    def on_step_begin(self, model, epoch, step, batch):
        for thread in threading.enumerate():
            if thread.name == "graphcnn checkpoint":
                thread.join()


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def fail():
    raise RuntimeError("the disk of the log is full")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture(scope="module")
def uninterrupted():
    return whole()


MOMENTS = [
    *[("epoch begin", epoch, 0) for epoch in (1, 2)],
    *[("step begin", epoch, step) for epoch in (1, 2) for step in range(1, STEPS + 1)],
    *[("step end", 2, step) for step in range(1, STEPS + 1)],
    *[("epoch end", epoch, 0) for epoch in (1, 2, 3)],
]


# Going on


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_after_ctrl_c_at_any_moment_the_bits_are_those_of_one_run(folder, uninterrupted, moment, capfd):
    checkpoint = gcn.Checkpoint(folder, every="1h")
    with pytest.raises(KeyboardInterrupt):
        whole(given=[*callbacks(), At(ctrl_c, *moment)], checkpoint=checkpoint)
    said = capfd.readouterr().err
    assert "Training ended by Ctrl-C" in said
    assert f"model = gcn.resume('{folder}')" in said
    model = gcn.resume(folder)
    assert_same(model, fit(model), *uninterrupted)


@pytest.mark.parametrize("moment", [each for each in MOMENTS if each[0] != "step end"], ids=str)
def test_after_an_error_at_any_moment_the_bits_are_those_of_one_run(folder, uninterrupted, moment):
    with pytest.raises(RuntimeError, match="the disk of the log is full") as caught:
        whole(given=[At(fail, *moment), *callbacks()], checkpoint=gcn.Checkpoint(folder))
    assert f"gcn.resume('{folder}')" in "\n".join(caught.value.__notes__)
    model = gcn.resume(folder)
    assert_same(model, fit(model), *uninterrupted)


@pytest.mark.parametrize("every", [1, 3, 5])
def test_saving_changes_no_bit_and_every_checkpoint_leads_to_the_same_end(folder, uninterrupted, every):
    model, history = whole(checkpoint=gcn.Checkpoint(folder, every=every, keep=99))
    assert_same(model, history, *uninterrupted)
    checkpoints = list(gcn.Checkpoint(folder).files().values())
    assert len(checkpoints) >= 3
    for latest in checkpoints:
        resumed = gcn.resume(folder)
        assert_same(
            resumed, fit(resumed, checkpoint=gcn.Checkpoint(f"{folder} {latest.stem}")), *uninterrupted
        )
        latest.unlink()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_another_number_of_threads_goes_on_with_the_same_bits(folder, threads):
    model, history = whole(rich_model("native", 2))
    with pytest.raises(KeyboardInterrupt):
        whole(
            rich_model("native", 2),
            given=[*callbacks(), At(ctrl_c, "step begin", 2, 2)],
            checkpoint=gcn.Checkpoint(folder),
        )
    resumed = gcn.resume(folder, threads=threads)
    assert resumed.backend.name == "native"
    assert_same(resumed, fit(resumed), model, history)


@pytest.mark.parametrize("moment", [("step begin", 2, 2), ("step end", 2, 4), ("epoch end", 1, 0)], ids=str)
def test_all_arguments_of_fit_are_those_of_before(folder, moment):
    def given():
        by_step = gcn.cosine_decay(0.02, 4, by="step")
        return [gcn.BestWeights(), gcn.EarlyStopping(patience=7), by_step, gcn.GradientLog(every=2)]

    options = {
        "epochs": 4,
        "batch_size": 4,
        "validation_split": 0.3,
        "validate_every": 2,
        "steps_per_epoch": 5,
        "class_weight": "balanced",
    }
    model, expected = rich_model(), given()
    history = model.fit(IMAGES, LABELS, callbacks=expected, progress=False, **options)
    with pytest.raises(KeyboardInterrupt):
        stop = [*given(), At(ctrl_c, *moment)]
        checkpoint = gcn.Checkpoint(folder)
        rich_model().fit(IMAGES, LABELS, callbacks=stop, checkpoint=checkpoint, progress=False, **options)
    resumed, found = gcn.resume(folder), given()
    rest = resumed.fit(IMAGES, LABELS, class_weight="balanced", callbacks=found, progress=False)
    assert_same(resumed, rest, model, history)
    assert found[0].best_epoch == expected[0].best_epoch
    assert found[-1].steps == expected[-1].steps
    assert np.array_equal(found[-1].histograms("conv1"), expected[-1].histograms("conv1"))


def test_a_rate_that_was_lowered_on_a_plateau_stays_so(folder):
    def given():
        return [gcn.ReduceOnPlateau("val_loss", patience=0, min_delta=10.0)]

    model, history = whole(given=given(), epochs=4)
    with pytest.raises(KeyboardInterrupt):
        whole(given=[*given(), At(ctrl_c, "step end", 3, 1)], epochs=4, checkpoint=gcn.Checkpoint(folder))
    resumed = gcn.resume(folder)
    assert_same(resumed, fit(resumed, given=given()), model, history)
    assert history["learning_rate"][-1] < history["learning_rate"][0]


def test_training_that_has_come_to_its_end_is_not_trained_again_and_can_be_trained_on(folder, uninterrupted):
    model, history = whole(epochs=2, checkpoint=gcn.Checkpoint(folder))
    resumed = gcn.resume(folder)
    assert_same(resumed, fit(resumed), model, history)
    resumed = gcn.resume(folder)
    assert_same(resumed, fit(resumed, epochs=3), *uninterrupted)


def test_training_that_a_callback_has_ended_stays_so(folder):
    def stop():
        raise StopTraining

    given = [*callbacks(), At(stop, "epoch end", 2)]
    model, history = whole(epochs=5, given=given, checkpoint=gcn.Checkpoint(folder))
    resumed = gcn.resume(folder)
    assert_same(resumed, fit(resumed), model, history)
    assert resumed.epochs_done == 2


def test_later_calls_of_fit_go_on_too(folder):
    def two_calls(model, **options):
        fit(model, epochs=2, batch_size=5)
        return model, fit(model, epochs=2, batch_size=6, **options)

    model, history = two_calls(rich_model())
    other = rich_model()
    with pytest.raises(KeyboardInterrupt):
        two_calls(
            other, given=[*callbacks(), At(ctrl_c, "step end", 4, 1)], checkpoint=gcn.Checkpoint(folder)
        )
    resumed = gcn.resume(folder)
    assert_same(resumed, fit(resumed, epochs=2, batch_size=6), model, history)
    assert len(fit(resumed, epochs=1)) == 1  # and it is a model as any other then


def test_batches_of_an_iterable_go_on_where_they_were(folder):
    batches = [(IMAGES[start : start + 6], LABELS[start : start + 6]) for start in range(0, 20, 6)]
    model = plain_model()
    model.fit(batches, epochs=2, progress=False)
    other = plain_model()
    with pytest.raises(KeyboardInterrupt):
        stop = At(ctrl_c, "step end", 2, 3)
        other.fit(batches, epochs=2, callbacks=[stop], checkpoint=gcn.Checkpoint(folder), progress=False)
    again = shutil.copytree(folder, f"{folder} again")
    resumed = gcn.resume(folder)
    resumed.fit(batches, progress=False)
    assert all(np.array_equal(value, resumed.state()[name]) for name, value in model.state().items())
    with pytest.warns(gcn.GraphcnnWarning, match="batch 3 of epoch 2 is another one"):
        gcn.resume(again).fit(batches[::-1], progress=False)


def test_an_interrupt_does_not_wait_for_an_evaluation(folder):
    steps = []

    def tests(interrupts):
        yield TESTS, TEST_LABELS
        if interrupts and len(steps) == STEPS:
            ctrl_c()
            while True:
                yield TESTS, TEST_LABELS
        yield TESTS, TEST_LABELS

    class Tests:
        def __init__(self, interrupts):
            self.interrupts = interrupts

        def __iter__(self):
            return tests(self.interrupts)

    class Count(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            steps.append(step)

    expected = whole(epochs=2, validation_data=Tests(False))
    with pytest.raises(KeyboardInterrupt):
        whole(
            epochs=2,
            given=[*callbacks(), Count()],
            validation_data=Tests(True),
            checkpoint=gcn.Checkpoint(folder),
        )
    resumed = gcn.resume(folder)
    assert (resumed.epochs_done, resumed.steps_done) == (0, STEPS)
    assert_same(resumed, fit(resumed, validation_data=Tests(False)), *expected)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_processes_saves_and_ends_it_in_order(folder, uninterrupted, name, capfd):
    def end():
        signal.raise_signal(signal.Signals[name])

    with pytest.raises(SystemExit) as caught:
        whole(given=[*callbacks(), At(end, "step begin", 2, 2)], checkpoint=gcn.Checkpoint(folder))
    assert caught.value.code == 128 + signal.Signals[name]
    assert f"Training ended by {name}" in capfd.readouterr().err
    assert signal.getsignal(signal.Signals[name]) == signal.SIG_DFL
    resumed = gcn.resume(folder)
    assert_same(resumed, fit(resumed), *uninterrupted)


def test_a_second_ctrl_c_ends_at_once_what_the_first_one_waits_for(folder):
    def batches():
        for start in range(0, 18, 6):
            yield IMAGES[start : start + 6], LABELS[start : start + 6]
        ctrl_c()
        ctrl_c()
        raise AssertionError("it did not end")

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        plain_model().fit(batches(), checkpoint=gcn.Checkpoint(folder, every=2), prefetch=0, progress=False)
    assert signal.getsignal(signal.SIGINT) == handler
    assert gcn.resume(folder).steps_done == 2  # nothing is saved from the middle of whatever it was


def test_handlers_of_a_programs_own_stay_in_charge(folder):
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        stop = At(lambda: signal.raise_signal(signal.SIGTERM), "step end", 1, 1)
        whole(epochs=1, given=[*callbacks(), stop], checkpoint=gcn.Checkpoint(folder))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


def test_a_rate_set_between_resuming_and_training_holds(folder):
    stop = At(ctrl_c, "step end", 1, 2)
    with pytest.raises(KeyboardInterrupt):
        whole(plain_model(), epochs=1, given=[stop], checkpoint=gcn.Checkpoint(folder))
    resumed = gcn.resume(folder)
    resumed.learning_rate = 0.003
    assert fit(resumed, given=[])["learning_rate"] == [0.003]


def test_a_loss_that_is_no_number_leaves_the_latest_checkpoint_from_before(folder):
    model = plain_model()

    def spoil():
        model.parameters["dense1.bias"] = np.full(3, np.nan)

    with pytest.raises(gcn.GraphcnnError, match="the loss became nan in step 2 of epoch 2") as caught:
        whole(model, given=[At(spoil, "step begin", 2, 2)], checkpoint=gcn.Checkpoint(folder))
    assert any("the latest checkpoint is" in fact for fact in caught.value.facts)
    resumed = gcn.resume(folder)
    assert all(np.isfinite(value).all() for value in resumed.state().values())


@pytest.mark.parametrize("part", range(4))
def test_ctrl_c_at_any_line_loses_nothing(folder, part):
    def run(model, folder):
        given = [Memory(), gcn.EarlyStopping()]
        checkpoint = gcn.Checkpoint(folder, every=1)
        return model, fit(model, epochs=2, batch_size=10, given=given, checkpoint=checkpoint)

    expected = run(plain_model(), folder / "whole")
    lines = lines_of(lambda: run(plain_model(), folder / "count"))
    assert lines > 1000
    for line in range(part * lines // 40, lines, lines // 10):
        place = folder / str(line)
        interrupted_at(line, lambda place=place: run(plain_model(), place))
        if gcn.Checkpoint(place).latest is None:
            model, history = run(plain_model(), place)
        else:
            model = gcn.resume(place)
            history = fit(model, given=[Memory(), gcn.EarlyStopping()])
        assert_same(model, history, *expected)


# What is asked of the call that goes on


@pytest.fixture
def begun(folder):
    with pytest.raises(KeyboardInterrupt):
        whole(given=[*callbacks(), At(ctrl_c, "step end", 2, 2)], checkpoint=gcn.Checkpoint(folder))
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 7}, r"batch_size=7, but the training that goes on has batch_size=6"),
        ({"shuffle": False}, r"shuffle=False, but the training that goes on has shuffle=True"),
        ({"initial_epoch": 1}, r"initial_epoch=1, but the training that goes on began with epoch 1"),
        ({"epochs": 1}, r"epochs=1, but the training that goes on has come to epoch 2"),
        ({"validation_data": None}, r"validation image: now not given, and then float32\[7, 6, 6, 2\]"),
        ({"validation_data": (TESTS[:5], TEST_LABELS[:5])}, r"now float32\[5, 6, 6, 2\], and then"),
        (
            {"validation_data": (1 - TESTS, TEST_LABELS)},
            r"float32\[7, 6, 6, 2\], as then, but with other val",
        ),
        ({"sample_weight": np.ones(20)}, r"sample_weight: now float32\[20\], and then not given"),
        ({"checkpoint": "run"}, r"checkpoint='run' is not a Checkpoint"),
    ],
)
def test_what_would_not_be_the_same_training_is_refused_and_can_be_mended(begun, uninterrupted, change, said):
    resumed = gcn.resume(begun)
    with pytest.raises((OptionError, DataError), match=said) as caught:
        fit(resumed, **change)
    assert caught.value.mend
    assert_same(resumed, fit(resumed), *uninterrupted)


def test_a_callback_that_is_missing_is_named(begun):
    with pytest.warns(gcn.GraphcnnWarning, match="had Memory and EarlyStopping among its callbacks"):
        fit(gcn.resume(begun), given=[])


def test_another_kind_of_processor_is_said(folder, monkeypatch):
    whole(rich_model("native"), epochs=1, checkpoint=gcn.Checkpoint(folder))
    monkeypatch.setattr(NativeBackend, "processor", "another one")
    with pytest.warns(gcn.GraphcnnWarning, match="this is another one: it goes on, but rounds otherwise"):
        fit(gcn.resume(folder), epochs=2)


def test_a_folder_with_another_training_is_not_taken(begun):
    with pytest.raises(OptionError, match="has the checkpoints of a training that has not ended") as caught:
        whole(checkpoint=gcn.Checkpoint(begun))
    assert f"gcn.resume('{begun}')" in caught.value.mend
    fit(gcn.resume(begun))
    whole(epochs=1, checkpoint=gcn.Checkpoint(begun))  # that one has come to its end
    assert gcn.resume(begun).epochs_done == 1


def test_the_averaged_model_of_a_training_is_no_training_that_goes_on(begun):
    resumed = gcn.resume(begun)
    averaged = resumed.averaged()
    assert averaged.begun is None
    assert resumed.begun.steps_done == 2
    assert len(fit(averaged, epochs=1)) == 1


def test_two_processes_do_not_save_into_one_folder(folder):
    folder.mkdir()
    script = (
        "import sys, pathlib; from graphcnn.interchange.files import locked\n"
        "lock = locked(pathlib.Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(folder / saving.LOCK)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "locked\n"
    model = plain_model()
    with pytest.raises(OptionError, match="another process is training, and saves its checkpoints in"):
        whole(model, given=[], checkpoint=gcn.Checkpoint(folder))
    assert model.epochs_done == 0
    other.kill()
    other.communicate()
    whole(model, given=[], checkpoint=gcn.Checkpoint(folder))


def test_a_checkpoint_is_a_model_like_any_other(begun):
    path = gcn.Checkpoint(begun).latest
    model = gcn.load(path)
    assert (model.epochs_done, model.steps_done, len(model.history)) == (1, 0, 1)
    assert len(fit(model, epochs=1)) == 1
    model.load_weights(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"folder": 3}, "is not a path"),
        ({"folder": "run", "every": 0}, "every=0 is neither a time nor a number of steps"),
        ({"folder": "run", "every": "soon"}, "every='soon' is neither"),
        ({"folder": "run", "every": "0s"}, "every='0s' is neither"),
        ({"folder": "run", "every": 1.5}, "every=1.5 is neither"),
        ({"folder": "run", "keep": 0}, "keep=0 is not a number of checkpoints"),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments, said):
    with pytest.raises(OptionError, match=said):
        gcn.Checkpoint(**arguments)


@pytest.mark.parametrize(
    ("every", "seconds"), [("30s", 30), ("1.5 min", 90), ("2m", 120), ("1h", 3600), (7, 0)]
)
def test_times_are_given_with_their_units(every, seconds):
    assert gcn.Checkpoint("run", every).seconds == seconds


def test_so_many_checkpoints_stay(folder):
    for keep in (4, 2):
        whole(epochs=4, given=[Wait()], checkpoint=gcn.Checkpoint(folder, every=1, keep=keep))
        assert len(list(folder.glob("*.safetensors"))) == keep


def test_callbacks_that_no_file_can_hold_are_refused_before_training(folder):
    class Odd(gcn.Callback):
        def state(self):
            return {"things": object()}

    model = plain_model()
    with pytest.raises(OptionError, match=r"Odd.state returned what a file cannot hold: .*object"):
        whole(model, given=[Odd()], checkpoint=gcn.Checkpoint(folder))
    assert model.epochs_done == 0


def test_a_callback_may_have_an_attribute_of_its_own_called_state(folder):
    class Own(gcn.Callback):
        def __init__(self):
            self.state = "mine"

    whole(plain_model(), epochs=1, given=[Own()], checkpoint=gcn.Checkpoint(folder))
    assert gcn.resume(folder).epochs_done == 1


# Faults


def broken(number, monkeypatch, what):
    """Let the system refuse one of the ways by which a file gets to the disk."""

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    if what == "write":
        monkeypatch.setattr("graphcnn.interchange.files._write_all", refuse)
    else:
        monkeypatch.setattr(os, what, refuse)


FAULTS = [
    (errno.ENOSPC, "write"),
    (errno.EIO, "write"),
    (errno.EIO, "fsync"),
    (errno.ENOSPC, "fsync"),
    (errno.EIO, "replace"),
    (errno.EACCES, "replace"),
    (errno.EROFS, "open"),
]


@pytest.mark.parametrize(("number", "what"), FAULTS)
def test_training_goes_on_while_saving_fails_and_says_so(folder, uninterrupted, monkeypatch, number, what):
    class Break(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            if (epoch, step) == (1, 2):
                broken(number, monkeypatch, what)
            if (epoch, step) == (3, 1):
                monkeypatch.undo()

    checkpoint = gcn.Checkpoint(folder, every=1)
    with pytest.warns(gcn.GraphcnnWarning, match="could not be saved") as caught:
        model, history = whole(given=[*callbacks(), Break(), Wait()], checkpoint=checkpoint)
    assert len(caught) == 1
    said = str(caught[0].message)
    assert os.strerror(number) in said
    assert f"{folder}" in said
    assert "Mend: " in said
    assert "training goes on" in said
    assert caught[0].filename == __file__
    assert_same(model, history, *uninterrupted)
    resumed = gcn.resume(folder)  # saving works again, and the last one is there
    assert resumed.epochs_done == 3


@pytest.mark.parametrize(("number", "what"), FAULTS)
def test_where_saving_fails_for_good_training_goes_on_from_the_latest_one(
    folder, uninterrupted, monkeypatch, number, what
):
    class Break(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            if (epoch, step) == (2, 2):
                broken(number, monkeypatch, what)
            if (epoch, step) == (2, 4):
                ctrl_c()

    with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.simplefilter("ignore")
        whole(given=[*callbacks(), Break(), Wait()], checkpoint=gcn.Checkpoint(folder, every=1))
    monkeypatch.undo()
    resumed = gcn.resume(folder)
    assert (resumed.epochs_done, resumed.steps_done) == (1, 1)
    assert_same(resumed, fit(resumed), *uninterrupted)
    assert not list(folder.glob(".*.part"))


def test_what_cannot_be_saved_at_an_interruption_is_said(folder, monkeypatch, capfd):
    def full_and_end():
        broken(errno.ENOSPC, monkeypatch, "fsync")
        ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        whole(given=[At(full_and_end, "step end", 1, 2)], checkpoint=gcn.Checkpoint(folder))
    said = capfd.readouterr().err
    assert "it could not be saved: [Errno 28] No space left on device" in said
    assert "free some space there" in said
    assert "before the first step" in said


def test_a_folder_that_cannot_be_written_is_refused_before_training(folder, monkeypatch):
    broken(errno.ENOSPC, monkeypatch, "fsync")
    model = plain_model()
    with pytest.raises(OSError, match="No space left"):
        whole(model, given=[], checkpoint=gcn.Checkpoint(folder))
    assert model.epochs_done == 0


def test_a_damaged_checkpoint_is_passed_over(begun, uninterrupted):
    latest = gcn.Checkpoint(begun).latest
    content = latest.read_bytes()
    for damaged in (content[:-1], b"", b"\x80\x04pickle", flipped(content, len(content) - 3, 0)):
        latest.write_bytes(damaged)
        with pytest.warns(gcn.GraphcnnWarning, match=f"later ones cannot be read: {latest.name}"):
            resumed = gcn.resume(begun)
        assert_same(
            resumed, fit(resumed, checkpoint=gcn.Checkpoint(f"{begun} {len(damaged)}")), *uninterrupted
        )


def flipped(content, place, bit):
    """Return a file's bytes with one bit changed."""
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_told(begun):
    latest = gcn.Checkpoint(begun).latest
    content = latest.read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    metadata = b'"checksum":"', b'"training":"', b'"__metadata__":'
    places = [
        place
        for text in metadata
        for place in range(content.index(text), content.index(text) + len(text) + 8)
    ]
    places += [*range(8), *range(8, data, 1 + data // 60), *range(data, len(content), 1 + len(content) // 60)]
    for number, place in enumerate(places):
        latest.write_bytes(flipped(content, place, number % 8))
        with pytest.raises(FileError):
            gcn.load(latest)
        if number % 10 == 0:
            with pytest.warns(gcn.GraphcnnWarning, match=f"later ones cannot be read: {latest.name}"):
                gcn.resume(begun)
    latest.write_bytes(flipped(content, len(content) - 1, 7))
    with pytest.raises(FileError, match="it has changed since it was written"):
        gcn.load(latest)
    latest.write_bytes(content)
    assert gcn.load(latest).epochs_done == gcn.resume(begun).epochs_done


def test_a_checkpoint_without_its_checksum_is_none(begun):
    latest = gcn.Checkpoint(begun).latest
    tensors, metadata = read_weights(latest)
    write_weights(latest, tensors, metadata)
    with pytest.raises(FileError, match="a checkpoint has a checksum, and this one has none"):
        gcn.load(latest)
    write_weights(latest, tensors, metadata, has_checksum=True)
    assert gcn.load(latest).history.epochs


def test_no_checkpoint_at_all_is_said(folder):
    with pytest.raises(FileError, match=r"there is no checkpoint in .*run"):
        gcn.resume(folder)
    folder.mkdir()
    plain_model().save(folder / "checkpoint-000001.safetensors")
    with pytest.raises(FileError, match=r"none of the checkpoints in .*run can be read") as caught:
        gcn.resume(folder)
    assert "is a model, and no checkpoint" in str(caught.value)


# Meanwhile


def test_training_does_not_wait_for_the_disk_and_no_second_copy_is_taken(folder, uninterrupted, monkeypatch):
    go_on, writing, write, written = threading.Event(), threading.Event(), saving.write_model_file, []

    def slow(path, file, graphs):
        written.append((file.epochs_done, file.training.steps_done))
        if threading.current_thread() is not threading.main_thread():
            writing.set()
            assert go_on.wait(60)
        write(path, file, graphs)

    class GoOn(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            if (epoch, step) == (1, 2):
                assert writing.wait(60)
            if (epoch, step) == (3, 2):
                go_on.set()

    monkeypatch.setattr(saving, "write_model_file", slow)
    model, history = whole(given=[*callbacks(), GoOn()], checkpoint=gcn.Checkpoint(folder, every=1))
    assert_same(model, history, *uninterrupted)
    assert written[:2] == [(0, 0), (0, 1)]
    assert min(written[2:]) >= (2, 2)
    monkeypatch.undo()
    for path in gcn.Checkpoint(folder).files().values():
        assert gcn.load(path).epochs_done in (0, 2, 3)


def test_a_copy_is_of_one_moment_though_training_goes_on(folder, monkeypatch):
    """The file that is written late holds what was there when the copy was taken."""
    go_on, write = threading.Event(), saving.write_model_file

    def late(path, file, graphs):
        if threading.current_thread() is not threading.main_thread():
            assert go_on.wait(60)
        write(path, file, graphs)

    states = {}

    class Note(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            states[epoch, step] = model.state()
            if (epoch, step) == (1, 3):
                go_on.set()

    monkeypatch.setattr(saving, "write_model_file", late)
    stop = At(fail, "step begin", 1, 4)
    with contextlib.suppress(RuntimeError):
        whole(given=[Note(), stop], checkpoint=gcn.Checkpoint(folder, every=1, keep=9))
    monkeypatch.undo()
    second = gcn.load(list(gcn.Checkpoint(folder).files().values())[-2])
    for name, value in second.state().items():
        assert value.tobytes() == states[1, 1][name].tobytes()


def test_saving_takes_no_more_than_a_hundredth_of_the_time(folder, monkeypatch):
    """Where a checkpoint costs ten seconds of a processor, there is none for a thousand."""
    clock = [0.0]
    monkeypatch.setattr(saving.time, "thread_time", lambda: clock.append(clock[-1] + 10.0) or clock[-1])
    numbers = []

    class Count(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            numbers.append(next(iter(gcn.Checkpoint(folder).files())))

    whole(given=[Count()], checkpoint=gcn.Checkpoint(folder, every="0.000001s"))
    assert set(numbers) == {1}


# Hostile files


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda training: training.pop("first"), "first"),
        (lambda training: training.update(first="one"), "first of the training is 'one'"),
        (lambda training: training.update(steps_done=-1), "steps_done"),
        (lambda training: training.update(unknown=1), "unknown"),
        (lambda training: training.update(callbacks={}), "callbacks"),
        (lambda training: training["callbacks"][0]["arrays"].update({"sums": ["x"]}), "callback0.0.x"),
        (lambda training: training["callbacks"].append(training["callbacks"][0]), "callback"),
        (lambda training: training.update(prefix="conv1"), "conv1"),
    ],
)
def test_a_damaged_training_is_refused_by_name(begun, change, said):
    paths = list(gcn.Checkpoint(begun).files().values())
    for path in paths:
        tensors, metadata = read_weights(path)
        training = json.loads(metadata["training"])
        if not training["callbacks"]:
            path.unlink()
            continue
        change(training)
        write_weights(path, tensors, {**metadata, "training": json.dumps(training)}, has_checksum=True)
    with pytest.raises(FileError, match="none of the checkpoints") as caught:
        gcn.resume(begun)
    assert said in str(caught.value)
