"""The native backend as its tests need it: with a cache of their own, and with work begun in any order."""

import ctypes
import functools
import math

import numpy as np
import pytest

from graphcnn import Graph, TensorType, gradient, ops, simplify
from graphcnn_native import NativeBackend, NativeExecutable, executable
from graphcnn_native.call_table import Slot
from graphcnn_native.runtime.engine import compile_module
from graphcnn_native.target import host_target
from graphcnn_native.workspace import room

BACKWARDS = """
define void @parallel_for(ptr %pool, ptr %function, ptr %context, i64 %items, i64 %threads) {
entry:
  br label %head
head:
  %left = phi i64 [ %items, %entry ], [ %item, %body ]
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %body, label %leave
body:
  %item = sub i64 %left, 1
  %worker = urem i64 %item, %threads
  call void %function(ptr %context, i64 %worker, i64 %item)
  br label %head
leave:
  ret void
}
"""
"""What a pool of threads may do as well: it begins the last item first."""
NOT_A_NUMBER = 0xFF
"""Bytes of this value are NaN in any floating-point type."""


@functools.cache
def backwards():
    return compile_module(BACKWARDS, host_target())


class Backwards(NativeExecutable):
    """An executable whose stages run from the last item to the first, in memory that holds NaN.

    Where it can, it goes through a batch in parts of 16.
    """

    def __init__(self, graph, **options):
        super().__init__(graph, **options)
        self._numbers_of_table[Slot.PARALLEL_FOR] = backwards().address("parallel_for")

    def _made_workspace(self, batch):
        workspace = super()._made_workspace(batch)
        if self.program.divided >= 0:
            capacity, shards, size = room(min(batch, 16), self.program.block, is_divided=True)
            workspace.table[Slot.CAPACITY] = capacity
            workspace.table[Slot.SHARDS] = workspace.table[Slot.ROWS] = shards
            workspace.table[Slot.SHARD_SIZE] = size
        for memory in workspace.memory.values():
            ctypes.memset(memory.ctypes.data, NOT_A_NUMBER, memory.nbytes)
        return workspace


class Native:
    """The native backend, with options for its executables."""

    name = "native"
    ops = NativeBackend().ops

    def __init__(self, kind=NativeExecutable, **options):
        self.kind, self.options = kind, options

    def compile(self, graph):
        return self.kind(graph, **self.options)


@pytest.fixture(scope="session", autouse=True)
def every_call_is_shared():
    """Let threads share all calls: the networks of tests are so small that most would run on one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executable, "WORTH_SHARING", -math.inf)
        yield


@pytest.fixture(scope="session", autouse=True)
def code_folder(tmp_path_factory):
    """Keep machine code in a folder of the tests, so that what one has compiled is ready for the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHCNN_CACHE", str(tmp_path_factory.mktemp("code")))
        yield


@pytest.fixture(scope="session")
def native():
    """Make a native backend: `native(threads=3)`, `native(target=named_target("avx2"))`."""
    return Native


@pytest.fixture(scope="session")
def native_in_any_order():
    """Native backends that must give the same: on several threads, and back to front in parts of a batch."""
    return [Native(threads=3), Native(Backwards, threads=3)]


@pytest.fixture(scope="session")
def native_backwards():
    """The native backend, back to front and in parts: what is not in order is wrong in every run."""
    return Native(Backwards, threads=3)


@pytest.fixture
def inputs_of():
    """Return a function that gives inputs of a graph, for a batch size; labels are of three classes."""

    def given(graph, batch):
        random = np.random.default_rng(batch)
        return {
            label: random.standard_normal(value.type.concrete(batch)).astype(value.type.dtype)
            if value.type.is_float
            else random.integers(3, size=batch)
            for label, value in graph.inputs.items()
        }

    return given


@pytest.fixture(scope="session")
def passes_of():
    """Return a function that makes two graphs: a convolution, and both gradients of its product with `delta`.

    Maps are of the size of the images, or a stride smaller.
    """

    def made(size, channels, filters, kernel, dtype="float32", stride=1):
        graph = Graph("passes")
        x = graph.input("x", TensorType(("N", size, size, channels), dtype))
        window = graph.input("filters", TensorType((kernel, kernel, channels, filters), dtype))
        sides = ((kernel - 1) // 2, kernel // 2)
        output = graph.add(ops.Correlate2d(stride=(stride, stride), padding=(sides, sides)), x, window)
        delta = graph.input("delta", output.type)
        graph.output("output", output)
        graph.output("loss", graph.add(ops.Sum((0, 1, 2, 3)), graph.add(ops.Multiply(), output, delta)))
        forward = graph.copy(outputs=False)
        forward.output("output", output)
        return [forward, simplify(gradient(graph, "loss", ["x", "filters"]))]

    return made
