"""Whatever line Ctrl-C comes at: the state is one of before or after a step, and the next call is right."""

import copy
import functools
import sys
import threading

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.backend import load_backend
from graphcnn.interrupts import interrupts_put_off, uninterrupted
from graphcnn.training import compiling
from graphcnn.training.compiling import CompilationBar
from tests.interrupts import interrupted_again_at, interrupted_at, lines_of

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((40, 6, 6, 2)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 40)
SLICES = [slice(0, 3), slice(3, 40), slice(0, 17), slice(5, 8)]
"""Batches of changing size, so that memory is made anew while a step is under way."""


def made(backend, **options):
    network = gcn.Sequential(gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3))
    options = {"optimizer": gcn.SGD(0.05, momentum=0.9), "backend": backend, **options}
    return gcn.compile(network, input_shape=(6, 6, 2), loss=gcn.CrossEntropy(), **options)


def bits(model):
    return tuple(array.tobytes() for array in model.state().values())


def steps(model):
    for part in SLICES:
        model.train_step(IMAGES[part], LABELS[part])


class Trained:
    """A model, all states that its steps lead through, and what it predicts in each."""

    def __init__(self, backend):
        self.model = made(backend)
        self.first = self.model.state()
        self.states = [bits(self.model)]
        self.predictions = [self.model.predict(IMAGES).tobytes()]
        for part in SLICES:
            self.model.train_step(IMAGES[part], LABELS[part])
            self.states.append(bits(self.model))
            self.predictions.append(self.model.predict(IMAGES).tobytes())
        self.restart()

    def restart(self):
        self.model.set_state(self.first)

    def require_whole(self, line):
        """Require a state of between two steps, and that it goes on from there as it should."""
        now = bits(self.model)
        assert now in self.states, f"interrupted at line {line}: a state of half a step"
        done = self.states.index(now)
        assert self.model.predict(IMAGES).tobytes() == self.predictions[done], line
        for part in SLICES[done:]:
            self.model.train_step(IMAGES[part], LABELS[part])
        assert bits(self.model) == self.states[-1], f"interrupted at line {line}: other bits afterwards"


def check_steps(backend, stride):
    trained = Trained(backend)
    lines = lines_of(lambda: steps(trained.model))
    assert lines > 100
    hits = 0
    for line in range(0, lines, stride):
        trained.restart()
        hits += interrupted_at(line, lambda: steps(trained.model))
        trained.require_whole(line)
    assert hits > lines // stride // 2


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_training_steps_are_done_whole(backend):
    check_steps(backend, stride=7 if backend == "native" else 61)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_training_steps_are_done_whole_at_every_line(backend):
    check_steps(backend, stride=1)


def test_predictions_of_changing_size_are_right_after_an_interrupt():
    model = made("native")
    wanted = [model.predict(IMAGES[part]).tobytes() for part in SLICES]

    def predict():
        return [model.predict(IMAGES[part]).tobytes() for part in SLICES]

    for line in range(0, lines_of(predict), 3):
        interrupted_at(line, predict)
        assert predict() == wanted, line


def check_fit(stride):
    model = made("native")
    first, options = model.state(), {"epochs": 2, "batch_size": 16, "progress": False}

    def fit():
        model.fit(IMAGES, LABELS, validation_data=(IMAGES, LABELS), **options)

    for line in range(0, lines_of(fit), stride):
        model.set_state(first)
        model.epochs_done = 0
        model.history.epochs.clear()
        interrupted_at(line, fit)
        assert model.epochs_done == len(model.history.epochs), line
        twin = copy.deepcopy(model)
        for each in (model, twin):
            each.fit(IMAGES, LABELS, **{**options, "epochs": 1})
        assert bits(model) == bits(twin), line


def test_fit_ends_with_a_row_for_each_epoch_done():
    check_fit(stride=97)


@pytest.mark.slow
def test_fit_ends_with_a_row_for_each_epoch_done_at_every_line():
    check_fit(stride=1)


