"""Valid small files of models, weights, graphs, networks of others, and options; how each is read.

Where a checksum or a length in front would turn nearly every change away at once, it is put right before the
file is read, so that what lies behind is reached, too.
"""

import functools
import json
import os
import re
import tempfile
from pathlib import Path

import click
import numpy as np
from trying import in_folder, written

import graphcnn as gcn
from graphcnn import ops
from graphcnn.backend import Backend, load_backend
from graphcnn.cli.config import take_over
from graphcnn.cli.train import train
from graphcnn.interchange import weights
from graphcnn.training.callbacks import Callback

# Safetensors. An input is the JSON of the header, a zero byte, and the data: the length in front is made.


def safetensors_file(content: bytes) -> bytes:
    """Return the file of an input, with the checksum that it needs if it says one."""
    head, _, data = content.partition(b"\0")
    whole = len(head).to_bytes(8, "little") + head
    found = re.search(weights._CLOSED, head)
    if found is None:
        return whole + data
    crc = weights._crc(weights._CLOSED.sub(weights._OPEN, whole, count=1), data)
    return weights._CLOSED.sub(b'"%s":"%08x"' % (weights.CHECKSUM.encode(), crc), whole, count=1) + data


def _without_length(file: bytes) -> bytes:
    length = int.from_bytes(file[:8], "little")
    return file[8 : 8 + length] + b"\0" + file[8 + length :]


def tensors() -> list[bytes]:
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([True, False]),
        "c": np.zeros((0, 4), np.int64),
    }
    many = {f"layer{number}.weights": np.full(number, number, np.uint8) for number in range(12)}
    write = functools.partial(weights.write_weights, metadata={"made by": "a test"})
    return [_without_length(in_folder(functools.partial(write, tensors=held))) for held in (arrays, many, {})]


class _Kept(Callback):
    def state(self):
        return {"number": 1, "array": np.arange(3), "arrays": {"x": np.ones(2)}}


@functools.cache
def models() -> list[bytes]:
    network = gcn.Sequential(
        gcn.Conv2d(2, 3), gcn.BatchNorm2d(), gcn.Dropout(0.1), gcn.Flatten(), gcn.Dense(2)
    )
    images, labels = np.ones((4, 5, 5, 1), np.float32), np.array([0, 1, 0, 1])
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.1, momentum=0.9)}
    model = gcn.compile(network, input_shape=(5, 5, 1), backend="numpy", **options)
    model.fit(images, labels, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        kept = gcn.Checkpoint(Path(folder) / "all", every=1)
        model.fit(images, labels, epochs=2, progress=False, checkpoint=kept, callbacks=[_Kept()])
        checkpoint = next((Path(folder) / "all").rglob("*.safetensors"))
        files = [Path(folder) / "model", checkpoint]
        return [_without_length(path.read_bytes()) for path in files]


@functools.cache
def _backend() -> Backend:
    return load_backend("numpy")  # which looks through the installed packages


def load_model(path: Path) -> object:
    written(path, safetensors_file(path.read_bytes()))
    return gcn.load(path, backend=_backend())


def read_weights(path: Path) -> object:
    written(path, safetensors_file(path.read_bytes()))
    return weights.read_weights(path)


# Graphs


@functools.cache
def texts() -> list[bytes]:
    texts = []
    for model in models():
        head = json.loads(model.partition(b"\0")[0])["__metadata__"]
        texts += [head["forward_graph"].encode(), head["training_graph"].encode()]
    return texts[:2]


def read_text(folder: Path, content: bytes) -> object:
    return ops.parse(content.decode("utf-8", "surrogateescape"))


# ONNX. `ExternalData` of an input may name what lies in the folder: weights, links to them, a pipe.


def onnx_files() -> list[bytes]:
    network = gcn.Sequential(gcn.Conv2d(2, 3), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Flatten(), gcn.Dense(2))
    model = gcn.compile(network, input_shape=(6, 6, 1), backend="numpy")
    exported = [in_folder(functools.partial(model.export_onnx, opset=opset)) for opset in (17, 21)]
    return [*map(_without_comments, exported), *(file.SerializeToString() for file in _written_by_hand())]


def _without_comments(content: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    return model.SerializeToString()


def _written_by_hand() -> list[object]:
    """Return models of shapes that are computed, functions, branches, and weights beside the file."""
    from onnx import TensorProto, external_data_helper, numpy_helper, parser

    flattened = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        shapes (float[N, 2, 4, 4] x) => (float[N, M] y)
        <int64[1] rest = {-1}, int64[4] pads = {0, 1, 0, 1}, float[2] scale = {1.0, 2.0}> {
            sizes = Shape(x)
            zero = Constant<value_int = 0>()
            count = Gather(sizes, zero)
            first = Unsqueeze(count, zero)
            target = Concat<axis = 0>(first, rest)
            twice = own.twice(x)
            flat = Reshape(twice, target)
            y = Softmax<axis = 1>(flat)
        }
        <domain: "own", opset_import: ["" : 17]>
        twice (a) => (b) { b = Add(a, a) }""")
    chosen = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
        branches (float[1, 2, 4, 4] x) => (float[1, 2, P, Q] y)
        <int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, int64[4] sizes = {1, 2, 3, 3},
         float[4] scales = {1, 1, 2, 2}> {
            yes = Constant<value = bool {1}>()
            h = If (yes) <then_branch = g1 () => (float[N] a) { a = Pad(x, pads) },
                          else_branch = g2 () => (float[N] b) { b = Neg(x) }>
            wide = Resize<mode = "linear">(h, , scales)
            range = ConstantOfShape(sizes)
            tiled = Expand(range, sizes)
            y = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(wide)
        }""")
    beside = parser.parse_model("""<ir_version: 8, opset_import: ["" : 21]>
        beside (float[N, 4] x) => (float[N, 3] y) {
            y = MatMul(x, weights)
        }""")
    tensor = numpy_helper.from_array(np.ones((4, 3), np.float32), "weights")
    external_data_helper.set_external_data(tensor, WEIGHTS, 0, 48)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    beside.graph.initializer.append(tensor)
    return [flattened, chosen, beside]


WEIGHTS = "weights.bin"


def beside_onnx(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(np.arange(16, dtype=np.float32).tobytes())
    (folder / "link.bin").symlink_to(WEIGHTS)
    (folder / "outside").symlink_to("/")
    (folder / "other.bin").write_bytes(bytes(48))
    os.link(folder / "other.bin", folder / "second.bin")
    os.mkfifo(folder / "pipe.bin")


# Options of a command. An input is a TOML file; what it says is then taken as the command line's would be.


def options() -> list[bytes]:
    return [
        b'epochs = 3\nbatch-size = 64\noptimizer = "adamw"\nlearning-rate = 1e-3\nnormalize = true\n',
        b'augment = ["flip", "crop"]\nfreeze = "layer*"\ninput-shape = [28, 28, 1]\n# words\ndata = "a b"\n',
    ]


def take_options(path: Path) -> object:
    context = click.Context(train)
    take_over(context, path)
    return train.make_context("train", ["digits"], default_map=context.default_map)
