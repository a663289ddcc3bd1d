"""Some thousand changed files for each parser: it reads them, or raises the error that is its own."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and counted as Linux does")
if sys.platform == "linux":
    from mutated import mutated
    from parsers import PARSERS, FaultError, limited, tried
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
