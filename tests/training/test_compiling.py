"""What is shown while a backend compiles."""

import contextlib
import io
import re

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import late_bar
from graphcnn.backend import load_backend
from graphcnn.phases import heard, listener
from graphcnn.training.compiling import CompilationBar

IMAGES, LABELS = np.ones((8, 4, 4, 1), np.float32), np.zeros(8, np.int64)


class Stream(io.StringIO):
    """A stream of errors that is a terminal, or is none."""

    def __init__(self, *, is_terminal=True):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal

    @property
    def shown(self):
        """What it was told, without what only moves the cursor and gives colours."""
        return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", self.getvalue())


class Slow:
    """A backend that says how far it is; it takes as long as a test likes."""

    name = "slow"
    ops = load_backend("numpy").ops

    def compile(self, graph):
        tell = listener()
        tell(41, 117)
        return load_backend("numpy").compile(graph)


class AtOnce:
    """A timer for those who do not wait. daemon: as of threads."""

    has_begun = False

    def __init__(self, seconds, function):
        assert seconds == 2
        self.function = function

    def start(self):
        AtOnce.has_begun = True
        self.function()

    def cancel(self):
        pass


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(late_bar.threading, "Timer", AtOnce)
    monkeypatch.setattr(AtOnce, "has_begun", False)
    return Stream()


def predict(model, stream):
    """Let a model predict, and compile before, while a stream takes the errors."""
    with contextlib.redirect_stderr(stream):
        return model.predict(IMAGES)


def made(backend=None):
    return gcn.compile(
        gcn.Sequential(gcn.Flatten(), gcn.Dense(3)),
        input_shape=(4, 4, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1),
        backend=Slow() if backend is None else backend,
    )


def test_a_terminal_shows_how_far_a_compilation_is(terminal):
    predict(made(), terminal)
    assert re.search(r"compiling \S+ .* 41/117 functions, \d+ s", terminal.shown)
    assert terminal.getvalue().rstrip("\n").endswith("\x1b[2K"), "the bar is still there"


def test_nothing_is_shown_of_what_does_not_last(terminal, monkeypatch):
    monkeypatch.setattr(AtOnce, "start", lambda self: None)
    predict(made(), terminal)
    assert terminal.getvalue() == ""


def test_what_was_compiled_before_is_not_waited_for(terminal):
    model = made()
    predict(model, terminal)
    AtOnce.has_begun = False
    predict(model, terminal)
    assert not AtOnce.has_begun


def test_nothing_is_shown_where_no_terminal_is(terminal):
    terminal.is_terminal = False
    predict(made(), terminal)
    assert terminal.getvalue() == ""
    assert not AtOnce.has_begun


def test_fit_shows_its_compilations_unless_it_is_to_be_quiet(terminal):
    log = gcn.GradientLog()
    options = {"validation_data": (IMAGES, LABELS), "callbacks": [log]}
    with contextlib.redirect_stderr(terminal):
        made().fit(IMAGES, LABELS, progress=False, **options)
    assert terminal.getvalue() == ""
    with contextlib.redirect_stderr(terminal):
        made().fit(IMAGES, LABELS, **options)
    assert terminal.shown.count("41/117") >= 3  # the step, the evaluation and the gradient


def test_a_system_without_threads_compiles_and_shows_nothing(terminal, monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(AtOnce, "start", start)
    assert predict(made(), terminal).shape == (8, 3)
    assert terminal.getvalue() == ""


def test_what_goes_on_after_an_interrupt_shows_nothing_any_more(terminal):
    late = []

    class Interrupted(Slow):
        def compile(self, graph):
            late.append(listener())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(made(Interrupted()), terminal)
    before = terminal.getvalue()
    late[0](117, 117)
    assert terminal.getvalue() == before


def test_a_timer_that_comes_too_late_shows_nothing(terminal):
    bar = CompilationBar("network")
    with contextlib.redirect_stderr(terminal):
        bar.close()
        bar.show()
    assert terminal.getvalue() == ""


def test_the_native_backend_says_how_many_functions_are_compiled(monkeypatch):
    monkeypatch.setenv("GRAPHCNN_CACHE", "off")
    told = []
    with heard(lambda *numbers: told.append(numbers)):
        made("native").executable("step")
    ((total,),) = {numbers[1:] for numbers in told}
    assert total > 3
    assert max(done for done, _ in told) == total


class Counting:
    """A backend that notes what it compiles."""

    name = "counting"
    ops = load_backend("numpy").ops

    def __init__(self):
        self.compiled = []

    def compile(self, graph):
        self.compiled.append(graph)
        return load_backend("numpy").compile(graph)


@pytest.mark.parametrize(
    "weights", [{}, {"class_weight": "balanced"}, {"class_weight": {0: 2.0}}, {"sample_weight": np.ones(8)}]
)
@pytest.mark.parametrize("split", [None, 0.25])
def test_fit_compiles_the_step_that_it_takes_and_no_other(weights, split):
    backend = Counting()
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(2))
    model = gcn.compile(
        network, input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), backend=backend
    )
    model.fit(IMAGES, np.arange(8) % 2, epochs=2, validation_split=split, progress=False, **weights)
    assert len(backend.compiled) == (1 if split is None else 2)


def test_of_batches_with_class_weights_the_weighted_step_is_compiled_alone():
    backend = Counting()
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(2))
    model = gcn.compile(
        network, input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), backend=backend
    )
    model.fit([(IMAGES, LABELS)], class_weight={0: 2.0}, progress=False)
    assert len(backend.compiled) == 1
