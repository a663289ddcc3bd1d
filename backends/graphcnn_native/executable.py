"""A compiled graph: binds arrays to the table of addresses, and calls the machine code."""

from __future__ import annotations

import ctypes
import operator
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from graphcnn.arrays import Array
from graphcnn.backend import KernelReport, Memory, Report, bind_inputs, with_state
from graphcnn.errors import DataError, GraphcnnError, OptionError
from graphcnn.ir import BATCH, Graph
from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.module import generate
from graphcnn_native.lowering import lower
from graphcnn_native.lowering.liveness import live_bytes
from graphcnn_native.lowering.program import ALIGNMENT
from graphcnn_native.peak import measured_peak
from graphcnn_native.reference import ReferenceKernels
from graphcnn_native.runtime.call_log import CallLog
from graphcnn_native.runtime.engine import assembly, compile_modules
from graphcnn_native.runtime.processors import thread_count
from graphcnn_native.runtime.threads import pool
from graphcnn_native.shortage import no_memory
from graphcnn_native.target import Target, host_target

MOST_SHARDS = 16
LARGEST_PART = 256
"""Samples for which there is memory at the same time, where a program can go through a batch in parts."""

LIGHT = 2 * 1024 * 1024
"""Bytes of parameters and the like that are not worth passing around more threads than have samples."""


