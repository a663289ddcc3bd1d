"""The parsers of files: valid small inputs for each, how an input reaches it, and the errors it may raise.

An input is the bytes of a file.
"""

import importlib.util

import click
import data_files
import keras_files
import model_files
from trying import Parser, from_file

import graphcnn as gcn
from graphcnn.data import load_cifar, load_idx, load_numpy
from graphcnn.data.decoding import NotDecoded
from graphcnn.errors import FileError, InterchangeError, OptionError, ParseError

SPARE_OF_IMAGES = 448 << 20
"""Bytes for the pixels of an image, which Pillow bounds."""

_JSON = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"NaN", b"Infinity", b"-1", b"1e999")
_NPY = (b"'descr'", b"'|u1'", b"'|O'", b"'<f8'", b"'<U9'", b"'<V0'", b"True", b"(3, 4, 5)", b"()", b"-1")
_HEADER = (b'"F32"', b'"BOOL"', b'"shape"', b'"dtype"', b'"data_offsets"', b'"__metadata__"', *_JSON)
_TEXT = (b"%0", b"%1.1", b"%9", b"(", b")", b"=", b"N", b"nan", b"-1", b"relu", b"float32[", b"axes=", b"|")
_PICKLE = (b"cos\nsystem\n", b"\x93", b"R", b"b", b"(", b"t", b"]", b"}", b"\x94", b"h\0", b"u", b"e", b".")

_ONNX = (
    *(
        b"Conv",
        b"Gemm",
        b"Relu",
        b"Shape",
        b"Gather",
        b"Concat",
        b"Reshape",
        b"Resize",
        b"Tile",
        b"Expand",
        b"Pad",
    ),
    *(
        b"Constant",
        b"ConstantOfShape",
        b"If",
        b"Loop",
        b"Slice",
        b"Range",
        b"axis",
        b"pads",
        b"\xa0\x01",
        b"\x01",
    ),
    *(b"\xff" * 9 + b"\x01", b"weights.bin", b"link.bin", b"pipe.bin", b"second.bin", b"outside/etc/passwd"),
)
_TABLE = (
    b",",
    b";",
    b"\t",
    b'"',
    b'""',
    b"\r\n",
    b"one.jpg",
    b"in/three",
    b"label",
    b"..",
    b"/",
    b"\0",
    b"\xff",
)
_TOML = (
    b"epochs",
    b"freeze",
    b"= ",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"""',
    b"'",
    b"0x",
    b"1e999",
    b"nan",
    b"2020-13-45",
    b".",
)

PARSERS = {
    parser.name: parser
    for parser in (
        Parser(
            "safetensors", model_files.tensors, from_file(model_files.read_weights, "file"), words=_HEADER
        ),
        Parser(
            "model",
            model_files.models,
            from_file(model_files.load_model, "file"),
            (FileError, OptionError),
            words=_HEADER + _TEXT,
        ),
        Parser("graph text", model_files.texts, model_files.read_text, (ParseError,), words=_TEXT),
        Parser(
            "options",
            model_files.options,
            from_file(model_files.take_options, "file.toml"),
            (FileError, OptionError, click.UsageError),
            words=_TOML,
        ),
        Parser("IDX", data_files.idx_files, from_file(load_idx, "file")),
        Parser(
            "CIFAR, binary",
            data_files.cifar_records,
            from_file(lambda path: load_cifar(path.parent), "train.bin"),
            prepare=data_files.binary_cifar,
        ),
        Parser(
            "CIFAR, pickled",
            data_files.cifar_pickles,
            from_file(lambda path: load_cifar(path.parent), "train"),
            prepare=data_files.pickled_cifar,
            words=_PICKLE,
        ),
        Parser(
            "NPY",
            data_files.npy_files,
            from_file(lambda path: load_numpy(path.parent), "images.npy"),
            prepare=data_files.labels_beside,
            words=_NPY,
        ),
        Parser(
            "NPZ",
            data_files.npz_files,
            from_file(data_files.read_archive, "file.npz"),
            words=(*_NPY, b"PK\1\2", b"PK\5\6"),
        ),
        Parser("decoded images", data_files.entries, data_files.read_entry, words=_NPY + _JSON),
        Parser(
            "label table",
            data_files.label_tables,
            from_file(data_files.read_table, "labels.csv"),
            prepare=data_files.images_of_tables,
            words=_TABLE,
        ),
        Parser(
            "image",
            data_files.images,
            from_file(data_files.read_image, "file"),
            (NotDecoded,),
            spare=SPARE_OF_IMAGES,
            needs="PIL",
        ),
        Parser(
            "ONNX",
            model_files.onnx_files,
            from_file(gcn.from_onnx, "model.onnx"),
            (FileError, InterchangeError, OptionError),
            prepare=model_files.beside_onnx,
            words=_ONNX,
            needs="onnx",
        ),
        Parser(
            "Keras",
            keras_files.keras_files,
            from_file(keras_files.read_keras, "name.weights.h5"),
            words=(b"SNOD", b"TREE", b"HEAP", b"GCOL", b"vars", b"layers", b"name", b"\xff" * 8),
            needs="pyfive",
        ),
    )
    if not parser.needs or importlib.util.find_spec(parser.needs)
}
