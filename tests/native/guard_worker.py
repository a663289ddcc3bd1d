"""Runs graphs in guarded memory, for test_guards.py. Prints each name before it runs; ends with "done".

    guard_worker.py [NAME...]

A name is a case of the conformance suite, a graph of test_programs.py, or a network of the zoo, of which a
training step runs; "digits@300" is one with a batch of 300. All memory that the caller hands over ends, and
in a second run begins, where a page begins that cannot be touched. The buffers within the backend's own
memory have room between them. All of it holds NaN before a call, and what no buffer owns must hold the same
bytes afterwards.
"""

import ctypes
import faulthandler
import itertools
import math
import mmap
import runpy
import sys
from pathlib import Path

import numpy as np

import graphcnn as gcn
from graphcnn.ir import Emitter
from graphcnn.testing.case import Case
from graphcnn.testing.cases import backend_cases, build_case
from graphcnn.testing.conformance import check_case
from graphcnn.zoo import ZOO
from graphcnn_native import NativeBackend, NativeExecutable, executable, workspace
from graphcnn_native.call_table import Slot
from graphcnn_native.lowering import placing
from graphcnn_native.lowering.placing import sums_room
from graphcnn_native.lowering.program import ALIGNMENT, Place, partial_sum_type

FILLING = 0xFF
"""Bytes of this value are NaN in any floating-point type."""
BETWEEN = 256
"""Bytes between one buffer and the next."""
PAGE = mmap.PAGESIZE
NO_ACCESS = 0
BATCH = 5


class Pages:
    """Hands out arrays beside pages that cannot be touched, and knows whether the rest is as it was."""

    def __init__(self, *, at_end):
        self.at_end = at_end
        self.rests = []
        self.protect = ctypes.CDLL(None, use_errno=True).mprotect
        self.protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def empty(self, shape, dtype=float):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        length = -(-size // PAGE) * PAGE
        pages = mmap.mmap(-1, length + 2 * PAGE)
        memory = np.frombuffer(pages, np.uint8)
        memory[...] = FILLING
        for place in (0, PAGE + length):
            if self.protect(memory.ctypes.data + place, PAGE, NO_ACCESS):
                raise OSError(ctypes.get_errno(), "mprotect")
        start = PAGE + (length - size if self.at_end else 0)
        self.rests += [memory[PAGE:start], memory[start + size : PAGE + length]]
        return memory[start : start + size].view(dtype).reshape(shape)

    def copy(self, array):
        held = self.empty(array.shape, array.dtype)
        held[...] = array
        return held

    def require_intact(self):
        assert all(np.all(rest == FILLING) for rest in self.rests), "bytes beside an array were overwritten"
        self.rests.clear()


class NumpyWith:
    """NumPy, but for its `empty`."""

    def __init__(self, empty):
        self.empty = empty

    def __getattr__(self, name):
        return getattr(np, name)


class Guarded(NativeExecutable):
    """An executable that calls with guarded arrays and looks after all memory."""

    pages: Pages

    def __call__(self, /, **inputs):
        return super().__call__(**{label: self.pages.copy(array) for label, array in inputs.items()})

    def step(self, state, /, **inputs):
        held = {label: self.pages.copy(array) for label, array in state.items()}
        outputs = super().step(held, **{label: self.pages.copy(array) for label, array in inputs.items()})
        for label, array in state.items():
            array[...] = held[label]
        return outputs

    def _launch(self, workspace, version=None):
        for memory in workspace.memory.values():
            memory[...] = FILLING
        outputs = super()._launch(workspace, version)
        self.pages.require_intact()
        for slot, memory in workspace.memory.items():
            owned = np.zeros(memory.shape, bool)
            for start, size in self._buffers(workspace.table, slot):
                first = workspace.table[slot] - memory.ctypes.data + start
                owned[first : first + size] = True
            assert np.all(memory[~owned] == FILLING), (
                f"bytes between the buffers of {slot.name} were overwritten"
            )
        self._workspace = None
        return outputs

    def _buffers(self, table, slot):
        """Yield the place and the size of all buffers in a part of the backend's memory."""
        program, capacity = self.program, table[Slot.CAPACITY]
        stored = [buffer for kernel in program.kernels for buffer in kernel.kept]
        if slot is Slot.SUMS:
            partial = [kernel for kernel in program.kernels if kernel.partial]
            for shard in range(table[Slot.SHARDS]):
                for kernel in partial:
                    size = sum(sums_room(program.graph, kernel, key) for key in kernel.sums)
                    if kernel.adds_up_samples:
                        size = partial_sum_type(program.graph, kernel.root).bytes(1)
                    yield shard * program.sums + kernel.sums_offset, size
        elif slot is Slot.SCRATCH:
            for worker in range(self.threads):
                for buffer in stored:
                    if buffer.place is Place.BLOCK:
                        yield worker * program.scratch + program.offsets[buffer], buffer.bytes * program.block
                for kernel in program.kernels:
                    yield worker * program.scratch + max(kernel.workspace_offset, 0), kernel.workspace
        else:
            for buffer in stored:
                if buffer.place is Place.ARENA and buffer.per_sample:
                    yield program.arena + capacity * program.offsets[buffer], capacity * buffer.bytes
                elif buffer.place is Place.ARENA:
                    yield program.offsets[buffer], buffer.bytes


class GuardedBackend:
    """Compiles its one graph when it is made."""

    name = "guarded"
    ops = NativeBackend().ops

    def __init__(self, graph):
        self.executable = Guarded(graph, threads=2)

    def compile(self, graph):
        return self.executable


def aligned(size):
    return -(-(size + BETWEEN) // ALIGNMENT) * ALIGNMENT


def one_behind_the_other(lives):
    offsets = list(itertools.accumulate((life.size for life in lives), initial=0))
    return offsets[-1], list(zip(lives, offsets[:-1], strict=True))


def case_of(name, programs):
    if name in programs:
        case = Case(name)
        programs[name](case, Emitter(case.graph))
        return case
    network, _, batch = name.partition("@")
    return zoo_case(network, int(batch or BATCH)) if network in ZOO else build_case(name)


def zoo_case(name, batch):
    entry = ZOO[name]
    model = gcn.compile(
        entry.make(),
        input_shape=entry.input_shape,
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.05, momentum=0.9),
        backend="numpy",
    )
    case = Case(name)
    case.graph = model.step_graph
    case.inputs = model.state()
    for label, value in case.graph.inputs.items():
        if label not in case.inputs:
            numbers = case.random.random(value.type.concrete(batch)) * (1 if value.type.is_float else 10)
            case.inputs[label] = np.asarray(numbers, value.type.dtype)
    return case


def main():
    faulthandler.enable()
    programs = runpy.run_path(str(Path(__file__).with_name("test_programs.py")))["GRAPHS"]
    placing.aligned, placing._offsets = aligned, one_behind_the_other
    for name in sys.argv[1:] or [*backend_cases(), *programs, *ZOO]:
        print(name, flush=True)
        case = case_of(name, programs)
        backend = GuardedBackend(case.graph)
        for at_end in (True, False):
            Guarded.pages = Pages(at_end=at_end)
            executable.np = workspace.np = NumpyWith(Guarded.pages.empty)
            assert check_case(backend, case)
    print("done")


if __name__ == "__main__":
    main()