class NativeExecutable:
    """A graph as machine code, with the memory that it works in. Calls from several threads take turns."""

    def __init__(
        self,
        graph: Graph,
        *,
        target: Target | None = None,
        threads: int | None = None,
        winograd: bool = True,
    ) -> None:
        self.graph: Final[Graph] = graph
        self.threads: Final = thread_count(threads)
        self.target: Final = target or host_target()
        self.program: Final = lower(graph, self.target, winograd=winograd)
        code = generate(self.program, self.target)
        self._written: Final = code.kernels
        self._library = compile_modules(code.modules, self.target)
        self._step = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self._library.address("step"))
        self._lock = threading.Lock()
        self._batch = 0
        self._memory: dict[Slot, Array] = {}
        self._is_profiled = False
        self._log: CallLog | None = None
        self._last_log: CallLog | None = None
        self._described: tuple[int, tuple[KernelReport, ...]] = (0, ())
        self._table = (ctypes.c_int64 * (Slot.ARRAYS + len(self.program.slots)))()
        self._address = ctypes.addressof(self._table)
        threads_pool = pool(self.threads)
        self._table[Slot.POOL] = threads_pool.address
        self._table[Slot.PARALLEL_FOR] = threads_pool.parallel_for
        self._table[Slot.FLUSH] = threads_pool.flush_denormals
        self._table[Slot.RESTORE] = threads_pool.restore_mode
        self._reference: Final = ReferenceKernels(self.program)
        self._table[Slot.REFERENCE] = self._reference.address
        self._shared_bytes = self.program.arena + sum(
            value.type.bytes(1) for value in graph.inputs.values() if not value.type.has_batch
        )
        self._slots = {name: Slot.ARRAYS + number for number, name in enumerate(self.program.slots)}
        self._inputs = {
            label: (int(self._slots["input", label]), value.type.shape, np.dtype(value.type.dtype))
            for label, value in graph.inputs.items()
        }
        self._outputs = [
            (label, value.type.shape, np.dtype(value.type.dtype), int(self._slots["output", label]))
            for label, value in graph.outputs.items()
        ]
        self._updated = frozenset(graph.updates)
        self._numbers = {
            label: np.zeros((), dtype)
            for label, (_, shape, dtype) in self._inputs.items()
            if not shape and dtype.kind == "f" and label not in self._updated
        }
        for label, number in self._numbers.items():
            self._table[self._inputs[label][0]] = address(number)
        self._bound: dict[str, Array] = {}

    def __call__(self, /, **inputs: object) -> dict[str, Array]:
        arrays, batch = bind_inputs(self.graph, inputs)
        updates = {
            label: np.empty(value.type.concrete(batch), value.type.dtype)
            for label, value in self.graph.updates.items()
        }
        return self._run(arrays, updates, batch) | updates

    def step(self, state: dict[str, Array], /, **inputs: object) -> dict[str, Array]:
        outputs = self._step_at_once(state, inputs)
        if outputs is not None:
            return outputs
        arrays, batch = bind_inputs(self.graph, with_state(self.graph, state, inputs))
        updates = {label: state[label] for label in self.graph.updates}
        # A kernel of the reference's may raise an exception, and the state is then to be what it was.
        is_safe = not self._reference
        fresh = {
            label: array if is_safe and _is_plain(array) else np.empty(array.shape, array.dtype)
            for label, array in updates.items()
        }
        outputs = self._run(arrays, fresh, batch)
        for label, array in updates.items():
            if fresh[label] is not array:
                np.copyto(array, fresh[label])
        return outputs

    def _step_at_once(self, state: dict[str, Array], inputs: Mapping[str, object]) -> dict[str, Array] | None:
        """Do a step whose arrays all fit as they are; return None where they have to be looked at.

        The state is most often the one of the step before, whose addresses are known.
        """
        if self._reference or not inputs.keys().isdisjoint(state):
            return None
        with self._lock:
            if not self._bind_state(state, inputs):
                return None
            batch = 0
            for label, given in inputs.items():
                if label not in self._inputs:
                    return None
                if label in self._numbers:
                    if type(given) is not float:
                        return None
                    self._numbers[label].fill(given)
                    continue
                slot, shape, dtype = self._inputs[label]
                if type(given) is not np.ndarray or given.dtype != dtype or not _is_plain(given):
                    return None
                found = given.shape
                if found != shape:
                    if not shape or shape[0] != BATCH or found[1:] != shape[1:] or not found:
                        return None
                    if not found[0] or batch not in (0, found[0]):
                        return None
                    batch = found[0]
                self._table[slot] = address(given)
            return self._launch(batch or 1)

    def _bind_state(self, state: dict[str, Array], inputs: Mapping[str, object]) -> bool:
        """Enter the addresses of the state into the table, unless they are there from the last time."""
        bound = self._bound
        complete = bound and len(bound) + len(inputs) == len(self._inputs)
        if complete and all(map(operator.is_, map(state.get, bound), bound.values())):
            return not self._updated or all(map(_is_writeable, bound.values()))
        self._bound, bound = {}, {}
        labels = self._inputs.keys() - inputs.keys()
        if not self._updated <= labels or not labels.isdisjoint(self._numbers):
            return False
        for label in labels:
            _, shape, dtype = self._inputs[label]
            array = state.get(label)
            if type(array) is not np.ndarray or array.dtype != dtype or array.shape != shape:
                return False
            if not _is_plain(array) or not array.flags.writeable:
                return False
            bound[label] = array
        for label, array in bound.items():
            self._table[self._inputs[label][0]] = address(array)
            if label in self._updated:
                self._table[self._slots["update", label]] = address(array)
        self._bound = bound
        return True

    def _run(self, inputs: dict[str, Array], updates: dict[str, Array], batch: int) -> dict[str, Array]:
        """Run on arrays that are known to fit."""
        held = {label: self._plain(array, batch) for label, array in inputs.items()}
        with self._lock:
            self._bound = {}
            for label, array in held.items():
                if label in self._numbers:
                    self._numbers[label][...] = array
                else:
                    self._table[self._inputs[label][0]] = address(array)
            for label, array in updates.items():
                self._table[self._slots["update", label]] = address(array)
            return self._launch(batch)

    def _launch(self, batch: int) -> dict[str, Array]:
        """Run the machine code on what the table names, and return the outputs."""
        if batch != self._batch:
            self._make_room(batch)
            if self._is_profiled:
                self._make_log()
        outputs = {}
        for label, shape, dtype, slot in self._outputs:
            concrete = tuple([batch if size == BATCH else size for size in shape])
            array = outputs[label] = self._empty(concrete, dtype, batch)
            self._table[slot] = address(array)
        if self._log is not None:
            self._log.begin()
        self._reference.begin()
        if self._step(self._address):
            raise DataError(
                "the labels do not fit the classes",
                facts=[f"{label}: 0 to {classes - 1}" for label, classes in self.program.labels.items()],
                mend="number the classes from 0",
            )
        if self._log is not None:
            self._log.end()
        self._reference.raise_failure()
        return outputs

    def _make_room(self, batch: int) -> None:
        """See to memory for a batch of this size; a large one goes through it in parts, where it can.

        Raises OutOfMemoryError where there is not enough.
        """
        program = self.program
        capacity, shards, size = room(batch, program.block, is_divided=program.divided >= 0)
        for slot, length in self._parts(batch).items():
            if slot not in self._memory or self._memory[slot].nbytes < length + 2 * ALIGNMENT:
                self._memory[slot] = self._empty((length + 2 * ALIGNMENT,), np.uint8, batch)
                self._table[slot] = -(-address(self._memory[slot]) // ALIGNMENT) * ALIGNMENT
        self._table[Slot.BATCH], self._table[Slot.CAPACITY] = batch, capacity
        self._table[Slot.FIRST], self._table[Slot.COUNT] = 0, batch
        self._table[Slot.SHARDS], self._table[Slot.SHARD_SIZE] = shards, size
        is_light = self._shared_bytes < LIGHT
        self._table[Slot.THREADS] = min(self.threads, shards) if is_light else self.threads
        self._batch = batch

    def _empty(self, shape: tuple[int, ...], dtype: DTypeLike, batch: int) -> Array:
        """Return an array of a call on so many samples. Raises OutOfMemoryError where there is no memory."""
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError):  # NumPy raises ValueError beyond 64 bits
            raise self._no_memory(batch) from None

    def _plain(self, array: Array, batch: int) -> Array:
        """Return an array that the machine code can read: it, or a copy."""
        try:
            return np.require(array, requirements=("C", "A"))
        except MemoryError:
            raise self._no_memory(batch) from None

    def _no_memory(self, batch: int) -> GraphcnnError:
        outputs = [value.type.bytes(batch) for value in self.graph.outputs.values()]
        return no_memory(self.program, batch, sum(self._parts(batch).values()) + sum(outputs))

    def _make_log(self) -> None:
        """See to a log with room for all calls of kernels that one step makes, even on a single thread."""
        parts = -(-self._table[Slot.BATCH] // self._table[Slot.CAPACITY])
        blocks = self._table[Slot.SHARDS] * -(-self._table[Slot.SHARD_SIZE] // self.program.block)
        needed = parts * sum(
            blocks if kernel.share is None else kernel.share.pieces for kernel in self._written
        )
        if self._last_log is None or self._last_log.room < needed:
            self._last_log = CallLog(self.threads, needed)
        self._log = self._last_log
        self._log.clear()
        self._table[Slot.PROFILE] = self._log.address

    def _parts(self, batch: int) -> dict[Slot, int]:
        """Return the bytes of each part of the memory for a batch of this size."""
        program = self.program
        capacity, shards, _ = room(batch, program.block, is_divided=program.divided >= 0)
        return {
            Slot.ARENA: program.arena + program.arena_per_sample * capacity,
            Slot.SUMS: program.sums * shards,
            Slot.SCRATCH: program.scratch * self.threads,
        }

    def report(self) -> Report:
        """Return the kernels, with their times in the latest call if it was made under `profile`."""
        batch = max(self._batch, 1)
        kernels = self._kernels(batch)
        parts = {slot.name.lower(): size for slot, size in self._parts(batch).items()}
        memory = Memory(max((kernel.live or 0 for kernel in kernels), default=0), parts)
        timeline = None if self._log is None else self._log.timeline()
        if timeline is None:
            return Report("native", batch, kernels, self.threads, memory=memory)
        calls = timeline.calls
        seconds = np.bincount(calls["kernel"], calls["end"] - calls["begin"], len(self.program.kernels))
        timed = [
            replace(kernel, seconds=float(spent)) for kernel, spent in zip(kernels, seconds, strict=True)
        ]
        is_double = any(node.types[0].dtype == "float64" for _, node in self.graph.items())
        peak = measured_peak(self.threads, "double" if is_double else "float")
        return Report("native", batch, tuple(timed), self.threads, peak, timeline, memory)

    def _kernels(self, batch: int) -> tuple[KernelReport, ...]:
        """Return the kernels without times; the last answer is kept, since many calls may be measured."""
        known, reports = self._described
        if known == batch:
            return reports
        kernels = []
        capacity, shards, _ = room(batch, self.program.block, is_divided=self.program.divided >= 0)
        live = live_bytes(self.program, capacity, shards, self.threads)
        for kernel, written in zip(self.program.kernels, self._written, strict=True):
            moved = [*kernel.loads, *(value for value, _ in kernel.stores)]
            kernels.append(
                KernelReport(
                    kernel.title,
                    kernel.nodes,
                    sum(node.cost(batch).flops for node in kernel.counted),
                    sum(value.type.bytes(batch) for value in moved),
                    details=self.program.describe(kernel, written.tile),
                    live=live[kernel.number],
                )
            )
        self._described = batch, tuple(kernels)
        return self._described[1]

    def numba_function(self, state: Mapping[str, Array]) -> Any:
        """Return the graph as a function that code compiled by Numba can call: `outputs = f(inputs)`.

        state: all inputs but one, which the function reads where they are, at every call.
        """
        from graphcnn_native.numba_function import numba_function

        if self._reference:
            raise OptionError(
                "a function for Numba must be machine code, and some of the network's ops have none",
                facts=[f"left to the reference backend's kernels: {', '.join(self._reference.ops)}"],
                mend="give them some: graphcnn_native.register(op, pointwise=...)",
            )
        return numba_function(self, self._library.address("step"), bytes(self._table), state)

    def llvm_ir(self) -> str:
        """Return the generated code as LLVM IR."""
        return str(generate(self.program, self.target))

    def assembly(self) -> str:
        """Return the machine code as assembly."""
        return "\n".join(assembly(text, self.target) for text in generate(self.program, self.target).modules)

    def profile(self, on: bool) -> None:
        """From now on note when each kernel runs and on which thread; or stop that."""
        with self._lock:
            self._is_profiled = on
            self._log, self._table[Slot.PROFILE] = None, 0
            if on and self._batch:
                self._make_log()


def _is_plain(array: Array) -> bool:
    """Whether the machine code can read an array as it is: row by row, each element where it may lie."""
    flags = array.flags
    return flags.c_contiguous and flags.aligned


_is_writeable = operator.attrgetter("flags.writeable")


def address(array: Array) -> int:
    """Return where an array's elements begin."""
    try:
        # A third of the time of array.ctypes.data.
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return array.ctypes.data


def room(batch: int, block: int, is_divided: bool) -> tuple[int, int, int]:
    """Return for how many samples there is memory at a time, how many shards they make, and of what size.

    By the batch alone, so that sums are the same on any threads. Plain arithmetic, which Numba compiles too.
    """
    capacity = min(batch, LARGEST_PART) if is_divided else batch
    if capacity <= 8:
        block = max(1, capacity // 4)
    elif capacity < 4 * block:
        block = max(4, block // 2)
    blocks = -(-capacity // block)
    size = -(-blocks // MOST_SHARDS) * block
    return capacity, -(-capacity // size), size
