"""Files that were made to do harm are refused at once: the error names the file, the field and the reason."""

import contextlib
import json
import os
import re
import struct
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphcnn as gcn
from graphcnn.errors import FileError, GraphcnnError, OptionError
from graphcnn.interchange import header, weights

DATA = np.arange(6, dtype=np.float32).tobytes()
GOOD = {
    "__metadata__": {"made by": "a test"},
    "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]},
}


def packed(head, data=DATA):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data


def changed(name, **fields):
    return packed({**GOOD, name: {**GOOD[name], **fields}})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.safetensors"


def refused(file, *reasons):
    """Assert that a file is refused with its name and these parts of a reason."""
    with pytest.raises(FileError) as caught:
        weights.read_weights(file)
    for part in (file.name, *reasons):
        assert part in str(caught.value)


def test_a_good_file_is_read(file):
    file.write_bytes(packed(GOOD))
    tensors, metadata = weights.read_weights(file)
    assert metadata == {"made by": "a test"}
    assert tensors["a"].tolist() == [[0, 1], [2, 3]]
    assert tensors["b"].tolist() == [4, 5]
    assert tensors["a"].flags.writeable


HOSTILE = {
    "a shape larger than its bytes": (
        changed("a", shape=[10**6, 10**6]),
        "tensor 'a': F32[1000000, 1000000] takes 4000000000000 bytes, but its data_offsets [0, 16] leave 16",
    ),
    "a shape whose product overflows 64 bits": (changed("a", shape=[2**62, 4]), "leave 16"),
    "a negative size": (changed("a", shape=[-2, -2]), "shape [-2, -2] is no list of sizes"),
    "a size that is no integer": (changed("a", shape=[2.0, 2]), "shape [2.0, 2] is no list of sizes"),
    "a size that is a truth": (changed("b", shape=[True, 2]), "shape [True, 2] is no list of sizes"),
    "a shape that is a number": (changed("a", shape=4), "shape 4 is no list of sizes"),
    "too many axes": (changed("a", shape=[1] * 40 + [4]), "is no list of sizes"),
    "an unknown element type": (changed("a", dtype="F128"), "tensor 'a': dtype 'F128'"),
    "an element type that is a list": (changed("a", dtype=["F32"]), "dtype ['F32']"),
    "overlapping tensors": (changed("b", data_offsets=[8, 16]), "tensors 'a' and 'b' overlap"),
    "the same bytes twice": (
        packed(
            {"a": GOOD["b"] | {"data_offsets": [0, 8]}, "b": GOOD["b"] | {"data_offsets": [0, 8]}}, DATA[:8]
        ),
        "tensors 'a' and 'b' overlap",
    ),
    "a hole between tensors": (
        packed({**GOOD, "b": {**GOOD["b"], "data_offsets": [20, 28]}}, DATA + bytes(4)),
        "tensors 'a' and 'b' leave a hole",
    ),
    "a hole in front": (packed({"b": GOOD["b"]}), "the first 16 bytes of data belong to no tensor"),
    "data behind the last tensor": (packed(GOOD, DATA + b"x"), "take 24 bytes, but the file has 25"),
    "data missing": (packed(GOOD, DATA[:-1]), "take 24 bytes, but the file has 23"),
    "offsets backwards": (changed("b", data_offsets=[24, 16]), "data_offsets [24, 16]"),
    "offsets beyond 64 bits": (changed("b", data_offsets=[0, 2**70]), "are no begin and end"),
    "a field more": (changed("a", path="/etc/passwd"), "tensor 'a' has other fields"),
    "a field less": (packed({"a": {"dtype": "F32", "shape": []}}), "tensor 'a' has other fields"),
    "a field twice": (
        packed(b'{"a": {"dtype": "F32", "dtype": "F64", "shape": [6], "data_offsets": [0, 24]}}'),
        "tensor 'a' has other fields",
    ),
    "a name twice": (
        packed(json.dumps(GOOD).replace('"b"', '"a"').encode()),
        "the header has 'a' twice",
    ),
    "metadata twice": (packed(b'{"__metadata__": {}, "__metadata__": {}}', b""), "'__metadata__' twice"),
    "a key of the metadata twice": (
        packed(b'{"__metadata__": {"x": "1", "x": "2"}}', b""),
        "the metadata has 'x' twice",
    ),
    "metadata that is no text": (packed(b'{"__metadata__": {"x": 1}}', b""), 'expected "'),
    "metadata that is deep": (packed(b'{"__metadata__": {"x": ' + b"[" * 10**6, b""), 'expected "'),
    "a tensor that is deep": (
        packed(b'{"x": ' + b"[" * 10**6, b""),
        "dtype, shape and offsets should be here",
    ),
    "a tensor of many lists": (
        packed(b'{"x": {"shape": [' + b"[]," * 10**6, b""),
        "dtype, shape and offsets should be here",
    ),
    "a deep shape": (
        packed(
            b'{"x": {"dtype": "F32", "shape": ' + b"[" * 400 + b"]" * 400 + b', "data_offsets": [0, 0]}}', b""
        ),
        "tensor 'x': shape",
    ),
    "a number of many digits": (
        packed(b'{"x": {"dtype": "F32", "shape": [' + b"9" * 900 + b'], "data_offsets": [0, 0]}}', b""),
        "tensor 'x': shape",
    ),
    "more behind the header": (packed(json.dumps(GOOD).encode() + b"{}"), "nothing more may stand here"),
    "control characters": (packed(b'{"a\x00": {}}', b""), "is not JSON"),
    "bytes that are no text": (packed(b'{"\xff": {}}', b""), "is not UTF-8"),
    "no object": (packed(b"[]", b""), "expected {"),
    "an empty header": (packed(b"", b""), "expected {"),
    "a header longer than the file": (struct.pack("<Q", 2**63) + b"{}", "more than the file has"),
    "an empty file": (b"", "more than the file has"),
    "truths of other bytes": (
        packed({"a": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\x01\x02"),
        "tensor 'a' has other bytes than 0 and 1",
    ),
}


@pytest.mark.parametrize(("content", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_header_is_refused(file, content, reason):
    file.write_bytes(content)
    tracemalloc.start()
    try:
        refused(file, "is not a whole safetensors file", f"size {len(content)} bytes", "reason: ", reason)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(content) + 2**20


def test_a_long_header_is_refused_before_it_is_read(file):
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", 2**30) + b'{"' + b"a" * 100)
        stream.truncate(2**31)  # a sparse file
    tracemalloc.start()
    try:
        refused(file, "the header is 1073741824 bytes long; 8388608 are allowed")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_too_many_tensors_are_refused(file, monkeypatch):
    monkeypatch.setattr(header, "MOST_TENSORS", 1)
    file.write_bytes(packed(GOOD))
    refused(file, "the header has more than 1 tensors")


def test_what_could_not_be_read_again_is_not_written(file, monkeypatch):
    monkeypatch.setattr(weights, "LONGEST_HEADER", 100)
    with pytest.raises(OptionError, match="too large for a file"):
        weights.write_weights(file, {"a": np.zeros(2)}, {"text": "x" * 100})
    assert not file.exists()


def test_a_file_cut_off_while_it_is_read_is_named(file, monkeypatch):
    file.write_bytes(packed(GOOD))
    parse = weights.parse_header

    def parse_and_cut(*arguments):
        os.truncate(file, file.stat().st_size - 10)
        return parse(*arguments)

    monkeypatch.setattr(weights, "parse_header", parse_and_cut)
    refused(file, "it was cut off while it was read")


def test_tensors_are_no_view_of_the_file(file):
    file.write_bytes(packed(GOOD))
    tensors, _ = weights.read_weights(file)
    with file.open("r+b") as stream:
        stream.truncate(0)
    assert tensors["a"].sum() == 6


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX's")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="does not exist, or is not a file"):
        weights.read_weights(tmp_path / "pipe")


def test_memory_for_loading_is_bounded_by_the_file(tmp_path):
    """Twice the file and some for the graphs; the file is 8 MB of weights."""
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(2000))
    path = tmp_path / "model.safetensors"
    gcn.compile(network, input_shape=(32, 32, 1), backend="numpy").save(path)
    gcn.load(path, backend="numpy")
    tracemalloc.start()
    try:
        gcn.load(path, backend="numpy")
        assert tracemalloc.get_traced_memory()[1] < 1.2 * path.stat().st_size + 2**20
    finally:
        tracemalloc.stop()


def with_nodes(path, count):
    """Put a chain of so many nodes behind the network of a saved model."""
    tensors, metadata = weights.read_weights(path)
    for name in ("forward_graph", "training_graph"):
        nodes = metadata[name].rpartition("\n\noutput")[0]
        first = 1 + max(int(key) for key in re.findall(r"^%([0-9]+):", nodes, re.MULTILINE))
        lines = [f"%{key}: float32[N, 2] = relu(%{key - 1})" for key in range(first, first + count)]
        metadata[name] = "\n".join([nodes, *lines, f'\noutput "output" = %{first + count - 1}\n'])
    path = path.with_name(f"{count} nodes.safetensors")
    weights.write_weights(path, tensors, metadata)
    return path


def test_loading_many_nodes_takes_memory_and_steps_by_their_number_alone(model_file):
    """Nothing is derived before it is asked for: each node is read once into each of the two graphs."""
    long = with_nodes(model_file, 4000)
    tracemalloc.start()
    try:
        model = gcn.load(long, backend="numpy")
        assert tracemalloc.get_traced_memory()[1] < 2 * long.stat().st_size + 64 * 2**20
    finally:
        tracemalloc.stop()
    assert len(model.forward_graph) > 4000
    counts = []
    for path in (with_nodes(model_file, 500), with_nodes(model_file, 1000)):
        calls = 0

        def count(frame, event, argument):
            nonlocal calls
            calls += event == "call"

        sys.setprofile(count)
        try:
            gcn.load(path, backend="numpy")
        finally:
            sys.setprofile(None)
        counts.append(calls)
    assert counts[1] < 2.1 * counts[0]


def test_a_loaded_model_derives_what_it_is_asked_for(model_file):
    model = gcn.load(model_file, backend="numpy")
    again = gcn.load(model_file, backend="numpy")
    model.train_step(np.ones((2, 5, 5, 1), np.float32), np.array([0, 1]))
    assert model.step_graph is model.step_graph
    assert again.evaluate(np.ones((2, 5, 5, 1), np.float32), np.array([0, 1])).keys() == {"loss", "accuracy"}
    assert str(again.step_graph) == str(model.step_graph)


def test_a_graph_with_more_states_than_the_file_has_tensors_is_not_parsed(model_file, monkeypatch):
    tensors, metadata = weights.read_weights(model_file)
    states = "".join(f'%{key}: float32[] = input(label="s{key}", role="state")\n' for key in range(20_000))
    path = model_file.with_name("states.safetensors")
    weights.write_weights(path, tensors, {**metadata, "training_graph": metadata["training_graph"] + states})
    monkeypatch.setattr("graphcnn.training.model_file.parse", None)
    with pytest.raises(FileError) as caught:
        gcn.load(path)
    assert "training_graph has 20008 parameters and states, but the file" in str(caught.value)


# Whatever is changed in a good file


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "model.safetensors"
    network = gcn.Sequential(
        gcn.Conv2d(2, 3), gcn.BatchNorm2d(), gcn.Dropout(0.1), gcn.Flatten(), gcn.Dense(2)
    )
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1, momentum=0.9)}
    model = gcn.compile(network, input_shape=(5, 5, 1), backend="numpy", **options)
    model.fit(np.ones((4, 5, 5, 1), np.float32), np.array([0, 1, 0, 1]), progress=False)
    model.save(path)
    return path


def assert_loads_or_is_refused(path, content):
    changed = path.with_name("changed.safetensors")
    changed.write_bytes(content)
    try:
        model = gcn.load(changed, backend="numpy")
    except FileError as error:
        assert changed.name in str(error)
        return
    except GraphcnnError as error:
        assert "functions" in str(error)
        return
    with contextlib.suppress(GraphcnnError):
        assert len(model.step_graph)


FUZZ = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
def test_changed_bytes(model_file, changes):
    content = bytearray(model_file.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    assert_loads_or_is_refused(model_file, bytes(content))


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@FUZZ
@given(st.data())
def test_changed_header(model_file, data):
    content = model_file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(content[8:end])
    name = data.draw(st.sampled_from(sorted(head)), "name")
    field = data.draw(st.sampled_from(sorted(head[name])), "field")
    head[name][field] = data.draw(VALUES, "value")
    assert_loads_or_is_refused(model_file, packed(head, content[end:]))


JSON_FIELDS = ["loss", "optimizer", "metrics", "history", "seed", "epochs_done", "learning_rate"]


@FUZZ
@given(st.data())
def test_changed_settings(model_file, data):
    tensors, metadata = weights.read_weights(model_file)
    field = data.draw(st.sampled_from(JSON_FIELDS), "field")
    value = data.draw(VALUES, "value")
    if field in ("loss", "optimizer"):
        description = json.loads(metadata[field])
        option = data.draw(st.sampled_from(sorted(description["options"])), "option")
        description["options"][option] = value
        value = description
    weights.write_weights(
        model_file.with_name("settings.safetensors"), tensors, {**metadata, field: json.dumps(value)}
    )
    assert_loads_or_is_refused(model_file, model_file.with_name("settings.safetensors").read_bytes())


PIECES = [
    "%0",
    "%1",
    "%99",
    "(",
    ")",
    "[",
    "]",
    ",",
    "=",
    '"',
    "|",
    ":",
    "\n",
    " ",
    "1",
    "1.5",
    "-1",
    "0",
    "N",
    "True",
]
PIECES += [
    "inf",
    "nan",
    "1e999",
    "relu",
    "transpose",
    "axes=(1.0,)",
    "\x00",
    "\u0663",
    "(((((((((((",
    "float64",
    "\\",
]


@FUZZ
@given(st.data())
def test_changed_graphs(model_file, data):
    tensors, metadata = weights.read_weights(model_file)
    for name in ("forward_graph", "training_graph"):
        for _ in range(data.draw(st.integers(0, 2))):
            text = metadata[name]
            begin = data.draw(st.integers(0, len(text)))
            end = begin + data.draw(st.integers(0, 12))
            metadata[name] = text[:begin] + data.draw(st.sampled_from(PIECES)) + text[end:]
    path = model_file.with_name("graphs.safetensors")
    weights.write_weights(path, tensors, metadata)
    assert_loads_or_is_refused(model_file, path.read_bytes())
