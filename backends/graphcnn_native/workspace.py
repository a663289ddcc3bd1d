"""The memory that the machine code works in, and the table that leads it there, for batches of one size."""

from __future__ import annotations

import ctypes
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from graphcnn.arrays import Array
from graphcnn.ir import BATCH, Dim
from graphcnn_native.call_table import Slot
from graphcnn_native.interface import Interface
from graphcnn_native.lowering.program import ALIGNMENT, MOST_SHARDS
from graphcnn_native.runtime.call_log import CallLog

Place: TypeAlias = tuple[int, tuple[int, ...], "np.dtype[Any]"]
"""Of an array of the caller's: where in the table its address stands, its shape, and its element type."""

LARGEST_PART = 256
"""Samples for which there is memory at the same time, where a program can go through a batch in parts."""


class Workspace:
    """All that calls on batches of one size need, whole from the moment on at which there is such an object.

    A call only enters the addresses of the caller's arrays into `table`. inputs: of each array that a caller
    may give, its place. bound: the state whose addresses are in the table; overwritten: where in memory those
    arrays are that a step overwrites. shadows: the arrays that hold updates which are written while other
    ranks may yet fail. prepared_of: the version of that state of which the arena holds what is prepared. log:
    of calls, or None.

    results: what a call returns, by label: of outputs in `numbers`, which have no axes, the cell that the
    machine code writes and each call copies; of those in `arrays`, which each call makes anew, a blank.
    """

    def __init__(
        self,
        interface: Interface,
        batch: int,
        numbers: Mapping[int, int],
        previous: Workspace | None,
        *,
        threads: int,
        inputs: Mapping[str, Place],
        outputs: Mapping[str, Place],
        log: CallLog | None = None,
    ) -> None:
        """numbers: what else the table holds. previous: its memory serves this one too, where it suffices."""
        self.batch: Final = batch
        self.log: CallLog | None = None
        self.memory: Final = memory_for(sizes(interface, batch, threads), previous)
        self.table: Final = (ctypes.c_int64 * (Slot.ARRAYS + len(interface.slots)))()
        self.address: Final = ctypes.addressof(self.table)
        for slot, array in self.memory.items():
            self.table[slot] = -(-address(array) // ALIGNMENT) * ALIGNMENT
        for place, number in numbers.items():
            self.table[place] = number
        capacity, shards, size = room_for(interface, batch)
        self.table[Slot.BATCH], self.table[Slot.CAPACITY] = batch, capacity
        self.table[Slot.FIRST], self.table[Slot.COUNT] = 0, batch
        self.table[Slot.SHARDS], self.table[Slot.SHARD_SIZE] = shards, size
        self.table[Slot.ROWS] = shards
        self.record(log)
        self.inputs: Final = inputs
        self.arrays: Final = [(label, *place) for label, place in outputs.items() if place[1]]
        self.numbers: Final = [label for label, (_, shape, _) in outputs.items() if not shape]
        self.results: Final = {label: np.empty((), dtype) for label, (_, _, dtype) in outputs.items()}
        for label in self.numbers:
            self.table[outputs[label][0]] = address(self.results[label])
        self.bound: dict[str, Array] = {}
        self.shadows: dict[str, Array] = {}
        self.overwritten = Ranges(())
        self.prepared_of: int | None = None

    def record(self, log: CallLog | None) -> None:
        """Note the calls of kernels in this log from the next call on, or nowhere."""
        self.table[Slot.PROFILE] = 0  # first, so that no log is written to that is gone
        self.log = log
        if log is not None:
            self.table[Slot.PROFILE] = log.address


class Ranges:
    """Where in memory some arrays are, to ask quickly whether another one overlaps any of them.

    bounds: of each array, the addresses of its first byte and of the one behind its last.
    """

    def __init__(self, bounds: Iterable[tuple[int, int]]) -> None:
        bounds = sorted(bounds)
        self._begins = [begin for begin, _ in bounds]
        self._ends = [end for _, end in bounds]
        self.end: Final = max(self._ends, default=0)
        self.overlap_each_other = any(
            end > begin for end, begin in zip(self._ends, self._begins[1:], strict=False)
        )

    def overlaps(self, begin: int, end: int) -> bool:
        """Return whether any of the arrays has a byte from `begin` to below `end`."""
        last = bisect_left(self._begins, end) - 1
        return last >= 0 and self._ends[last] > begin


def memory_for(needed: dict[Slot, int], previous: Workspace | None) -> dict[Slot, Array]:
    """Return an array of at least so many bytes, and room to align them, for each part of the memory."""
    held = {} if previous is None else previous.memory
    return {
        slot: held[slot]
        if slot in held and held[slot].nbytes >= length + 2 * ALIGNMENT
        else np.empty(length + 2 * ALIGNMENT, np.uint8)
        for slot, length in needed.items()
    }


def sizes(interface: Interface, batch: int, threads: int) -> dict[Slot, int]:
    """Return the bytes of each part of the memory for a batch of this size."""
    capacity, shards, _ = room_for(interface, batch)
    return {
        Slot.ARENA: interface.arena + interface.arena_per_sample * capacity,
        Slot.SUMS: interface.sums * shards,
        Slot.SCRATCH: interface.scratch * threads,
    }


def places(wanted: Mapping[str, tuple[int, tuple[Dim, ...], np.dtype[Any]]], batch: int) -> dict[str, Place]:
    """Return the places of arrays by label, with their shapes in a batch of this size."""
    return {
        label: (slot, tuple([batch if size == BATCH else int(size) for size in shape]), dtype)
        for label, (slot, shape, dtype) in wanted.items()
    }


_from_buffer, _addressof = ctypes.c_char.from_buffer, ctypes.addressof


def address(array: Array) -> int:
    """Return where an array's elements begin."""
    try:
        # A quarter of the time of array.ctypes.data.
        return _addressof(_from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return array.ctypes.data


def plain_address(array: Array) -> int:
    """Return where an array's elements begin, or 0 unless the machine code can read it as it is.

    It can where the elements lie row by row, each at an address that suits its type.
    """
    try:
        begin = _addressof(_from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # not row by row, or not to be written to
        begin = array.ctypes.data if array.flags.c_contiguous else 0
    return 0 if begin % array.dtype.alignment else begin


def room_for(interface: Interface, batch: int) -> tuple[int, int, int]:
    """Return `room` for batches of this size of an interface."""
    return room(batch, interface.block, is_divided=interface.is_divided)


def room(batch: int, block: int, is_divided: bool) -> tuple[int, int, int]:
    """Return for how many samples there is memory at a time, how many shards they make, and of what size.

    By the batch alone, so that sums are the same on any threads. One block or three, which two threads cannot
    share evenly, are halved. Plain arithmetic, which Numba compiles too.
    """
    capacity = min(batch, LARGEST_PART) if is_divided else batch
    if capacity <= 8:
        block = max(1, capacity // 4)
    elif capacity < 4 * block and -(-capacity // block) % 2:
        block = max(4, block // 2)
    blocks = -(-capacity // block)
    size = -(-blocks // MOST_SHARDS) * block
    return capacity, -(-capacity // size), size
