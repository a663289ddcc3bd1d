"""One file for each known class of attacks on formats that graphcnn reads, and where the class is known from.

`docs/loading.md` lists them. Each is small enough to be made in the test.
"""

import gzip
import io
import json
import pickle
import struct
import zipfile
import zlib

import numpy as np
from attack import Attack
from data_files import idx, npz
from keras_files import KERAS_ATTACKS
from onnx_attacks import ONNX_ATTACKS
from parsers import PARSERS


def _head(text: bytes, data: bytes = b"") -> bytes:
    return text + b"\0" + data


def _tensors(data: bytes = bytes(8), **entries: tuple[str, object, object]) -> bytes:
    held = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        for name, (dtype, shape, offsets) in entries.items()
    }
    return _head(json.dumps(held).encode(), data)


def _npy(header: str, data: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    text = header.encode("latin1")
    size = (len(text) if length is None else length).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def _array(shape: str, descr: str = "'|u1'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def _objects() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{}, {}]), allow_pickle=True)
    return stream.getvalue()


def _archive(images: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([0, 1, 2]))
    return npz({"images.npy": images, "labels.npy": stream.getvalue()}, compression)


def _promising(archive: bytes, size: int) -> bytes:
    """Return an archive whose directory says that its first member has so many bytes."""
    held = bytearray(archive)
    place = held.index(b"PK\x01\x02")
    held[place + 24 : place + 28] = size.to_bytes(4, "little")
    return bytes(held)


def _text(*lines: str) -> bytes:
    return "\n".join(['graph "attack"', *lines]).encode()


def _model(**changed: str) -> bytes:
    head, _, data = PARSERS["model"].seeds()[0].partition(b"\0")
    held = json.loads(head)
    held["__metadata__"] |= changed
    return _head(json.dumps(held, separators=(",", ":")).encode(), data)


def _entry(note: bytes) -> bytes:
    return note + b"\n" + PARSERS["decoded images"].seeds()[0].partition(b"\n")[2]


def _bitmap_in_runs(width: int, height: int, runs: bytes) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 1, 0) + bytes(4)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(runs), 0, 0, 14 + len(head)) + head + runs


def _twice() -> bytes:
    with_two = {"images.npy": _objects(), "image.npy": _objects()}
    return npz(with_two)


BOMB = 900 << 20
F32 = "F32"


