"""The parsers of files: valid small inputs for each, how an input reaches it, and the errors it may raise.

An input is the bytes of a file. Where a checksum or a length in front would turn nearly every change away at
once, it is put right before the file is read, so that what lies behind is reached, too.
"""

import functools
import gzip
import importlib.util
import io
import json
import pickle
import re
import resource
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import graphcnn as gcn
from graphcnn import ops
from graphcnn.data import load_cifar, load_idx, load_numpy
from graphcnn.data.decoded import Entry
from graphcnn.errors import FileError, InterchangeError, OptionError, ParseError
from graphcnn.interchange import weights
from graphcnn.training.callbacks import Callback

SPARE = 64 << 20
"""Bytes that a parser may take beside twice its input."""
SECONDS = 1.0
"""Of the processor, for any input of up to a megabyte."""


class FaultError(Exception):
    """An input that a parser neither reads nor refuses as it should."""


@dataclass(frozen=True)
class Parser:
    """seeds: returns valid inputs. read: gives an input to the parser, in a folder that `prepare` made.

    words: what inputs of this kind are made of. errors: those that it may raise.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[Path, bytes], object]
    errors: tuple[type[Exception], ...] = (FileError,)
    prepare: Callable[[Path], None] = lambda folder: None
    words: tuple[bytes, ...] = ()


@contextmanager
def limited(size: int):
    """Give no more memory than a parser may take for an input of this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 2 * size + SPARE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def tried(parser: Parser, folder: Path, content: bytes) -> bool:
    """Give an input to a parser; return whether it was read. Raises FaultError for what must not be."""
    begin = time.process_time()
    try:
        with limited(len(content)):
            parser.read(folder, content)
    except parser.errors:
        return False
    except Exception as error:
        raise FaultError(f"{parser.name}: {type(error).__name__}: {error}") from error
    finally:
        taken = time.process_time() - begin
        if taken > SECONDS:
            raise FaultError(f"{parser.name}: it took {taken:.1f} s of the processor")
    return True


def _written(path: Path, content: bytes) -> Path:
    path.unlink(missing_ok=True)  # some disks flush a file that is overwritten, which takes milliseconds
    path.write_bytes(content)
    return path


def _from_file(load: Callable[[Path], object], name: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, content: bytes) -> object:
        return load(_written(folder / name, content))

    return read


def _random():
    return np.random.default_rng(0)


