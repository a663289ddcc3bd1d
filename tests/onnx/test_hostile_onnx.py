"""ONNX files that were made to do harm are refused at once, with an error that names the reason."""

import os
import random
import sys
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphcnn as gcn
from graphcnn.errors import FileError, GraphcnnError, InterchangeError
from tests.onnx.models import Writer, lenet, resnet

ROOM = 64 * 2**20


def refused(content, *reasons):
    """Assert that a model is refused with these parts of a reason, and with little memory."""
    given = content if isinstance(content, bytes) else content.SerializeToString()
    tracemalloc.start()
    try:
        with pytest.raises(GraphcnnError) as caught:
            gcn.from_onnx(given)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(given) + ROOM
    finally:
        tracemalloc.stop()
    for reason in reasons:
        assert reason in str(caught.value)
    return caught.value


def model(*nodes, weights=(), shape=("N", 3, 8, 8), outputs=("y",), **given):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "g", inputs, results, list(weights))
    return helper.make_model(
        graph, **{"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8, **given}
    )


def node(op_type, *inputs, y="y", **attributes):
    return helper.make_node(op_type, list(inputs), [y], **attributes)


def numbers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def tensor(name="w", **fields):
    """Return a tensor that says of itself what it likes."""
    made = TensorProto(name=name, data_type=TensorProto.FLOAT)
    for field, value in fields.items():
        getattr(made, field).extend(value) if isinstance(value, list) else setattr(made, field, value)
    return made


def with_weight(weight):
    return model(node("Add", "x", "w"), weights=[weight])


def added(made, *weights):
    """Return a model that adds what a node makes of weights."""
    return model(made, node("Add", "x", "c"), weights=weights)


def recursive_function():
    body = [helper.make_node("Own", ["a"], ["b"], domain="own")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Own", ["a"], ["b"], body, opsets)
    return model(node("Own", "x", domain="own"), functions=[function], opset_imports=opsets)


def doubling_functions(count=40):
    """Functions each of which calls the one before twice: 2^40 nodes in a few kilobytes."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = []
    for number in range(count):
        kind, domain = (f"F{number - 1}", "own") if number else ("Relu", "")
        body = [
            helper.make_node(kind, ["a"], ["h"], domain=domain),
            helper.make_node(kind, ["h"], ["b"], domain=domain),
        ]
        functions.append(helper.make_function("own", f"F{number}", ["a"], ["b"], body, opsets))
    return model(node(f"F{count - 1}", "x", domain="own"), functions=functions, opset_imports=opsets)


def field(number, content):
    """Return a field of a message as it is written."""
    length, rest = b"", len(content)
    while rest > 127:
        length += bytes([rest & 127 | 128])
        rest >>= 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + content


def deep_branches(depth=200):
    """Return bytes of a graph in an attribute of a node in a graph, and so on."""
    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))
    return field(7, graph)


def repeated(number, content, count):
    """Return bytes in which a field of a model's graph is repeated."""
    return field(7, field(number, content) * count)


ALONG = {"Gather", "ScatterElements", "Compress"}
HOSTILE = {
    "nothing": (b"", "it is empty"),
    "another format": (b"\x89PNG\r\n\x1a\n" + bytes(100), "ONNX file"),
    "a pickle": (b"\x80\x04\x95" + bytes(50), "ONNX file"),
    "half of a file": (lenet().SerializeToString()[:9000], "ONNX file"),
    "a field longer than the file": (b"\x3a\xff\xff\xff\x7f", "0 are left"),
    "a number without an end": (b"\x3a" + b"\xff" * 30, "no whole number"),
    "two hundred thousand empty nodes": (repeated(1, b"", 200_000), "more than 150000 messages"),
    "a million fields": (repeated(2, b"a", 500_000), "more than 400000 fields"),
    "numbers that grow eightfold": (
        with_weight(tensor(dims=[9 * 2**20], data_type=TensorProto.INT64, int64_data=[0] * (9 * 2**20))),
        "numbers of variable length",
    ),
    "graphs in graphs": (deep_branches(), "more than 24 deep"),
    "no graph": (onnx.ModelProto(producer_name="nobody"), "no graph with nodes"),
    "no version": (model(node("Relu", "x"), opset_imports=[helper.make_opsetid("", 0)]), "of version 0"),
    "a version of the future": (model(node("Relu", "x"), opset_imports=[helper.make_opsetid("", 99)]), "99"),
    "a shape larger than its bytes": (
        with_weight(tensor(dims=[10**6, 10**6], raw_data=bytes(4))), "has no numbers for it",
    ),
    "a shape beyond 64 bits": (with_weight(tensor(dims=[2**62, 4, 2**62], raw_data=bytes(8))), "no numbers"),
    "a negative size": (with_weight(tensor(dims=[-1, 3], raw_data=bytes(12))), "has the shape [-1, 3]"),
    "too many axes": (with_weight(tensor(dims=[1] * 40, raw_data=bytes(4))), "has the shape"),
    "an unknown element type": (with_weight(tensor(dims=[1], data_type=77, raw_data=bytes(4))), "type 77"),
    "text as a weight": (
        with_weight(tensor(dims=[1], data_type=TensorProto.STRING, string_data=[b"a"])), "holds text",
    ),
    "more bytes than a shape": (with_weight(tensor(dims=[1], raw_data=bytes(40))), "reshape"),
    "bytes that are no whole numbers": (with_weight(tensor(dims=[1], raw_data=bytes(3))), "tensor 'w'"),
    "a cycle": (model(node("Add", "x", "z"), node("Relu", "y", y="z")), "in a cycle"),
    "a node that takes its own output": (model(node("Add", "x", "y")), "in a cycle"),
    "two nodes that make one value": (model(node("Relu", "x"), node("Neg", "x")), "make 'y'"),
    "an output that nobody makes": (model(node("Relu", "x"), outputs=["z"]), "made by no node"),
    "a function that calls itself": (recursive_function(), "calls itself"),
    "functions that double": (doubling_functions(), "are 2199023255550 nodes"),
    "functions that double less deep": (doubling_functions(15), "are 65534 nodes"),
    "a constant of a million gigabytes": (
        added(node("ConstantOfShape", "s", y="c"), numbers("s", 2**30, 2**20)),
        "makes 1125899906842624 numbers",
    ),
    "a range without an end": (
        model(
            node("Range", "a", "b", "c", y="r"),
            node("Add", "x", "r"),
            weights=[numpy_helper.from_array(np.int64(v), n) for n, v in (("a", 0), ("b", 2**60), ("c", 1))],
        ),
        "makes 1152921504606846976 numbers",
    ),
    "an array repeated without an end": (
        added(node("Tile", "s", "s", y="c"), numbers("s", 2**62)), "numbers of",
    ),
    "a pad without an end": (
        added(node("Pad", "s", "p", y="c"), numbers("s", 1), numbers("p", 0, 2**60)),
        "numbers of",
    ),
    **{
        f"indices repeated without an end, {operator}": (
            model(
                node("ConstantOfShape", "s", y="i", value=numbers("", 0)),
                node(operator, *operands, axis=1) if operator in ALONG else node(operator, *operands),
                weights=[numbers("s", *shape)],
            ),
            reason,
        )
        for operator, operands, shape, reason in (
            ("Gather", ("x", "i"), (2**14, 2**13), "takes 134217728 places one by one"),
            ("GatherND", ("x", "i"), (2**14, 2**13, 2), "takes 134217728 places one by one"),
            ("ScatterND", ("x", "i", "x"), (2**14, 2**13, 2), "takes 134217728 places one by one"),
            ("ScatterElements", ("x", "i", "x"), (2**7, 2**7, 2**6, 2**7), "takes 134217728 places"),
            ("Compress", ("x", "i"), (2**27,), "takes 134217728 places one by one"),
        )
    },
    "places without an end in a map": (
        model(
            node("AffineGrid", "x", "s"),
            weights=[numbers("s", 1, 1, 2**20, 2**20)],
            shape=("N", 2, 3),
            opset_imports=[helper.make_opsetid("", 20)],
        ),
        "makes 1099511627776 places",
    ),
    "regions without an end": (
        model(
            node("Resize", "x", "r", "", "s", coordinate_transformation_mode="tf_crop_and_resize"),
            weights=[
                numpy_helper.from_array(np.float32([0, 0, 0, 0, 1, 1, 1, 1]), "r"),
                numbers("s", 1, 3, 2**16, 2**16),
            ],
            shape=(1, 3, 8, 8),
        ),
        "makes 4294967296 places of regions",
    ),
    "numbers of samples without an end": (
        model(
            node("Shape", "x", y="n", end=1),
            node("Squeeze", "n", y="m"),
            node("Range", "0", "m", "1", y="r"),
            node("Unsqueeze", "r", "b", y="u"),
            node("Add", "u", "c", y="v"),
            node("Unsqueeze", "v", "e", y="w"),
            node("Add", "w", "d", y="z"),
            weights=[
                numpy_helper.from_array(np.int64(0), "0"),
                numpy_helper.from_array(np.int64(1), "1"),
                numbers("b", 1),
                numbers("e", 2),
                numbers("c", *range(2**10)),
                numbers("d", *range(2**10)),
            ],
            outputs=("z",),
        ),
        "takes 1048576 places one by one",
    ),
    "a repetition of what is computed": (
        model(node("Tile", "x", "s"), weights=[numbers("s", 1, 1, 1, 2**50)]), "it repeats axis 3",
    ),
    "a resize without an end": (
        model(
            node("Resize", "x", "", "s"),
            weights=[numpy_helper.from_array(np.float32([1, 1, 2.0**40, 1]), "s")],
        ),
        "it resizes 8 places",
    ),
    "a pool without an end": (
        model(node("MaxPool", "x", kernel_shape=[2**40, 2], dilations=[2, 2], pads=[0, 0, 2**41, 0])),
        "its windows of",
    ),
    "attributes of other types": (model(node("Conv", "x", "x", strides="two", kernel_shape=1.5)), "Conv"),
    "too few operands": (model(node("Concat", axis=1)), "Concat"),
    "an axis that there is not": (model(node("Softmax", "x", axis=2**40)), "is none of a value"),
    "a name that moves the cursor": (model(node("Evil\x1b[2J", "x")), "\\x1b[2J"),
    "a scan": (model(node("Scan", "x", body=helper.make_graph([], "b", [], []), num_scan_inputs=1)), "Scan"),
    "an input without a shape": (
        helper.make_model(
            helper.make_graph(
                [node("Relu", "x")], "g", [helper.make_tensor_value_info("x", 1, None)],
                [helper.make_tensor_value_info("y", 1, None)],
            )
        ),
        "does not say the shape",
    ),
    "an input of nothing": (model(node("Relu", "x"), shape=("N", 0, 4)), "has the shape"),
    "a sparse weight of any size": (
        model(node("Relu", "x")), "sparse",
    ),
}  # fmt: skip
HOSTILE["a sparse weight of any size"][0].graph.sparse_initializer.add(dims=[2**60])


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_models_are_refused(kind):
    content, *reasons = HOSTILE[kind]
    refused(content, *reasons)


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "own.data").write_bytes(bytes(48))
    (tmp_path / "secret").write_bytes(bytes(48))
    return inside


def elsewhere(folder, location, **entries):
    """Write a model whose weight [1, 3, 2, 2] is in another file."""
    weight = TensorProto(name="w", data_type=1, dims=[3, 2, 2], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    path = folder / "model.onnx"
    path.write_bytes(model(node("Add", "x", "w"), weights=[weight], shape=("N", 3, 2, 2)).SerializeToString())
    return path


def test_external_data_within_the_folder_is_read(folder):
    assert gcn.from_onnx(elsewhere(folder, "own.data", offset=0, length=48)).output.shape == ("N", 2, 2, 3)


@pytest.mark.parametrize(
    ("location", "entries", "reason"),
    [
        ("../secret", {}, "no place in the model's folder"),
        ("a/../../secret", {}, "no place in the model's folder"),
        ("/etc/passwd", {}, "no place in the model's folder"),
        ("..\\secret", {}, "no place in the model's folder"),
        ("", {}, "no place in the model's folder"),
        ("own.data\0", {}, "no place in the model's folder"),
        ("missing", {}, "No such file"),
        (".", {}, "is at"),
        ("own.data", {"offset": 40}, "which has 48"),
        ("own.data", {"offset": -8}, "the place '-8'"),
        ("own.data", {"offset": 2**70}, "the place"),
        ("own.data", {"length": 2**40}, "takes 48 bytes"),
        ("link", {}, "which is a link"),
        ("hard", {}, "which is a link"),
        ("folder/secret", {}, "which is a link"),
        ("pipe", {}, "which has 0"),
    ],
)
def test_external_data_elsewhere_is_not(folder, location, entries, reason):
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "folder").symlink_to(folder.parent)
    os.link(folder.parent / "secret", folder / "hard")
    os.mkfifo(folder / "pipe")
    with pytest.raises(FileError) as caught:
        gcn.from_onnx(elsewhere(folder, location, **entries))
    assert reason in str(caught.value)


def test_no_file_is_executed_or_opened_beside(folder):
    """Reading a model opens it and what it names in its folder, and starts, imports or evaluates nothing."""
    path = elsewhere(folder, "own.data")
    gcn.from_onnx(path)
    seen = []
    active = [True]

    def hook(event, arguments):
        if active and event in ("open", "exec", "compile", "import", "subprocess.Popen", "pickle.find_class"):
            seen.append((event, str(arguments[0])))

    sys.addaudithook(hook)
    gcn.from_onnx(path)
    active.clear()
    opened = {os.path.basename(name) for event, name in seen if event == "open"}  # noqa: PTH119
    assert opened - {"model.onnx"} <= {str(name) for name in opened if name == "own.data" or name.isdigit()}
    assert not [event for event, _ in seen if event != "open"]


def changed(content, generator):
    """Return a file with some bytes changed, left out or put in."""
    made = bytearray(content)
    for _ in range(generator.choice([1, 1, 2, 4, 8])):
        place = generator.randrange(len(made))
        way = generator.randrange(3)
        if way == 0:
            made[place] = generator.randrange(256)
        elif way == 1:
            del made[place : place + generator.choice([1, 2, 50])]
        else:
            made[place:place] = bytes(generator.randrange(256) for _ in range(generator.choice([1, 3])))
    return bytes(made)


def test_damaged_files_are_networks_or_errors():
    generator = random.Random(4)
    w = Writer()
    h = w.node("Pad", "x", w.array("p", [0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    h = w.node("Slice", h, *(w.array(n, [v], np.int64) for n, v in (("a", 0), ("b", 5), ("c", 2))))
    h = w.node("Resize", h, "", w.array("s", [1, 1, 2, 2]), mode="linear")
    small = w.model({"x": ("N", 2, 6, 6)}, w.node("Softmax", w.node("LRN", h, size=3), axis=1))
    contents = [resnet().SerializeToString(), small.SerializeToString()]
    outcomes = set()
    for number in range(150):
        try:
            gcn.from_onnx(changed(contents[number % 2], generator))
            outcomes.add("network")
        except (FileError, InterchangeError, GraphcnnError) as error:
            outcomes.add(type(error).__name__)
    assert {"network", "FileError"} <= outcomes
