"""What must be in memory at the same time: the measure of the places that `storage.py` gives to buffers.

Sizes are as buffers are stored, rounded up to whole cache lines. A buffer is alive from the kernel that
stores it to the last that reads it; in the arena by whole stages, since kernels of a stage run side by side,
and two stages count as one where a large batch goes to and fro between them. The arrays of the caller are not
counted.
"""

from __future__ import annotations

from graphcnn.ir import Value
from graphcnn_native.lowering.program import Domain, Kernel, Place, Program
from graphcnn_native.lowering.storage import SLACK, aligned


def live_bytes(program: Program, capacity: int, shards: int, threads: int) -> list[int]:
    """Return for each kernel how many bytes are alive while it runs.

    capacity: samples for which there is memory at a time. shards: how many have sums of their own. threads:
    each has a block of its own.
    """
    by_stage = [0] * program.stages
    by_kernel = [0] * len(program.kernels)
    readers = _readers(program)
    for kernel in program.kernels:
        if kernel.workspace:
            by_kernel[kernel.number] += threads * aligned(kernel.workspace + SLACK)
        if kernel.unfinished is not None:
            size = aligned(kernel.unfinished.bytes + SLACK)
            _add(by_stage, _begin(program, kernel), _end(program, kernel), size)
        for value, buffer in kernel.stores:
            others = [other for other in program.kernels if other.source is buffer]
            last = max([kernel, *others, *readers.get(value, ())], key=lambda k: (k.stage, k.number))
            if buffer.place is Place.BLOCK:
                size = threads * aligned(buffer.bytes * program.block + SLACK)
                first = (kernel.pooled_by or kernel).number
                for other in program.kernels[first : last.number + 1]:
                    if other.stage == kernel.stage and other.domain is Domain.SAMPLES:
                        by_kernel[other.number] += size
            elif buffer.place is Place.ARENA:
                sample, whole = capacity * aligned(buffer.bytes), aligned(buffer.bytes + SLACK)
                size = sample if buffer.per_sample else whole
                _add(by_stage, _begin(program, kernel), _end(program, last), size)
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


def _begin(program: Program, kernel: Kernel) -> int:
    """Return the first stage in which what a kernel stores is alive."""
    return program.divided if _is_repeated(program, kernel.stage) else kernel.stage


def _end(program: Program, kernel: Kernel) -> int:
    """Return the last stage in which what a kernel reads is alive."""
    return kernel.stage + 1 if _is_repeated(program, kernel.stage + 1) else kernel.stage


def _is_repeated(program: Program, stage: int) -> bool:
    """Whether a stage runs after each part of the batch, since products over samples are summed up in it."""
    follows = program.divided >= 0 and stage == program.divided + 1
    return follows and any(kernel.unfinished is not None for kernel in program.kernels)
