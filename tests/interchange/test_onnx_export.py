"""Models as files of ONNX: what ONNX Runtime computes of them, and what the files say."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import graphcnn as gcn
from graphcnn.cli import main
from graphcnn.errors import ExportError, MissingFolderError, OptionError
from graphcnn.interchange.onnx import document, register
from graphcnn.ops import Tanh
from graphcnn.zoo import PUBLISHED, ZOO
from tests.interchange.onnx_runtimes import session

SMALL = {
    **{name: {} for name in (*ZOO, "lenet5_1998", "resnet20")},
    **{name: {"input_shape": (32, 32, 3), "width": 0.25} for name in ("mobilenetv2", "mobilenetv3_small")},
    "unet": {"input_shape": (188, 188, 1), "width": 0.125},
}
"""Networks that are exported in a second, at sizes that are."""


def compiled(name, **options):
    if name in ZOO:
        return gcn.compile(ZOO[name].make(), input_shape=ZOO[name].input_shape, **options)
    return gcn.compile(PUBLISHED[name].make(**SMALL.get(name, {})), **options)


def images_for(model, count=3):
    (image,) = model.forward_graph.inputs_with_role("data").values()
    shape = (count, *image.type.shape[1:])
    return np.random.default_rng(0).standard_normal(shape).astype(image.type.dtype)


def channels_first(array):
    return np.array(array.transpose(0, 3, 1, 2), order="C") if array.ndim == 4 else array


def exported(model, path, *graph, **options):
    """Return the file of a model, checked by ONNX's own checker with all that it has."""
    model.export_onnx(path, *graph, **options)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def outputs_of(proto, **inputs):
    names = [each.name for each in proto.graph.output]
    return dict(zip(names, session(proto).run(names, inputs), strict=True))


def kinds(proto):
    return Counter(node.op_type for node in proto.graph.node)


def assert_agrees(model, proto, tolerance=1e-5):
    """ONNX Runtime's outputs differ by no more than a share of the greatest one."""
    x = images_for(model)
    (name,) = (each.name for each in proto.graph.input)
    expected = model.predict(x)
    by_name = expected if isinstance(expected, dict) else {"output": expected}
    for label, found in outputs_of(proto, **{name: channels_first(x)}).items():
        wanted = channels_first(by_name[label])
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.parametrize("name", SMALL)
def test_the_zoo_computes_the_same_in_onnxruntime(name, tmp_path):
    model = compiled(name)
    assert_agrees(model, exported(model, tmp_path / "model.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUBLISHED.keys() - {"lenet5_1998", "resnet20"}))
def test_the_whole_zoo_computes_the_same_at_its_own_size(name, tmp_path):
    model = gcn.compile(PUBLISHED[name].make())
    assert_agrees(model, exported(model, tmp_path / "model.onnx"))


def test_lenet5_is_a_dozen_operators_with_one_transposition(tmp_path):
    proto = exported(compiled("lenet5"), tmp_path / "lenet5.onnx")
    expected = {"Conv": 2, "Relu": 4, "MaxPool": 2, "Transpose": 1, "Reshape": 1, "Gemm": 3}
    assert kinds(proto) == expected
    assert [node.name for node in proto.graph.node][:4] == [
        "conv1/Conv",
        "relu1/Relu",
        "pool1/MaxPool",
        "conv2/Conv",
    ]
    (image,) = proto.graph.input
    shape = [size.dim_param or size.dim_value for size in image.type.tensor_type.shape.dim]
    assert (image.name, shape) == ("image", ["N", 1, 28, 28])


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "unet"])
def test_no_transposition_is_left_between_convolutions(name, tmp_path):
    assert kinds(exported(compiled(name), tmp_path / "model.onnx"))["Transpose"] == 0


def test_a_softmax_is_one_operator(tmp_path):
    network = gcn.Sequential(gcn.Conv2d(3, 1), gcn.Softmax())
    model = gcn.compile(network, input_shape=(4, 4, 2))
    proto = exported(model, tmp_path / "model.onnx")
    assert kinds(proto) == {"Conv": 1, "Softmax": 1}
    assert_agrees(model, proto)


def test_nhwc_on_request(tmp_path):
    model = compiled("lenet5")
    proto = exported(model, tmp_path / "lenet5.onnx", layout="NHWC")
    x = images_for(model)
    assert np.allclose(outputs_of(proto, image=x)["output"], model.predict(x), atol=1e-5)
    assert kinds(proto)["Transpose"] == 2


