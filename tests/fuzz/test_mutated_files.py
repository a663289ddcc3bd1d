"""Some thousand changed files for each parser: it reads them, or raises the error that is its own."""

import sys
from dataclasses import replace

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and counted as Linux does")
if sys.platform == "linux":
    from mutated import mutated
    from parsers import PARSERS
    from trying import FaultError, limited, tried
else:
    PARSERS = {}

COUNTS = {"model": 400, "ONNX": 150, "graph text": 600, "CIFAR, pickled": 1000, "CIFAR, binary": 500}
OTHERWISE = 2000


@pytest.fixture
def folder(request, tmp_path):
    request.getfixturevalue("parser").prepare(tmp_path)
    return tmp_path


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_valid_files_are_read(parser, folder):
    for content in parser.seeds():
        if b">i2" not in content and b"i2" not in content:  # small arrays of no pixels are refused
            assert tried(parser, folder, content)


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_changed_files_are_read_or_refused(parser, folder):
    refused = 0
    for content in mutated(parser.seeds(), parser.words, COUNTS.get(parser.name, OTHERWISE), parser.name):
        refused += not tried(parser, folder, content)
    assert refused


def test_what_is_limited_cannot_be_had():
    with limited(0), pytest.raises(MemoryError):
        bytes(80 << 20)
    assert bytes(80 << 20)


def test_errors_of_another_type_are_faults(tmp_path):
    parser = PARSERS["IDX"]
    broken = type(parser)("broken", parser.seeds, lambda folder, content: [][1], parser.errors)
    with pytest.raises(FaultError, match="broken: IndexError"):
        tried(broken, tmp_path, b"")


def test_memory_does_not_grow_with_a_table_of_labels(tmp_path):
    parser = PARSERS["label table"]
    parser.prepare(tmp_path)
    rows = b"file,label\none.jpg,cat\ntwo.jpg,dog\nin/three.png,cat\n" + b"x,y\n" * 2**20
    assert tried(replace(parser, spare=32 << 20), tmp_path, rows[: 2**20])
    with limited(len(rows), 32 << 20):
        files = parser.read(tmp_path, rows)
    assert len(files.files) == 3
    assert len(files.left_out) == 10_001
    assert files.left_out[-1] == ("labels.csv", "1,038,576 more of its rows name no file")
