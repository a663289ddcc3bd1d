"""Curves that are drawn while training runs: in a picture, and in a notebook."""

import sys
import types

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError

RANDOM = np.random.default_rng(4)
IMAGES = RANDOM.random((20, 4, 4, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20)


def fit(epochs, callback):
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    model = gcn.compile(
        network, input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), backend="numpy"
    )
    model.fit(IMAGES, LABELS, epochs=epochs, callbacks=[callback], progress=False)
    return model


def test_a_picture_is_written_anew_after_each_epoch(tmp_path):
    path = tmp_path / "curves.png"

    class Watch(gcn.LivePlot):
        def on_epoch_end(self, model, epoch, logs):
            super().on_epoch_end(model, epoch, logs)
            pictures.append(path.read_bytes())

    pictures = []
    fit(2, Watch(path))
    assert all(each.startswith(b"\x89PNG") for each in pictures)
    assert pictures[0] != pictures[1]


def test_in_a_notebook_it_is_drawn_in_its_place(monkeypatch):
    calls = []

    class Handle:
        def update(self, figure):
            calls.append(("update", len(figure.axes[0].lines[0].get_ydata())))

    def display(figure, *, display_id):
        calls.append(("display", len(figure.axes[0].lines[0].get_ydata())))
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(
        sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell, version_info=(9, 0))
    )
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    fit(3, gcn.LivePlot())
    assert calls == [("display", 1), ("update", 2), ("update", 3)]


def test_without_a_notebook_a_path_is_needed():
    with pytest.raises(OptionError, match=r'there is no notebook(.*\n)+  Mend: gcn.LivePlot\("curves.png"\)'):
        fit(1, gcn.LivePlot())


def test_a_format_that_is_none_is_refused_at_once():
    with pytest.raises(OptionError, match="'doc'"):
        gcn.LivePlot("curves.doc")