@pytest.mark.parametrize("opset", [17, 18, 20, 23])
def test_older_and_newer_opsets(opset, tmp_path):
    model = compiled("resnet20")
    proto = exported(model, tmp_path / "model.onnx", opset=opset)
    assert [each.version for each in proto.opset_import] == [opset]
    assert_agrees(model, proto)


def trained(*layers):
    """Return a model whose batch norm has statistics and parameters that matter."""
    model = gcn.compile(
        gcn.Sequential(*layers, gcn.Flatten(), gcn.Dense(3)),
        input_shape=(8, 6, 2),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1),
    )
    random = np.random.default_rng(0)
    for _ in range(5):
        model.train_step(
            random.standard_normal((8, 8, 6, 2)).astype(np.float32) + 1, random.integers(0, 3, 8)
        )
    return model


def test_batch_norm_is_folded_on_request(tmp_path):
    model = trained(
        *(gcn.Conv2d(4, 3), gcn.BatchNorm2d(), gcn.ReLU()),
        *(gcn.Conv2d(4, 3, groups=2, bias=False), gcn.BatchNorm2d()),
    )
    plain = exported(model, tmp_path / "plain.onnx")
    folded = exported(model, tmp_path / "folded.onnx", fold=True)
    assert (kinds(plain)["BatchNormalization"], kinds(folded)["BatchNormalization"]) == (2, 0)
    assert kinds(folded)["Conv"] == 2
    assert not any(each.name.startswith("batchnorm") for each in folded.graph.initializer)
    for proto in (plain, folded):
        assert_agrees(model, proto)


def test_folding_leaves_alone_what_somebody_else_reads(tmp_path):
    x = gcn.Input((6, 6, 2))
    maps = gcn.Conv2d(3, 3)(x)
    network = gcn.Network(x, {"normal": gcn.BatchNorm2d()(maps), "maps": maps})
    model = gcn.compile(network)
    proto = exported(model, tmp_path / "model.onnx", fold=True)
    assert kinds(proto)["BatchNormalization"] == 1
    assert_agrees(model, proto)


def test_float64_stays_float64(tmp_path):
    model = compiled("lenet5", dtype="float64")
    assert_agrees(model, exported(model, tmp_path / "model.onnx"), tolerance=1e-13)


def test_nodes_tell_their_layer_the_user_s_line_and_the_equation(tmp_path):
    network = gcn.Sequential(gcn.Conv2d(2, 3, padding=1), gcn.ReLU())
    proto = exported(gcn.compile(network, input_shape=(5, 5, 1)), tmp_path / "model.onnx")
    told = {entry.key: entry.value for entry in proto.graph.node[0].metadata_props}
    assert told["graphcnn.layer"] == "conv1"
    assert told["graphcnn.line"].startswith("test_onnx_export.py:")
    assert told["graphcnn.rule"] == "Eq. 7"
    assert told["graphcnn.op"] == "correlate2d(padding=((1, 1), (1, 1)))"
    assert "Σm Σn" in told["graphcnn.equation"]
    assert str(Path(__file__).parent) not in str(proto)  # no folder of the user's