def _in_folder(write: Callable[[Path], object]) -> bytes:
    """Return what is written to a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path)
        return next(Path(folder).iterdir()).read_bytes()


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


def _tensors() -> list[bytes]:
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([True, False]),
        "c": np.zeros((0, 4), np.int64),
    }
    many = {f"layer{number}.weights": np.full(number, number, np.uint8) for number in range(12)}
    write = functools.partial(weights.write_weights, metadata={"made by": "a test"})
    return [
        _without_length(_in_folder(functools.partial(write, tensors=held))) for held in (arrays, many, {})
    ]


class _Kept(Callback):
    def state(self):
        return {"number": 1, "array": np.arange(3), "arrays": {"x": np.ones(2)}}


@functools.cache
def _models() -> list[bytes]:
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


def _load(path: Path) -> object:
    _written(path, safetensors_file(path.read_bytes()))
    return gcn.load(path, backend="numpy")


def _read_weights(path: Path) -> object:
    _written(path, safetensors_file(path.read_bytes()))
    return weights.read_weights(path)


# Sets of images


def idx(array: np.ndarray, code: int = 0x08) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def _idx_files() -> list[bytes]:
    images = _random().integers(0, 256, (3, 4, 5), np.uint8)
    plain = [idx(images), idx(images[:, 0, 0]), idx(np.linspace(0, 1, 6, dtype=np.float32), 0x0D)]
    return [*plain, gzip.compress(plain[0], mtime=0), gzip.compress(plain[1], mtime=0)]


def _cifar_records() -> list[bytes]:
    records = _random().integers(0, 2, (3, 3074), np.uint8)
    return [records.tobytes(), records[:1].tobytes()]


def _binary_cifar(folder: Path) -> None:
    (folder / "test.bin").write_bytes(_cifar_records()[1])
    (folder / "fine_label_names.txt").write_bytes(b"apple\nray\n")


def _batch(**changed: object) -> dict[str, object]:
    return {
        "data": np.zeros((2, 3072), np.uint8),
        "fine_labels": [0, 1],
        "coarse_labels": [0, 0],
        "filenames": ["a", "b"],
        **changed,
    }


def _cifar_pickles() -> list[bytes]:
    in_bytes = {key.encode(): value for key, value in _batch().items()}
    # by columns, and of one byte an element: short, so that changes meet what is no pixel
    small = {"data": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)), "fine_labels": [0, 1]}
    return [
        *(pickle.dumps(_batch(), protocol) for protocol in (0, 2, 4, 5)),
        pickle.dumps(in_bytes, 2),
        *(pickle.dumps(small, protocol) for protocol in (0, 2, 5)),
    ]


def _pickled_cifar(folder: Path) -> None:
    (folder / "test").write_bytes(pickle.dumps(_batch(), 2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "ray"]}, 2))


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _npy_files() -> list[bytes]:
    images = _random().integers(0, 256, (3, 4, 5), np.uint8)
    return [_npy(images), _npy(np.asfortranarray(images.astype(np.float64))), _npy(images[..., None] > 5)]


def _labels_beside(folder: Path) -> None:
    (folder / "labels.npy").write_bytes(_npy(np.array([0, 1, 2])))


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return stream.getvalue()


def _npz_files() -> list[bytes]:
    members = {"images.npy": _npy_files()[0], "labels.npy": _npy(np.array([0, 1, 2]))}
    named = {**members, "classes.npy": _npy(np.array(["a", "b", "c"]))}
    return [npz(members), npz(members, zipfile.ZIP_DEFLATED), npz(named, zipfile.ZIP_DEFLATED)]


def _with_right_sums(content: bytes) -> bytes:
    """Return an archive whose members have the checksums that their bytes ask for, where they are stored."""
    held = bytearray(content)
    place = 0
    sums: dict[bytes, bytes] = {}
    while (place := held.find(b"PK\x03\x04", place)) >= 0:
        size, name = int.from_bytes(held[place + 18 : place + 22], "little"), held[place + 26 : place + 28]
        extra = int.from_bytes(held[place + 28 : place + 30], "little")
        begin = place + 30 + int.from_bytes(name, "little") + extra
        if held[place + 8 : place + 10] != b"\0\0":  # compressed
            place += 4
            continue
        crc = weights._crc(bytes(held[begin : begin + size])).to_bytes(4, "little")
        sums[bytes(held[place + 14 : place + 18])] = crc
        held[place + 14 : place + 18] = crc
        place += 4
    place = 0
    while (place := held.find(b"PK\x01\x02", place)) >= 0:
        old = bytes(held[place + 16 : place + 20])
        held[place + 16 : place + 20] = sums.get(old, old)
        place += 4
    return bytes(held)


def _read_archive(path: Path) -> object:
    _written(path, _with_right_sums(path.read_bytes()))
    return load_numpy(path)


# Decoded images: an input is the note, a line's end, and the images.


def _entries() -> list[bytes]:
    images = _random().integers(0, 256, (2, 3, 4, 1), np.uint8)
    found = []
    for left_out in ({}, {1: "it is cut off"}):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            room = Entry(folder, "n", "k").room(2, (3, 4, 1))
            for number in range(2):
                room.put(number, images[number])
            room.finished(left_out)
            found.append((folder / "n-k.json").read_bytes() + b"\n" + (folder / "n-k.npy").read_bytes())
    return found


def _read_entry(folder: Path, content: bytes) -> object:
    note, _, images = content.partition(b"\n")
    for name, part in (("n-k.json", note), ("n-k.npy", images)):
        _written(folder / name, part)
    found = Entry(folder, "n", "k").read()
    if found is None:
        raise FileError("there is no entry")
    return found[0].sum(), sorted(found[1])


# Graphs


@functools.cache
def _texts() -> list[bytes]:
    texts = []
    for model in _models():
        head = json.loads(model.partition(b"\0")[0])["__metadata__"]
        texts += [head["forward_graph"].encode(), head["training_graph"].encode()]
    return texts[:2]


def _read_text(folder: Path, content: bytes) -> object:
    return ops.parse(content.decode("utf-8", "surrogateescape"))


def _onnx_files() -> list[bytes]:
    network = gcn.Sequential(gcn.Conv2d(2, 3), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Flatten(), gcn.Dense(2))
    model = gcn.compile(network, input_shape=(6, 6, 1), backend="numpy")
    return [_in_folder(functools.partial(model.export_onnx, opset=opset)) for opset in (17, 21)]


def _read_onnx(folder: Path, content: bytes) -> object:
    return gcn.from_onnx(content)


_JSON = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"NaN", b"Infinity", b"-1", b"1e999")
_NPY = (b"'descr'", b"'|u1'", b"'|O'", b"'<f8'", b"'<U9'", b"'<V0'", b"True", b"(3, 4, 5)", b"()", b"-1")
_HEADER = (b'"F32"', b'"BOOL"', b'"shape"', b'"dtype"', b'"data_offsets"', b'"__metadata__"', *_JSON)
_TEXT = (b"%0", b"%1.1", b"%9", b"(", b")", b"=", b"N", b"nan", b"-1", b"relu", b"float32[", b"axes=", b"|")
_PICKLE = (b"cos\nsystem\n", b"\x93", b"R", b"b", b"(", b"t", b"]", b"}", b"\x94", b"h\0", b"u", b"e", b".")

PARSERS = {
    parser.name: parser
    for parser in (
        Parser("safetensors", _tensors, _from_file(_read_weights, "file"), words=_HEADER),
        Parser("model", _models, _from_file(_load, "file"), (FileError, OptionError), words=_HEADER + _TEXT),
        Parser("graph text", _texts, _read_text, (ParseError,), words=_TEXT),
        Parser("IDX", _idx_files, _from_file(load_idx, "file")),
        Parser(
            "CIFAR, binary",
            _cifar_records,
            _from_file(lambda path: load_cifar(path.parent), "train.bin"),
            prepare=_binary_cifar,
        ),
        Parser(
            "CIFAR, pickled",
            _cifar_pickles,
            _from_file(lambda path: load_cifar(path.parent), "train"),
            prepare=_pickled_cifar,
            words=_PICKLE,
        ),
        Parser(
            "NPY",
            _npy_files,
            _from_file(lambda path: load_numpy(path.parent), "images.npy"),
            prepare=_labels_beside,
            words=_NPY,
        ),
        Parser("NPZ", _npz_files, _from_file(_read_archive, "file.npz"), words=(*_NPY, b"PK\1\2", b"PK\5\6")),
        Parser("decoded images", _entries, _read_entry, words=_NPY + _JSON),
        *(
            [Parser("ONNX", _onnx_files, _read_onnx, (FileError, InterchangeError, OptionError))]
            if importlib.util.find_spec("onnx")
            else []
        ),
    )
}
