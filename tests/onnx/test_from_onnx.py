"""Networks from ONNX files: the same outputs, the file's weights and names, and training that goes on."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import graphcnn as gcn
from graphcnn.errors import FileError
from tests.onnx.models import Writer, lenet, reference, resnet


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def predicted(model, images, **options):
    return gcn.compile(gcn.from_onnx(model.SerializeToString()), **options).predict(images)


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("make", [lenet, resnet])
def test_outputs_are_those_of_the_reference(make, backend):
    model = make()
    (_, channels, height, width) = (1, 1, 28, 28) if make is lenet else (1, 3, 16, 16)
    images = drawn(3, channels, height, width)
    (expected,) = reference(model, **{model.graph.input[0].name: images})
    found = predicted(model, images.transpose(0, 2, 3, 1), backend=backend)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_outputs_are_those_of_onnx_runtime():
    runtime = pytest.importorskip("onnxruntime")
    for model, shape in ((lenet(), (4, 1, 28, 28)), (resnet(), (4, 3, 16, 16))):
        images = drawn(*shape)
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (expected,) = session.run(None, {model.graph.input[0].name: images})
        found = predicted(model, images.transpose(0, 2, 3, 1))
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 16, 18, 21, onnx.defs.onnx_opset_version()])
def test_every_version_of_the_operators(opset):
    model = resnet(opset)
    images = drawn(2, 3, 16, 16)
    (expected,) = reference(resnet(17), x=images)
    np.testing.assert_allclose(predicted(model, images.transpose(0, 2, 3, 1)), expected, atol=1e-5)


def test_layers_have_the_names_and_weights_of_the_file():
    model = resnet()
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    compiled = gcn.compile(gcn.from_onnx(model.SerializeToString()))
    found = compiled.weights
    assert list(compiled.parameters) == [
        *("conv1.filters", "bn1.scale", "bn1.shift"),
        *("layer1.0.conv1.filters", "layer1.0.bn1.scale", "layer1.0.bn1.shift"),
        *("layer1.0.conv2.filters", "layer1.0.bn2.scale", "layer1.0.bn2.shift"),
        *("layer1.0.downsample.conv.filters", "layer1.0.downsample.bn.scale", "layer1.0.downsample.bn.shift"),
        *("fc.weights", "fc.bias"),
    ]
    np.testing.assert_array_equal(found["conv1.filters"], weights["conv1.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(found["layer1.0.bn1.variance"], weights["layer1.0.bn1.running_var"])
    np.testing.assert_array_equal(found["fc.weights"], weights["fc.weight"])


@pytest.mark.parametrize("make", [lenet, resnet])
def test_training_goes_on_from_the_weights(make):
    file = make()
    logits = next(node.output[0] for node in reversed(file.graph.node) if node.op_type != "Softmax")
    network = gcn.from_onnx(file.SerializeToString(), outputs=[logits])
    images, labels = drawn(32, *network.inputs[0].shape[1:]), np.arange(32) % 10
    model = gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.Adam(0.003))
    before = {name: array.copy() for name, array in model.weights.items()}
    first = model.evaluate(images, labels)["loss"]
    for _ in range(40):
        model.train_step(images, labels)
    assert model.evaluate(images, labels)["loss"] < first / 2
    assert all((model.weights[name] != array).any() for name, array in before.items())


def test_a_network_of_a_file_is_a_part_of_others_with_its_weights():
    network = gcn.from_onnx(lenet().SerializeToString())
    images = drawn(2, 28, 28, 1)
    alone = gcn.compile(network).predict(images)
    within = gcn.compile(gcn.Sequential(gcn.Input((28, 28, 1)), network, gcn.Softmax())).predict(images)
    exponentials = np.exp(alone - alone.max(1, keepdims=True))
    np.testing.assert_allclose(within, exponentials / exponentials.sum(1, keepdims=True), rtol=1e-5)


def test_a_fixed_batch_becomes_any_and_stays_on_request():
    model = resnet(batch=2)
    images = drawn(5, 3, 16, 16)
    (expected,) = reference(resnet(), x=images)
    np.testing.assert_allclose(predicted(model, images.transpose(0, 2, 3, 1)), expected, atol=1e-5)
    kept = gcn.from_onnx(model.SerializeToString(), batch=False)
    assert kept.inputs[0].shape == (2, 16, 16, 3)


def test_sizes_that_a_file_leaves_open_are_asked_for():
    w = Writer()
    model = w.model({"image": ("N", 3, "height", "width")}, w.node("Relu", "image"))
    with pytest.raises(gcn.InterchangeError, match=r"leaves sizes of its inputs open") as error:
        gcn.from_onnx(model.SerializeToString())
    assert "shapes={'image': (None, 3, 224, 224)}" in error.value.mend
    network = gcn.from_onnx(model.SerializeToString(), shapes={"image": (None, 3, 8, 10)})
    assert network.inputs[0].shape == ("N", 8, 10, 3)
    with pytest.raises(gcn.OptionError, match="does not fit"):
        gcn.from_onnx(model.SerializeToString(), shapes={"image": (None, 4, 8, 10)})


def test_transposes_cancel():
    """A file that goes from NHWC to NCHW and back, as TensorFlow's do, has no transpose left."""
    w = Writer()
    h = w.node("Transpose", "image", perm=[0, 3, 1, 2])
    h = w.node("Conv", h, w.weight("w", 4, 3, 3, 3))
    h = w.node("Add", w.node("Relu", h), w.array("shift", np.arange(4).reshape(4, 1, 1)))
    h = w.node("Concat", h, h, axis=1)
    h = w.node("ReduceMean", w.node("Transpose", h, perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=0)
    model = w.model({"image": ("N", 8, 8, 3)}, h)
    network = gcn.from_onnx(model.SerializeToString())
    assert not any(isinstance(node.op, gcn.ops.Transpose) for _, node in network.graph.items())
    images = drawn(2, 8, 8, 3)
    np.testing.assert_allclose(
        gcn.compile(network).predict(images), reference(model, image=images)[0], atol=1e-5
    )


def test_all_that_is_in_the_way_is_in_one_error():
    w = Writer()
    h = w.node("Relu", w.node("NonZero", "x", name="places"))
    other = w.node("Det", w.node("MaxUnpool", "x", "x", kernel_shape=[2, 2], name="back"), name="volume")
    with pytest.raises(gcn.InterchangeError, match="cannot read") as error:
        gcn.from_onnx(w.model({"x": ("N", 3, 4, 4)}, h, other).SerializeToString())
    said = str(error.value)
    assert "NonZero ('places')" in said and "MaxUnpool ('back')" in said and "Det ('volume')" in said
    assert "Relu" not in said


def test_a_network_ends_where_it_is_told():
    model = lenet()
    features = gcn.from_onnx(model.SerializeToString(), outputs=["flatten_7_0"])
    assert features.output.shape == ("N", 400)
    with pytest.raises(gcn.OptionError, match="neither a value nor a node") as error:
        gcn.from_onnx(model.SerializeToString(), outputs=["flatten_7_1"])
    assert "flatten_7_0" in error.value.mend


def test_a_shared_weight_stays_shared():
    w = Writer()
    weight = w.weight("conv.weight", 3, 3, 3, 3)
    h = w.node("Conv", w.node("Conv", "x", weight, pads=[1] * 4), weight, pads=[1] * 4)
    network = gcn.from_onnx(w.model({"x": ("N", 3, 6, 6)}, h).SerializeToString())
    assert list(gcn.compile(network).parameters) == ["conv.filters"]


def test_constants_stay_and_initializers_are_trained():
    w = Writer()
    h = w.node("Mul", "x", w.weight("scale", 3, 1, 1))
    values = onnx.numpy_helper.from_array(np.float32([[[1]], [[2]], [[3]]]))
    h = w.node("Add", h, w.node("Constant", value=values))
    model = w.model({"x": ("N", 3, 6, 6)}, h)
    compiled = gcn.compile(gcn.from_onnx(model.SerializeToString()))
    assert list(compiled.parameters) == ["scale"]
    images = drawn(2, 3, 6, 6)
    expected = reference(model, x=images)[0].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(compiled.predict(images.transpose(0, 2, 3, 1)), expected, rtol=1e-6)


def test_dropout_drops_in_training_alone():
    w = Writer()
    h = w.node("Dropout", "x", w.array("ratio", 0.5))
    network = gcn.from_onnx(w.model({"x": ("N", 6)}, h).SerializeToString())
    assert not any(isinstance(node.op, gcn.ops.Greater) for _, node in network.graph.items())
    training = network.trace(training=True).graph
    assert any(isinstance(node.op, gcn.ops.Greater) for _, node in training.items())


def test_functions_of_the_file_are_read():
    body = [
        helper.make_node("Mul", ["a", "a"], ["square"]),
        helper.make_node("Add", ["square", "b"], ["sum"]),
    ]
    function = helper.make_function(
        "own", "SquarePlus", ["a", "b"], ["sum"], body, [helper.make_opsetid("", 17)]
    )
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "y")]
    node = helper.make_node("SquarePlus", ["x", "x"], ["y"], domain="own")
    graph = helper.make_graph([node], "g", info[:1], info[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    x = drawn(3, 4)
    np.testing.assert_allclose(predicted(model, x), x * x + x, rtol=1e-6)


def test_a_known_condition_chooses_a_branch():
    def branch(op_type):
        made = helper.make_tensor_value_info("made", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op_type, ["x"], ["made"])], op_type, [], [made])

    w = Writer()
    condition = w.array("condition", True, bool)
    h = w.node("If", condition, then_branch=branch("Neg"), else_branch=branch("Abs"))
    x = drawn(3, 4)
    np.testing.assert_array_equal(predicted(w.model({"x": ("N", 4)}, h), x), -x)