def test_the_same_model_makes_the_same_file(tmp_path):
    model = compiled("digits")
    for name in ("first", "second"):
        model.export_onnx(tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_several_inputs_and_outputs_keep_their_names(tmp_path):
    left, right = gcn.Input((4, 4, 2), name="left"), gcn.Input((4, 4, 2), name="right")
    network = gcn.Network([left, right], {"sum": left + right, "same": left})
    proto = exported(gcn.compile(network), tmp_path / "model.onnx")
    random = np.random.default_rng(0)
    x, y = (random.standard_normal((2, 2, 4, 4)).astype(np.float32) for _ in range(2))
    found = outputs_of(proto, left=x, right=y)
    assert np.array_equal(found["sum"], x + y)
    assert np.array_equal(found["same"], x)


@pytest.mark.parametrize("name", ["\0001", "ReLU/Relu", "relu1/Relu", "constant/2", "y.next", "ï", "a\nb"])
def test_names_that_look_like_those_inside(name, tmp_path):
    x = gcn.Input((3,), name=name)
    model = gcn.compile(gcn.Network(x, {"y": gcn.relu(x) * 2.0}))
    proto = exported(model, tmp_path / "model.onnx")
    assert outputs_of(proto, **{name: np.ones((1, 3), np.float32)})["y"].tolist() == [[2.0] * 3]


# What cannot be exported


def test_a_name_that_is_no_text(tmp_path):
    graph = gcn.Graph("mine")
    graph.output("output", graph.add(Tanh(), graph.input("half \ud800", gcn.TensorType(("N", 2)))))
    with pytest.raises(ExportError, match="no text"):
        gcn.compile(graph).export_onnx(tmp_path / "model.onnx")


def test_what_onnx_has_no_operators_for_is_listed_in_one_error(tmp_path):
    @gcn.pointwise
    def softsign(x):
        return x / (1.0 + abs(x))

    x = gcn.Input((4,))
    model = gcn.compile(gcn.Network(x, gcn.relu(softsign(x)) + softsign(x * 2.0)))
    with pytest.raises(ExportError) as raised:
        model.export_onnx(tmp_path / "model.onnx")
    assert raised.value.problem.startswith("2 of ")
    assert len(raised.value.facts) == 2
    assert all("softsign" in fact and "test_onnx_export.py:" in fact for fact in raised.value.facts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"opset": 16}, "opset=16"),
        ({"opset": "21"}, "opset='21'"),
        ({"layout": "CHWN"}, "CHWN"),
        ({"graph": "backward"}, "backward"),
        ({"graph": "gradient"}, "compiled without a loss"),
        ({"fold": 1}, "fold=1"),
    ],
)
def test_options_that_there_are_not(options, said, tmp_path):
    with pytest.raises(OptionError, match=said) as raised:
        compiled("digits").export_onnx(tmp_path / "model.onnx", **options)
    assert raised.value.mend


def test_a_step_is_not_folded(tmp_path):
    model = trained(gcn.Conv2d(2, 3))
    with pytest.raises(OptionError, match="step graph"):
        model.export_onnx(tmp_path / "model.onnx", "step", fold=True)


def test_a_file_that_would_be_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "MOST_BYTES", 2**20 + 10_000)
    with pytest.raises(ExportError, match="GB"):
        compiled("mnist_cnn").export_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(MissingFolderError):
        compiled("digits").export_onnx(tmp_path / "none" / "model.onnx")


def test_onnx_is_asked_for_where_it_is_missing(tmp_path):
    script = """if True:
        import sys
        import graphcnn as gcn
        sys.modules["onnx"] = None
        network = gcn.zoo.digits()
        try:
            gcn.compile(network, input_shape=(8, 8, 1)).export_onnx(sys.argv[1])
        except gcn.errors.OptionError as error:
            print(error.mend)
    """
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "model.onnx"], capture_output=True, text=True, timeout=60
    )
    assert run.stdout == "pip install 'graphcnn[onnx]'\n", run.stderr


def test_exporting_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["export", "lenet5", "--as", "onnx"])
    assert (result.exit_code, result.output) == (0, "lenet5.onnx\n")
    assert kinds(onnx.load("lenet5.onnx"))["Gemm"] == 3
    result = CliRunner().invoke(main, ["export", "digits", "--graph", "step", "--output", "step.onnx"])
    assert result.exit_code == 0, result.output
    assert "loss" in [each.name for each in onnx.load("step.onnx").graph.output]


# Ops of the user's own


def test_an_op_of_the_user_s_brings_what_it_is_in_onnx(tmp_path):
    def as_sinh_over_cosh(write, node, results):
        x = write.tensor(node.operands[0])
        write.put(results[0], write("Div", write("Sinh", x), write("Cosh", x)))

    register(Tanh, as_sinh_over_cosh)
    model = compiled("lecun1989")
    proto = exported(model, tmp_path / "model.onnx")
    assert (kinds(proto)["Sinh"], kinds(proto)["Tanh"]) == (3, 0)
    assert_agrees(model, proto)


def test_what_an_op_of_the_user_s_writes_is_checked(tmp_path):
    def wrong(write, node, results):
        write.put(results[0], write("NoSuchOperator", write.tensor(node.operands[0])))

    register(Tanh, wrong)
    with pytest.raises(ExportError, match="no valid ONNX") as raised:
        compiled("lecun1989").export_onnx(tmp_path / "model.onnx")
    assert any("NoSuchOperator" in fact for fact in raised.value.facts)
