"""What notebooks show: pictures, the viewer, equations, and text without colour codes."""

import html
import os
import pickle
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

import graphcnn as gcn
from graphcnn.inspection.equations import node_equation

DIGITS = gcn.data.load_digits()
X, Y = DIGITS.images[:32], DIGITS.labels[:32]


@pytest.fixture
def model():
    return gcn.compile(
        gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1)
    )


def test_plots_display_themselves(model):
    log = gcn.GradientLog()
    history = model.fit(X, Y, epochs=2, callbacks=[log], progress=False)
    figures = [history.plot(), log.plot(), model.inspect(X, Y).filters("conv1").plot()]
    for figure in figures:
        picture = figure._repr_png_()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 3000
        assert type(pickle.loads(pickle.dumps(figure))) is type(figure)


def test_plots_of_nothing_say_how_to_get_something():
    with pytest.raises(gcn.OptionError, match=r"history = model\.fit\(x, y\)"):
        gcn.History().plot()


@pytest.fixture
def opened(monkeypatch):
    addresses = []
    monkeypatch.setattr("webbrowser.open", lambda address: addresses.append(address) or True)
    return addresses


def run_in(monkeypatch, shell):
    """Let a shell of IPython be running; return what it will have displayed."""
    displayed = []
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=displayed.append))
    return displayed


def test_a_notebook_displays_the_viewer(model, monkeypatch, opened, tmp_path):
    displayed = run_in(monkeypatch, SimpleNamespace(kernel=object()))
    path = model.show(tmp_path / "page.html", kernels=False)
    (frame,) = displayed
    match = re.fullmatch(
        r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts" [^>]*></iframe>', frame._repr_html_()
    )
    assert html.unescape(match[1]) == path.read_text(encoding="utf-8")
    assert opened == []
    model.forward_graph.show()
    assert len(displayed) == 2


def test_nothing_is_displayed_that_is_not_to_be_opened(model, monkeypatch, opened, tmp_path):
    displayed = run_in(monkeypatch, SimpleNamespace(kernel=object()))
    model.show(tmp_path / "page.html", kernels=False, open=False)
    assert displayed == opened == []


@pytest.mark.parametrize("shell", [None, SimpleNamespace()], ids=["none", "a terminal"])
def test_outside_of_notebooks_the_browser_opens(model, monkeypatch, opened, tmp_path, shell):
    displayed = run_in(monkeypatch, shell)
    path = model.show(tmp_path / "page.html", kernels=False)
    assert displayed == []
    assert opened == [path.as_uri()]


def test_equations_render(model):
    graph = model.gradient_graph
    equation = node_equation(graph, graph.outputs["gradient(conv1.filters)"].key)
    assert equation._repr_latex_() == rf"$\displaystyle {equation.latex}$"


TEXTS = """
import graphcnn as gcn
digits = gcn.data.load_digits()
model = gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))
log = gcn.GradientLog(20)
print(model.fit(digits.images, digits.labels, epochs=2, callbacks=[log]))
print(log, model.inspect(digits.images[:8], digits.labels[:8]), model.summary(), sep="\\n")
print(model.profile(digits.images[:8], digits.labels[:8], repeats=2))
"""


@pytest.mark.parametrize("command", [["-c", TEXTS], ["-m", "graphcnn", "inspect", "digits"]])
def test_text_has_no_colour_codes_whatever_the_environment_asks_for(command):
    environment = os.environ | {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TERM": "xterm-256color"}
    result = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=120, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert "conv1" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr


def test_tables_are_of_letters_of_one_width():
    """Notebooks have other letters for what is no code, in which columns are not straight."""
    dataset = gcn.data.load_digits()
    model = gcn.compile(gcn.zoo.digits(), input_shape=(8, 8, 1), loss=gcn.CrossEntropy())
    report = model.evaluate(dataset, report=True)
    for shown in (dataset, report, model.classify(dataset.test_images[:3])):
        page = shown._repr_html_()
        assert page.startswith("<pre ")
        assert "font-family: monospace" in page
    assert "class" in dataset._repr_html_()