def test_external_data_is_read_from_the_folder(tmp_path):
    model = lenet()
    images = drawn(2, 1, 28, 28)
    (expected,) = reference(model, image=images)
    path = tmp_path / "lenet.onnx"
    onnx.save(model, path, save_as_external_data=True, location="lenet.data", size_threshold=0)
    found = gcn.compile(gcn.from_onnx(path)).predict(images.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(FileError, match="bytes have no folder"):
        gcn.from_onnx(path.read_bytes())


def test_double_precision_stays():
    w = Writer(dtype=np.float64)
    model = w.model({"x": ("N", 3, 6, 6)}, w.node("Conv", "x", w.weight("w", 4, 3, 3, 3)))
    images = np.random.default_rng(2).normal(size=(2, 3, 6, 6))
    found = predicted(model, images.transpose(0, 2, 3, 1))
    assert found.dtype == np.float64
    expected = reference(model, x=images)[0].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("element", [TensorProto.FLOAT16, TensorProto.BFLOAT16], ids=["float16", "bfloat16"])
def test_numbers_of_16_bits_are_read_as_float32(element, tmp_path):
    """As if the same numbers were in the file in float32: weights, constants, casts, and what is beside."""
    images = drawn(3, 1, 28, 28).transpose(0, 2, 3, 1)
    half, full = lenet(), lenet()
    for ours, other in zip(half.graph.initializer, full.graph.initializer, strict=True):
        values = onnx.numpy_helper.to_array(ours)
        ours.CopyFrom(helper.make_tensor(ours.name, element, values.shape, values.reshape(-1)))
        values = onnx.numpy_helper.to_array(ours).astype(np.float32)
        other.CopyFrom(onnx.numpy_helper.from_array(values, other.name))
    for value in (*half.graph.input, *half.graph.output):
        value.type.tensor_type.elem_type = element
    halved = helper.make_node("Constant", [], ["half"], value=helper.make_tensor("", element, [1], [0.5]))
    cast = helper.make_node("Cast", ["image"], ["cast"], to=element)
    half.graph.node.insert(0, halved)
    half.graph.node.insert(1, cast)
    half.graph.node.insert(2, helper.make_node("Mul", ["cast", "half"], ["scaled"]))
    half.graph.node[3].input[0] = "scaled"
    found = predicted(half, images)
    assert found.dtype == np.float32
    assert np.array_equal(found, predicted(full, images / 2))
    onnx.save(
        half, tmp_path / "half.onnx", save_as_external_data=True, location="half.data", size_threshold=0
    )
    assert np.array_equal(gcn.compile(gcn.from_onnx(tmp_path / "half.onnx")).predict(images), found)


def test_names_of_the_file_do_not_meet_those_of_what_is_between():
    """The transposition before a flatten has no node in the file, and is called transpose1."""
    w = Writer()
    h = w.node("Flatten", w.node("Conv", "x", w.weight("w", 3, 3, 3, 3), name="transpose1"))
    h = w.node("Gemm", h, w.weight("v", 48, 5), name="reshape1")
    network = gcn.from_onnx(w.model({"x": ("N", 3, 6, 6)}, h).SerializeToString())
    assert list(gcn.compile(network).parameters) == ["transpose1_2.filters", "reshape1_2.weights"]


def test_a_bias_that_something_else_shares():
    """Exporters make equal weights one, by the name of the first; here each use has its own."""
    w = Writer()
    bias = w.weight("conv.bias", 3)
    h = w.node("Conv", "x", w.weight("conv.weight", 3, 3, 1, 1), bias)
    column = w.node("Unsqueeze", bias, w.array("axes", [1, 2], np.int64))
    model = w.model({"x": ("N", 3, 6, 6)}, w.node("Add", column, w.node("Mul", h, column)))
    images = drawn(2, 3, 6, 6)
    expected = reference(model, x=images)[0].transpose(0, 2, 3, 1)
    compiled = gcn.compile(gcn.from_onnx(model.SerializeToString()))
    assert sorted(compiled.parameters) == ["conv.bias", "conv.bias_2", "conv.filters"]
    np.testing.assert_allclose(compiled.predict(images.transpose(0, 2, 3, 1)), expected, rtol=1e-5, atol=1e-6)


def test_rows_that_are_picked_of_a_weight_are_trained_as_one():
    """As the biases of relative positions are: each is in several places."""
    w = Writer()
    table = w.weight("table", 3, 2)
    rows = w.node("Gather", table, w.array("index", [[0, 1], [1, 0]], np.int64), axis=0)
    h = w.node("Add", "x", w.node("Transpose", rows, perm=[2, 0, 1]))
    model = w.model({"x": ("N", 2, 2, 2)}, w.node("Flatten", h))
    compiled = gcn.compile(
        gcn.from_onnx(model.SerializeToString()), loss=gcn.SquaredError(), optimizer=gcn.SGD(0.1)
    )
    assert list(compiled.parameters) == ["table"]
    before = compiled.weights["table"].copy()
    images = drawn(1, 2, 2, 2)
    expected = reference(model, x=images.transpose(0, 3, 1, 2).copy())[0]
    np.testing.assert_allclose(compiled.predict(images), expected, rtol=1e-6)
    compiled.train_step(images, np.zeros((1, 8), np.float32))
    gradient = expected.reshape(2, 2, 2)  # [C, 2, 2], of half the squares
    moved = [gradient[:, 0, 0] + gradient[:, 1, 1], gradient[:, 0, 1] + gradient[:, 1, 0], np.zeros(2)]
    np.testing.assert_allclose(compiled.weights["table"], before - 0.1 * np.array(moved), rtol=1e-5)


def test_a_weight_that_the_file_transposes_is_trained():
    """As it is exported in training mode, with its layer on images whose channels are last."""
    w = Writer()
    last = w.node("Transpose", "x", perm=[0, 2, 3, 1])
    h = w.node("MatMul", last, w.node("Transpose", w.weight("fc.weight", 5, 3), perm=[1, 0]))
    model = w.model({"x": ("N", 3, 4, 4)}, w.node("Flatten", h))
    assert list(gcn.compile(gcn.from_onnx(model.SerializeToString())).parameters) == ["fc.weight"]
