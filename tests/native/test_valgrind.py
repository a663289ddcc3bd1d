"""Valgrind finds nothing in generated code: no wrong address, no use of what was never written."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from graphcnn_native.target import named_target, runs_here

CASES = (
    "correlate2d: everything, float32",
    "correlate2d over the batch: 15 to 17 channels, float32",
    "correlate2d: 3x3, many channels, padded, float32",
    "convolve2d: depthwise, float64",
    "pooled back: unevenly padded, float32",
    "pools: with a remainder, float64",
    "matmul: over a batch of 17, float32",
    "matmul: 33 by 17, float64",
    "log_softmax: batch 15, float32",
    "concatenate: 3 along axis 1, float32",
    "pad: ((0, 0), (0, 0), (2, 0), (1, 0)), float64",
    "sum: axes [0, 3], float32",
    "random_uniform: seed 1, draw 1099511627776, [33, 3, 2], float32",
    "sample_normal: stream 7, [15, 7], alternating, float32",
    "samples moved: [17, 5, 7, 3], float32",
    "samples warped: [3, 3, 4, 9], float32",
    "samples moved: then scaled by channels, float32",
    "training step, simplified: batch 33, float32",
)
VALGRIND = ("valgrind", "--xml=yes", "--leak-check=no", "--error-limit=no")
SCRIPT = """
import ctypes, sys
from graphcnn.testing.cases import build_case
from graphcnn_native import NativeExecutable
from graphcnn_native.runtime.engine import compile_module
from graphcnn_native.target import named_target

target = named_target(sys.argv[1])
# Takes a branch for each byte, which is an error for one that was never written.
library = compile_module('''
define i64 @look(ptr %bytes, i64 %length) {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %more, %next ]
  %n = phi i64 [ 0, %entry ], [ %m, %next ]
  %within = icmp slt i64 %i, %length
  br i1 %within, label %body, label %leave
body:
  %at = getelementptr i8, ptr %bytes, i64 %i
  %byte = load volatile i8, ptr %at
  %zero = icmp eq i8 %byte, 0
  br i1 %zero, label %count, label %next
count:
  %counted = add i64 %n, 1
  br label %next
next:
  %m = phi i64 [ %n, %body ], [ %counted, %count ]
  %more = add i64 %i, 1
  br label %head
leave:
  ret i64 %n
}
''', target)
look = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(library.address("look"))
for name in sys.argv[2:]:
    case = build_case(name)
    executable = NativeExecutable(case.graph, target=target, threads=1)
    state = {label: case.inputs[label].copy() for label in case.graph.updates}
    inputs = {label: array for label, array in case.inputs.items() if label not in state}
    for results in (executable(**case.inputs), executable.step(state, **inputs)):
        for array in results.values():
            look(array.ctypes.data, array.nbytes)
print("done")
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.parametrize("name", ["avx2", "baseline"])
def test_valgrind_finds_nothing_in_generated_code(name, tmp_path):
    if not runs_here(named_target(name)):
        pytest.skip("this machine cannot run the code")
    report = tmp_path / "report.xml"
    result = subprocess.run(
        [*VALGRIND, f"--xml-file={report}", sys.executable, "-c", SCRIPT, name, *CASES],
        env={**os.environ, "PYTHONMALLOC": "malloc", "GRAPHCNN_THREADS": "1", "GRAPHCNN_CACHE": "off"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert result.stdout == "done\n", result.stderr[-2000:]
    errors = [ElementTree.tostring(error, "unicode") for error in generated_code_errors(report)]
    assert errors == []


def generated_code_errors(report):
    """Return the errors in code that is from no file: ours. Python and its libraries have their own."""
    errors = ElementTree.parse(report).getroot().iter("error")
    return [error for error in errors if error.find("stack/frame").find("obj") is None]
