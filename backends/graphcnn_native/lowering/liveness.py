"""What must be in memory at the same time: the measure of the places that `storage.py` gives to buffers.

Sizes are as buffers are stored, rounded up to whole cache lines. A buffer is alive from the kernel that
stores it to the last that reads it; in the arena by whole stages, since kernels of a stage run side by side,
and two stages count as one where a large batch goes to and fro between them. The arrays of the caller are not
counted.
"""

from __future__ import annotations

from graphcnn.ir import Value
from graphcnn_native.lowering.program import Domain, Kernel, Place, Program
from graphcnn_native.lowering.storage import SLACK, aligned, copies_of, stages_alive


def live_bytes(program: Program, capacity: int, shards: int, threads: int) -> list[int]:
    """Return for each kernel how many bytes are alive while it runs.

    capacity: samples for which there is memory at a time. shards: how many have sums of their own. threads:
    each has a block of its own.
    """
    by_stage = [0] * program.stages
    by_kernel = [0] * len(program.kernels)
    readers, copying = _readers(program), copies_of(program)
    for kernel in program.kernels:
        if kernel.workspace:
            by_kernel[kernel.number] += threads * aligned(kernel.workspace + SLACK)
        if kernel.unfinished is not None:
            size = aligned(kernel.unfinished.bytes + SLACK)
            _add(by_stage, *stages_alive(program, kernel, []), size)
        for value, buffer in kernel.stores:
            reading = readers.get(value, [])
            if buffer.place is Place.BLOCK:
                size = threads * aligned(buffer.bytes * program.block + SLACK)
                first = (kernel.pooled_by or kernel).number
                for other in program.kernels[first : max(reader.number for reader in reading) + 1]:
                    if other.stage == kernel.stage and other.domain is Domain.SAMPLES:
                        by_kernel[other.number] += size
            elif buffer.place is Place.ARENA:
                sample, whole = capacity * aligned(buffer.bytes), aligned(buffer.bytes + SLACK)
                size = sample if buffer.per_sample else whole
                reading = [*reading, *copying.get(id(buffer), ())]
                _add(by_stage, *stages_alive(program, kernel, reading), size)
    for kernel in program.kernels:
        if kernel.sums is not None:
            assert kernel.sums.root is not None
            size = aligned(program.graph.results(kernel.sums.root)[0].type.bytes(1) + SLACK)
            _add(by_stage, kernel.sums.stage, kernel.stage, shards * size)
    return [by_stage[kernel.stage] + by_kernel[kernel.number] for kernel in program.kernels]


def _readers(program: Program) -> dict[Value, list[Kernel]]:
    readers: dict[Value, list[Kernel]] = {}
    for kernel in program.kernels:
        for value in kernel.loads:
            readers.setdefault(value, []).append(kernel)
    return readers


def _add(by_stage: list[int], first: int, last: int, size: int) -> None:
    for stage in range(first, last + 1):
        by_stage[stage] += size
