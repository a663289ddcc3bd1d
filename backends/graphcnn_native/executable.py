"""A compiled graph: binds arrays to the table of addresses, and calls the machine code."""

from __future__ import annotations

import ctypes
import operator
import os
import threading
import weakref
from collections import ChainMap
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Final

import numpy as np

from graphcnn.arrays import Array, byte_bounds
from graphcnn.backend import KernelReport, Memory, Report, bind_inputs, with_state
from graphcnn.cached import cached
from graphcnn.distributed.transport import Transport
from graphcnn.errors import DataError, GraphcnnError, OptionError
from graphcnn.interrupts import interrupts_put_off, uninterrupted
from graphcnn.ir import BATCH, Graph
from graphcnn.transform import kept_elsewhere, require_distributed
from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.module import generate
from graphcnn_native.codegen.step import WrittenKernel
from graphcnn_native.compiled import compiled
from graphcnn_native.exchange import Exchange, adding
from graphcnn_native.lowering import Program, lower
from graphcnn_native.lowering.liveness import live_bytes
from graphcnn_native.peak import measured_bandwidth, measured_peak
from graphcnn_native.reference import ReferenceKernels
from graphcnn_native.runtime.call_log import CallLog
from graphcnn_native.runtime.engine import assembly
from graphcnn_native.runtime.processors import thread_count
from graphcnn_native.runtime.threads import pool
from graphcnn_native.shortage import no_memory
from graphcnn_native.target import Target, host_target
from graphcnn_native.work import works
from graphcnn_native.workspace import (
    Ranges,
    Workspace,
    address,
    places,
    plain_address,
    room_for,
    sizes,
)

WORTH_SHARING = 400_000
"""Work of a call, in FLOPs, that is worth more threads than the caller's: some microseconds."""