def _png(width: int, height: int, data: bytes, *before: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of 8-bit grey pixels, with chunks before its data."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunks = [(b"IHDR", size + b"\x08\0\0\0\0"), *before, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    parts = (
        len(held).to_bytes(4, "big") + name + held + zlib.crc32(name + held).to_bytes(4, "big")
        for name, held in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


_ALL = {
    "a header as deep as the stack": Attack(
        "safetensors", "CWE-674", lambda: _head(b'{"a": ' + b"[" * 10**5), "should be here"
    ),
    "a name twice": Attack(
        "safetensors",
        "CWE-694, safetensors' audit of 2023",
        lambda: _head(b'{"__metadata__": {"a": "1", "a": "2"}}'),
        "twice",
    ),
    "tensors that overlap": Attack(
        "safetensors",
        "safetensors' audit of 2023",
        lambda: _tensors(a=(F32, [2], [0, 8]), b=(F32, [1], [4, 8])),
        "overlap",
    ),
    "a hole for another file": Attack(
        "safetensors",
        "safetensors' audit of 2023, polyglots",
        lambda: _tensors(bytes(12), a=(F32, [1], [0, 4]), b=(F32, [1], [8, 12])),
        "hole",
    ),
    "an archive behind the tensors": Attack(
        "safetensors",
        "safetensors' audit of 2023, polyglots",
        lambda: _tensors(bytes(4) + b"PK\x05\x06" + bytes(18), a=(F32, [1], [0, 4])),
        "the file has",
    ),
    "sizes whose product overflows": Attack(
        "safetensors", "CWE-190", lambda: _tensors(a=(F32, [2**62, 4], [0, 8])), "takes"
    ),
    "an offset beyond the file": Attack(
        "safetensors", "CWE-125", lambda: _tensors(a=(F32, [2**40], [0, 2**42])), "the file has 8"
    ),
    "a size that is not a number": Attack(
        "safetensors", "CWE-1287", lambda: _tensors(a=(F32, [float("nan")], [0, 8])), "no list of sizes"
    ),
    "an integer of a hundred thousand digits": Attack(
        "safetensors",
        "CVE-2020-10735",
        lambda: _head(b'{"a": {"shape": [' + b"9" * 10**5 + b"]}}"),
        "should be here",
    ),
    "settings of deep JSON": Attack("model", "CWE-674", lambda: _model(history="[" * 10**5), "is damaged"),
    "settings of much JSON": Attack(
        "model", "CWE-400", lambda: _model(history="[" + "[]," * 10**6 + "[]]"), "at most"
    ),
    "a class by its name": Attack(
        "model",
        "CVE-2025-1550, CVE-2024-3660 (Keras)",
        lambda: _model(loss=json.dumps({"name": "subprocess.Popen", "options": {"args": "true"}})),
        "is damaged",
    ),
    "code in the place of a layer": Attack(
        "model",
        "CVE-2024-3660 (Keras, Lambda)",
        lambda: _model(forward_graph=_text("%0: float32[] = eval(\"__import__('os')\")").decode()),
        "is damaged",
    ),
    "a graph of an op that is none": Attack(
        "graph text", "CWE-94", lambda: _text('%0: float32[] = __import__("os")'), "there is no op"
    ),
    "attributes as deep as the stack": Attack(
        "graph text", "CWE-674", lambda: _text(f"%0: float32[2] = input({'shape=' + '(' * 10**5}"), "input"
    ),
    "a constant that takes all memory": Attack(
        "graph text", "CWE-789", lambda: _text(f"%0: float32[{10**12}] = relu(%0)"), "before it is computed"
    ),
    "a node that reads itself": Attack(
        "graph text", "CWE-835", lambda: _text("%0: float32[2] = relu(%0)"), "before it is computed"
    ),
    "a string without end": Attack(
        "graph text",
        "CWE-1333",
        lambda: _text('%0: float32[2] = input(label="' + "\\" * 10**5),
        "cannot be read",
    ),
    "IDX sizes whose product overflows": Attack(
        "IDX", "CWE-190", lambda: b"\0\0\x08\x03" + b"\x80\0\0\0" * 2 + b"\0\0\0\x04" + bytes(16), "less"
    ),
    "IDX sizes beyond memory": Attack("IDX", "CWE-789", lambda: b"\0\0\x0e\x04" + b"\xff" * 16, "less"),
    "a gzip bomb behind a small header": Attack(
        "IDX",
        "CWE-409",
        lambda: gzip.compress(idx(np.zeros((1, 2, 2), np.uint8)) + bytes(100 << 20), 1),
        "more",
    ),
    "a gzip promise beyond its ratio": Attack(
        "IDX", "CWE-409", lambda: gzip.compress(b"\0\0\x08\x01\xff\xff\xff\xff" + bytes(64)), "too short"
    ),
    "streams of gzip without end": Attack("IDX", "CWE-834", lambda: gzip.compress(b"") * 10**5, "empty"),
    "a pickle that calls os.system": Attack(
        "CIFAR, pickled", "CWE-502, CVE-2019-6446 (NumPy)", lambda: b"cos\nsystem\n(S'true'\ntR.", "os.system"
    ),
    "a pickle of protocol 4 that calls": Attack(
        "CIFAR, pickled",
        "CWE-502",
        lambda: b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        "builtins.eval",
    ),
    "a pickle that makes an instance": Attack(
        "CIFAR, pickled", "CWE-502", lambda: b"(S'true'\nios\nsystem\n.", "INST"
    ),
    "a name that lists of forbidden ones miss": Attack(
        "CIFAR, pickled",
        "CVE-2025-1716 (picklescan)",
        lambda: b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.",
        "runstring",
    ),
    "a pickle with an extension": Attack("CIFAR, pickled", "CWE-502", lambda: b"\x80\x02\x82\x01.", "EXT1"),
    "a pickle that promises 4 EiB": Attack(
        "CIFAR, pickled",
        "python/cpython#115952",
        lambda: b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"x.",
        "damaged",
    ),
    "a memo at a far place": Attack(
        "CIFAR, pickled",
        "CWE-789",
        lambda: b"\x80\x02]r\xff\xff\xff\xff.",
        "no dictionary",
    ),
    "lists in lists": Attack(
        "CIFAR, pickled",
        "CWE-674",
        lambda: b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
        "no dictionary",
    ),
    "a call of tuples in tuples": Attack(
        "CIFAR, pickled", "CWE-674", lambda: b"\x80\x02)" + b"\x85" * (3 * 10**5) + b")R.", "what is no array"
    ),
    "a name that is a list of lists": Attack(
        "CIFAR, pickled",
        "CWE-674",
        lambda: b"\x80\x04" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"\x8c\x01x\x93.",
        "where a str must be",
    ),
    "an array larger than its bytes": Attack(
        "CIFAR, pickled",
        "CWE-125",
        lambda: pickle.dumps({"data": np.zeros((2, 3072), np.uint8)}, 2).replace(b"M\0\x0c", b"M\0\x0d", 1),
        "asks for",
    ),
    "a file of objects": Attack("NPY", "CVE-2019-6446", _objects, "never opens"),
    "a header that is a program": Attack(
        "NPY", "CWE-95", lambda: _npy("__import__('os').system('true')"), "no dictionary"
    ),
    "a header as deep as the parser": Attack(
        "NPY", "CWE-674", lambda: _npy("(" * 4000 + ")" * 4000), "no dictionary"
    ),
    "a header of 4 GiB": Attack("NPY", "CWE-789", lambda: _npy("{", b"", 2, 2**32 - 1), "at most"),
    "sizes of four thousand digits": Attack(
        "NPY", "CVE-2020-10735", lambda: _npy(_array(f"({'9' * 4000}, {'9' * 4000})")), "other types"
    ),
    "an element of a gigabyte": Attack(
        "NPY", "CWE-789", lambda: _npy(_array("(1,)", "'<U999999999'")), "elements"
    ),
    "a shape that overflows": Attack(
        "NPY", "CWE-190", lambda: _npy(_array(f"({2**62}, 4, 1)"), bytes(64)), "asks for"
    ),
    "a header that differs from the length": Attack(
        "NPY", "CWE-125", lambda: _npy(_array("(3, 400, 500)"), bytes(60)), "asks for"
    ),
    "a zip bomb": Attack(
        "NPZ",
        "CWE-409",
        lambda: _archive(_npy(_array("(3, 4, 5)")) + bytes(100 << 20)),
        "asks for",
    ),
    "a member that promises more than it has": Attack(
        "NPZ",
        "CWE-409",
        lambda: _promising(_archive(_npy(_array(f"({BOMB >> 20}, 1024, 1024)"))), BOMB + 62),
        "images.npy",
    ),
    "a member of LZMA with a dictionary of 4 GiB": Attack(
        "NPZ", "CWE-789", lambda: _archive(_objects(), zipfile.ZIP_LZMA), "another method"
    ),
    "objects in an archive": Attack("NPZ", "CVE-2019-6446", lambda: _archive(_objects()), "never opens"),
    "two arrays of one meaning": Attack("NPZ", "CWE-694", _twice, "two arrays"),
    "a path out of the archive": Attack(
        "NPZ",
        "CWE-22, Zip Slip",
        lambda: npz({"../../images.npy": b"x", "/etc/labels.npy": b"x"}),
        "none of a NumPy array",
    ),
    "a directory of thirty thousand members": Attack(
        "NPZ",
        "CWE-770",
        lambda: npz({f"{number}.npy": b"" for number in range(30_000)}),
        "directory would have",
    ),
    "a note as deep as the stack": Attack(
        "decoded images", "CWE-674", lambda: _entry(b'{"left_out": ' + b"[" * 10**5), "no entry"
    ),
    "a note of much JSON": Attack(
        "decoded images", "CWE-400", lambda: _entry(b"[" + b"{}," * 10**6 + b"{}]"), "no entry"
    ),
    "an archive in the place of images": Attack(
        "decoded images",
        "CWE-843",
        lambda: b'{"shape": [2, 3, 4, 1], "left_out": {}}\n' + npz({"a.npy": b""}),
        "no entry",
    ),
    "labels that are no class": Attack(
        "CIFAR, binary", "CWE-129", lambda: b"\0\xff" + bytes(3072), "no class"
    ),
    "a row that is the file": Attack(
        "label table", "CWE-789", lambda: b"one.jpg,cat" + b"," * 2**20, "a row has"
    ),
    "quotes that never close": Attack(
        "label table", "CWE-789", lambda: b'one.jpg,"' + b"a\n" * 2**19, "field larger than"
    ),
    "a row of many lines": Attack(
        "label table", "CWE-789", lambda: b"one.jpg,cat\n" + b'"\n",' * 2**18, "a row has"
    ),
    "a class that is a book": Attack(
        "label table", "CWE-770", lambda: b"one.jpg," + b"x" * 10**5, "characters"
    ),
    "a class for each row": Attack(
        "label table",
        "CWE-770",
        lambda: b"".join(b"%d,%d\n" % (number, number) for number in range(70_000)) + b"one.jpg,cat\n",
        "classes",
    ),
    "files outside the folder": Attack(
        "label table", "CWE-22", lambda: b"../../etc/passwd,a\n/etc/passwd,b\n", "names no file"
    ),
    "a key of ten thousand parts": Attack("options", "CWE-407", lambda: b"a." * 10**4 + b"a = 1", "dots"),
    "options of much TOML": Attack("options", "CWE-770", lambda: b"a = [" + b"[]," * 2**18 + b"]", "bytes"),
    "options as deep as the stack": Attack(
        "options", "CWE-674", lambda: b"a = " + b"[" * 60_000, "no TOML file"
    ),
    "a number of fifty thousand digits": Attack(
        "options", "CVE-2020-10735", lambda: b"epochs = " + b"9" * 50_000, "4300 digits"
    ),
    "a number of fifty thousand hexadecimal digits": Attack(
        "options", "CVE-2020-10735", lambda: b"epochs = 0x" + b"f" * 50_000, "of the type int"
    ),
    "pixels beyond all memory": Attack(
        "image", "CWE-409", lambda: _png(2**15, 2**15, bytes(10**4)), "decompression bomb"
    ),
    "pixels beyond this memory": Attack(
        "image", "CWE-409", lambda: _png(9000, 9000, bytes(9001 * 9000)), "memory"
    ),
    "a text that is a bomb": Attack(
        "image",
        "CVE-2014-9601 (Pillow)",
        lambda: _png(2, 2, bytes(6), (b"zTXt", b"a\0\0" + zlib.compress(bytes(64 << 20)))),
        "damaged",
    ),
    "a profile of colours that is a bomb": Attack(
        "image",
        "CVE-2014-9601 (Pillow)",
        lambda: _png(2, 2, bytes(6), (b"iCCP", b"a\0\0" + zlib.compress(bytes(64 << 20)))),
        "damaged",
    ),
    "a program in the place of an image": Attack(
        "image",
        "CVE-2018-16509 (PostScript)",
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%true) (w) file\n",
        "no image",
    ),
    "a directory of images that is its own next": Attack(
        "image", "CWE-835", lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "no image"
    ),
    "a bitmap of few runs and many pixels": Attack(
        "image", "CWE-407", lambda: _bitmap_in_runs(9_000_000, 9, b"\1\0\0\0" * 9), "in runs"
    ),
    "sizes of a terabyte in text": Attack("image", "CWE-190", lambda: b"P5 1000000 1000000 255\n", "bomb"),
}
ATTACKS = {
    title: each for title, each in {**_ALL, **ONNX_ATTACKS, **KERAS_ATTACKS}.items() if each.parser in PARSERS
}
