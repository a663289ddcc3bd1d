"""The tests of this folder need the optional package `onnx`."""

import pytest

pytest.importorskip("onnx")
