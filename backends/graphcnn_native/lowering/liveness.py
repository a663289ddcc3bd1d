"""What must be in memory at the same time: the measure of the places that `placing.py` gives to buffers.

Sizes are as buffers are stored, rounded up to whole cache lines. A buffer is alive from the kernel that
stores it to the last that reads it; in the arena by whole stages, since kernels of a stage run side by side,
and two stages count as one where a large batch goes to and fro between them. The arrays of the caller are not
counted.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate

from graphcnn_native.lowering.placing import SLACK, kernels_alive, stages_alive, sums_room
from graphcnn_native.lowering.program import Domain, Place, PlannedKernel, Program, aligned


def live_bytes(program: Program, capacity: int, shards: int, threads: int) -> list[int]:
    """Return for each kernel how many bytes are alive while it runs.

    capacity: samples for which there is memory at a time. shards: how many have sums of their own. threads:
    each has a block of its own.
    """
    by_stage = [0] * (program.stages + 2)  # by how much more, or less, than in the stage before
    by_kernel = [0] * len(program.kernels)

    def lives(stages: tuple[int, int], size: int) -> None:
        by_stage[stages[0]] += size
        by_stage[stages[1] + 1] -= size

    for kernel in program.kernels:
        by_kernel[kernel.number] += threads * aligned(kernel.workspace + SLACK) if kernel.workspace else 0
        for buffer in kernel.kept:
            if buffer.place is Place.ARENA:
                sample, whole = capacity * aligned(buffer.bytes), aligned(buffer.bytes + SLACK)
                stages = stages_alive(program, kernel, program.readers.get(buffer, ()))
                lives(stages, sample if buffer.per_sample else whole)
        if kernel.totals is not None:
            adding = program.kernels[kernel.totals]
            room = sums_room(program.graph, adding, kernel.values[0].key)
            lives((adding.stage, kernel.stage), shards * room)
    for kernels in program.by_stage:
        for number, size in _in_blocks(program, kernels).items():
            by_kernel[number] += threads * size
    arena = list(accumulate(by_stage))
    return [arena[kernel.stage] + by_kernel[kernel.number] for kernel in program.kernels]


def _in_blocks(program: Program, kernels: tuple[PlannedKernel, ...]) -> dict[int, int]:
    """Return the bytes of a block that are alive in each kernel of samples of a stage."""
    begin, end = defaultdict[int, int](int), defaultdict[int, int](int)
    for kernel in kernels:
        for _, buffer in kernel.stores:
            if buffer.place is Place.BLOCK:
                size = aligned(buffer.bytes * program.block + SLACK)
                first, last = kernels_alive(program, kernel, buffer)
                begin[first] += size
                end[last] += size
    found, alive = {}, 0
    for kernel in kernels:
        if kernel.domain is Domain.SAMPLES:
            alive += begin[kernel.number]
            found[kernel.number] = alive
            alive -= end[kernel.number]
    return found