class NativeExecutable:
    """A graph as machine code, with the memory that it works in. Calls from several threads take turns."""

    def __init__(
        self,
        graph: Graph,
        *,
        target: Target | None = None,
        threads: int | None = None,
        winograd: bool | int = True,
        ranks: Transport | None = None,
    ) -> None:
        self.graph: Final[Graph] = graph
        self.threads: Final = thread_count(threads)
        self.target: Final = target or host_target()
        self._winograd: Final = winograd
        self._ranks: Final = ranks
        made = compiled(graph, self.target, winograd=winograd)
        self.interface: Final = made.interface
        self._library = made.library
        self._program = made.program
        self._step_address: Final = self._library.address("step")
        self._step = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self._step_address)
        self._lock = threading.Lock()
        self._workspace: Workspace | None = None
        self._is_profiled = False
        self._described: tuple[int, tuple[KernelReport, ...]] = (0, ())
        threads_pool = pool(self.threads)
        self._reference: Final = ReferenceKernels(made.program)
        self._calls_reference: Final = bool(self._reference)
        self._numbers_of_table: dict[int, int] = {
            Slot.POOL: threads_pool.address,
            Slot.PARALLEL_FOR: threads_pool.parallel_for,
            Slot.FLUSH: threads_pool.flush_denormals,
            Slot.RESTORE: threads_pool.restore_mode,
            Slot.REFERENCE: self._reference.address,
        }
        self._slots = {name: Slot.ARRAYS + number for number, name in enumerate(self.interface.slots)}
        self.elsewhere: Final = (
            frozenset[str]() if ranks is None or ranks.size == 1 else kept_elsewhere(graph, ranks.rank)
        )
        self._inputs = {
            label: (int(self._slots["input", label]), value.type.shape, np.dtype(value.type.dtype))
            for label, value in graph.inputs.items()
            if label not in self.elsewhere
        }
        self._outputs = {
            label: (int(self._slots["output", label]), value.type.shape, np.dtype(value.type.dtype))
            for label, value in graph.outputs.items()
        }
        self._updated = frozenset(graph.updates) - self.elsewhere
        self._exchange: Final = self._made_exchange()
        self._numbers = {
            label: np.zeros((), dtype)
            for label, (_, shape, dtype) in self._inputs.items()
            if not shape and dtype.kind == "f" and label not in self._updated
        }
        _LIVE.add(self)

    @property
    def program(self) -> Program:
        """The kernels. Machine code from the disk runs without them: then they are made for who asks."""
        if self._program is None:
            self._program = lower(self.graph, self.target, winograd=self._winograd)
        return self._program

    @cached
    def _written(self) -> tuple[WrittenKernel, ...]:
        return generate(self.program, self.target).kernels

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles hold the graph, and compile it again."""
        return _compiled_again, (self.graph, self.threads, self._winograd, self._ranks)

    def __call__(self, /, **inputs: object) -> dict[str, Array]:
        arrays, batch = bind_inputs(self.graph, inputs, self.elsewhere)
        updates = {
            label: np.empty(value.type.concrete(batch), value.type.dtype)
            for label, value in self.graph.updates.items()
            if label in self._updated
        }
        with nullcontext() if self._exchange is None else self._exchange.call():
            return self._run(arrays, updates, batch) | updates

    def step(self, state: dict[str, Array], /, **inputs: object) -> dict[str, Array]:
        outputs = self._step_at_once(state, inputs)
        if outputs is not None:
            return outputs
        given = with_state(self.graph, state, inputs, self.elsewhere)
        arrays, batch = bind_inputs(self.graph, given, self.elsewhere)
        updates = {label: state[label] for label in self._updated}
        # A kernel of the reference's may raise an exception, and the state is then to be what it was.
        is_safe = not self._calls_reference
        fresh = {
            label: array
            if is_safe and label not in self._early and plain_address(array)
            else np.empty(array.shape, array.dtype)
            for label, array in updates.items()
        }
        # The machine code overwrites some arrays, and the others follow.
        with interrupts_put_off() if self._exchange is None else self._exchange.call():
            outputs = self._run(arrays, fresh, batch)
            for label, array in updates.items():
                if fresh[label] is not array:
                    np.copyto(array, fresh[label])
        return outputs

    def _step_at_once(self, state: dict[str, Array], inputs: Mapping[str, object]) -> dict[str, Array] | None:
        """Do a step whose arrays all fit as they are; return None where they have to be looked at.

        The state is most often the one of the step before, whose addresses are known.
        """
        if self._calls_reference or not inputs.keys().isdisjoint(state.keys()):
            return None
        with self._lock:
            workspace = self._workspace
            if workspace is None or not self._enter(workspace, state, inputs):
                batch = self._samples(inputs)
                if not batch or (workspace is not None and workspace.batch == batch):
                    return None
                workspace = self._workspace_for(batch)
                if not self._enter(workspace, state, inputs):
                    return None
            version = getattr(state, "version", None)
            if self._exchange is None:
                return self._launch(workspace, version)
            with self._exchange.call():
                outputs = self._launch(workspace, version)
                self._exchange.share_updates(ChainMap(workspace.shadows, workspace.bound))
                for label, array in workspace.shadows.items():
                    np.copyto(workspace.bound[label], array)
            return outputs

    def _samples(self, inputs: Mapping[str, object]) -> int:
        """Return how many samples the inputs have, 1 where there is no batch, and 0 where they do not fit."""
        found = set()
        for label, given in inputs.items():
            shape = self._inputs[label][1] if label in self._inputs else ()
            if BATCH in shape:
                axis = shape.index(BATCH)
                if not isinstance(given, np.ndarray) or len(given.shape) != len(shape):
                    return 0
                found.add(given.shape[axis])
                if given.shape != (*shape[:axis], given.shape[axis], *shape[axis + 1 :]):
                    return 0
        return found.pop() if len(found) == 1 else int(not found)

    def _enter(self, workspace: Workspace, state: dict[str, Array], inputs: Mapping[str, object]) -> bool:
        """Enter all addresses into the table; return whether all arrays fit as they are."""
        if not self._bind_state(workspace, state, inputs):
            return False
        table, wanted, overwritten = workspace.table, workspace.inputs, workspace.overwritten
        for label, given in inputs.items():
            if label in wanted:
                slot, shape, dtype = wanted[label]
                if type(given) is not np.ndarray or given.shape != shape or given.dtype != dtype:
                    return False
                begin = plain_address(given)
                if not begin:
                    return False
                table[slot] = begin
                if begin < overwritten.end and overwritten.overlaps(begin, begin + given.nbytes):
                    return False
            elif type(given) is float and label in self._numbers:
                self._numbers[label].fill(given)
            else:
                return False
        return True

    def _bind_state(
        self, workspace: Workspace, state: dict[str, Array], inputs: Mapping[str, object]
    ) -> bool:
        """Enter the addresses of the state into the table, unless they are there from the last time."""
        bound = workspace.bound
        complete = bound and len(bound) + len(inputs) == len(self._inputs)
        if complete and all(map(operator.is_, map(state.get, bound), bound.values())):
            return not self._updated or all(map(_is_writeable, bound.values()))
        workspace.bound, workspace.prepared_of, bound, bounds = {}, None, {}, {}
        labels = self._inputs.keys() - inputs.keys()
        if not self._updated <= labels or not labels.isdisjoint(self._numbers):
            return False
        for label in labels:
            _, shape, dtype = workspace.inputs[label]
            array = state.get(label)
            if type(array) is not np.ndarray or array.dtype != dtype or array.shape != shape:
                return False
            begin = plain_address(array)
            if not begin or not array.flags.writeable:
                return False
            bound[label], bounds[label] = array, (begin, begin + array.nbytes)
        if self._updated and Ranges(bounds.values()).overlap_each_other:
            return False
        workspace.overwritten = Ranges(bounds[label] for label in self._updated)
        for label, (begin, _) in bounds.items():
            workspace.table[self._inputs[label][0]] = begin
            if label in self._updated:
                shadow = workspace.shadows.get(label)
                written = begin if shadow is None else address(shadow)
                workspace.table[self._slots["update", label]] = written
        workspace.bound = bound
        return True

    def _run(self, inputs: dict[str, Array], updates: dict[str, Array], batch: int) -> dict[str, Array]:
        """Run on arrays that are known to fit; what shares memory with an update is copied before."""
        overwritten = Ranges(map(byte_bounds, updates.values()))
        held = {label: self._plain(array, batch) for label, array in inputs.items()}
        for label, array in held.items():
            if updates.get(label) is not array and overwritten.overlaps(*byte_bounds(array)):
                held[label] = array.copy()
        with self._lock:
            workspace = self._workspace_for(batch)
            workspace.bound = {}
            for label, array in held.items():
                if label in self._numbers:
                    self._numbers[label][...] = array
                else:
                    workspace.table[self._inputs[label][0]] = address(array)
            for label, array in updates.items():
                workspace.table[self._slots["update", label]] = address(array)
            outputs = self._launch(workspace)
            if self._exchange is not None:
                self._exchange.share_updates(updates)
            return outputs

    def _launch(self, workspace: Workspace, version: int | None = None) -> dict[str, Array]:
        """Run the machine code on what the table names, and return the outputs.

        version: of the state; of the one before, what is prepared of it is there already.
        """
        is_prepared = version is not None and version == workspace.prepared_of
        workspace.table[Slot.SKIPPED] = self.interface.prepared if is_prepared else 0
        workspace.prepared_of = None  # until the call is done
        outputs, table, log = workspace.results.copy(), workspace.table, workspace.log
        try:
            for label, slot, shape, dtype in workspace.arrays:
                array = outputs[label] = np.empty(shape, dtype)
                table[slot] = address(array)
        except (MemoryError, ValueError):  # NumPy raises ValueError beyond 64 bits
            raise self._no_memory(workspace.batch) from None
        if log is not None:
            log.begin()
        if self._calls_reference:
            self._reference.begin()
        if self._exchange is not None:
            self._exchange.begin()
        unfit = self._step(workspace.address)
        if self._exchange is not None:
            self._exchange.raise_failure()
        if unfit:
            raise DataError(
                "the labels do not fit the classes",
                facts=[f"{label}: 0 to {classes - 1}" for label, classes in self.interface.labels.items()],
                mend="number the classes from 0",
            )
        workspace.prepared_of = version
        if log is not None:
            log.end()
        if self._calls_reference:
            self._reference.raise_failure()
        for label in workspace.numbers:
            outputs[label] = outputs[label].copy()
        return outputs

    def _workspace_for(self, batch: int) -> Workspace:
        """Return the workspace for a batch of this size. Raises OutOfMemoryError where there is no memory."""
        workspace = self._workspace
        if workspace is None or workspace.batch != batch:
            workspace = self._workspace = self._made_workspace(batch)
        return workspace

    def _made_workspace(self, batch: int) -> Workspace:
        log = self._log_for(batch) if self._is_profiled else None
        inputs = {label: place for label, place in self._inputs.items() if label not in self._numbers}
        numbers: dict[int, int] = {
            **self._numbers_of_table,
            **{self._inputs[label][0]: address(number) for label, number in self._numbers.items()},
            Slot.THREADS: self._threads_for(batch),
        }
        try:
            workspace = Workspace(
                self.interface,
                batch,
                numbers,
                self._workspace,
                threads=self.threads,
                inputs=places(inputs, batch),
                outputs=places(self._outputs, batch),
                log=log,
            )
            if self._exchange is not None:
                self._exchange.share(workspace)
                for label, array in self._exchange.spare.items():
                    for kind in ("input", "update"):
                        workspace.table[self._slots[kind, label]] = address(array)
                workspace.shadows = {
                    label: np.empty(workspace.inputs[label][1], workspace.inputs[label][2])
                    for label in self._early
                }
            return workspace
        except (MemoryError, ValueError):  # NumPy raises ValueError beyond 64 bits
            raise self._no_memory(batch) from None

    def _made_exchange(self) -> Exchange | None:
        """Return what exchanges messages with other ranks, if there are any."""
        if self._ranks is None or self._ranks.size == 1:
            return None
        require_distributed(self.graph, self._ranks.size)
        add = adding(self._library, self.threads)
        return Exchange(self._ranks, self.interface, add, self.graph)

    @property
    def _early(self) -> frozenset[str]:
        """The updates that are written while messages of other ranks are still awaited."""
        told = self.interface.exchanges
        early = {label for label, turn in told.updated.items() if turn < told.turns}
        return frozenset() if self._exchange is None else self._updated & early

    def own_samples(self, samples: int) -> list[range]:
        """Return which samples of a batch of so many this rank works on: all, unless ranks share them."""
        return [range(samples)] if self._exchange is None else self._exchange.own_samples(samples)

    def _threads_for(self, batch: int) -> int:
        """Return how many threads a call on so many samples is worth; its results do not depend on it."""
        work = self.interface.work + self.interface.work_per_sample * batch
        return self.threads if work >= WORTH_SHARING else 1

    def _log_for(self, batch: int) -> CallLog:
        """Return a log with room for all calls of kernels that one step makes, even on a single thread."""
        capacity, shards, size = room_for(self.interface, batch)
        calls = sum(
            max(self.threads, shards * (size // kernel.placed.strip + -(-size // self.interface.block)))
            if kernel.share is None
            else kernel.share.pieces
            for kernel in self._written
        )
        return CallLog(self.threads, -(-batch // capacity) * calls)

    def _plain(self, array: Array, batch: int) -> Array:
        """Return an array that the machine code can read: it, or a copy."""
        try:
            return np.require(array, requirements=("C", "A"))
        except MemoryError:
            raise self._no_memory(batch) from None

    def _no_memory(self, batch: int) -> GraphcnnError:
        outputs = [value.type.bytes(batch) for value in self.graph.outputs.values()]
        workspace = sizes(self.interface, batch, self.threads)
        return no_memory(self.program, batch, sum(workspace.values()) + sum(outputs))

    def report(self) -> Report:
        """Return the kernels, with their times in the latest call if it was made under `profile`."""
        workspace = self._workspace
        batch, log = (1, None) if workspace is None else (workspace.batch, workspace.log)
        kernels = self._kernels(batch)
        parts = {slot.name.lower(): size for slot, size in sizes(self.interface, batch, self.threads).items()}
        memory = Memory(max((kernel.live or 0 for kernel in kernels), default=0), parts)
        timeline = None if log is None else log.timeline()
        if timeline is None:
            return Report("native", batch, kernels, self.threads, memory=memory)
        calls, placed = timeline.calls, self.program.kernels
        seconds = np.bincount(calls["kernel"], calls["end"] - calls["begin"], len(placed))
        is_prepared = not any(placed[number].stage < self.program.prepared for number in calls["kernel"])
        timed = [
            kernel
            if is_prepared and of_program.stage < self.program.prepared
            else replace(kernel, seconds=float(spent))
            for kernel, of_program, spent in zip(kernels, placed, seconds, strict=True)
        ]
        is_double = any(node.types[0].dtype == "float64" for _, node in self.graph.items())
        peak = measured_peak(self.threads, "double" if is_double else "float")
        bandwidth = measured_bandwidth(self.threads)
        has_bfloat16 = any(kernel.is_bfloat16 for kernel in kernels)
        narrow = measured_peak(self.threads, "bfloat16") if has_bfloat16 else None
        return Report("native", batch, tuple(timed), self.threads, peak, timeline, memory, bandwidth, narrow)

    def _kernels(self, batch: int) -> tuple[KernelReport, ...]:
        """Return the kernels without times; the last answer is kept, since many calls may be measured."""
        known, reports = self._described
        if known == batch:
            return reports
        kernels = []
        capacity, shards, _ = room_for(self.interface, batch)
        live = live_bytes(self.program, capacity, shards, self.threads)
        done = works(self.program, batch, self.target)
        for kernel, work, written in zip(self.program.kernels, done, self._written, strict=True):
            kernels.append(
                KernelReport(
                    kernel.title,
                    work.nodes,
                    work.flops,
                    work.bytes,
                    details=self.program.describe(kernel, written.tile),
                    live=live[kernel.number],
                    performed=work.performed,
                    streamed=work.streamed,
                    is_bfloat16=work.is_bfloat16,
                )
            )
        self._described = batch, tuple(kernels)
        return self._described[1]

    def numba_function(self, state: Mapping[str, Array]) -> Any:
        """Return the graph as a function that code compiled by Numba can call: `outputs = f(inputs)`.

        state: all inputs but one, which the function reads where they are, at every call.
        """
        from graphcnn_native.numba_function import numba_function

        if self._calls_reference:
            raise OptionError(
                "a function for Numba must be machine code, and some of the network's ops have none",
                facts=[f"left to the reference backend's kernels: {', '.join(self._reference.ops)}"],
                mend="give them some: graphcnn_native.register(op, pointwise=...)",
            )
        if self._exchange is not None:
            raise OptionError(
                "a function for Numba computes whole batches, and ranks share those of this executable",
                mend="compile the graph without ranks",
            )
        table = dict(self._numbers_of_table) | {Slot.THREADS: self.threads}
        return uninterrupted(lambda: numba_function(self, self._step_address, table, state))

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
            if self._workspace is not None:
                self._workspace.record(self._log_for(self._workspace.batch) if on else None)


_LIVE: Final[weakref.WeakSet[NativeExecutable]] = weakref.WeakSet()


def _in_child() -> None:
    """Let a fork call what its parent has compiled: nobody is within a call there."""
    for executable in list(_LIVE):
        executable._lock, executable._workspace = threading.Lock(), None


os.register_at_fork(after_in_child=_in_child)


def _compiled_again(
    graph: Graph, threads: int, winograd: bool | int, ranks: Transport | None
) -> NativeExecutable:
    return uninterrupted(lambda: NativeExecutable(graph, threads=threads, winograd=winograd, ranks=ranks))


_is_writeable = operator.attrgetter("flags.writeable")
