"""From a plan to a program: where in memory every buffer, workspace and partial sum lies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.ir import Graph
from graphcnn.ops import Mean, Sum
from graphcnn_native.lowering.program import (
    Buffer,
    Place,
    PlacedKernel,
    Plan,
    PlannedKernel,
    Program,
    aligned,
    partial_sum_type,
)

SLACK = 64
"""Kernels may read a vector beyond the end of what they own; those lanes are never used."""
BUCKET: Final = 512 * 1024
"""Bytes of sums that are worth messages of their own: these cost a rank some 0.15 ms, and a network of
10 Gbit/s takes 0.4 ms for them."""


def place(plan: Plan) -> Program:
    """Return the program of a plan."""
    arena, per_sample, offsets = _arena(plan)
    scratch, in_blocks, workspaces = _blocks(plan)
    sums, sums_offsets = _partial_sums(plan)
    kernels = tuple(
        PlacedKernel(
            **vars(kernel),
            sums_offset=next((sums_offsets[key] for key in _sums(kernel)), -1),
            workspace_offset=workspaces.get(kernel.number, -1),
        )
        for kernel in plan.kernels
    )
    return Program(
        plan.graph,
        kernels,
        plan.buffers,
        plan.slots,
        plan.block,
        plan.divided,
        plan.labels,
        offsets | in_blocks,
        arena,
        per_sample,
        scratch,
        sums,
    )


def _arena(plan: Plan) -> tuple[int, int, dict[Buffer, int]]:
    """Place what lives for more than a block: each only while it is alive.

    What depends on the batch has a place for each sample, in a part of the arena of its own.
    """
    whole, by_sample = list[Life](), list[Life]()
    for kernel in plan.kernels:
        for buffer in kernel.kept:
            if buffer.place is Place.ARENA:
                first, last = stages_alive(plan, kernel, plan.readers.get(buffer, ()))
                lives, slack = (by_sample, 0) if buffer.per_sample else (whole, SLACK)
                lives.append(Life(first, last, aligned(buffer.bytes + slack), buffer))
    (arena, placed), (per_sample, placed_by_sample) = _placed(whole), _placed(by_sample)
    offsets = {
        life.owner: offset for life, offset in placed + placed_by_sample if isinstance(life.owner, Buffer)
    }
    return arena, per_sample, offsets


def stages_alive(plan: Plan, kernel: PlannedKernel, readers: Iterable[PlannedKernel]) -> tuple[int, int]:
    """Return the first and the last stage in which what a kernel keeps for these readers is alive.

    What is prepared, and read by what is not, is alive for good: later calls read it too. Products over
    samples are summed up in the stage after the divided one, which takes turns with it.
    """
    last = max(other.stage for other in (kernel, *readers))
    if kernel.stage < plan.prepared <= last:
        return kernel.stage, plan.stages - 1
    first = plan.divided if plan.is_repeated(kernel.stage) else kernel.stage
    return first, last + 1 if plan.is_repeated(last + 1) else last


def _blocks(plan: Plan) -> tuple[int, dict[Buffer, int], dict[int, int]]:
    """Place what lives within a stage: each where it disturbs nobody who is alive at the same time."""
    scratch, offsets, workspaces = 0, dict[Buffer, int](), dict[int, int]()
    for kernels in plan.by_stage:
        lives: list[Life] = []
        for kernel in kernels:
            if kernel.workspace:
                lives.append(Life(kernel.number, kernel.number, aligned(kernel.workspace + SLACK), kernel))
            for _, buffer in kernel.stores:
                if buffer.place is Place.BLOCK:
                    first, last = kernels_alive(plan, kernel, buffer)
                    lives.append(Life(first, last, aligned(buffer.bytes * plan.block + SLACK), buffer))
        length, placed = _placed(lives)
        scratch = max(scratch, length)
        for life, offset in placed:
            if isinstance(life.owner, Buffer):
                offsets[life.owner] = offset
            else:
                workspaces[life.owner.number] = offset
    return scratch, offsets, workspaces


def kernels_alive(plan: Plan, kernel: PlannedKernel, buffer: Buffer) -> tuple[int, int]:
    """Return the first and the last kernel of a stage in which what one stores in a block is alive.

    What is read after its loop over strips must outlast what the kernels of that loop do to the next strips.
    """
    last = max(reader.number for reader in plan.readers[buffer])
    if buffer in plan.within_strips:
        return kernel.written_from, last
    return min(kernel.written_from, plan.strip_loops[kernel.number][0]), plan.strip_loops[last][1]


def _sums(kernel: PlannedKernel) -> tuple[int, ...]:
    """Return the keys of the sums that a kernel adds up, or totals."""
    return kernel.partial if kernel.total is None else (kernel.total.key,)


def _partial_sums(plan: Plan) -> tuple[int, dict[int, int]]:
    """Place the partial sums of a shard one behind the other: return where those of each op are.

    Those that go from rank to rank together lie side by side, in one piece.
    """
    length, offsets = 0, dict[int, int]()
    awaited, turns = _totalled(plan), telling_turns(plan)

    def order(kernel: PlannedKernel) -> tuple[int, int, int, str, int]:
        kept = partial_sum_type(plan.graph, kernel.partial[0])
        return kernel.stage, awaited[kernel.number], turns[kernel.number], kept.dtype, kernel.number

    for kernel in sorted((kernel for kernel in plan.kernels if kernel.partial), key=order):
        for key in kernel.partial:
            offsets[key] = length
            length += sums_room(plan.graph, kernel, key)
    return length, offsets


def telling_turns(plan: Plan) -> dict[int, int]:
    """Return of each kernel with partial sums, by its number, the turn behind which ranks exchange them.

    As soon as there are enough for a bucket, they go, while later kernels of the stage run; unless these have
    less than another bucket, and all that is left goes at the end of the stage.
    """
    sizes, stages = dict[int, int](), defaultdict[tuple[int, int], list[PlannedKernel]](list)
    awaited, found = _totalled(plan), dict[int, int]()
    for kernel in plan.kernels:
        if kernel.partial:
            stages[kernel.stage, awaited[kernel.number]].append(kernel)
            sizes[kernel.number] = sum(sums_room(plan.graph, kernel, key) for key in kernel.partial)
    for (stage, _), kernels in stages.items():
        left, filled, bucket = sum(sizes[kernel.number] for kernel in kernels), 0, list[int]()
        for kernel in kernels:
            bucket.append(kernel.number)
            filled += sizes[kernel.number]
            if filled >= BUCKET and left - filled >= BUCKET:
                found |= dict.fromkeys(bucket, plan.turns[plan.strip_loops[kernel.number][1]])
                left, filled, bucket = left - filled, 0, []
        found |= dict.fromkeys(bucket, plan.first_turns[stage + 1] - 1)
    return found


def _totalled(plan: Plan) -> dict[int, int]:
    """Return in which stage the partial sums of each kernel are totalled, by its number."""
    return {kernel.totals: kernel.stage for kernel in plan.kernels if kernel.totals is not None}


def sums_room(graph: Graph, kernel: PlannedKernel, key: int) -> int:
    """Return the bytes of an op's sums in a shard. Kernels that reduce read just what is theirs."""
    kept = partial_sum_type(graph, key).bytes(1)
    if key in kernel.sums:
        return kernel.bands_of(key) * aligned(kept)
    return aligned(kept + (0 if isinstance(graph.node(key).op, Sum | Mean) else SLACK))


