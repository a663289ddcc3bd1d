"""Files of ONNX on the command line, wherever a network can be named."""

import os

import onnx
import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn.cli import main
from tests.onnx.models import Writer, lenet


def invoke(*arguments):
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Write a network for the digits, which ends with softmax, and with other filters a second one."""
    monkeypatch.chdir(tmp_path)
    for name, filters in (("digits", 4), ("other", 5)):
        w = Writer()
        weight, bias = w.weight("conv1.weight", filters, 1, 3, 3), w.weight("conv1.bias", filters)
        h = w.node("Flatten", w.node("Relu", w.node("Conv", "image", weight, bias)))
        weight, bias = w.weight("fc.weight", 10, 36 * filters), w.weight("fc.bias", 10)
        h = w.node("Gemm", h, weight, bias, transB=1, name="logits")
        onnx.save(w.model({"image": ("N", 1, 8, 8)}, w.node("Softmax", h), name=name), f"{name}.onnx")
    return tmp_path


def test_a_file_is_shown(digits):
    result = invoke("show", "digits.onnx:logits")
    assert result.exit_code == 0, result.output
    assert "conv1.filters" in result.output and "Eq. 14" in result.output
    assert "transpose" not in invoke("show", "digits.onnx:logits", "--as", "table").output.splitlines()[0]


def test_two_files_are_compared(digits):
    result = invoke("diff", "digits.onnx:logits", "other.onnx:logits", "--stage", "forward")
    assert result.exit_code == 0, result.output
    assert "[3, 3, 1, 4]" in result.output and "[3, 3, 1, 5]" in result.output


def test_a_file_is_timed(digits):
    result = invoke("bench", "digits.onnx:logits", "--batch-size", "4", "--repeats", "2")
    assert result.exit_code == 0, result.output
    assert "conv1" in result.output


def test_a_file_is_trained_on(digits):
    result = invoke("train", "digits.onnx:logits", "--epochs", "2", "--output", "run")
    assert result.exit_code == 0, result.output
    assert gcn.load("run/model.safetensors").evaluate(gcn.data.load_digits())["accuracy"] > 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "digits.onnx:logits", "--epochs", "1"),
        ("show", "digits.onnx:logits", "--input-shape", "8", "8", "1", "--stage", "forward"),
    ],
    ids=["train", "show"],
)
def test_a_command_reads_a_file_once(digits, arguments, monkeypatch):
    opened = []
    real = os.open

    def counted(path, *rest, **named):
        opened.append(str(path))
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", counted)
    assert invoke(*arguments).exit_code == 0
    assert opened.count("digits.onnx") == 1


def test_sizes_that_a_file_leaves_open_are_an_option(digits):
    model = lenet()
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(model, "open.onnx")
    assert "leaves sizes of its inputs open" in invoke("show", "open.onnx").output
    result = invoke("show", "open.onnx", "--input-shape", "28", "28", "1", "--stage", "forward")
    assert result.exit_code == 0, result.output
    assert "float32[N, 28, 28, 1]" in result.output


def test_what_is_no_file_is_said(digits):
    assert "does not exist" in invoke("show", "missing.onnx").output
    assert "neither a value nor a node" in invoke("show", "digits.onnx:nothing").output
