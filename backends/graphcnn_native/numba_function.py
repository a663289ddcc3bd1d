"""A compiled graph as a function for code that Numba compiles."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn_native.call_table import Slot
from graphcnn_native.lowering.program import ALIGNMENT
from graphcnn_native.workspace import address, room

if TYPE_CHECKING:
    from graphcnn_native.executable import NativeExecutable

_KEPT: Final[list[object]] = []
"""What machine code knows the address of. Numba may have put it into other code, so it is kept for good."""


def numba_function(
    executable: NativeExecutable, step_address: int, table: Mapping[int, int], state: Mapping[str, Array]
) -> Any:
    """Return `outputs = f(inputs)` for the graph's only output, and the only input that `state` lacks.

    table: what the machine code is called with, beside memory and arrays; every call fills in a copy, and
    makes memory of its own, so that calls from several threads do not disturb each other.
    """
    import numba

    interface, graph = executable.interface, executable.graph
    slots = {name: Slot.ARRAYS + number for number, name in enumerate(interface.slots)}
    (given,) = (label for label in graph.inputs if label not in state)
    ((label, output),) = graph.outputs.items()
    held = {name: state[name] for name in graph.inputs if name != given}
    prepared: Any = np.zeros(Slot.ARRAYS + len(interface.slots), np.int64)
    prepared[list(table)] = list(table.values())
    for name, array in held.items():
        prepared[slots["input", name]] = address(array)
    step = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(step_address)
    input_slot, output_slot = int(slots["input", given]), int(slots["output", label])
    sample, row = graph.inputs[given].type.shape[1:], output.type.shape[1:]
    number = np.dtype(output.type.dtype).type
    rooms: Any = numba.njit(room)
    block, is_divided = interface.block, interface.is_divided
    fixed, per_sample, partial = interface.arena, interface.arena_per_sample, interface.sums
    scratch = interface.scratch * executable.threads
    needed = f"the network takes arrays of the shape [n, {', '.join(map(str, sample))}]"

    def predict(inputs: Any) -> Any:
        if inputs.shape[1:] != sample:
            raise ValueError(needed)
        batch = inputs.shape[0]
        outputs = np.empty((batch, *row), number)
        if batch == 0:
            return outputs
        capacity, shards, size = rooms(batch, block, is_divided)
        sums = (fixed + per_sample * capacity) // ALIGNMENT * ALIGNMENT + 2 * ALIGNMENT
        blocks = sums + partial * shards // ALIGNMENT * ALIGNMENT + 2 * ALIGNMENT
        memory = np.empty(blocks + scratch + 2 * ALIGNMENT, np.uint8)
        start = (memory.ctypes.data + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        context = prepared.copy()
        context[Slot.BATCH.value] = context[Slot.COUNT.value] = batch
        context[Slot.FIRST.value] = 0
        context[Slot.CAPACITY.value] = capacity
        context[Slot.SHARDS.value] = context[Slot.ROWS.value] = shards
        context[Slot.SHARD_SIZE.value] = size
        context[Slot.ARENA.value] = start
        context[Slot.SUMS.value] = start + sums
        context[Slot.SCRATCH.value] = start + blocks
        context[input_slot] = inputs.ctypes.data
        context[output_slot] = outputs.ctypes.data
        step(context.ctypes)
        memory[0] = 0  # so that Numba does not free it earlier
        return outputs

    item = numba.from_dtype(np.dtype(graph.inputs[given].type.dtype))
    images = numba.types.Array(item, 1 + len(sample), "C", readonly=True)
    compiled = numba.njit((images,), error_model="numpy", nogil=True)(predict)
    _KEPT.append((executable, held, step, compiled))
    return compiled