@dataclass(frozen=True)
class Life:
    """The first and the last moment of a buffer, or of a kernel's workspace, and its size in bytes."""

    first: int
    last: int
    size: int
    owner: Buffer | PlannedKernel


def _placed(lives: Sequence[Life]) -> tuple[int, list[tuple[Life, int]]]:
    """Return how many bytes these take, and for each the lowest offset that is free throughout its life.

    Whoever comes late has to fit into what is left. Sometimes it is better that large ones come first, and
    sometimes those that live long; in all networks that were looked at, one of the two takes at most 3 % more
    than what is alive at the same time.
    """
    orders = [
        sorted(lives, key=lambda life: (-life.size, life.first)),
        sorted(lives, key=lambda life: (life.first - life.last, -life.size)),
    ]
    return min((_offsets(order) for order in orders), key=lambda found: found[0])


def _offsets(lives: Sequence[Life]) -> tuple[int, list[tuple[Life, int]]]:
    found: list[tuple[Life, int]] = []
    placed = np.empty((len(lives), 4), np.int64)  # first, last, offset, size
    length = 0
    for number, life in enumerate(lives):
        before = placed[:number]
        alive = before[(before[:, 0] <= life.last) & (before[:, 1] >= life.first), 2:]
        offset = _lowest_gap(alive, life.size)
        placed[number] = life.first, life.last, offset, life.size
        found.append((life, offset))
        length = max(length, offset + life.size)
    return length, found


def _lowest_gap(taken: Array, size: int) -> int:
    """Return the lowest offset with so many bytes between the taken places: rows of offset and size."""
    if not len(taken):
        return 0
    taken = taken[np.argsort(taken[:, 0], kind="stable")]
    free = np.concatenate([[0], np.maximum.accumulate(taken.sum(axis=1))])
    (fits,) = np.nonzero(free[:-1] + size <= taken[:, 0])
    return int(free[fits[0]] if len(fits) else free[-1])