def test_a_state_is_set_whole():
    model = made("numpy")
    before, after = model.state(), {name: array + 1 for name, array in model.state().items()}
    for line in range(lines_of(lambda: model.set_state(after))):
        model.set_state(before)
        interrupted_at(line, lambda: model.set_state(after))
        assert bits(model) in (
            tuple(array.tobytes() for array in state.values()) for state in (before, after)
        )


def test_weights_are_assigned_whole():
    model = made("numpy")
    before = dict(model.weights)
    after = {name: array + 1 for name, array in before.items()}

    def weights():
        return {name: array.tobytes() for name, array in model.weights.items()}

    allowed = []
    for values in (before, after):
        model.weights.update(values)
        allowed.append(weights())
    for line in range(lines_of(lambda: model.weights.update(after))):
        model.weights.update(before)
        interrupted_at(line, lambda: model.weights.update(after))
        assert weights() in allowed, line


class Schedule(gcn.Callback):
    """Sets a rate for the epoch, and interrupts in its second step."""

    def __init__(self, interrupt):
        self.interrupt = interrupt

    def on_epoch_begin(self, model, epoch):
        model.scheduled_rate = 0.01

    def on_step_end(self, model, epoch, step, logs):
        if step == 2:
            self.interrupt()


def test_an_interrupt_while_another_ends_training_leaves_a_usable_model():
    model = made("native")

    def fit(interrupt):
        model.fit(IMAGES, LABELS, batch_size=16, callbacks=[Schedule(interrupt)])

    lines = interrupted_again_at(None, fit)
    assert lines > 10
    for line in range(lines):
        model.learning_rate = 0.05
        interrupted_again_at(line, fit)
        assert model.scheduled_rate is None, line
        assert model.learning_rate == 0.05
        assert model.epochs_done == len(model.history.epochs) == 0
        twin = copy.deepcopy(model)
        for each in (model, twin):
            each.train_step(IMAGES, LABELS)
        assert bits(model) == bits(twin), line


def test_an_interrupt_while_another_ends_a_compilation_takes_the_bar_away(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(CompilationBar, "show_later", lambda self: None)
    shown = []

    class Bar(CompilationBar):
        def __init__(self, name):
            super().__init__(name)
            shown.append(self)

    monkeypatch.setattr(compiling, "CompilationBar", Bar)

    class Backend:
        name, ops = "interrupted", load_backend("numpy").ops

        def compile(self, graph):
            self.interrupt()

    backend = Backend()
    model = made(backend)

    def compile(interrupt):
        backend.interrupt = interrupt
        model.executable("forward")

    for line in range(interrupted_again_at(None, compile)):
        interrupted_again_at(line, compile)
        assert shown[-1]._is_closed, line


@pytest.mark.parametrize("stride", [41, pytest.param(1, marks=pytest.mark.slow)])
def test_what_was_interrupted_compiles_the_next_time(stride, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_CACHE", "off")
    wanted = made("native").predict(IMAGES).tobytes()
    lines = lines_of(functools.partial(made("native").executable, "forward"))
    for line in range(0, lines, stride):
        model = made("native")
        interrupted_at(line, functools.partial(model.executable, "forward"))
        assert model.predict(IMAGES).tobytes() == wanted, line


# The two ways


def test_an_interrupt_that_is_put_off_comes_at_the_end():
    done = []

    def work():
        with interrupts_put_off():
            done.append(1)
            done.append(2)

    for line in range(lines_of(work)):
        done.clear()
        interrupted_at(line, work)
        assert done in ([], [1, 2])


def test_work_that_nobody_waits_for_is_finished():
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work():
        begun.set()
        may_end.wait(60)
        ended.set()

    assert uninterrupted(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        uninterrupted(lambda: 1 / 0)
    threads = threading.active_count()
    thread = threading.Thread(target=lambda: uninterrupted(work))
    thread.start()
    begun.wait(60)
    may_end.set()
    thread.join(60)
    assert ended.is_set()
    assert threading.active_count() == threads
